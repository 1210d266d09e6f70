//! What a Deep Signature model is made of.

use crate::models::sizes::WIDEST;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose rules the model follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// What the paper promises: undirected graphs, invariance to rigid motion and to the speed
    /// of the path, one sigmoid, cluster means.
    #[default]
    Corrected,
    /// What the released code computes, quirks included; for comparison.
    Published,
}

/// Which nodes make a bead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CoarseGraining {
    /// Min-cut pooling, learned with the rest.
    #[default]
    Learned,
    /// Spectral clusters of the graph, fixed in advance.
    Spectral,
    /// Communities of the graph of a high modularity, fixed in advance.
    Communities,
    /// Runs of consecutive residues, fixed in advance.
    Residues,
    /// Drawn at random, fixed in advance.
    Random,
}

impl CoarseGraining {
    /// Its word in job files.
    pub fn name(self) -> &'static str {
        match self {
            CoarseGraining::Learned => "learned",
            CoarseGraining::Spectral => "spectral",
            CoarseGraining::Communities => "communities",
            CoarseGraining::Residues => "residues",
            CoarseGraining::Random => "random",
        }
    }
}

/// How the coarse paths become one vector per clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Log-signatures of segments, an LSTM over the segments.
    #[default]
    DeepSignature,
    /// An LSTM on the first frame only.
    Head,
    /// An LSTM on the last frame only.
    Tail,
    /// An LSTM on the first and the last frame.
    HeadAndTail,
    /// A bidirectional LSTM over all frames, per cluster.
    GraphLstm,
    /// A transformer over all frames.
    GraphTransformer,
    /// A transformer over all beads in several frames, which knows beads and times.
    SpaceTimeTransformer,
}

/// What segments and averages over time are cut and weighted by (corrected variant).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The length of the path of all nodes: the result does not depend on the speed.
    #[default]
    PathLength,
    /// The number of frames.
    Frames,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Classes(usize),
    /// A number.
    Regression,
}

impl Objective {
    /// Numbers that the model gives per clip.
    pub fn outputs(self) -> usize {
        match self {
            Objective::Classes(n) => n,
            _ => 1,
        }
    }
}

/// Settings of the model; defaults are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepSignatureConfig {
    /// Whose rules the model follows.
    pub variant: Variant,
    /// How the coarse paths become one vector per clip.
    pub method: Method,
    /// Which nodes make a bead; all but `learned` are baselines, the beads' paths being means of
    /// their nodes.
    pub coarse_graining: CoarseGraining,
    /// Beads K of the coarse-graining; the levels have 8 K, 4 K and K clusters.
    pub clusters: usize,
    /// Width H of graph layers and of the last hidden layer.
    pub hidden: usize,
    /// Depth of the log-signature.
    pub depth: usize,
    /// Segments that a clip is cut into.
    pub segments: usize,
    /// What segments and averages over time are cut and weighted by (corrected variant).
    pub clock: Clock,
    /// Channels that a learned linear map brings the coarse path to before its log-signature.
    /// The first layer of the LSTM is thereby factorised: what makes depth 3 affordable.
    pub projection: Option<usize>,
    /// Width of the LSTM.
    pub lstm: usize,
    /// Share of the features that is dropped in training.
    pub dropout: f64,
    /// Models with more parameters are refused.
    pub max_parameters: usize,
}

impl Default for DeepSignatureConfig {
    fn default() -> Self {
        Self {
            variant: Variant::default(),
            method: Method::default(),
            coarse_graining: CoarseGraining::default(),
            clusters: 50,
            hidden: 20,
            depth: 2,
            segments: 4,
            clock: Clock::default(),
            projection: None,
            lstm: 256,
            dropout: 0.2,
            max_parameters: 200_000_000,
        }
    }
}

impl DeepSignatureConfig {
    /// # Errors
    /// A setting that makes no model, or one that the published code cannot run.
    pub fn validate(&self, features: usize, objective: Objective) -> Result<()> {
        let bad = |what: String| Err(Error::input(format!("model: {what}")));
        let at_least = [
            ("clusters", self.clusters, 2),
            ("hidden", self.hidden, 1),
            ("depth", self.depth, 1),
            ("segments", self.segments, 1),
            ("lstm", self.lstm, 1),
            ("projection", self.projection.unwrap_or(1), 1),
        ];
        for (name, value, least) in at_least {
            if value < least {
                return bad(format!("{name} = {value}: at least {least} is needed"));
            }
        }
        for (name, value, most) in [
            ("clusters", self.clusters, WIDEST),
            ("hidden", self.hidden, WIDEST),
            ("depth", self.depth, DEPTH),
            ("segments", self.segments, WIDEST),
            ("lstm", self.lstm, WIDEST),
            ("projection", self.projection.unwrap_or(1), WIDEST),
        ] {
            if value > most {
                return bad(format!("{name} = {value}: the most is {most}"));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad(format!(
                "dropout = {}: 0 to below 1 is needed",
                self.dropout
            ));
        }
        if features == 0 {
            return bad("the nodes have no features".into());
        }
        if let Objective::Classes(n @ ..2) = objective {
            return bad(format!("{n} classes: at least 2 are needed"));
        }
        let channels = self.clusters * features;
        if self.method == Method::GraphTransformer && !channels.is_multiple_of(HEADS) {
            return bad(format!(
                "clusters = {}: the transformer's {channels} channels must divide by its {HEADS} \
                 heads; choose clusters divisible by {HEADS}",
                self.clusters
            ));
        }
        if self.variant == Variant::Published {
            self.validate_published(objective)?;
        }
        Ok(())
    }

    /// # Errors
    /// Clips of `frames` frames that the model cannot cut into its segments.
    pub fn check_frames(&self, frames: usize) -> Result<()> {
        let segments = self.segments;
        if frames == 0 {
            return Err(Error::input("a clip without frames"));
        }
        if self.method != Method::DeepSignature {
            return Ok(());
        }
        if frames < segments {
            return Err(Error::input(format!(
                "a clip of {frames} frames cannot be cut into {segments} segments"
            )));
        }
        if self.variant == Variant::Published && !frames.is_multiple_of(segments) {
            return Err(Error::input(format!(
                "a clip of {frames} frames cannot be cut into {segments} equal segments by the \
                 published variant; choose other clips, or variant = \"corrected\""
            )));
        }
        Ok(())
    }

    /// The released code also stops at scalar node features, on a squeezed axis; here their path
    /// has one channel per bead, as the code means it.
    fn validate_published(&self, objective: Objective) -> Result<()> {
        let cannot = if objective != Objective::Binary {
            "knows two classes only"
        } else if self.coarse_graining != CoarseGraining::Learned {
            "learns its coarse-graining"
        } else if self.method == Method::SpaceTimeTransformer {
            "has no transformer over beads and times"
        } else if self.projection.is_some() {
            "has no projection"
        } else {
            return Ok(());
        };
        Err(Error::input(format!(
            "model: the published variant {cannot}; choose variant = \"corrected\""
        )))
    }
}

/// Deepest log-signature: with two channels it has 1125 terms.
const DEPTH: usize = 12;

/// Attention heads of the transformer baseline.
pub(super) const HEADS: usize = 5;
