//! The training loop.

mod faults;
mod probe;
mod report;

pub use probe::{Costs, costs, probe};

use super::announce::announce;
use super::checkpoint::{Best, Checkpoint, Moments, Progress as Position};
use super::guard::{Guard, seed_of_draw};
use super::loader::{Loader, Slice};
use super::metrics::MetricsLog;
use super::optimizer::Adam;
use super::progress::Progress;
use super::run_folder::RunFolder;
use super::schedule::WeightSchedule;
use super::settings::FREE_ON_RESUME;
use super::signal::StopSignal;
use super::writer::{Writer, Written};
use super::{Calendar, OnNonfinite, Part, Reduction, Settings, Task, job};
use crate::comm::{SliceTree, World, pulse};
use crate::models::{Model, StepKey};
use crate::{Error, Result};
use rayon::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// What to train and how.
pub struct Plan<'a, T: Task, W> {
    pub task: &'a T,
    pub settings: &'a Settings<W>,
    /// Samples of a global batch.
    pub batch: u64,
    /// Slices that a global batch is cut into: a power of two, at least the number of ranks.
    pub slices: usize,
    /// The resolved job, as it is saved with the run.
    pub job: String,
    pub folder: &'a RunFolder,
}

/// What one slice contributed.
struct SliceTerms {
    number: usize,
    share: f64,
    /// Whether its gradient and its statistics are finite.
    finite: bool,
    names: Vec<&'static str>,
    /// The objective, then the terms of `names`.
    values: Vec<f64>,
}

struct Trainer<'a, T: Task, W> {
    world: &'a World,
    plan: &'a Plan<'a, T, W>,
    calendar: Calendar,
    adam: Adam,
    parameters: Vec<f32>,
    best: Option<Best>,
    guard: Guard,
    /// Steps completed.
    done: u64,
    /// On rank 0.
    log: Option<MetricsLog>,
    /// On rank 0.
    writer: Option<Writer>,
    /// Why no checkpoint can be written, until all ranks know.
    failed: Option<Error>,
    /// Time that training waited for checkpoints: not yet logged, and logged.
    stalled: Duration,
    stalled_in_all: Duration,
    started: Instant,
    progress: Progress,
    signal: Option<StopSignal>,
    since: Instant,
    samples_since: u64,
}

/// Trains to the end of the plan, from `checkpoint` if there is one. Collective.
///
/// # Errors
/// A plan that does not fit the world or the checkpoint; a failed write; a numeric fault that the
/// settings do not let pass; [`Error::Preempted`] when a signal asked for the stop.
pub fn train<T: Task, W: WeightSchedule + Sync>(
    world: &World,
    plan: &Plan<T, W>,
    checkpoint: Option<&Checkpoint>,
) -> Result<()> {
    let trainer = world.agree(Trainer::new(world, plan, checkpoint))?;
    trainer.run()
}

