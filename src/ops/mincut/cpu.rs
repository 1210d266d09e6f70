//! Min-cut pooling on the processor, as one operation.

use super::edges::{EPS, Edges};
use crate::ops::cpu::{Matrix, MatrixMut, Real};
use candle_core::{CpuStorage, Result, bail};
use std::sync::OnceLock;

/// The pooling of `n` nodes to `k` clusters.
pub(super) struct Pool {
    pub n: usize,
    pub k: usize,
    /// The graph, unless the adjacency is an argument.
    pub edges: Option<Edges>,
    /// R and O, kept for the backward pass.
    pub products: OnceLock<[CpuStorage; 2]>,
}

/// `a^T b` of matrices `[n, k]`. Of a symmetric product the lower part is copied from the upper.
fn inner<T: Real>(a: &[T], b: &[T], [n, k]: [usize; 2], symmetric: bool) -> Vec<T> {
    let mut out = vec![T::zero(); k * k];
    if !symmetric {
        MatrixMut::rows(&mut out, k).set([k, k, n], Matrix::turned(a, k), Matrix::rows(b, k));
        return out;
    }
    let step = k.div_ceil(4).max(1);
    for from in (0..k).step_by(step) {
        let dims = [step.min(k - from), k - from, n];
        let to = MatrixMut::rows(&mut out[from * k + from..], k);
        to.set(
            dims,
            Matrix::turned(&a[from..], k),
            Matrix::rows(&b[from..], k),
        );
    }
    for i in 0..k {
        for j in 0..i {
            out[i * k + j] = out[j * k + i];
        }
    }
    out
}

/// Sum in f64.
fn sum<T: Real>(values: impl Iterator<Item = T>) -> f64 {
    values.map(|v| v.to_f64()).sum()
}

/// Sum of squares in f64, row by row in the precision of the rows.
fn squares<T: Real>(values: &[T], width: usize) -> impl Iterator<Item = T> + '_ {
    let rows = values.chunks_exact(width);
    rows.map(|row| row.iter().map(|&v| v * v).sum())
}

/// Scalars of both directions.
struct Scalars {
    /// `tr R`, `sum_i d_i |s_i|^2`.
    trace: f64,
    all: f64,
    /// `|O|`.
    norm: f64,
}

impl Scalars {
    fn new<T: Real>(s: &[T], degrees: &[T], raw: &[T], overlap: &[T], k: usize) -> Self {
        let weighted = squares(s, k).zip(degrees).map(|(q, &d)| q * d);
        Self {
            trace: sum((0..k).map(|i| raw[i * k + i])),
            all: sum(weighted),
            norm: sum(squares(overlap, k)).sqrt(),
        }
    }

    /// `O / |O| - I / sqrt(k)` and its norm.
    fn apart<T: Real>(&self, overlap: &[T], k: usize) -> (Vec<T>, f64) {
        let scale = T::from_f64(1.0 / self.norm);
        let ideal = T::from_f64(1.0 / (k as f64).sqrt());
        let mut apart: Vec<T> = overlap.iter().map(|&o| o * scale).collect();
        for i in 0..k {
            apart[i * k + i] -= ideal;
        }
        let norm = sum(squares(&apart, k)).sqrt();
        (apart, norm)
    }
}

/// Roots of the row sums of R off its diagonal.
fn roots<T: Real>(raw: &[T], k: usize) -> Vec<T> {
    let rows = raw.chunks_exact(k).enumerate();
    rows.map(|(i, row)| {
        let (before, after) = (&row[..i], &row[i + 1..]);
        before.iter().chain(after).copied().sum::<T>().root()
    })
    .collect()
}

