//! GIN on the graph of bonds (Xu et al. 2019; Hu et al. 2020), the 2D side of the methods of two
//! modalities. Parameters have the released names.

use super::bonds::{ATOM_FEATURES, BOND_FEATURES};
use super::{Draws, Pass};
use crate::Result;
use crate::models::layers::{BatchNorm, Embedding, Linear};
use crate::models::{Init, Parameter, Parameters, Scope};
use candle_core::Tensor;

/// Embeddings of several integer features, summed.
pub struct Features(Vec<Embedding>);

impl Features {
    /// One table for each feature, with `sizes` values.
    pub fn new(b: &mut Scope, sizes: &[usize], width: usize) -> Self {
        let table = |(k, &size): (usize, &usize)| {
            let at = &mut b.scope(format_args!("e.{k}"));
            Embedding::new(at, size, width, Init::glorot(size, width))
        };
        Self(sizes.iter().enumerate().map(table).collect())
    }

    /// `[rows, features]` to `[rows, width]`.
    ///
    /// # Errors
    /// A value that there is not.
    pub fn forward(&self, x: &Tensor, p: &Parameters) -> candle_core::Result<Tensor> {
        let columns = x.t()?.contiguous()?;
        let mut sum: Option<Tensor> = None;
        for (k, table) in self.0.iter().enumerate() {
            let own = table.forward(&columns.get(k)?, p)?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        sum.ok_or_else(|| candle_core::Error::Msg("no features".into()))
    }
}

struct Layer {
    bonds: Features,
    epsilon: Parameter,
    first: Linear,
    inner: BatchNorm,
    second: Linear,
    outer: BatchNorm,
}

/// `m_i = sum_j relu(h_j + e_ij)`, `h' = BN(W_2 relu(BN(W_1 ((1 + eps) h_i + m_i))))`, with ReLU
/// after each layer but the last.
pub struct Gin {
    atoms: Features,
    layers: Vec<Layer>,
}

impl Gin {
    /// `layers` layers of `width` channels.
    pub fn new(b: &mut Scope, width: usize, layers: usize) -> Self {
        let atoms = Features::new(&mut b.scope("atom_encoder"), &ATOM_FEATURES, width);
        let layer = |l: usize| {
            let mut own = b.scope(format_args!("gnns.{l}"));
            let bonds = Features::new(&mut own.scope("bond_encoder"), &BOND_FEATURES, width);
            let epsilon = own.parameter("eps", 1, Init::Constant(0.0));
            let mut mlp = own.scope("mlp");
            let first = Linear::pytorch(&mut mlp.scope(0), width, 2 * width);
            let inner = BatchNorm::new(&mut mlp.scope(1), 2 * width);
            let second = Linear::pytorch(&mut mlp.scope(3), 2 * width, width);
            let outer = BatchNorm::new(&mut b.scope(format_args!("batch_norms.{l}")), width);
            Layer {
                bonds,
                epsilon,
                first,
                inner,
                second,
                outer,
            }
        };
        Self {
            atoms,
            layers: (0..layers).map(layer).collect(),
        }
    }

    /// Features of the atoms, `[N, F]`, of what [`super::bonds::put_bonds`] has put.
    ///
    /// # Errors
    /// Features that there are not.
    pub fn forward(&self, draws: &Draws, pass: &Pass) -> Result<Tensor> {
        let ends = draws.get("bond_ends")?;
        let (from, to) = (ends.get(0)?, ends.get(1)?);
        let bond_features = draws.get("bond_features")?;
        let mut h = self
            .atoms
            .forward(draws.get("atom_features")?, pass.parameters)?;
        for (l, layer) in self.layers.iter().enumerate() {
            let mut sum = h.zeros_like()?;
            if from.elem_count() > 0 {
                let bonds = layer.bonds.forward(bond_features, pass.parameters)?;
                let messages = (h.index_select(&from, 0)? + bonds)?.relu()?;
                sum = sum.index_add(&to, &messages, 0)?;
            }
            let own = h.broadcast_mul(&(pass.parameters.get(&layer.epsilon)? + 1.0)?)?;
            let x = layer.first.forward(&(own + sum)?, pass.parameters)?;
            let x = layer.inner.forward(&x, pass)?.relu()?;
            let x = layer.second.forward(&x, pass.parameters)?;
            h = layer.outer.forward(&x, pass)?;
            if l + 1 < self.layers.len() {
                h = h.relu()?;
            }
        }
        Ok(h)
    }
}
