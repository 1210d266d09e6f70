//! A machine file: the numbers that the model needs of a machine, as TOML.
//!
//! Units are seconds, bytes and bytes per second.

use crate::train::job;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A machine of equal nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Shown in tables and plots.
    pub name: String,
    /// Where the numbers come from: measured when and where, or assumed after whom.
    pub source: String,
    pub node: Node,
    /// Between ranks of one node.
    pub inside: Link,
    /// Between nodes; absent: there is one node, which holds all ranks, more than it has cores if
    /// need be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<Link>,
    pub memory: Memory,
    pub disk: Disk,
    pub stragglers: Stragglers,
    /// What a job costs here; absent: the job is given and tried on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub cores: usize,
    /// Ranks that a node holds.
    pub ranks: usize,
    /// Threads of a rank.
    pub threads: usize,
    /// Bytes.
    pub memory: f64,
    /// Mean time between failures of one node in hours; absent: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours_between_failures: Option<f64>,
}

/// Latency and bandwidth: an exchange of n bytes in both directions takes latency + n / bandwidth
/// (L + 2o and 1/G of LogGP; Alexandrov et al. 1995). Inside a node, bandwidth is that of each
/// rank while all exchange; between nodes it is the node's, shared by its ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub latency: f64,
    pub bandwidth: f64,
}

/// What a rank's core does with memory while all ranks do the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Bytes of one vector that are added to another, per second.
    pub add: f64,
    /// Bytes copied to new memory per second.
    pub copy: f64,
}

/// The file system that the run folder is on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Of a checkpoint, checksum and sync included, from one process.
    pub write: f64,
    /// By all nodes together; absent: reading is not modelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<f64>,
}

/// The spread of equal ranks' times for equal work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stragglers {
    /// Standard deviation of the logarithm of a slice's time.
    pub sigma: f64,
}

/// What one job costs one rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// Which job.
    pub job: String,
    pub parameters: u64,
    /// Numbers that a step sums over the slices: gradient, batch statistics, objective.
    pub values: u64,
    /// Samples of a step, and the slices that they are cut into.
    pub batch: u64,
    pub slices: u64,
    /// Forward and backward of a slice: this much, and `sample` for each of its samples.
    pub slice: f64,
    pub sample: f64,
    /// Preparing a sample.
    pub load: f64,
    /// The optimizer's step.
    pub update: f64,
    /// A sample in the dataset file.
    pub sample_bytes: f64,
    /// The model runs on an accelerator: computing and the cores do not wait for each other.
    #[serde(default)]
    pub accelerator: bool,
}

impl Machine {
    /// Reads a machine file.
    ///
    /// # Errors
    /// An unreadable file; a missing, unknown or impossible value, by its key.
    pub fn load(path: &Path) -> Result<Self> {
        let machine: Self = job::from_table(path, job::read(path)?, &[])?;
        machine.check().map_err(|e| e.in_file(path))?;
        Ok(machine)
    }

    /// # Errors
    /// A value that is impossible, by its key.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("node.cores", self.node.cores),
            ("node.ranks", self.node.ranks),
            ("node.threads", self.node.threads),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, v)| *v == 0) {
            return Err(Error::input(format!("{key} = 0: 1 or more is needed")));
        }
        let between = self.between.unwrap_or(self.inside);
        let rates = [
            ("node.memory", self.node.memory),
            (
                "node.hours_between_failures",
                self.node.hours_between_failures.unwrap_or(1.0),
            ),
            ("inside.latency", self.inside.latency),
            ("inside.bandwidth", self.inside.bandwidth),
            ("between.latency", between.latency),
            ("between.bandwidth", between.bandwidth),
            ("memory.add", self.memory.add),
            ("memory.copy", self.memory.copy),
            ("disk.write", self.disk.write),
            ("disk.read", self.disk.read.unwrap_or(1.0)),
        ];
        for (key, value) in rates {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::input(format!(
                    "{key} = {value}: a number above zero is needed"
                )));
            }
        }
        not_negative("stragglers.sigma", self.stragglers.sigma)?;
        self.compute.as_ref().map_or(Ok(()), Compute::check)
    }

    /// As a machine file.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn to_text(&self) -> Result<String> {
        job::to_text(self)
    }
}

impl Compute {
    fn check(&self) -> Result<()> {
        for (key, value) in [
            ("parameters", self.parameters),
            ("values", self.values),
            ("batch", self.batch),
            ("slices", self.slices),
        ] {
            if value == 0 {
                return Err(Error::input(format!(
                    "compute.{key} = 0: 1 or more is needed"
                )));
            }
        }
        if !self.slices.is_power_of_two() {
            return Err(Error::input(format!(
                "compute.slices = {}: a power of two is needed",
                self.slices
            )));
        }
        not_negative("compute.slice", self.slice)?;
        not_negative("compute.sample", self.sample)?;
        not_negative("compute.load", self.load)?;
        not_negative("compute.update", self.update)?;
        not_negative("compute.sample_bytes", self.sample_bytes)?;
        if self.slice + self.sample == 0.0 {
            return Err(Error::input(
                "compute.slice = 0 and compute.sample = 0: one of them must be above zero",
            ));
        }
        Ok(())
    }

    /// The same job with fewer slices of the same size: what one rank has in weak scaling.
    pub fn of_slices(&self, slices: u64) -> Self {
        let slices = slices.min(self.slices);
        Self {
            batch: (self.batch * slices / self.slices).max(1),
            slices,
            ..self.clone()
        }
    }

    /// Bytes of a checkpoint: parameters and two moments.
    pub fn checkpoint_bytes(&self) -> f64 {
        12.0 * self.parameters as f64
    }
}

fn not_negative(key: &str, value: f64) -> Result<()> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(Error::input(format!(
            "{key} = {value}: zero or a number above it is needed"
        ))),
    }
}
