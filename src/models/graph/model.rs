//! The adapter from networks to the trainer.

use super::heads::{EnergyHead, HeadConfig, Of};
use super::outputs::{FORCES, FORCES_SCORE, STRESS, STRESS_SCORE};
use super::slopes::{carried, joint, slopes};
use super::{Batch, Encoder, Network, Output, Outputs};
use crate::models::layers::{Readout, forces};
use crate::models::{Losses, Model, Parameters, ParametersBuilder, StepKey, Weights};
use crate::ops::derivatives::gradients;
use crate::ops::dual::Dual;
use crate::ops::segment::{Row, contract, edge, receiver};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Network, head and what is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraphConfig {
    #[serde(flatten)]
    pub network: Network,
    /// What replaces the network's own head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadConfig>,
    #[serde(default)]
    pub penalties: Penalties,
}

impl GraphConfig {
    /// The head: the network's own where no other is asked for.
    pub fn head(&self) -> HeadConfig {
        self.head.unwrap_or_else(|| self.network.config().head())
    }

    fn check(&self) -> Result<()> {
        self.network.config().check()?;
        self.head().check(self.network.config().head())
    }
}

/// How far a prediction is from its target, for each term of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Penalties {
    /// Of targets that are numbers.
    pub energy: Penalty,
    /// Of forces.
    pub forces: Penalty,
    /// Of stresses.
    pub stress: Penalty,
}

/// A penalty, averaged over numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Penalty {
    /// Absolute difference.
    #[default]
    L1,
    /// Squared difference.
    L2,
}

impl Penalty {
    /// Of every number.
    pub(super) fn of(self, difference: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Penalty::L1 => difference.abs(),
            Penalty::L2 => difference.sqr(),
        }
    }

    /// Its derivative at every number.
    pub(super) fn slope(self, difference: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Penalty::L1 => difference.sign(),
            Penalty::L2 => difference * 2.0,
        }
    }
}

/// What is predicted of a batch; constants.
pub struct Prediction {
    /// The first output, `[graphs]`.
    pub energy: Tensor,
    /// All outputs, `[graphs, width]`.
    pub outputs: Tensor,
    /// Minus the gradient of the energy by the positions, `[N, 3]`.
    pub forces: Tensor,
    /// Minus the derivative of the energy by a strain of everything, `[graphs, 3, 3]`.
    pub virial: Tensor,
}

/// A network with an energy head.
pub struct GraphModel {
    encoder: Box<dyn Encoder>,
    head: EnergyHead,
    outputs: Outputs,
    penalties: Penalties,
    parameters: Parameters,
}

impl GraphModel {
    /// A model of energies that computes in `dtype`; `seed` draws its initial values.
    ///
    /// # Errors
    /// Sizes that are no network; a device without memory.
    pub fn new(config: &GraphConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        Self::of_outputs(config, &[Output::default()], seed, dtype, device)
    }

    /// [`GraphModel::new`] for other outputs than an energy. Forces are those of the first one.
    ///
    /// # Errors
    /// As [`GraphModel::new`] and [`Outputs::new`]; several numbers from a network whose own output
    /// is one.
    pub fn of_outputs(
        config: &GraphConfig,
        outputs: &[Output],
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let outputs = Outputs::new(outputs)?;
        config.check()?;
        if config.head().of == Of::Network && outputs.width() != 1 {
            return Err(Error::input(
                "the network gives one number: a target that is a class, or several targets, need \
                 another network",
            ));
        }
        let mut builder = ParametersBuilder::default();
        let mut root = builder.root();
        let encoder = config.network.config().build(&mut root.scope("model"));
        let mut at = root.scope("head");
        let head = EnergyHead::new(&mut at, config.head(), encoder.width(), outputs.width());
        Ok(Self {
            encoder,
            head,
            outputs,
            penalties: config.penalties,
            parameters: builder.build(seed, dtype, device, 0.0)?,
        })
    }

