//! The training loop.

mod control;
mod faults;
#[cfg(feature = "nccl")]
mod gpus;
mod probe;
mod released;
mod report;
mod save;
mod start;
mod step;
mod sums;
mod told;

pub use probe::{Costs, costs, probe};
pub(super) use save::IN_FLIGHT;
pub use start::init;

use super::announce::announce;
use super::average::Average;
use super::checkpoint::{Best, Progress as Position, Saved};
use super::events::EventFile;
use super::groups::Groups;
use super::guard::Guard;
use super::loader::Loader;
use super::metrics::MetricsLog;
use super::optimizer::Adam;
use super::progress::Progress;
use super::run_folder::RunFolder;
use super::signal::StopSignal;
use super::watch::Control;
use super::writer::Writer;
use super::{Calendar, LossSchedule, OnNonfinite, OptimizerState, Settings, Task, job, metrics};
use crate::comm::{Rounding, World, pulse};
use crate::data::Split;
use crate::models::Model;
use crate::{Error, Result, files, trace};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What to train and how.
pub struct Plan<'a, T: Task> {
    pub task: &'a T,
    pub settings: &'a Settings,
    /// Weights of the terms of the objective.
    pub loss: &'a LossSchedule,
    /// The resolved job, as it is saved with the run.
    pub job: String,
    pub folder: &'a RunFolder,
}

struct Trainer<'a, T: Task> {
    world: &'a World,
    plan: &'a Plan<'a, T>,
    calendar: Calendar,
    /// Sums gradients where they are.
    #[cfg(feature = "nccl")]
    nccl: Option<crate::comm::nccl::Nccl>,
    /// The parameters that this rank updates: all, or its part where the optimizer's state is
    /// sharded.
    own: Range<usize>,
    groups: Groups,
    adam: Adam,
    average: Option<Average>,
    /// Norm of the last gradient before it was clipped, where it is.
    norm: Option<f64>,
    /// Of compressed gradients; begins anew with every start of the program.
    rounding: Rounding,
    best: Option<Best>,
    guard: Guard,
    control: Control,
    /// Where the parameters of a new run come from, in words.
    origin: Option<String>,
    /// Steps completed.
    done: u64,
    /// On rank 0.
    log: Option<MetricsLog>,
    /// On rank 0.
    events: Option<EventFile>,
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
pub fn train<T: Task>(world: &World, plan: &Plan<T>, checkpoint: Option<&Saved>) -> Result<()> {
    let mut trainer = world.agree(Trainer::idle(world, plan))?;
    #[cfg(feature = "nccl")]
    {
        trainer.nccl = gpus::connect(world, plan)?;
    }
    let mut former = None;
    if let Some(saved) = checkpoint {
        let position = world.agree(trainer.own_position(saved))?;
        former = trainer.lengthened(position)?;
        trainer.take_over(saved, position)?;
        if trainer.is_over() && world.any(plan.folder.scores().exists()) {
            let words = format!("finished at step {}: nothing is left to do", trainer.done);
            log_once(world, &words);
            return Ok(());
        }
    } else {
        trainer.initialise()?;
    }
    world.agree(trainer.check_watches())?;
    world.agree(trainer.begin(checkpoint.is_some(), former))?;
    trainer.run()
}

/// Tells something about the whole run, from rank 0.
fn log_once(world: &World, words: &str) {
    if world.reports_progress() {
        log::info!("{words}");
    }
}

impl<'a, T: Task> Trainer<'a, T> {
    fn begin(&mut self, resumed: bool, former: Option<u64>) -> Result<()> {
        let (world, plan) = (self.world, self.plan);
        self.progress = Progress::new(world.reports_progress(), self.done, self.calendar.steps);
        self.signal = Some(StopSignal::listen()?);
        if world.is_root() {
            self.log = Some(self.open_log(resumed)?);
            self.mirror_log()?;
            plan.folder.begin(&plan.job, former.unwrap_or(self.done))?;
            self.writer = Some(Writer::start(plan.folder.clone(), plan.settings.keep)?);
        }
        Ok(())
    }

