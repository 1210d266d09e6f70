//! From atoms to the graphs that they belong to.

use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, receiver};
use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the features of a graph's atoms become the graph's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readout {
    /// Their sum: for quantities that grow with the system.
    #[default]
    Sum,
    /// Their mean: for quantities that do not.
    Mean,
}

impl Readout {
    /// `x` `[N, F]` of the atoms to `[graphs, F]`; `graphs` are the atoms' groups
    /// ([`Incidence::groups`]). The readout of a graph without atoms is zero.
    ///
    /// # Errors
    /// Another number of atoms.
    pub fn forward(self, x: &Dual, graphs: &Arc<Incidence>) -> Result<Dual> {
        let atoms = (edge(Row::Channels), x);
        match self {
            Readout::Sum => Dual::contract(graphs, [atoms], receiver(Row::Channels)),
            Readout::Mean => {
                let share = |graph| 1.0 / graphs.of_receiver(graph).len().max(1) as f64;
                let shares: Vec<f64> = (0..graphs.receiving()).map(share).collect();
                let shares = Tensor::from_vec(shares, graphs.receiving(), x.value.device())?
                    .to_dtype(x.value.dtype())?
                    .into();
                let factors = [atoms, (receiver(Row::Number), &shares)];
                Dual::contract(graphs, factors, receiver(Row::Channels))
            }
        }
    }
}
