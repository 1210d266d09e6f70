//! Networks of invariants.

use super::gate::SILU;
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dense::dense;
use crate::ops::dual::Dual;
use crate::ops::pointwise::Silu;
use candle_core::Result;
use std::sync::Arc;

/// `x W_0 / sqrt(n_0)`, and for each further layer `f(x) W_q / sqrt(n_q)`, where `f` is the SiLU
/// with second moment 1 and `W_q` is `[n_q, n_(q+1)]` from normal numbers: the variance of the input
/// is that of the output. There are no biases.
pub struct NormalizedMlp {
    weights: Vec<Parameter>,
    silu: Arc<Silu>,
}

impl NormalizedMlp {
    /// Layers between these `widths`; `name` names a layer's weight by its number.
    pub fn new(b: &mut Scope, widths: &[usize], name: impl Fn(usize) -> String) -> Self {
        let inits = vec![Init::Normal(1.0); widths.len() - 1];
        Self::with_inits(b, widths, inits, name)
    }

    /// [`NormalizedMlp::new`] with other initial values of each layer.
    pub fn with_inits(
        b: &mut Scope,
        widths: &[usize],
        inits: Vec<Init>,
        name: impl Fn(usize) -> String,
    ) -> Self {
        let layer = |(q, (pair, init)): (usize, (&[usize], Init))| {
            b.parameter(name(q), (pair[0], pair[1]), init)
        };
        Self {
            weights: widths
                .windows(2)
                .zip(inits)
                .enumerate()
                .map(layer)
                .collect(),
            silu: Arc::new(Silu),
        }
    }

    /// `[rows, n_0]` to `[rows, n_last]`.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Dual, p: &Parameters) -> Result<Dual> {
        let mut x = x.clone();
        for (q, weight) in self.weights.iter().enumerate() {
            let mut scale = 1.0 / (weight.dims()[0] as f64).sqrt();
            if q > 0 {
                scale *= SILU;
                x = x.apply(&self.silu)?;
            }
            let weight = (p.get(weight)? * scale)?.t()?;
            x = x.linear(|x| dense(x, &weight))?;
        }
        Ok(x)
    }
}