impl<'a, T: Task, W: WeightSchedule + Sync> Trainer<'a, T, W> {
    fn new(
        world: &'a World,
        plan: &'a Plan<'a, T, W>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self> {
        let mut trainer = Self::idle(world, plan)?;
        if let Some(checkpoint) = checkpoint {
            trainer.restore(checkpoint)?;
        }
        let (done, steps) = (trainer.done, trainer.calendar.steps);
        trainer.progress = Progress::new(world.speaks(), done, steps);
        trainer.signal = Some(StopSignal::listen()?);
        if world.is_root() {
            plan.folder.begin(&plan.job)?;
            trainer.log = Some(trainer.open_log(checkpoint.is_some())?);
            trainer.writer = Some(Writer::start(plan.folder.clone(), plan.settings.keep)?);
        }
        Ok(trainer)
    }

    /// A trainer that writes nothing and hears no signals.
    fn idle(world: &'a World, plan: &'a Plan<'a, T, W>) -> Result<Self> {
        check_slices(plan.slices, world.size())?;
        plan.settings.check()?;
        let samples = plan.task.samples(Part::Train);
        let model = plan.task.model().parameters();
        Ok(Self {
            world,
            plan,
            calendar: Calendar::new(samples, plan.batch, plan.settings)?,
            adam: Adam::new(plan.settings.adam, model.len()),
            parameters: model.flat()?,
            best: None,
            guard: Guard::default(),
            done: 0,
            log: None,
            writer: None,
            failed: None,
            stalled: Duration::ZERO,
            stalled_in_all: Duration::ZERO,
            started: Instant::now(),
            progress: Progress::new(false, 0, 0),
            signal: None,
            since: Instant::now(),
            samples_since: 0,
        })
    }

    /// Samples of the validation that are computed at a time.
    fn block(&self) -> u64 {
        (self.plan.batch / self.plan.slices as u64).max(1)
    }

    /// Takes over the state of a checkpoint after making sure that it is of this very run.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let folder = self.plan.folder.path();
        let Some((position, moments)) = &checkpoint.training else {
            return Err(Error::file(folder, "the checkpoint is of no training run"));
        };
        job::same_but(folder, &position.job, &self.plan.job, FREE_ON_RESUME)?;
        let fingerprint = self.plan.task.fingerprint();
        if position.fingerprint != fingerprint {
            return Err(Error::file(
                folder,
                format!(
                    "the dataset has changed since the run was started (fingerprint {}, now \
                     {fingerprint}); resume with the old dataset or start a new run",
                    position.fingerprint
                ),
            ));
        }
        if position.step > self.calendar.steps {
            return Err(Error::file(
                folder,
                format!(
                    "the run is at step {} already, past the job's {} steps",
                    position.step, self.calendar.steps
                ),
            ));
        }
        self.take_over(checkpoint, position, moments)
    }

    /// Puts the state of a checkpoint in the place of the present one.
    fn take_over(
        &mut self,
        checkpoint: &Checkpoint,
        position: &Position,
        moments: &Moments,
    ) -> Result<()> {
        let model = self.plan.task.model().parameters();
        checkpoint.load_into(self.plan.folder.path(), model)?;
        self.parameters = model.flat()?;
        self.adam.steps = moments.steps;
        self.adam.first.clone_from(&moments.first);
        self.adam.second.clone_from(&moments.second);
        self.best = position.best;
        self.guard.clone_from(&position.guard);
        self.done = position.step;
        Ok(())
    }

    /// A line without numbers; collective.
    fn log_event(&self, event: &str) -> Result<()> {
        let log = || match &self.log {
            Some(log) => log.append(event, self.done, []),
            None => Ok(()),
        };
        self.world.on_root(log).map(drop)
    }

    fn open_log(&self, resumed: bool) -> Result<MetricsLog> {
        let path = self.plan.folder.metrics();
        let (log, event) = if resumed {
            (MetricsLog::resume(&path, self.done)?, "resume")
        } else {
            (MetricsLog::create(&path)?, "start")
        };
        log.append(
            event,
            self.done,
            [
                ("ranks".into(), json!(self.world.size())),
                ("steps".into(), json!(self.calendar.steps)),
            ],
        )?;
        Ok(log)
    }

    fn run(mut self) -> Result<()> {
        announce(self.world, self.plan, &self.calendar, self.done);
        if self.done == 0 && self.plan.settings.on_nonfinite == OnNonfinite::Rollback {
            self.save(false); // what to go back to before the first checkpoint is due
        }
        while self.done < self.calendar.steps {
            self.stretch()?;
        }
        self.settle()?;
        self.log_event("end")?;
        self.finish();
        Ok(())
    }

