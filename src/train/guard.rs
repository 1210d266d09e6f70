//! What a run remembers of numeric faults, so that every world judges a step alike, after any
//! resume.

use crate::stats::median;
use serde::{Deserialize, Serialize};

/// Losses that are remembered.
const WINDOW: usize = 64;
/// Losses that must be seen before one of them can be a spike.
const SEEN: usize = 20;
/// A deviation below this part of the median counts as this part.
const FLOOR: f64 = 1e-3;

/// The last losses. Their median and their median absolute deviation are moved by no outlier.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LossTrend {
    /// Oldest first.
    pub recent: Vec<f32>,
}

impl LossTrend {
    /// The highest loss that is no spike; `None` as long as too few losses were seen.
    pub fn limit(&self, factor: f64) -> Option<f64> {
        if self.recent.len() < SEEN {
            return None;
        }
        let middle = median(self.recent.iter().map(|&x| f64::from(x)))?;
        let off = self.recent.iter().map(|&x| (f64::from(x) - middle).abs());
        Some(middle + factor * median(off)?.max(FLOOR * middle.abs()))
    }

    pub fn add(&mut self, loss: f32) {
        if self.recent.len() == WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(loss);
    }
}

/// State of the numeric guard; part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Guard {
    /// Steps left out so far.
    pub skipped: u64,
    /// Returns to a checkpoint so far.
    pub rollbacks: u64,
    /// Steps whose batch was drawn anew, and how many times.
    pub redrawn: Vec<(u64, u64)>,
    pub trend: LossTrend,
}

impl Guard {
    /// Which draw of its batch a step gets: 0 unless it was rolled back.
    pub fn draw(&self, step: u64) -> u64 {
        let found = self.redrawn.iter().find(|(s, _)| *s == step);
        found.map_or(0, |(_, draw)| *draw)
    }

    /// Gives `step` another batch.
    pub fn redraw(&mut self, step: u64) {
        match self.redrawn.iter_mut().find(|(s, _)| *s == step) {
            Some((_, draw)) => *draw += 1,
            None => self.redrawn.push((step, 1)),
        }
    }
}

/// The seed of a step's batch and random numbers: the run's own for the first draw.
pub fn seed_of_draw(seed: u64, draw: u64) -> u64 {
    match draw {
        0 => seed,
        _ => {
            let key = [seed.to_le_bytes(), draw.to_le_bytes()].concat();
            xxhash_rust::xxh3::xxh3_64(&key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_stands_out_of_noise() {
        let mut trend = LossTrend::default();
        let loss = |i: u64| 5.0 - 0.01 * i as f64 + 0.2 * ((i * i) as f64).sin();
        for i in 0..100 {
            if let Some(limit) = trend.limit(8.0) {
                assert!(loss(i) < limit, "{i}: {} {limit}", loss(i));
            }
            // An outlier that nobody caught does not blind the guard.
            trend.add(if i == 70 { 1e6 } else { loss(i) as f32 });
        }
        assert!(trend.limit(8.0).is_some_and(|limit| limit < 7.0));
        assert_eq!(LossTrend::default().limit(1.0), None);
    }

    #[test]
    fn draws_count_up() {
        let mut guard = Guard::default();
        guard.redraw(7);
        guard.redraw(7);
        assert_eq!((guard.draw(7), guard.draw(6)), (2, 0));
        assert_eq!(seed_of_draw(5, 0), 5);
        assert_ne!(seed_of_draw(5, 1), seed_of_draw(5, 2));
    }
}
