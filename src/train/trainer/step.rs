//! One step: the gradient over the global batch, and the update.

use super::Trainer;
use super::sums::Sums;
use crate::Result;
use crate::comm::{SliceTree, pulse};
use crate::models::{Model, StepKey, scalar, to_host};
use crate::train::guard::seed_of_draw;
use crate::train::loader::Slice;
use crate::train::optimizer::{Gradient, Optimizer};
use crate::train::{Compression, Reduction, Task};
use rayon::prelude::*;

/// What one slice contributed.
pub(super) struct SliceTerms {
    pub number: usize,
    pub share: f64,
    /// Whether its gradient and its statistics are finite.
    pub finite: bool,
    pub names: Vec<&'static str>,
    /// The objective, then the terms of `names`.
    pub values: Vec<f64>,
}

/// Sums over all slices of all ranks.
pub(super) struct Sum {
    /// Gradient of the mean objective over the global batch: all of it, or this rank's part where
    /// the optimizer's state is sharded; what lies around the part means nothing.
    pub gradient: Gradient,
    /// Batch statistics, the same on every rank.
    pub statistics: Vec<f32>,
    /// The objective, the same on every rank.
    pub objective: f32,
}

impl<T: Task> Trainer<'_, T> {
    /// Whether a rank holds the moments of its part of the parameters only.
    pub(super) fn is_sharded(&self) -> bool {
        self.own.len() < self.plan.task.model().parameters().len()
    }

    /// The sums over the slices of a step, and what this rank's slices contributed.
    pub(super) fn gradients(
        &mut self,
        step: u64,
        epoch: u64,
        slices: &[Slice<<T::Model as Model>::Batch>],
    ) -> Result<(Sum, Vec<SliceTerms>)> {
        let (plan, world) = (self.plan, self.world);
        let model = plan.task.model();
        let weights = plan.loss.at(epoch);
        let seed = seed_of_draw(plan.settings.seed, self.guard.draw(step));
        let rest_len = model.parameters().buffers().len() + 1;
        // The gradient; statistics and objective, which every rank needs in any case.
        let (sums, rest) = (Sums::new(self.sums_on_device()), SliceTree::new());
        let of_slice = |slice: &Slice<<T::Model as Model>::Batch>| {
            let Some(batch) = &slice.batch else {
                sums.insert_nothing(slice.number, model.parameters())?;
                rest.insert(slice.number, vec![0.0; rest_len]);
                return Ok(None);
            };
            let losses = model.losses(batch, StepKey { seed, step })?;
            let objective = losses.objective(&weights)?;
            pulse::tick();
            let store = objective.backward()?;
            let objective = scalar(&objective)?;
            let mut values = vec![objective];
            values.extend(losses.term_values()?);
            let mut statistics = losses.statistics_values()?;
            let names = losses.terms.iter().map(|t| t.0).collect();
            drop(losses); // and with it the activations
            let share = slice.share as f32;
            let mut finite = sums.insert(slice.number, share, model.parameters(), store)?;
            finite &= objective.is_finite();
            for value in &mut statistics {
                finite &= value.is_finite();
                *value *= share;
            }
            statistics.push(objective as f32 * share);
            rest.insert(slice.number, statistics);
            Ok(Some(SliceTerms {
                number: slice.number,
                share: slice.share,
                finite,
                names,
                values,
            }))
        };
        // A GPU takes slice after slice: each fills it.
        let terms: Result<Vec<Option<SliceTerms>>> = match model.parameters().device().is_cpu() {
            true => slices.par_iter().map(of_slice).collect(),
            false => slices.iter().map(of_slice).collect(),
        };
        let terms = terms?.into_iter().flatten().collect();
        let gradient = match sums {
            Sums::Host(tree) => Gradient::Host(self.sum_on_hosts(tree)),
            Sums::Device(tree) => {
                let sum = tree.into_sum(model.parameters())?;
                #[cfg(feature = "nccl")]
                if let Some(nccl) = &self.nccl {
                    nccl.sum(&sum)?;
                }
                match self.optimizer.is_on_device() {
                    true => Gradient::Device(sum),
                    false => Gradient::Host(to_host(&sum)?),
                }
            }
        };
        let mut statistics = world.tree_sum(plan.settings.slices, rest_len, rest);
        let objective = statistics.pop().unwrap_or(f32::NAN);
        let sum = Sum {
            gradient,
            statistics,
            objective,
        };
        Ok((sum, terms))
    }

    /// Whether gradients are summed where the model is.
    fn sums_on_device(&self) -> bool {
        #[cfg(feature = "nccl")]
        if self.nccl.is_some() {
            return true;
        }
        self.optimizer.is_on_device()
    }

    /// The sum of all ranks' gradients, or this rank's part of it.
    fn sum_on_hosts(&mut self, tree: SliceTree) -> Vec<f32> {
        let (plan, world) = (self.plan, self.world);
        let len = plan.task.model().parameters().len();
        match (plan.settings.compression, self.is_sharded()) {
            (Some(Compression::Bf16), true) => {
                world.compressed_sum_part(len, tree, &mut self.rounding)
            }
            (Some(Compression::Bf16), false) => world.compressed_sum(len, tree, &mut self.rounding),
            (None, true) => world.tree_sum_part(plan.settings.slices, len, tree),
            (None, false) => match plan.settings.reduction {
                Reduction::Reproducible => world.tree_sum(plan.settings.slices, len, tree),
                Reduction::Fast => world.fast_sum(len, tree),
            },
        }
    }

    /// One optimizer step.
    pub(super) fn update(&mut self, step: u64, epoch: u64, sum: Sum) -> Result<()> {
        let settings = self.plan.settings;
        let zero_epochs = self.plan.loss.zero_epochs();
        let rate = settings
            .learning_rate_schedule
            .at(settings.learning_rate, epoch, zero_epochs);
        let model = self.plan.task.model().parameters();
        let parts = self
            .optimizer
            .step(sum.gradient, rate, model, self.own.clone())?;
        Optimizer::share(self.world, model, parts)?;
        model.update_buffers(&sum.statistics)?;
        self.guard.trend.add(sum.objective);
        self.completed(step);
        Ok(())
    }

    pub(super) fn completed(&mut self, step: u64) {
        self.done = step + 1;
        let positions = self.calendar.positions(step);
        self.samples_since += positions.end - positions.start;
    }
}
