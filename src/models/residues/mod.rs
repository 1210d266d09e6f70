//! Networks of the residues of protein chains: from a chain to its class, or to its labels.
//!
//! A network is an [`Encoder`], one file. It makes its own input of chains ([`Encoder::batch`], on
//! the thread that makes batches): nothing is learned of the geometry's derivatives, so distances,
//! angles and frames are constants, computed once in f64. [`ResidueModel`] is the one adapter to
//! the trainer. A new network is a file and two lines in [`Network`].

pub mod batch;
pub mod cdconv;
pub mod gearnet;
pub mod gvp;
pub mod ieconv;
mod model;
pub mod pronet;

pub use crate::models::graph::Variant;
pub use batch::{Batch, Level, On};
pub use model::{Objective, ResidueModel, TERM};

use crate::data::chains::Chain;
use crate::models::layers::{Linear, Pass};
use crate::models::sizes::check_width;
use crate::models::{Parameters, Scope};
use crate::{Error, Result};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network from chains to numbers of each.
pub trait Encoder: Send + Sync {
    /// The input for some chains, without targets.
    ///
    /// # Errors
    /// A chain that the network can make nothing of.
    fn batch(&self, chains: &[Chain], on: On) -> Result<Batch>;

    /// `[chains, outputs]`.
    ///
    /// # Errors
    /// Those of candle.
    fn forward(&self, batch: &Batch, pass: &Pass) -> candle_core::Result<Tensor>;

    /// Chains that a slice must have at least, so that there are batch statistics.
    fn least(&self) -> usize {
        1
    }
}

/// Which network, and its sizes: one line for each.
// The reference of keys lists what has properties key by key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "network", rename_all = "lowercase")]
#[schemars(extend("properties" = {}))]
pub enum Network {
    Gvp(gvp::GvpConfig),
    GearNet(gearnet::GearNetConfig),
    ProNet(pronet::ProNetConfig),
    CdConv(cdconv::CdConvConfig),
}

impl Network {
    /// # Errors
    /// Sizes that are no network, by name.
    pub fn check(&self) -> Result<()> {
        self.config().check()
    }

    /// The settings of whichever network it is.
    fn config(&self) -> &dyn EncoderConfig {
        match self {
            Network::Gvp(config) => config,
            Network::GearNet(config) => config,
            Network::ProNet(config) => config,
            Network::CdConv(config) => config,
        }
    }
}

/// Settings that a network is built from.
trait EncoderConfig {
    /// # Errors
    /// Sizes that are no network, by name.
    fn check(&self) -> Result<()>;

    /// Weight of new batch statistics in the running ones.
    fn momentum(&self) -> f64 {
        0.1
    }

    /// Adds the network's parameters.
    fn build(&self, b: &mut Scope, outputs: usize) -> Box<dyn Encoder>;
}

/// Refuses sizes of zero and absurd ones.
fn check_sizes(sizes: &[(&str, usize)]) -> Result<()> {
    let mut sizes = sizes.iter();
    sizes.try_for_each(|(name, size)| check_width(name, *size))
}

/// Refuses a probability of dropout that leaves nothing.
fn check_dropout(rate: f64) -> Result<()> {
    match (0.0..1.0).contains(&rate) {
        true => Ok(()),
        false => Err(Error::input(format!(
            "dropout = {rate}: must be at least 0 and below 1"
        ))),
    }
}

/// Refuses a length that is none.
fn check_length(name: &str, length: f64) -> Result<()> {
    match length.is_finite() && length > 0.0 {
        true => Ok(()),
        false => Err(Error::input(format!(
            "{name} = {length}: must be a positive length in Å"
        ))),
    }
}

/// A linear layer on the last axis.
fn linear(layer: &Linear, x: &Tensor, p: &Parameters) -> candle_core::Result<Tensor> {
    Ok(layer.dual(&x.clone().into(), p)?.value)
}

/// `x` where it is positive, `slope x` elsewhere.
fn leaky_relu(x: &Tensor, slope: f64) -> candle_core::Result<Tensor> {
    (x.relu()? * (1.0 - slope))? + (x * slope)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ParametersBuilder;

    #[test]
    fn released_sizes_have_the_released_numbers_of_parameters() {
        for (settings, outputs, count) in [
            ("network = 'gvp'", 1195, 1_133_838),
            // Its last layer is not in the published figure: 3,072 channels and a bias.
            ("network = 'gearnet'", 7, 9_265_664 + 7 * 3073),
            ("network = 'pronet'", 384, 1_433_344),
            ("network = 'pronet'\nlevel = 'backbone'", 384, 1_440_384),
            ("network = 'pronet'\nlevel = 'allatom'", 384, 1_441_408),
            ("network = 'cdconv'", 1195, 296_318_523),
        ] {
            let network: Network = toml::from_str(settings).unwrap();
            network.check().unwrap();
            let mut builder = ParametersBuilder::default();
            network.config().build(&mut builder.root(), outputs);
            assert_eq!(builder.size(), count, "{settings}");
        }
    }
}
