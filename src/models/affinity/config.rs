//! Settings of a network of affinities beside its encoder.

use crate::models::layers::Readout;
use crate::models::sizes::{DEEPEST, check_width};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a centre tells, with `a` the invariants of its neighborhood and `b` those of the same
/// without the atoms of the ligand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// `a`
    With,
    /// `b`
    Without,
    /// `|a - b|`: what the ligand changes, whose signs would cancel in a sum.
    Difference,
    /// `a b`
    Products,
}

impl View {
    /// Whether it looks at neighborhoods without the ligand.
    fn bare(self) -> bool {
        self != View::With
    }
}

/// How centres become a pocket.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Their sum, which grows with the pocket as a free energy does.
    #[default]
    Sum,
    /// Their mean, which does not.
    Mean,
}

impl Pool {
    pub fn name(self) -> &'static str {
        match self {
            Pool::Sum => "sum",
            Pool::Mean => "mean",
        }
    }

    pub(super) fn readout(self) -> Readout {
        match self {
            Pool::Sum => Readout::Sum,
            Pool::Mean => Readout::Mean,
        }
    }
}

/// Which statistics the encoder's batch norms take in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Statistics {
    /// The running ones of the checkpoint, which stay as they are: a prediction depends on no other
    /// pocket, in training as after it.
    #[default]
    Kept,
    /// Those of a slice, which the running ones follow.
    Batch,
}

/// What stands behind the encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// What each centre tells; the parts stand beside each other.
    #[serde(default = "views")]
    pub views: Vec<View>,
    /// How the centres of a pocket become one vector.
    #[serde(default)]
    pub pool: Pool,
    /// Widths of hidden layers between that vector and the affinity; none: a linear map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<usize>,
    /// Which statistics the encoder's batch norms take in training.
    #[serde(default)]
    pub statistics: Statistics,
}

fn views() -> Vec<View> {
    vec![View::With, View::Difference]
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self {
            views: views(),
            pool: Pool::default(),
            hidden: Vec::new(),
            statistics: Statistics::default(),
        }
    }
}

impl HeadConfig {
    /// Whether neighborhoods without the ligand are needed.
    pub fn bare(&self) -> bool {
        self.views.iter().any(|view| view.bare())
    }

    /// Refuses what cannot be built, naming the setting.
    ///
    /// # Errors
    /// Such a setting.
    pub fn check(&self) -> Result<()> {
        let twice = |(i, view): (usize, &View)| self.views[..i].contains(view);
        if self.views.is_empty() || self.views.iter().enumerate().any(twice) {
            let what = "model.views: one or more of \"with\", \"without\", \"difference\", \
                        \"products\", each once";
            return Err(Error::input(what));
        }
        if self.hidden.len() > DEEPEST {
            let what = format!("model.hidden: at most {DEEPEST} layers");
            return Err(Error::input(what));
        }
        let mut widths = self.hidden.iter();
        widths.try_for_each(|&width| check_width("model.hidden", width))
    }
}
