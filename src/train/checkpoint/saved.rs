//! A checkpoint whose numbers are still in the file.

use super::layout::{FIRST, Layout, SECOND, rows};
use super::{Moments, Progress};
use crate::comm::{World, pulse};
use crate::models::{Entry, Parameters};
use crate::store::{self, File, Kind, Node};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A verified checkpoint file: every rank knows what is in it and takes what it needs, in pieces
/// that rank 0 reads. Only rank 0 needs to see the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saved {
    /// On rank 0.
    #[serde(skip)]
    path: PathBuf,
    layout: Layout,
}

impl Saved {
    /// Verifies a file; for rank 0.
    ///
    /// # Errors
    /// Those of [`store::open`]; missing or malformed content.
    pub fn open(path: &Path) -> Result<Self> {
        let file = store::open(path, Kind::Checkpoint)?;
        Ok(Self {
            path: path.to_path_buf(),
            layout: Layout::read(&file)?,
        })
    }

    /// The checkpoint of rank 0 on every rank. Collective.
    pub fn share(world: &World, saved: Option<Self>) -> Result<Self> {
        let lost = |e| Error::internal(format!("checkpoint broadcast: {e}"));
        let text = world.agree(serde_json::to_vec(&saved).map_err(lost))?;
        let text = world.broadcast(text);
        let shared = match saved {
            Some(own) => Ok(Some(own)),
            None => serde_json::from_slice(&text).map_err(lost),
        };
        shared?.ok_or_else(|| Error::internal("rank 0 has no checkpoint to share"))
    }

    /// How to build the model and prepare its input, TOML.
    pub fn description(&self) -> &str {
        &self.layout.description
    }

    /// Where the run stands; `None` for an imported model.
    pub fn progress(&self) -> Option<&Progress> {
        self.layout.training.as_ref().map(|(progress, _)| progress)
    }

    /// Puts parameters and buffers into a model of the same names and shapes. Collective.
    ///
    /// # Errors
    /// The first name or shape that differs; a file that cannot be read any more.
    pub fn load_into(&self, world: &World, model: &Parameters) -> Result<()> {
        let fits = fit(&self.layout.parameters, model.entries())
            .and_then(|()| fit(&self.layout.buffers, model.buffer_entries()))
            .map_err(|what| Error::file(&self.path, what));
        world.agree(fits)?;
        let file = self.file(world)?;
        for entry in model.entries() {
            let put = |start: usize, values: &[f32]| model.set_range(entry.offset + start, values);
            pieces(world, &file, "parameters", &entry.name, &entry.shape, put)?;
        }
        let mut buffers = model.buffers();
        for entry in model.buffer_entries() {
            let put = |start: usize, values: &[f32]| {
                buffers[entry.offset + start..][..values.len()].copy_from_slice(values);
                Ok(())
            };
            pieces(world, &file, "buffers", &entry.name, &entry.shape, put)?;
        }
        model.set_buffers(&buffers)
    }

    /// The moments of the parameters `own`, which may differ from rank to rank. Collective.
    ///
    /// # Errors
    /// A checkpoint of no training run; a file that cannot be read any more.
    pub fn moments(&self, world: &World, own: Range<usize>) -> Result<Moments> {
        let Some((_, steps)) = self.layout.training else {
            return Err(Error::file(&self.path, "of no training run"));
        };
        let file = self.file(world)?;
        let arrays = self.layout.parameters.iter();
        let shape = [arrays.map(|a| a.1.iter().product::<usize>()).sum()];
        let read = |name| -> Result<Vec<f32>> {
            let mut part = Vec::with_capacity(own.len());
            pieces(world, &file, "training", name, &shape, |start, values| {
                let end = start + values.len();
                let (from, to) = (own.start.clamp(start, end), own.end.clamp(start, end));
                part.extend_from_slice(&values[from - start..to.max(from) - start]);
                Ok(())
            })?;
            Ok(part)
        };
        Ok(Moments {
            steps,
            first: read(FIRST)?,
            second: read(SECOND)?,
        })
    }

    fn file(&self, world: &World) -> Result<Option<File>> {
        world.on_root(|| store::open_trusted(&self.path, Kind::Checkpoint))
    }
}

/// Reads an array on rank 0 and hands it to every rank, piece by piece in order.
fn pieces(
    world: &World,
    file: &Option<File>,
    group: &str,
    name: &str,
    shape: &[usize],
    mut put: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let (rows, row) = rows(shape);
    let count = shape.first().copied().unwrap_or(1);
    for start in (0..count).step_by(rows) {
        pulse::tick();
        let rows = start..(start + rows).min(count);
        let read = match file {
            Some(file) => file.group(group).and_then(|g| read(&g, name, shape, rows)),
            None => Ok(Vec::new()),
        };
        let values = world.broadcast(world.agree(read)?);
        world.agree(put(start * row, &values))?;
    }
    Ok(())
}

fn read(group: &Node, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>> {
    match shape.is_empty() {
        true => Ok(group.read_shaped(name, &[])?.0),
        false => group.read_rows(name, rows),
    }
}

/// Whether arrays are those of a model; the first difference in words.
pub(super) fn fit(
    has: &[(String, Vec<usize>)],
    wants: &[Entry],
) -> std::result::Result<(), String> {
    for ((name, shape), wanted) in has.iter().zip(wants) {
        if *name != wanted.name {
            return Err(format!("holds {name} where the model has {}", wanted.name));
        }
        if *shape != wanted.shape {
            return Err(format!(
                "{name} has shape {shape:?}, the model {:?}",
                wanted.shape
            ));
        }
    }
    match has.len() == wants.len() {
        true => Ok(()),
        false => Err(format!(
            "holds {} arrays, the model {}",
            has.len(),
            wants.len()
        )),
    }
}
