//! Losses that compare the samples of all slices of a step.
//!
//! A step's slices are computed apart, on any ranks. Where a loss compares samples, each slice first
//! tells the others its rows, and then computes the loss of all rows, of which its own alone can be
//! differentiated: the sum of the slices' gradients is that of the whole, for any number of slices.

use candle_core::{Result, Tensor, bail};
use std::cell::{Cell, RefCell};

/// What the slices of a step have told: the tensors of each, in the order in which they were told.
pub type Told = Vec<Vec<Tensor>>;

/// The other slices of a step, as one of them sees them.
#[derive(Clone, Copy)]
pub struct Others<'a> {
    pub told: &'a Told,
    /// The slice's own number.
    pub own: usize,
    /// Its share of the step: weight of its gradient in the sum.
    pub share: f64,
}

/// Which rows a loss compares.
#[derive(Default)]
pub enum Compared<'a> {
    /// Those of the slice.
    #[default]
    Slice,
    /// Those of the slice, noted for the others.
    Noted(RefCell<Vec<Tensor>>),
    /// Those of all slices; the number of tensors that have been asked for.
    Whole(Others<'a>, Cell<usize>),
}

impl<'a> Compared<'a> {
    pub fn whole(others: Others<'a>) -> Self {
        Self::Whole(others, Cell::new(0))
    }

    /// The rows `[n, ..]` of a slice between those of the others, where these are known. The
    /// derivative by the own rows is divided by the slice's share, which multiplies it in the sum.
    pub(super) fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let (others, asked) = match self {
            Self::Slice => return Ok(x.clone()),
            Self::Noted(noted) => {
                noted.borrow_mut().push(x.detach());
                return Ok(x.clone());
            }
            Self::Whole(others, asked) => (others, asked),
        };
        let k = asked.replace(asked.get() + 1);
        let still = x.detach();
        let own = match x.track_op() {
            true => (&still + ((x - &still)? / others.share)?)?,
            false => still,
        };
        let mut rows = Vec::with_capacity(others.told.len());
        for (number, told) in others.told.iter().enumerate() {
            match told.get(k) {
                _ if number == others.own => rows.push(own.clone()),
                Some(theirs) => rows.push(theirs.clone()),
                // A slice without samples.
                None if told.is_empty() => (),
                None => bail!(
                    "slice {number} has told {} tensors, not {}",
                    told.len(),
                    k + 1
                ),
            }
        }
        Tensor::cat(&rows, 0)
    }
}
