//! Min-cut pooling of a graph by a soft assignment `s` `[n, k]`, with what it costs:
//! ```text
//! R = s^T A s,  mincut = -tr(R) / sum_i d_i |s_i|^2,  d the row sums of A
//! O = s^T s,    orthogonality = | O / |O| - I / sqrt(k) |
//! adjacency[i, j] = R'[i, j] / (r_i r_j),  R' = R off its diagonal,  r the roots of its row sums
//! ```
//! One operation on the CPU: R and O are kept for the way back, nothing else.

use super::cpu::{Matrix, Real, dtype, matmul, output, slice, view};
use super::sparse::Sparse;
use crate::with_real;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::{Arc, OnceLock};

/// Keeps the degree's root away from zero, as in the published code.
const EPS: f64 = 1e-15;

/// A constant graph.
#[derive(Clone)]
pub struct Edges {
    /// `A[i, j]`.
    pub matrix: Arc<Sparse>,
    /// Row sums of A.
    pub degrees: Arc<[f64]>,
    /// Whether A equals its transpose.
    pub symmetric: bool,
}

/// Adjacency of what is pooled: a constant graph, or clusters of one, `[n, n]`.
pub enum Adjacency<'a> {
    Graph(&'a Edges),
    Clusters(&'a Tensor),
}

/// See the module.
pub struct Pooled {
    /// `[k, k]`
    pub adjacency: Tensor,
    pub mincut: Tensor,
    pub orthogonality: Tensor,
}

/// Pools by `s` `[n, k]`.
pub fn pool(s: &Tensor, nodes: Adjacency) -> Result<Pooled> {
    if !s.device().is_cpu() {
        return plain(s, nodes);
    }
    let (n, k) = s.dims2()?;
    let s = s.contiguous()?;
    let (edges, clusters) = match nodes {
        Adjacency::Graph(edges) => (Some(edges.clone()), None),
        Adjacency::Clusters(a) => (None, Some(a.contiguous()?)),
    };
    let op = Pool {
        sizes: (n, k),
        edges,
        products: OnceLock::new(),
    };
    let all = match &clusters {
        None => s.apply_op1(op)?,
        Some(a) => s.apply_op2(a, op)?,
    };
    Ok(Pooled {
        adjacency: all.narrow(0, 0, k * k)?.reshape((k, k))?,
        mincut: all.get(k * k)?,
        orthogonality: all.get(k * k + 1)?,
    })
}

/// The same by tensor operations.
fn plain(s: &Tensor, nodes: Adjacency) -> Result<Pooled> {
    let k = s.dim(1)?;
    let (adjacent, degrees) = match nodes {
        Adjacency::Graph(edges) => {
            let degrees = Tensor::new(&*edges.degrees, s.device())?.to_dtype(s.dtype())?;
            (edges.matrix.apply(s)?, degrees)
        }
        Adjacency::Clusters(a) => (a.matmul(s)?, a.sum(1)?),
    };
    let raw = s.t()?.matmul(&adjacent)?;
    let eye = Tensor::eye(k, s.dtype(), s.device())?;
    let cut = (&raw * &eye)?.sum_all()?;
    let all = (s.sqr()?.sum(1)? * degrees)?.sum_all()?;
    let mincut = (cut / all)?.neg()?;

    let overlap = s.t()?.matmul(s)?;
    let norm = overlap.sqr()?.sum_all()?.sqrt()?;
    let ideal = (&eye / (k as f64).sqrt())?;
    let apart = (overlap.broadcast_div(&norm)? - ideal)?;
    let orthogonality = apart.sqr()?.sum_all()?.sqrt()?;

    let raw = (&raw - (&raw * &eye)?)?;
    let root = (raw.sum_keepdim(1)?.sqrt()? + EPS)?;
    Ok(Pooled {
        adjacency: raw.broadcast_div(&root)?.broadcast_div(&root.t()?)?,
        mincut,
        orthogonality,
    })
}

struct Pool {
    /// n, k.
    sizes: (usize, usize),
    /// The graph, unless the adjacency is an argument.
    edges: Option<Edges>,
    /// R and O.
    products: OnceLock<[CpuStorage; 2]>,
}

/// `a^T b` of matrices `[n, k]`. Of a symmetric product the lower part is copied from the upper.
fn inner<T: Real>(a: &[T], b: &[T], (n, k): (usize, usize), symmetric: bool) -> Vec<T> {
    let mut out = vec![T::zero(); k * k];
    if !symmetric {
        matmul(
            (k, k, n),
            (&mut out, k, 1),
            Matrix::turned(a, k),
            Matrix::rows(b, k),
            false,
        );
        return out;
    }
    let step = k.div_ceil(4).max(1);
    for from in (0..k).step_by(step) {
        let dims = (step.min(k - from), k - from, n);
        let to = (&mut out[from * k + from..], k, 1);
        matmul(
            dims,
            to,
            Matrix::turned(&a[from..], k),
            Matrix::rows(&b[from..], k),
            false,
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
    fn new<T: Real>(s: &[T], degrees: &[T], (raw, overlap): (&[T], &[T]), k: usize) -> Self {
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
        let (n, k) = self.sizes;
        let product = |a: Matrix<T>| {
            let mut out = vec![T::zero(); n * k];
            matmul((n, k, n), (&mut out, k, 1), a, Matrix::rows(s, k), false);
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

    fn forward<T: Real>(&self, s: &[T], a: Option<&[T]>) -> Vec<T> {
        let (n, k) = self.sizes;
        let adjacent = self.adjacent(s, a, false);
        let symmetric = self.edges.as_ref().is_some_and(|e| e.symmetric);
        let raw = inner(s, &adjacent.by_rows, (n, k), symmetric);
        let overlap = inner(s, s, (n, k), true);
        let scalars = Scalars::new(s, &adjacent.degrees, (&raw, &overlap), k);
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
    fn backward<T: Real>(
        &self,
        s: &[T],
        a: Option<&[T]>,
        (out, grad): (&[T], &[T]),
    ) -> Result<(Vec<T>, Option<Vec<T>>)> {
        let (n, k) = self.sizes;
        let Some([raw, overlap]) = self.products.get() else {
            candle_core::bail!("the way back of a pooling that was not run")
        };
        let (raw, overlap) = (
            T::cpu_storage_as_slice(raw)?,
            T::cpu_storage_as_slice(overlap)?,
        );
        let adjacent = self.adjacent(s, a, true);
        let scalars = Scalars::new(s, &adjacent.degrees, (raw, overlap), k);
        let (gcut, gapart) = (grad[k * k].to_f64(), grad[k * k + 1].to_f64());

        let graw = unnormalise(raw, &out[..k * k], &grad[..k * k], -gcut / scalars.all);
        let gall = T::from_f64(gcut * scalars.trace / scalars.all.powi(2));
        let goverlap = unapart(overlap, &scalars, gapart, k);

        let mut gs = vec![T::zero(); n * k];
        matmul(
            (n, k, k),
            (&mut gs, k, 1),
            Matrix::rows(s, k),
            Matrix::rows(&goverlap, k),
            false,
        );
        match &adjacent.by_columns {
            None => {
                let both = with_transpose(&graw, k);
                let left = Matrix::rows(&adjacent.by_rows, k);
                matmul(
                    (n, k, k),
                    (&mut gs, k, 1),
                    left,
                    Matrix::rows(&both, k),
                    true,
                );
            }
            Some(by_columns) => {
                let left = Matrix::rows(&adjacent.by_rows, k);
                matmul(
                    (n, k, k),
                    (&mut gs, k, 1),
                    left,
                    Matrix::turned(&graw, k),
                    true,
                );
                let left = Matrix::rows(by_columns, k);
                matmul(
                    (n, k, k),
                    (&mut gs, k, 1),
                    left,
                    Matrix::rows(&graw, k),
                    true,
                );
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
            matmul(
                (n, k, k),
                (&mut half, k, 1),
                Matrix::rows(s, k),
                Matrix::rows(&graw, k),
                false,
            );
            let mut ga = vec![T::zero(); n * n];
            matmul(
                (n, n, k),
                (&mut ga, n, 1),
                Matrix::rows(&half, k),
                Matrix::turned(s, k),
                false,
            );
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

fn tensor<T: Real>(data: Vec<T>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, like.shape(), like.device())
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "mincut-pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(storage), T => {
            let out = self.forward(slice::<T>(storage, layout)?, None);
            let len = out.len();
            Ok(output(out, len))
        })
    }

    fn bwd(&self, s: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        with_real!(grad.dtype(), T => {
            let around = (&*view::<T>(out)?, &*view::<T>(&grad)?);
            let (gs, _) = self.backward::<T>(&view(s)?, None, around)?;
            Ok(Some(tensor(gs, s)?))
        })
    }
}

impl CustomOp2 for Pool {
    fn name(&self) -> &'static str {
        "mincut-pool-clusters"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let nodes = self.sizes.0;
        if l2.shape().dims2()? != (nodes, nodes) {
            candle_core::bail!("an adjacency {:?} of {nodes} clusters", l2.shape());
        }
        with_real!(dtype(s1), T => {
            let out = self.forward(slice::<T>(s1, l1)?, Some(slice(s2, l2)?));
            let len = out.len();
            Ok(output(out, len))
        })
    }

    fn bwd(
        &self,
        s: &Tensor,
        a: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        with_real!(grad.dtype(), T => {
            let around = (&*view::<T>(out)?, &*view::<T>(&grad)?);
            let (gs, ga) = self.backward::<T>(&view(s)?, Some(&view(a)?), around)?;
            let ga = ga.map(|g| tensor(g, a)).transpose()?;
            Ok((Some(tensor(gs, s)?), ga))
        })
    }
}

#[cfg(test)]
mod tests;
