//! Deep Signature and its baselines on random molecules in motion.

use crate::case::{Case, Change, section};
use crate::molecule::{molecule, order};
use crate::numbers::values;
use candle_core::{DType, Device};
use holosig::models::deep_signature::{
    Clip, CoarseGraining, DeepSignature, DeepSignatureConfig, Description, Graph, Objective,
    RawClip, TERMS, Variant,
};
use holosig::models::{Describes, Weights};
use holosig::so3::{rigid, rotation};
use std::sync::Arc;

/// Settings of the model beside the small sizes, what it predicts, and features per node.
pub struct Trajectories(pub &'static str, pub Objective, pub usize);

const NODES: usize = 30;

impl Trajectories {
    fn config(&self) -> DeepSignatureConfig {
        section(&self.job(), "model")
    }

    fn clip(&self, id: u64, change: Change, dtype: DType) -> Clip {
        let config = self.config();
        // The published variant needs a multiple of its segments.
        let frames = 8 + 4 * (id as usize % 3);
        let m = molecule(NODES, frames, id);
        let m = match change {
            Change::None => m,
            Change::Permuted => m.permuted(&order(NODES), true),
            Change::Rotated(seed) => {
                let turn = rotation::random(seed);
                m.map(|_, p| rigid::apply(&turn, p))
            }
            Change::Moved => m.map(|_, [x, y, z]| [x + 1.0, y + 2.0, z + 3.0]),
        };
        let classes = self.1.outputs().max(2) as u64;
        let raw = RawClip {
            holographic: false,
            id,
            graph: {
                let graph = Graph::new(NODES, &m.edges, config.variant).unwrap();
                Arc::new(graph.with_beads(&m.edges, None, &config).unwrap())
            },
            features: m.features(self.2),
            frames,
            target: match self.1 {
                Objective::Regression => (id as f64).sin(),
                _ => (id % classes) as f64,
            },
        };
        Clip::new(raw, &config, dtype).unwrap()
    }
}

impl Case for Trajectories {
    type Model = DeepSignature;

    const TASK: &'static str = "deep-signature";

    fn job(&self) -> String {
        format!(
            "task = 'deep-signature'\n[data]\ndataset = 'trajectories.h5'\n[model]\nclusters = 5\n\
             hidden = 6\nlstm = 8\n{}\n[train]\nsteps = 2\n",
            self.0
        )
    }

    fn description(&self) -> String {
        let description = Description {
            features: self.2,
            holographic: false,
            scale: 1.0,
            classes: Vec::new(),
            mean: 0.0,
            deviation: 1.0,
            objective: self.1,
            model: self.config(),
        };
        description.to_toml().unwrap()
    }

    fn build(&self, description: &str, seed: u64, dtype: DType) -> holosig::Result<DeepSignature> {
        Description::from_toml(description)?.build(seed, dtype, &Device::Cpu)
    }

    fn batch(&self, ids: &[u64], change: Change, dtype: DType) -> Vec<Clip> {
        let clip = |&id: &u64| self.clip(id, change, dtype);
        ids.iter().map(clip).collect()
    }

    fn predict(&self, model: &DeepSignature, batch: &Vec<Clip>) -> Vec<Vec<f64>> {
        let logits = values(&model.forward(batch).unwrap().logits);
        let rows = logits.chunks(self.1.outputs());
        rows.map(<[f64]>::to_vec).collect()
    }

    /// Coordinates are rounded to f32 before the model sees them. Scalar features do not turn.
    fn symmetries(&self) -> Vec<(Change, f64, f64)> {
        // Fixed beads are numbered by the nodes.
        let mut changes = match self.config().coarse_graining {
            CoarseGraining::Learned => vec![Change::Permuted],
            _ => Vec::new(),
        };
        if self.config().variant == Variant::Corrected && self.2 == 3 {
            changes.extend([Change::Rotated(4), Change::Moved]);
        }
        changes.into_iter().map(|c| (c, 1e-4, 3e-2)).collect()
    }

    /// Without the loss of the coordinates: its targets pass no gradient to the assignments, so it
    /// has other slopes than gradients. Those are compared with the published code's elsewhere.
    fn weights(&self) -> Weights<'static> {
        let weight = |(name, weight)| (name, if name == "coordinates" { 0.0 } else { weight });
        Weights::from(TERMS.map(weight))
    }
}
