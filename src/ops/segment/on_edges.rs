//! Sums, on every edge, of rows at its ends and of its own.

use super::kinds::{Kind, Row, edge};
use super::place::Place;
use super::{Incidence, contract};
use crate::for_isa;
use crate::ops::adapter::apply;
use crate::ops::cpu::Real;
use crate::ops::op::{Array, Closed, Op};
use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// The sum of `parts` `[rows, ..]`, which lie where is said, on every edge: `[edges, ..]`, up to three
/// parts in one walk.
///
/// # Errors
/// Parts that do not fit the edges or each other; none.
pub fn on_edges(edges: &Arc<Incidence>, parts: &[(Place, &Tensor)]) -> Result<Tensor> {
    fn op<const N: usize>(edges: &Arc<Incidence>, places: [Place; N]) -> OnEdges<N> {
        let edges = edges.clone();
        OnEdges { edges, places }
    }
    match *parts {
        [(Place::Edge, x)] => Ok(x.clone()),
        [(a, x)] => apply(op(edges, [a]), [x]),
        [(a, x), (b, y)] => apply(op(edges, [a, b]), [x, y]),
        [(a, x), (b, y), (c, z)] => apply(op(edges, [a, b, c]), [x, y, z]),
        [a, b, c, ref rest @ ..] => {
            let sum = on_edges(edges, &[a, b, c])?;
            on_edges(edges, &[&[(Place::Edge, &sum)], rest].concat())
        }
        [] => bail!("a sum of no parts on edges"),
    }
}

struct OnEdges<const N: usize> {
    edges: Arc<Incidence>,
    places: [Place; N],
}

for_isa!(
    /// Adds numbers.
    fn add(x: &[T], out: &mut [T]) = add_any
);

#[inline(always)]
fn add_any<T: Real, const FUSED: bool>(x: &[T], out: &mut [T]) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out += x);
}

impl<const N: usize> Op<N> for OnEdges<N> {
    const NAME: &'static str = "the sum on edges";

    fn shape(&self, inputs: [&Shape; N]) -> Result<Shape> {
        let rest = &inputs[0].dims()[1..];
        for (&place, shape) in self.places.iter().zip(inputs) {
            if shape.dims()[0] != self.edges.rows(place) || &shape.dims()[1..] != rest {
                bail!("{}: a part {shape:?} at {place:?}", Self::NAME);
            }
        }
        Ok([&[self.edges.len()], rest].concat().into())
    }

    fn forward<T: Real>(&self, inputs: [Array<T>; N]) -> Result<Vec<T>> {
        /// Numbers that one thread takes at a time, about.
        const BLOCK: usize = 4096;
        let width: usize = inputs[0].shape.dims()[1..].iter().product();
        let mut out = vec![T::zero(); self.edges.len() * width];
        if out.is_empty() {
            return Ok(out);
        }
        let rows = (BLOCK / width).max(1);
        let row = |k: usize, edge: usize| {
            let row = self.edges.row(self.places[k], edge);
            &inputs[k][row * width..][..width]
        };
        out.par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(block, out)| {
                for (i, out) in out.chunks_exact_mut(width).enumerate() {
                    let edge = block * rows + i;
                    out.copy_from_slice(row(0, edge));
                    (1..N).for_each(|k| add(row(k, edge), out));
                }
            });
        Ok(out)
    }
}

impl<const N: usize> Closed<N> for OnEdges<N> {
    fn backward(
        &self,
        _: [&Tensor; N],
        grad: &Tensor,
        wanted: [bool; N],
    ) -> Result<[Option<Tensor>; N]> {
        let row = match grad.rank() {
            1 => Row::Number,
            2 => Row::Channels,
            _ => Row::Vectors,
        };
        let mut gradients = [const { None }; N];
        for k in (0..N).filter(|&k| wanted[k]) {
            let place = self.places[k];
            gradients[k] = Some(match place {
                Place::Edge => grad.clone(),
                _ => contract(&self.edges, [(edge(row), grad)], Kind { place, row })?,
            });
        }
        Ok(gradients)
    }
}
