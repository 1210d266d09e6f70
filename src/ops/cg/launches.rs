//! The op on a GPU.

use super::plan::{Coefficient, NORM_EPS, Plan};
use crate::ops::device::{
    Arg, Kind, Sequence, TILE_COLUMNS, TILE_ROWS, ints, row_tiles, sum_parts,
};
use crate::so3::irreps::rows;
use candle_core::{Result, bail};
use std::sync::Arc;

/// Channels of a block of `cg_input`.
const CHANNELS: usize = 64;
/// Orders that `cg_input` multiplies at a time.
const ORDERS: usize = 8;
/// Samples whose weight gradients one block of `cg_weights` sums.
const SAMPLES: usize = 64;
/// Blocks of `cg_input` to aim at: some for each processor of a large device.
const BLOCKS: usize = 256;
/// Shared memory that leaves room for a second block, and the most that a block may have.
const SHARED: (usize, usize) = (100 << 10, 163 << 10);

/// A plan as the kernels read it (`kernels/cg.cuh`).
pub struct Tables {
    degrees: Arc<[i32]>,
    paths: Arc<[i32]>,
    orders: Arc<[i32]>,
    terms: Arc<[i32]>,
    /// Whether each pair of each degree has a path.
    alive: Arc<[i32]>,
    /// Degrees of each split of `cg_input`, for one split, two, and so on.
    splits: Vec<Arc<[i32]>>,
    lmax_in: usize,
    lmax: usize,
    channels: usize,
    columns: usize,
    weights: usize,
    /// All pairs of the scalars.
    scalar_pairs: usize,
    /// All pairs of the degree that has most.
    most_pairs: usize,
}

impl Tables {
    pub fn new(plan: &Plan) -> Self {
        let (mut degrees, mut paths, mut orders, mut terms) = (vec![], vec![], vec![], vec![]);
        let (mut alive, mut costs) = (vec![], vec![]);
        let row_of = |start: u32| start / plan.padded() as u32;
        for d in &plan.degrees {
            let first = paths.len() / 4;
            let pairs = alive.len();
            alive.resize(pairs + d.pairs, 0);
            for path in &d.paths {
                alive[pairs + path.pair] = 1;
                let begin = terms.len() / 2;
                let row = orders.len() as i32;
                orders.extend(path.orders.iter().map(|o| (begin + o.start) as i32));
                orders.push((begin + path.terms.len()) as i32);
                let mut add = |(first, second): (u32, u32), order: u32, c: Coefficient| {
                    let packed = row_of(first) | row_of(second) << 8 | order << 16;
                    terms.extend([packed as i32, c.single.to_bits() as i32]);
                };
                for (order, range) in path.orders.iter().enumerate() {
                    for t in &path.terms[range.clone()] {
                        add((t.first, t.second), order as u32, t.coefficient);
                    }
                }
                for p in &path.products {
                    for pull in &path.pulls[p.uses.clone()] {
                        add((p.first, p.second), pull.order, pull.coefficient);
                    }
                }
                let weights = d.weights + path.pair * plan.channels * plan.out_channels;
                let middle = (begin + path.terms.len()) as i32;
                paths.extend([weights as i32, row, middle, terms.len() as i32 / 2]);
            }
            let numbers = [first, paths.len() / 4, d.weights, d.pairs];
            degrees.extend(numbers.map(|v| v as i32));
            costs.push(d.paths.iter().map(|p| p.terms.len()).sum());
        }
        Self {
            degrees: degrees.into(),
            paths: paths.into(),
            orders: orders.into(),
            terms: terms.into(),
            alive: alive.into(),
            splits: (1..=costs.len()).map(|n| split(&costs, n)).collect(),
            lmax_in: plan.input.lmax(),
            lmax: plan.output.lmax(),
            channels: plan.channels,
            columns: plan.out_channels,
            weights: plan.weight_len(),
            scalar_pairs: plan.degrees[0].pairs,
            most_pairs: plan.degrees.iter().map(|d| d.pairs).max().unwrap_or(0),
        }
    }