    /// The network without its head.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Outputs `[graphs, width]` for edges of these vectors; `p` are the model's parameters or
    /// [`Parameters::constants`] of them.
    fn run(&self, batch: &Batch, vectors: Dual, p: &Parameters) -> Result<Dual> {
        if batch.largest as usize > self.encoder.elements() {
            return Err(Error::input(format!(
                "atomic number {}: the network knows elements up to {}",
                batch.largest,
                self.encoder.elements()
            )));
        }
        let geometry = batch.geometry(vectors)?;
        let features = self.encoder.encode(batch, &geometry, p)?;
        Ok(self.head.forward(&features, batch, p)?)
    }

    /// Energies, `[graphs]`, as a function of the parameters.
    ///
    /// # Errors
    /// An element that the network does not know.
    pub fn energy(&self, batch: &Batch) -> Result<Tensor> {
        self.energy_along(batch, &batch.vectors()?)
    }

    /// Energies, `[graphs]`, as a function of the parameters and of the edges' vectors `[E, 3]`, Å.
    ///
    /// # Errors
    /// As [`GraphModel::energy`].
    pub fn energy_along(&self, batch: &Batch, vectors: &Tensor) -> Result<Tensor> {
        let vectors = vectors.clone().into();
        Ok(first(&self.run(batch, vectors, &self.parameters)?.value)?)
    }

    /// All outputs, `[graphs, width]`; constants.
    ///
    /// # Errors
    /// As [`GraphModel::energy`].
    pub fn outputs(&self, batch: &Batch) -> Result<Tensor> {
        let vectors = batch.vectors()?.into();
        let p = self.parameters.constants();
        Ok(self.run(batch, vectors, &p)?.value.detach())
    }

    /// Energies, forces and virials.
    ///
    /// # Errors
    /// As [`GraphModel::energy`].
    pub fn predict(&self, batch: &Batch) -> Result<Prediction> {
        let vectors = Var::from_tensor(&batch.vectors()?)?.into_inner();
        let p = self.parameters.constants();
        let outputs = self.run(batch, vectors.clone().into(), &p)?.value;
        let energy = first(&outputs)?;
        let gradient = match batch.edges.is_empty() {
            true => vectors.zeros_like()?,
            false => {
                let [gradient] = gradients(&energy.sum_all()?, [&vectors])?;
                gradient
            }
        };
        Ok(Prediction {
            energy: energy.detach(),
            outputs: outputs.detach(),
            forces: forces(&batch.edges, &gradient)?,
            virial: virial(batch, &vectors.detach(), &gradient)?,
        })
    }

    /// The terms of the loss that the batch has targets for: means over its graphs, over all
    /// components of its forces, and over all components of the stresses that are known.
    ///
    /// # Errors
    /// A batch without targets, or with forces and stresses, whose gradient needs their weights
    /// ([`GraphModel::weighed_terms`]); an element that the network does not know.
    pub fn terms(&self, batch: &Batch) -> Result<Vec<(&'static str, Tensor)>> {
        self.weighed_terms(batch, &Weights::from([]))
    }

    /// [`GraphModel::terms`] whose sum with these weights has the right gradient: that of forces and
    /// stresses is carried by one of them (`slopes.rs`), which has its own value and the
    /// gradient of the energy's tangent, by the argument of [`crate::ops::dual`].
    ///
    /// # Errors
    /// A batch without targets; an element that the network does not know.
    pub fn weighed_terms(
        &self,
        batch: &Batch,
        weights: &Weights,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let slopes = slopes(batch, || self.predict(batch), self.penalties)?;
        let joint = joint(&slopes, weights)?;
        let mut vectors = Dual::from(batch.vectors()?);
        vectors.tangent = joint.as_ref().map(|(_, direction)| direction.clone());
        let outputs = self.run(batch, vectors, &self.parameters)?;
        let mut terms = Vec::new();
        if !batch.targets.graphs.is_empty() {
            let (targets, penalty) = (&batch.targets.graphs, self.penalties.energy);
            for (name, values) in self.outputs.penalties(&outputs.value, targets, penalty)? {
                terms.push((name, values.mean_all()?));
            }
        }
        for (k, slope) in slopes.iter().enumerate() {
            if joint.as_ref().is_none_or(|(carrier, _)| *carrier != k) {
                terms.push((slope.name, slope.value.clone()));
                continue;
            }
            let tangent = outputs.tangent.as_ref().map(first).transpose()?;
            let term = carried(slope, tangent.map(|t| t.sum_all()).transpose()?)?;
            // Derivatives do not change with a constant of the energy. Its gradient is zero, and not
            // missing as that of a parameter which was forgotten.
            let constant = (outputs.value.sum_all()? * term.zeros_like()?)?;
            terms.push((slope.name, (term + constant)?));
        }
        if batch.edges.is_empty() {
            for (_, term) in &mut terms {
                *term = (&*term + self.parameters.nothing()?)?;
            }
        }
        match terms.is_empty() {
            true => Err(Error::internal("a batch of graphs without targets")),
            false => Ok(terms),
        }
    }
}

