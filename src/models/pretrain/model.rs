//! The adapter from objectives to the trainer.

use super::{AnyObjective, Batch, Draw, Inputs, Molecule, Objective, Pass, Representations, Terms};
use crate::data::neighbors::{Edges, Rule};
use crate::models::graph::{self, Encoder, Features, Network};
use crate::models::layers::{Others, Readout, differences, forces};
use crate::models::{Losses, Model, Parameters, ParametersBuilder, Scope, StepKey, scalar};
use crate::ops::derivatives::gradients;
use crate::ops::dual::Dual;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Network, and how molecules are made of atoms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PretrainConfig {
    #[serde(flatten)]
    pub network: Network,
    /// How the features of atoms become the molecule's.
    #[serde(default = "mean")]
    pub readout: Readout,
    /// Which molecules a loss compares.
    #[serde(default)]
    pub compare: Compare,
}

/// Which molecules are compared by losses that compare any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Those of the whole batch: the network sees every molecule twice, and each slice has the
    /// representations of all.
    #[default]
    Batch,
    /// Those of the slice, as released code compares those of a process.
    Slice,
}

fn mean() -> Readout {
    Readout::Mean
}

/// A network and an objective.
pub struct PretrainModel {
    encoder: Box<dyn Encoder>,
    objective: Box<dyn Objective>,
    readout: Readout,
    /// Whether losses compare molecules of different slices.
    compares: bool,
    /// Which atoms edges join, within the network's cutoff.
    edges: Rule,
    parameters: Parameters,
}

/// Where a model's numbers are, and what its initial ones are drawn from.
#[derive(Debug, Clone)]
pub struct Start {
    pub seed: u64,
    pub dtype: DType,
    pub device: Device,
}

/// Weight of new statistics in running ones, as in PyTorch.
const MOMENTUM: f64 = 0.1;

impl PretrainModel {
    /// A model with one of the objectives of this crate.
    ///
    /// # Errors
    /// Settings that make no model, by name.
    pub fn new(
        config: &PretrainConfig,
        edges: Rule,
        objective: &AnyObjective,
        start: &Start,
    ) -> Result<Self> {
        let objective = objective.config();
        objective.check()?;
        let build = |b: &mut Scope, width, elements| objective.build(b, width, elements);
        let mut model = Self::of(config, edges, build, start)?;
        model.compares = objective.gathers() && config.compare == Compare::Batch;
        Ok(model)
    }

    /// A model with an objective of one's own: `build` adds its parameters, for features of a width
    /// and a number of elements.
    ///
    /// # Errors
    /// Settings that make no model, by name; a network without features for an objective that
    /// needs some.
    pub fn of(
        config: &PretrainConfig,
        edges: Rule,
        build: impl FnOnce(&mut Scope, usize, usize) -> Result<Box<dyn Objective>>,
        start: &Start,
    ) -> Result<Self> {
        let mut builder = ParametersBuilder::default();
        let mut root = builder.root();
        let encoder = config.network.build(&mut root.scope("model"))?;
        let mut at = root.scope("objective");
        let objective = build(&mut at, encoder.width(), encoder.elements())?;
        if encoder.width() == 1 && objective.field().is_none() {
            return Err(Error::input(
                "the network gives the energies of atoms and no features: only the objectives \
                 geossl-ddm1l and emgp with objective.head = \"energy\" go with it",
            ));
        }
        Ok(Self {
            encoder,
            objective,
            readout: config.readout,
            compares: false,
            edges,
            parameters: builder.build(start.seed, start.dtype, &start.device, MOMENTUM)?,
        })
    }

    /// The network without its objective.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// The batch of some molecules: their views, and what is drawn by `key`.
    ///
    /// # Errors
    /// Those of [`Objective::prepare`]; atoms at one place; an element that the network does not
    /// know.
    pub fn batch(&self, molecules: &[Molecule], key: StepKey) -> Result<Batch> {
        let draw = Draw {
            key,
            dtype: self.parameters.dtype(),
            device: self.parameters.device().clone(),
        };
        let Inputs { views, draws } = self.objective.prepare(molecules, &draw)?;
        let view = |systems: Vec<_>| {
            let cutoff = self.encoder.cutoff();
            let edges = systems.iter().map(|s| self.edges.edges(s, cutoff));
            let edges: Vec<Edges> = edges.collect::<Result<_>>()?;
            let batch = graph::Batch::of_graphs(&systems, &edges, draw.dtype, &draw.device)?;
            if batch.largest as usize > self.encoder.elements() {
                return Err(Error::input(format!(
                    "atomic number {}: the network knows elements up to {}",
                    batch.largest,
                    self.encoder.elements()
                )));
            }
            self.encoder.prepare(&batch)?;
            Ok(batch)
        };
        let views = views.into_iter().map(view).collect::<Result<_>>()?;
        Ok(Batch { views, draws })
    }

