//! Predictions that turn with the molecule: noise on positions.

use super::Batch;
use crate::Result;
use crate::models::graph::{self, Features};
use crate::models::layers::{Linear, Readout};
use crate::models::{Init, Parameters, Scope};
use crate::ops::dual::Dual;
use crate::ops::pointwise::Silu;
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A prediction for atoms as minus the derivative of an energy by the positions, `[N, 3]`, which
/// any network can give.
pub trait Field: Send + Sync {
    /// Number of the view that it is of.
    fn view(&self) -> usize;

    /// An energy of each graph, `[B]`.
    ///
    /// # Errors
    /// Features of another width.
    fn energy(&self, features: &Features, view: &graph::Batch, p: &Parameters) -> Result<Dual>;

    /// The term of the loss that depends on the prediction, and on nothing else of the network.
    ///
    /// # Errors
    /// A prediction of another shape.
    fn loss(&self, predicted: &Tensor, batch: &Batch) -> Result<(&'static str, Tensor)>;
}

/// How a vector is predicted for each atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// As minus the derivative of an energy: for every network.
    #[default]
    Energy,
    /// As a sum of the network's own vectors: for networks that have some.
    Vector,
}

/// `e = MLP_g(sum_i MLP_n(h_i))` with SiLU, as in 3D-EMGP.
pub struct EnergyNet {
    atoms: [Linear; 2],
    graphs: [Linear; 2],
    silu: Arc<Silu>,
}

impl EnergyNet {
    pub fn new(b: &mut Scope, width: usize) -> Self {
        let mut linear = |name: &str, to| Linear::pytorch(&mut b.scope(name), width, to);
        Self {
            atoms: [linear("node_dec.0", width), linear("node_dec.2", width)],
            graphs: [linear("graph_dec.0", width), linear("graph_dec.2", 1)],
            silu: Arc::new(Silu),
        }
    }

    /// `sum_i MLP_n(h_i)`, `[B, F]`.
    ///
    /// # Errors
    /// Another width.
    pub fn summed(&self, scalars: &Dual, view: &graph::Batch, p: &Parameters) -> Result<Dual> {
        let [first, second] = &self.atoms;
        let x = first.dual(scalars, p)?.apply(&self.silu)?;
        let x = second.dual(&x, p)?;
        Ok(Readout::Sum.forward(&x, &view.graphs)?)
    }

    /// The energies, `[B]`.
    ///
    /// # Errors
    /// Another width.
    pub fn energy(&self, scalars: &Dual, view: &graph::Batch, p: &Parameters) -> Result<Dual> {
        let [first, second] = &self.graphs;
        let x = self.summed(scalars, view, p)?;
        let x = first.dual(&x, p)?.apply(&self.silu)?;
        Ok(second.dual(&x, p)?.linear(|e| e.squeeze(1))?)
    }
}

/// One vector of an atom's `F`: `[N, 3, F]` to `[N, 3]`.
pub fn vector_head(b: &mut Scope, width: usize) -> Linear {
    let init = Init::glorot(width, 1);
    Linear::without_bias(&mut b.scope("vector"), width, 1, init)
}

/// # Errors
/// A network without vectors.
pub fn vectors(head: &Linear, x: Option<&Tensor>, p: &Parameters) -> Result<Tensor> {
    let missing = || {
        crate::Error::input(
            "objective.head = \"vector\": the network has no vectors of atoms; \"energy\" goes \
             with every network",
        )
    };
    let x = x.ok_or_else(missing)?;
    Ok(head.forward(&x.contiguous()?, p)?.squeeze(2)?)
}
