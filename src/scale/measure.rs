//! Measuring a machine and a job, and comparing the model with real steps.

use super::machine::{Compute, Disk, Link, Machine, Memory, Node, Stragglers};
use super::model::{Scaling, Step, step};
use super::reduction::Algorithm;
use crate::comm::World;
use crate::store::{self, Kind, Scratch, Storage};
use crate::tasks::AnyJob;
use crate::train::{Costs, Reduction};
use crate::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// Numbers in the vectors that are added, copied and written: far more than caches hold.
const NUMBERS: usize = 8 << 20;

/// Measures the machine that this world runs on, full as it is. Collective; rank 0 describes its
/// own node.
///
/// # Errors
/// A world of one rank; a job that cannot be tried; a folder of `out` that takes no file.
pub fn measure(world: &World, job: &dyn AnyJob, job_name: &str, out: &Path) -> Result<Machine> {
    if world.size() == 1 {
        return Err(Error::input(
            "--measure exchanges messages: start it with mpirun on all ranks of a node, or of two",
        ));
    }
    let hosts = world.hosts();
    let Links { inside, between } = links(world, &hosts);
    let rates = world.all_gather(&[world.add_rate(NUMBERS), world.copy_rate(NUMBERS)]);
    let mean = |i: usize| short(rates.iter().map(|r| r[i]).sum::<f64>() / rates.len() as f64);
    let write = world.on_root(|| write_rate(out))?;
    let costs = job.costs(world)?;
    let spread = world.all_gather(&costs.spread);
    let compute = of_costs(world, job, job_name, &costs)?;
    let machine = Machine {
        name: out.file_stem().unwrap_or_default().to_string_lossy().into(),
        source: format!(
            "measured by holosig {} on {} ranks of {}",
            env!("CARGO_PKG_VERSION"),
            world.size(),
            hosts[0]
        ),
        node: Node {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ranks: hosts.iter().filter(|h| **h == hosts[0]).count(),
            threads: rayon::current_num_threads(),
            memory: memory_bytes(),
            hours_between_failures: None,
        },
        // With one rank per node nothing is sent inside.
        inside: world.agree(inside.or(between).ok_or_else(unlinked))?,
        between,
        memory: Memory {
            add: mean(0),
            copy: mean(1),
        },
        disk: Disk {
            write: short(world.broadcast(vec![write.unwrap_or(0.0)])[0]),
            read: None,
        },
        stragglers: Stragglers {
            sigma: short(spread_of(&spread.concat())),
        },
        compute: Some(compute),
    };
    world.agree(machine.check())?;
    Ok(machine)
}

fn unlinked() -> Error {
    Error::internal("no link between ranks was measured")
}

/// What a job costs on this machine. Collective.
///
/// # Errors
/// A job that cannot be tried.
pub fn of_job(world: &World, job: &dyn AnyJob, job_name: &str) -> Result<Compute> {
    let costs = job.costs(world)?;
    of_costs(world, job, job_name, &costs)
}

/// The ranks' mean costs.
fn of_costs(world: &World, job: &dyn AnyJob, job_name: &str, costs: &Costs) -> Result<Compute> {
    let own = [costs.slice, costs.sample, costs.load, costs.update];
    let all = world.all_gather(&own);
    let mean = |i: usize| short(all.iter().map(|c| c[i]).sum::<f64>() / all.len() as f64);
    let dataset = job.dataset();
    let bytes = world.agree(std::fs::metadata(dataset).map_err(|e| Error::io(dataset, e)))?;
    Ok(Compute {
        job: job_name.into(),
        parameters: costs.parameters,
        values: costs.values,
        batch: costs.batch,
        slices: costs.slices,
        slice: mean(0),
        sample: mean(1),
        load: mean(2),
        update: mean(3),
        sample_bytes: short(bytes.len() as f64 / costs.samples.max(1) as f64),
        accelerator: costs.accelerator,
    })
}