    fn dims(&self) -> (usize, usize) {
        let (a, b) = (rows(self.lmax_in), rows(self.lmax));
        (a * self.channels, b * self.columns)
    }

    fn tables(&self, s: &mut Sequence) -> [Arg; 4] {
        [&self.degrees, &self.paths, &self.orders, &self.terms].map(|t| s.ints(t))
    }

    /// Samples of a block of `cg_input`, and its shared memory.
    fn input_block(&self) -> Result<(usize, usize)> {
        let most = 2 * self.lmax + 1;
        let each =
            self.columns * most.next_multiple_of(ORDERS) + (rows(self.lmax_in) + most) * CHANNELS;
        let bytes = |samples: usize| 4 * (samples * each + self.columns * (CHANNELS + 1));
        let samples = [4, 3, 2].into_iter().find(|&n| bytes(n) <= SHARED.0);
        let samples = samples.unwrap_or(1);
        if bytes(samples) > SHARED.1 {
            bail!(
                "a block to {} channels up to degree {} needs {} bytes of a GPU's shared memory, \
                 of which there are {}",
                self.columns,
                self.lmax,
                bytes(samples),
                SHARED.1
            )
        }
        Ok((samples, bytes(samples)))
    }
}

/// Bounds of `n` groups of neighbouring degrees of about equal cost, none empty.
fn split(costs: &[usize], n: usize) -> Arc<[i32]> {
    let total: usize = costs.iter().sum();
    let mut bounds = vec![0];
    let mut sum = 0;
    for (l, cost) in costs.iter().enumerate() {
        let (groups, rest) = (n - bounds.len(), costs.len() - l);
        let full = sum * n >= total * bounds.len();
        if groups > 0 && l > bounds[bounds.len() - 1] as usize && (full || rest == groups) {
            bounds.push(l as i32);
        }
        sum += cost;
    }
    bounds.push(costs.len() as i32);
    bounds.into()
}

fn column_sums(s: &mut Sequence, t: &Tables, weights: Arg) -> Arg {
    let sums = s.scratch(Kind::F32, t.columns);
    let mut args = vec![weights, sums];
    args.extend(ints([t.scalar_pairs * t.channels, t.columns]));
    let grid = [t.columns.div_ceil(64), 1, 1];
    s.launch("cg", "cg_column_sums", grid, [64, 4, 1], 0, args);
    sums
}

/// Inputs h, weights, norm; output of the step.
pub fn forward(t: &Tables, batch: usize) -> Sequence {
    let (dim, out_dim) = t.dims();
    let mut s = Sequence::default();
    let h = s.input(Kind::F32, batch * dim);
    let weights = s.input(Kind::F32, t.weights);
    let norm = s.input(Kind::F32, t.lmax + 2);
    let out = s.output(Kind::F32, batch * out_dim);
    let squares = s.scratch(Kind::F32, batch * rows(t.lmax));
    let sums = column_sums(&mut s, t, weights);

    let mut args = vec![h, weights, out, squares];
    args.extend(t.tables(&mut s));
    args.extend(ints([t.lmax, t.channels, t.columns, batch, dim, out_dim]));
    let grid = [
        row_tiles(t.lmax, batch),
        t.columns.div_ceil(TILE_COLUMNS),
        1,
    ];
    s.launch("cg", "cg_forward", grid, [128, 1, 1], 0, args);

    let mut args = vec![out, squares, norm, sums];
    args.extend(ints([t.lmax, t.columns]));
    args.push(Arg::F32(NORM_EPS as f32));
    s.launch("cg", "cg_finish", [batch, 1, 1], [128, 1, 1], 0, args);
    s
}

