//! A checkpoint as a description and a stream of numbers, so that nobody needs to hold it whole.

use super::{Checkpoint, Moments, NamedArray, Progress, training};
use crate::models::{Entry, Parameters};
use crate::store::{self, Digest, File, Kind, Node, Storage};
use crate::train::upgrade;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Values that are read, sent or written at a time.
pub const CHUNK: usize = 1 << 20;

/// Everything of a checkpoint but its numbers. The numbers come in this order: parameters,
/// buffers, first moments, second moments, raw parameters where the first ones are averages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    pub task: String,
    pub description: String,
    pub parameters: Vec<Array>,
    pub buffers: Vec<Array>,
    pub training: Option<State>,
}

/// An array, but for its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
}

/// Where a run stands, but for the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub progress: Progress,
    /// Updates that the moments have seen.
    pub adam_steps: u64,
    /// The parameters are moving averages; those that training goes on with come last.
    pub averaged: bool,
}

impl Array {
    fn new(name: &str, shape: &[usize]) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
        }
    }
}

fn arrays(entries: &[Entry]) -> Vec<Array> {
    let array = |e: &Entry| Array::new(&e.name, &e.shape);
    entries.iter().map(array).collect()
}

fn total(arrays: &[Array]) -> usize {
    let len = |a: &Array| a.shape.iter().fold(1usize, |len, &d| len.saturating_mul(d));
    let lens = arrays.iter().map(len);
    lens.fold(0, usize::saturating_add)
}

