//! The learning rate of a step, the clipping of its gradient, and what validations decide.

use super::Trainer;
use super::step::Sum;
use crate::Result;
use crate::train::Task;
use crate::train::rate::Stand;
use crate::train::watch::{Watch, value};

impl<T: Task> Trainer<'_, T> {
    /// Factor on the learning rates of `step`.
    pub(super) fn rate_factor(&self, step: u64) -> f64 {
        self.plan.settings.rate_factor(Stand {
            step,
            epoch: self.calendar.epoch(step),
            steps: self.calendar.steps,
            zero_epochs: self.plan.loss.zero_epochs(),
            drops: self.control.drops,
        })
    }

    /// The factor that shortens a gradient to the norm that the job allows. Collective where the
    /// optimizer's state is sharded.
    pub(super) fn clip(&mut self, sum: &Sum) -> Result<f32> {
        let Some(longest) = self.plan.settings.clip_norm else {
            return Ok(1.0);
        };
        let own = self.adam.squares(&sum.gradient)?;
        let norm = match self.is_sharded() {
            true => own.over_ranks(self.world).root(),
            false => own.root(),
        };
        self.norm = Some(norm);
        Ok(match norm > longest {
            true => (longest / norm) as f32,
            false => 1.0,
        })
    }

    /// Takes note of a validation: of the objective and of the means of all metrics. What comes
    /// before the loss has its last weights does not count.
    pub(super) fn watch(&mut self, epoch: u64, objective: f64, means: &[(String, f64)]) {
        if epoch < self.plan.loss.warmup_epochs() {
            return;
        }
        let value = |watch: &Watch| value(&watch.metric, objective, means);
        let settings = self.plan.settings;
        if let Some(watch) = &settings.early_stop {
            self.control.stop.see(watch, value(watch));
        }
        if let Some(watch) = settings.watched_plateau()
            && self.done >= settings.learning_rate_warmup
        {
            self.control.plateau.see(&watch, value(&watch));
            if self.control.plateau.is_over(&watch) {
                self.control.plateau.waited = 0;
                self.control.drops += 1;
            }
        }
    }

    /// Whether the metric of `train.early_stop` has stood still for too long.
    pub(super) fn stops_early(&self) -> bool {
        let watch = self.plan.settings.early_stop.as_ref();
        watch.is_some_and(|watch| self.control.stop.is_over(watch))
    }

    /// Whether the run is at its end.
    pub(super) fn is_over(&self) -> bool {
        self.done >= self.calendar.steps || self.stops_early()
    }
}
