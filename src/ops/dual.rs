//! A value with its derivative along one direction, for losses that are made of gradients.
//!
//! Training on forces needs `dL/dw` of a loss `L(E, F)` with `F = -dE/dx`. Let `v = dL/dF` be held
//! constant; then `dL/dw = d/dw [L_E - v . dE/dx]`, and `v . dE/dx` is the derivative of the energy
//! along `v`: what comes out as the tangent of the energy when `v` goes in as the tangent of the
//! positions. So one run of the network on [`Dual`]s and one ordinary backward pass give the exact
//! gradient, and no op is ever differentiated twice (`models::graph` has the whole step).
//!
//! Every operation that a network is made of is a method here and does both parts; a value that
//! does not depend on the positions has no tangent, and what has none costs nothing. So a layer is
//! written once, and without tangents it is the plain network.
//!
//! # Why not gradients that keep their graphs
//! The other way to the same gradient ([`super::derivatives`]) needs less code here, but a switch for
//! the whole process, and every op must be closed. `benches/forces.rs` compares the two on a step
//! with losses of energies and forces: released sizes, molecules of 18 atoms, f32, processor time
//! on one thread of an AMD EPYC, memory above that of the batch.
//!
//! | network, molecules | tangents | kept graphs |
//! |---|---|---|
//! | SchNet, 16 | 0.24 s, 212 MB | 0.29 s, 1,547 MB |
//! | SchNet, 64 | 1.04 s, 654 MB | 1.60 s, 6,021 MB |
//! | PaiNN, 16 | 0.14 s, 174 MB | 0.17 s, 1,014 MB |
//! | PaiNN, 64 | 0.60 s, 520 MB | 0.91 s, 3,821 MB |
//!
//! Value and tangent go through a linear map in two products. In one product of both, stacked, a
//! pass forward and backward took 1.1 to 1.2 times as long (4,896 and 36,720 rows of 128 channels;
//! the same for 288 rows): the copies into one tensor and apart cost more than they save.

use super::adapter::{Adapter, Apply};
use super::cross::cross;
use super::pointwise::{self, Functions};
use super::segment::{self, Contraction, Incidence, Kind, Place};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// A value, and its derivative along a direction unless that is zero.
#[derive(Debug, Clone)]
pub struct Dual {
    pub value: Tensor,
    pub tangent: Option<Tensor>,
}

/// A value `[rows, ..]` and where its rows are.
#[derive(Debug, Clone, Copy)]
pub struct At<'a>(pub Place, pub &'a Dual);

impl From<Tensor> for Dual {
    /// A value that does not depend on the direction.
    fn from(value: Tensor) -> Self {
        let tangent = None;
        Self { value, tangent }
    }
}

impl Dual {
    pub fn new(value: Tensor, tangent: Tensor) -> Self {
        let tangent = Some(tangent);
        Self { value, tangent }
    }