    /// Trains to the end of the plan, or to the next rollback.
    fn stretch(&mut self) -> Result<()> {
        let (plan, calendar) = (self.plan, self.calendar);
        let steps = self.done..calendar.steps;
        std::thread::scope(|scope| {
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
                let epoch = calendar.epoch(step);
                pulse::step(step);
                pulse::enter("waiting for data");
                let slices = loader.next_step()?;
                pulse::enter("computing");
                let (sum, terms) = self.gradients(step, epoch, &slices)?;
                if let Some(fault) = self.fault(step, &sum)? {
                    self.handle(step, epoch, fault, &slices, &terms)?;
                    if self.done <= step {
                        return Ok(()); // rolled back: the loader starts again
                    }
                } else {
                    self.update(step, epoch, &sum)?;
                }
                if self.done.is_multiple_of(plan.settings.log_every) {
                    let stalled = loader.take_stalled().as_secs_f64();
                    self.record(epoch, terms, stalled)?;
                }
                self.after_step(step, epoch)?;
            }
            Ok(())
        })
    }

    /// Validates, saves, draws and stops as the calendar and the signals say.
    fn after_step(&mut self, step: u64, epoch: u64) -> Result<()> {
        let calendar = self.calendar;
        let improved = calendar.evaluates(step) && self.validate(epoch)?;
        let stop = self.agree_on(self.asked())? && !calendar.is_last(step);
        if calendar.saves(step) || improved || stop {
            self.save(improved);
        }
        if calendar.ends_epoch(step) || calendar.is_last(step) || stop {
            self.draw()?;
        }
        match stop {
            true => self.settle().and_then(|()| self.preempted()),
            false => Ok(()),
        }
    }

    /// The gradient of the mean objective over the global batch, followed by the batch
    /// statistics and the objective itself; summed over all slices of all ranks.
    fn gradients(
        &self,
        step: u64,
        epoch: u64,
        slices: &[Slice<<T::Model as Model>::Batch>],
    ) -> Result<(Vec<f32>, Vec<SliceTerms>)> {
        let model = self.plan.task.model();
        let weights = self.plan.settings.weights.at(epoch);
        let seed = seed_of_draw(self.plan.settings.seed, self.guard.draw(step));
        let len = self.parameters.len() + model.parameters().buffers().len() + 1;
        let tree = SliceTree::new();
        let terms: Result<Vec<Option<SliceTerms>>> = slices
            .par_iter()
            .map(|slice| {
                let Some(batch) = &slice.batch else {
                    tree.insert(slice.number, vec![0.0; len]);
                    return Ok(None);
                };
                let losses = model.losses(batch, &weights, StepKey { seed, step })?;
                pulse::tick();
                let store = losses.objective.backward()?;
                let objective = losses.objective.to_dtype(candle_core::DType::F64)?;
                let objective = objective.to_scalar::<f64>()?;
                let mut vector = model.parameters().gradients(&store)?;
                vector.extend(&losses.statistics);
                let finite = vector.iter().all(|v| v.is_finite());
                vector.push(objective as f32);
                let share = slice.share as f32;
                vector.iter_mut().for_each(|v| *v *= share);
                tree.insert(slice.number, vector);
                let mut values = vec![objective];
                values.extend(losses.terms.iter().map(|t| t.1));
                Ok(Some(SliceTerms {
                    number: slice.number,
                    share: slice.share,
                    finite: finite && objective.is_finite(),
                    names: losses.terms.iter().map(|t| t.0).collect(),
                    values,
                }))
            })
            .collect();
        let terms = terms?.into_iter().flatten().collect();
        let sum = match self.plan.settings.reduction {
            Reduction::Reproducible => self.world.tree_sum(self.plan.slices, len, tree),
            Reduction::Fast => self.world.fast_sum(len, tree),
        };
        Ok((sum, terms))
    }

    /// One optimizer step, the same on every rank.
    fn update(&mut self, step: u64, epoch: u64, sum: &[f32]) -> Result<()> {
        let settings = self.plan.settings;
        let zero_epochs = settings.weights.zero_epochs();
        let rate = settings
            .learning_rate_schedule
            .at(settings.learning_rate, epoch, zero_epochs);
        let (gradients, rest) = sum.split_at(self.parameters.len());
        let (statistics, objective) = rest.split_at(rest.len() - 1);
        self.adam.step(&mut self.parameters, gradients, rate);
        let model = self.plan.task.model().parameters();
        model.set_flat(&self.parameters)?;
        model.update_buffers(statistics)?;
        self.guard.trend.add(objective[0]);
        self.completed(step);
        Ok(())
    }

    fn completed(&mut self, step: u64) {
        self.done = step + 1;
        let positions = self.calendar.positions(step);
        self.samples_since += positions.end - positions.start;
    }

    /// Hands a checkpoint to the writer. Rank 0 alone has something to do; what goes wrong here
    /// or in the background, all ranks learn in the next [`Trainer::agree_on`].
    fn save(&mut self, best: bool) {
        if !self.world.is_root() {
            return;
        }
        pulse::enter("writing a checkpoint");
        let started = Instant::now();
        let handed = self.hand_over(best);
        let stall = started.elapsed();
        self.stalled += stall;
        self.since += stall; // no part of the training speed
        self.note_written(handed);
    }

    fn hand_over(&mut self, best: bool) -> Result<Option<Written>> {
        let (plan, calendar) = (self.plan, &self.calendar);
        let model = plan.task.model().parameters();
        let mut checkpoint = Checkpoint::of_model(plan.task.description()?, model)?;
        let position = Position {
            step: self.done,
            epoch: calendar.epoch(self.done),
            position: self.done % calendar.steps_per_epoch() * calendar.batch,
            seed: plan.settings.seed,
            best: self.best,
            guard: self.guard.clone(),
            job: plan.job.clone(),
            fingerprint: plan.task.fingerprint(),
        };
        let moments = Moments {
            steps: self.adam.steps,
            first: self.adam.first.clone(),
            second: self.adam.second.clone(),
        };
        checkpoint.training = Some((position, moments));
        match &mut self.writer {
            Some(writer) => writer.submit(checkpoint, self.done, best),
            None => Ok(None),
        }
    }

    /// Logs a checkpoint that has reached the disk; keeps an error for the next agreement.
    fn note_written(&mut self, written: Result<Option<Written>>) {
        let logged = written.and_then(|written| match (written, &self.log) {
            (Some(w), Some(log)) => {
                // Of all hand-overs since the last such line.
                let stall = std::mem::take(&mut self.stalled);
                self.stalled_in_all += stall;
                let ms = |d: Duration| json!((d.as_secs_f64() * 1e4).round() / 10.0);
                let fields = [
                    ("bytes".to_string(), json!(w.bytes)),
                    ("checkpoint_stall_ms".into(), ms(stall)),
                    ("checkpoint_write_ms".into(), ms(w.took)),
                ];
                log.append("checkpoint", w.step, fields)
            }
            _ => Ok(()),
        });
        self.failed = self.failed.take().or(logged.err());
    }

    fn asked(&self) -> bool {
        self.signal.as_ref().is_some_and(StopSignal::asked)
    }

    /// Whether any rank was asked to stop. Collective.
    ///
    /// # Errors
    /// A checkpoint that could not be written.
    fn agree_on(&mut self, stop: bool) -> Result<bool> {
        if let Some(writer) = &mut self.writer {
            let written = writer.poll();
            self.note_written(written);
        }
        let here = if self.failed.is_some() {
            2
        } else {
            u8::from(stop)
        };
        match self.world.most(here) {
            2 => self.world.agree(self.failed.take().map_or(Ok(false), Err)),
            stop => Ok(stop == 1),
        }
    }

    /// Waits until every checkpoint is on the disk. Collective.
    fn settle(&mut self) -> Result<()> {
        if let Some(writer) = &mut self.writer {
            pulse::enter("writing a checkpoint");
            let started = Instant::now();
            let written = writer.wait();
            self.stalled += started.elapsed();
            self.note_written(written);
        }
        self.agree_on(false).map(drop)
    }

    /// Ends a run that was asked to stop; rank 0 tells.
    fn preempted(&self) -> Result<()> {
        self.log_event("preempted")?;
        self.progress.finish();
        let step = self.done;
        let asked = match self.world.is_root() {
            true => Err(Error::Preempted {
                done: format!("step {step}; checkpoint written, resume with --resume"),
            }),
            false => Ok(()),
        };
        self.world.agree(asked)
    }
}

/// Refuses a number of slices that the world cannot share.
pub(super) fn check_slices(slices: usize, ranks: usize) -> Result<()> {
    if !slices.is_power_of_two() {
        return Err(Error::input(format!(
            "data.slices = {slices}: a power of two is needed"
        )));
    }
    if ranks > slices {
        return Err(Error::input(format!(
            "data.slices = {slices} is too few for {ranks} ranks: each rank needs a slice of \
             every batch; use fewer ranks or more slices"
        )));
    }
    Ok(())
}
