//! GeoSSL-RR: each view's representation made of the other's (Liu et al. 2023).

use super::contrast::unit_rows;
use super::generative::{Decoder, Measure};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Perturbation, Terms};
use crate::Result;
use crate::models::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RelationConfig {
    /// How the second view is made.
    pub view: Perturbation,
    /// Representations are unit vectors.
    pub normalize: bool,
    /// How far what is made is from what is real.
    pub measure: Measure,
}

impl ObjectiveConfig for RelationConfig {
    fn check(&self) -> Result<()> {
        self.view.check()
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("reconstruction", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Relation {
            decoders: [1, 2]
                .map(|k| Decoder::new(&mut b.scope(format_args!("decoder_{k}")), width)),
            config: self.clone(),
        }))
    }
}

/// `L = 1/2 (|dec_1(g_1) - g_2|^2 + |dec_2(g_2) - g_1|^2)`, without gradients through what is made.
/// Nothing but the decoders' asymmetry prevents that all representations become one.
pub struct Relation {
    config: RelationConfig,
    decoders: [Decoder; 2],
}

impl Objective for Relation {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        self.config.view.views(molecules, draw)
    }

    fn losses(&self, x: &Representations, _: &Batch, pass: &Pass) -> Result<Terms> {
        let (mut g1, mut g2) = (x.graphs[0].clone(), x.graphs[1].clone());
        if self.config.normalize {
            (g1, g2) = (unit_rows(&g1)?, unit_rows(&g2)?);
        }
        // The decoders' batch norms see every slice.
        let (g1, g2) = (pass.whole(&g1)?, pass.whole(&g2)?);
        let [first, second] = &self.decoders;
        let measure = self.config.measure;
        let one = measure.of(&first.forward(&g1, pass)?, &g2.detach())?;
        let two = measure.of(&second.forward(&g2, pass)?, &g1.detach())?;
        Ok(vec![("reconstruction", ((one + two)? * 0.5)?)])
    }
}
