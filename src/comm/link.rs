//! What the links between ranks, and a rank's memory, can do: measured.

use super::World;
use super::slices::add;
use mpi::Rank;
use mpi::point_to_point::send_receive_into;
use mpi::traits::*;
use std::time::Instant;

impl World {
    /// The host of every rank. Collective.
    pub fn hosts(&self) -> Vec<String> {
        let names = self.all_gather(self.host().as_bytes());
        let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
        names.iter().map(text).collect()
    }

    /// Median seconds of an exchange of `bytes` in both directions with `peer`, of `repeats`,
    /// while all pairs do the same; `None` for a rank without a peer. Collective.
    pub fn time_exchange(&self, peer: Option<usize>, bytes: usize, repeats: usize) -> Option<f64> {
        self.barrier();
        let peer = peer.zip(self.collective()).map(|(rank, comm)| {
            let peer = comm.process_at_rank(rank as Rank);
            let (give, mut take) = (vec![1u8; bytes], vec![0u8; bytes]);
            let mut exchange = || {
                let started = Instant::now();
                send_receive_into(&give[..], &peer, &mut take[..], &peer);
                started.elapsed().as_secs_f64()
            };
            exchange();
            let mut times: Vec<f64> = (0..repeats.max(1)).map(|_| exchange()).collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        self.barrier();
        peer
    }

    /// Bytes of one vector of `len` numbers added to another per second, while all ranks do the
    /// same. Collective.
    pub fn add_rate(&self, len: usize) -> f64 {
        let (mut sum, other) = (vec![0.0f32; len], vec![1.0f32; len]);
        self.barrier();
        let seconds = median_of(9, || add(std::hint::black_box(&mut sum), &other));
        4.0 * len as f64 / seconds
    }

    /// Bytes copied to new memory per second, while all ranks do the same. Collective.
    pub fn copy_rate(&self, len: usize) -> f64 {
        let values = vec![1.0f32; len];
        self.barrier();
        let seconds = median_of(9, || drop(std::hint::black_box(values.clone())));
        4.0 * len as f64 / seconds
    }
}

fn median_of(repeats: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[repeats / 2]
}