    fn features(&self, view: &graph::Batch, vectors: Dual, p: &Parameters) -> Result<Features> {
        self.encoder.encode(view, &view.geometry(vectors)?, p)
    }

    /// What the network says of each view.
    ///
    /// # Errors
    /// Those of the network.
    pub fn representations(&self, batch: &Batch, p: &Parameters) -> Result<Representations> {
        let mut all = Representations::default();
        for view in &batch.views {
            let features = self.features(view, view.vectors()?.into(), p)?;
            let graphs = self.readout.forward(&features.scalars, &view.graphs)?;
            all.graphs.push(graphs.value);
            all.atoms.push(features.scalars.value);
            all.vectors.push(features.vectors.map(|v| v.value));
        }
        Ok(all)
    }

    /// The terms of the loss.
    ///
    /// # Errors
    /// Those of network and objective.
    pub fn terms(&self, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let mut terms = self.field_term(batch, pass.parameters)?;
        let x = self.representations(batch, pass.parameters)?;
        terms.extend(self.objective.losses(&x, batch, pass)?);
        if batch.views.iter().any(|view| view.edges.is_empty()) {
            for (_, term) in &mut terms {
                *term = (&*term + pass.nothing()?)?;
            }
        }
        Ok(terms)
    }

    fn losses_of(&self, batch: &Batch, pass: Pass) -> Result<Losses> {
        let terms = self.terms(batch, &pass)?;
        let statistics = pass.into_statistics()?;
        Ok(Losses { terms, statistics })
    }

    /// The term of what is predicted as the gradient of an energy, with the gradient of the
    /// energy's tangent: the steps of [`graph`], for any loss of the prediction.
    fn field_term(&self, batch: &Batch, p: &Parameters) -> Result<Terms> {
        let Some(field) = self.objective.field() else {
            return Ok(Vec::new());
        };
        let view = &batch.views[field.view()];
        let vectors = view.vectors()?;
        let leaf = Var::from_tensor(&vectors)?.into_inner();
        let constants = p.constants();
        let features = self.features(view, leaf.clone().into(), &constants)?;
        let energy = field.energy(&features, view, &constants)?.value.sum_all()?;
        let gradient = match view.edges.is_empty() {
            true => leaf.zeros_like()?,
            false => {
                let [gradient] = gradients(&energy, [&leaf])?;
                gradient
            }
        };
        let predicted = Var::from_tensor(&forces(&view.edges, &gradient)?)?.into_inner();
        let (name, loss) = field.loss(&predicted, batch)?;
        let [slope] = gradients(&loss, [&predicted])?;
        let along = differences(&view.edges, &slope.neg()?)?;
        let features = self.features(view, Dual::new(vectors, along), p)?;
        let energy = field.energy(&features, view, p)?;
        let missing = || Error::internal("the energy does not depend on positions");
        let tangent = energy.tangent.ok_or_else(missing)?.sum_all()?;
        let rest = (loss.detach() - tangent.detach())?;
        // What does not change a gradient has the gradient zero, and not none.
        let constant = (energy.value.sum_all()? * tangent.zeros_like()?)?;
        Ok(vec![(name, ((tangent + rest)? + constant)?)])
    }
}

impl Model for PretrainModel {
    type Batch = Batch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, batch: &Batch, _: StepKey) -> Result<Losses> {
        self.losses_of(batch, Pass::training(&self.parameters))
    }

    fn compares(&self) -> bool {
        self.compares
    }

    fn tell(&self, batch: &Batch, _: StepKey) -> Result<Vec<Tensor>> {
        let constants = self.parameters.constants();
        let pass = Pass::training(&constants).telling();
        let x = self.representations(batch, &constants)?;
        self.objective.losses(&x, batch, &pass)?;
        Ok(pass.into_told())
    }

    fn losses_among(&self, batch: &Batch, _: StepKey, others: Others) -> Result<Losses> {
        self.losses_of(batch, Pass::training(&self.parameters).among(others))
    }

    /// The terms; every sample of a batch has the batch's, as losses of pairs are no sum over
    /// samples.
    fn metrics(&self, batch: &Batch) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let constants = self.parameters.constants();
        let terms = self.terms(batch, &Pass::evaluation(&constants)?)?;
        let samples = batch.views.first().map_or(0, graph::Batch::len);
        let of = |(name, term): (&'static str, Tensor)| Ok((name, vec![scalar(&term)?; samples]));
        terms.into_iter().map(of).collect()
    }
}
