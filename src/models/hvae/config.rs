//! Settings of an H-(V)AE and the plan of degrees and channels that follows from them.

use crate::models::layers::Activation;
use crate::models::sizes::{DEEPEST, check_width};
use crate::ops::cg::Size;
use crate::ops::zernike;
use crate::so3::irreps::Irreps;
use crate::so3::paths::Rule;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::ops::batch_norm::Normalization;

/// How channels meet in a tensor product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelRule {
    /// Channel `c` with channel `c`.
    #[default]
    Elementwise,
    /// Every channel with every channel.
    Full,
}

/// Learned scale (and scalar bias) of a signal norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalAffine {
    None,
    /// One weight that the published code stores and never applies; kept for parity.
    Unique,
    /// One weight per degree and one bias.
    #[default]
    PerL,
    /// One weight per feature, one bias per scalar.
    PerFeature,
}

/// The normalisation inside a block, beside batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Norm {
    None,
    /// Divides a sample by the root of its total squared size; `balance` multiplies the size by
    /// `sqrt(balance / mean-multiplicity x degrees)` (the published `norm_balanced`).
    Signal {
        #[serde(default)]
        affine: SignalAffine,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        balance: Option<f64>,
    },
    /// Removes a sample's scalar mean and divides each degree by its root mean square.
    Layer {
        #[serde(default)]
        affine: bool,
    },
    /// Layer norm and a nonlinearity on the norms of features.
    LayerNonlin {
        #[serde(default)]
        affine: bool,
        #[serde(default)]
        activation: Activation,
    },
}

impl Default for Norm {
    fn default() -> Self {
        Norm::Signal {
            affine: SignalAffine::PerL,
            balance: None,
        }
    }
}

/// Where [`Norm`] stands in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NormPlace {
    /// Before the tensor product.
    First,
    /// Between the tensor product and the linear map.
    #[default]
    Between,
    /// After the linear map.
    Last,
}

/// What the decoder is asked to minimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reconstruction {
    /// Mean squared error over all coefficients.
    #[default]
    Mse,
    /// Squared error of degree `l` divided by `2l + 1`.
    MseNormalized,
    /// One minus the degree-weighted cosine.
    Cosine,
}

/// An H-(V)AE as the paper's Table S2 and the published configuration file describe it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HvaeConfig {
    /// Size of the invariant latent `z`.
    pub latent_dim: usize,
    /// Channels after each encoder block; the decoder mirrors them.
    pub channels: Vec<usize>,
    /// Largest degree after each encoder block; the last must be 1. Absent: the largest that the
    /// decoder can rebuild, `min(2^i, lmax)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degrees: Option<Vec<usize>>,
    /// Channels that the first linear map brings every degree to. Absent: no such map, which
    /// needs data with equal channels in every degree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<usize>,
    /// Largest degree inside the network. Absent: that of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lmax: Option<usize>,
    /// Pairs of degrees in each block's tensor product. Absent: efficient everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Channels in each block's tensor product. Absent: elementwise everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_rules: Vec<ChannelRule>,
    /// Leave out pairs (l2, l1) that repeat (l1, l2).
    #[serde(default = "yes")]
    pub symmetric: bool,
    /// Add the input of a block to its output.
    #[serde(default = "yes")]
    pub skip: bool,
    /// Batch norm in every block.
    #[serde(default = "yes")]
    pub batch_norm: bool,
    /// The normalisation inside a block, beside batch norm.
    #[serde(default)]
    pub norm: Norm,
    /// Where that normalisation stands in a block.
    #[serde(default)]
    pub norm_place: NormPlace,
    /// How the orders of a feature are pooled into its squared size.
    #[serde(default)]
    pub normalization: Normalization,
    /// Linear map before the tensor product instead of after it.
    #[serde(default)]
    pub linear_first: bool,
    /// Sizes of hidden layers between the last block's scalars and `z`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<usize>,
    /// Widths of the hidden layers of a decoder that knows nothing of rotations (paper, Table S1).
    /// Absent: the steerable decoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconstrained: Vec<usize>,
    /// Learn the frame; without it the decoder gets the identity.
    #[serde(default = "yes")]
    pub learn_frame: bool,
    /// Variational (H-VAE) or plain (H-AE).
    #[serde(default)]
    pub variational: bool,
    /// What the decoder is asked to minimise.
    #[serde(default)]
    pub reconstruction: Reconstruction,
    /// Divide the reconstruction by its signal norm.
    #[serde(default)]
    pub final_signal_norm: bool,
    /// Classes of the signals, whose label stands beside `z` before the decoder (conditional model; task
    /// `spheres`). Absent: none, the decoder knows no labels.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conditions: usize,
    /// Probability that a feature of the input (all orders of a degree in a channel) is hidden from the
    /// encoder in training; all of the input is to be rebuilt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub denoising: f64,
}

