//! Files that appear whole: written beside their place, synced, renamed.

use super::output::replaceable;
use crate::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file under a temporary name beside its place; removed again unless committed.
pub struct Scratch {
    place: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Scratch {
    /// Chooses the temporary name and makes sure that the folder takes new files.
    ///
    /// # Errors
    /// The folder is missing, is no folder or cannot be written to; what stands at the place is no
    /// regular file.
    pub fn new(place: &Path) -> Result<Self> {
        let place = &replaceable(place)?;
        let name = place.file_name().unwrap_or_default();
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let temporary = place.with_file_name(hidden);
        File::create(&temporary).map_err(|e| Error::io(place, e))?;
        Ok(Self {
            place: place.to_path_buf(),
            temporary,
            committed: false,
        })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Puts the file in its place: its bytes reach the disk before its name does, and the name
    /// before this returns.
    pub fn commit(mut self) -> Result<()> {
        let io = |e| Error::io(&self.place, e);
        File::open(&self.temporary)
            .and_then(|f| f.sync_all())
            .map_err(io)?;
        std::fs::rename(&self.temporary, &self.place).map_err(io)?;
        self.committed = true;
        sync_folder(&self.place)
    }

    /// Whether `name` is that of a file that a killed process left unfinished.
    pub fn is_leftover(name: &str) -> bool {
        name.starts_with('.') && name.ends_with(".part")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.committed {
            // Best effort: the failure that brought us here is the one to report.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Makes a rename in the folder of `path` survive a crash of the machine.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(|e| Error::io(folder, e))
}

/// Writes a small file (a job, a picture) whole.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let scratch = Scratch::new(path)?;
    std::fs::write(scratch.path(), bytes).map_err(|e| Error::io(path, e))?;
    scratch.commit()
}
