//! What a run tells: the metrics log, the progress line, the curves.

use super::Trainer;
use super::step::SliceTerms;
use crate::comm::pulse;
use crate::data::Split;
use crate::draw::curves;
use crate::models::Model;
use crate::print::count;
use crate::store::write_bytes;
use crate::train::announce::{human_bytes, peak_memory};
use crate::train::checkpoint::Best;
use crate::train::evaluate::evaluate;
use crate::train::watch::{self, Better, OBJECTIVE};
use crate::train::{Task, metrics};
use crate::{Result, trace};
use serde_json::{Value, json};
use std::time::Instant;

impl<T: Task> Trainer<'_, T> {
    /// A line in the log: the last step's objective and its terms over the global batch.
    pub(super) fn record(
        &mut self,
        epoch: u64,
        terms: Vec<SliceTerms>,
        stalled: f64,
    ) -> Result<()> {
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
        let rate = self.plan.settings.learning_rate * self.rate_factor(self.done - 1);
        fields.push(("learning_rate".into(), json!(rate)));
        fields.extend(self.norm.map(|norm| ("gradient_norm".into(), json!(norm))));
        fields.push(("samples_per_second".into(), json!(speed)));
        fields.push(("stall_seconds".into(), json!(stalled)));
        if let Some(events) = &self.events {
            events.append("train", self.done, &fields)?;
        }
        log.append("train", self.done, fields)?;
        self.progress.step(self.done, epoch, sums[0], speed);
        Ok(())
    }

    /// Validates the model; whether it is the best so far.
    pub(super) fn validate(&mut self, epoch: u64) -> Result<bool> {
        if self.plan.task.samples(Split::Validation) == 0 {
            return Ok(false);
        }
        pulse::enter("validating");
        let _span = trace::span("validation");
        let started = Instant::now();
        let means = self.validation_means()?;
        let loss = self.plan.loss;
        let mean = |name: &str| {
            means
                .iter()
                .find(|(n, _)| n == name)
                .map_or(0.0, |(_, v)| *v)
        };
        let total = loss.last().iter().map(|(n, w)| w * mean(n)).sum();
        let metric = &self.plan.settings.best;
        let candidate = Best {
            value: watch::value(metric, total, &means),
            step: self.done,
            warm: epoch >= loss.warmup_epochs(),
        };
        let improved = candidate.beats(self.best.as_ref(), Better::of(metric));
        if improved {
            self.best = Some(candidate);
        }
        self.watch(epoch, total, &means);
        if let Some(log) = &self.log {
            let mut fields = vec![
                ("epoch".to_string(), json!(epoch)),
                ("objective".into(), json!(total)),
            ];
            fields.extend(means.iter().map(|(n, v)| (n.clone(), json!(v))));
            if let Some(events) = &self.events {
                events.append("validation", self.done, &fields)?;
            }
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

    /// Means over the validation samples: of the averaged model, if there is one.
    fn validation_means(&self) -> Result<Vec<(String, f64)>> {
        let (world, task) = (self.world, self.plan.task);
        let model = task.model().parameters();
        let block = self.plan.settings.block();
        let Some(average) = &self.average else {
            return evaluate(world, task, Split::Validation, block);
        };
        let raw = average.put_in(world, model)?;
        let means = evaluate(world, task, Split::Validation, block);
        average.put_back(world, model, &raw)?;
        means
    }

    pub(super) fn draw(&self) -> Result<()> {
        let folder = self.plan.folder;
        self.world
            .on_root(|| match curves(&metrics::read(&folder.metrics())?)? {
                Some(svg) => write_bytes(&folder.plot(), svg.as_bytes()),
                None => Ok(()),
            })
            .map(drop)
    }

    pub(super) fn finish(&self) {
        self.progress.finish();
        let peaks = self.world.gather(&[peak_memory().unwrap_or(0)]).concat();
        if self.world.reports_progress() {
            let peak = human_bytes(peaks.into_iter().max().unwrap_or(0));
            let best = match &self.best {
                Some(b) => {
                    let metric = match self.plan.settings.best.as_str() {
                        OBJECTIVE => String::new(),
                        metric => format!("{metric} "),
                    };
                    format!(
                        "; best validation {metric}{:.5} at step {}",
                        b.value, b.step
                    )
                }
                None => String::new(),
            };
            let early = match self.stops_early() {
                true => ", stopped early",
                false => "",
            };
            log::info!(
                "done: {}{early}{best}; checkpoints stalled training {:.2} % of the time; peak \
                 memory {peak} per rank; results in {}",
                count(self.done, "step"),
                100.0 * self.stalled_in_all.as_secs_f64() / self.started.elapsed().as_secs_f64(),
                self.plan.folder.path().display()
            );
        }
    }
}
