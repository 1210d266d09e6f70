//! Min-cut pooling of a graph by a soft assignment `s` `[n, k]`, with what it costs:
//! ```text
//! R = s^T A s,  mincut = -tr(R) / sum_i d_i |s_i|^2,  d the row sums of A
//! O = s^T s,    orthogonality = | O / |O| - I / sqrt(k) |
//! adjacency[i, j] = R'[i, j] / (r_i r_j),  R' = R off its diagonal,  r the roots of its row sums
//! ```
//! One operation on the CPU: R and O are kept for the way back, nothing else.

mod cpu;
mod edges;

pub use edges::Edges;

use super::adapter::apply_once;
use super::cpu::Real;
use super::op::{Array, Backward, Once, Op};
use candle_core::{Result, Shape, Tensor, bail};
use cpu::Pool;
use edges::EPS;
use std::sync::OnceLock;

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
///
/// # Errors
/// Other shapes or types.
pub fn pool(s: &Tensor, nodes: Adjacency) -> Result<Pooled> {
    if !s.device().is_cpu() {
        return plain(s, nodes);
    }
    let (n, k) = s.dims2()?;
    let (edges, clusters) = match nodes {
        Adjacency::Graph(edges) => (Some(edges.clone()), None),
        Adjacency::Clusters(a) => (None, Some(a)),
    };
    let op = Pool {
        n,
        k,
        edges,
        products: OnceLock::new(),
    };
    let all = match clusters {
        None => apply_once::<Pool, 1>(op, [s])?,
        Some(a) => apply_once::<Pool, 2>(op, [s, a])?,
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

impl Pool {
    fn len(&self) -> Shape {
        (self.k * self.k + 2).into()
    }
}

impl Op<1> for Pool {
    const NAME: &'static str = "the min-cut pooling of a graph";

    fn shape(&self, _: [&Shape; 1]) -> Result<Shape> {
        Ok(self.len())
    }

    fn forward<T: Real>(&self, [s]: [Array<T>; 1]) -> Result<Vec<T>> {
        Ok(self.pool(&s, None))
    }
}

impl Once<1> for Pool {
    fn vjp<T: Real>(&self, call: Backward<T, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let [s] = call.inputs;
        let (gs, _) = self.unpool(&s, None, &call.output, &call.grad)?;
        Ok([Some(gs)])
    }
}

impl Op<2> for Pool {
    const NAME: &'static str = "the min-cut pooling of clusters";

    fn shape(&self, [_, a]: [&Shape; 2]) -> Result<Shape> {
        if a.dims2()? != (self.n, self.n) {
            bail!("an adjacency {a:?} of {} clusters", self.n);
        }
        Ok(self.len())
    }

    fn forward<T: Real>(&self, [s, a]: [Array<T>; 2]) -> Result<Vec<T>> {
        Ok(self.pool(&s, Some(&a)))
    }
}

impl Once<2> for Pool {
    fn vjp<T: Real>(&self, call: Backward<T, 2>) -> Result<[Option<Vec<T>>; 2]> {
        let [s, a] = call.inputs;
        let (gs, ga) = self.unpool(&s, Some(&a), &call.output, &call.grad)?;
        Ok([Some(gs), ga])
    }
}

#[cfg(test)]
mod tests;
