//! The op on a GPU.

use super::norm::{Mode, Normalization, features};
use crate::ops::device::{Kind, Sequence, ints};
use crate::so3::irreps::Irreps;
use std::sync::Arc;

/// Samples of a block.
const SAMPLES: usize = 8;

/// Where the features of a steerable tensor are.
pub struct Tables {
    /// Per feature: first number, stride of its orders, their count.
    features: Arc<[i32]>,
    /// Feature of each number.
    feature_of: Arc<[i32]>,
    scalars: usize,
}

impl Tables {
    pub fn new(irreps: &Irreps) -> Self {
        let mut table = Vec::with_capacity(3 * features(irreps));
        let mut feature_of = Vec::with_capacity(irreps.dim());
        for l in 0..=irreps.lmax() {
            let (first, n) = (table.len() / 3, irreps.channels(l));
            for c in 0..n {
                table.extend([irreps.offset(l) + c, n, 2 * l + 1].map(|v| v as i32));
            }
            for _ in 0..2 * l + 1 {
                feature_of.extend((first..first + n).map(|f| f as i32));
            }
        }
        Self {
            features: table.into(),
            feature_of: feature_of.into(),
            scalars: irreps.channels(0),
        }
    }

    fn count(&self) -> usize {
        self.features.len() / 3
    }

    fn dim(&self) -> usize {
        self.feature_of.len()
    }

    /// Grid of the sums over the batch.
    fn sums(&self, batch: usize) -> [usize; 3] {
        [self.count().div_ceil(32), batch.div_ceil(SAMPLES), 1]
    }

    /// Grid over the numbers.
    fn numbers(&self, batch: usize) -> [usize; 3] {
        [self.dim().div_ceil(256), batch.div_ceil(SAMPLES), 1]
    }
}

fn by_sum(normalization: Normalization) -> usize {
    usize::from(normalization == Normalization::Norm)
}

/// Input x; outputs mean of the scalars and variance of all features, f64.
pub fn statistics(t: &Tables, normalization: Normalization, batch: usize) -> Sequence {
    let mut s = Sequence::default();
    let x = s.input(Kind::F32, batch * t.dim());
    let mean = s.output(Kind::F64, t.scalars);
    let variance = s.output(Kind::F64, t.count());
    let table = s.ints(&t.features);
    let grid = t.sums(batch);
    let partial = s.scratch(Kind::F64, grid[1] * 2 * t.count());
    let mut args = vec![x, partial, table];
    args.extend(ints([t.count(), batch, t.dim()]));
    s.launch("batch_norm", "bn_moments", grid, [32, 8, 1], 0, args);
    let mut args = vec![partial, mean, variance, table];
    args.extend(ints([
        t.scalars,
        t.count(),
        grid[1],
        batch,
        by_sum(normalization),
    ]));
    let grid = [t.count().div_ceil(128), 1, 1];
    s.launch("batch_norm", "bn_statistics", grid, [128, 1, 1], 0, args);
    s
}

/// Inputs x, weight, bias, mean and variance (f64); output x normalised.
pub fn forward(t: &Tables, batch: usize) -> Sequence {
    let mut s = Sequence::default();
    let x = s.input(Kind::F32, batch * t.dim());
    let weight = s.input(Kind::F32, t.count());
    let bias = s.input(Kind::F32, t.scalars);
    let mean = s.input(Kind::F64, t.scalars);
    let variance = s.input(Kind::F64, t.count());
    let out = s.output(Kind::F32, batch * t.dim());
    let table = s.ints(&t.feature_of);
    let mut args = vec![x, weight, bias, mean, variance, out, table];
    args.extend(ints([t.scalars, batch, t.dim()]));
    let grid = t.numbers(batch);
    s.launch("batch_norm", "bn_apply", grid, [256, 1, 1], 0, args);
    s
}

/// Inputs x, weight, mean and variance (f64), gradient of the result; outputs gradients of x,
/// weight and bias.
pub fn backward(t: &Tables, normalization: Normalization, mode: Mode, batch: usize) -> Sequence {
    let mut s = Sequence::default();
    let x = s.input(Kind::F32, batch * t.dim());
    let weight = s.input(Kind::F32, t.count());
    let mean = s.input(Kind::F64, t.scalars);
    let variance = s.input(Kind::F64, t.count());
    let g = s.input(Kind::F32, batch * t.dim());
    let gx = s.output(Kind::F32, batch * t.dim());
    let gweight = s.output(Kind::F32, t.count());
    let gbias = s.output(Kind::F32, t.scalars);
    let (table, feature_of) = (s.ints(&t.features), s.ints(&t.feature_of));
    let grid = t.sums(batch);
    let partial = s.scratch(Kind::F64, grid[1] * 2 * t.count());
    let pull = s.scratch(Kind::F32, 2 * t.count());

    let mut args = vec![x, g, mean, variance, partial, table];
    args.extend(ints([t.scalars, t.count(), batch, t.dim()]));
    s.launch("batch_norm", "bn_dots", grid, [32, 8, 1], 0, args);

    let mut args = vec![partial, gweight, gbias, pull, table];
    let train = usize::from(mode == Mode::Train);
    args.extend(ints([
        t.scalars,
        t.count(),
        grid[1],
        batch,
        by_sum(normalization),
        train,
    ]));
    let grid = [t.count().div_ceil(128), 1, 1];
    s.launch("batch_norm", "bn_gradients", grid, [128, 1, 1], 0, args);

    let mut args = vec![x, g, weight, mean, variance, pull, gx, feature_of];
    args.extend(ints([t.scalars, t.count(), batch, t.dim()]));
    let grid = t.numbers(batch);
    s.launch("batch_norm", "bn_unapply", grid, [256, 1, 1], 0, args);
    s
}
