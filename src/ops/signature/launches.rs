//! The op on a GPU.

use crate::ops::device::{Kind, Sequence, ints};
use crate::words;
use candle_core::{Result, bail};
use std::sync::Arc;

/// Shared memory to aim at, in bytes, and the most that a block may have.
const SHARED: (usize, usize) = (40 << 10, 163 << 10);
/// Steps of a chunk at most, where more would only take room.
const CHUNK: usize = 32;
/// Blocks of a way back to aim at; each holds a gradient of its own of the whole path.
const BLOCKS: usize = 512;
/// Longest words that the kernels know.
const DEPTH: usize = 16;

/// Numbers in a signature.
///
/// # Errors
/// Words too long or too many for the kernels' indices.
fn terms(channels: usize, depth: usize) -> Result<usize> {
    match words::terms(channels, depth) {
        Some(n) if depth <= DEPTH && n <= i32::MAX as usize => Ok(n),
        _ => bail!("a signature of {channels} channels to depth {depth} is too long for a GPU"),
    }
}

/// Steps in a chunk that fills the shared memory, `fixed` numbers and `each` per step of `bytes`
/// bytes; and the memory then.
fn chunk(fixed: usize, each: usize, bytes: usize, limit: usize) -> Result<(usize, usize)> {
    let room = (SHARED.0 / bytes).saturating_sub(fixed);
    let chunk = (room / each).clamp(1, limit.max(1));
    let shared = (fixed + chunk * each) * bytes;
    if shared > SHARED.1 {
        bail!(
            "a signature needs {shared} bytes of a GPU's shared memory, of which there are {}",
            SHARED.1
        )
    }
    Ok((chunk, shared))
}

/// Groups of first letters on a way back.
fn groups(batch: usize, letters: usize) -> usize {
    (BLOCKS / batch.max(1)).clamp(1, letters.max(1))
}

fn named(kind: Kind, single: &'static str, double: &'static str) -> &'static str {
    match kind {
        Kind::F64 => double,
        _ => single,
    }
}

/// Numbers of a level's words, first letter left out: levels 2 to N - 1, and N - 1.
fn sizes(channels: usize, depth: usize) -> (usize, usize) {
    match depth {
        1 => (0, 0),
        _ => {
            let lower = words::offsets(channels, depth)[depth - 2];
            (lower, channels.pow(depth as u32 - 2))
        }
    }
}

/// Input path `[batch, points, channels]`; output its signature.
///
/// # Errors
/// A signature too long, or too large for a GPU's shared memory.
pub fn forward(
    kind: Kind,
    batch: usize,
    points: usize,
    channels: usize,
    depth: usize,
) -> Result<Sequence> {
    let terms = terms(channels, depth)?;
    let mut s = Sequence::default();
    let path = s.input(kind, batch * points * channels);
    let out = s.output(kind, batch * terms);
    let (lower, words) = sizes(channels, depth);
    let (chunk, shared) = chunk(lower, channels + words, kind.bytes(), CHUNK.min(points - 1))?;
    let mut args = vec![path, out];
    args.extend(ints([channels, points, depth, chunk]));
    let kernel = named(kind, "signature_forward", "signature_forward_f64");
    let grid = [channels, batch, 1];
    s.launch("signature", kernel, grid, [128, 1, 1], shared, args);
    Ok(s)
}

/// Inputs path, its signature, gradient of that; output gradient of the path.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    kind: Kind,
    batch: usize,
    points: usize,
    channels: usize,
    depth: usize,
) -> Result<Sequence> {
    let terms = terms(channels, depth)?;
    let mut s = Sequence::default();
    let path = s.input(kind, batch * points * channels);
    let out = s.input(kind, batch * terms);
    let grad = s.input(kind, batch * terms);
    let gpath = s.output(kind, batch * points * channels);
    let groups = groups(batch, channels);
    let parts = s.scratch(kind, groups * batch * (points - 1) * channels);
    if points > 1 {
        let (lower, words) = sizes(channels, depth);
        let (fixed, each) = (2 * lower + 3 * words, 2 * (channels + words));
        let (chunk, shared) = chunk(fixed, each, kind.bytes(), CHUNK.min(points - 1))?;
        let mut args = vec![path, out, grad, parts];
        args.extend(ints([channels, points, depth, chunk]));
        let kernel = named(kind, "signature_backward", "signature_backward_f64");
        let grid = [groups, batch, 1];
        s.launch("signature", kernel, grid, [128, 1, 1], shared, args);
    }
    let mut args = vec![parts, gpath];
    args.extend(ints([channels, points, groups]));
    let kernel = named(kind, "signature_collect", "signature_collect_f64");
    let grid = [(points * channels).div_ceil(128), batch, 1];
    s.launch("signature", kernel, grid, [128, 1, 1], 0, args);
    Ok(s)
}

/// Numbers in the series that a logarithm needs.
fn series(channels: usize, depth: usize) -> usize {
    let offsets = words::offsets(channels, depth);
    (1..depth).map(|k| offsets[depth - k]).sum()
}

/// Input a signature `[batch, c + .. + c^depth]`; output its logarithm.
///
/// # Errors
/// A signature too long.
pub fn logarithm(kind: Kind, batch: usize, channels: usize, depth: usize) -> Result<Sequence> {
    let terms = terms(channels, depth)?;
    let mut s = Sequence::default();
    let x = s.input(kind, batch * terms);
    let out = s.output(kind, batch * terms);
    let p = s.scratch(kind, batch * series(channels, depth));
    let mut args = vec![x, out, p];
    args.extend(ints([channels, depth]));
    let kernel = named(kind, "logarithm_forward", "logarithm_forward_f64");
    let grid = [batch, 1, 1];
    s.launch("logarithm", kernel, grid, [256, 1, 1], 0, args);
    Ok(s)
}

