//! Vectors in the flat order of a model's parameters: gradients and moments.

use super::gradient::Sink;
use super::parameters::{to_host, with_values};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A vector in the flat order of a model's parameters, as f32, where the model is.
#[derive(Debug, Clone)]
pub enum Flat {
    Host(Vec<f32>),
    /// Contiguous, and nobody else's.
    Device(Tensor),
}

impl Flat {
    /// # Errors
    /// A failure of the device.
    pub fn zeros(len: usize, device: &Device) -> Result<Self> {
        Ok(match device.is_cpu() {
            true => Flat::Host(vec![0.0; len]),
            false => Flat::Device(Tensor::zeros(len, DType::F32, device)?),
        })
    }

    /// Moves values to a device, in one transfer.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn from_host(values: Vec<f32>, device: &Device) -> Result<Self> {
        Ok(match device.is_cpu() {
            true => Flat::Host(values),
            false => Flat::Device(Tensor::from_slice(&values, values.len(), device)?),
        })
    }

    /// Moves the values to the host, in one transfer.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn into_host(self) -> Result<Vec<f32>> {
        match self {
            Flat::Host(values) => Ok(values),
            Flat::Device(vector) => to_host(&vector),
        }
    }

    /// The values on the host, where they are or in one transfer.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn host(&self) -> Result<Cow<'_, [f32]>> {
        Ok(match self {
            Flat::Host(values) => Cow::Borrowed(values),
            Flat::Device(vector) => Cow::Owned(to_host(vector)?),
        })
    }

    pub fn len(&self) -> usize {
        match self {
            Flat::Host(values) => values.len(),
            Flat::Device(vector) => vector.elem_count(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the values of a range are finite.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn is_finite(&self, range: Range<usize>) -> Result<bool> {
        match self {
            Flat::Host(values) => Ok(all_finite(&values[range])),
            // Zero times a finite number is zero, times any other not a number: one number comes
            // back.
            Flat::Device(vector) => {
                let zeros = (vector.narrow(0, range.start, range.len())? * 0.0)?;
                Ok(zeros.sum_all()?.to_scalar::<f32>()? == 0.0)
            }
        }
    }

    /// Adds another vector of the same length and place.
    ///
    /// # Errors
    /// Vectors of different places; a failure of the device.
    pub fn add(&mut self, other: &Flat) -> Result<()> {
        match (self, other) {
            (Flat::Host(to), Flat::Host(other)) => {
                to.iter_mut().zip(other).for_each(|(a, b)| *a += b);
            }
            (Flat::Device(to), Flat::Device(other)) => *to = (&*to + other)?,
            _ => return Err(Error::internal("vectors on the host and on a device")),
        }
        Ok(())
    }
}

/// A part of a gradient while it is made, every value times a factor.
pub struct Piece {
    place: Range<usize>,
    factor: f32,
    /// Of the values before the factor, on the host.
    finite: bool,
    /// Stretches that have come, from the start of the part.
    filled: Vec<Range<usize>>,
    /// Empty, with room for all values, until the end on the host: zeroing it first would cost as
    /// much as filling it.
    values: Flat,
}

impl Piece {
    /// The part `place` of the flat order.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn new(place: Range<usize>, factor: f32, device: &Device) -> Result<Self> {
        Ok(Self {
            factor,
            finite: true,
            filled: Vec::new(),
            values: match device.is_cpu() {
                true => Flat::Host(Vec::with_capacity(place.len())),
                false => Flat::zeros(place.len(), device)?,
            },
            place,
        })
    }

    /// Whether all of its values have come.
    pub fn is_complete(&self) -> bool {
        self.filled.iter().map(Range::len).sum::<usize>() == self.place.len()
    }

    /// The values, and whether all were finite before the factor.
    ///
    /// # Errors
    /// Values that have not come, or came twice; a failure of the device.
    pub fn finish(mut self) -> Result<(Flat, bool)> {
        self.filled.sort_by_key(|stretch| stretch.start);
        let mut end = 0;
        for stretch in &self.filled {
            if stretch.start != end {
                break;
            }
            end = stretch.end;
        }
        if end != self.place.len() {
            return Err(Error::internal("a gradient has gaps or overlaps"));
        }
        match &mut self.values {
            // SAFETY: the stretches, all of which were written, cover the vector without a gap.
            Flat::Host(values) => unsafe { values.set_len(end) },
            Flat::Device(vector) => {
                let all = Flat::Device(vector.clone());
                self.finite = all.is_finite(0..end)?;
                // A plain product, as on the host: `affine` adds a zero.
                let factor = Tensor::new(&[self.factor], vector.device())?;
                *vector = vector.broadcast_mul(&factor)?;
            }
        }
        Ok((self.values, self.finite))
    }
}

impl Sink for Piece {
    fn take(&mut self, place: Range<usize>, gradient: Option<&Tensor>) -> Result<()> {
        let start = place.start.max(self.place.start);
        let end = place.end.min(self.place.end);
        if start >= end {
            return Ok(());
        }
        let (from, at) = (start - place.start, start - self.place.start);
        let len = end - start;
        match (&mut self.values, gradient) {
            (Flat::Host(values), None) => {
                let out = &mut values.spare_capacity_mut()[at..][..len];
                out.fill(MaybeUninit::new(0.0));
            }
            (Flat::Host(values), Some(gradient)) => {
                let out = &mut values.spare_capacity_mut()[at..][..len];
                let factor = self.factor;
                self.finite &= with_values(gradient, |gradient| {
                    let gradient = &gradient[from..][..len];
                    for (out, value) in out.iter_mut().zip(gradient) {
                        out.write(value * factor);
                    }
                    all_finite(gradient)
                })?;
            }
            (Flat::Device(vector), Some(gradient)) => {
                let gradient = gradient.flatten_all()?.to_dtype(DType::F32)?;
                vector.slice_set(&gradient.narrow(0, from, len)?, 0, at)?;
            }
            (Flat::Device(_), None) => {} // it is zero
        }
        self.filled.push(at..at + len);
        Ok(())
    }
}

/// Whether all values are finite; looks at all of them, a vector at a time.
fn all_finite(values: &[f32]) -> bool {
    let bad = |v: &f32| u32::from(!v.is_finite());
    values.iter().map(bad).fold(0, std::ops::BitOr::bitor) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_piece_takes_what_lies_in_it_in_any_order() {
        let values: Vec<f32> = (0..12).map(|i| (i as f32).sin()).collect();
        for place in [0..12, 3..9, 5..6, 7..12] {
            let mut piece = Piece::new(place.clone(), 0.3, &Device::Cpu).unwrap();
            for group in [4..8, 0..4, 8..12] {
                let gradient = (group != (0..4)).then(|| tensor(&values[group.clone()]));
                piece.take(group, gradient.as_ref()).unwrap();
            }
            assert!(piece.is_complete());
            let (got, finite) = piece.finish().unwrap();
            let want = place.map(|i| if i < 4 { 0.0 } else { values[i] * 0.3 });
            assert_eq!(got.into_host().unwrap(), want.collect::<Vec<_>>());
            assert!(finite);
        }
    }

    #[test]
    fn gaps_and_overlaps_are_refused() {
        let piece = || Piece::new(0..4, 1.0, &Device::Cpu).unwrap();
        let mut gap = piece();
        gap.take(0..3, Some(&tensor(&[1.0; 3]))).unwrap();
        assert!(!gap.is_complete());
        assert!(gap.finish().is_err());
        let mut twice = piece();
        twice.take(0..2, Some(&tensor(&[1.0; 2]))).unwrap();
        twice.take(0..2, Some(&tensor(&[1.0; 2]))).unwrap();
        assert!(twice.finish().is_err());
    }

    #[test]
    fn a_piece_tells_of_values_that_are_not_finite_whatever_the_factor() {
        let mut piece = Piece::new(0..2, 0.0, &Device::Cpu).unwrap();
        piece
            .take(0..2, Some(&tensor(&[1.0, f32::MAX * 2.0])))
            .unwrap();
        assert!(!piece.finish().unwrap().1);
    }

    #[test]
    fn what_is_not_finite_is_found() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values: Vec<f32> = (0..100).map(|i| (i as f32).sin()).collect();
            values[7] = bad;
            let there = Tensor::new(&values[..], &Device::Cpu).unwrap();
            for gradient in [Flat::Device(there), Flat::Host(values)] {
                assert!(!gradient.is_finite(0..100).unwrap());
                assert!(gradient.is_finite(8..100).unwrap());
            }
        }
        // The sum of the values overflows; none of them is infinite.
        let large = Flat::Device(Tensor::new(&[f32::MAX; 9], &Device::Cpu).unwrap());
        assert!(large.is_finite(0..9).unwrap());
    }
}
