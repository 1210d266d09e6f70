//! Means over many samples, shared out to the ranks, in an order that no world changes.

use super::Task;
use crate::comm::{World, pulse, slice_range};
use crate::data::Split;
use crate::models::Model;
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Sums over `0..samples`: `sums(block)` gives the sums over a block of consecutive samples.
///
/// Blocks have a fixed length, are computed by whichever rank and thread owns them, and are
/// added in order, so the result has the same bits for every world.
pub fn sum_blocks(
    world: &World,
    samples: u64,
    block: u64,
    sums: impl Fn(Range<u64>) -> Result<Vec<f64>> + Sync,
) -> Result<Vec<f64>> {
    let blocks = samples.div_ceil(block) as usize;
    let own: Result<Vec<Vec<f64>>> = slice_range(blocks, world.rank(), world.size())
        .into_par_iter()
        .map(|b| {
            let start = b as u64 * block;
            pulse::tick();
            sums(start..(start + block).min(samples))
        })
        .collect();
    let own = world.agree(own)?;
    let mut total: Vec<f64> = Vec::new();
    let width = own.first().map_or(0, Vec::len) as u64;
    let width = world.all_gather(&[width]).concat().into_iter().max();
    let width = width.unwrap_or(0) as usize;
    total.resize(width, 0.0);
    for values in world
        .all_gather(&own.concat())
        .concat()
        .chunks(width.max(1))
    {
        total.iter_mut().zip(values).for_each(|(t, v)| *t += v);
    }
    Ok(total)
}

/// Mean of every metric of the model over a split of the data, in evaluation mode.
///
/// `block` samples are computed at a time.
pub fn evaluate<T: Task>(
    world: &World,
    task: &T,
    split: Split,
    block: u64,
) -> Result<Vec<(String, f64)>> {
    let samples = task.samples(split);
    let names = std::sync::Mutex::new(Vec::new());
    let sums = sum_blocks(world, samples, block, |range| {
        let ids: Vec<u64> = range.collect();
        let metrics = task.model().metrics(&task.batch(split, &ids)?)?;
        let mut known = names.lock().unwrap_or_else(|e| e.into_inner());
        *known = metrics.iter().map(|(name, _)| *name).collect();
        Ok(metrics.iter().map(|(_, v)| v.iter().sum()).collect())
    })?;
    // A rank without a block knows no names.
    let own = names.into_inner().unwrap_or_else(|e| e.into_inner());
    let texts = world.all_gather(own.join("\n").as_bytes());
    let text = texts
        .into_iter()
        .find(|t| !t.is_empty())
        .unwrap_or_default();
    let text = String::from_utf8(text).map_err(|e| Error::internal(e.to_string()))?;
    let mean = |s: f64| s / samples as f64;
    Ok(text
        .lines()
        .map(String::from)
        .zip(sums.into_iter().map(mean))
        .collect())
}
