//! Terms of the loss that are made of the energy's derivatives: forces and stresses.
//!
//! The gradient of such a term is that of the energy's tangent along a direction of the edges'
//! vectors `r` ([`super`] has the whole step). For forces `-dE/dx` it is the change of `r` when the
//! atoms move along minus the term's slope by the forces. For stresses
//!
//! ```text
//! s = 1/V sum over a graph's edges of r (x) dE/dr
//! ```
//!
//! it is `r T / V`, with `T` the term's slope by `s`: the edges of each graph are strained. Tangents
//! are linear in the direction, so terms of both kinds go along the weighted sum of their directions
//! in one pass, and one of them carries the gradient of all.

use super::outputs::{FORCES, STRESS};
use super::{Batch, Penalties, Penalty, Prediction};
use crate::models::Weights;
use crate::models::layers::differences;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// Stresses that are known of some of a batch's graphs.
#[derive(Debug, Clone)]
pub struct Stresses {
    /// `[graphs, 3, 3]`, the first output's unit per Å^3; zeros where none is known.
    values: Tensor,
    /// Å^-3, `[graphs, 1, 1]`, the stress of a virial of one: minus one over the cell's volume;
    /// zeros where no stress is known.
    of_virial: Tensor,
    /// What a graph with a stress counts in means over all graphs.
    share: f64,
}

/// The stress of a graph and the volume of its cell, Å^3.
pub type KnownStress = ([[f64; 3]; 3], f64);

impl Stresses {
    /// The stresses of graphs: derivatives of the first output by a strain of atoms and cell over the
    /// cell's volume, in the output's unit per Å^3. In means over all graphs one with a stress counts
    /// `share`: the number of graphs for each that has one, in all that is learned from.
    ///
    /// # Errors
    /// Those of candle.
    pub fn new(
        known: &[Option<KnownStress>],
        share: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let graphs = known.len();
        let values = known.iter().map(|k| k.map_or([[0.0; 3]; 3], |(s, _)| s));
        let values: Vec<[[f64; 3]; 3]> = values.collect();
        let of_virial = known.iter().map(|k| k.map_or(0.0, |(_, v)| -1.0 / v));
        let of_virial = Tensor::from_vec(of_virial.collect(), (graphs, 1, 1), device)?;
        let values = values.as_flattened().as_flattened();
        let values = Tensor::from_slice(values, (graphs, 3, 3), device)?;
        Ok(Self {
            values: values.to_dtype(dtype)?,
            of_virial: of_virial.to_dtype(dtype)?,
            share,
        })
    }

    /// How far the stresses of these virials `[graphs, 3, 3]` are from the known ones; zeros where
    /// none is known.
    fn difference(&self, virial: &Tensor) -> Result<Tensor> {
        Ok((virial.broadcast_mul(&self.of_virial)? - &self.values)?)
    }

    /// Means over the components of each graph, `[graphs]`, whose mean over all graphs is that over
    /// the graphs with a stress: of the penalty and of the absolute difference.
    pub(super) fn errors(&self, virial: &Tensor, penalty: Penalty) -> Result<[Tensor; 2]> {
        let difference = self.difference(virial)?;
        let mean = |t: Tensor| t.mean((1, 2))? * self.share;
        Ok([mean(penalty.of(&difference)?)?, mean(difference.abs()?)?])
    }
}

/// A term of the loss that is made of the energy's derivatives.
pub(super) struct Slope {
    pub name: &'static str,
    /// The term's value; a scalar, and constant.
    pub value: Tensor,
    /// Along it the energy's tangent has the term's gradient, `[E, 3]`.
    direction: Tensor,
}

/// The terms that the batch has targets for, `prediction` being what the model says of it.
pub(super) fn slopes(
    batch: &Batch,
    prediction: impl FnOnce() -> Result<Prediction>,
    penalties: Penalties,
) -> Result<Vec<Slope>> {
    let targets = &batch.targets;
    let mut slopes = Vec::new();
    if targets.forces.is_none() && targets.stress.is_none() {
        return Ok(slopes);
    }
    let prediction = prediction()?;
    if let Some(target) = &targets.forces {
        let penalty = penalties.forces;
        let difference = (prediction.forces - target)?;
        let count = difference.elem_count() as f64;
        let ascent = (penalty.slope(&difference)? / -count)?;
        slopes.push(Slope {
            name: FORCES,
            value: penalty.of(&difference)?.mean_all()?,
            direction: differences(&batch.edges, &ascent)?,
        });
    }
    if let Some(known) = &targets.stress {
        let penalty = penalties.stress;
        let difference = known.difference(&prediction.virial)?;
        let share = known.share / difference.elem_count() as f64;
        let over_volume = (&known.of_virial * -share)?;
        let strain = penalty.slope(&difference)?.broadcast_mul(&over_volume)?;
        slopes.push(Slope {
            name: STRESS,
            value: (penalty.of(&difference)?.mean_all()? * known.share)?,
            direction: strained(batch, &strain)?,
        });
    }
    Ok(slopes)
}

/// How the edges' vectors change with a strain `e` of each graph, `[graphs, 3, 3]`: `r e`, `[E, 3]`.
fn strained(batch: &Batch, strain: &Tensor) -> Result<Tensor> {
    let vectors = batch.vectors()?;
    if batch.edges.is_empty() {
        return Ok(vectors);
    }
    let graph = |&atom: &u32| batch.graphs.receivers()[atom as usize];
    let graphs: Vec<u32> = batch.edges.receivers().iter().map(graph).collect();
    let graphs = Tensor::from_vec(graphs, batch.edges.len(), vectors.device())?;
    let strain = strain.index_select(&graphs, 0)?;
    Ok(vectors.unsqueeze(2)?.broadcast_mul(&strain)?.sum(1)?)
}

/// The number of the term that carries the gradient of all `slopes`, and the direction for it: the
/// sum of theirs with these weights, over the weight of the one that carries it.
///
/// # Errors
/// Several terms of which one has no weight.
pub(super) fn joint(slopes: &[Slope], weights: &Weights) -> Result<Option<(usize, Tensor)>> {
    let weight = |slope: &Slope| match slopes.len() {
        1 => Ok(1.0),
        _ => weights.of(slope.name),
    };
    let weights: Vec<f64> = slopes.iter().map(weight).collect::<Result<_>>()?;
    let carrier = weights.iter().position(|w| *w != 0.0).unwrap_or(0);
    let Some(own) = slopes.get(carrier) else {
        return Ok(None);
    };
    let mut direction = own.direction.clone();
    for (slope, weight) in slopes.iter().zip(&weights).skip(carrier + 1) {
        if *weight != 0.0 {
            direction = (direction + (&slope.direction * (weight / weights[carrier]))?)?;
        }
    }
    Ok(Some((carrier, direction)))
}

/// The term that carries the gradient: its value, and the gradient of the energy's `tangent`, a
/// scalar.
pub(super) fn carried(slope: &Slope, tangent: Option<Tensor>) -> Result<Tensor> {
    let missing = || Error::internal("the energy does not depend on positions");
    let tangent = tangent.ok_or_else(missing)?;
    let rest = (&slope.value - tangent.detach())?;
    Ok((tangent + rest)?)
}
