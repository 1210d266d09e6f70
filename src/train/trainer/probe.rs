//! What a run would cost: the plan's numbers, and ten steps to learn how long one takes.

use super::Trainer;
use crate::Result;
use crate::comm::{World, most_sent};
use crate::data::Split;
use crate::models::flat::Piece;
use crate::models::{Model, StepKey};
use crate::train::announce::{announce, human_bytes, peak_memory};
use crate::train::loader::Loader;
use crate::train::{Plan, Reduction, Task};
use indicatif::HumanDuration;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Steps that are tried; the first does not count, it fills caches.
const STEPS: u64 = 10;

/// Slices of each size that are tried.
const SLICES: usize = 15;

/// What a job costs this rank, in seconds where nothing else is said.
#[derive(Debug, Clone)]
pub struct Costs {
    pub parameters: u64,
    /// Numbers that a step sums over the slices.
    pub values: u64,
    /// Samples of a step, and the slices that they are cut into.
    pub batch: u64,
    pub slices: u64,
    /// Samples of all parts.
    pub samples: u64,
    /// The model computes on an accelerator.
    pub accelerator: bool,
    /// Forward and backward of a slice while every thread (an accelerator: one) computes one:
    /// this much, and `sample` for each of its samples.
    pub slice: f64,
    pub sample: f64,
    /// Processor time of preparing a sample.
    pub load: f64,
    /// The optimizer's step.
    pub update: f64,
    /// A whole step in this world, median.
    pub step: f64,
    /// Each of the equal slices that were tried.
    pub spread: Vec<f64>,
}

/// What the probe measured on this rank.
struct Probe {
    /// Median time of a step.
    step: Duration,
    /// Of that, the optimizer.
    update: Duration,
    /// Time of one block of the validation.
    block: Duration,
}

/// Prints what training by `plan` in this world would take; nothing is written. Collective.
///
/// # Errors
/// As [`super::train`].
pub fn probe<T: Task>(world: &World, plan: &Plan<T>) -> Result<()> {
    let mut trainer = world.agree(Trainer::idle(world, plan))?;
    trainer.initialise()?;
    world.agree(trainer.check_watches())?;
    announce(world, plan, &trainer.calendar, 0, trainer.particulars());
    let measured = trainer.try_steps();
    let measured = world.agree(measured)?;
    let peak = world.gather(&[peak_memory().unwrap_or(0)]).concat();
    if world.is_root() {
        trainer.print_costs(&measured, peak.into_iter().max().unwrap_or(0));
    }
    Ok(())
}

/// Measures what training by `plan` costs each rank while all ranks of this world work; nothing is
/// written. Collective.
///
/// # Errors
/// As [`super::train`].
pub fn costs<T: Task>(world: &World, plan: &Plan<T>) -> Result<Costs> {
    let mut trainer = world.agree(Trainer::idle(world, plan))?;
    let steps = trainer.try_steps();
    let steps = world.agree(steps)?;
    let slices = world.agree(trainer.try_slices())?;
    Ok(trainer.costs(&steps, slices))
}

/// Seconds that a slice took.
struct Seconds {
    /// To prepare it.
    load: f64,
    /// To compute one on every thread.
    compute: f64,
}

/// Seconds of slices of some size, and of preparing them; ascending.
struct Tried {
    samples: u64,
    compute: Vec<f64>,
    load: Vec<f64>,
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

impl<T: Task> Trainer<'_, T> {
    /// Slices of the job's size and of half of it, in turns.
    fn try_slices(&self) -> Result<[Tried; 2]> {
        let full = self.plan.settings.block().min(self.calendar.samples);
        let mut tried = [full, full.div_ceil(2)].map(|samples| Tried {
            samples,
            compute: Vec::new(),
            load: Vec::new(),
        });
        self.try_slice(full)?;
        for _ in 0..SLICES {
            for size in &mut tried {
                let seconds = self.try_slice(size.samples)?;
                size.load.push(seconds.load);
                size.compute.push(seconds.compute);
            }
        }
        for size in &mut tried {
            size.load.sort_by(f64::total_cmp);
            size.compute.sort_by(f64::total_cmp);
        }
        Ok(tried)
    }

    /// Tries a slice of `samples`.
    fn try_slice(&self, samples: u64) -> Result<Seconds> {
        let task = self.plan.task;
        let model = task.model();
        let weights = self.plan.loss.at(0);
        let key = StepKey {
            seed: self.plan.settings.seed,
            step: 0,
        };
        let started = Instant::now();
        let ids: Vec<u64> = (0..samples).collect();
        let batch = task.batch(Split::Train, &ids)?;
        let load = started.elapsed().as_secs_f64();
        let at_a_time = match model.parameters().device().is_cpu() {
            true => rayon::current_num_threads(),
            false => 1,
        };
        let started = Instant::now();
        (0..at_a_time)
            .into_par_iter()
            .map(|_| {
                let losses = model.losses_weighed(&batch, key, &weights)?;
                let (objective, missing) = (losses.objective(&weights)?, losses.missing(&weights));
                let parameters = model.parameters();
                let whole = Piece::new(0..parameters.len(), 1.0, parameters.device())?;
                let whole = parameters.backward(&objective, missing, whole)?;
                whole.finish().map(drop)
            })
            .collect::<Result<()>>()?;
        let compute = started.elapsed().as_secs_f64();
        Ok(Seconds { load, compute })
    }

