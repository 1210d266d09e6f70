//! How far a command is: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Plain lines come at most this often.
const QUIET: Duration = Duration::from_secs(15);

pub struct Progress {
    visible: bool,
    bar: Option<ProgressBar>,
    total: usize,
    what: &'static str,
    told: Cell<Instant>,
}

impl Progress {
    /// Of `total` things called `what`; 0 where their number is not known.
    pub fn new(visible: bool, total: usize, what: &'static str) -> Self {
        let (bar, style) = match total {
            0 => (
                ProgressBar::new_spinner(),
                "{elapsed} {spinner} {pos} {msg}",
            ),
            n => (
                ProgressBar::new(n as u64),
                "{elapsed} [{wide_bar}] {pos}/{len} {msg}, ETA {eta}",
            ),
        };
        let bar = (visible && std::io::stderr().is_terminal()).then_some(bar);
        if let (Some(bar), Ok(style)) = (&bar, ProgressStyle::with_template(style)) {
            bar.set_style(style);
            bar.set_message(what);
        }
        Self {
            visible,
            bar,
            total,
            what,
            told: Cell::new(Instant::now()),
        }
    }

    pub fn at(&self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        } else if self.visible && self.told.get().elapsed() > QUIET {
            self.told.set(Instant::now());
            match self.total {
                0 => log::info!("{done} {}", self.what),
                total => log::info!("{done} of {total} {}", self.what),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
