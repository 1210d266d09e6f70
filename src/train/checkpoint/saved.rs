//! A checkpoint whose numbers are still in the file.

use super::layout::{Array, FIRST, Layout, RAW, SECOND, State, rows};
use super::{Moments, Progress};
use crate::comm::{World, pulse};
use crate::models::{Entry, Parameters};
use crate::store::{self, File, Kind, Node};
use crate::train::groups::Patterns;
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

    /// Reads every number once, and keeps none: a file may be damaged inside although its checksum
    /// fits, when it was damaged before it was written. For rank 0.
    ///
    /// # Errors
    /// The first array that cannot be read.
    pub fn verify(&self) -> Result<()> {
        let file = store::open_trusted(&self.path, Kind::Checkpoint)?;
        let layout = &self.layout;
        for (group, arrays) in [
            ("parameters", &layout.parameters),
            ("buffers", &layout.buffers),
        ] {
            let node = file.group(group)?;
            for Array { name, shape } in arrays {
                read_through(&node, name, shape)?;
            }
        }
        if let Some(state) = &layout.training {
            let (node, shape) = (file.group("training")?, self.flat());
            let vectors = [FIRST, SECOND].into_iter();
            for name in vectors.chain(state.averaged.then_some(RAW)) {
                read_through(&node, name, &shape)?;
            }
        }
        Ok(())
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
        self.layout.training.as_ref().map(|state| &state.progress)
    }

    /// The word that names its task.
    pub fn task(&self) -> &str {
        &self.layout.task
    }

    /// Names of its parameters and buffers.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let arrays = self.layout.parameters.iter().chain(&self.layout.buffers);
        arrays.map(|array| array.name.as_str())
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
        self.load(world, model, &Patterns::default())
    }

    /// Puts those parameters and buffers into a model whose names fit no pattern of `fresh`; the
    /// others stay as they are, whether the file has them or not. Returns their names. Collective.
    ///
    /// # Errors
    /// The first name that only one of file and model has, the first shape that differs; a file
    /// that cannot be read any more.
    pub fn load_but(
        &self,
        world: &World,
        model: &Parameters,
        fresh: &Patterns,
    ) -> Result<Vec<String>> {
        let fits = fit_but(&self.layout.parameters, model.entries(), fresh)
            .and_then(|()| fit_but(&self.layout.buffers, model.buffer_entries(), fresh))
            .map_err(|what| Error::file(&self.path, what));
        world.agree(fits)?;
        self.load(world, model, fresh)?;
        let names = model.entries().iter().chain(model.buffer_entries());
        let names = names.map(|e| &e.name).filter(|name| fresh.fit(name));
        Ok(names.cloned().collect())
    }

    fn load(&self, world: &World, model: &Parameters, fresh: &Patterns) -> Result<()> {
        let file = self.file(world)?;
        let taken = |e: &&Entry| !fresh.fit(&e.name);
        for entry in model.entries().iter().filter(taken) {
            let put = |start: usize, values: &[f32]| model.set_range(entry.offset + start, values);
            pieces(world, &file, "parameters", &entry.name, &entry.shape, put)?;
        }
        let mut buffers = model.buffers();
        for entry in model.buffer_entries().iter().filter(taken) {
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
        let State { adam_steps, .. } = *self.state()?;
        let file = self.file(world)?;
        let read = |name| -> Result<Vec<f32>> {
            let mut part = Vec::with_capacity(own.len());
            pieces(
                world,
                &file,
                "training",
                name,
                &self.flat(),
                |start, values| {
                    let end = start + values.len();
                    let (from, to) = (own.start.clamp(start, end), own.end.clamp(start, end));
                    part.extend_from_slice(&values[from - start..to.max(from) - start]);
                    Ok(())
                },
            )?;
            Ok(part)
        };
        Ok(Moments {
            steps: adam_steps,
            first: read(FIRST)?,
            second: read(SECOND)?,
            raw: None,
        })
    }

    /// Puts the parameters that training goes on with in the place of their averages, where the
    /// file has averages. Collective.
    ///
    /// # Errors
    /// A checkpoint of no training run; a file that cannot be read any more.
    pub fn load_raw(&self, world: &World, model: &Parameters) -> Result<()> {
        if !self.state()?.averaged {
            return Ok(());
        }
        let file = self.file(world)?;
        let put = |start: usize, values: &[f32]| model.set_range(start, values);
        pieces(world, &file, "training", RAW, &self.flat(), put)
    }

    fn state(&self) -> Result<&State> {
        let missing = || Error::file(&self.path, "of no training run");
        self.layout.training.as_ref().ok_or_else(missing)
    }

    /// The shape of a vector in the parameters' order.
    fn flat(&self) -> [usize; 1] {
        [self.layout.scalars()]
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

/// Reads an array piece by piece.
fn read_through(group: &Node, name: &str, shape: &[usize]) -> Result<()> {
    let (rows, _) = rows(shape);
    let count = shape.first().copied().unwrap_or(1);
    for start in (0..count).step_by(rows) {
        pulse::tick();
        read(group, name, shape, start..(start + rows).min(count))?;
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
pub(super) fn fit(has: &[Array], wants: &[Entry]) -> std::result::Result<(), String> {
    for (Array { name, shape }, wanted) in has.iter().zip(wants) {
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

/// Whether arrays, but for those that fit a pattern of `fresh`, are those of a model; the first
/// difference in words.
fn fit_but(has: &[Array], wants: &[Entry], fresh: &Patterns) -> std::result::Result<(), String> {
    for wanted in wants.iter().filter(|e| !fresh.fit(&e.name)) {
        let Some(Array { name, shape }) = has.iter().find(|a| a.name == wanted.name) else {
            let name = &wanted.name;
            return Err(format!(
                "has no {name}, which the model has; train.fresh = [{name:?}] draws it anew"
            ));
        };
        if *shape != wanted.shape {
            return Err(format!(
                "{name} has shape {shape:?}, the model {:?}; train.fresh = [{name:?}] draws it anew",
                wanted.shape
            ));
        }
    }
    let unknown = |name: &String| !wants.iter().any(|e| e.name == *name) && !fresh.fit(name);
    match has.iter().map(|a| &a.name).find(|name| unknown(name)) {
        Some(name) => Err(format!(
            "has {name}, which the model has not; train.fresh = [{name:?}] leaves it out"
        )),
        None => Ok(()),
    }
}

/// Writes a checkpoint of a run whose checksum fits, and whose only parameter cannot be read: it is
/// text.
#[cfg(test)]
pub(in crate::train) fn write_damaged_inside(path: &Path, progress: &Progress) -> Result<()> {
    use crate::store::Storage;
    let digest = store::write(path, Kind::Checkpoint, |root| {
        root.set_attr_text("task", "")?;
        root.write_text("description", "")?;
        root.write_strings("parameters_order", &["weight"])?;
        let parameters = root.create_group("parameters")?;
        parameters.write_strings("weight", &["text"])?;
        root.write_strings("buffers_order", &[""; 0])?;
        root.create_group("buffers")?;
        let training = super::training::write(root, progress, 1)?;
        training.write(FIRST, &[1], &[0f32], Storage::Plain)?;
        training.write(SECOND, &[1], &[0f32], Storage::Plain)
    });
    digest.map(drop)
}
