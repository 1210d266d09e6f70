//! Learning of a property of the pretraining data.

use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Terms, generative::Measure};
use crate::models::Scope;
use crate::models::layers::Linear;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SupervisedConfig {
    /// How far a prediction is from the standardised target (`data.target`).
    pub measure: Measure,
}

impl ObjectiveConfig for SupervisedConfig {
    fn check(&self) -> Result<()> {
        match self.measure {
            Measure::Cosine => Err(Error::input(
                "objective.measure = \"cosine\": one number has no direction; \"l1\" or \"l2\"",
            )),
            _ => Ok(()),
        }
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("supervised", 1.0)]
    }

    fn labelled(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Supervised {
            head: Linear::pytorch(&mut b.scope("predictor"), width, 1),
            measure: self.measure,
        }))
    }
}

/// A linear head on the molecule's features.
pub struct Supervised {
    head: Linear,
    measure: Measure,
}

impl Objective for Supervised {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = Inputs::of(molecules, draw)?;
        let target = |m: &Molecule| {
            let missing = || Error::input(format!("{} has no target", m.name));
            m.target.ok_or_else(missing)
        };
        let targets = molecules.iter().map(target).collect::<Result<Vec<_>>>()?;
        let targets = draw.floats(targets, (molecules.len(), 1))?;
        inputs.draws.put("target", targets);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let predicted = self.head.forward(&x.graphs[0], pass.parameters)?;
        let loss = self.measure.of(&predicted, batch.draws.get("target")?)?;
        Ok(vec![("supervised", loss)])
    }
}
