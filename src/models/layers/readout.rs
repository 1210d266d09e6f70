//! From atoms to the graphs that they belong to.

use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, receiver};
use candle_core::{DType, Result, Tensor, bail};
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
    /// The largest of each channel.
    Max,
}

impl Readout {
    /// `x` `[N, F]` of the atoms to `[graphs, F]`; `graphs` are the atoms' groups
    /// ([`Incidence::groups`]). The sum and mean of a graph without atoms are zero.
    ///
    /// # Errors
    /// Another number of atoms; the largest of no atoms.
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
            Readout::Max => {
                let largest = largest(&x.value, graphs)?;
                x.linear(|x| x.gather(&largest, 0))
            }
        }
    }
}

/// The atom of each graph that has the largest value of each channel, the first of equal ones:
/// `[graphs, F]`, a constant.
fn largest(x: &Tensor, graphs: &Incidence) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let rows = x.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut atoms = Vec::with_capacity(graphs.receiving() * channels);
    for graph in 0..graphs.receiving() {
        let own = graphs.of_receiver(graph);
        if own.is_empty() {
            bail!("the largest of no atoms, graph {graph}");
        }
        atoms.extend((0..channels).map(|c| {
            let first = own.start;
            let larger = |best: usize, atom: usize| match rows[atom][c] > rows[best][c] {
                true => atom,
                false => best,
            };
            own.clone().fold(first, larger) as u32
        }));
    }
    Tensor::from_vec(atoms, (graphs.receiving(), channels), x.device())
}