    /// A trainer that writes nothing and hears no signals.
    fn idle(world: &'a World, plan: &'a Plan<'a, T>) -> Result<Self> {
        plan.settings.check()?;
        plan.settings.check_ranks(world.size())?;
        let samples = plan.task.samples(Split::Train);
        let model = plan.task.model().parameters();
        let own = match plan.settings.optimizer_state {
            OptimizerState::Replicated => 0..model.len(),
            OptimizerState::Sharded => world.part(model.len()),
        };
        if plan.settings.coordinate_noise.is_some() {
            plan.task.check_noise()?;
        }
        let groups = Groups::new(plan.settings, model)?;
        let adam = Adam::new(plan.settings.adam, model, own.clone(), None)?;
        let average = |decay| Average::new(decay, model, own.clone());
        Ok(Self {
            world,
            plan,
            calendar: Calendar::new(samples, plan.settings)?,
            #[cfg(feature = "nccl")]
            nccl: None,
            adam: adam.with_stretches(groups.stretches.clone()),
            average: plan.settings.average.map(average).transpose()?,
            norm: None,
            groups,
            own,
            rounding: Rounding::between_hosts(world),
            best: None,
            guard: Guard::default(),
            control: Control::default(),
            origin: None,
            done: 0,
            log: None,
            events: None,
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

    /// Where a checkpoint stands, after making sure that it is of this very run.
    fn own_position<'s>(&self, saved: &'s Saved) -> Result<&'s Position> {
        let folder = self.plan.folder.path();
        let Some(position) = saved.progress() else {
            return Err(Error::file(folder, "the checkpoint is of no training run"));
        };
        let [old, new] = [&position.job, &self.plan.job].map(|job| Settings::fill(folder, job));
        job::same_but(folder, &old?, &new?, &self.plan.settings.free_on_resume())?;
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
        Ok(position)
    }

    /// The length that the run has had so far, if it is to become longer now. Collective.
    ///
    /// # Errors
    /// A run that becomes longer without being asked to.
    fn lengthened(&self, position: &Position) -> Result<Option<u64>> {
        let lengths = self.world.on_root(|| {
            let folder = self.plan.folder;
            let text = files::read_text_if_there(&folder.job())?;
            let text = text.as_deref().unwrap_or(&position.job);
            Ok(vec![self.length(text)?])
        })?;
        let former = self.world.broadcast(lengths.unwrap_or_default());
        let (former, now) = (former.first().copied().unwrap_or(0), self.calendar.steps);
        if now > former && !self.plan.folder.extends() {
            let done = position.step;
            return self.world.agree(Err(Error::file(
                self.plan.folder.path(),
                format!(
                    "the run was started with {former} steps and stands at {done}, the job now \
                     says {now}; --extend goes on beyond its end"
                ),
            )));
        }
        if former != now {
            log_once(
                self.world,
                &format!("the length of the run changes: {former} steps so far, {now} now"),
            );
        }
        Ok((now > former).then_some(former))
    }

    /// Steps of a run with this job on the same data.
    fn length(&self, job: &str) -> Result<u64> {
        let path = self.plan.folder.job();
        let settings = job::settings(&path, job)?;
        let number = |key: &str| {
            let found = settings.iter().find(|(k, _)| k == key);
            found.and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let epochs = number("train.epochs").unwrap_or(self.plan.settings.epochs);
        let batch = number("train.batch").unwrap_or(self.calendar.batch).max(1);
        let of_epochs = epochs.saturating_mul(self.calendar.samples.div_ceil(batch));
        Ok(number("train.steps").unwrap_or(of_epochs))
    }

    /// Puts the state of a checkpoint in the place of the present one. Collective.
    fn take_over(&mut self, saved: &Saved, position: &Position) -> Result<()> {
        let model = self.plan.task.model().parameters();
        saved.load_into(self.world, model)?;
        self.begin_average()?;
        saved.load_raw(self.world, model)?;
        let moments = saved.moments(self.world, self.own.clone())?;
        let settings = self.plan.settings.adam;
        let adam = Adam::new(settings, model, self.own.clone(), Some(moments))?;
        self.adam = adam.with_stretches(self.groups.stretches.clone());
        self.control = position.control;
        self.best = position.best;
        self.guard.clone_from(&position.guard);
        self.done = position.step;
        Ok(())
    }

    /// A line without numbers; collective.
    fn log_event(&self, event: &str) -> Result<()> {
        self.log_with(event, [])
    }

    /// A line of the log; collective.
    fn log_with<const N: usize>(&self, event: &str, fields: [(String, Value); N]) -> Result<()> {
        let log = || match &self.log {
            Some(log) => log.append(event, self.done, fields),
            None => Ok(()),
        };
        self.world.on_root(log).map(drop)
    }

    /// Begins an event file with what the log says, if the job wants one; on rank 0.
    fn mirror_log(&mut self) -> Result<()> {
        if self.log.is_some() && self.plan.settings.tensorboard {
            let records = metrics::read(&self.plan.folder.metrics())?;
            self.events = Some(EventFile::mirror(self.plan.folder.path(), &records)?);
        }
        Ok(())
    }

    fn open_log(&self, resumed: bool) -> Result<MetricsLog> {
        let path = self.plan.folder.metrics();
        let (log, event) = if resumed {
            (MetricsLog::resume(&path, self.done)?, "resume")
        } else {
            (MetricsLog::create(&path)?, "start")
        };
        let mut fields = vec![
            ("ranks".to_string(), json!(self.world.size())),
            ("steps".into(), json!(self.calendar.steps)),
        ];
        if let Some(origin) = &self.origin {
            fields.push(("init".into(), json!(origin)));
        }
        log.append(event, self.done, fields)?;
        Ok(log)
    }

    fn run(mut self) -> Result<()> {
        let particulars = self.particulars();
        announce(
            self.world,
            self.plan,
            &self.calendar,
            self.done,
            particulars,
        );
        if self.done == 0 && self.plan.settings.on_nonfinite == OnNonfinite::Rollback {
            self.save(false); // what to go back to before the first checkpoint is due
        }
        while !self.is_over() {
            self.stretch()?;
        }
        self.settle()?;
        self.log_with("end", [("early".into(), json!(self.stops_early()))])?;
        self.finish();
        Ok(())
    }

    /// Trains to the end of the run, or to the next rollback.
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
                plan.settings,
                self.guard.clone(),
            );
            for step in steps {
                let epoch = calendar.epoch(step);
                let _span = trace::numbered("step", step);
                pulse::step(step);
                pulse::enter("waiting for data");
                let slices = loader.next_step()?;
                pulse::enter("computing");
                let (sum, terms) = self.gradients(step, epoch, &slices)?;
                if let Some(fault) = self.fault(step, &sum)? {
                    drop(sum); // makes room for what is looked at now
                    self.handle(step, epoch, fault, &slices, &terms)?;
                    if self.done <= step {
                        return Ok(()); // rolled back: the loader starts again
                    }
                } else {
                    self.update(step, sum)?;
                }
                if self.done.is_multiple_of(plan.settings.log_every) {
                    let stalled = loader.take_stalled().as_secs_f64();
                    self.record(epoch, terms, stalled)?;
                }
                self.after_step(step, epoch)?;
                if self.is_over() {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    /// Validates, saves, draws and stops as the calendar and the signals say.
    fn after_step(&mut self, step: u64, epoch: u64) -> Result<()> {
        let calendar = self.calendar;
        let improved = calendar.evaluates(step) && self.validate(epoch)?;
        let last = self.is_over();
        let stop = self.agree_on(self.asked())? && !last;
        if calendar.saves(step) || improved || stop || last {
            self.save(improved);
        }
        if calendar.ends_epoch(step) || stop || last {
            self.draw()?;
        }
        match stop {
            true => self.settle().and_then(|()| self.preempted()),
            false => Ok(()),
        }
    }

    fn asked(&self) -> bool {
        self.signal.as_ref().is_some_and(StopSignal::asked)
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