/// A step of this world: what the model says and what it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    pub predicted: Step,
    pub measured: f64,
}

impl Check {
    /// How much too long (or, below zero, too short) the prediction is, of what was measured.
    pub fn error(&self) -> f64 {
        self.predicted.seconds() / self.measured - 1.0
    }
}

/// Tries steps of a job in this world. Collective.
///
/// # Errors
/// A machine file without `[compute]` or of another job; other threads than it was measured with.
pub fn check(world: &World, machine: &Machine, job: &dyn AnyJob) -> Result<Check> {
    let costs = job.costs(world)?;
    let known = world.agree(compute_for(machine, &costs))?;
    let algorithm = algorithm_of(job);
    let predicted = step(machine, known, Scaling::Strong, world.size(), algorithm)
        .ok_or_else(|| Error::internal("a world with fewer slices than ranks"));
    Ok(Check {
        predicted: world.agree(predicted)?,
        measured: world.broadcast(vec![costs.step])[0],
    })
}

/// The costs that a machine file has of the job that was tried.
fn compute_for<'a>(machine: &'a Machine, costs: &Costs) -> Result<&'a Compute> {
    let known = machine
        .compute
        .as_ref()
        .ok_or_else(|| Error::input("no [compute]: measure the machine with this job first"))?;
    let threads = rayon::current_num_threads();
    if threads != machine.node.threads {
        return Err(Error::input(format!(
            "node.threads = {}, but these ranks have {threads}; set RAYON_NUM_THREADS",
            machine.node.threads
        )));
    }
    let differ = [
        ("parameters", known.parameters, costs.parameters),
        ("batch", known.batch, costs.batch),
        ("slices", known.slices, costs.slices),
    ];
    if let Some((key, theirs, ours)) = differ.into_iter().find(|(_, a, b)| a != b) {
        return Err(Error::input(format!(
            "compute.{key} = {theirs}, but the job has {ours}: another job was measured"
        )));
    }
    Ok(known)
}

/// How a job's gradients are summed.
pub fn algorithm_of(job: &dyn AnyJob) -> Algorithm {
    match job.train().reduction {
        Reduction::Reproducible => Algorithm::Tree,
        Reduction::Fast => Algorithm::Ring,
    }
}

/// Links between ranks, where there are such pairs.
struct Links {
    /// Inside the first host.
    inside: Option<Link>,
    /// Between the first two hosts.
    between: Option<Link>,
}

fn links(world: &World, hosts: &[String]) -> Links {
    let of_host = |host: &str| -> Vec<usize> {
        let ranks = hosts.iter().enumerate().filter(|(_, h)| *h == host);
        ranks.map(|(rank, _)| rank).collect()
    };
    let pair = |ranks: &[usize]| {
        let place = ranks.iter().position(|&r| r == world.rank())?;
        ranks.get(place ^ 1).copied()
    };
    let inside = time_link(world, pair(&of_host(world.host())));
    let mut leaders: Vec<usize> = hosts.iter().map(|h| of_host(h)[0]).collect();
    leaders.sort_unstable();
    leaders.dedup();
    let between = time_link(world, pair(&leaders));
    Links { inside, between }
}

/// A link by exchanges of 8 bytes to 8 MB with `peer`; every rank gets rank 0's fit. Collective.
fn time_link(world: &World, peer: Option<usize>) -> Option<Link> {
    let sizes = (0..11).map(|i| 8usize << (2 * i));
    let points: Vec<(f64, f64)> = sizes
        .filter_map(|bytes| {
            let repeats = ((4 << 20) / bytes).clamp(9, 400);
            let seconds = world.time_exchange(peer, bytes, repeats)?;
            Some((bytes as f64, seconds))
        })
        .collect();
    let flat: Vec<f64> = points.iter().flat_map(|p| [p.0, p.1]).collect();
    let flat = world.broadcast(flat);
    fit(&flat.chunks(2).map(|p| (p[0], p[1])).collect::<Vec<_>>())
}