/// Inputs h, weights, norm, output, gradient of the output; outputs gradients of h, weights and
/// norm.
///
/// # Errors
/// A step too large for a GPU's shared memory.
pub fn backward(t: &Tables, batch: usize) -> Result<Sequence> {
    let (dim, out_dim) = t.dims();
    let mut s = Sequence::default();
    let h = s.input(Kind::F32, batch * dim);
    let weights = s.input(Kind::F32, t.weights);
    let norm = s.input(Kind::F32, t.lmax + 2);
    let out = s.input(Kind::F32, batch * out_dim);
    let g = s.input(Kind::F32, batch * out_dim);
    let gh = s.output(Kind::F32, batch * dim);
    let gweights = s.output(Kind::F32, t.weights);
    let gnorm = s.output(Kind::F32, t.lmax + 2);
    let tables = t.tables(&mut s);
    let inverse = s.scratch(Kind::F32, batch);
    let pull = s.scratch(Kind::F32, batch);
    let sums = column_sums(&mut s, t, weights);

    let mut args = vec![h, norm, out, g, sums, inverse, pull];
    args.extend(tables);
    args.extend(ints([t.lmax, t.channels, t.columns, dim, out_dim]));
    args.push(Arg::F32(NORM_EPS as f32));
    let one = [batch, 1, 1];
    s.launch("cg_backward", "cg_norms", one, [256, 1, 1], 0, args);

    let (samples, shared) = t.input_block()?;
    let (tiles, width) = (batch.div_ceil(samples), t.channels.div_ceil(CHANNELS));
    let splits = (BLOCKS / (tiles * width).max(1)).clamp(1, t.splits.len());
    let parts = match splits {
        1 => gh,
        n => s.scratch(Kind::F32, n * batch * dim),
    };
    let bounds = s.ints(&t.splits[splits - 1]);
    let mut args = vec![h, weights, norm, g, inverse, pull, parts, bounds];
    args.extend(tables);
    args.extend(ints([
        t.lmax_in, t.lmax, t.channels, t.columns, batch, dim, out_dim,
    ]));
    let (grid, block) = ([tiles, splits, width], [32, samples, 1]);
    s.launch("cg_backward", "cg_input", grid, block, shared, args);
    if splits > 1 {
        sum_parts(&mut s, parts, gh, splits, batch * dim);
    }
    weight_gradients(
        &mut s,
        t,
        batch,
        tables,
        [h, weights, norm, g, inverse, sums, gweights, gnorm],
    );
    Ok(s)
}

fn weight_gradients(
    s: &mut Sequence,
    t: &Tables,
    batch: usize,
    tables: [Arg; 4],
    [h, weights, norm, g, inverse, sums, gweights, gnorm]: [Arg; 8],
) {
    let (dim, out_dim) = t.dims();
    let count = batch.div_ceil(SAMPLES);
    let parts = s.scratch(Kind::F32, count * t.weights);
    let mut args = vec![h, g, inverse, parts];
    args.extend(tables);
    args.extend(ints([
        t.channels, t.columns, batch, SAMPLES, dim, out_dim, t.weights,
    ]));
    let tiles = t.channels.div_ceil(TILE_ROWS) * t.columns.div_ceil(TILE_COLUMNS);
    let grid = [t.paths.len() / 4, tiles, count];
    s.launch("cg_backward", "cg_weights", grid, [128, 1, 1], 0, args);

    let column = s.scratch(Kind::F32, t.columns);
    let mut args = vec![g, column];
    args.extend(ints([t.columns, batch, out_dim]));
    let grid = [t.columns.div_ceil(32), 1, 1];
    s.launch("cg_backward", "cg_scalars", grid, [32, 8, 1], 0, args);

    let blocks = (t.most_pairs * t.channels * t.columns).div_ceil(1024);
    let dots = s.scratch(Kind::F64, (t.lmax + 1) * blocks);
    let alive = s.ints(&t.alive);
    let mut args = vec![
        parts, weights, norm, column, gweights, dots, tables[0], alive,
    ];
    args.extend(ints([t.lmax, t.channels, t.columns, count, t.weights]));
    let grid = [blocks, t.lmax + 1, 1];
    s.launch(
        "cg_backward",
        "cg_finish_weights",
        grid,
        [256, 1, 1],
        0,
        args,
    );

    let mut args = vec![dots, sums, column, gnorm];
    args.extend(ints([t.lmax, t.columns, blocks]));
    let grid = [t.lmax + 2, 1, 1];
    s.launch("cg_backward", "cg_finish_norm", grid, [32, 1, 1], 0, args);
}
