//! What changes from epoch to epoch: the learning rate and the objective's weights.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the learning rate moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateSchedule {
    #[default]
    Constant,
    /// Down one decade, evenly in the logarithm, over the epochs in which some weight is still
    /// zero ([`WeightSchedule::zero_epochs`]); constant after that. The published schedule of
    /// this name.
    LogDecreaseUntilEndOfWarmup,
}

impl LearningRateSchedule {
    /// The rate in `epoch` (from 0), starting at `start`; `zero_epochs` as in
    /// [`WeightSchedule`].
    pub fn at(self, start: f64, epoch: u64, zero_epochs: u64) -> f64 {
        match self {
            LearningRateSchedule::Constant => start,
            LearningRateSchedule::LogDecreaseUntilEndOfWarmup => {
                let decades = if epoch >= zero_epochs {
                    1.0
                } else if zero_epochs == 1 {
                    0.0
                } else {
                    epoch as f64 / (zero_epochs - 1) as f64
                };
                start * 10f64.powf(-decades)
            }
        }
    }
}

/// Weights of a model's objective over the epochs, in the order of
/// [`crate::models::Model::weight_names`].
pub trait WeightSchedule {
    /// Weights in `epoch` (from 0).
    fn at(&self, epoch: u64) -> Vec<f64>;

    /// Weights after the warm-up: those by which models are compared.
    fn last(&self) -> Vec<f64>;

    /// Number of first epochs in which a weight is held at zero.
    fn zero_epochs(&self) -> u64;

    /// Number of first epochs before all weights are at their last values.
    fn warmup_epochs(&self) -> u64;
}

/// Weights of the H-(V)AE's objective: `reconstruction * MSE + kl * KL`.
///
/// The KL weight is zero for `no_kl_epochs`, rises evenly from zero to `kl` over
/// `warmup_kl_epochs` (both ends included, so its first epoch is still zero), and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HvaeWeights {
    pub reconstruction: f64,
    pub kl: f64,
    pub no_kl_epochs: u64,
    pub warmup_kl_epochs: u64,
}

impl Default for HvaeWeights {
    fn default() -> Self {
        Self {
            reconstruction: 1000.0,
            kl: 0.5,
            no_kl_epochs: 0,
            warmup_kl_epochs: 0,
        }
    }
}

impl HvaeWeights {
    /// # Errors
    /// A weight that is negative or not a number.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("reconstruction", self.reconstruction), ("kl", self.kl)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::input(format!(
                    "train.weights.{name} = {value}: a number from 0 up is needed"
                )));
            }
        }
        Ok(())
    }
}

impl WeightSchedule for HvaeWeights {
    fn at(&self, epoch: u64) -> Vec<f64> {
        let share = if epoch < self.no_kl_epochs {
            0.0
        } else if epoch >= self.warmup_epochs() {
            1.0
        } else if self.warmup_kl_epochs == 1 {
            0.0
        } else {
            (epoch - self.no_kl_epochs) as f64 / (self.warmup_kl_epochs - 1) as f64
        };
        vec![self.reconstruction, share * self.kl]
    }

    fn last(&self) -> Vec<f64> {
        vec![self.reconstruction, self.kl]
    }

    fn zero_epochs(&self) -> u64 {
        self.no_kl_epochs
    }

    fn warmup_epochs(&self) -> u64 {
        self.no_kl_epochs + self.warmup_kl_epochs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published protein configuration: 12 epochs, 4 without KL, 2 of warm-up.
    #[test]
    fn published_schedules() {
        let weights = HvaeWeights {
            no_kl_epochs: 4,
            warmup_kl_epochs: 2,
            ..HvaeWeights::default()
        };
        let kl: Vec<f64> = (0..12).map(|e| weights.at(e)[1]).collect();
        let wanted = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
        assert_eq!(kl, wanted);
        let schedule = LearningRateSchedule::LogDecreaseUntilEndOfWarmup;
        let rate: Vec<f64> = (0..12).map(|e| schedule.at(2.5e-3, e, 4)).collect();
        for (e, r) in rate.iter().enumerate() {
            let wanted = [2.5e-3, 1.16040e-3, 5.38609e-4][..]
                .get(e)
                .unwrap_or(&2.5e-4);
            assert!((r / wanted - 1.0).abs() < 1e-5, "epoch {e}: {r}");
        }
    }

    /// The published MNIST configuration: 25 epochs without KL, 35 of warm-up to 0.2.
    #[test]
    fn long_warm_up() {
        let weights = HvaeWeights {
            kl: 0.2,
            no_kl_epochs: 25,
            warmup_kl_epochs: 35,
            ..HvaeWeights::default()
        };
        assert_eq!(weights.at(25)[1], 0.0);
        assert!((weights.at(42)[1] - 0.1).abs() < 1e-12);
        assert_eq!(weights.at(59)[1], 0.2);
        assert_eq!(weights.at(60)[1], 0.2);
    }

    #[test]
    fn without_warm_up_everything_is_constant() {
        let weights = HvaeWeights::default();
        assert_eq!(weights.at(0), weights.last());
        assert_eq!(LearningRateSchedule::Constant.at(1e-3, 7, 0), 1e-3);
    }
}