    /// A linear function of the value: the same function of the tangent.
    ///
    /// # Errors
    /// Those of the function.
    pub fn linear(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            value: f(&self.value)?,
            tangent: self.tangent.as_ref().map(f).transpose()?,
        })
    }

    /// A function of the value, and of value and tangent the tangent's.
    ///
    /// # Errors
    /// Those of the functions.
    pub fn map(
        &self,
        value: impl Fn(&Tensor) -> Result<Tensor>,
        tangent: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        Ok(Self {
            value: value(&self.value)?,
            tangent: match &self.tangent {
                Some(t) => Some(tangent(&self.value, t)?),
                None => None,
            },
        })
    }

    /// `f(x)`; tangent `f'(x) x'`.
    ///
    /// # Errors
    /// As [`pointwise::values`].
    pub fn apply<F: Functions>(&self, f: &Arc<F>) -> Result<Self> {
        self.map(
            |x| pointwise::values(f, x),
            |x, t| pointwise::slopes(f, x, t),
        )
    }

    /// # Errors
    /// Different shapes.
    pub fn add(&self, other: &Self) -> Result<Self> {
        Ok(Self {
            value: (&self.value + &other.value)?,
            tangent: sum([self.tangent.clone(), other.tangent.clone()])?,
        })
    }

    /// # Errors
    /// Different shapes.
    pub fn sub(&self, other: &Self) -> Result<Self> {
        self.add(&other.linear(|x| x.neg())?)
    }

    /// Element by element; tangent `a' b + a b'`.
    ///
    /// # Errors
    /// Different shapes.
    pub fn mul(&self, other: &Self) -> Result<Self> {
        self.bilinear(other, |a, b| a * b)
    }

    /// A bilinear function; tangent `f(a', b) + f(a, b')`.
    fn bilinear(
        &self,
        other: &Self,
        f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let first = self.tangent.as_ref().map(|a| f(a, &other.value));
        let second = other.tangent.as_ref().map(|b| f(&self.value, b));
        Ok(Self {
            value: f(&self.value, &other.value)?,
            tangent: sum([first.transpose()?, second.transpose()?])?,
        })
    }

    /// [`cross`] products of `[rows, 3]`.
    ///
    /// # Errors
    /// Other shapes.
    pub fn cross(&self, other: &Self) -> Result<Self> {
        self.bilinear(other, cross)
    }

    /// Side by side along an axis.
    ///
    /// # Errors
    /// Shapes that differ along another axis.
    pub fn cat(parts: &[&Self], axis: usize) -> Result<Self> {
        let tangent = |part: &&Self| match &part.tangent {
            Some(tangent) => Ok(tangent.clone()),
            None => part.value.zeros_like(),
        };
        let values: Vec<_> = parts.iter().map(|part| &part.value).collect();
        let changes = parts.iter().any(|part| part.tangent.is_some());
        let cat = || {
            Tensor::cat(
                &parts.iter().map(tangent).collect::<Result<Vec<_>>>()?,
                axis,
            )
        };
        Ok(Self {
            value: Tensor::cat(&values, axis)?,
            tangent: changes.then(cat).transpose()?,
        })
    }

    /// `sqrt(x + shift)`; tangent `x' / (2 sqrt(x + shift))`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn sqrt(&self, shift: f64) -> Result<Self> {
        let value = match shift {
            0.0 => self.value.sqrt()?,
            shift => (&self.value + shift)?.sqrt()?,
        };
        let tangent = match &self.tangent {
            Some(t) => Some((t / (&value * 2.0)?)?),
            None => None,
        };
        Ok(Self { value, tangent })
    }

    /// `1 / x`; tangent `-x' / x^2`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn recip(&self) -> Result<Self> {
        let value = self.value.recip()?;
        let tangent = match &self.tangent {
            Some(t) => Some((t * value.sqr()?.neg()?)?),
            None => None,
        };
        Ok(Self { value, tangent })
    }

    /// A function that is linear in each factor; tangent: the sum over the factors of the function
    /// with that factor's tangent in its place.
    ///
    /// # Errors
    /// Those of the function.
    pub fn multilinear<const N: usize>(
        factors: [&Self; N],
        f: impl Fn([&Tensor; N]) -> Result<Tensor>,
    ) -> Result<Self> {
        let values = factors.map(|dual| &dual.value);
        let changed = |k: usize| match &factors[k].tangent {
            Some(tangent) => {
                let mut values = values;
                values[k] = tangent;
                f(values).map(Some)
            }
            None => Ok(None),
        };
        Ok(Self {
            value: f(values)?,
            tangent: sum((0..N).map(changed).collect::<Result<Vec<_>>>()?)?,
        })
    }

    /// [`segment::contract`] of values and tangents.
    ///
    /// # Errors
    /// Those of the contraction.
    pub fn contract<const N: usize>(
        edges: &Arc<Incidence>,
        factors: [(Kind, &Dual); N],
        out: Kind,
    ) -> Result<Self>
    where
        Adapter<Contraction<N>, N>: Apply<N>,
    {
        let kinds = factors.map(|(kind, _)| kind);
        Self::multilinear(factors.map(|(_, dual)| dual), |values| {
            let factor = |k: usize| (kinds[k], values[k]);
            segment::contract(edges, std::array::from_fn(factor), out)
        })
    }
}

/// The sum of the tangents that there are.
fn sum(tangents: impl IntoIterator<Item = Option<Tensor>>) -> Result<Option<Tensor>> {
    let mut tangents = tangents.into_iter().flatten();
    let Some(first) = tangents.next() else {
        return Ok(None);
    };
    tangents.try_fold(first, |sum, t| sum + t).map(Some)
}
