//! Tensors of PyTorch files (`.pt`, `.pth`, `.bin`, `.ckpt`), read without Python.
//!
//! A file of `torch.save` is a pickle that names the tensors, and the numbers beside it. The
//! pickle is read as data (`pickle.rs`): nothing in it is executed, and what is no tensor is passed
//! over. Only tensors that are asked for are read.

mod file;
mod pickle;
mod scalar;
mod tensors;
#[cfg(test)]
mod tests;

pub use scalar::Scalar;

use crate::{Error, Result, files};
use file::{Container, Contents};
use std::path::{Path, PathBuf};
use tensors::{State, View};

/// An open file of `torch.save`.
pub struct TorchFile {
    path: PathBuf,
    container: Container,
    state: State,
}

/// A tensor that a file should have.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name in the file.
    pub name: &'a str,
    pub shape: &'a [usize],
}

impl TorchFile {
    /// Opens a file and finds its state dict, also in a training checkpoint
    /// (`{"state_dict": ..., "epoch": ...}`).
    ///
    /// # Errors
    /// A file of another kind, a damaged one, one that holds no state dict or several of the same
    /// right; the operating system's refusals.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = file::open(files::open(path)?);
        let Contents { container, state } = opened.map_err(|e| e.in_file(path))?;
        if !state.place.is_empty() {
            log::info!(
                "{}: the state dict is under {:?}",
                path.display(),
                state.place
            );
        }
        Ok(Self {
            path: path.to_path_buf(),
            container,
            state,
        })
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.state.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor; `None` for one that the file does not have.
    ///
    /// # Errors
    /// A tensor of a kind that is not read, or that goes beyond its storage; the caller names the
    /// file.
    pub fn shape(&self, name: &str) -> Result<Option<&[usize]>> {
        Ok(self.view(name)?.map(|view| &view.shape[..]))
    }

    fn view(&self, name: &str) -> Result<Option<&View>> {
        let view = self.state.tensors.get(name);
        view.map(|v| v.as_ref())
            .transpose()
            .map_err(|why| Error::input(format!("tensor {} {why}", tensors::short(name))))
    }

    /// Values of tensors in row-major order, as f32. Each storage is read once, whatever number of
    /// tensors share it, and one at a time is held.
    ///
    /// # Errors
    /// A tensor that is not there or has another shape, a damaged file.
    pub fn read(&mut self, wanted: &[Wanted]) -> Result<Vec<Vec<f32>>> {
        let values = self.gather(wanted);
        values.map_err(|e| e.in_file(&self.path))
    }

    fn gather(&mut self, wanted: &[Wanted]) -> Result<Vec<Vec<f32>>> {
        let views = wanted.iter().map(|w| match self.view(w.name)? {
            Some(view) if view.shape == w.shape => Ok(view.clone()),
            _ => Err(Error::input(format!(
                "no tensor {} of shape {:?}",
                w.name, w.shape
            ))),
        });
        let views = views.collect::<Result<Vec<View>>>()?;
        let mut order: Vec<usize> = (0..views.len()).collect();
        order.sort_by_key(|&i| &views[i].storage);
        let mut values = vec![Vec::new(); views.len()];
        for shared in order.chunk_by(|&a, &b| views[a].storage == views[b].storage) {
            let storage = self.container.read(&views[shared[0]].storage)?;
            for &i in shared {
                values[i] = numbers(&views[i], &storage);
            }
        }
        Ok(values)
    }
}

/// The numbers of a view in row-major order.
fn numbers(view: &View, storage: &[u8]) -> Vec<f32> {
    let (size, len) = (view.scalar.size(), view.shape.iter().product());
    let mut values = Vec::with_capacity(len);
    let mut index = vec![0; view.shape.len()];
    let mut at = view.offset;
    while values.len() < len {
        let bytes = &storage[at * size..(at + 1) * size];
        values.push(view.scalar.read(bytes));
        // The next index: the last axis runs fastest.
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += view.strides[axis];
            if index[axis] < view.shape[axis] {
                break;
            }
            at -= index[axis] * view.strides[axis];
            index[axis] = 0;
        }
    }
    values
}