    fn costs(&self, steps: &Probe, [full, half]: [Tried; 2]) -> Costs {
        let (task, parameters) = (self.plan.task, self.plan.task.model().parameters());
        let (whole, part) = (median(&full.compute), median(&half.compute));
        let more = (full.samples - half.samples) as f64;
        // What does not grow with the samples; noise must not make it negative.
        let sample = match more > 0.0 {
            true => ((whole - part) / more).clamp(0.0, whole / full.samples as f64),
            false => 0.0,
        };
        let threads = rayon::current_num_threads() as f64;
        let len = (parameters.len() + parameters.buffers().len() + 1) as u64;
        Costs {
            parameters: parameters.len() as u64,
            values: len,
            batch: self.plan.settings.batch,
            slices: self.plan.settings.slices as u64,
            samples: Split::ALL.iter().map(|&s| task.samples(s)).sum(),
            accelerator: !parameters.device().is_cpu(),
            slice: whole - sample * full.samples as f64,
            sample,
            load: median(&full.load) * threads / full.samples as f64,
            update: steps.update.as_secs_f64(),
            step: steps.step.as_secs_f64(),
            spread: full.compute,
        }
    }

    fn try_steps(&mut self) -> Result<Probe> {
        let (plan, calendar) = (self.plan, self.calendar);
        let (mut times, mut updates) = (Vec::new(), Vec::new());
        std::thread::scope(|scope| -> Result<()> {
            let steps = 0..calendar.steps.min(STEPS);
            let mut loader = Loader::start(
                scope,
                plan.task,
                self.world,
                calendar,
                steps.clone(),
                plan.settings,
                self.guard.clone(),
            );
            for step in steps {
                let started = Instant::now();
                let slices = loader.next_step()?;
                let (sum, _) = self.gradients(step, 0, &slices)?;
                let summed = Instant::now();
                self.update(step, sum)?;
                updates.push(summed.elapsed());
                times.push(started.elapsed());
            }
            Ok(())
        })?;
        if times.len() > 1 {
            times.remove(0);
            updates.remove(0);
        }
        times.sort();
        updates.sort();
        Ok(Probe {
            step: times[times.len() / 2],
            update: updates[updates.len() / 2],
            block: self.try_validation()?,
        })
    }

    fn try_validation(&self) -> Result<Duration> {
        let task = self.plan.task;
        let count = task
            .samples(Split::Validation)
            .min(self.plan.settings.block());
        if count == 0 {
            return Ok(Duration::ZERO);
        }
        let started = Instant::now();
        let ids: Vec<u64> = (0..count).collect();
        task.model()
            .metrics(&task.batch(Split::Validation, &ids)?)?;
        Ok(started.elapsed())
    }

    fn print_costs(&self, probe: &Probe, peak: u64) {
        let (plan, calendar, world) = (self.plan, &self.calendar, self.world);
        let ranks = world.size() as u64;
        let parameters = plan.task.model().parameters();
        let (len, buffers) = (parameters.len() as u64, parameters.buffers().len() as u64);
        let per_rank = |n: u64| match n.is_multiple_of(ranks) {
            true => (n / ranks).to_string(),
            false => format!("{} to {}", n / ranks, n.div_ceil(ranks)),
        };
        let validations: u64 = (0..calendar.steps.min(calendar.steps_per_epoch()))
            .filter(|&s| calendar.evaluates(s))
            .count() as u64;
        let epochs = calendar.steps.div_ceil(calendar.steps_per_epoch());
        let blocks = plan
            .task
            .samples(Split::Validation)
            .div_ceil(self.plan.settings.block());
        let threads = rayon::current_num_threads() as u64;
        let validation =
            probe.block * (blocks.div_ceil(ranks * threads) * validations * epochs) as u32;
        let training = probe.step.mul_f64(calendar.steps as f64);
        let rows = [
            (
                "peak memory",
                format!("{} per rank, measured", human_bytes(peak)),
            ),
            (
                "samples",
                format!("{} per rank and epoch", per_rank(calendar.samples)),
            ),
            (
                "slices",
                format!(
                    "{} per rank and step",
                    per_rank(plan.settings.slices as u64)
                ),
            ),
            ("steps", calendar.steps.to_string()),
            ("communication", self.communication(len + buffers + 1)),
            (
                "checkpoint",
                human_bytes(4 * (plan.settings.saved() as u64 * len + buffers)),
            ),
            (
                "a step",
                format!(
                    "{:.1?} (median of {} tried)",
                    probe.step,
                    calendar.steps.min(STEPS)
                ),
            ),
            (
                "time",
                format!(
                    "{}, of which validation {}",
                    HumanDuration(training + validation),
                    HumanDuration(validation)
                ),
            ),
        ];
        for (name, value) in rows {
            crate::say!("{name:>13}  {value}");
        }
    }

    /// What a step moves between ranks when the sum has `len` numbers.
    fn communication(&self, len: u64) -> String {
        let ranks = self.world.size() as u64;
        if ranks == 1 {
            return "none".into();
        }
        let compressed = self.plan.settings.compression.is_some();
        let most = |ranks: u64| {
            let ranks = ranks as usize;
            human_bytes(4 * most_sent(self.plan.settings.slices, len as usize, ranks) as u64)
        };
        let two = 1u64 << ranks.ilog2();
        match (self.plan.settings.reduction, ranks == two) {
            (Reduction::Fast, _) if compressed => {
                let group = self.rounding.group() as u64;
                let within = 8 * (len - len / group);
                let back = if self.is_sharded() { 4 } else { 2 };
                let rounded = (2 + back) * (len / group - len / ranks);
                format!(
                    "{} sent by each rank and step, {} to groups on other hosts",
                    human_bytes(within + rounded),
                    human_bytes(rounded)
                )
            }
            (Reduction::Fast, _) if !self.is_sharded() => {
                format!("about {} sent by each rank and step", most(two))
            }
            (_, true) => format!("{} sent by each rank and step", most(ranks)),
            (_, false) => format!(
                "up to {} sent by a rank and step; {two} ranks need {}",
                most(ranks),
                most(two)
            ),
        }
    }
}
