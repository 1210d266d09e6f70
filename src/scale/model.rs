//! The model of a training step, and what follows from it: curves, knees, epochs, checkpoints.

use super::machine::{Compute, Machine};
use super::reduction::{Algorithm, Fabric};
use super::stragglers::slowest;
use serde::Serialize;

/// Steps between lines in the metrics log: rank 0 hears from every rank then.
const LOG_EVERY: f64 = 10.0;
/// Messages that each rank sends for such a line: three gathers, each a length and values.
const LOG_MESSAGES: usize = 6;

/// What grows with the number of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Nothing: the same step is shared by more ranks.
    Strong,
    /// The step: every rank has a whole batch of the job ([`Compute::of_slices`]).
    Weak,
}

/// Seconds of one training step, by what they are spent on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    pub ranks: usize,
    pub nodes: usize,
    /// Samples of the step.
    pub batch: u64,
    /// Forward, backward and the preparation of batches on the same cores.
    pub compute: f64,
    /// For the slowest rank, beyond the median.
    pub wait: f64,
    /// Sums within a rank, between ranks, and the agreement on signals.
    pub reduce: f64,
    /// The optimizer, the same on every rank.
    pub update: f64,
    /// Rank 0's share per step of gathering the logged terms.
    pub log: f64,
}

impl Step {
    pub fn seconds(&self) -> f64 {
        self.compute + self.wait + self.reduce + self.update + self.log
    }

    pub fn samples_per_second(&self) -> f64 {
        self.batch as f64 / self.seconds()
    }
}

/// A step on `ranks` ranks; `None` where there are fewer slices than ranks.
pub fn step(
    machine: &Machine,
    job: &Compute,
    scaling: Scaling,
    ranks: usize,
    algorithm: Algorithm,
) -> Option<Step> {
    let more = match scaling {
        Scaling::Strong => 1,
        Scaling::Weak => ranks as u64,
    };
    // A world of any size needs a power of two of slices: the next one, with smaller slices.
    let slices = (job.slices * more).next_power_of_two();
    let batch = job.batch * more;
    if ranks as u64 > slices {
        return None;
    }
    let fabric = Fabric::new(machine, ranks);
    let own = slices.div_ceil(ranks as u64);
    let compute = computing(machine, job, &fabric, own, batch as f64 / slices as f64);
    // Work of one thread takes longer where ranks share a core.
    let cores = machine.node.cores as f64 / fabric.per_node() as f64;
    let turns = (1.0 / cores).max(1.0);
    let adds = (own - 1) as f64 * 4.0 * job.values as f64 / machine.memory.add;
    Some(Step {
        ranks,
        nodes: fabric.nodes(),
        batch,
        compute,
        wait: compute * (slowest(ranks, machine.stragglers.sigma) - 1.0),
        reduce: adds * turns + fabric.sum(algorithm, job.values, slices) + fabric.agree(),
        update: job.update * turns,
        log: fabric.gather(LOG_MESSAGES) / LOG_EVERY,
    })
}

/// Median time of `own` slices of `samples` on one rank.
///
/// A rank's threads take a slice each; batches of the next step are prepared by the same threads.
fn computing(machine: &Machine, job: &Compute, fabric: &Fabric, own: u64, samples: f64) -> f64 {
    let slice = job.slice + job.sample * samples;
    let load = own as f64 * samples * job.load;
    let threads = machine.node.threads as f64;
    let cores = (machine.node.cores as f64 / fabric.per_node() as f64).min(threads);
    let work = own as f64 * slice;
    if job.accelerator {
        return work.max(load / cores);
    }
    let rounds = (own as f64 / threads).ceil();
    (rounds * slice).max((work + load) / cores)
}

/// Steps on several numbers of ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pub scaling: Scaling,
    /// The first is the one that efficiencies count from.
    pub steps: Vec<Step>,
    /// Number of ranks that the job's slices are too few for, if there is one.
    pub too_few_slices: Option<usize>,
}

/// Steps on each number of `ranks`, ascending.
pub fn curve(
    machine: &Machine,
    job: &Compute,
    scaling: Scaling,
    ranks: &[usize],
    algorithm: Algorithm,
) -> Curve {
    let made: Vec<_> = ranks
        .iter()
        .map(|&p| step(machine, job, scaling, p, algorithm))
        .collect();
    let missing = made.iter().position(Option::is_none);
    Curve {
        scaling,
        steps: made.into_iter().flatten().collect(),
        too_few_slices: missing.map(|i| ranks[i]),
    }
}

impl Curve {
    /// Samples per second and rank, against those of the curve's first number of ranks.
    pub fn efficiency(&self, step: &Step) -> f64 {
        let per_rank = |s: &Step| s.samples_per_second() / s.ranks as f64;
        per_rank(step) / per_rank(&self.steps[0])
    }

