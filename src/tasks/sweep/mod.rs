//! Many runs of one job: a grid of settings, every fold, several seeds.
//!
//! A sweep is a list of runs, each with a folder of its own whose name says what is particular
//! to it. Runs are shared out to the ranks, whole runs to each, and to the parts of a job array;
//! a run that is finished is not made again, one that was stopped goes on from its checkpoint.
//! So a sweep that was killed goes on when the same command is given again, and a sweep grows
//! when it is given again with more values, folds or repeats.

mod plan;
mod results;
mod work;

pub use plan::{Axis, FOLD, Planned, SEED, Sweep};
pub use results::{Point, Results, RunScores, Statistic};
pub use work::{Share, Worked, work};
