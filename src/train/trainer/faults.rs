//! Numeric faults: losses and gradients that are not finite, and loss spikes. They are found in
//! the global sum, before the update, so that every rank comes to the same verdict.

use super::Trainer;
use super::step::{SliceTerms, Sum};
use crate::comm::World;
use crate::data::Split;
use crate::models::Model;
use crate::train::checkpoint::Saved;
use crate::train::loader::Slice;
use crate::train::metrics::MetricsLog;
use crate::train::{OnNonfinite, Reduction, Task};
use crate::{Error, Result};
use serde_json::json;

/// Samples that are named at most.
const NAMED: usize = 8;

/// What is wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    Loss,
    Gradient,
    Spike { loss: f64, limit: f64 },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Loss => write!(f, "the loss is not finite"),
            Fault::Gradient => write!(f, "the gradient is not finite"),
            Fault::Spike { loss, limit } => {
                write!(f, "the loss spikes: {loss:.5}, more than {limit:.5}")
            }
        }
    }
}

/// A sample of a faulty slice and its own loss in evaluation mode.
type Suspect = (u64, f64);

impl<T: Task> Trainer<'_, T> {
    /// What is wrong with `step`, whose sums are `sum`. Collective where the ranks' sums differ.
    pub(super) fn fault(&mut self, step: u64, sum: &Sum) -> Result<Option<Fault>> {
        self.forget_old_weights(step);
        let loss = f64::from(sum.objective);
        let limit = self.limit();
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        // The worst fault has the highest number: it is what ranks agree on that see different
        // ones.
        let here = if !loss.is_finite() {
            3
        } else if !(finite(&sum.statistics) && sum.gradient.is_finite(self.own.clone())?) {
            2
        } else {
            u8::from(loss > limit)
        };
        // Reproducible sums have the same bits everywhere; MPI does not promise it of its own.
        let verdict = match self.plan.settings.reduction {
            Reduction::Reproducible if !self.is_sharded() => here,
            _ => self.world.max(here),
        };
        Ok(match verdict {
            0 => None,
            1 => Some(Fault::Spike { loss, limit }),
            2 => Some(Fault::Gradient),
            _ => Some(Fault::Loss),
        })
    }

    /// The highest loss that is let pass.
    fn limit(&self) -> f64 {
        let factor = self.plan.settings.spike;
        factor
            .and_then(|f| self.guard.trend.limit(f))
            .unwrap_or(f64::INFINITY)
    }

    /// Losses under other weights are not comparable: the trend begins anew with them.
    fn forget_old_weights(&mut self, step: u64) {
        let loss = self.plan.loss;
        let epoch = self.calendar.epoch(step);
        let first = self.calendar.positions(step).start == 0;
        if first && epoch > 0 && loss.at(epoch) != loss.at(epoch - 1) {
            self.guard.trend = Default::default();
        }
    }

    /// Does what the job says about a fault of `step`: stops, leaves the step out, or goes back
    /// to the last checkpoint. Collective.
    pub(super) fn handle(
        &mut self,
        step: u64,
        epoch: u64,
        fault: Fault,
        slices: &[Slice<<T::Model as Model>::Batch>],
        terms: &[SliceTerms],
    ) -> Result<()> {
        let settings = self.plan.settings;
        self.rounding.forget();
        let suspects = self.suspects(epoch, fault, slices, terms);
        let spent = match settings.on_nonfinite {
            OnNonfinite::Stop => u64::MAX,
            OnNonfinite::Skip => self.guard.skipped,
            OnNonfinite::Rollback => self.guard.rollbacks,
        };
        let action = match settings.on_nonfinite {
            _ if spent >= settings.nonfinite_limit => "stop",
            OnNonfinite::Skip => "skip",
            _ => "rollback",
        };
        if action == "skip" {
            self.guard.skipped += 1;
            self.completed(step);
        }
        self.world.on_root(|| {
            let about = self.tell(step, fault, &suspects, action)?;
            if action == "stop" {
                return Err(self.divergence(&about));
            }
            log::warn!("{about}");
            Ok(())
        })?;
        match action {
            "rollback" => self.roll_back(step),
            _ => Ok(()),
        }
    }

    /// The error that ends the run.
    fn divergence(&self, about: &str) -> Error {
        let limit = self.plan.settings.nonfinite_limit;
        Error::internal(match self.plan.settings.on_nonfinite {
            OnNonfinite::Stop => format!(
                "training diverged: {about}; the last checkpoint is whole: resume with --set \
                 train.on_nonfinite=skip (or rollback), or start anew with a lower \
                 train.learning_rate"
            ),
            _ => format!(
                "training diverged: {about}; it is not the first such step and \
                 train.nonfinite_limit = {limit}: start anew with a lower train.learning_rate"
            ),
        })
    }

    /// Samples of this world's faulty slices that are most likely at fault, on rank 0.
    fn suspects(
        &self,
        epoch: u64,
        fault: Fault,
        slices: &[Slice<<T::Model as Model>::Batch>],
        terms: &[SliceTerms],
    ) -> Vec<Suspect> {
        let faulty = |t: &&SliceTerms| match fault {
            Fault::Spike { limit, .. } => t.values[0] > limit,
            _ => !t.finite,
        };
        let mut own: Vec<Suspect> = Vec::new();
        for number in terms.iter().filter(faulty).map(|t| t.number) {
            if let Some(slice) = slices.iter().find(|s| s.number == number) {
                own.extend(worst(self.sample_losses(epoch, slice)));
            }
        }
        let (ids, losses): (Vec<u64>, Vec<f64>) = own.into_iter().unzip();
        let ids = self.world.gather(&ids).concat();
        let losses = self.world.gather(&losses).concat();
        worst(ids.into_iter().zip(losses).collect())
    }

    /// The loss of each sample of a slice alone, in evaluation mode.
    fn sample_losses(&self, epoch: u64, slice: &Slice<<T::Model as Model>::Batch>) -> Vec<Suspect> {
        let model = self.plan.task.model();
        let mut losses = vec![0.0; slice.ids.len()];
        let weights = self.plan.loss.at(epoch);
        // A model that cannot compute these numbers tells nothing of single samples.
        let metrics = slice.batch.as_ref().and_then(|b| model.metrics(b).ok());
        for (name, values) in metrics.unwrap_or_default() {
            // Metrics that are no terms have no weight.
            let Ok(weight) = weights.of(name) else {
                continue;
            };
            let weighted = losses.iter_mut().zip(&values);
            weighted.for_each(|(loss, v)| *loss += weight * v);
        }
        slice.ids.iter().copied().zip(losses).collect()
    }

    /// Writes the fault to the log; the sentence about it.
    fn tell(&self, step: u64, fault: Fault, suspects: &[Suspect], action: &str) -> Result<String> {
        let task = self.plan.task;
        let finite = |s: &&Suspect| s.1.is_finite();
        let bad: Vec<&Suspect> = suspects.iter().filter(|s| !finite(s)).collect();
        let certain = !bad.is_empty();
        let named: Vec<&Suspect> = match certain {
            true => bad,
            false => suspects.iter().collect(),
        };
        let names: Vec<String> = named
            .iter()
            .map(|s| task.sample_name(Split::Train, s.0))
            .collect();
        let ids: Vec<u64> = named.iter().map(|s| s.0).collect();
        if let Some(log) = &self.log {
            let fields = [
                ("fault".to_string(), json!(fault.to_string())),
                ("at".into(), json!(step)),
                ("action".into(), json!(action)),
                ("samples".into(), json!(ids)),
                ("names".into(), json!(names)),
            ];
            log.append(MetricsLog::FAULT, self.done, fields)?;
        }
        let which = match (names.is_empty(), certain) {
            (true, _) => String::new(),
            (_, true) => format!(
                "; samples whose own loss is not finite: {}",
                names.join(", ")
            ),
            (_, false) => format!("; samples with the highest loss: {}", names.join(", ")),
        };
        let done = match action {
            "skip" => "; the step is left out",
            "rollback" => "; back to the last checkpoint, the step gets another batch",
            _ => "",
        };
        Ok(format!("step {step}: {fault}{which}{done}"))
    }

    /// Takes the last checkpoint's place in the run again. Collective.
    fn roll_back(&mut self, step: u64) -> Result<()> {
        let mut guard = self.guard.clone();
        guard.rollbacks += 1;
        guard.redraw(step);
        self.settle()?;
        let found = last_good(self.world, || self.plan.folder.newest())?;
        let Some(position) = found.progress() else {
            return Err(Error::internal("the last checkpoint is of no training run"));
        };
        self.take_over(&found, position)?;
        guard.trend = self.guard.trend.clone();
        guard.skipped = self.guard.skipped;
        self.guard = guard;
        if let Some(log) = &mut self.log {
            log.forget_after(self.done)?;
        }
        self.mirror_log()
    }
}

/// The newest whole checkpoint, on every rank.
fn last_good(world: &World, newest: impl FnOnce() -> Result<Option<Saved>>) -> Result<Saved> {
    let found = world.on_root(|| {
        newest()?.ok_or_else(|| Error::internal("no checkpoint is left to go back to"))
    })?;
    Saved::share(world, found)
}

/// The few worst: those that are not finite first, then the highest.
fn worst(mut suspects: Vec<Suspect>) -> Vec<Suspect> {
    let key = |s: &Suspect| if s.1.is_finite() { s.1 } else { f64::INFINITY };
    suspects.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.0.cmp(&b.0)));
    suspects.truncate(NAMED);
    suspects
}