    /// The knee: the last number of ranks before the efficiency falls below one half; `None` when
    /// it never does on this curve.
    pub fn knee(&self) -> Option<usize> {
        let below = self.steps.iter().position(|s| self.efficiency(s) < 0.5)?;
        Some(self.steps[below.saturating_sub(1)].ranks)
    }

    /// The number of ranks with the most samples per second; more are of no use.
    pub fn fastest(&self) -> usize {
        let rate = |s: &&Step| s.samples_per_second();
        let best = self.steps.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)));
        best.map_or(1, |s| s.ranks)
    }
}

/// What one pass over a dataset takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epoch {
    pub samples: f64,
    pub seconds: f64,
    /// Whether a node's memory holds the dataset once for each of its ranks, as the loader does.
    /// If not, `seconds` is of a loader that reads every sample from the file system.
    pub fits: bool,
}

/// A pass over `samples`; `None` where they do not fit and the machine's reading is not known.
pub fn epoch(machine: &Machine, job: &Compute, step: &Step, samples: f64) -> Option<Epoch> {
    let ranks_of_node = step.ranks.div_ceil(step.nodes) as f64;
    let fits = samples * job.sample_bytes * ranks_of_node <= machine.node.memory;
    let steps = (samples / step.batch as f64).ceil();
    let reading = match (fits, machine.disk.read) {
        (true, _) => 0.0,
        (false, Some(rate)) => step.batch as f64 * job.sample_bytes / rate,
        (false, None) => return None,
    };
    Some(Epoch {
        samples,
        seconds: steps * step.seconds().max(reading),
        fits,
    })
}

/// What checkpoints cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Checkpoints {
    pub bytes: f64,
    /// Training stands still while rank 0 copies its state.
    pub stall: f64,
    /// In the background.
    pub write: f64,
    /// The best time between checkpoints, where failures are known: sqrt(2 stall M) with M the
    /// job's mean time between failures (Young 1974), but no less than `write`.
    pub every: Option<f64>,
    /// Share of the time that goes into stalls and into work that failures undo, then.
    pub lost: Option<f64>,
}

