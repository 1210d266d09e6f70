//! What rank 0 tells the user while a run goes on: a bar on a terminal, plain lines elsewhere.

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Plain lines come at most this often.
const QUIET: Duration = Duration::from_secs(15);

/// Progress of a run, silent on all ranks but rank 0.
pub struct Progress {
    kind: Kind,
    start: Instant,
    first_step: u64,
    steps: u64,
}

enum Kind {
    Silent,
    Bar(ProgressBar),
    Plain { last: Option<Instant> },
}

impl Progress {
    pub fn new(visible: bool, first_step: u64, steps: u64) -> Self {
        let kind = if !visible {
            Kind::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(steps).with_position(first_step);
            let style = "{elapsed} [{wide_bar}] {pos}/{len} steps, ETA {eta}, {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            Kind::Bar(bar)
        } else {
            Kind::Plain { last: None }
        };
        Self {
            kind,
            start: Instant::now(),
            first_step,
            steps,
        }
    }

    /// After a step: `done` steps are complete.
    pub fn step(&mut self, done: u64, epoch: u64, objective: f64, samples_per_second: f64) {
        let text =
            format!("epoch {epoch}, objective {objective:.4}, {samples_per_second:.0} samples/s");
        let eta = self.remaining(done);
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(text);
            }
            Kind::Plain { last } => {
                if last.is_none_or(|t| t.elapsed() > QUIET) || done == self.steps {
                    *last = Some(Instant::now());
                    let eta = HumanDuration(eta);
                    log::info!("step {done}/{}: {text}, {eta} left", self.steps);
                }
            }
        }
    }

    fn remaining(&self, done: u64) -> Duration {
        let made = done.saturating_sub(self.first_step).max(1);
        let each = self.start.elapsed().as_secs_f64() / made as f64;
        Duration::from_secs_f64(each * self.steps.saturating_sub(done) as f64)
    }

    /// A line of its own.
    pub fn note(&self, text: &str) {
        match &self.kind {
            Kind::Silent => {}
            Kind::Bar(bar) => bar.suspend(|| log::info!("{text}")),
            Kind::Plain { .. } => log::info!("{text}"),
        }
    }

    pub fn finish(&self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}
