//! GeoSSL-EBM-NCE: two views of a molecule told from pairs with the next one (Liu et al. 2023).

use super::contrast::{cyclic, ebm_nce, unit_rows};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Perturbation, Terms};
use crate::Result;
use crate::models::Scope;
use crate::models::sizes::check_width;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EbmNceConfig {
    /// How the second view is made.
    pub view: Perturbation,
    /// Representations are unit vectors; not so in the released code.
    pub normalize: bool,
    /// Molecules that each is told from.
    pub negatives: usize,
}

impl Default for EbmNceConfig {
    fn default() -> Self {
        Self {
            view: Perturbation::default(),
            normalize: true,
            negatives: 1,
        }
    }
}

impl ObjectiveConfig for EbmNceConfig {
    fn check(&self) -> Result<()> {
        self.view.check()?;
        check_width("objective.negatives", self.negatives)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("contrast", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    fn build(&self, _: &mut Scope, _: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(EbmNce(self.clone())))
    }
}

/// `L = (mean softplus(-p) + K mean softplus(n)) / (1 + K)` with `p_b = g_b . g'_b`,
/// `n_b = g_b . g'_(b + k)`; no temperature, one direction.
pub struct EbmNce(EbmNceConfig);

impl Objective for EbmNce {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        self.0.view.views(molecules, draw)
    }

    fn losses(&self, x: &Representations, _: &Batch, pass: &Pass) -> Result<Terms> {
        let (mut g1, mut g2) = (x.graphs[0].clone(), x.graphs[1].clone());
        if self.0.normalize {
            (g1, g2) = (unit_rows(&g1)?, unit_rows(&g2)?);
        }
        let (g1, g2) = (pass.whole(&g1)?, pass.whole(&g2)?);
        let negatives = cyclic(&g2, self.0.negatives)?;
        let count = negatives.len() as f64;
        let (positive, negative) = ebm_nce(&g1, &g2, &negatives, 1.0)?;
        let loss = match negative {
            Some(negative) => ((positive + (negative * count)?)? / (1.0 + count))?,
            None => positive,
        };
        Ok(vec![("contrast", loss)])
    }
}
