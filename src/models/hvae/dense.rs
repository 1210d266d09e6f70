//! Fully connected layers between the invariants and the latent.

use super::config::HvaeConfig;
use crate::models::{Init, Parameters, ParametersBuilder};
use candle_core::Tensor;

/// A fully connected layer: weight `[out, in]`, bias `[out]`.
pub(super) struct Dense {
    weight: usize,
    bias: usize,
    shape: (usize, usize),
}

impl Dense {
    /// PyTorch's default start: uniform on +-1/sqrt(in).
    pub fn new(b: &mut ParametersBuilder, name: &str, from: usize, to: usize) -> Self {
        let init = Init::Uniform(1.0 / (from as f64).sqrt());
        Self {
            weight: b.group([(format!("{name}.weight"), vec![to, from], init)]),
            bias: b.group([(format!("{name}.bias"), vec![to], init)]),
            shape: (to, from),
        }
    }

    pub fn forward(&self, x: &Tensor, p: &Parameters) -> candle_core::Result<Tensor> {
        x.matmul(&p.var(self.weight).reshape(self.shape)?.t()?)?
            .broadcast_add(p.var(self.bias))
    }
}

/// Dense layers `from -> sizes..`, numbered by `number` in the published sequence; returns the
/// last width.
pub(super) fn dense_chain(
    b: &mut ParametersBuilder,
    name: &str,
    from: usize,
    sizes: &[usize],
    number: impl Fn(usize) -> usize,
) -> (Vec<Dense>, usize) {
    let mut width = from;
    let mut out = Vec::new();
    for (i, &size) in sizes.iter().enumerate() {
        out.push(Dense::new(b, &format!("{name}.{}", number(i)), width, size));
        width = size;
    }
    (out, width)
}

/// `z` to the decoder's scalars: one layer, or the encoder's hidden sizes mirrored.
pub(super) fn decoder_chain(
    b: &mut ParametersBuilder,
    config: &HvaeConfig,
    scalars: usize,
) -> Vec<Dense> {
    if config.hidden.is_empty() {
        return vec![Dense::new(
            b,
            "decoder_bottleneck",
            config.latent_dim,
            scalars,
        )];
    }
    let sizes: Vec<usize> = config
        .hidden
        .iter()
        .rev()
        .copied()
        .chain([scalars])
        .collect();
    // In the published sequence the first layer has no ReLU after it, the others have.
    dense_chain(b, "decoder_bottleneck", config.latent_dim, &sizes, |i| {
        if i == 0 { 0 } else { 2 * i - 1 }
    })
    .0
}
