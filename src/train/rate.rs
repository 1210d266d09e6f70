//! The learning rate of a step.

use super::Settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateSchedule {
    #[default]
    Constant,
    /// Down one decade, evenly in the logarithm, over the epochs in which some weight is still
    /// zero ([`super::LossSchedule::zero_epochs`]); constant after that. The published schedule of
    /// this name.
    LogDecreaseUntilEndOfWarmup,
    /// Along half a cosine to `train.learning_rate_floor`, from the end of the warm-up to step
    /// `train.learning_rate_steps` (Loshchilov and Hutter 2017, equation 5, without restarts).
    Cosine,
    /// Times `train.learning_rate_drop`, down to `train.learning_rate_floor`, whenever the metric
    /// of `train.plateau` has not improved for some validations.
    Plateau,
}

/// Where a step stands, as far as its learning rate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Counts from 0.
    pub step: u64,
    /// Counts from 0.
    pub epoch: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Epochs in which some weight of the loss is still zero.
    pub zero_epochs: u64,
    /// Plateaus so far.
    pub drops: u64,
}

impl Settings {
    /// Factor on the learning rates of a step.
    pub fn rate_factor(&self, at: Stand) -> f64 {
        let warmup = self.learning_rate_warmup;
        let floor = self.learning_rate_floor;
        let factor = match self.learning_rate_schedule {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::LogDecreaseUntilEndOfWarmup => one_decade(at),
            LearningRateSchedule::Cosine => {
                let last = self.learning_rate_steps.unwrap_or(at.steps);
                let len = last.saturating_sub(warmup).max(1) as f64;
                let share = (at.step.saturating_sub(warmup) as f64 / len).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
            LearningRateSchedule::Plateau => {
                let drops = i32::try_from(at.drops).unwrap_or(i32::MAX);
                self.learning_rate_drop.powi(drops).max(floor)
            }
        };
        match at.step < warmup {
            true => factor * ((at.step + 1) as f64 / warmup as f64),
            false => factor,
        }
    }
}

fn one_decade(at: Stand) -> f64 {
    let decades = if at.epoch >= at.zero_epochs {
        1.0
    } else if at.zero_epochs == 1 {
        0.0
    } else {
        at.epoch as f64 / (at.zero_epochs - 1) as f64
    };
    10f64.powf(-decades)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(text: &str, stands: impl Iterator<Item = Stand>) -> Vec<f64> {
        let text = format!("batch = 1\nslices = 1\nlearning_rate_schedule = {text}");
        let settings: Settings = toml::from_str(&text).unwrap();
        settings.check().unwrap();
        stands.map(|at| settings.rate_factor(at)).collect()
    }

    const START: Stand = Stand {
        step: 0,
        epoch: 0,
        steps: 12,
        zero_epochs: 0,
        drops: 0,
    };

    fn steps(steps: u64) -> impl Iterator<Item = Stand> {
        (0..steps).map(|step| Stand { step, ..START })
    }

    #[test]
    fn published_schedule() {
        let stand = |epoch| Stand {
            epoch,
            zero_epochs: 4,
            ..START
        };
        let found = factors("\"log_decrease_until_end_of_warmup\"", (0..12).map(stand));
        for (e, factor) in found.iter().enumerate() {
            let wanted = [2.5e-3, 1.16040e-3, 5.38609e-4][..].get(e);
            let wanted = wanted.unwrap_or(&2.5e-4) / 2.5e-3;
            assert!((factor / wanted - 1.0).abs() < 1e-5, "epoch {e}: {factor}");
        }
    }

    #[test]
    fn the_rate_rises_evenly_and_then_follows_its_schedule() {
        let found = factors("\"constant\"\nlearning_rate_warmup = 4", steps(6));
        assert_eq!(found, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        let text = "\"cosine\"\nlearning_rate_warmup = 2\nlearning_rate_floor = 0.2";
        let found = factors(text, steps(14));
        assert_eq!(found[..3], [0.5, 1.0, 1.0]);
        assert!((found[7] - 0.6).abs() < 1e-12, "half-way: {}", found[7]);
        assert!(found[3..=12].windows(2).all(|w| w[0] > w[1]));
        assert_eq!(found[12..], [0.2, 0.2]);
        let shorter = factors(&format!("{text}\nlearning_rate_steps = 7"), steps(8));
        assert_eq!(shorter[7], 0.2);
        assert_eq!(factors("\"cosine\"", steps(1)), [1.0]);
    }

    #[test]
    fn each_plateau_lowers_the_rate() {
        let stand = |drops| Stand { drops, ..START };
        let text = "\"plateau\"\nlearning_rate_drop = 0.5\nlearning_rate_floor = 0.2";
        let found = factors(text, [0, 1, 2, 3, u64::MAX].map(stand).into_iter());
        assert_eq!(found, [1.0, 0.5, 0.25, 0.2, 0.2]);
    }
}
