//! Which products a Clebsch-Gordan step computes, and where its parameters are.

use crate::ops::batch_norm::{Normalization, features};
use crate::so3::irreps::Irreps;
use crate::so3::paths::{Rule, pairs};
use crate::so3::wigner::w3j;
use std::ops::Range;

/// Added to the squared norm of a signal before its root.
pub const NORM_EPS: f64 = 1e-8;

/// Coefficients smaller than this are rounding noise of a zero.
const ZERO: f64 = 1e-12;

/// Channels in a vector.
pub(super) const LANES: usize = 16;

/// Samples whose products are one matrix.
pub(super) const BLOCK: usize = 16;

/// Bytes of the product that are in work at a time (single precision): with its gradient, the
/// input and the input's gradient they fit a second-level cache of 1 MB.
const CHUNK: usize = 160 << 10;

/// `coefficient * h[first] * h[second]`, where the rows `l*l + l + m` of the padded input start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub first: u32,
    pub second: u32,
    pub coefficient: Coefficient,
}

/// A coefficient in both precisions, so that kernels need not convert it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coefficient {
    pub single: f32,
    pub double: f64,
}

/// A product `h[first] * h[second]` and where it goes: `pulls[uses]`.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub first: u32,
    pub second: u32,
    pub uses: Range<usize>,
}

/// One use of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull {
    /// Order m3.
    pub order: u32,
    pub coefficient: Coefficient,
}

/// A pair (l1, l2) coupled to l3 that is not identically zero.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Number of the pair among all pairs of its l3, dead ones counted: row
    /// `pair * channels + c` of the weights.
    pub pair: usize,
    /// Terms of order m3 are `terms[orders[m3]]`.
    pub orders: Vec<Range<usize>>,
    pub terms: Vec<Term>,
    /// The same terms by product, those of one first row together.
    pub products: Vec<Product>,
    pub pulls: Vec<Pull>,
}

/// Everything of one output degree.
#[derive(Debug, Clone)]
pub(super) struct Degree {
    pub l: usize,
    pub paths: Vec<Path>,
    /// Live paths whose weights are neighbours and whose products are in work together.
    pub runs: Vec<Range<usize>>,
    /// All pairs, dead ones included.
    pub pairs: usize,
    /// First weight of this degree among the weights.
    pub weights: usize,
}

impl Degree {
    /// Number of orders.
    pub fn orders(&self) -> usize {
        2 * self.l + 1
    }
}

/// Features with equal channels in every degree.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub lmax: usize,
    pub channels: usize,
}

impl Size {
    pub const fn new(lmax: usize, channels: usize) -> Self {
        Self { lmax, channels }
    }
}

/// Numbers that input and output of a step share, where they have a skip connection.
pub(super) struct Common {
    /// First number in a row of the input.
    pub input: usize,
    /// First number in a row of the output.
    pub output: usize,
    pub len: usize,
}

/// The products of one Clebsch-Gordan step with channel-wise pairs, and what surrounds them.
#[derive(Debug, Clone)]
pub struct Plan {
    pub input: Irreps,
    pub output: Irreps,
    /// Batch norm of the input.
    pub batch_norm: Option<Normalization>,
    /// Whether the input is added to the output, on the degrees and channels that both have.
    pub skip: bool,
    pub(super) channels: usize,
    pub(super) out_channels: usize,
    pub(super) degrees: Vec<Degree>,
    weight_len: usize,
}

/// The parts of a step's flat parameters.
pub(super) struct Parts<S> {
    /// Batch norm: a weight per feature, a bias per scalar channel.
    pub gain: S,
    pub shift: S,
    /// Signal norm: `[w_0, .., w_L, b]`.
    pub norm: S,
    pub weights: S,
}

impl Plan {
    /// A step between features of these sizes; the degrees of `to` are at most twice those of
    /// `from`. `symmetric` drops the pairs (l2, l1) that repeat (l1, l2).
    pub fn new(rule: Rule, symmetric: bool, from: Size, to: Size) -> Self {
        let (l_in, channels) = (from.lmax, from.channels);
        let (l_out, out_channels) = (to.lmax, to.channels);
        let mut weight_len = 0;
        let mut degrees = Vec::new();
        for (l, list) in pairs(rule, symmetric, l_in, l_out).into_iter().enumerate() {
            let paths: Vec<Path> = list
                .iter()
                .enumerate()
                .filter_map(|(pair, &(l1, l2))| path(pair, (l1, l2, l), pad(channels)))
                .collect();
            let bytes = (2 * l + 1) * channels * BLOCK * size_of::<f32>();
            degrees.push(Degree {
                l,
                runs: runs(&paths, (CHUNK / bytes).max(1)),
                paths,
                pairs: list.len(),
                weights: weight_len,
            });
            weight_len += list.len() * channels * out_channels;
        }
        Self {
            input: Irreps::uniform(l_in, channels),
            output: Irreps::uniform(degrees.len() - 1, out_channels),
            batch_norm: None,
            skip: false,
            channels,
            out_channels,
            degrees,
            weight_len,
        }
    }

    /// The step after a batch norm of its input.
    pub fn with_batch_norm(self, normalization: Normalization) -> Self {
        Self {
            batch_norm: Some(normalization),
            ..self
        }
    }

    /// The step with its input added to the output.
    pub fn with_skip(self) -> Self {
        Self { skip: true, ..self }
    }

    /// Length of a row of the input with zeros up to whole vectors.
    pub(super) fn padded(&self) -> usize {
        pad(self.channels)
    }

    /// Length of a row of the product of a run, with room for a last vector's surplus.
    pub(super) fn stride(&self, run: &Range<usize>) -> usize {
        run.len() * self.channels + LANES
    }

