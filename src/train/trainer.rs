//! The training loop.

use super::announce::{announce, human_bytes, peak_memory};
use super::checkpoint::{Best, Checkpoint, Moments, Progress as Position};
use super::evaluate::evaluate;
use super::loader::{Loader, Slice};
use super::metrics::MetricsLog;
use super::optimizer::Adam;
use super::plot::plot;
use super::progress::Progress;
use super::run_folder::RunFolder;
use super::schedule::WeightSchedule;
use super::settings::FREE_ON_RESUME;
use super::signal::StopSignal;
use super::{Calendar, Part, Reduction, Settings, Task, job};
use crate::comm::{SliceTree, World};
use crate::models::{Model, StepKey};
use crate::{Error, Result};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::time::Instant;

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

/// What one slice contributed to the log.
struct SliceTerms {
    share: f64,
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
    /// Steps completed.
    done: u64,
    /// On rank 0.
    log: Option<MetricsLog>,
    progress: Progress,
    signal: StopSignal,
    since: Instant,
    samples_since: u64,
}

/// Trains to the end of the plan, from `checkpoint` if there is one. Collective.
///
/// # Errors
/// A plan that does not fit the world or the checkpoint; a failed write; a gradient that is not
/// finite; [`Error::Preempted`] when a signal asked for the stop.
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
        check_slices(plan.slices, world.size())?;
        plan.settings.check()?;
        let samples = plan.task.samples(Part::Train);
        let calendar = Calendar::new(samples, plan.batch, plan.settings)?;
        let model = plan.task.model().parameters();
        let mut trainer = Self {
            world,
            plan,
            calendar,
            adam: Adam::new(plan.settings.adam, model.len()),
            parameters: Vec::new(),
            best: None,
            done: 0,
            log: None,
            progress: Progress::new(false, 0, 0),
            signal: StopSignal::listen()?,
            since: Instant::now(),
            samples_since: 0,
        };
        if let Some(checkpoint) = checkpoint {
            trainer.restore(checkpoint)?;
        }
        trainer.parameters = model.flat()?;
        trainer.progress = Progress::new(world.speaks(), trainer.done, calendar.steps);
        if world.is_root() {
            plan.folder.begin(&plan.job)?;
            trainer.log = Some(trainer.open_log(checkpoint.is_some())?);
        }
        Ok(trainer)
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
        checkpoint.load_into(folder, self.plan.task.model().parameters())?;
        self.adam.steps = moments.steps;
        self.adam.first = moments.first.clone();
        self.adam.second = moments.second.clone();
        self.best = position.best;
        self.done = position.step;
        Ok(())
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
            [("ranks".into(), json!(self.world.size()))],
        )?;
        Ok(log)
    }

    fn run(mut self) -> Result<()> {
        announce(self.world, self.plan, &self.calendar, self.done);
        let (plan, calendar) = (self.plan, self.calendar);
        let steps = self.done..calendar.steps;
        std::thread::scope(|scope| {
            let seed = plan.settings.seed;
            let mut loader = Loader::start(
                scope,
                plan.task,
                self.world,
                calendar,
                steps.clone(),
                plan.slices,
                seed,
            );
            for step in steps {
                let epoch = calendar.epoch(step);
                let (sum, terms) = self.gradients(step, epoch, loader.next_step()?)?;
                self.update(step, epoch, &sum)?;
                if self.done.is_multiple_of(plan.settings.log_every) {
                    let stalled = loader.take_stalled().as_secs_f64();
                    self.record(epoch, terms, stalled)?;
                }
                let improved = calendar.evaluates(step) && self.validate(epoch)?;
                let stop = self.world.any(self.signal.asked()) && !calendar.is_last(step);
                if calendar.saves(step) || improved || stop {
                    self.save(improved)?;
                }
                if calendar.ends_epoch(step) || calendar.is_last(step) || stop {
                    self.draw()?;
                }
                if stop {
                    return self.preempted();
                }
            }
            self.finish();
            Ok(())
        })
    }

    /// The gradient of the mean objective over the global batch, followed by the batch
    /// statistics; summed over all slices of all ranks.
    fn gradients(
        &self,
        step: u64,
        epoch: u64,
        slices: Vec<Slice<<T::Model as Model>::Batch>>,
    ) -> Result<(Vec<f32>, Vec<SliceTerms>)> {
        let model = self.plan.task.model();
        let weights = self.plan.settings.weights.at(epoch);
        let seed = self.plan.settings.seed;
        let len = self.parameters.len() + model.parameters().buffers().len();
        let tree = SliceTree::new();
        let terms: Result<Vec<Option<SliceTerms>>> = slices
            .into_par_iter()
            .map(|slice| {
                let Some(batch) = &slice.batch else {
                    tree.insert(slice.number, vec![0.0; len]);
                    return Ok(None);
                };
                let losses = model.losses(batch, &weights, StepKey { seed, step })?;
                let store = losses.objective.backward()?;
                let mut vector = model.parameters().gradients(&store)?;
                vector.extend(&losses.statistics);
                let share = slice.share as f32;
                vector.iter_mut().for_each(|v| *v *= share);
                tree.insert(slice.number, vector);
                let objective = losses.objective.to_dtype(candle_core::DType::F64)?;
                let mut values = vec![objective.to_scalar::<f64>()?];
                values.extend(losses.terms.iter().map(|t| t.1));
                Ok(Some(SliceTerms {
                    share: slice.share,
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
        let finite = match sum.iter().all(|v| v.is_finite()) {
            true => Ok(()),
            false => Err(Error::internal(format!(
                "training diverged: the gradient of step {step} is not finite; lower \
                 train.learning_rate and resume, the last checkpoint is whole"
            ))),
        };
        if finite.is_err() {
            return self.world.agree(finite);
        }
        let settings = self.plan.settings;
        let zero_epochs = settings.weights.zero_epochs();
        let rate = settings
            .learning_rate_schedule
            .at(settings.learning_rate, epoch, zero_epochs);
        let (gradients, statistics) = sum.split_at(self.parameters.len());
        self.adam.step(&mut self.parameters, gradients, rate);
        let model = self.plan.task.model().parameters();
        model.set_flat(&self.parameters)?;
        model.update_buffers(statistics)?;
        self.done = step + 1;
        let positions = self.calendar.positions(step);
        self.samples_since += positions.end - positions.start;
        Ok(())
    }

    /// A line in the log: the last step's objective and its terms over the global batch.
    fn record(&mut self, epoch: u64, terms: Vec<SliceTerms>, stalled: f64) -> Result<()> {
        let width = terms.first().map_or(0, |t| t.values.len());
        let rows: Vec<f64> = terms
            .iter()
            .flat_map(|t| t.values.iter().map(|v| t.share * v))
            .collect();
        let names = terms.first().map_or(String::new(), |t| t.names.join("\n"));
        // A rank without samples in this batch knows neither names nor width.
        let all_names = self.world.gather(names.as_bytes());
        let widths = self.world.gather(&[width as u64]).concat();
        let rows = self.world.gather(&rows).concat();
        let Some(log) = &self.log else {
            return Ok(());
        };
        let width = widths.into_iter().max().unwrap_or(0).max(1) as usize;
        let mut sums = vec![0.0; width];
        for row in rows.chunks(width) {
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        let names = all_names
            .into_iter()
            .find(|n| !n.is_empty())
            .unwrap_or_default();
        let names = String::from_utf8_lossy(&names).into_owned();
        let seconds = self.since.elapsed().as_secs_f64();
        let speed = self.samples_since as f64 / seconds.max(1e-9);
        (self.since, self.samples_since) = (Instant::now(), 0);
        let mut fields: Vec<(String, Value)> = vec![
            ("epoch".into(), json!(epoch)),
            ("objective".into(), json!(sums[0])),
        ];
        let named = names.lines().map(String::from).zip(&sums[1..]);
        fields.extend(named.map(|(name, value)| (name, json!(value))));
        let settings = self.plan.settings;
        let zero_epochs = settings.weights.zero_epochs();
        let rate = settings
            .learning_rate_schedule
            .at(settings.learning_rate, epoch, zero_epochs);
        fields.push(("learning_rate".into(), json!(rate)));
        fields.push(("samples_per_second".into(), json!(speed)));
        fields.push(("stall_seconds".into(), json!(stalled)));
        log.append("train", self.done, fields)?;
        self.progress.step(self.done, epoch, sums[0], speed);
        Ok(())
    }

    /// Validates the model; whether it is the best so far.
    fn validate(&mut self, epoch: u64) -> Result<bool> {
        if self.plan.task.samples(Part::Validation) == 0 {
            return Ok(false);
        }
        let started = Instant::now();
        let block = (self.plan.batch / self.plan.slices as u64).max(1);
        let means = evaluate(self.world, self.plan.task, Part::Validation, block)?;
        let weights = &self.plan.settings.weights;
        let names = self.plan.task.model().weight_names();
        let mean = |name: &str| {
            means
                .iter()
                .find(|(n, _)| n == name)
                .map_or(0.0, |(_, v)| *v)
        };
        let total = names
            .iter()
            .zip(weights.last())
            .map(|(n, w)| w * mean(n))
            .sum();
        let candidate = Best {
            value: total,
            step: self.done,
            warm: epoch >= weights.warmup_epochs(),
        };
        let improved = candidate.beats(self.best.as_ref());
        if improved {
            self.best = Some(candidate);
        }
        if let Some(log) = &self.log {
            let mut fields = vec![
                ("epoch".to_string(), json!(epoch)),
                ("objective".into(), json!(total)),
            ];
            fields.extend(means.iter().map(|(n, v)| (n.clone(), json!(v))));
            log.append("validation", self.done, fields)?;
            let told: Vec<String> = means.iter().map(|(n, v)| format!("{n} {v:.5}")).collect();
            let star = if improved { ", the best so far" } else { "" };
            self.progress.note(&format!(
                "step {}: validation {} (objective {total:.4}{star})",
                self.done,
                told.join(", "),
            ));
        }
        // Validation is no part of the training speed.
        self.since += started.elapsed();
        Ok(improved)
    }

    /// Writes a checkpoint; collective.
    fn save(&mut self, best: bool) -> Result<()> {
        let started = Instant::now();
        self.world.on_root(|| {
            let (plan, calendar) = (self.plan, &self.calendar);
            let model = plan.task.model().parameters();
            let mut checkpoint = Checkpoint::of_model(plan.task.description()?, model)?;
            let position = Position {
                step: self.done,
                epoch: calendar.epoch(self.done),
                position: self.done % calendar.steps_per_epoch() * calendar.batch,
                seed: plan.settings.seed,
                best: self.best,
                job: plan.job.clone(),
                fingerprint: plan.task.fingerprint(),
            };
            let moments = Moments {
                steps: self.adam.steps,
                first: self.adam.first.clone(),
                second: self.adam.second.clone(),
            };
            checkpoint.training = Some((position, moments));
            plan.folder
                .save(&checkpoint, self.done, best, plan.settings.keep)
        })?;
        self.since += started.elapsed();
        Ok(())
    }

    fn draw(&self) -> Result<()> {
        let folder = self.plan.folder;
        self.world
            .on_root(|| plot(&folder.metrics(), &folder.plot()))
            .map(drop)
    }

    /// Ends a run that was asked to stop; rank 0 tells.
    fn preempted(&self) -> Result<()> {
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

    fn finish(&self) {
        self.progress.finish();
        let peaks = self.world.gather(&[peak_memory().unwrap_or(0)]).concat();
        if self.world.speaks() {
            let peak = human_bytes(peaks.into_iter().max().unwrap_or(0));
            let best = match &self.best {
                Some(b) => format!("; best validation {:.5} at step {}", b.value, b.step),
                None => String::new(),
            };
            log::info!(
                "done: {} steps{best}; peak memory {peak} per rank; results in {}",
                self.done,
                self.plan.folder.path().display()
            );
        }
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
