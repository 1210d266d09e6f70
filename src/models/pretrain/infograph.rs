//! 3D InfoGraph: atoms told from atoms of other molecules by their molecule's summary
//! (Sun et al. 2020; Liu et al. 2023).

use super::Terms;
use super::contrast::{products, roll, softplus};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use crate::Result;
use crate::models::{Init, Parameter, Scope};
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
/// `s = sigmoid(g)`, `D(h, s) = h . (s W)`, and the next molecule of the slice.
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
        let score = |s: &candle_core::Tensor| -> Result<_> {
            products(&x.atoms[0], &s.index_select(graph_of, 0)?)
        };
        let own = softplus(&score(&summary)?.neg()?)?.mean_all()?;
        let loss = match summary.dim(0)? {
            1 => own,
            _ => (own + softplus(&score(&roll(&summary, 1)?)?)?.mean_all()?)?,
        };
        Ok(vec![("infograph", loss)])
    }
}
