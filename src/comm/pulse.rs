//! Where this rank stands, for its watchdog. A process is a rank, so there is one pulse.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the rank was doing last.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    /// Step of the training run, from 0.
    pub step: u64,
    /// In words: `computing`, `reading data`.
    pub phase: &'static str,
    /// Whether it waits for other ranks.
    pub waiting: bool,
    /// When it last made progress.
    last: Option<Instant>,
}

impl Pulse {
    /// Time since the last progress.
    pub fn still(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |t| t.elapsed())
    }
}

static PULSE: Mutex<Pulse> = Mutex::new(Pulse {
    step: 0,
    phase: "starting",
    waiting: false,
    last: None,
});

fn lock() -> MutexGuard<'static, Pulse> {
    PULSE.lock().unwrap_or_else(|e| e.into_inner())
}

/// Begins a phase.
pub fn enter(phase: &'static str) {
    let mut pulse = lock();
    pulse.phase = phase;
    pulse.last = Some(Instant::now());
}

/// Begins a step.
pub fn step(step: u64) {
    lock().step = step;
    tick();
}

/// Tells that the phase gets on; from any thread.
pub fn tick() {
    lock().last = Some(Instant::now());
}

pub(super) fn wait(waiting: bool) {
    let mut pulse = lock();
    pulse.waiting = waiting;
    pulse.last = Some(Instant::now());
}

pub(super) fn now() -> Pulse {
    *lock()
}
