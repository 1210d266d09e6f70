//! Sums of gradients over a rank's slices, where the model is.

use crate::Result;
use crate::comm::{Addend, Bucket, SliceTree, buckets};
use crate::models::Parameters;
use crate::models::flat::{Flat, Piece};
use crate::models::gradient::{Missing, Sink};
use candle_core::Tensor;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

/// A failure of a slice is one of the sum.
impl Addend for Result<Flat> {
    fn add(&mut self, other: Self) {
        let added = match (&mut *self, other) {
            (Ok(sum), Ok(other)) => sum.add(&other),
            (Ok(_), Err(e)) => Err(e),
            (Err(_), _) => return,
        };
        if let Err(e) = added {
            *self = Err(e);
        }
    }
}

/// A rank's part of the sum over slices: a tree for each bucket of the flat order, so that a
/// bucket's sum may be on its way while the next one is computed.
pub(super) struct Sums<'a> {
    parameters: &'a Parameters,
    buckets: Arc<Buckets>,
}

struct Buckets {
    all: Vec<Summed>,
    /// Takes buckets that have all of this rank's slices.
    ready: Mutex<Option<Sender<Bucket>>>,
}

struct Summed {
    place: Range<usize>,
    tree: SliceTree<Result<Flat>>,
    /// This rank's slices that are missing.
    left: AtomicUsize,
}

impl Buckets {
    fn insert(&self, number: usize, slice: usize, values: Result<Flat>) -> Result<()> {
        let bucket = &self.all[number];
        bucket.tree.insert(slice, values);
        let last = bucket.left.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && let Some(ready) = &*self.ready() {
            let sum = bucket.tree.take_total().transpose()?;
            let values = sum.map_or(Ok(Vec::new()), Flat::into_host)?;
            // Whoever listens does so until all have come.
            ready.send(Bucket { number, values }).unwrap_or_default();
        }
        Ok(())
    }

    fn ready(&self) -> MutexGuard<'_, Option<Sender<Bucket>>> {
        self.ready.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The gradient of one slice on its way to the buckets.
struct Slice {
    number: usize,
    buckets: Arc<Buckets>,
    /// Those that are not complete, and their numbers.
    pieces: Vec<(usize, Piece)>,
    finite: bool,
}

impl Sink for Slice {
    fn take(&mut self, place: Range<usize>, gradient: Option<&Tensor>) -> Result<()> {
        for (_, piece) in &mut self.pieces {
            piece.take(place.clone(), gradient)?;
        }
        for (number, piece) in self.pieces.extract_if(.., |(_, piece)| piece.is_complete()) {
            let (values, finite) = piece.finish()?;
            self.finite &= finite;
            self.buckets.insert(number, self.number, Ok(values))?;
        }
        Ok(())
    }
}

impl<'a> Sums<'a> {
    /// For the sum over `slices` slices as a whole.
    pub fn new(parameters: &'a Parameters, slices: usize) -> Self {
        Self::of(
            parameters,
            slices,
            std::iter::once(0..parameters.len()),
            None,
        )
    }

    /// For a sum over `slices` slices that leaves by `ready`, bucket after bucket.
    pub fn in_buckets(parameters: &'a Parameters, slices: usize, ready: Sender<Bucket>) -> Self {
        Self::of(parameters, slices, buckets(parameters.len()), Some(ready))
    }

    fn of(
        parameters: &'a Parameters,
        slices: usize,
        places: impl IntoIterator<Item = Range<usize>>,
        ready: Option<Sender<Bucket>>,
    ) -> Self {
        let bucket = |place| Summed {
            place,
            tree: SliceTree::new(),
            left: AtomicUsize::new(slices),
        };
        let all = places.into_iter().map(bucket).collect();
        let ready = Mutex::new(ready);
        Self {
            parameters,
            buckets: Arc::new(Buckets { all, ready }),
        }
    }

    /// Adds the gradient of a slice's objective, times its share; whether all of it is finite.
    ///
    /// # Errors
    /// As [`Parameters::backward`].
    pub fn insert(
        &self,
        slice: usize,
        share: f32,
        objective: &Tensor,
        missing: Missing,
    ) -> Result<bool> {
        let piece =
            |bucket: &Summed| Piece::new(bucket.place.clone(), share, self.parameters.device());
        let pieces = self.buckets.all.iter().map(piece).enumerate();
        let slice = Slice {
            number: slice,
            buckets: self.buckets.clone(),
            pieces: pieces.map(|(i, p)| Ok((i, p?))).collect::<Result<_>>()?,
            finite: true,
        };
        let slice = self.parameters.backward(objective, missing, slice)?;
        Ok(slice.finite)
    }

    /// Adds a slice without samples.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn insert_nothing(&self, slice: usize) -> Result<()> {
        let mut buckets = self.buckets.all.iter().enumerate();
        buckets.try_for_each(|(number, bucket)| {
            let zeros = Flat::zeros(bucket.place.len(), self.parameters.device());
            self.buckets.insert(number, slice, zeros)
        })
    }

    /// Lets go of whoever waits for buckets: no more come.
    pub fn close(&self) {
        self.buckets.ready().take();
    }

    /// The sum over this rank's slices, as a whole.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn into_sum(self) -> Result<Flat> {
        let sum = self.buckets.all.first().and_then(|b| b.tree.take_total());
        sum.unwrap_or_else(|| Flat::zeros(self.parameters.len(), self.parameters.device()))
    }

    /// The tree of the whole, in the processor's memory.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn on_host(self) -> Result<SliceTree> {
        match self.buckets.all.first() {
            Some(whole) => whole.tree.take_as(|node| node?.into_host()),
            None => Ok(SliceTree::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::World;
    use candle_core::Device;

    fn numbers(seed: usize, len: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 31 + seed * 17) as f32 * 0.37).sin() / (1 + seed) as f32;
        (0..len).map(value).collect()
    }

    #[test]
    fn the_sum_on_a_device_has_the_bits_of_the_hosts() {
        const LEN: usize = 1001;
        for slices in [1, 2, 8, 32] {
            let (host, device) = (SliceTree::new(), SliceTree::new());
            for slice in 0..slices {
                let values = numbers(slice, LEN);
                host.insert(slice, values.clone());
                let vector = Tensor::from_vec(values, LEN, &Device::Cpu).unwrap();
                device.insert(slice, Ok(Flat::Device(vector)));
            }
            let want = World::alone().tree_sum(slices, LEN, host);
            let got = device.take_total().unwrap().unwrap();
            assert_eq!(got.into_host().unwrap(), want, "{slices} slices");
        }
    }

    #[test]
    fn a_failed_slice_fails_the_sum() {
        let tree = SliceTree::new();
        for slice in 0..4 {
            let vector = match slice {
                2 => Err(crate::Error::internal("slice 2")),
                _ => Ok(Flat::Host(vec![1.0])),
            };
            tree.insert(slice, vector);
        }
        let failed = tree.take_total().unwrap().unwrap_err();
        assert!(failed.to_string().contains("slice 2"));
    }
}