/// The first output of `[graphs, width]`.
fn first(outputs: &Tensor) -> candle_core::Result<Tensor> {
    outputs.narrow(1, 0, 1)?.squeeze(1)
}

/// `-sum over a graph's edges of r (x) dE/dr`.
fn virial(batch: &Batch, vectors: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let edges = batch.edges.len();
    let outer = vectors
        .unsqueeze(2)?
        .broadcast_mul(&gradient.unsqueeze(1)?)?
        .reshape((edges, 9))?;
    let factors = [(edge(Row::Channels), &outer)];
    let atoms = contract(&batch.edges, factors, receiver(Row::Channels))?;
    let graphs = Readout::Sum.forward(&atoms.into(), &batch.graphs)?.value;
    Ok(graphs.neg()?.reshape((batch.len(), 3, 3))?)
}

impl Model for GraphModel {
    type Batch = Batch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Batch, key: StepKey) -> Result<Losses> {
        self.losses_weighed(batch, key, &Weights::from([]))
    }

    fn losses_weighed(&self, batch: &Batch, _: StepKey, weights: &Weights) -> Result<Losses> {
        Ok(Losses {
            terms: self.weighed_terms(batch, weights)?,
            statistics: Vec::new(),
        })
    }

    fn metrics(&self, batch: &Batch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let values = |t: Tensor| -> Result<Vec<f64>> { Ok(t.to_dtype(DType::F64)?.to_vec1()?) };
        let known = &batch.targets;
        let (outputs, derivatives) = match known.forces.is_some() || known.stress.is_some() {
            true => {
                let prediction = self.predict(batch)?;
                let derivatives = Some((prediction.forces, prediction.virial));
                (prediction.outputs, derivatives)
            }
            false => (self.outputs(batch)?, None),
        };
        let mut metrics = Vec::new();
        let targets = &known.graphs;
        if !targets.is_empty() {
            let penalties = self
                .outputs
                .penalties(&outputs, targets, self.penalties.energy)?;
            let scores = self.outputs.scores(&outputs, targets)?;
            for (name, of_graphs) in penalties.into_iter().chain(scores) {
                metrics.push((name, values(of_graphs)?));
            }
        }
        let Some((forces, virial)) = derivatives else {
            return Ok(metrics);
        };
        if let Some(target) = &known.forces {
            let difference = (forces - target)?;
            let mean = |of_atoms: Tensor| -> Result<Vec<f64>> {
                let means = Readout::Mean.forward(&of_atoms.into(), &batch.graphs)?;
                values(means.value.mean(1)?)
            };
            metrics.push((FORCES, mean(self.penalties.forces.of(&difference)?)?));
            let absolute = (difference.abs()? * self.outputs.scale())?;
            metrics.push((FORCES_SCORE, mean(absolute)?));
        }
        if let Some(stress) = &known.stress {
            let [penalty, absolute] = stress.errors(&virial, self.penalties.stress)?;
            metrics.push((STRESS, values(penalty)?));
            metrics.push((STRESS_SCORE, values((absolute * self.outputs.scale())?)?));
        }
        Ok(metrics)
    }
}
