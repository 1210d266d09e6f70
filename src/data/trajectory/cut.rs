//! Cutting a trajectory into segments, the samples of training.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How trajectories are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// `groups` x `folds` consecutive segments of equal length, the remainder dropped: segment
    /// `k` belongs to group `k / folds` and fold `k % folds`, as in the published protocol.
    Segments { groups: usize, folds: usize },
    /// Segments of `frames` frames, one every `step` frames.
    Window { frames: usize, step: usize },
}

/// Consecutive frames of one trajectory: one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub trajectory: u32,
    /// First frame.
    pub start: u64,
    pub frames: u32,
    pub group: u32,
    pub fold: u32,
}

/// A path needs two points.
const SHORTEST: usize = 2;

impl Cut {
    /// Folds that the segments of one trajectory are dealt to.
    pub fn folds(&self) -> usize {
        match self {
            Cut::Segments { folds, .. } => *folds,
            Cut::Window { .. } => 1,
        }
    }

    /// # Errors
    /// A zero, or segments of less than two frames.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Cut::Segments { groups, folds } if groups == 0 || folds == 0 => Err(Error::input(
                format!("--segments {groups}x{folds}: both numbers must be positive"),
            )),
            Cut::Window { frames, .. } if frames < SHORTEST => Err(Error::input(format!(
                "--window {frames}: a segment needs at least {SHORTEST} frames"
            ))),
            Cut::Window { step: 0, .. } => {
                Err(Error::input("--window-step 0: it must be positive"))
            }
            _ => Ok(()),
        }
    }

    /// Frames in each segment of a trajectory of `total` frames.
    pub fn length(&self, total: usize) -> usize {
        match *self {
            Cut::Segments { groups, folds } => total / (groups * folds),
            Cut::Window { frames, .. } => frames,
        }
    }

    /// The segments of trajectory number `trajectory`, which has `total` frames.
    ///
    /// # Errors
    /// Too few frames; the text says how many are needed.
    pub fn segments(&self, trajectory: u32, total: usize) -> Result<Vec<Segment>> {
        let length = self.length(total);
        let (count, step, folds) = match *self {
            Cut::Segments { groups, folds } if length >= SHORTEST => {
                (groups * folds, length, folds)
            }
            Cut::Segments { groups, folds } => {
                return Err(Error::input(format!(
                    "{total} frames, too few for {groups} x {folds} segments of at least \
                     {SHORTEST} frames; use fewer segments (--segments) or a smaller --stride"
                )));
            }
            Cut::Window { frames, step } if total >= frames => {
                ((total - frames) / step + 1, step, 1)
            }
            Cut::Window { frames, .. } => {
                return Err(Error::input(format!(
                    "{total} frames, too few for one window of {frames}; use a shorter --window \
                     or a smaller --stride"
                )));
            }
        };
        Ok((0..count)
            .map(|k| Segment {
                trajectory,
                start: (k * step) as u64,
                frames: length as u32,
                group: (k / folds) as u32,
                fold: (k % folds) as u32,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_the_published_cut() {
        let cut = Cut::Segments {
            groups: 5,
            folds: 5,
        };
        let segments = cut.segments(3, 2511).unwrap();
        assert_eq!(segments.len(), 25);
        for (k, s) in segments.iter().enumerate() {
            assert_eq!((s.trajectory, s.frames, s.start), (3, 100, 100 * k as u64));
            assert_eq!((s.group as usize, s.fold as usize), (k / 5, k % 5));
        }
        let too_short = cut.segments(0, 49).unwrap_err().to_string();
        assert!(
            too_short.contains("49 frames, too few for 5 x 5"),
            "{too_short}"
        );
        assert_eq!(cut.segments(0, 50).unwrap()[24].start, 48);
    }

    #[test]
    fn windows_stay_inside() {
        let cut = Cut::Window {
            frames: 10,
            step: 4,
        };
        let starts: Vec<u64> = cut
            .segments(0, 23)
            .unwrap()
            .iter()
            .map(|s| s.start)
            .collect();
        assert_eq!(starts, [0, 4, 8, 12]);
        assert!(cut.segments(0, 9).is_err());
        assert_eq!(cut.segments(0, 10).unwrap().len(), 1);
    }
}
