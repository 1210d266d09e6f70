//! Benchmarks that anyone can run: every case against a limit of this machine that is measured
//! in the same run.
//!
//! Sizes are those of the two papers. A case is prepared, run once to warm up, then repeated;
//! figures are medians, with the fastest and slowest repeat beside them.

mod cases;
mod limits;
mod scaling;

pub use cases::{Group, all};
pub use limits::Limits;

use crate::Result;
use crate::comm::World;
use serde::Serialize;
use std::time::{Duration, Instant};

/// One thing to measure.
pub struct Case {
    pub name: String,
    pub group: Group,
    /// What is counted: `neighborhoods/s`.
    pub unit: &'static str,
    /// How much of it one call does.
    pub amount: f64,
    /// What one call needs at least, and so what limits it.
    pub need: Need,
    pub prepare: Prepare,
}

/// Makes what a case needs.
pub type Prepare = Box<dyn Fn(&World) -> Result<Work>>;

/// One call of what is measured.
pub type Work = Box<dyn FnMut(&World) -> Result<()>>;

/// The least that a call can need of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Need {
    /// Floating-point operations; a multiply and an add are two. Limit: the measured matrix
    /// product.
    Flops(f64),
    /// Bytes read and written. Limit: the measured copy.
    Bytes(f64),
    /// Bytes put on the disk. Limit: the measured write and sync of a plain file.
    Disk(f64),
    /// The same work on every rank. Limit: as many times what one rank does while the others
    /// sleep, so that the share of the limit is the weak-scaling efficiency.
    Alone,
}

/// A measured case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    pub case: String,
    pub ranks: usize,
    pub threads: usize,
    /// Median over the repeats.
    pub per_second: f64,
    pub slowest: f64,
    pub fastest: f64,
    pub unit: String,
    pub repeats: usize,
    /// Share of the limit that is reached.
    pub fraction_of_limit: f64,
    /// The limit, in `unit`.
    pub limit: f64,
    /// What the limit is: `matrix product, 194 GFLOP/s`.
    pub limited_by: String,
    /// Most memory resident during the case, with everything the program holds.
    pub peak_memory_mb: f64,
}

/// Measures a case; collective. `None`: it needs another number of ranks.
///
/// # Errors
/// A case that cannot be prepared or fails.
pub fn measure(world: &World, case: &Case, limits: &Limits) -> Result<Option<Figure>> {
    match case.need {
        Need::Alone => scaling::measure(world, case),
        _ => measure_together(world, case, limits).map(Some),
    }
}

fn measure_together(world: &World, case: &Case, limits: &Limits) -> Result<Figure> {
    /// Repeats go on for this long, within these numbers.
    const ENOUGH: Duration = Duration::from_secs(2);
    const REPEATS: std::ops::RangeInclusive<usize> = 3..=200;
    let mut work = world.agree((case.prepare)(world))?;
    limits::forget_peak_memory();
    world.agree(work(world))?;
    let mut seconds: Vec<f64> = Vec::new();
    let begun = Instant::now();
    loop {
        world.barrier();
        let start = Instant::now();
        let done = work(world);
        world.barrier();
        seconds.push(start.elapsed().as_secs_f64());
        world.agree(done)?;
        let enough = seconds.len() >= *REPEATS.start() && begun.elapsed() > ENOUGH;
        // Rank 0's clock decides for all.
        if world.any(world.is_root() && (enough || seconds.len() >= *REPEATS.end())) {
            break;
        }
    }
    seconds.sort_by(f64::total_cmp);
    let rate = |s: f64| case.amount / s;
    let median = rate(seconds[seconds.len() / 2]);
    let (limit, limited_by) = limits.of(case);
    Ok(Figure {
        case: case.name.clone(),
        ranks: world.size(),
        threads: rayon::current_num_threads(),
        per_second: median,
        slowest: rate(seconds[seconds.len() - 1]),
        fastest: rate(seconds[0]),
        unit: case.unit.into(),
        repeats: seconds.len(),
        fraction_of_limit: median / limit,
        limit,
        limited_by,
        peak_memory_mb: limits::peak_memory_mb(),
    })
}

/// The table's head and one line of it.
pub fn row(figure: Option<&Figure>) -> String {
    let Some(f) = figure else {
        return format!(
            "{:<30} {:>12} {:>12} {:>12}  {:<17} {:>8} {:>9}  {}",
            "case", "per second", "slowest", "fastest", "", "of limit", "peak MB", "limited by"
        );
    };
    let number = |v: f64| match v {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    };
    format!(
        "{:<30} {:>12} {:>12} {:>12}  {:<17} {:>7.1}% {:>9.0}  {}",
        f.case,
        number(f.per_second),
        number(f.slowest),
        number(f.fastest),
        f.unit,
        100.0 * f.fraction_of_limit,
        f.peak_memory_mb,
        f.limited_by
    )
}
