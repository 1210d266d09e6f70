//! What this machine can do at most, measured at the start of a run.

use super::Need;
use crate::store::Scratch;
use crate::train::announce::peak_memory;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Rates of this machine with as many threads as the run has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Single-precision matrix product of 2048 x 2048 (8192 x 8192 on a GPU), FLOP/s.
    pub flops: f64,
    /// Copy of memory far larger than the caches, bytes read and written per second.
    pub copy: f64,
    /// Write and sync of a plain file in the folder for temporary files, bytes/s.
    pub disk: f64,
}

impl Limits {
    /// # Errors
    /// No room for 256 MB in memory or on the disk.
    pub fn measure(device: &Device) -> Result<Self> {
        Ok(Self {
            flops: flops(device)?,
            copy: match device.is_cpu() {
                true => copy(),
                false => copy_on(device)?,
            },
            disk: disk(&std::env::temp_dir())?,
        })
    }

    /// The limit of calls that need so much and do `amount` of a case's unit, and what it is.
    pub fn of(&self, need: Need, amount: f64) -> (f64, String) {
        let (calls, what) = match need {
            Need::Flops(n) => {
                let [own, most] = [n, self.flops].map(|flops| flops / 1e9);
                let what = format!("{own:.3} GFLOP, matrix product, {most:.0} GFLOP/s");
                (self.flops / n, what)
            }
            Need::Counted => (f64::NAN, "operations that were not counted".into()),
            Need::Bytes(n) => (
                self.copy / n,
                format!("memory copy, {:.1} GB/s", self.copy / 1e9),
            ),
            Need::Disk(n) => (
                self.disk / n,
                format!("write and sync, {:.2} GB/s", self.disk / 1e9),
            ),
            Need::Alone => (f64::INFINITY, "one rank alone".into()),
        };
        (amount * calls, what)
    }
}

/// Seconds of the fastest of some calls.
fn fastest(calls: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..calls {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn flops(device: &Device) -> Result<f64> {
    let n: usize = if device.is_cpu() { 2048 } else { 8192 };
    let a = Tensor::randn(0f32, 1.0, (n, n), device)?;
    let b = Tensor::randn(0f32, 1.0, (n, n), device)?;
    let seconds = fastest(5, || {
        std::hint::black_box(a.matmul(&b)?);
        Ok(device.synchronize()?)
    })?;
    Ok(2.0 * (n as f64).powi(3) / seconds)
}

/// Copy inside a GPU's memory.
fn copy_on(device: &Device) -> Result<f64> {
    const FLOATS: usize = 256 << 20;
    let from = Tensor::zeros(FLOATS, DType::F32, device)?;
    let seconds = fastest(5, || {
        std::hint::black_box(from.copy()?);
        Ok(device.synchronize()?)
    })?;
    drop(from);
    // The process that measures a case shall find the memory free.
    #[cfg(feature = "cuda")]
    crate::gpu::give_back_memory(device)?;
    Ok(2.0 * 4.0 * FLOATS as f64 / seconds)
}

fn copy() -> f64 {
    const BYTES: usize = 128 << 20;
    let from = vec![1u8; BYTES];
    let mut to = vec![0u8; BYTES];
    let piece = BYTES.div_ceil(rayon::current_num_threads());
    let seconds = fastest(5, || {
        to.par_chunks_mut(piece)
            .zip(from.par_chunks(piece))
            .for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&mut to);
        Ok(())
    });
    2.0 * BYTES as f64 / seconds.unwrap_or(f64::INFINITY)
}

fn disk(folder: &Path) -> Result<f64> {
    const BYTES: usize = 64 << 20;
    let bytes = vec![7u8; BYTES];
    let scratch = Scratch::new(&folder.join("holosig-bench"))?;
    let seconds = fastest(3, || {
        let io = |e| Error::io(scratch.path(), e);
        let mut file = std::fs::File::create(scratch.path()).map_err(io)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(io)
    })?;
    Ok(BYTES as f64 / seconds)
}

/// Lets the kernel count the peak of resident memory anew (Linux; elsewhere the peak is that of
/// the whole run).
pub fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

pub fn peak_memory_mb(device: &Device) -> Option<f64> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        let bytes = crate::gpu::memory_in_use(device).ok()?;
        return Some(bytes as f64 / 1e6);
    }
    debug_assert!(device.is_cpu());
    peak_memory().map(|bytes| bytes as f64 / 1e6)
}
