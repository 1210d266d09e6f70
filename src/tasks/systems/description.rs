//! What stands between a system and a prediction in the targets' units, beside the parameters.

use super::baseline::Baseline;
use crate::Result;
use crate::data::neighbors::{Edges, Rule};
use crate::data::system::System;
use crate::data::systems::Stress;
use crate::models::Describes;
use crate::models::graph::{Batch, GraphConfig, GraphModel, Output};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// How to build a model and its input, and what its output means. A checkpoint carries it as TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Whether forces were learned.
    pub forces: bool,
    /// Whether stresses were.
    #[serde(default)]
    pub stress: bool,
    pub edges: Rule,
    /// Terms of the loss that the model was trained by, in order.
    pub targets: Vec<TargetDescription>,
    pub model: GraphConfig,
}

/// A target of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDescription {
    pub name: String,
    pub unit: String,
    /// A predicted number stands for `baseline + scale * number`.
    pub scale: f64,
    /// Values of the classes, ascending; empty for a number.
    #[serde(default)]
    pub classes: Vec<f64>,
    pub baseline: Baseline,
}

/// What is predicted of a batch of systems, in the targets' units.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Predicted {
    /// `[targets][systems]`: numbers, or values of classes.
    pub values: Vec<Vec<f64>>,
    /// `[targets][systems * classes]`, probabilities; empty for a number.
    pub probabilities: Vec<Vec<f64>>,
    /// `[atoms]`, if forces are asked for.
    pub forces: Option<Vec<[f64; 3]>>,
    /// `[systems]`, beside forces: the derivative of the energy by a strain of atoms and cell over the
    /// volume, per Å^3; NaN of what is no crystal.
    pub stresses: Option<Vec<Stress>>,
}

impl Predicted {
    /// Puts predictions of other systems behind these; an empty one takes their form.
    pub fn append(&mut self, other: Self) {
        if self.values.is_empty() {
            *self = other;
            return;
        }
        let join = |own: &mut Vec<Vec<f64>>, more: Vec<Vec<f64>>| {
            own.iter_mut().zip(more).for_each(|(a, b)| a.extend(b));
        };
        join(&mut self.values, other.values);
        join(&mut self.probabilities, other.probabilities);
        if let (Some(own), Some(more)) = (&mut self.forces, other.forces) {
            own.extend(more);
        }
        if let (Some(own), Some(more)) = (&mut self.stresses, other.stresses) {
            own.extend(more);
        }
    }
}

impl Describes for Description {
    type Model = GraphModel;

    fn build(&self, seed: u64, dtype: DType, device: &Device) -> Result<GraphModel> {
        GraphModel::of_outputs(&self.model, &self.outputs(), seed, dtype, device)
    }
}

impl Description {
    /// The outputs of the model.
    pub fn outputs(&self) -> Vec<Output> {
        let output = |t: &TargetDescription| Output {
            name: t.name.clone(),
            classes: t.classes.len(),
            scale: t.scale,
        };
        self.targets.iter().map(output).collect()
    }

    /// A batch of systems without targets, as `model` takes it.
    ///
    /// # Errors
    /// As [`Batch::of_graphs`] and [`Rule::edges`]; edges that the network cannot do with.
    pub fn batch(&self, model: &GraphModel, systems: &[System<f64>], on: On) -> Result<Batch> {
        let edges = systems
            .iter()
            .map(|s| self.edges.edges(s, model.encoder().cutoff()));
        let edges: Vec<Edges> = edges.collect::<Result<_>>()?;
        let batch = Batch::of_graphs(systems, &edges, on.dtype, on.device)?;
        model.encoder().prepare(&batch)?;
        Ok(batch)
    }

    /// Whether anything is learned of the first target's derivatives.
    pub fn derivatives(&self) -> bool {
        self.forces || self.stress
    }

    /// What `model` says of systems; forces and stresses if `forces`.
    ///
    /// # Errors
    /// As [`Description::batch`] and [`GraphModel::predict`].
    pub fn predict(
        &self,
        model: &GraphModel,
        systems: &[System<f64>],
        forces: bool,
        on: On,
    ) -> Result<Predicted> {
        let batch = self.batch(model, systems, on)?;
        let (outputs, derivatives) = match forces {
            true => {
                let prediction = model.predict(&batch)?;
                let forces = self.physical(&prediction.forces)?;
                let virials = self.physical(&prediction.virial)?;
                let stresses = systems.iter().zip(virials.as_chunks().0);
                let stresses = stresses.map(|(system, virial)| stress(system, virial));
                (prediction.outputs, Some((forces, stresses.collect())))
            }
            false => (model.outputs(&batch)?, None),
        };
        let (forces, stresses) = derivatives.unzip();
        let outputs: Vec<Vec<f64>> = outputs.to_dtype(DType::F64)?.to_vec2()?;
        let mut predicted = Predicted {
            values: Vec::new(),
            probabilities: Vec::new(),
            forces,
            stresses,
        };
        let mut first = 0;
        for target in &self.targets {
            let width = target.classes.len().max(1);
            let channels = first..first + width;
            let own = outputs.iter().map(|row| &row[channels.clone()]);
            first += width;
            let (mut values, mut probabilities) = (Vec::new(), Vec::new());
            for (row, system) in own.zip(systems) {
                if target.classes.is_empty() {
                    values.push(target.baseline.of(&system.numbers) + target.scale * row[0]);
                    continue;
                }
                let shares = softmax(row);
                values.push(target.classes[largest(&shares)]);
                probabilities.extend(shares);
            }
            predicted.values.push(values);
            predicted.probabilities.push(probabilities);
        }
        Ok(predicted)
    }

    /// Derivatives of the first output `[.., 3]` in the target's unit.
    fn physical(&self, derivatives: &Tensor) -> Result<Vec<[f64; 3]>> {
        let scale = self.targets.first().map_or(1.0, |t| t.scale);
        let derivatives = (derivatives.to_dtype(DType::F64)? * scale)?;
        let flat: Vec<f64> = derivatives.flatten_all()?.to_vec1()?;
        Ok(flat.as_chunks().0.to_vec())
    }
}

/// The stress of a system of this virial; NaN where no cell repeats in all directions.
fn stress(system: &System<f64>, virial: &Stress) -> Stress {
    let cell = system.cell.filter(|cell| cell.periodic() == [true; 3]);
    let volume = cell.map_or(f64::NAN, |cell| cell.volume());
    virial.map(|row| row.map(|x| -x / volume))
}

/// Type and device of a batch's numbers.
#[derive(Clone, Copy)]
pub struct On<'a> {
    pub dtype: DType,
    pub device: &'a Device,
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
    let parts: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = parts.iter().sum();
    parts.into_iter().map(|p| p / sum).collect()
}

/// The place of the largest number, the first of equals.
fn largest(row: &[f64]) -> usize {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better)
}
