//! 3D InfoGraph: atoms told from atoms of other molecules by their molecule's summary
//! (Sun et al. 2020; Liu et al. 2023).

use super::Terms;
use super::contrast::{products, roll, softplus};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use crate::Result;
use crate::models::{Init, Parameter, Scope};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings: there are none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InfoGraphConfig {}

impl ObjectiveConfig for InfoGraphConfig {
    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("infograph", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        let weight = b.parameter("weight", (width, width), Init::fan_in(width));
        Ok(Box::new(InfoGraph { weight }))
    }
}

/// `L = mean_i softplus(-D(h_i, s_b(i))) + mean_i softplus(D(h_i, s_next))` with the summary
/// `s = sigmoid(g)`, `D(h, s) = h . (s W)`, and the next molecule.
pub struct InfoGraph {
    weight: Parameter,
}

impl Objective for InfoGraph {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        Inputs::of(molecules, draw)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let summary = candle_nn::ops::sigmoid(&x.graphs[0])?;
        let summary = summary.matmul(&pass.parameters.get(&self.weight)?)?;
        let graph_of = batch.draws.get("graph_of")?;
        let molecules = summary.dim(0)?;
        let (summary, atoms) = (pass.whole(&summary)?, pass.whole(&x.atoms[0])?);
        let graph_of = &whole_graphs(graph_of, molecules, pass)?;
        let score = |s: &Tensor| -> Result<_> { products(&atoms, &s.index_select(graph_of, 0)?) };
        let own = softplus(&score(&summary)?.neg()?)?.mean_all()?;
        let loss = match summary.dim(0)? {
            1 => own,
            _ => (own + softplus(&score(&roll(&summary, 1)?)?)?.mean_all()?)?,
        };
        Ok(vec![("infograph", loss)])
    }
}

/// The molecule of each atom (`graph_of` `[N]`, ascending, of `molecules`) among those of all slices.
fn whole_graphs(graph_of: &Tensor, molecules: usize, pass: &Pass) -> Result<Tensor> {
    let mut counts = vec![0f32; molecules];
    graph_of
        .to_vec1::<u32>()?
        .iter()
        .for_each(|&graph| counts[graph as usize] += 1.0);
    let counts = pass
        .whole(&Tensor::new(counts, graph_of.device())?)?
        .to_vec1::<f32>()?;
    let of = |(graph, &atoms): (u32, &f32)| std::iter::repeat_n(graph, atoms as usize);
    let all: Vec<u32> = (0..).zip(&counts).flat_map(of).collect();
    Ok(Tensor::new(all, graph_of.device())?)
}
