//! What a run would cost: the plan's numbers, and ten steps to learn how long one takes.

use super::Trainer;
use crate::Result;
use crate::comm::{World, most_sent};
use crate::models::Model;
use crate::train::announce::{announce, human_bytes, peak_memory};
use crate::train::loader::Loader;
use crate::train::schedule::WeightSchedule;
use crate::train::{Part, Plan, Reduction, Task};
use indicatif::HumanDuration;
use std::time::{Duration, Instant};

/// Steps that are tried; the first does not count, it fills caches.
const STEPS: u64 = 10;

/// What the probe measured on this rank.
struct Probe {
    /// Median time of a step.
    step: Duration,
    /// Time of one block of the validation.
    block: Duration,
}

/// Prints what training by `plan` in this world would take; nothing is written. Collective.
///
/// # Errors
/// As [`super::train`].
pub fn probe<T: Task, W: WeightSchedule + Sync>(world: &World, plan: &Plan<T, W>) -> Result<()> {
    let mut trainer = world.agree(Trainer::idle(world, plan))?;
    announce(world, plan, &trainer.calendar, 0);
    let measured = trainer.try_steps();
    let measured = world.agree(measured)?;
    let peak = world.gather(&[peak_memory().unwrap_or(0)]).concat();
    if world.is_root() {
        trainer.print_costs(&measured, peak.into_iter().max().unwrap_or(0));
    }
    Ok(())
}

impl<T: Task, W: WeightSchedule + Sync> Trainer<'_, T, W> {
    fn try_steps(&mut self) -> Result<Probe> {
        let (plan, calendar) = (self.plan, self.calendar);
        let mut times = Vec::new();
        std::thread::scope(|scope| -> Result<()> {
            let steps = 0..calendar.steps.min(STEPS);
            let mut loader = Loader::start(
                scope,
                plan.task,
                self.world,
                calendar,
                steps.clone(),
                plan.slices,
                plan.settings.seed,
                self.guard.clone(),
            );
            for step in steps {
                let started = Instant::now();
                let slices = loader.next_step()?;
                let (sum, _) = self.gradients(step, 0, &slices)?;
                self.update(step, 0, sum)?;
                times.push(started.elapsed());
            }
            Ok(())
        })?;
        if times.len() > 1 {
            times.remove(0);
        }
        times.sort();
        Ok(Probe {
            step: times[times.len() / 2],
            block: self.try_validation()?,
        })
    }

    fn try_validation(&self) -> Result<Duration> {
        let task = self.plan.task;
        let count = task.samples(Part::Validation).min(self.block());
        if count == 0 {
            return Ok(Duration::ZERO);
        }
        let started = Instant::now();
        let ids: Vec<u64> = (0..count).collect();
        task.model().metrics(&task.batch(Part::Validation, &ids)?)?;
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
        let blocks = plan.task.samples(Part::Validation).div_ceil(self.block());
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
                format!("{} per rank and step", per_rank(plan.slices as u64)),
            ),
            ("steps", calendar.steps.to_string()),
            ("communication", self.communication(len + buffers + 1)),
            // Parameters and two moments.
            ("checkpoint", human_bytes(4 * (3 * len + buffers))),
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
            println!("{name:>13}  {value}");
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
            human_bytes(4 * most_sent(self.plan.slices, len as usize, ranks) as u64)
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
