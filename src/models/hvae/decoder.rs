//! From an invariant latent and a frame back to coefficients.

use super::block::Block;
use super::config::{HvaeConfig, Normalization, SignalAffine};
use super::layer::{self, Layer, Pass, add_linear};
use super::norm::Signal;
use super::{blocks, data_side, mixing, steerable};
use crate::models::layers::{Activation, Linear, Mlp};
use crate::models::{Parameter, Scope};
use crate::so3::irreps::Irreps;
use crate::so3::wigner::w3j;
use candle_core::{Result, Tensor};

/// A decoder.
pub enum Decoder {
    Steerable(Box<Steerable>),
    Unconstrained(Unconstrained),
}

/// The paper's decoder: blocks from scalars and the frame's vectors up to all degrees.
pub struct Steerable {
    irreps: Irreps,
    hidden: Mlp,
    first: Parameter,
    blocks: Vec<Block>,
    last: Option<Layer>,
    norm: Option<Signal>,
}

/// A decoder that knows nothing of rotations (paper, Table S1): hidden layers with SiLU make
/// coefficients in the canonical frame, which are turned into the given one. Coefficients of degree
/// `l` in the frame `F` are `D^l(F)^T` times the canonical ones.
pub struct Unconstrained {
    irreps: Irreps,
    layers: Mlp,
}

impl Decoder {
    /// Its parameters, in the order of the published model; the encoder ends with `scalars` and
    /// `vectors`.
    pub fn new(
        b: &mut Scope,
        config: &HvaeConfig,
        irreps: &Irreps,
        scalars: usize,
        vectors: usize,
    ) -> Self {
        if !config.unconstrained.is_empty() {
            let hidden = config.unconstrained.iter().map(|&w| (w, Activation::Swish));
            let layers: Vec<_> = hidden
                .chain([(irreps.dim(), Activation::Identity)])
                .collect();
            return Self::Unconstrained(Unconstrained {
                layers: Mlp::new(&mut b.scope("decoder_mlp"), config.decoder_input(), &layers),
                irreps: irreps.clone(),
            });
        }
        let hidden = hidden(&mut b.scope("decoder_bottleneck"), config, scalars);
        let first = mixing(&mut b.scope("first_decoder_projection"), 3, vectors);
        let entry = Irreps::new(vec![scalars, vectors]);
        let plans = config.decoder_plan(irreps);
        let blocks = blocks(&mut b.scope("decoder_cg_blocks"), config, &entry, &plans);
        let rebuilt = blocks[blocks.len() - 1].output.clone();
        let last = config.projection.is_some().then(|| {
            let b = &mut b.scope("final_linear_projection");
            add_linear(b, layer::steerable(&rebuilt), data_side(irreps))
        });
        let norm = config.final_signal_norm.then(|| {
            Signal::new(
                &mut b.scope("final_signal_norm.0"),
                irreps,
                SignalAffine::None,
                None,
                Normalization::Component,
            )
        });
        Self::Steerable(Box::new(Steerable {
            irreps: irreps.clone(),
            hidden,
            first,
            blocks,
            last,
            norm,
        }))
    }

    /// `z` `[B, Z]` (`[B, Z + K]` with labels) and frames `[B, 3, 3]` to `[B, D]`.
    pub fn forward(&self, z: &Tensor, frame: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        match self {
            Self::Steerable(decoder) => decoder.forward(z, frame, pass),
            Self::Unconstrained(decoder) => {
                let canonical = decoder.layers.forward(z, pass.parameters)?;
                turned_back(&canonical, frame, &decoder.irreps)
            }
        }
    }
}

impl Steerable {
    fn forward(&self, z: &Tensor, frame: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let p = pass.parameters;
        let scalars = self.hidden.forward(z, p)?;
        // Rows of the frame are three vectors, i.e. channels; orders of degree 1 are (x, y, z).
        let l1 = frame
            .transpose(1, 2)?
            .contiguous()?
            .broadcast_matmul(&p.get(&self.first)?)?;
        let mut h = Tensor::cat(&[scalars, l1.flatten_from(1)?], 1)?;
        for block in &self.blocks {
            h = block.forward(&h, pass)?;
        }
        let mut x = match &self.last {
            Some(map) => map.forward(&h, pass)?,
            None => steerable::to_published(&h, &self.irreps)?,
        };
        if let Some(norm) = &self.norm {
            let steer = norm.forward(&steerable::from_published(&x, &self.irreps)?, p)?;
            x = steerable::to_published(&steer, &self.irreps)?;
        }
        Ok(x)
    }
}

