//! Which beads carry the decision on a clip.

use super::dropout::Dropout;
use super::temporal::Path;
use super::{Clip, DeepSignature, Objective};
use crate::models::Parameters;
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};

/// The coarse path of a clip, and what each bead of it adds to an output.
pub struct Decision {
    /// `[T, K, d]`, row-major.
    pub path: Vec<f32>,
    pub frames: usize,
    pub beads: usize,
    /// Gradient times input: for each bead the sum over time and coordinates of the coarse path
    /// times the output's gradient by it.
    pub contributions: Vec<f64>,
    /// The contributions of beads shared out to their nodes, as the assignment weighs them.
    pub nodes: Vec<f64>,
}

impl DeepSignature {
    /// The contributions of the beads of a clip to the logit of `class` (to the predicted number,
    /// in regression).
    ///
    /// # Errors
    /// A class that the model does not know.
    pub fn decision(&self, clip: &Clip, class: usize) -> Result<Decision> {
        if class >= self.objective.outputs().max(2) {
            return Err(Error::internal(format!(
                "class {class} of a model without it"
            )));
        }
        let p = &self.parameters;
        let coarse = self.aggregator.forward(clip, p)?;
        let path = Var::from_tensor(&coarse.path.detach())?;
        let output = self.output_of_path(&path, clip, class, p)?;
        let store = output.backward()?;
        let gradient = store
            .get(&path)
            .ok_or_else(|| Error::internal("the output does not depend on the path"))?;
        let contributions = (gradient * path.as_tensor())?.sum((0, 2))?;
        let (frames, beads, _) = path.dims3()?;
        let assignment = coarse.assignment()?.detach();
        let weights = assignment.broadcast_div(&assignment.sum_keepdim(0)?)?;
        let nodes = weights.matmul(&contributions.unsqueeze(1)?)?.squeeze(1)?;
        Ok(Decision {
            nodes: nodes.to_dtype(DType::F64)?.to_vec1()?,
            path: path.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
            frames,
            beads,
            contributions: contributions.to_dtype(DType::F64)?.to_vec1()?,
        })
    }

    /// The logit of `class`, or the predicted number, from a coarse path `[T, K, d]`.
    fn output_of_path(
        &self,
        path: &Tensor,
        clip: &Clip,
        class: usize,
        p: &Parameters,
    ) -> Result<Tensor> {
        let dropout = Dropout::new(None, std::iter::once(clip.id));
        let path = Path {
            values: path,
            times: &clip.times,
        };
        let summary = self.temporal.forward(&[path], &dropout, p)?;
        let logits = self.classifier.forward(&summary.features, p)?.squeeze(0)?;
        Ok(match (self.objective, class) {
            (Objective::Classes(_), class) => logits.get(class)?,
            // One logit: that of class 1 against class 0.
            (Objective::Binary, 0) => logits.get(0)?.neg()?,
            _ => logits.get(0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::deep_signature::{DeepSignatureConfig, Graph, Method, RawClip, Variant};
    use candle_core::Device;
    use std::sync::Arc;

    fn clip(config: &DeepSignatureConfig) -> Clip {
        let (nodes, frames) = (12, 9);
        let edges: Vec<(u32, u32)> = (1..nodes as u32).map(|i| (i - 1, i)).collect();
        let wave = |i: usize| ((i * i) as f32 * 0.37).sin();
        let raw = RawClip {
            holographic: false,
            id: 3,
            graph: Arc::new(Graph::new(nodes, &edges, config.variant).unwrap()),
            features: (0..nodes * frames * 3).map(wave).collect(),
            frames,
            target: 1.0,
        };
        Clip::new(raw, config, DType::F64).unwrap()
    }

    #[test]
    fn contributions_are_what_stretching_a_bead_changes() {
        let methods = [
            Method::DeepSignature,
            Method::GraphLstm,
            Method::GraphTransformer,
        ];
        for (method, objective) in methods
            .into_iter()
            .flat_map(|m| [(m, Objective::Binary), (m, Objective::Classes(3))])
        {
            let config = DeepSignatureConfig {
                variant: Variant::Corrected,
                method,
                clusters: 5,
                hidden: 4,
                lstm: 6,
                segments: 2,
                ..Default::default()
            };
            let model =
                DeepSignature::new(&config, 3, objective, 5, DType::F64, &Device::Cpu).unwrap();
            let clip = clip(&config);
            let decision = model.decision(&clip, 0).unwrap();
            assert_eq!((decision.frames, decision.beads), (9, 5));
            let path = model
                .aggregator
                .forward(&clip, &model.parameters)
                .unwrap()
                .path;
            for k in 0..5 {
                let stretched = |by: f64| -> f64 {
                    let mut factors = [1.0; 5];
                    factors[k] = by;
                    let factors = Tensor::new(&factors, &Device::Cpu).unwrap();
                    let path = path.broadcast_mul(&factors.reshape((1, 5, 1)).unwrap());
                    let path = path.unwrap();
                    let output = model.output_of_path(&path, &clip, 0, &model.parameters);
                    let output = output.unwrap();
                    output.to_scalar().unwrap()
                };
                let step = 1e-5;
                let slope = (stretched(1.0 + step) - stretched(1.0 - step)) / (2.0 * step);
                let error = (decision.contributions[k] - slope).abs();
                assert!(error < 1e-8, "{method:?} bead {k}: {error}");
            }
            assert!(decision.contributions.iter().any(|c| c.abs() > 1e-6));
            let [beads, nodes] =
                [&decision.contributions, &decision.nodes].map(|c| c.iter().sum::<f64>());
            assert_eq!(decision.nodes.len(), 12);
            assert!((beads - nodes).abs() < 1e-12, "{beads} {nodes}");
            let classes = if objective == Objective::Binary { 2 } else { 3 };
            assert!(model.decision(&clip, classes).is_err());
        }
    }
}
