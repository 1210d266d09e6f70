//! Whether a file can be read without harm.
//!
//! The HDF5 library trusts the structures within a file: one wrong byte can end the process. A
//! file of ours has a checksum against damage, but a user's own file has none, and a checksum can
//! be made to fit. So a child process reads the file first, in the way in which it will be read.

use super::Node;
use crate::Result;
use crate::child::{Child, Pipe, Task, is_served};
use std::path::Path;

/// What children are asked to do here.
pub const TASKS: [(&str, Task); 1] = [("hdf5", answer)];

/// Bytes of numbers that are read before a file is trusted. Of what is beyond, the first and the
/// last rows of each dataset are read: numbers lead nowhere, and what leads to them is small.
const NUMBERS: u64 = 1 << 28;
/// Bytes of numbers to be read at once.
const PIECE: u64 = 1 << 24;
/// Groups within each other, and objects in all, that no file of ours comes near.
const DEEPEST: usize = 16;
const MOST: usize = 1 << 24;

/// Makes sure that reading the file at `path` ends no process. A program that does not serve
/// children ([`crate::serve_children`]) goes without that.
///
/// # Errors
/// A file on which the process that reads it dies, or does not come to an end.
pub(super) fn survived(path: &Path) -> Result<()> {
    if !is_served() {
        return Ok(());
    }
    let mut child = Child::start("hdf5", path, &[])?;
    let mut message = Vec::new();
    while child.receive(&mut message)? {}
    Ok(())
}

fn answer(path: &Path, _: &[String], pipe: &mut Pipe) -> Result<()> {
    examine(path, &mut || pipe.send(&[]))
}

/// Reads all of the file at `path` in this process, which a damaged one may end; `alive` is called before
/// each object.
///
/// # Errors
/// A file that is not HDF5; what `alive` reports.
pub fn examine(path: &Path, alive: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let root = super::open_hdf5(path)?;
    let mut walk = Walk {
        alive,
        objects: 0,
        numbers: 0,
    };
    walk.group(&root, 0)
}

struct Walk<'a> {
    alive: &'a mut dyn FnMut() -> Result<()>,
    objects: usize,
    /// Bytes of numbers read.
    numbers: u64,
}

impl Walk<'_> {
    /// Reads all that is in a group. What cannot be read is no matter here: whoever needs it will
    /// say so, in better words.
    fn group(&mut self, group: &Node, depth: usize) -> Result<()> {
        let _ = group.attributes();
        for name in group.names().unwrap_or_default() {
            self.objects += 1;
            if depth >= DEEPEST || self.objects >= MOST {
                return Ok(());
            }
            (self.alive)()?;
            match group.shape(&name) {
                Ok(shape) => self.dataset(group, &name, &shape),
                Err(_) => {
                    if let Ok(inner) = group.group(&name) {
                        self.group(&inner, depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn dataset(&mut self, group: &Node, name: &str, shape: &[usize]) {
        let _ = group.read_strings(name);
        let Some((&rows, row)) = shape.split_first() else {
            let _ = group.read_shaped::<f64>(name, &[]);
            let _ = group.read_shaped::<i64>(name, &[]);
            return;
        };
        let row: u64 = row.iter().fold(8, |n, &k| n.saturating_mul(k as u64));
        let piece = usize::try_from(PIECE / row.max(1)).unwrap_or(1).max(1);
        let mut from = 0;
        while from < rows {
            let to = rows.min(from.saturating_add(piece));
            let read = group.read_rows::<f64>(name, from..to).map(drop);
            if read.is_err() && group.read_rows::<i64>(name, from..to).is_err() {
                return;
            }
            self.numbers = self
                .numbers
                .saturating_add(row.saturating_mul((to - from) as u64));
            let last = rows - piece.min(rows);
            from = match self.numbers > NUMBERS {
                true => to.max(last),
                false => to,
            };
        }
    }
}