/// Inputs a signature, gradient of its logarithm; output its gradient.
///
/// # Errors
/// A signature too long.
pub fn logarithm_backward(
    kind: Kind,
    batch: usize,
    channels: usize,
    depth: usize,
) -> Result<Sequence> {
    let terms = terms(channels, depth)?;
    let mut s = Sequence::default();
    let x = s.input(kind, batch * terms);
    let g = s.input(kind, batch * terms);
    let gx = s.output(kind, batch * terms);
    let p = s.scratch(kind, 2 * batch * series(channels, depth));
    let mut args = vec![x, g, gx, p];
    args.extend(ints([channels, depth]));
    let kernel = named(kind, "logarithm_backward", "logarithm_backward_f64");
    let grid = [batch, 1, 1];
    s.launch("logarithm", kernel, grid, [256, 1, 1], 0, args);
    Ok(s)
}

/// The choice of some words of all.
pub struct Choice {
    chosen: Arc<[i32]>,
    /// Place of each word among the chosen, -1 for the others.
    inverse: Arc<[i32]>,
}

impl Choice {
    /// `positions` among `terms` words.
    pub fn new(positions: &[usize], terms: usize) -> Self {
        let mut inverse = vec![-1; terms];
        for (i, &p) in positions.iter().enumerate() {
            inverse[p] = i as i32;
        }
        Self {
            chosen: positions.iter().map(|&p| p as i32).collect(),
            inverse: inverse.into(),
        }
    }
}

/// Input all words `[batch, terms]`, output the chosen ones; `back` the other way round, with zeros
/// for the others.
pub fn choose(kind: Kind, choice: &Choice, back: bool, batch: usize) -> Sequence {
    let (source, other) = match back {
        false => (&choice.chosen, &choice.inverse),
        true => (&choice.inverse, &choice.chosen),
    };
    let (dim, from) = (source.len(), other.len());
    let mut s = Sequence::default();
    let x = s.input(kind, batch * from);
    let out = s.output(kind, batch * dim);
    let mut args = vec![x, out, s.ints(source)];
    args.extend(ints([dim, from]));
    let kernel = named(kind, "choose_words", "choose_words_f64");
    let grid = [dim.div_ceil(256), batch, 1];
    s.launch("logarithm", kernel, grid, [256, 1, 1], 0, args);
    s
}

fn lyndon_terms(channels: usize, depth: usize) -> Result<usize> {
    match words::lyndon_terms(channels, depth) {
        Some(n) if n <= i32::MAX as usize => Ok(n),
        _ => bail!("a log-signature of {channels} channels to depth {depth} is too long for a GPU"),
    }
}

/// Input path; output its log-signature at Lyndon words, `depth` at most 3, f32. Chunks of steps
/// are for the third level.
///
/// # Errors
/// A log-signature too long, or too large for a GPU's shared memory.
pub fn lyndon(batch: usize, points: usize, channels: usize, depth: usize) -> Result<Sequence> {
    let terms = lyndon_terms(channels, depth)?;
    let mut s = Sequence::default();
    let path = s.input(Kind::F32, batch * points * channels);
    let out = s.output(Kind::F32, batch * terms);
    let (chunk, shared) = match depth {
        3 => chunk(channels, channels, 4, points - 1)?,
        _ => (1, 4 * channels),
    };
    let mut args = vec![path, out];
    args.extend(ints([channels, points - 1, depth, chunk, terms]));
    let grid = [channels, batch, 1];
    s.launch("lyndon", "lyndon_forward", grid, [128, 1, 1], shared, args);
    Ok(s)
}

/// Inputs path, its log-signature, gradient of that; output gradient of the path.
///
/// # Errors
/// As [`lyndon`].
pub fn lyndon_backward(
    batch: usize,
    points: usize,
    channels: usize,
    depth: usize,
) -> Result<Sequence> {
    let terms = lyndon_terms(channels, depth)?;
    let steps = points - 1;
    let mut s = Sequence::default();
    let path = s.input(Kind::F32, batch * points * channels);
    let out = s.input(Kind::F32, batch * terms);
    let grad = s.input(Kind::F32, batch * terms);
    let gpath = s.output(Kind::F32, batch * points * channels);
    // Level 1 alone is left to the last kernel.
    let groups = match depth > 1 && channels > 1 && steps > 0 {
        true => groups(batch, channels - 1),
        false => 0,
    };
    let parts = s.scratch(Kind::F32, groups * batch * (2 * steps + 1) * channels);
    let (chunk, shared) = match depth {
        3 => chunk(3 * channels, 2 * channels + 1, 4, points - 1)?,
        _ => (1, 4 * 3 * channels),
    };
    let mut args = vec![path, out, grad, parts];
    args.extend(ints([channels, steps, depth, chunk, terms]));
    let grid = [groups, batch, 1];
    s.launch("lyndon", "lyndon_backward", grid, [128, 1, 1], shared, args);

    let mut args = vec![parts, grad, gpath];
    args.extend(ints([channels, steps, groups, terms]));
    let grid = [(points * channels).div_ceil(128), batch, 1];
    s.launch("lyndon", "lyndon_collect", grid, [128, 1, 1], 0, args);
    Ok(s)
}
