//! The `[train]` section of a job, and where a step stands in it.

use super::groups::{Group, Patterns};
use super::job::{parse_table, to_text};
use super::optimizer::AdamSettings;
use super::rate::LearningRateSchedule;
use super::upgrade;
use super::watch::{OBJECTIVE, Watch};
use crate::comm::DeviceKind;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How slice gradients are summed over the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Over a fixed tree: the same bits for every number of ranks.
    #[default]
    Reproducible,
    /// MPI's own all-reduce: last bits vary with the number of ranks.
    Fast,
}

/// What gradients are rounded to on their way between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// 16 bits; what rounding takes away is added to the next step's gradient.
    Bf16,
}

/// Who keeps the optimizer's state. The parameters get the same bits in either case, and a run may
/// be resumed with the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerState {
    /// Every rank keeps all of it and updates all parameters.
    #[default]
    Replicated,
    /// Every rank keeps the state of its part of the parameters, updates these, and gets the
    /// others from the other ranks (ZeRO stage 1: Rajbhandari et al. 2020, section 5.1).
    Sharded,
}

/// What to do when a loss or a gradient is not finite, or a loss spikes. The parameters are never
/// touched by such a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNonfinite {
    /// End the run.
    #[default]
    Stop,
    /// Leave the step out.
    Skip,
    /// Go back to the last checkpoint, and give the step another batch and other random numbers
    /// when it comes round again.
    Rollback,
}

/// Most slices of a batch, and so most ranks.
const MOST_SLICES: usize = 1 << 20;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Keys every random number of the run.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Samples of a global batch, over all ranks. Every task has a default of its own.
    pub batch: u64,
    /// Slices that a global batch is cut into, a power of two: at most that many ranks can
    /// share the work. Batch norm takes its statistics over a slice, so one slice is the
    /// published full-batch norm. Every task has a default of its own.
    pub slices: usize,
    /// Passes over the training samples.
    #[serde(default = "default_epochs")]
    pub epochs: u64,
    /// Optimizer steps; when present it decides the length of the run instead of `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// A checkpoint or run to start from: its parameters and buffers; of a network of atoms also weights
    /// under the released names (`.safetensors`, `.pt`, `.pth`). A run that is resumed has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Parameters and buffers, by name, that are not taken from `init` but drawn from the seed.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub fresh: Patterns,
    /// Parameters and buffers, by name, that stay as they are.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub freeze: Patterns,
    /// Step size of Adam, before its schedule.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// How the learning rate moves.
    #[serde(default)]
    pub learning_rate_schedule: LearningRateSchedule,
    /// First steps over which the learning rate rises evenly.
    #[serde(default)]
    pub learning_rate_warmup: u64,
    /// The step at which the cosine ends; absent: the last one of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate_steps: Option<u64>,
    /// What cosine and plateaus leave of the learning rate at least, as a share of it.
    #[serde(default)]
    pub learning_rate_floor: f64,
    /// Factor on the learning rate at a plateau.
    #[serde(default = "half")]
    pub learning_rate_drop: f64,
    /// What the schedule `plateau` looks at; with that schedule only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Watch>,
    /// Ends the run when a metric of the validation has not improved for some validations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<Watch>,
    /// The metric of the validation by which `best.h5` is chosen: `objective`, or one that the
    /// validation reports. The higher is the better of an accuracy, the lower of all others.
    #[serde(default = "objective", skip_serializing_if = "is_objective")]
    pub best: String,
    /// Longest gradient: a longer one is shortened to this norm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay of an exponential moving average of the parameters, which is validated, tested and
    /// saved in their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// Standard deviation (Å) of noise on the coordinates of training samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinate_noise: Option<f64>,
    /// How gradients are summed over the ranks.
    #[serde(default)]
    pub reduction: Reduction,
    /// What gradients are rounded to on their way between ranks; with the fast reduction only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// What to compute on.
    #[serde(default, skip_serializing_if = "DeviceKind::is_auto")]
    pub device: DeviceKind,
    /// Who keeps the optimizer's state.
    #[serde(default)]
    pub optimizer_state: OptimizerState,
    /// Validations per epoch, evenly spread, the last one at the epoch's end.
    #[serde(default = "one")]
    pub evaluations_per_epoch: u64,
    /// Steps between checkpoints; absent: one per epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// How many of the newest checkpoints to keep, beside the best.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// Steps between lines in the metrics log.
    #[serde(default = "default_log_every")]
    pub log_every: u64,
    /// Writes event files for TensorBoard beside the metrics log.
    #[serde(default)]
    pub tensorboard: bool,
    /// What to do when a loss or a gradient is not finite, or a loss spikes.
    #[serde(default)]
    pub on_nonfinite: OnNonfinite,
    /// Most steps that a run skips or rolls back before it stops after all.
    #[serde(default = "default_nonfinite_limit")]
    pub nonfinite_limit: u64,
    /// A loss is a spike when it is above the median of the last 64 by more than this many median
    /// absolute deviations; absent: spikes are let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spike: Option<f64>,
    /// Seconds without progress after which the watchdog ends the job and names the rank at
    /// fault.
    #[serde(default = "default_stall_timeout")]
    pub stall_timeout: f64,
    /// The optimizer.
    #[serde(default)]
    pub adam: AdamSettings,
    /// Parameters with a learning rate or a decay of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

