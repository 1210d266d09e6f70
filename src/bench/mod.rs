//! Benchmarks that anyone can run: every case against a limit of this machine that is measured
//! in the same run.
//!
//! Sizes are those of the two papers. A case is prepared, run once to warm up, then repeated;
//! figures are medians, with the fastest and slowest repeat beside them. Each case has a process
//! of its own, so that its peak of memory is its own; under a launcher the ranks stay, and a peak
//! is told only of a case that is run alone.

mod cases;
mod graph;
mod limits;
mod scaling;

pub use cases::{Group, all};
pub use limits::Limits;

use crate::comm::{Place, World};
use crate::ops::count;
use crate::{Error, Result};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};
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
    /// A case that does a part of the work on as many samples.
    pub part: Option<Part>,
}

/// A part of a case's work that is a case of its own.
pub struct Part {
    pub case: String,
    /// What it is, for the table: "the transform before it".
    pub what: &'static str,
}

/// Makes what a case needs.
pub type Prepare = Box<dyn Fn(&World, &Device) -> Result<Work>>;

/// One call of what is measured.
pub type Work = Box<dyn FnMut(&World) -> Result<()>>;

/// The least that a call can need of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Need {
    /// Floating-point operations; a multiply and an add are two. Limit: the measured matrix
    /// product.
    Flops(f64),
    /// Floating-point operations of the products of the first call: see [`crate::ops::count`].
    Counted,
    /// Bytes read and written. Limit: the measured copy.
    Bytes(f64),
    /// Bytes put on the disk. Limit: the measured write and sync of a plain file.
    Disk(f64),
    /// The same work on every rank. Limit: as many times what one rank does while the others
    /// sleep, so that the share of the limit is the weak-scaling efficiency.
    Alone,
}

/// A measured case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub case: String,
    pub ranks: usize,
    pub threads: usize,
    /// Median over the repeats.
    pub per_second: f64,
    pub slowest: f64,
    pub fastest: f64,
    /// Least processor time of a call, s: what other programs on the machine change least. Of the
    /// rank, all threads together.
    pub processor_seconds: Option<f64>,
    pub unit: String,
    pub repeats: usize,
    /// Share of the limit that is reached.
    pub fraction_of_limit: f64,
    /// The limit, in `unit`.
    pub limit: f64,
    /// What the limit is: `1.51 GFLOP, matrix product, 194 GFLOP/s`.
    pub limited_by: String,
    /// Most memory resident during the case, with everything the program holds (of a GPU its
    /// memory in use); absent where it is not known.
    pub peak_memory_mb: Option<f64>,
    /// Time of a part of the work as a share of the call's own, and what part; only when both
    /// cases were measured.
    pub share_of_part: Option<f64>,
    pub part: Option<String>,
}

/// Measures cases one after another and gives each figure to `tell` on rank 0; collective.
///
/// # Errors
/// A case that cannot be prepared or fails.
pub fn run(
    world: &World,
    place: &Place,
    cases: &[Case],
    limits: &Limits,
    tell: impl Fn(&Figure) -> Result<()>,
) -> Result<()> {
    let mut figures: Vec<Figure> = Vec::new();
    for case in cases {
        if case.need == Need::Alone && !scaling::fits(world) {
            if world.is_root() {
                log::info!("{}: left out, needs 2, 4, 8, ... ranks", case.name);
            }
            continue;
        }
        let mut figure = match world.size() {
            1 => in_child(place, case, limits)?,
            _ if case.need == Need::Alone => scaling::measure(world, &place.device, case)?,
            _ => measure(world, &place.device, case, limits)?,
        };
        if cases.len() > 1 && world.size() > 1 {
            figure.peak_memory_mb = None;
        }
        if let Some(part) = &case.part
            && let Some(found) = figures.iter().find(|f| f.case == part.case)
        {
            figure.share_of_part = Some(figure.per_second / found.per_second);
            figure.part = Some(part.what.into());
        }
        if world.is_root() {
            tell(&figure)?;
        }
        figures.push(figure);
    }
    Ok(())
}

/// Measures a case in a process of its own, which starts no MPI.
fn in_child(place: &Place, case: &Case, limits: &Limits) -> Result<Figure> {
    let program = std::env::current_exe().map_err(Error::internal)?;
    let limits = serde_json::to_string(limits).map_err(Error::internal)?;
    let device = if place.device.is_cpu() { "cpu" } else { "cuda" };
    let child = Command::new(program)
        .args(["bench", "--case", &case.name, "--limits", &limits])
        .args(["--device", device])
        .env(
            "RAYON_NUM_THREADS",
            rayon::current_num_threads().to_string(),
        )
        .stderr(Stdio::inherit())
        .output()
        .map_err(Error::internal)?;
    if !child.status.success() {
        return Err(Error::internal(format!(
            "case {}: {}",
            case.name, child.status
        )));
    }
    serde_json::from_slice(&child.stdout).map_err(Error::internal)
}

/// Measures a case in this process, on a device; collective.
///
/// # Errors
/// A case that cannot be prepared or fails.
pub fn measure(world: &World, device: &Device, case: &Case, limits: &Limits) -> Result<Figure> {
    /// Repeats go on for this long, within these numbers.
    const ENOUGH: Duration = Duration::from_secs(2);
    const REPEATS: std::ops::RangeInclusive<usize> = 3..=200;
    let mut work = world.agree((case.prepare)(world, device))?;
    limits::forget_peak_memory();
    // A GPU has done its work only when it says so.
    let mut call = || {
        work(world)?;
        Ok(device.synchronize()?)
    };
    let before = count::products();
    world.agree(call())?;
    let need = match case.need {
        Need::Counted => Need::Flops(2.0 * (count::products() - before) as f64),
        need => need,
    };
    let mut seconds: Vec<f64> = Vec::new();
    let mut processor = f64::INFINITY;
    let begun = Instant::now();
    loop {
        world.barrier();
        let (start, busy) = (Instant::now(), processor_seconds());
        let done = call();
        processor = processor.min(processor_seconds() - busy);
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
    let (limit, limited_by) = limits.of(need, case.amount);
    Ok(Figure {
        case: case.name.clone(),
        ranks: world.size(),
        threads: rayon::current_num_threads(),
        per_second: median,
        slowest: rate(seconds[seconds.len() - 1]),
        fastest: rate(seconds[0]),
        processor_seconds: Some(processor),
        unit: case.unit.into(),
        repeats: seconds.len(),
        fraction_of_limit: median / limit,
        limit,
        limited_by,
        peak_memory_mb: limits::peak_memory_mb(device),
        share_of_part: None,
        part: None,
    })
}

/// Processor time of all threads of this process so far, s.
pub fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
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
    let memory = f.peak_memory_mb.map_or("-".into(), |mb| format!("{mb:.0}"));
    let part = match (&f.part, f.share_of_part) {
        (Some(part), Some(share)) => format!("; {part} takes {:.1}%", 100.0 * share),
        _ => String::new(),
    };
    format!(
        "{:<30} {:>12} {:>12} {:>12}  {:<17} {:>7.1}% {memory:>9}  {}{}",
        f.case,
        number(f.per_second),
        number(f.slowest),
        number(f.fastest),
        f.unit,
        100.0 * f.fraction_of_limit,
        f.limited_by,
        part
    )
}
