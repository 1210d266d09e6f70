//! Files of a user's own signals on the sphere, and of signals out of coefficients.

use super::{LMAX, Sample, Signal, Spheres};
use crate::comm::World;
use crate::data::Split;
use crate::so3::sphere::{Grid, Rings};
use crate::store::{self, Kind, Node, Storage};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// Signals that are transformed at a time.
const BLOCK: usize = 256;

/// Reads and transforms the dataset `signal` `[N, C, 2b, 2b]` of an HDF5 file, in f64; strings `id`,
/// `label`, `subclass` and `split` `[N]` are taken where they are there.
///
/// # Errors
/// A missing dataset, another shape, a number that is not finite (by the signal's name), a grid too
/// coarse for `lmax`.
pub fn read(
    path: &Path,
    rings: Rings,
    lmax: Option<usize>,
    split: Split,
) -> Result<(Signal, Vec<Sample>)> {
    let root = store::open_plain(path)?;
    let shape = root.shape("signal")?;
    let &[n, channels, side, points] = &shape[..] else {
        return Err(bad(path, &shape));
    };
    if side != points || side % 2 == 1 || side == 0 {
        return Err(bad(path, &shape));
    }
    let grid = Grid {
        rings,
        bandwidth: side / 2,
    };
    let signal = Signal {
        lmax: lmax.unwrap_or(grid.lmax().min(LMAX)),
        grid,
        channels: (0..channels).map(|c| c.to_string()).collect(),
    };
    let transform = signal.transform(DType::F64).map_err(|e| e.in_file(path))?;
    let texts = |name: &str| strings(&root, name, n);
    let (ids, labels) = (texts("id")?, texts("label")?);
    let (subclasses, splits) = (texts("subclass")?, texts("split")?);
    let mut samples = Vec::with_capacity(n);
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let values = root.read_rows::<f64>("signal", start..end)?;
        let x = Tensor::from_vec(values, (end - start, channels, side, side), &Device::Cpu)?;
        let rows = transform.forward(&x)?.to_dtype(DType::F32)?.to_vec2()?;
        for (i, coefficients) in (start..end).zip(rows) {
            let text = |all: &Option<Vec<String>>| all.as_ref().map(|all| all[i].clone());
            let label = text(&labels).unwrap_or_default();
            let split = match text(&splits) {
                Some(word) => word.parse().map_err(|e: Error| e.in_file(path))?,
                None => split,
            };
            samples.push(Sample {
                id: text(&ids).unwrap_or_else(|| i.to_string()),
                subclass: text(&subclasses).unwrap_or_else(|| label.clone()),
                label,
                split,
                rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
                coefficients,
            });
        }
    }
    Ok((signal, samples))
}

fn bad(path: &Path, shape: &[usize]) -> Error {
    let what = format!("dataset /signal: shape {shape:?}, where [N, channels, 2b, 2b] is needed");
    Error::file(path, what)
}

fn strings(root: &Node, name: &str, n: usize) -> Result<Option<Vec<String>>> {
    if !root.has(name) {
        return Ok(None);
    }
    let strings = root.read_strings(name)?;
    match strings.len() == n {
        true => Ok(Some(strings)),
        false => Err(Error::file(
            root.path(),
            format!("dataset /{name}: {} strings for {n} signals", strings.len()),
        )),
    }
}

/// Writes the signals `signal` `[N, C, 2b, 2b]` (f32) of a dataset's coefficients.
///
/// # Errors
/// As [`Spheres::open`]; a failure to write.
pub fn write_inverse(input: &Path, output: &Path) -> Result<()> {
    let data = Spheres::open(&World::alone(), input)?;
    let signal = data.signal();
    let transform = signal.transform(DType::F32)?;
    let (n, side, channels) = (data.len(), signal.grid.side(), signal.channels.len());
    store::write(output, Kind::Generated, |root| {
        signal.write(root)?;
        root.create::<f32>("signal", &[n, channels, side, side], Storage::Compressed)?;
        for start in (0..n).step_by(BLOCK) {
            let rows = start..(start + BLOCK).min(n);
            let c: Vec<f32> = rows
                .clone()
                .flat_map(|i| data.coefficients(i as u32))
                .copied()
                .collect();
            let c = Tensor::from_vec(c, (rows.len(), data.dim()), &Device::Cpu)?;
            let values = transform.inverse(&c)?.flatten_all()?.to_vec1::<f32>()?;
            root.write_rows("signal", start, &values)?;
        }
        let ids: Vec<&str> = (0..n).map(|i| data.id(i as u32)).collect();
        root.write_strings("id", &ids)
    })
    .map(drop)
}
