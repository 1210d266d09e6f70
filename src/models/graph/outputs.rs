//! What a model says of a graph: numbers and classes, each under a name.

use super::Penalty;
use crate::{Error, Result};
use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Something that is learned of graphs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Names its term of the loss.
    pub name: String,
    /// Number of classes; 0 for a number.
    #[serde(default)]
    pub classes: usize,
    /// What a predicted one stands for, in the unit of the target.
    #[serde(default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

impl Default for Output {
    /// An energy, in the model's own unit.
    fn default() -> Self {
        Self {
            name: "energy".into(),
            classes: 0,
            scale: 1.0,
        }
    }
}

impl Output {
    /// Channels of the head.
    pub fn width(&self) -> usize {
        self.classes.max(1)
    }
}

/// The outputs of a model, side by side in its head.
#[derive(Debug, Clone)]
pub struct Outputs {
    parts: Vec<Part>,
    width: usize,
}

/// An output and where it lies.
#[derive(Debug, Clone)]
struct Part {
    output: Output,
    first: usize,
    term: &'static str,
    /// Mean absolute error or accuracy.
    score: &'static str,
}

impl Outputs {
    /// # Errors
    /// No output, two of one name, one that is called `forces` or `stress`, one class alone.
    pub fn new(outputs: &[Output]) -> Result<Self> {
        let wrong = |what: String| Err(Error::input(format!("outputs of a model: {what}")));
        let mut width = 0;
        let mut parts: Vec<Part> = Vec::new();
        for output in outputs {
            let own = [FORCES, STRESS].contains(&output.name.as_str());
            if own || parts.iter().any(|p| p.output.name == output.name) {
                return wrong(format!("the name {:?} is taken", output.name));
            }
            if output.classes == 1 {
                return wrong(format!("{:?} has one class", output.name));
            }
            let score = match output.classes {
                0 => "mae",
                _ => "accuracy",
            };
            parts.push(Part {
                output: output.clone(),
                first: width,
                term: keep(&output.name),
                score: keep(&format!("{}_{score}", output.name)),
            });
            width += output.width();
        }
        match parts.is_empty() {
            true => wrong("there is none".into()),
            false => Ok(Self { parts, width }),
        }
    }

    /// Channels of the head.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What one unit of the first output stands for.
    pub fn scale(&self) -> f64 {
        self.parts[0].output.scale
    }

    /// How far each graph's prediction `[graphs, width]` is from the targets, one `[graphs]` for
    /// each output: [`super::Targets::graphs`].
    ///
    /// # Errors
    /// Another number of targets.
    pub(super) fn penalties(
        &self,
        predicted: &Tensor,
        targets: &[Tensor],
        penalty: Penalty,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let part = |Paired { part, own, target }: Paired| -> Result<_> {
            let value = match part.output.classes {
                0 => penalty.of(&(own.squeeze(1)? - target)?)?,
                _ => {
                    let chosen = log_softmax(&own, D::Minus1)?.gather(&target.unsqueeze(1)?, 1)?;
                    chosen.squeeze(1)?.neg()?
                }
            };
            Ok((part.term, value))
        };
        self.paired(predicted, targets)?.map(part).collect()
    }

    /// Absolute errors in the targets' units, or 1 where the class is right, of each graph.
    ///
    /// # Errors
    /// Another number of targets.
    pub(super) fn scores(
        &self,
        predicted: &Tensor,
        targets: &[Tensor],
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let part = |Paired { part, own, target }: Paired| -> Result<_> {
            let value = match part.output.classes {
                0 => ((own.squeeze(1)? - target)?.abs()? * part.output.scale)?,
                _ => own.argmax(1)?.eq(target)?.to_dtype(DType::F64)?,
            };
            Ok((part.score, value))
        };
        self.paired(predicted, targets)?.map(part).collect()
    }

    /// The outputs as they are in a prediction.
    fn paired<'a>(
        &'a self,
        predicted: &Tensor,
        targets: &'a [Tensor],
    ) -> Result<impl Iterator<Item = Paired<'a>>> {
        if targets.len() != self.parts.len() {
            let (has, wants) = (targets.len(), self.parts.len());
            let what = format!("a batch of graphs with {has} targets for {wants} outputs");
            return Err(Error::internal(what));
        }
        let own = |p: &Part| predicted.narrow(1, p.first, p.output.width());
        let own: candle_core::Result<Vec<Tensor>> = self.parts.iter().map(own).collect();
        let pairs = self.parts.iter().zip(own?).zip(targets);
        Ok(pairs.map(|((part, own), target)| Paired { part, own, target }))
    }
}

/// An output with its own channels and its target.
struct Paired<'a> {
    part: &'a Part,
    own: Tensor,
    target: &'a Tensor,
}

/// The term of forces, and their score.
pub const FORCES: &str = "forces";
pub(super) const FORCES_SCORE: &str = "forces_mae";
/// The term of stresses, and their score.
pub const STRESS: &str = "stress";
pub(super) const STRESS_SCORE: &str = "stress_mae";

/// A name for as long as the program runs: it meets few of them, each is kept once.
pub fn keep(name: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.get(name) {
        Some(known) => known,
        None => {
            let new: &str = Box::leak(name.into());
            kept.insert(new);
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn numbers(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn numbers_and_classes_lie_side_by_side() {
        let output = |name: &str, classes, scale| Output {
            name: name.into(),
            classes,
            scale,
        };
        let outputs = [output("gap", 0, 2.0), output("kind", 3, 1.0)];
        let outputs = Outputs::new(&outputs).unwrap();
        assert_eq!(outputs.width(), 4);
        let cpu = &Device::Cpu;
        let predicted = [[1.0f64, 0.0, 0.0, 3f64.ln()], [2.0, 5.0, 0.0, 0.0]];
        let predicted = Tensor::new(&predicted, cpu).unwrap();
        let targets = [
            Tensor::new(&[1.5f64, 0.0], cpu).unwrap(),
            Tensor::new(&[2u32, 1], cpu).unwrap(),
        ];
        let losses = outputs
            .penalties(&predicted, &targets, Penalty::L2)
            .unwrap();
        assert_eq!([losses[0].0, losses[1].0], ["gap", "kind"]);
        assert_eq!(numbers(&losses[0].1), [0.25, 4.0]);
        let entropy = numbers(&losses[1].1);
        assert!((entropy[0] - (5.0f64 / 3.0).ln()).abs() < 1e-12);
        assert!((entropy[1] - (5f64.exp() + 2.0).ln()).abs() < 1e-12);
        let scores = outputs.scores(&predicted, &targets).unwrap();
        assert_eq!([scores[0].0, scores[1].0], ["gap_mae", "kind_accuracy"]);
        assert_eq!(numbers(&scores[0].1), [1.0, 4.0]);
        assert_eq!(numbers(&scores[1].1), [1.0, 0.0]);
        assert!(outputs.scores(&predicted, &targets[..1]).is_err());
    }

    #[test]
    fn names_are_told_apart() {
        let named = |name: &str| Output {
            name: name.into(),
            ..Output::default()
        };
        let taken = ["forces", "stress"].map(|name| vec![named(name)]);
        for bad in [vec![], vec![named("a"), named("a")]]
            .into_iter()
            .chain(taken)
        {
            assert!(Outputs::new(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(keep("abc").as_ptr(), keep("abc").as_ptr());
    }
}