pub fn checkpoints(machine: &Machine, job: &Compute, nodes: usize) -> Checkpoints {
    let bytes = job.checkpoint_bytes();
    let (stall, write) = (bytes / machine.memory.copy, bytes / machine.disk.write);
    let between = machine
        .node
        .hours_between_failures
        .map(|hours| 3600.0 * hours / nodes as f64);
    let every = between.map(|m| (2.0 * stall * m).sqrt().max(write));
    Checkpoints {
        bytes,
        stall,
        write,
        every,
        // A failure undoes half an interval, and what was still being written.
        lost: every
            .zip(between)
            .map(|(t, m)| stall / t + (0.5 * t + write) / m),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::machine::{Disk, Link, Memory, Node, Stragglers};

    fn machine() -> Machine {
        let link = Link {
            latency: 1e-6,
            bandwidth: 1e10,
        };
        Machine {
            name: "test".into(),
            source: "made up".into(),
            node: Node {
                cores: 8,
                ranks: 8,
                threads: 1,
                memory: 1e11,
                hours_between_failures: Some(1000.0),
            },
            inside: link,
            between: Some(link),
            memory: Memory {
                add: 1e10,
                copy: 1e9,
            },
            disk: Disk {
                write: 1e8,
                read: Some(1e10),
            },
            stragglers: Stragglers { sigma: 0.02 },
            compute: None,
        }
    }

    fn job() -> Compute {
        Compute {
            job: "test".into(),
            parameters: 1_000_000,
            values: 1_000_100,
            batch: 65_536,
            slices: 4096,
            slice: 1e-3,
            sample: 1e-3,
            load: 1e-5,
            update: 1e-3,
            sample_bytes: 100.0,
            accelerator: false,
        }
    }

    const RANKS: [usize; 7] = [1, 2, 8, 64, 512, 4096, 8192];

    fn of(machine: &Machine, job: &Compute, scaling: Scaling) -> Curve {
        curve(machine, job, scaling, &RANKS, Algorithm::Tree)
    }

    /// One rank, one thread: slices and loading one after the other, sums, update, and the mean
    /// of the lognormal over its median.
    #[test]
    fn one_rank_takes_what_its_parts_take() {
        let s = step(&machine(), &job(), Scaling::Strong, 1, Algorithm::Tree).unwrap();
        let compute = 4096.0 * (1e-3 + 16e-3) + 65_536.0 * 1e-5;
        let parts = [
            (s.compute, compute),
            (s.wait, compute * (0.0002f64.exp() - 1.0)),
            (s.reduce, 4095.0 * 4.0 * 1_000_100.0 / 1e10),
            (s.update, 1e-3),
            (s.log, 0.0),
        ];
        for (found, known) in parts {
            assert!((found - known).abs() <= 1e-4 * known, "{found}, {known}");
        }
    }

    #[test]
    fn a_perfect_machine_scales_perfectly() {
        let mut m = machine();
        let infinite = Link {
            latency: 0.0,
            bandwidth: f64::INFINITY,
        };
        (m.inside, m.between) = (infinite, Some(infinite));
        m.stragglers.sigma = 0.0;
        m.memory.add = f64::INFINITY;
        let mut j = job();
        j.update = 0.0;
        for scaling in [Scaling::Strong, Scaling::Weak] {
            let c = of(&m, &j, scaling);
            assert!(c.steps.iter().all(|s| (c.efficiency(s) - 1.0).abs() < 1e-9));
            assert_eq!(c.knee(), None);
        }
    }

    #[test]
    fn curves_fall_and_have_their_knee_where_half_is_lost() {
        let c = of(&machine(), &job(), Scaling::Strong);
        assert_eq!(c.too_few_slices, Some(8192));
        let efficiencies: Vec<f64> = c.steps.iter().map(|s| c.efficiency(s)).collect();
        assert!(efficiencies.is_sorted_by(|a, b| a >= b), "{efficiencies:?}");
        // One slice of 16 samples per rank: 17 ms; the fixed update alone costs 6 % of that.
        let last = c.steps.last().unwrap();
        assert_eq!(last.ranks, 4096);
        assert!((last.compute - 17.16e-3).abs() < 1e-6 && c.knee().is_none());
        let mut slow = machine();
        slow.between.as_mut().unwrap().bandwidth = 1e8;
        let c = of(&slow, &job(), Scaling::Strong);
        let knee = c.knee().unwrap();
        let at = |p| c.efficiency(c.steps.iter().find(|s| s.ranks == p).unwrap());
        let next = RANKS[RANKS.iter().position(|&p| p == knee).unwrap() + 1];
        assert!(at(knee) >= 0.5 && at(next) < 0.5, "{knee}");
        assert!(c.fastest() >= knee);
        // Weak scaling shares out nothing: it lasts longer.
        let weak = of(&slow, &job(), Scaling::Weak);
        assert!(weak.efficiency(&weak.steps[4]) > at(512));
        assert_eq!(weak.steps.len(), RANKS.len());
    }

    /// Twice as many ranks as cores take twice as long for the same slices.
    #[test]
    fn ranks_that_share_cores_take_turns() {
        let mut m = machine();
        m.between = None;
        m.node.cores = 2;
        let time = |ranks| step(&m, &job(), Scaling::Strong, ranks, Algorithm::Tree).unwrap();
        assert!((time(4).compute / time(2).compute - 1.0).abs() < 1e-9);
        assert!((time(2).compute / time(1).compute - 0.5).abs() < 1e-9);
        assert_eq!(time(4).update, 2.0 * time(2).update);
        assert_eq!(time(4).nodes, 1);
    }

    #[test]
    fn an_accelerator_hides_the_loading_until_it_does_not() {
        let mut j = job();
        j.accelerator = true;
        let time = |j: &Compute| step(&machine(), j, Scaling::Strong, 8, Algorithm::Tree).unwrap();
        assert!((time(&j).compute - 512.0 * 17e-3).abs() < 1e-9);
        j.load = 2e-3;
        assert!((time(&j).compute - 8192.0 * 2e-3).abs() < 1e-9);
    }

    #[test]
    fn an_epoch_that_does_not_fit_in_memory_is_bound_by_reading() {
        let (m, j) = (machine(), job());
        let s = step(&m, &j, Scaling::Weak, 64, Algorithm::Tree).unwrap();
        let small = epoch(&m, &j, &s, 2.7e6).unwrap();
        assert!(small.fits && small.seconds == s.seconds());
        let mut j = j;
        j.sample_bytes = 1e6;
        let large = epoch(&m, &j, &s, 1e11).unwrap();
        let reading = 1e11 * 1e6 / 1e10;
        assert!(!large.fits && (large.seconds / reading - 1.0).abs() < 1e-4);
        let mut blind = m.clone();
        blind.disk.read = None;
        assert!(epoch(&blind, &j, &s, 1e11).is_none());
    }

    /// 12 MB: 12 ms in memory, 0.12 s on the disk. Young's interval makes both losses equal.
    #[test]
    fn checkpoints_follow_young() {
        let c = checkpoints(&machine(), &job(), 10);
        assert!((c.stall - 0.012).abs() < 1e-9 && (c.write - 0.12).abs() < 1e-9);
        let between = 360_000.0;
        let every = (2.0 * c.stall * between).sqrt();
        assert!((c.every.unwrap() - every).abs() < 1e-6);
        assert!((c.stall / every - 0.5 * every / between).abs() < 1e-9);
        let mut m = machine();
        m.disk.write = 1e4;
        let c = checkpoints(&m, &job(), 10);
        assert_eq!(c.every, Some(c.write));
        m.node.hours_between_failures = None;
        assert_eq!(checkpoints(&m, &job(), 10).lost, None);
    }
}
