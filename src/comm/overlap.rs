//! A sum over the ranks that travels while the rest of the vector is still computed.
//!
//! The vector is cut into buckets. MPI is told of a bucket as soon as this rank has it, and adds
//! and sends it while the threads compute the next one; the main thread looks after it meanwhile.

use super::World;
use mpi::collective::SystemOperation;
use mpi::request::multiple_scope;
use mpi::traits::*;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Values in a bucket (1 MiB): few enough that the first is there early, enough for the network's
/// speed.
const BUCKET: usize = 1 << 18;

/// MPI gets on with the sums under way when it is asked to, so often. On a link of 10 Gbit/s a
/// socket's buffer takes as long.
const ASK: Duration = Duration::from_micros(200);

/// A bucket with what this rank adds to it.
pub struct Bucket {
    pub number: usize,
    pub values: Vec<f32>,
}

/// The buckets of a vector of `len` values.
pub fn buckets(len: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..len).step_by(BUCKET);
    starts.map(move |start| start..(start + BUCKET).min(len))
}

impl World {
    /// Whether [`World::fast_sum`] between these ranks is MPI's, which can go on beside other work.
    pub fn overlaps(&self) -> bool {
        self.local_size() < self.size() || !self.size().is_power_of_two()
    }

    /// [`World::fast_sum`] of a vector of `len` values whose [`buckets`] come as they are
    /// computed. All ranks sum the last bucket first, whichever comes first.
    ///
    /// Nothing comes back if the sender is gone before all buckets have come. The other ranks are
    /// not kept waiting: they get zeros from this one, which has to end the job.
    pub fn fast_sum_of(&self, len: usize, coming: &Receiver<Bucket>) -> Option<Vec<f32>> {
        let own: Vec<OnceCell<Vec<f32>>> = buckets(len).map(|_| OnceCell::new()).collect();
        let put = |bucket: Bucket| own[bucket.number].set(bucket.values);
        let mut total = vec![0.0; len];
        let mut complete = true;
        multiple_scope(own.len(), |scope, sums| {
            for (out, own) in total.chunks_mut(BUCKET).zip(&own).rev() {
                while own.get().is_none() {
                    let came = match coming.recv_timeout(ASK) {
                        Ok(bucket) => put(bucket),
                        Err(RecvTimeoutError::Timeout) => Ok(()),
                        Err(RecvTimeoutError::Disconnected) => {
                            complete = false;
                            own.set(vec![0.0; out.len()])
                        }
                    };
                    debug_assert!(came.is_ok(), "a bucket comes once");
                    if sums.incomplete() > 0 {
                        sums.test_any();
                    }
                }
                let own = own.get().map_or(&[][..], |values| values);
                match &self.mpi {
                    Some(comm) => {
                        let add = SystemOperation::sum();
                        sums.add(comm.immediate_all_reduce_into(scope, own, out, add));
                    }
                    None => out.copy_from_slice(own),
                }
            }
            let _waiting = self.collective();
            sums.wait_all(&mut Vec::new());
        });
        complete.then_some(total)
    }
}