/// The link that (bytes, seconds) fit best, by relative error: least squares of
/// (latency + bytes / bandwidth) / seconds - 1.
fn fit(points: &[(f64, f64)]) -> Option<Link> {
    if points.len() < 2 {
        return None;
    }
    let (mut aa, mut ab, mut bb, mut a1, mut b1) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for &(bytes, seconds) in points {
        let (a, b) = (1.0 / seconds, bytes / seconds);
        aa += a * a;
        ab += a * b;
        bb += b * b;
        a1 += a;
        b1 += b;
    }
    let det = aa * bb - ab * ab;
    let latency = (a1 * bb - b1 * ab) / det;
    let per_byte = (b1 * aa - a1 * ab) / det;
    // Measured times may be such that a line through them is not of this kind.
    let least = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let (bytes, seconds) = points[points.len() - 1];
    Some(Link {
        latency: short(if latency > 0.0 { latency } else { least }),
        bandwidth: short(match per_byte > 0.0 {
            true => 1.0 / per_byte,
            false => bytes / seconds,
        }),
    })
}

/// Four digits: more would only look exact.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Standard deviation of the logarithms, as their quartiles tell it: a few slices that another
/// program disturbed do not count as the machine's own spread.
fn spread_of(times: &[f64]) -> f64 {
    /// Distance of the quartiles of the normal distribution.
    const QUARTILES: f64 = 1.349;
    let mut logs: Vec<f64> = times.iter().map(|t| t.ln()).collect();
    logs.sort_by(f64::total_cmp);
    (logs[3 * logs.len() / 4] - logs[logs.len() / 4]) / QUARTILES
}

/// Bytes per second of a file with checksum and sync, beside `out`.
fn write_rate(out: &Path) -> Result<f64> {
    let values = vec![1.0f32; NUMBERS];
    let mut place = out.as_os_str().to_os_string();
    place.push(".measured");
    let place = Scratch::new(Path::new(&place))?;
    let started = Instant::now();
    store::write(place.path(), Kind::Checkpoint, |root| {
        root.write("values", &[NUMBERS], &values, Storage::Plain)
    })?;
    Ok(4.0 * NUMBERS as f64 / started.elapsed().as_secs_f64())
}

/// The memory of this machine; a terabyte where it does not tell.
fn memory_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.map_or(1e12, |k| 1024.0 * k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_in_its_own_times() {
        let link = Link {
            latency: 3e-6,
            bandwidth: 2e9,
        };
        let sizes = (0..11).map(|i| f64::from(8 << (2 * i)));
        let noise = [1.03, 0.98, 1.0, 1.02, 0.97];
        let points: Vec<(f64, f64)> = sizes
            .zip(noise.iter().cycle())
            .map(|(n, e)| (n, e * (link.latency + n / link.bandwidth)))
            .collect();
        let found = fit(&points).unwrap();
        assert!(
            (found.latency / link.latency - 1.0).abs() < 0.03,
            "{found:?}"
        );
        assert!(
            (found.bandwidth / link.bandwidth - 1.0).abs() < 0.03,
            "{found:?}"
        );
        assert_eq!(fit(&points[..1]), None);
        // Large messages faster than small ones: still a usable link.
        let odd = fit(&[(8.0, 2e-3), (8e6, 1e-3)]).unwrap();
        assert!(odd.latency > 0.0 && odd.bandwidth > 0.0);
    }

    #[test]
    fn the_spread_is_that_of_the_quartiles() {
        assert_eq!(spread_of(&[0.5; 4]), 0.0);
        let mut times: Vec<f64> = (-100..=100).map(|i| (f64::from(i) / 100.0).exp()).collect();
        let spread = spread_of(&times);
        assert!((spread * 1.349 - 1.0).abs() < 0.02, "{spread}");
        times.push(1e9);
        assert!((spread_of(&times) - spread).abs() < 0.02);
    }
}
