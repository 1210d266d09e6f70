//! Prepares the next batch while the model computes the current one.

use super::guard::{Guard, seed_of_draw};
use super::{Calendar, Settings, Task};
use crate::comm::World;
use crate::comm::slice_range;
use crate::data::noise::Noise;
use crate::data::sampler::Permutation;
use crate::models::{Model, StepKey};
use crate::{Error, Result, trace};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// This rank's share of one slice of a global batch.
pub struct Slice<B> {
    /// Number of the slice, the same for every world.
    pub number: usize,
    /// Numbers of its samples.
    pub ids: Vec<u64>,
    /// Their share of the global batch.
    pub share: f64,
    /// `None` when the batch is too small to give every slice a sample.
    pub batch: Option<B>,
}

/// The places of slice `number` of `slices` in a batch that occupies `positions`: contiguous,
/// sizes differing by at most one.
pub fn slice_positions(positions: &Range<u64>, number: usize, slices: usize) -> Range<u64> {
    let (len, s) = (positions.end - positions.start, slices as u64);
    let at = |i: u64| positions.start + len * i / s;
    at(number as u64)..at(number as u64 + 1)
}

/// Order of the samples in an epoch: a keyed permutation, computed per place.
fn epoch_order(samples: u64, seed: u64, epoch: u64) -> Permutation {
    let mut key = seed.to_le_bytes().to_vec();
    key.extend(epoch.to_le_bytes());
    Permutation::new(samples, xxhash_rust::xxh3::xxh3_64(&key))
}

/// One rank's slices of every step, in order, made one step ahead by another thread.
pub struct Loader<B> {
    ready: Receiver<Result<Vec<Slice<B>>>>,
    stalled: Duration,
}

impl<B: Send> Loader<B> {
    /// Starts to prepare the batches of `steps`, as often redrawn as `guard` says.
    pub fn start<'scope, 'env, T>(
        scope: &'scope Scope<'scope, 'env>,
        task: &'env T,
        world: &World,
        calendar: Calendar,
        steps: Range<u64>,
        settings: &'env Settings,
        guard: Guard,
    ) -> Self
    where
        T: Task,
        T::Model: Model<Batch = B>,
        B: 'scope,
    {
        let own = slice_range(settings.slices, world.rank(), world.size());
        let (send, ready) = sync_channel(1);
        scope.spawn(move || {
            for step in steps {
                let _span = trace::numbered("batch", step);
                let draw = Draw {
                    step,
                    seed: seed_of_draw(settings.seed, guard.draw(step)),
                };
                let slices = own
                    .clone()
                    .map(|s| slice_of(task, &calendar, settings, draw, s))
                    .collect();
                // The trainer has stopped: nobody wants the rest.
                if send.send(slices).is_err() {
                    return;
                }
            }
        });
        Self {
            ready,
            stalled: Duration::ZERO,
        }
    }

    /// The next step's slices, in ascending number.
    pub fn next_step(&mut self) -> Result<Vec<Slice<B>>> {
        let start = Instant::now();
        let _span = trace::span("waiting for data");
        let slices = self
            .ready
            .recv()
            .map_err(|_| Error::internal("the loader ended before the run"))?;
        self.stalled += start.elapsed();
        slices
    }

    /// Time spent waiting for batches since the last call.
    pub fn take_stalled(&mut self) -> Duration {
        std::mem::take(&mut self.stalled)
    }
}

/// What the samples of a step are drawn by.
#[derive(Clone, Copy)]
struct Draw {
    step: u64,
    seed: u64,
}

fn slice_of<T: Task>(
    task: &T,
    calendar: &Calendar,
    settings: &Settings,
    draw: Draw,
    number: usize,
) -> Result<Slice<<T::Model as Model>::Batch>> {
    let Draw { step, seed } = draw;
    let positions = calendar.positions(step);
    let mine = slice_positions(&positions, number, settings.slices);
    let order = epoch_order(calendar.samples, seed, calendar.epoch(step));
    let ids: Vec<u64> = mine.map(|p| order.at(p)).collect();
    let batch = match (ids.is_empty(), settings.coordinate_noise) {
        (true, _) => None,
        (false, None) => Some(task.training_batch(&ids, StepKey { seed, step })?),
        (false, Some(deviation)) => {
            let noise = Noise {
                deviation,
                seed,
                step,
            };
            Some(task.noisy_batch(&ids, &noise)?)
        }
    };
    Ok(Slice {
        number,
        share: ids.len() as f64 / (positions.end - positions.start) as f64,
        ids,
        batch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_a_batch() {
        for (start, len, slices) in [(0, 64, 4), (30, 7, 4), (5, 2, 8)] {
            let positions = start..start + len;
            let all: Vec<u64> = (0..slices)
                .flat_map(|s| slice_positions(&positions, s, slices))
                .collect();
            assert_eq!(all, positions.collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_differ_and_cover_the_samples() {
        let order = |epoch| {
            let p = epoch_order(100, 7, epoch);
            (0..100).map(|i| p.at(i)).collect::<Vec<u64>>()
        };
        let mut first = order(0);
        assert_ne!(first, order(1));
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
    }
}
