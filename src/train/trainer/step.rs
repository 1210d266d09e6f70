//! One step: the gradient over the global batch, and the update.

use super::Trainer;
use super::sums::Sums;
use crate::comm::{Bucket, SliceTree, pulse};
use crate::models::layers::Others;
use crate::models::{Flat, Model, StepKey, scalar};
use crate::train::guard::seed_of_draw;
use crate::train::loader::Slice;
use crate::train::{Compression, Reduction, Task};
use crate::{Error, Result, trace};
use rayon::prelude::*;
use std::sync::mpsc;

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
    pub gradient: Flat,
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
        let key = StepKey { seed, step };
        let told = self.told(key, slices)?;
        let rest_len = model.parameters().buffers().len() + 1;
        let (ready, coming) = mpsc::channel();
        let sums = match self.overlaps() {
            true => Sums::in_buckets(model.parameters(), slices.len(), ready),
            false => Sums::new(model.parameters(), slices.len()),
        };
        // Statistics and objective, which every rank needs in any case.
        let rest = SliceTree::new();
        let of_slice = |slice: &Slice<<T::Model as Model>::Batch>| {
            let Some(batch) = &slice.batch else {
                sums.insert_nothing(slice.number)?;
                rest.insert(slice.number, vec![0.0; rest_len]);
                return Ok(None);
            };
            let _span = trace::numbered("slice", slice.number as u64);
            let forward = trace::span("forward pass");
            let losses = match &told {
                Some(told) => {
                    let (own, share) = (slice.number, slice.share);
                    model.losses_among(batch, key, Others { told, own, share })?
                }
                None => model.losses_weighed(batch, key, &weights)?,
            };
            let objective = losses.objective(&weights)?;
            drop(forward);
            pulse::tick();
            let (share, missing) = (slice.share as f32, losses.missing(&weights));
            let backward = trace::span("backward pass");
            let mut finite = sums.insert(slice.number, share, &objective, missing)?;
            drop(backward);
            let objective = scalar(&objective)?;
            let mut values = vec![objective];
            values.extend(losses.term_values()?);
            let mut statistics = losses.statistics_values()?;
            let names = losses.terms.iter().map(|t| t.0).collect();
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
        let compute = || -> Result<Vec<Option<SliceTerms>>> {
            match model.parameters().device().is_cpu() {
                true => slices.par_iter().map(of_slice).collect(),
                false => slices.iter().map(of_slice).collect(),
            }
        };
        let (terms, gradient) = match self.overlaps() {
            true => self.sum_meanwhile(&sums, coming, compute)?,
            false => (compute()?, self.sum_over_ranks(sums)?),
        };
        let terms = terms.into_iter().flatten().collect();
        let mut statistics = world.tree_sum(plan.settings.slices, rest_len, rest);
        let objective = statistics.pop().unwrap_or(f32::NAN);
        let sum = Sum {
            gradient,
            statistics,
            objective,
        };
        Ok((sum, terms))
    }

    /// Whether sums over the ranks are under way while the backward pass goes on.
    fn overlaps(&self) -> bool {
        let (plan, model) = (self.plan, self.plan.task.model().parameters());
        plan.settings.reduction == Reduction::Fast
            && plan.settings.compression.is_none()
            && !self.is_sharded()
            && model.device().is_cpu()
            && self.world.overlaps()
    }

    /// Lets other threads compute while this one, which is MPI's, sums what they have computed.
    fn sum_meanwhile<R: Send>(
        &self,
        sums: &Sums,
        coming: mpsc::Receiver<Bucket>,
        compute: impl FnOnce() -> Result<R> + Send,
    ) -> Result<(R, Flat)> {
        let len = self.plan.task.model().parameters().len();
        let mut computed = Err(Error::internal("no slice was computed"));
        let total = rayon::in_place_scope(|scope| {
            scope.spawn(|_| {
                computed = compute();
                sums.close();
            });
            self.world.fast_sum_of(len, &coming)
        });
        let computed = computed?;
        let total = total.ok_or_else(|| Error::internal("a bucket of the gradient is missing"))?;
        Ok((computed, Flat::Host(total)))
    }

    /// The sum of all ranks' gradients, or this rank's part of it, where the model is.
    fn sum_over_ranks(&mut self, sums: Sums) -> Result<Flat> {
        let _span = trace::span("sum of gradients");
        let (plan, world) = (self.plan, self.world);
        if world.size() == 1 {
            return sums.into_sum();
        }
        #[cfg(feature = "nccl")]
        if let Some(nccl) = &self.nccl {
            let sum = sums.into_sum()?;
            if let Flat::Device(vector) = &sum {
                nccl.sum(vector)?;
            }
            return Ok(sum);
        }
        let model = plan.task.model().parameters();
        let (len, tree) = (model.len(), sums.on_host()?);
        let sum = match (plan.settings.compression, self.is_sharded()) {
            (Some(Compression::Bf16), true) => {
                world.compressed_sum_part(len, tree, &mut self.rounding)
            }
            (Some(Compression::Bf16), false) => world.compressed_sum(len, tree, &mut self.rounding),
            (None, true) => world.tree_sum_part(plan.settings.slices, len, tree),
            (None, false) => match plan.settings.reduction {
                Reduction::Reproducible => world.tree_sum(plan.settings.slices, len, tree),
                Reduction::Fast => world.fast_sum(len, tree),
            },
        };
        Flat::from_host(sum, model.device())
    }

    /// One optimizer step.
    pub(super) fn update(&mut self, step: u64, sum: Sum) -> Result<()> {
        let _span = trace::span("update");
        let model = self.plan.task.model().parameters();
        let (rate, scale) = (self.rate_factor(step), self.clip(&sum)?);
        self.adam.scaled_step(model, &sum.gradient, rate, scale)?;
        if self.is_sharded() {
            self.adam.share(self.world, model, sum.gradient)?;
        }
        if let Some(average) = &mut self.average {
            average.update(model, self.adam.steps() - 1)?;
        }
        self.groups.update_buffers(model, &sum.statistics)?;
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
