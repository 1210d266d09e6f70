//! GeoSSL-InfoNCE: two views of a molecule told from views of others (Liu et al. 2023).

use super::contrast::{info_nce, unit_rows};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Perturbation, Terms, check_positive};
use crate::Result;
use crate::models::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InfoNceConfig {
    /// How the second view is made.
    pub view: Perturbation,
    /// Representations are unit vectors. The released default is `false`, and then products of
    /// several hundred channels over the temperature are huge.
    pub normalize: bool,
    /// What products or cosines are divided by.
    pub temperature: f64,
}

impl Default for InfoNceConfig {
    fn default() -> Self {
        Self {
            view: Perturbation::default(),
            normalize: true,
            temperature: 0.1,
        }
    }
}

impl ObjectiveConfig for InfoNceConfig {
    fn check(&self) -> Result<()> {
        self.view.check()?;
        check_positive("objective.temperature", self.temperature)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("contrast", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    fn build(&self, _: &mut Scope, _: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(InfoNce(self.clone())))
    }
}

/// [`info_nce`] of clean and perturbed view.
pub struct InfoNce(InfoNceConfig);

impl Objective for InfoNce {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        self.0.view.views(molecules, draw)
    }

    fn losses(&self, x: &Representations, _: &Batch, pass: &Pass) -> Result<Terms> {
        let (mut g1, mut g2) = (x.graphs[0].clone(), x.graphs[1].clone());
        if self.0.normalize {
            (g1, g2) = (unit_rows(&g1)?, unit_rows(&g2)?);
        }
        let (g1, g2) = (pass.whole(&g1)?, pass.whole(&g2)?);
        Ok(vec![("contrast", info_nce(&g1, &g2, self.0.temperature)?)])
    }
}