impl Layout {
    pub fn of_model(task: &str, description: String, model: &Parameters) -> Self {
        Self {
            task: task.into(),
            description,
            parameters: arrays(model.entries()),
            buffers: arrays(model.buffer_entries()),
            training: None,
        }
    }

    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let arrays = |arrays: &[NamedArray]| {
            let array = |a: &NamedArray| Array::new(&a.name, &a.shape);
            arrays.iter().map(array).collect()
        };
        let training = checkpoint.training.as_ref();
        Self {
            task: checkpoint.task.clone(),
            description: checkpoint.description.clone(),
            parameters: arrays(&checkpoint.parameters),
            buffers: arrays(&checkpoint.buffers),
            training: training.map(|(progress, moments)| State {
                progress: progress.clone(),
                adam_steps: moments.steps,
                averaged: moments.raw.is_some(),
            }),
        }
    }

    pub(super) fn fill(self, values: &[f32]) -> Checkpoint {
        let mut rest = values;
        let mut take = |n: usize| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            head.to_vec()
        };
        let mut arrays = |arrays: Vec<Array>| -> Vec<NamedArray> {
            let array = |Array { name, shape }| NamedArray {
                name,
                values: take(shape.iter().product()),
                shape,
            };
            arrays.into_iter().map(array).collect()
        };
        let parameters = arrays(self.parameters);
        let buffers = arrays(self.buffers);
        let len: usize = parameters.iter().map(|a| a.values.len()).sum();
        let training = self.training.map(|state| {
            let moments = Moments {
                steps: state.adam_steps,
                first: take(len),
                second: take(len),
                raw: state.averaged.then(|| take(len)),
            };
            (state.progress, moments)
        });
        Checkpoint {
            task: self.task,
            description: self.description,
            parameters,
            buffers,
            training,
        }
    }

    /// Writes the file ([`store::write`]); `values` gives the next so many numbers.
    ///
    /// # Errors
    /// Those of the file and of `values`.
    pub fn write(
        &self,
        path: &Path,
        values: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
    ) -> Result<Digest> {
        store::write(path, Kind::Checkpoint, |root| {
            root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
            root.set_attr_text("task", &self.task)?;
            root.write_text("description", &self.description)?;
            for (name, arrays) in [("parameters", &self.parameters), ("buffers", &self.buffers)] {
                let names: Vec<&str> = arrays.iter().map(|a| a.name.as_str()).collect();
                root.write_strings(&format!("{name}_order"), &names)?;
                let group = root.create_group(name)?;
                for Array { name, shape } in arrays {
                    write_array(&group, name, shape, values)?;
                }
            }
            let Some(state) = &self.training else {
                return Ok(());
            };
            let training = training::write(root, &state.progress, state.adam_steps)?;
            let shape = [total(&self.parameters)];
            write_array(&training, FIRST, &shape, values)?;
            write_array(&training, SECOND, &shape, values)?;
            match state.averaged {
                true => write_array(&training, RAW, &shape, values),
                false => Ok(()),
            }
        })
    }

    /// Values of all parameters; `usize::MAX` where that is beyond counting.
    pub(super) fn scalars(&self) -> usize {
        total(&self.parameters)
    }

    /// Numbers that the file is to hold; `usize::MAX` where that is beyond counting.
    fn numbers(&self) -> usize {
        let training = self.training.as_ref();
        let vectors = training.map_or(0, |state| 2 + usize::from(state.averaged));
        let parameters = self.scalars().saturating_mul(1 + vectors);
        parameters.saturating_add(total(&self.buffers))
    }

    /// Reads everything but the numbers.
    ///
    /// # Errors
    /// Missing or malformed content; more numbers than the file has bytes for.
    pub fn read(root: &File) -> Result<Self> {
        let arrays = |name: &str| -> Result<Vec<Array>> {
            let names = root.read_strings(&format!("{name}_order"))?;
            let group = root.group(name)?;
            let array = |name: String| group.shape(&name).map(|shape| Array { name, shape });
            names.into_iter().map(array).collect()
        };
        let first_version = root.header().is_some_and(|h| h.version == 1);
        let description = root.read_text("description")?;
        let task = match first_version {
            true => upgrade::task(&description).map(String::from),
            false => root.attr_text("task"),
        };
        let mut layout = Self {
            task: task.map_err(|e| e.in_file(root.path()))?,
            description,
            parameters: arrays("parameters")?,
            buffers: arrays("buffers")?,
            training: None,
        };
        if root.has("training") {
            let group = root.group("training")?;
            let averaged = group.has(RAW);
            let flat = [FIRST, SECOND].into_iter().chain(averaged.then_some(RAW));
            for name in flat {
                let (shape, len) = (group.shape(name)?, total(&layout.parameters));
                if shape != [len] {
                    let what = format!("training/{name} has shape {shape:?}, where [{len}] fits");
                    return Err(Error::file(root.path(), what));
                }
            }
            let (mut progress, adam_steps) = training::read(&group)?;
            if first_version {
                progress.job = upgrade::job_text(root.path(), &progress.job)?;
            }
            layout.training = Some(State {
                progress,
                adam_steps,
                averaged,
            });
        }
        let (numbers, bytes) = (layout.numbers(), files::check(root.path())?.len());
        if numbers.saturating_mul(4) as u64 > bytes {
            let what = format!("claims {numbers} numbers, and has {bytes} bytes");
            return Err(Error::file(root.path(), what));
        }
        Ok(layout)
    }
}

pub(super) const FIRST: &str = "first_moments";
pub(super) const SECOND: &str = "second_moments";
pub(super) const RAW: &str = "raw_parameters";

/// Rows of an array that are read or written at a time, and values in a row.
pub(super) fn rows(shape: &[usize]) -> (usize, usize) {
    let row: usize = shape.iter().skip(1).product();
    ((CHUNK / row.max(1)).max(1), row)
}

fn write_array(
    group: &Node,
    name: &str,
    shape: &[usize],
    values: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
) -> Result<()> {
    let len: usize = shape.iter().product();
    if len <= CHUNK {
        return group.write(name, shape, &values(len)?, Storage::Plain);
    }
    group.create::<f32>(name, shape, Storage::Plain)?;
    let (rows, row) = rows(shape);
    for start in (0..shape[0]).step_by(rows) {
        let rows = rows.min(shape[0] - start);
        group.write_rows(name, start, &values(rows * row)?)?;
    }
    Ok(())
}
