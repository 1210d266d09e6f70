//! The weights of the objective's terms, which change from epoch to epoch.

use crate::models::Weights;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// Weight of one term of the objective: zero for `start` epochs, then rising evenly from zero to
/// `weight` over `warmup` epochs (both ends included, so the first of them is still zero), and
/// `weight` from then on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a number, or { weight, start, warmup }"
)]
pub struct TermSchedule {
    /// The weight after the warm-up.
    pub weight: f64,
    /// First epochs in which it is zero.
    #[serde(default)]
    pub start: u64,
    /// Epochs over which it rises after that.
    #[serde(default)]
    pub warmup: u64,
}

impl TermSchedule {
    /// The same weight in all epochs.
    pub fn constant(weight: f64) -> Self {
        Self {
            weight,
            start: 0,
            warmup: 0,
        }
    }

    /// The weight in `epoch` (from 0).
    pub fn at(&self, epoch: u64) -> f64 {
        let share = if epoch < self.start {
            0.0
        } else if epoch >= self.start + self.warmup {
            1.0
        } else if self.warmup == 1 {
            0.0
        } else {
            (epoch - self.start) as f64 / (self.warmup - 1) as f64
        };
        share * self.weight
    }
}

/// The `[loss]` section of a job: the weights of all terms of the objective, in the order of the
/// model's terms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LossSchedule(Vec<(String, TermSchedule)>);

impl<S: Into<String>> FromIterator<(S, TermSchedule)> for LossSchedule {
    fn from_iter<I: IntoIterator<Item = (S, TermSchedule)>>(terms: I) -> Self {
        let owned = |(name, schedule): (S, TermSchedule)| (name.into(), schedule);
        Self(terms.into_iter().map(owned).collect())
    }
}

impl Serialize for LossSchedule {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, schedule)| (name, schedule)))
    }
}

impl LossSchedule {
    /// Weights that stay as they are.
    pub fn constant(weights: &[(&str, f64)]) -> Self {
        let terms = weights.iter();
        terms
            .map(|term| (term.0, TermSchedule::constant(term.1)))
            .collect()
    }

    /// # Errors
    /// A weight that is negative or not a number.
    pub fn check(&self) -> Result<()> {
        for (name, TermSchedule { weight, .. }) in &self.0 {
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(Error::input(format!(
                    "loss.{name} = {weight}: a number from 0 up is needed"
                )));
            }
        }
        Ok(())
    }

    /// Weights in `epoch` (from 0).
    pub fn at(&self, epoch: u64) -> Weights<'_> {
        self.each(|schedule| schedule.at(epoch))
    }

    /// Weights after the warm-up: those by which models are compared.
    pub fn last(&self) -> Weights<'_> {
        self.each(|schedule| schedule.weight)
    }

    fn each(&self, weight: impl Fn(&TermSchedule) -> f64) -> Weights<'_> {
        let terms = self.0.iter();
        terms.map(|(name, s)| (name.as_str(), weight(s))).collect()
    }

    /// Number of first epochs in which a weight is held at zero.
    pub fn zero_epochs(&self) -> u64 {
        self.most(|schedule| schedule.start)
    }

    /// Number of first epochs before all weights are at their last values.
    pub fn warmup_epochs(&self) -> u64 {
        self.most(|schedule| schedule.start + schedule.warmup)
    }

    fn most(&self, epochs: impl Fn(&TermSchedule) -> u64) -> u64 {
        self.0.iter().map(|(_, s)| epochs(s)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published protein configuration: 12 epochs, 4 without KL, 2 of warm-up.
    #[test]
    fn published_schedules() {
        let kl = TermSchedule {
            weight: 0.5,
            start: 4,
            warmup: 2,
        };
        let weights: Vec<f64> = (0..12).map(|e| kl.at(e)).collect();
        let wanted = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
        assert_eq!(weights, wanted);
        let loss: LossSchedule = [("reconstruction", TermSchedule::constant(1e3)), ("kl", kl)]
            .into_iter()
            .collect();
        assert_eq!((loss.zero_epochs(), loss.warmup_epochs()), (4, 6));
        assert_eq!(
            loss.at(4),
            Weights::from([("reconstruction", 1e3), ("kl", 0.0)])
        );
        assert_eq!(loss.at(5), loss.last());
    }

    /// The published MNIST configuration: 25 epochs without KL, 35 of warm-up to 0.2.
    #[test]
    fn long_warm_up() {
        let kl = TermSchedule {
            weight: 0.2,
            start: 25,
            warmup: 35,
        };
        assert_eq!(kl.at(25), 0.0);
        assert!((kl.at(42) - 0.1).abs() < 1e-12);
        assert_eq!(kl.at(59), 0.2);
        assert_eq!(kl.at(60), 0.2);
    }

    #[test]
    fn without_warm_up_everything_is_constant() {
        let loss = LossSchedule::constant(&[("a", 1.0), ("b", 0.1)]);
        assert_eq!(loss.at(0), loss.last());
        assert_eq!((loss.zero_epochs(), loss.warmup_epochs()), (0, 0));
    }
}