impl Pool {
    /// `A s`, `A^T s` (unless A is symmetric) and the row sums of A.
    fn adjacent<T: Real>(&self, s: &[T], a: Option<&[T]>, back: bool) -> Adjacent<T> {
        let (n, k) = (self.n, self.k);
        let product = |a: Matrix<T>| {
            let mut out = vec![T::zero(); n * k];
            MatrixMut::rows(&mut out, k).set([n, k, n], a, Matrix::rows(s, k));
            out
        };
        match (&self.edges, a) {
            (Some(edges), _) => Adjacent {
                by_rows: edges.matrix.rows.apply(s, k),
                by_columns: (back && !edges.symmetric).then(|| edges.matrix.columns.apply(s, k)),
                degrees: edges.degrees.iter().map(|&d| T::from_f64(d)).collect(),
            },
            (None, a) => {
                let a = a.unwrap_or_default();
                Adjacent {
                    by_rows: product(Matrix::rows(a, n)),
                    by_columns: back.then(|| product(Matrix::turned(a, n))),
                    degrees: a
                        .chunks_exact(n)
                        .map(|row| row.iter().copied().sum())
                        .collect(),
                }
            }
        }
    }

    /// The adjacency of the clusters, min-cut and orthogonality, in one vector.
    pub fn pool<T: Real>(&self, s: &[T], a: Option<&[T]>) -> Vec<T> {
        let (n, k) = (self.n, self.k);
        let adjacent = self.adjacent(s, a, false);
        let symmetric = self.edges.as_ref().is_some_and(|e| e.symmetric);
        let raw = inner(s, &adjacent.by_rows, [n, k], symmetric);
        let overlap = inner(s, s, [n, k], true);
        let scalars = Scalars::new(s, &adjacent.degrees, &raw, &overlap, k);
        let root: Vec<T> = roots(&raw, k)
            .into_iter()
            .map(|r| r + T::from_f64(EPS))
            .collect();
        let mut out = Vec::with_capacity(k * k + 2);
        for (i, row) in raw.chunks_exact(k).enumerate() {
            out.extend(row.iter().zip(&root).map(|(&r, &c)| r / root[i] / c));
            out[i * k + i] = T::zero();
        }
        out.push(T::from_f64(-scalars.trace / scalars.all));
        out.push(T::from_f64(scalars.apart(&overlap, k).1));
        let products = [raw, overlap].map(T::to_cpu_storage_owned);
        // A second forward pass of one operation makes the same.
        let _ = self.products.set(products);
        out
    }

    /// Gradients of `s` and of a dense adjacency.
    pub fn unpool<T: Real>(
        &self,
        s: &[T],
        a: Option<&[T]>,
        out: &[T],
        grad: &[T],
    ) -> Result<(Vec<T>, Option<Vec<T>>)> {
        let (n, k) = (self.n, self.k);
        let Some([raw, overlap]) = self.products.get() else {
            bail!("the backward pass of a min-cut pooling came before the forward pass")
        };
        let (raw, overlap) = (
            T::cpu_storage_as_slice(raw)?,
            T::cpu_storage_as_slice(overlap)?,
        );
        let adjacent = self.adjacent(s, a, true);
        let scalars = Scalars::new(s, &adjacent.degrees, raw, overlap, k);
        let (gcut, gapart) = (grad[k * k].to_f64(), grad[k * k + 1].to_f64());

        let graw = unnormalise(raw, &out[..k * k], &grad[..k * k], -gcut / scalars.all);
        let gall = T::from_f64(gcut * scalars.trace / scalars.all.powi(2));
        let goverlap = unapart(overlap, &scalars, gapart, k);

        let mut gs = vec![T::zero(); n * k];
        MatrixMut::rows(&mut gs, k).set([n, k, k], Matrix::rows(s, k), Matrix::rows(&goverlap, k));
        match &adjacent.by_columns {
            None => {
                let both = with_transpose(&graw, k);
                let left = Matrix::rows(&adjacent.by_rows, k);
                MatrixMut::rows(&mut gs, k).add([n, k, k], left, Matrix::rows(&both, k));
            }
            Some(by_columns) => {
                let left = Matrix::rows(&adjacent.by_rows, k);
                MatrixMut::rows(&mut gs, k).add([n, k, k], left, Matrix::turned(&graw, k));
                let left = Matrix::rows(by_columns, k);
                MatrixMut::rows(&mut gs, k).add([n, k, k], left, Matrix::rows(&graw, k));
            }
        }
        let two = T::one() + T::one();
        let all_rows = gs.chunks_exact_mut(k).zip(s.chunks_exact(k));
        for ((gs, s), &d) in all_rows.zip(&adjacent.degrees) {
            let scale = two * gall * d;
            for (g, &s) in gs.iter_mut().zip(s) {
                *g += scale * s;
            }
        }
        let ga = a.map(|_| {
            let mut half = vec![T::zero(); n * k];
            let graw = Matrix::rows(&graw, k);
            MatrixMut::rows(&mut half, k).set([n, k, k], Matrix::rows(s, k), graw);
            let mut ga = vec![T::zero(); n * n];
            let half = Matrix::rows(&half, k);
            MatrixMut::rows(&mut ga, n).set([n, n, k], half, Matrix::turned(s, k));
            for (row, square) in ga.chunks_exact_mut(n).zip(squares(s, k)) {
                for g in row {
                    *g += gall * square;
                }
            }
            ga
        });
        Ok((gs, ga))
    }
}

