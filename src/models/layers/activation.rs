//! Functions of one number between linear layers.

use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A function that is applied to every element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    #[default]
    Identity,
    Relu,
    /// `x sigmoid(x)`, also called SiLU.
    Swish,
    Sigmoid,
}

impl Activation {
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Identity => Ok(x.clone()),
            Activation::Relu => x.relu(),
            Activation::Swish => x.silu(),
            Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        }
    }
}
