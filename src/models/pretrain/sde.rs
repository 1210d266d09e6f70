//! Diffusion in continuous time (Song et al. 2021), as MoleculeSDE uses it.

use super::{Draw, Molecule, check_positive};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// Exploding variance: `sigma(t) = lowest (highest / lowest)^t`.
    #[default]
    Ve,
    /// Preserved variance: `beta` rises from `lowest` to `highest`.
    Vp,
}

/// A process and its range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sde {
    /// Which process.
    pub process: Process,
    /// The range begins here.
    pub lowest: f64,
    /// The range ends here.
    pub highest: f64,
}

impl Default for Sde {
    fn default() -> Self {
        Self {
            process: Process::Ve,
            lowest: 0.1,
            highest: 10.0,
        }
    }
}

/// Steps that time is drawn from.
const STEPS: usize = 1000;

impl Sde {
    /// # Errors
    /// A range out of order; `key` is the setting to blame.
    pub fn check(&self, key: &str) -> Result<()> {
        check_positive(&format!("{key}.lowest"), self.lowest)?;
        match self.highest.is_finite() && self.highest >= self.lowest {
            true => Ok(()),
            false => Err(Error::input(format!(
                "{key}.highest = {}: must be a number from {key}.lowest on",
                self.highest
            ))),
        }
    }

    /// Factor on the data and deviation of the noise at step `step` of 1000.
    pub fn at(&self, step: usize) -> [f64; 2] {
        const EPSILON: f64 = 1e-6;
        let t = step as f64 / STEPS as f64 * (1.0 - EPSILON) + EPSILON;
        let Self {
            process,
            lowest,
            highest,
        } = *self;
        match process {
            Process::Ve => [1.0, lowest * (highest / lowest).powf(t)],
            Process::Vp => {
                let mean = (-0.25 * t * t * (highest - lowest) - 0.5 * t * lowest).exp();
                [mean, (1.0 - mean * mean).sqrt()]
            }
        }
    }

    /// A step for each molecule: drawn for the first half and one, the others in order have what is
    /// left of 999.
    pub fn steps(purpose: &str, molecules: &[Molecule], draw: &Draw) -> Vec<usize> {
        let mut steps = draw.below(
            purpose,
            &molecules[..molecules.len().min(molecules.len() / 2 + 1)],
            STEPS,
        );
        let rest = molecules.len() - steps.len();
        let opposite: Vec<usize> = steps[..rest].iter().map(|t| STEPS - 1 - t).collect();
        steps.extend(opposite);
        steps
    }
}
