//! What a run does when.

use super::Settings;
use crate::{Error, Result};

/// The calendar of a run: which samples a step sees, and what is due after it.
///
/// Steps count from 0. Everything here follows from the sample count, the batch and the
/// settings, so a run resumed at any step goes on exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Training samples.
    pub samples: u64,
    /// Samples of a full global batch.
    pub batch: u64,
    /// Steps of the whole run.
    pub steps: u64,
    evaluations_per_epoch: u64,
    checkpoint_every: u64,
}

impl Calendar {
    /// # Errors
    /// No samples.
    pub fn new(samples: u64, settings: &Settings) -> Result<Self> {
        if samples == 0 {
            return Err(Error::input("the dataset has no training samples"));
        }
        let batch = settings.batch;
        let per_epoch = samples.div_ceil(batch);
        Ok(Self {
            samples,
            batch,
            steps: settings
                .steps
                .unwrap_or(settings.epochs.saturating_mul(per_epoch)),
            evaluations_per_epoch: settings.evaluations_per_epoch.min(per_epoch),
            checkpoint_every: settings.checkpoint_every.unwrap_or(per_epoch),
        })
    }

    pub fn steps_per_epoch(&self) -> u64 {
        self.samples.div_ceil(self.batch)
    }

    pub fn epoch(&self, step: u64) -> u64 {
        step / self.steps_per_epoch()
    }

    /// Places in the epoch's order of the samples of `step`; the epoch's last batch may be
    /// smaller.
    pub fn positions(&self, step: u64) -> std::ops::Range<u64> {
        let start = step % self.steps_per_epoch() * self.batch;
        start..(start + self.batch).min(self.samples)
    }

    pub fn ends_epoch(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.steps_per_epoch())
    }

    pub fn is_last(&self, step: u64) -> bool {
        step + 1 == self.steps
    }

    /// Whether the model is validated after `step`.
    pub fn evaluates(&self, step: u64) -> bool {
        let per_epoch = self.steps_per_epoch();
        let within = step % per_epoch;
        let done = |n: u64| n * self.evaluations_per_epoch / per_epoch;
        done(within + 1) > done(within) || self.is_last(step)
    }

    /// Whether a checkpoint is due after `step`.
    pub fn saves(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.checkpoint_every) || self.is_last(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(text: &str) -> Calendar {
        let text = format!("batch = 10\nslices = 1\n{text}");
        let settings: Settings = toml::from_str(&text).unwrap();
        settings.check().unwrap();
        Calendar::new(103, &settings).unwrap()
    }

    #[test]
    fn an_epoch_sees_every_place_once() {
        let c = calendar("epochs = 2");
        assert_eq!((c.steps_per_epoch(), c.steps), (11, 22));
        let seen: Vec<u64> = (11..22).flat_map(|s| c.positions(s)).collect();
        assert_eq!(seen, (0..103).collect::<Vec<_>>());
        assert_eq!((c.epoch(10), c.epoch(11)), (0, 1));
        assert_eq!(c.positions(10), 100..103);
    }

    #[test]
    fn what_is_due_when() {
        let c = calendar("steps = 25\nevaluations_per_epoch = 5\ncheckpoint_every = 4");
        let due = |f: fn(&Calendar, u64) -> bool| (0..25).filter(|&s| f(&c, s)).collect::<Vec<_>>();
        assert_eq!(due(Calendar::saves), [3, 7, 11, 15, 19, 23, 24]);
        assert_eq!(
            due(Calendar::evaluates),
            [2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 24]
        );
        assert_eq!(due(Calendar::ends_epoch), [10, 21]);
    }
}
