//! The run as a table, told by rank 0 before the first step.

use super::checkpoint::CHUNK;
use super::trainer::{IN_FLIGHT, Plan};
use super::{Calendar, Compression, OptimizerState, Reduction, Task};
use crate::comm::World;
use crate::data::Split;
use crate::models::Model;

/// Bytes in words: `12.3 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// The most memory that this process has had resident, in bytes (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Memory that grows with the number of parameters, in bytes.
struct Memory {
    /// On every rank.
    state: u64,
    /// On rank 0 on top, for a while.
    checkpoint: u64,
}

impl Memory {
    fn of<T: Task>(world: &World, plan: &Plan<T>) -> Self {
        let len = plan.task.model().parameters().len();
        let sharded = plan.settings.optimizer_state == OptimizerState::Sharded && world.size() > 1;
        let (own, in_flight) = match sharded {
            true => (world.part(len).len(), IN_FLIGHT * CHUNK),
            false => (len, plan.settings.saved() * len),
        };
        // Of each slice that is being computed a gradient as it leaves the backward pass, and
        // one in the tree; there also one for each level of the rank's own subtree.
        let slices = plan.settings.slices.div_ceil(world.size());
        let parallel = rayon::current_num_threads().min(slices);
        let rounding = usize::from(plan.settings.compression.is_some() && world.size() > 1);
        let tree = slices.min(parallel + slices.ilog2() as usize);
        Self {
            // The model's parameters; what rounding takes; the moments and averages of those that
            // are updated here.
            state: 4
                * (len * (1 + rounding + parallel + tree) + (plan.settings.saved() - 1) * own)
                    as u64,
            checkpoint: 4 * in_flight.min(plan.settings.saved() * len) as u64,
        }
    }
}

/// Prints the table on rank 0, with what only this run has (`particulars`); collective.
pub fn announce<T: Task>(
    world: &World,
    plan: &Plan<T>,
    calendar: &Calendar,
    first_step: u64,
    particulars: Vec<(&str, String)>,
) {
    let hosts = world.gather(world.host().as_bytes());
    let own = world.cores();
    let numbers = [rayon::current_num_threads(), own.allowed, own.of_host];
    let numbers = world.gather(&numbers.map(|n| n as u64));
    if !world.reports_progress() {
        return;
    }
    let mut hosts: Vec<String> = hosts
        .iter()
        .map(|h| String::from_utf8_lossy(h).into_owned())
        .collect();
    hosts.dedup();
    let shown = match hosts.len() {
        0..=4 => hosts.join(", "),
        n => format!("{}, ... {} ({n})", hosts[0], hosts[n - 1]),
    };
    let span = |which: usize| {
        let of_ranks = || numbers.iter().map(|n| n[which]);
        match (of_ranks().min(), of_ranks().max()) {
            (Some(a), Some(b)) if a != b => format!("{a} to {b}"),
            (a, _) => a.unwrap_or_default().to_string(),
        }
    };
    let threads = format!(
        "{} per rank, which may run on {} of its host's {} cores",
        span(0),
        span(1),
        span(2)
    );
    let parameters = plan.task.model().parameters();
    let memory = Memory::of(world, plan);
    let reduction = match (plan.settings.reduction, plan.settings.compression) {
        (Reduction::Reproducible, _) => "reproducible: the same bits for every number of ranks",
        (Reduction::Fast, None) => "fast: last bits vary with the number of ranks",
        (Reduction::Fast, Some(Compression::Bf16)) => "fast, gradients travel with 16 bits",
    };
    let state = match plan.settings.optimizer_state {
        OptimizerState::Replicated => "every rank keeps all moments",
        OptimizerState::Sharded => "each rank keeps the moments of its part of the parameters",
    };
    let rows = [
        ("run folder", plan.folder.path().display().to_string()),
        ("ranks", format!("{} on {shown}", world.size())),
        ("threads", threads),
        ("parameters", parameters.len().to_string()),
        (
            "memory",
            format!(
                "{} per rank for parameters, moments and gradients; activations come on top, and \
                 on rank 0 up to {} while a checkpoint is written",
                human_bytes(memory.state),
                human_bytes(memory.checkpoint)
            ),
        ),
        (
            "samples",
            format!(
                "{} training, {} validation",
                calendar.samples,
                plan.task.samples(Split::Validation)
            ),
        ),
        (
            "batch",
            format!("{} in {} slices", calendar.batch, plan.settings.slices),
        ),
        (
            "steps",
            format!(
                "{first_step} to {}, {} per epoch",
                calendar.steps,
                calendar.steps_per_epoch()
            ),
        ),
        ("reduction", reduction.to_string()),
        ("optimizer", state.to_string()),
        ("seed", plan.settings.seed.to_string()),
        ("data", plan.task.fingerprint()),
        ("holosig", env!("CARGO_PKG_VERSION").to_string()),
    ];
    for (name, value) in rows.into_iter().chain(particulars) {
        crate::say!("{name:>12}  {value}");
    }
}
