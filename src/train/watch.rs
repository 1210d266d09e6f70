//! Metrics of the validation that decide how a run goes on: when its learning rate drops, and when
//! it stops early.

use super::checkpoint::bits;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The objective under the weights that hold after their warm-up, among the metrics' names.
pub const OBJECTIVE: &str = "objective";

/// Which metric is watched, and for how long it may stand still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// `objective`, or a metric of the validation.
    pub metric: String,
    /// Which of two values is better.
    pub better: Better,
    /// Validations without an improvement until something happens.
    pub patience: u64,
    /// What a value must be better by to count, in the metric's unit.
    pub margin: f64,
}

/// Which of two values is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    #[default]
    Lower,
    Higher,
}

impl Better {
    /// What is better of a metric, as models name theirs: the higher of an accuracy, the lower of
    /// losses and errors.
    pub fn of(metric: &str) -> Self {
        match metric.ends_with("accuracy") {
            true => Better::Higher,
            false => Better::Lower,
        }
    }
}

/// The value of a metric among the means of a validation; not a number where it has none.
pub fn value(metric: &str, objective: f64, means: &[(String, f64)]) -> f64 {
    match means.iter().find(|(name, _)| name == metric) {
        _ if metric == OBJECTIVE => objective,
        Some((_, value)) => *value,
        None => f64::NAN,
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            metric: OBJECTIVE.into(),
            better: Better::Lower,
            patience: 10,
            margin: 0.0,
        }
    }
}

impl Watch {
    /// # Errors
    /// A value out of range; `key` is the section to blame.
    pub fn check(&self, key: &str) -> Result<()> {
        if self.patience == 0 {
            return Err(Error::input(format!(
                "{key}.patience = 0: 1 or more is needed"
            )));
        }
        match (0.0..f64::MAX).contains(&self.margin) {
            true => Ok(()),
            false => Err(Error::input(format!(
                "{key}.margin = {}: out of range",
                self.margin
            ))),
        }
    }
}

/// How long a metric has stood still; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Still {
    /// The best value so far.
    #[serde(with = "bits::optional")]
    pub best: Option<f64>,
    /// Validations since then.
    pub waited: u64,
}

impl Still {
    /// Takes note of a validation. A value that is not a number is no improvement.
    pub fn see(&mut self, watch: &Watch, value: f64) {
        let improves = |best: f64| match watch.better {
            Better::Lower => value < best - watch.margin,
            Better::Higher => value > best + watch.margin,
        };
        if value.is_finite() && self.best.is_none_or(improves) {
            *self = Self {
                best: Some(value),
                waited: 0,
            };
        } else {
            self.waited += 1;
        }
    }

    /// Whether patience is over.
    pub fn is_over(&self, watch: &Watch) -> bool {
        self.waited >= watch.patience
    }
}

/// What validations have decided so far; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Control {
    /// For the learning rate.
    pub plateau: Still,
    /// Times that the learning rate was lowered.
    pub drops: u64,
    /// For the early stop.
    pub stop: Still,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(watch: &Watch, values: &[f64]) -> Option<usize> {
        let mut still = Still::default();
        values.iter().position(|&value| {
            still.see(watch, value);
            still.is_over(watch)
        })
    }

    #[test]
    fn patience_ends_when_nothing_has_improved_for_so_long() {
        let watch = Watch {
            patience: 2,
            ..Watch::default()
        };
        assert_eq!(over(&watch, &[3.0, 2.0, 2.5, 1.0, 1.0]), None);
        assert_eq!(over(&watch, &[3.0, 2.0, 2.5, 1.0, 1.0, f64::NAN]), Some(5));
        let higher = Watch {
            better: Better::Higher,
            margin: 0.5,
            ..watch
        };
        assert_eq!(over(&higher, &[1.0, 2.0, 2.4, 2.6, 2.5]), None);
        assert_eq!(over(&higher, &[1.0, 1.3, 1.4, 9.0]), Some(2));
        assert_eq!(over(&higher, &[f64::NAN, f64::INFINITY]), Some(1));
        let told = |w: &Watch| w.check("train.plateau").unwrap_err().to_string();
        let none = Watch {
            patience: 0,
            ..Watch::default()
        };
        assert!(told(&none).contains("train.plateau.patience = 0"));
        let negative = Watch {
            margin: -1.0,
            ..Watch::default()
        };
        assert!(told(&negative).contains("train.plateau.margin = -1"));
    }
}