/// See [`Pool::adjacent`].
struct Adjacent<T> {
    by_rows: Vec<T>,
    by_columns: Option<Vec<T>>,
    degrees: Vec<T>,
}

/// `g + g^T`.
fn with_transpose<T: Real>(g: &[T], k: usize) -> Vec<T> {
    let mut both = Vec::with_capacity(k * k);
    for i in 0..k {
        both.extend((0..k).map(|j| g[i * k + j] + g[j * k + i]));
    }
    both
}

/// Gradient of R from that of the normalised adjacency `out`; `trace` is that of the diagonal.
fn unnormalise<T: Real>(raw: &[T], out: &[T], grad: &[T], trace: f64) -> Vec<T> {
    let root = roots_of(raw);
    let k = root.len();
    let eps = T::from_f64(EPS);
    // Of the roots: each divides a row and a column.
    let mut groot = vec![T::zero(); k];
    for (i, (out, grad)) in out.chunks_exact(k).zip(grad.chunks_exact(k)).enumerate() {
        let mut own = T::zero();
        for ((&o, &g), column) in out.iter().zip(grad).zip(&mut groot) {
            own += o * g;
            *column -= o * g;
        }
        groot[i] -= own;
    }
    let half = T::from_f64(0.5);
    let mut graw = Vec::with_capacity(k * k);
    for (i, grad) in grad.chunks_exact(k).enumerate() {
        let own = root[i] + eps;
        let shift = half * groot[i] / own / root[i];
        graw.extend(
            grad.iter()
                .zip(&root)
                .map(|(&g, &c)| g / own / (c + eps) + shift),
        );
        graw[i * k + i] = T::from_f64(trace);
    }
    graw
}

fn roots_of<T: Real>(raw: &[T]) -> Vec<T> {
    roots(raw, raw.len().isqrt())
}

/// Gradient of O plus its transpose (O is symmetric), from that of the orthogonality.
fn unapart<T: Real>(overlap: &[T], scalars: &Scalars, grad: f64, k: usize) -> Vec<T> {
    let (mut apart, norm) = scalars.apart(overlap, k);
    let scale = grad / norm;
    let along = sum(apart.iter().zip(overlap).map(|(&a, &o)| a * o)) * scale;
    let own = T::from_f64(2.0 * scale / scalars.norm);
    let other = T::from_f64(2.0 * along / scalars.norm.powi(3));
    for (a, &o) in apart.iter_mut().zip(overlap) {
        *a = *a * own - o * other;
    }
    apart
}