fn yes() -> bool {
    true
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Input and output of one block, and its rules.
#[derive(Debug, Clone)]
pub struct BlockPlan {
    /// After the block.
    pub out: Size,
    pub rule: Rule,
    pub channel_rule: ChannelRule,
}

/// The most that a block's degree can be, by block.
struct Bounds {
    encoder: Vec<usize>,
    decoder: Vec<usize>,
}

impl HvaeConfig {
    /// Everything by default but what has none.
    pub fn new(latent_dim: usize, channels: Vec<usize>) -> Self {
        Self {
            latent_dim,
            channels,
            degrees: None,
            projection: None,
            lmax: None,
            rules: Vec::new(),
            channel_rules: Vec::new(),
            symmetric: true,
            skip: true,
            batch_norm: true,
            norm: Norm::default(),
            norm_place: NormPlace::default(),
            normalization: Normalization::default(),
            linear_first: false,
            hidden: Vec::new(),
            unconstrained: Vec::new(),
            learn_frame: true,
            variational: false,
            reconstruction: Reconstruction::default(),
            final_signal_norm: false,
            conditions: 0,
            denoising: 0.0,
        }
    }

    /// Width of what the decoder makes a signal of: the latent and a label.
    pub fn decoder_input(&self) -> usize {
        self.latent_dim + self.conditions
    }

    /// Refuses what cannot be built on data of `irreps`, naming the setting.
    pub fn validate(&self, irreps: &Irreps) -> Result<()> {
        let bad = |what: String| Err(Error::input(format!("model: {what}")));
        let n = self.channels.len();
        if n == 0 || self.channels.contains(&0) {
            return bad("channels must list at least one block, all of one channel or more".into());
        }
        if self.latent_dim == 0
            || self.hidden.contains(&0)
            || self.unconstrained.contains(&0)
            || self.projection == Some(0)
        {
            return bad("latent_dim, hidden, unconstrained and projection must be positive".into());
        }
        if !(0.0..1.0).contains(&self.denoising) {
            let rate = self.denoising;
            return bad(format!(
                "denoising = {rate}: a probability less than 1 is needed"
            ));
        }
        if irreps.lmax() == 0 {
            return bad("the data's lmax is 0; the frame needs 1 or more".into());
        }
        self.check_sizes()
            .map_err(|e| Error::input(format!("model.{e}")))?;
        for (name, len) in [
            ("degrees", self.degrees.as_ref().map_or(n, Vec::len)),
            (
                "rules",
                if self.rules.is_empty() {
                    n
                } else {
                    self.rules.len()
                },
            ),
            (
                "channel_rules",
                if self.channel_rules.is_empty() {
                    n
                } else {
                    self.channel_rules.len()
                },
            ),
        ] {
            if len != n {
                return bad(format!("{name} has {len} entries, channels has {n}"));
            }
        }
        if self.projection.is_none() && irreps.equal_channels().is_none() {
            return bad(
                "projection is needed: the data's degrees have different channel counts".into(),
            );
        }
        if self.linear_first && !self.linear_first_fits() {
            return bad(
                "linear_first has one norm, before the tensor product: batch_norm = true with norm.kind = \"none\", \
                 or batch_norm = false with norm.kind = \"signal\" or \"layer\"; norm_place does not apply"
                    .into(),
            );
        }
        let most = self.bounds(irreps);
        let down = self.encoder_degrees(irreps);
        for (i, (&d, &max)) in down.iter().zip(&most.encoder).enumerate() {
            if d > max {
                return bad(format!(
                    "degrees[{i}] = {d}, but block {i} can reach at most {max}"
                ));
            }
        }
        let mut reach = 1;
        for (i, &d) in self.decoder_degrees(irreps).iter().enumerate() {
            reach *= 2;
            if d > reach.min(most.decoder[i]) {
                return bad(format!(
                    "the decoder's block {i} must reach degree {d}, but at most {} is possible: add blocks or lower degrees",
                    reach.min(most.decoder[i])
                ));
            }
            reach = d;
        }
        if self.encoder_degrees(irreps)[n - 1] != 1 {
            return bad("the last entry of degrees must be 1 (the frame is read from it)".into());
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<()> {
        check_width("latent_dim", self.latent_dim)?;
        check_width("projection", self.projection.unwrap_or(1))?;
        check_width("conditions", self.conditions.max(1))?;
        for (key, list) in [
            ("channels", &self.channels),
            ("hidden", &self.hidden),
            ("unconstrained", &self.unconstrained),
        ] {
            if list.len() > DEEPEST {
                let len = list.len();
                return Err(Error::input(format!(
                    "{key}: {len} entries, the most is {DEEPEST}"
                )));
            }
            list.iter().try_for_each(|&size| check_width(key, size))?;
        }
        match self.lmax.filter(|&lmax| lmax > zernike::LMAX) {
            Some(lmax) => Err(Error::input(format!(
                "lmax = {lmax}: the largest degree is {}",
                zernike::LMAX
            ))),
            None => Ok(()),
        }
    }

    fn linear_first_fits(&self) -> bool {
        let one_norm = match self.norm {
            Norm::None => true,
            Norm::Signal { .. } | Norm::Layer { .. } => !self.batch_norm,
            Norm::LayerNonlin { .. } => false,
        };
        one_norm && self.norm_place == NormPlace::Between
    }

    /// Upper bounds of the degrees: a product at most doubles the largest degree.
    fn bounds(&self, irreps: &Irreps) -> Bounds {
        let lmax = self.lmax.unwrap_or(irreps.lmax());
        let n = self.channels.len();
        let mut all: Vec<usize> = (0..n)
            .map(|i| lmax.min(1usize.checked_shl(i as u32).unwrap_or(usize::MAX)))
            .collect();
        all.push(irreps.lmax());
        Bounds {
            encoder: all[..n].iter().rev().copied().collect(),
            decoder: all[1..].to_vec(),
        }
    }

    fn encoder_degrees(&self, irreps: &Irreps) -> Vec<usize> {
        self.degrees
            .clone()
            .unwrap_or_else(|| self.bounds(irreps).encoder)
    }

    fn decoder_degrees(&self, irreps: &Irreps) -> Vec<usize> {
        match &self.degrees {
            Some(d) => d
                .iter()
                .rev()
                .skip(1)
                .copied()
                .chain([irreps.lmax()])
                .collect(),
            None => self.bounds(irreps).decoder,
        }
    }

    /// What a block of the encoder makes, or its mirror image in the decoder.
    fn block_plan(&self, block: usize, out: Size) -> BlockPlan {
        BlockPlan {
            out,
            rule: self.rules.get(block).copied().unwrap_or(Rule::Efficient),
            channel_rule: self.channel_rules.get(block).copied().unwrap_or_default(),
        }
    }

    /// Irreps that enter the first block.
    pub fn first_irreps(&self, irreps: &Irreps) -> Irreps {
        match self.projection {
            Some(c) => Irreps::uniform(irreps.lmax(), c),
            None => irreps.clone(),
        }
    }

    pub fn encoder_plan(&self, irreps: &Irreps) -> Vec<BlockPlan> {
        let degrees = self.encoder_degrees(irreps);
        (0..self.channels.len())
            .map(|i| self.block_plan(i, Size::new(degrees[i], self.channels[i])))
            .collect()
    }

    pub fn decoder_plan(&self, irreps: &Irreps) -> Vec<BlockPlan> {
        let n = self.channels.len();
        let last = self.first_irreps(irreps).channels(0);
        let channels: Vec<usize> = self
            .channels
            .iter()
            .rev()
            .skip(1)
            .copied()
            .chain([last])
            .collect();
        let degrees = self.decoder_degrees(irreps);
        (0..n)
            .map(|i| self.block_plan(n - 1 - i, Size::new(degrees[i], channels[i])))
            .collect()
    }
}