    /// Length of the weights alone.
    pub(super) fn weight_len(&self) -> usize {
        self.weight_len
    }

    /// Length of the flat parameters: weights and biases of the batch norm (if there is one),
    /// `[w_0, .., w_L, b]` of the signal norm, `W_l3` row-major `[pairs x channels, out channels]`
    /// with `l3` ascending.
    pub fn parameter_len(&self) -> usize {
        let [gain, shift, norm] = self.lengths();
        gain + shift + norm + self.weight_len
    }

    /// Lengths of the parameters before the weights.
    pub(super) fn lengths(&self) -> [usize; 3] {
        let (gain, shift) = match self.batch_norm {
            Some(_) => (features(&self.input), self.channels),
            None => (0, 0),
        };
        [gain, shift, self.degrees.len() + 1]
    }

    /// Cuts the flat parameters into their parts.
    pub(super) fn split<'a, T>(&self, parameters: &'a [T]) -> Parts<&'a [T]> {
        let [gain, shift, norm] = self.lengths();
        let (gain, rest) = parameters.split_at(gain);
        let (shift, rest) = rest.split_at(shift);
        let (norm, weights) = rest.split_at(norm);
        Parts {
            gain,
            shift,
            norm,
            weights,
        }
    }

    /// [`Plan::split`] for writing.
    pub(super) fn split_mut<'a, T>(&self, parameters: &'a mut [T]) -> Parts<&'a mut [T]> {
        let [gain, shift, norm] = self.lengths();
        let (gain, rest) = parameters.split_at_mut(gain);
        let (shift, rest) = rest.split_at_mut(shift);
        let (norm, weights) = rest.split_at_mut(norm);
        Parts {
            gain,
            shift,
            norm,
            weights,
        }
    }

    /// Where a path's weights are among the weights.
    pub(super) fn weights_of(&self, d: &Degree, path: &Path) -> Range<usize> {
        let len = self.channels * self.out_channels;
        let start = d.weights + path.pair * len;
        start..start + len
    }

    /// Runs of channels that input and output share.
    pub(super) fn common(&self) -> impl Iterator<Item = Common> {
        let (ci, co) = (self.channels, self.out_channels);
        let rows = crate::so3::irreps::rows(self.input.lmax().min(self.output.lmax()));
        // Rows of equal length follow each other on both sides.
        let (runs, len) = match (self.skip, ci == co) {
            (false, _) => (0, 0),
            (true, true) => (1, rows * ci),
            (true, false) => (rows, ci.min(co)),
        };
        (0..runs).map(move |row| Common {
            input: row * ci,
            output: row * co,
            len,
        })
    }

    /// Floating-point operations (multiply and add counted as two) of one sample's forward pass.
    pub fn flops(&self) -> usize {
        let per_degree = |d: &Degree| {
            let terms: usize = d.paths.iter().map(|p| p.terms.len()).sum();
            let product = 3 * terms * self.channels;
            product + 2 * d.paths.len() * self.channels * self.out_channels * d.orders()
        };
        self.degrees.iter().map(per_degree).sum()
    }
}

/// `channels` up to whole vectors.
fn pad(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Neighbouring paths, at most `longest` together.
fn runs(paths: &[Path], longest: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.len() < longest && paths[i - 1].pair + 1 == path.pair => {
                run.end = i + 1;
            }
            _ => runs.push(i..i + 1),
        }
    }
    runs
}

/// The nonzero terms of a pair, equal products merged, for rows of `row` values; `None` if all
/// cancel.
fn path(pair: usize, (l1, l2, l3): (usize, usize, usize), row: usize) -> Option<Path> {
    let c = w3j(l1, l2, l3);
    let (n1, n2, n3) = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1);
    let at = |m1: usize, m2: usize, m3: usize| c[(m1 * n2 + m2) * n3 + m3];
    // For l1 = l2 the products (m1, m2) and (m2, m1) are the same number.
    let coefficient = |m1: usize, m2: usize, m3: usize| {
        let twin = if l1 == l2 && m1 != m2 {
            at(m2, m1, m3)
        } else {
            0.0
        };
        let c = at(m1, m2, m3) + twin;
        (c.abs() > ZERO).then_some(Coefficient {
            single: c as f32,
            double: c,
        })
    };
    let rows: Vec<(usize, usize)> = (0..n1)
        .flat_map(|m1| (if l1 == l2 { m1 } else { 0 }..n2).map(move |m2| (m1, m2)))
        .collect();
    let place = |m1: usize, m2: usize| {
        let start = |l: usize, m: usize| ((l * l + m) * row) as u32;
        (start(l1, m1), start(l2, m2))
    };
    let (mut terms, mut orders) = (Vec::new(), Vec::new());
    for m3 in 0..n3 {
        let start = terms.len();
        terms.extend(rows.iter().filter_map(|&(m1, m2)| {
            let (first, second) = place(m1, m2);
            coefficient(m1, m2, m3).map(|coefficient| Term {
                first,
                second,
                coefficient,
            })
        }));
        orders.push(start..terms.len());
    }
    let (mut products, mut pulls) = (Vec::new(), Vec::new());
    for &(m1, m2) in &rows {
        let start = pulls.len();
        pulls.extend((0..n3).filter_map(|m3| {
            coefficient(m1, m2, m3).map(|coefficient| Pull {
                order: m3 as u32,
                coefficient,
            })
        }));
        let (first, second) = place(m1, m2);
        if pulls.len() > start {
            products.push(Product {
                first,
                second,
                uses: start..pulls.len(),
            });
        }
    }
    (!terms.is_empty()).then_some(Path {
        pair,
        orders,
        terms,
        products,
        pulls,
    })
}