fn default_seed() -> u64 {
    123_456_789
}

fn default_epochs() -> u64 {
    12
}

fn default_learning_rate() -> f64 {
    2.5e-3
}

fn objective() -> String {
    OBJECTIVE.into()
}

fn is_objective(metric: &str) -> bool {
    metric == OBJECTIVE
}

fn half() -> f64 {
    0.5
}

fn one() -> u64 {
    1
}

fn default_keep() -> usize {
    3
}

fn default_log_every() -> u64 {
    10
}

fn default_nonfinite_limit() -> u64 {
    10
}

fn default_stall_timeout() -> f64 {
    crate::comm::watchdog::STALL_TIMEOUT
}

/// Keys of a job that do not change what a run computes from finite numbers (the device does in the
/// last bits).
pub const FREE: &[&str] = &[
    "train.tensorboard",
    "train.optimizer_state",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.on_nonfinite",
    "train.nonfinite_limit",
    "train.spike",
    "train.stall_timeout",
    "train.device",
    "data.dataset",
];

impl Settings {
    /// # Errors
    /// A value out of range, by its key.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("batch", self.batch),
            ("epochs", self.epochs),
            ("steps", self.steps.unwrap_or(1)),
            ("evaluations_per_epoch", self.evaluations_per_epoch),
            ("checkpoint_every", self.checkpoint_every.unwrap_or(1)),
            ("keep", self.keep as u64),
            ("log_every", self.log_every),
        ];
        for (key, value) in counts {
            if value == 0 {
                return Err(Error::input(format!(
                    "train.{key} = 0: 1 or more is needed"
                )));
            }
        }
        if self.slices > MOST_SLICES {
            return Err(Error::input(format!(
                "train.slices = {}: the most is {MOST_SLICES}",
                self.slices
            )));
        }
        if !self.slices.is_power_of_two() {
            return Err(Error::input(format!(
                "train.slices = {}: a power of two is needed",
                self.slices
            )));
        }
        if self.compression.is_some() && self.reduction == Reduction::Reproducible {
            return Err(Error::input(
                "train.compression = \"bf16\" needs train.reduction = \"fast\": rounded sums \
                 depend on the number of ranks",
            ));
        }
        self.check_ranges()?;
        self.check_names()?;
        if let Some(watch) = &self.early_stop {
            watch.check("train.early_stop")?;
        }
        match (&self.plateau, self.learning_rate_schedule) {
            (Some(watch), LearningRateSchedule::Plateau) => watch.check("train.plateau"),
            (Some(_), _) => Err(Error::input(
                "train.plateau needs train.learning_rate_schedule = \"plateau\"",
            )),
            (None, _) => Ok(()),
        }
    }

    fn check_ranges(&self) -> Result<()> {
        let AdamSettings {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            ..
        } = self.adam;
        let (unit, from_zero) = (0.0..1.0, 0.0..f64::MAX);
        let positive = f64::MIN_POSITIVE..f64::MAX;
        let ranges = [
            ("learning_rate", Some(self.learning_rate), &from_zero),
            ("learning_rate_floor", Some(self.learning_rate_floor), &unit),
            ("learning_rate_drop", Some(self.learning_rate_drop), &unit),
            ("clip_norm", self.clip_norm, &positive),
            ("average", self.average, &unit),
            ("coordinate_noise", self.coordinate_noise, &positive),
            ("spike", self.spike, &positive),
            ("stall_timeout", Some(self.stall_timeout), &(1.0..1e9)),
            ("adam.beta1", Some(beta1), &unit),
            ("adam.beta2", Some(beta2), &unit),
            ("adam.epsilon", Some(epsilon), &positive),
            ("adam.weight_decay", Some(weight_decay), &from_zero),
        ];
        let of_groups = self.groups.iter().flat_map(|g| {
            let rate = ("groups.learning_rate", g.learning_rate, &from_zero);
            [rate, ("groups.weight_decay", g.weight_decay, &from_zero)]
        });
        for (key, value, range) in ranges.into_iter().chain(of_groups) {
            if let Some(value) = value.filter(|v| !range.contains(v)) {
                return Err(Error::input(format!("train.{key} = {value}: out of range")));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        self.fresh.check("train.fresh")?;
        self.freeze.check("train.freeze")?;
        for group in &self.groups {
            group.parameters.check("train.groups.parameters")?;
        }
        match self.init.is_none() && !self.fresh.is_empty() {
            true => Err(Error::input(
                "train.fresh needs train.init: without it all parameters are drawn",
            )),
            false => Ok(()),
        }
    }

    /// Writes out what the choice of one setting says of another one.
    pub fn complete(&mut self) {
        if self.learning_rate_schedule == LearningRateSchedule::Plateau {
            self.plateau.get_or_insert_default();
        }
    }

    /// Numbers that a checkpoint has of each parameter: itself, two moments, and its average.
    pub fn saved(&self) -> usize {
        3 + usize::from(self.average.is_some())
    }

    /// What the schedule of that name looks at.
    pub fn watched_plateau(&self) -> Option<Watch> {
        let follows = self.learning_rate_schedule == LearningRateSchedule::Plateau;
        follows.then(|| self.plateau.clone().unwrap_or_default())
    }

    /// A job with every default of `[train]` filled in: one that an older program has written lacks
    /// the keys that came later. A section that cannot be understood stays as it is.
    ///
    /// # Errors
    /// Text that is no TOML, a setting under two names; `path` is the file to blame.
    pub fn fill(path: &Path, job: &str) -> Result<String> {
        let mut table = parse_table(path, job)?;
        upgrade::job(&mut table).map_err(|e| e.in_file(path))?;
        if let Some(section) = table.get_mut("train")
            && let Ok(mut settings) = section.clone().try_into::<Self>()
        {
            settings.complete();
            *section = toml::Value::try_from(&settings).map_err(Error::internal)?;
        }
        to_text(&table)
    }

    /// Keys of a job that may change when a run is resumed.
    pub fn free_on_resume(&self) -> Vec<&'static str> {
        let mut free = FREE.to_vec();
        // Of the start, which is over, and of the end.
        free.extend(["train.init", "train.fresh", "train.early_stop.patience"]);
        // A cosine that ends with the run depends on its length.
        let follows = self.learning_rate_schedule == LearningRateSchedule::Cosine
            && self.learning_rate_steps.is_none();
        if !follows {
            free.extend(["train.steps", "train.epochs"]);
        }
        free
    }

    /// Refuses a world that cannot share the slices.
    ///
    /// # Errors
    /// More ranks than slices.
    pub fn check_ranks(&self, ranks: usize) -> Result<()> {
        match ranks > self.slices {
            true => Err(Error::input(format!(
                "train.slices = {} is too few for {ranks} ranks: each rank needs a slice of \
                 every batch; use fewer ranks or more slices",
                self.slices
            ))),
            false => Ok(()),
        }
    }

    /// Samples of a full slice: so many are computed at a time where nothing is trained.
    pub fn block(&self) -> u64 {
        (self.batch / self.slices as u64).max(1)
    }
}