/// `z` to the decoder's scalars: one layer, or the encoder's hidden widths mirrored.
fn hidden(b: &mut Scope, config: &HvaeConfig, scalars: usize) -> Mlp {
    let Some((&last, others)) = config.hidden.split_last() else {
        return Linear::pytorch(b, config.decoder_input(), scalars).into();
    };
    // The first layer is linear, to mirror the encoder.
    let mut layers = vec![(last, Activation::Identity)];
    let wider = others.iter().rev().copied().chain([scalars]);
    layers.extend(wider.map(|width| (width, Activation::Relu)));
    Mlp::new(b, config.decoder_input(), &layers)
}

/// Canonical coefficients `[B, D]` in frames `[B, 3, 3]`.
fn turned_back(canonical: &Tensor, frame: &Tensor, irreps: &Irreps) -> Result<Tensor> {
    let batch = canonical.dim(0)?;
    let mut parts = vec![canonical.narrow(1, 0, irreps.channels(0))?];
    let mut d = frame.clone();
    for l in 1..=irreps.lmax() {
        if l > 1 {
            d = raised(&d, frame, l)?;
        }
        let (channels, orders) = (irreps.channels(l), 2 * l + 1);
        let x = canonical.narrow(1, irreps.offset(l), channels * orders)?;
        // Rows times D are the transpose of D times columns.
        let x = x.reshape((batch, channels, orders))?.matmul(&d)?;
        parts.push(x.flatten_from(1)?);
    }
    Tensor::cat(&parts, 1)
}

/// `D^l` `[B, 2l+1, 2l+1]` of `D^(l-1)` and of `D^1`, the frames themselves: their product, coupled to
/// degree `l`.
fn raised(below: &Tensor, frame: &Tensor, l: usize) -> Result<Tensor> {
    let (batch, rows, _) = below.dims3()?;
    let orders = 2 * l + 1;
    // A product of couplings is the identity over 2l + 1.
    let coupling: Vec<f64> = w3j(l - 1, 1, l)
        .into_iter()
        .map(|c| c * (orders as f64).sqrt())
        .collect();
    let coupling =
        Tensor::from_vec(coupling, (rows * 3, orders), below.device())?.to_dtype(below.dtype())?;
    let product = below
        .reshape((batch, rows, 1, rows, 1))?
        .broadcast_mul(&frame.reshape((batch, 1, 3, 1, 3))?)?
        .reshape((batch, rows * 3, rows * 3))?;
    let right = product.broadcast_matmul(&coupling)?;
    coupling.t()?.contiguous()?.broadcast_matmul(&right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::rotation;
    use crate::so3::wigner::turned;
    use candle_core::{Device, Var};

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 0.9 + 0.2).sin()).collect()
    }

    #[test]
    fn coefficients_are_turned_as_by_wigner_matrices() {
        let irreps = Irreps::uniform(10, 2);
        let frames = [rotation::random(1), rotation::random(2)];
        let x = numbers(2 * irreps.dim());
        let flat: Vec<f64> = frames.iter().flat_map(|f| f.concat()).collect();
        let tensor =
            |v: &[f64], shape: &[usize]| Tensor::from_slice(v, shape, &Device::Cpu).unwrap();
        let own = turned_back(
            &tensor(&x, &[2, irreps.dim()]),
            &tensor(&flat, &[2, 3, 3]),
            &irreps,
        );
        let own: Vec<Vec<f64>> = own.unwrap().to_vec2().unwrap();
        for ((own, x), f) in own.iter().zip(x.chunks(irreps.dim())).zip(&frames) {
            let back = std::array::from_fn(|i| std::array::from_fn(|j| f[j][i]));
            for (a, b) in own.iter().zip(turned(&irreps, x, &back)) {
                assert!((a - b).abs() < 1e-12, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_gradient_of_the_frame_is_right() {
        let irreps = Irreps::uniform(3, 1);
        let x = Tensor::from_vec(numbers(irreps.dim()), (1, irreps.dim()), &Device::Cpu).unwrap();
        let g = Tensor::from_vec(numbers(irreps.dim()), (1, irreps.dim()), &Device::Cpu).unwrap();
        let g = (g * 1.3).unwrap();
        let loss = |f: &Tensor| {
            let y = turned_back(&x, f, &irreps).unwrap();
            (y * &g).unwrap().sqr().unwrap().sum_all().unwrap()
        };
        let flat = rotation::random(5).concat();
        let frame = Var::from_vec(flat.clone(), (1, 3, 3), &Device::Cpu).unwrap();
        let gradients = loss(&frame).backward().unwrap();
        let own: Vec<f64> = gradients
            .get(&frame)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        for (i, own) in own.iter().enumerate() {
            let moved = |by: f64| {
                let mut flat = flat.clone();
                flat[i] += by;
                let frame = Tensor::from_vec(flat, (1, 3, 3), &Device::Cpu).unwrap();
                loss(&frame).to_scalar::<f64>().unwrap()
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (own - difference).abs() < 1e-6 * (1.0 + own.abs()),
                "{i}: {own} {difference}"
            );
        }
    }
}
