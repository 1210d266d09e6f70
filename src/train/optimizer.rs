//! Adam on the flat parameter buffer.

mod resident;
mod update;

pub use resident::Resident;
pub(super) use update::is_finite;
pub use update::{Gradient, Optimizer};

use crate::Result;
use crate::models::Parameters;
use crate::ops::device::adam::Step;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSettings {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// L2 penalty added to the gradient (PyTorch's `Adam`, not `AdamW`).
    pub weight_decay: f64,
}

impl Default for AdamSettings {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-5,
        }
    }
}

/// Adam (Kingma and Ba 2015, Algorithm 1) with L2 weight decay, operation for operation as
/// `torch.optim.Adam` rounds in f32:
///
/// ```text
/// g = grad + weight_decay p
/// m = m + (1 - beta1)(g - m)            v = beta2 v + (1 - beta2) g^2
/// p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    settings: AdamSettings,
    /// Steps taken.
    pub steps: u64,
    /// First moments, in the flat order of the parameters.
    pub first: Vec<f32>,
    /// Second moments.
    pub second: Vec<f32>,
}

/// Elements that one thread updates at a time.
const CHUNK: usize = 1 << 14;

impl Adam {
    pub fn new(settings: AdamSettings, len: usize) -> Self {
        Self {
            settings,
            steps: 0,
            first: vec![0.0; len],
            second: vec![0.0; len],
        }
    }

    /// Counts a step, and the numbers of its update with learning rate `rate`.
    pub fn next(&mut self, rate: f64) -> Step {
        self.steps += 1;
        let AdamSettings {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.settings;
        let t = self.steps as f64;
        Step {
            step_size: (rate / (1.0 - beta1.powf(t))) as f32,
            root_correction: (1.0 - beta2.powf(t)).sqrt() as f32,
            new1: (1.0 - beta1) as f32,
            keep2: beta2 as f32,
            new2: (1.0 - beta2) as f32,
            epsilon: epsilon as f32,
            decay: weight_decay as f32,
        }
    }

    /// One update of `parameters` with learning rate `rate`.
    pub fn step(&mut self, parameters: &mut [f32], gradients: &[f32], rate: f64) {
        let numbers = self.next(rate);
        let (first, second) = (&mut self.first, &mut self.second);
        apply(&numbers, parameters, gradients, first, second);
    }

    /// One update of the parameters `own` of a model on the processor, where they are.
    ///
    /// # Errors
    /// A model that is not in the processor's memory.
    pub fn step_model(
        &mut self,
        model: &Parameters,
        own: Range<usize>,
        gradients: &[f32],
        rate: f64,
    ) -> Result<()> {
        let numbers = self.next(rate);
        model.modify(own, |at, parameters| {
            let range = at..at + parameters.len();
            let (first, second) = (
                &mut self.first[range.clone()],
                &mut self.second[range.clone()],
            );
            apply(&numbers, parameters, &gradients[range], first, second);
        })
    }
}

/// The update of parameters and moments, all of one length.
fn apply(
    s: &Step,
    parameters: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    parameters
        .par_chunks_mut(CHUNK)
        .zip(gradients.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK))
        .zip(second.par_chunks_mut(CHUNK))
        .for_each(|(((p, g), m), v)| {
            for i in 0..p.len() {
                let g = g[i] + s.decay * p[i];
                m[i] += (g - m[i]) * s.new1;
                v[i] = v[i] * s.keep2 + s.new2 * g * g;
                let root = v[i].sqrt() / s.root_correction + s.epsilon;
                p[i] -= s.step_size * (m[i] / root);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook form, in f64.
    fn textbook(p: &mut [f64], grads: &[Vec<f64>], rate: f64, s: AdamSettings) {
        for (i, p) in p.iter_mut().enumerate() {
            let (mut m, mut v) = (0.0, 0.0);
            for (t, grad) in grads.iter().enumerate() {
                let g = grad[i] + s.weight_decay * *p;
                m = s.beta1 * m + (1.0 - s.beta1) * g;
                v = s.beta2 * v + (1.0 - s.beta2) * g * g;
                let n = (t + 1) as i32;
                let (mh, vh) = (m / (1.0 - s.beta1.powi(n)), v / (1.0 - s.beta2.powi(n)));
                *p -= rate * mh / (vh.sqrt() + s.epsilon);
            }
        }
    }

    #[test]
    fn follows_the_formula() {
        let n = 3 * CHUNK / 2;
        let settings = AdamSettings {
            weight_decay: 0.01,
            ..AdamSettings::default()
        };
        let start: Vec<f64> = (0..n).map(|i| (i as f64 * 0.37).sin()).collect();
        let grads: Vec<Vec<f64>> = (0..20)
            .map(|t| (0..n).map(|i| ((i + 31 * t) as f64 * 0.11).cos()).collect())
            .collect();
        let mut exact = start.clone();
        textbook(&mut exact, &grads, 2.5e-3, settings);
        let mut p: Vec<f32> = start.iter().map(|&x| x as f32).collect();
        let mut adam = Adam::new(settings, n);
        for g in &grads {
            let g: Vec<f32> = g.iter().map(|&x| x as f32).collect();
            adam.step(&mut p, &g, 2.5e-3);
        }
        for i in 0..n {
            let error = (f64::from(p[i]) - exact[i]).abs();
            assert!(error < 1e-6, "{i}: {} {}", p[i], exact[i]);
        }
    }

    /// The first step moves every parameter by the learning rate against its gradient's sign.
    #[test]
    fn first_step_is_the_learning_rate() {
        let settings = AdamSettings {
            weight_decay: 0.0,
            ..AdamSettings::default()
        };
        let mut p = vec![1.0f32, -2.0, 0.5];
        Adam::new(settings, 3).step(&mut p, &[3.0, -0.2, 1e-3], 0.1);
        for (got, want) in p.iter().zip([0.9, -1.9, 0.4]) {
            assert!((got - want).abs() < 1e-5);
        }
    }
}
