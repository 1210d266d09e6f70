//! Checkpoints: handing the state to the thread that writes, and what comes back from it.

use super::Trainer;
use crate::comm::pulse;
use crate::models::Model;
use crate::train::Task;
use crate::train::checkpoint::{CHUNK, Layout, Progress as Position, State};
use crate::train::writer::{Feed, Writer, Written};
use crate::{Error, Result};
use serde_json::json;
use std::time::{Duration, Instant};

/// Chunks of a sharded state that rank 0 holds at most (256 MiB): beyond that training waits for
/// the disk.
pub(in crate::train) const IN_FLIGHT: usize = 64;

impl<T: Task> Trainer<'_, T> {
    /// Hands a checkpoint to the writer of rank 0; collective where the state is sharded. What
    /// goes wrong here or in the background, all ranks learn in the next [`Trainer::agree_on`].
    pub(super) fn save(&mut self, best: bool) {
        if !self.world.is_root() && !self.is_sharded() {
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
        let len = self.plan.task.model().parameters().len();
        let in_flight = match self.is_sharded() {
            true => IN_FLIGHT,
            false => self.plan.settings.saved() * (len / CHUNK + 1) + 1, // all of it: training goes on at once
        };
        let layout = self.layout();
        let submitted = match (layout, &mut self.writer) {
            (Ok(layout), Some(writer)) => writer
                .submit(layout, self.done, best, in_flight)
                .map(|(written, feed)| (written, Some(feed))),
            (layout, _) => layout.map(|_| (None, None)),
        };
        // Whatever happened, the other ranks hand over their parts.
        let (result, feed) = match submitted {
            Ok((written, feed)) => (Ok(written), feed),
            Err(e) => (Err(e), None),
        };
        let fed = self.feed(feed.as_ref());
        result.and_then(|written| fed.map(|()| written))
    }

    fn layout(&self) -> Result<Layout> {
        let (plan, calendar) = (self.plan, &self.calendar);
        let model = plan.task.model().parameters();
        let description = toml::to_string_pretty(plan.task.description());
        let description = description.map_err(Error::internal)?;
        let mut layout = Layout::of_model(T::NAME, description, model);
        let position = Position {
            step: self.done,
            epoch: calendar.epoch(self.done),
            position: self.done % calendar.steps_per_epoch() * calendar.batch,
            seed: plan.settings.seed,
            best: self.best,
            guard: self.guard.clone(),
            control: self.control,
            job: plan.job.clone(),
            fingerprint: plan.task.fingerprint(),
        };
        layout.training = Some(State {
            progress: position,
            adam_steps: self.adam.steps(),
            averaged: self.average.is_some(),
        });
        Ok(layout)
    }

    /// Hands out the numbers in the order of a [`Layout`].
    fn feed(&self, feed: Option<&Feed>) -> Result<()> {
        let push = |values: Vec<f32>| {
            pulse::tick();
            if let Some(feed) = feed {
                feed.push(values);
            }
        };
        if !self.is_sharded() && feed.is_none() {
            return Ok(());
        }
        let model = self.plan.task.model().parameters();
        let parameters = || match feed {
            None => Ok(()),
            Some(_) => (0..model.len()).step_by(CHUNK).try_for_each(|start| {
                push(model.range(start..(start + CHUNK).min(model.len()))?);
                Ok(())
            }),
        };
        // What each rank has of a vector. All take part, whatever has failed on one.
        let parts = |own: &[f32]| match self.is_sharded() {
            true => self.world.collect_parts(model.len(), own, push),
            false => own.chunks(CHUNK).for_each(|c| push(c.to_vec())),
        };
        let mut read = Ok(());
        match &self.average {
            Some(average) => parts(&average.values()?),
            None => read = parameters(),
        }
        push(model.buffers());
        for moments in self.adam.moments()? {
            parts(&moments);
        }
        if self.average.is_some() {
            read = parameters();
        }
        read
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

    /// Whether any rank was asked to stop. Collective.
    ///
    /// # Errors
    /// A checkpoint that could not be written.
    pub(super) fn agree_on(&mut self, stop: bool) -> Result<bool> {
        let written = self.writer.as_mut().map_or(Ok(None), Writer::poll);
        self.note_written(written);
        let here = if self.failed.is_some() {
            2
        } else {
            u8::from(stop)
        };
        match self.world.max(here) {
            2 => self.world.agree(self.failed.take().map_or(Ok(false), Err)),
            stop => Ok(stop == 1),
        }
    }

    /// Waits until every checkpoint is on the disk. Collective.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(writer) = &mut self.writer {
            pulse::enter("writing a checkpoint");
            let started = Instant::now();
            let written = writer.wait();
            self.stalled += started.elapsed();
            self.note_written(written);
        }
        self.agree_on(false).map(drop)
    }
}
