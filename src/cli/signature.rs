//! `holosig signature`: paths of any origin to their (log-)signatures.

use super::places::Overwrite;
use crate::comm::World;
use crate::ops::cpu::Real;
use crate::ops::signature::{Basis, log_signature, signature};
use crate::store::{self, Element, Kind, Node, Output, Storage};
use crate::{Error, Result, words};
use candle_core::{Device, Tensor};
use clap::ValueEnum;
use std::path::PathBuf;

/// Paths and signatures of one read take about this many bytes.
const CHUNK_BYTES: usize = 64 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// HDF5 file with a dataset `path` [batch, time, channels], f32 or f64
    input: PathBuf,
    /// File to write: dataset `signature` [batch, terms] of the same type, levels from 1
    output: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Truncation depth
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
    /// Take the logarithm
    #[arg(long)]
    log: bool,
    /// Terms of a log-signature: those of the Lyndon words, or of all words [default: words]
    #[arg(long, value_enum, requires = "log")]
    basis: Option<Terms>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Terms {
    /// Lyndon words, by length, then lexicographically
    Words,
    /// All words, each level in row-major order
    Expand,
}

/// What is computed, resolved from the options.
struct Request {
    channels: usize,
    depth: usize,
    /// `None` for a signature.
    log: Option<Basis>,
}

impl Request {
    fn terms(&self, depth: usize) -> Option<usize> {
        match self.log {
            Some(Basis::Words) => words::lyndon_terms(self.channels, depth),
            _ => words::terms(self.channels, depth),
        }
    }

    fn compute(&self, path: &Tensor) -> candle_core::Result<Tensor> {
        match self.log {
            None => signature(path, self.depth),
            Some(basis) => log_signature(path, self.depth, basis),
        }
    }
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.output, Kind::Signatures)]);
        let _claim = args.overwrite.claim(world, outputs, &[&args.input])?;
        world.on_root(|| compute(&args)).map(drop)
    })
}

fn compute(args: &Args) -> Result<()> {
    let input = store::open_plain(&args.input)?;
    if input.is_f32("path")? {
        convert::<f32>(args, &input)
    } else {
        convert::<f64>(args, &input)
    }
}

fn convert<T: Real + Element>(args: &Args, input: &Node) -> Result<()> {
    let bad = |what: String| Error::file(&args.input, format!("dataset /path: {what}"));
    let shape = input.shape("path")?;
    let &[batch, points, channels] = shape.as_slice() else {
        return Err(bad(format!(
            "shape {shape:?}, where [batch, time, channels] is needed"
        )));
    };
    if batch == 0 || points == 0 || channels == 0 {
        return Err(bad(format!("shape {shape:?} holds no path")));
    }
    let request = Request {
        channels,
        depth: args.depth as usize,
        log: args.log.then_some(match args.basis {
            Some(Terms::Expand) => Basis::Expand,
            _ => Basis::Words,
        }),
    };
    let terms = affordable(&request, points, size_of::<T>()).map_err(bad)?;
    let row = (terms + points * channels) * size_of::<T>();
    let rows = (CHUNK_BYTES / row).max(1);
    store::write(&args.output, Kind::Signatures, |root| {
        describe(root, &request)?;
        root.create::<T>("signature", &[batch, terms], Storage::Plain)?;
        for from in (0..batch).step_by(rows) {
            let to = (from + rows).min(batch);
            let values = input.read_rows::<T>("path", from..to)?;
            if let Some(i) = values.iter().position(|v| !v.to_f64().is_finite()) {
                let (path, place) = (from + i / (points * channels), i % (points * channels));
                let (point, channel) = (place / channels, place % channels);
                return Err(bad(format!(
                    "path {path}, point {point}, channel {channel} is {}",
                    values[i]
                )));
            }
            let path = Tensor::from_vec(values, (to - from, points, channels), &Device::Cpu)?;
            let out = request.compute(&path)?.flatten_all()?.to_vec1::<T>()?;
            root.write_rows("signature", from, &out)?;
        }
        Ok(())
    })?;
    log::info!(
        "{batch} paths of {points} points and {channels} channels: {terms} terms each, in {}",
        args.output.display()
    );
    Ok(())
}

/// Number of terms, unless one path's need more memory than there is.
fn affordable(request: &Request, points: usize, size: usize) -> std::result::Result<usize, String> {
    let (channels, depth) = (request.channels, request.depth);
    let advice = "choose a smaller depth, fewer channels or --log --basis words";
    let too_long =
        || format!("the signature of {channels} channels to depth {depth} is too long; {advice}");
    let terms = request.terms(depth).ok_or_else(too_long)?;
    // The general way to a log-signature goes through two full ones in f64.
    let through = match request.log {
        None => terms,
        Some(Basis::Words) if depth <= 3 => terms,
        Some(_) => words::terms(channels, depth)
            .and_then(|n| n.checked_mul(4 * size_of::<f64>() / size))
            .ok_or_else(too_long)?,
    };
    let bytes = (through.max(terms) as u128 + (points * channels) as u128) * size as u128;
    let free = free_memory().unwrap_or(u64::MAX);
    if bytes > u128::from(free) {
        let gib = |b: u128| b as f64 / f64::from(1 << 30);
        return Err(format!(
            "one signature of {channels} channels to depth {depth} has {terms} terms and needs \
             {:.1} GiB of memory, {:.1} GiB are free; {advice}",
            gib(bytes),
            gib(free.into())
        ));
    }
    Ok(terms)
}

/// Memory that the machine can still give, in bytes, where it tells.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Attributes: `kind`, `basis`, `channels`, `depth`, and `levels`, the first term of each level
/// and the number of all.
fn describe(root: &Node, request: &Request) -> Result<()> {
    let (kind, basis) = match request.log {
        None => ("signature", "expand"),
        Some(Basis::Expand) => ("log-signature", "expand"),
        Some(Basis::Words) => ("log-signature", "words"),
    };
    root.set_attr_text("kind", kind)?;
    root.set_attr_text("basis", basis)?;
    root.set_attr("channels", request.channels as u64)?;
    root.set_attr("depth", request.depth as u64)?;
    let levels = (0..=request.depth).map(|k| request.terms(k).unwrap_or(0) as u64);
    root.set_attr_list("levels", &levels.collect::<Vec<_>>())
}
