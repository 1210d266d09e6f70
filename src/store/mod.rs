//! HDF5 files that are complete and verified, or not there.
//!
//! Every file that holosig writes begins with a 512-byte HDF5 user block holding one line of
//! text: the file's kind, its schema version, its length and the XXH3-128 of every byte after
//! the block. The rest is plain HDF5 that h5py and `h5dump` read without our code.
//!
//! A file is written beside its place, synced, and renamed, so a reader sees the old file or
//! the new one and never a part of either. Object time stamps are off: equal content gives
//! equal bytes.

mod atomic;
mod attributes;
mod element;
mod examine;
mod header;
mod node;
mod output;
mod strings;
mod tables;

pub use atomic::{Scratch, write_bytes};
pub use element::Element;
pub use examine::{TASKS, examine};
pub use header::{Digest, Header};
pub use node::{Node, Storage};
pub use output::{Claim, Content, Output, claim};
pub use tables::{Format, convert};

use crate::{Error, Result, files};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// What a holosig file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Structures and the residues to look at.
    Dataset,
    /// Molecules and crystals with energies, forces and other targets.
    Systems,
    /// Trajectories and their segments.
    Trajectories,
    /// A model, and perhaps where its training stands.
    Checkpoint,
    /// What a model makes of residues or trajectories.
    Embeddings,
    /// Invariants of residue neighborhoods along trajectories.
    InvariantPaths,
    /// Signatures and measures of motion, per residue.
    Motion,
    /// Zernikegrams of point clouds.
    Zernikegrams,
    /// Coefficients of signals on the sphere.
    Spheres,
    /// What a decoder makes of latents of our choice.
    Generated,
    /// Signatures or log-signatures of paths.
    Signatures,
    /// Binding pockets as vectors.
    Pockets,
    /// Fitted regressors.
    Regressor,
    /// Predictions of regressors.
    Predictions,
    /// Energies, forces and other targets that a network of atoms predicts.
    PredictedSystems,
    /// Protein chains as residues, with classes or labels.
    Chains,
    /// Probabilities of the classes or labels of chains.
    PredictedChains,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 17] = [
        Kind::Dataset,
        Kind::Systems,
        Kind::Trajectories,
        Kind::Checkpoint,
        Kind::Embeddings,
        Kind::InvariantPaths,
        Kind::Motion,
        Kind::Zernikegrams,
        Kind::Spheres,
        Kind::Generated,
        Kind::Signatures,
        Kind::Pockets,
        Kind::Regressor,
        Kind::Predictions,
        Kind::PredictedSystems,
        Kind::Chains,
        Kind::PredictedChains,
    ];

    /// The word in the header of a file.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Dataset => "dataset",
            Kind::Systems => "systems",
            Kind::Trajectories => "trajectories",
            Kind::Checkpoint => "checkpoint",
            Kind::Embeddings => "embeddings",
            Kind::InvariantPaths => "invariant-paths",
            Kind::Motion => "motion",
            Kind::Zernikegrams => "zernikegrams",
            Kind::Spheres => "spheres",
            Kind::Generated => "generated",
            Kind::Signatures => "signatures",
            Kind::Pockets => "pockets",
            Kind::Regressor => "regressor",
            Kind::Predictions => "predictions",
            Kind::PredictedSystems => "predicted-systems",
            Kind::Chains => "chains",
            Kind::PredictedChains => "predicted-chains",
        }
    }

    /// A file of this kind in words, with the article.
    pub fn phrase(self) -> String {
        match self {
            Kind::Dataset | Kind::Checkpoint => format!("a {self} of holosig"),
            Kind::Regressor => "a fitted regressor of holosig".into(),
            _ => format!("a file of {self} of holosig"),
        }
    }

    /// The schema version that this program writes, and the newest that it reads.
    pub fn version(self) -> u32 {
        match self {
            // Version 2 names its task.
            Kind::Checkpoint => 2,
            // Version 2 may hold ligands.
            Kind::Dataset => 2,
            _ => 1,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Keeps HDF5 from taking file locks, which NFS and Lustre often refuse; a user's own choice
/// in the environment stands. Call it first thing in `main`: HDF5 reads the variable when it
/// starts.
pub fn disable_file_locks() {
    const VARIABLE: &str = "HDF5_USE_FILE_LOCKING";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: called at the start of main, before any other thread exists.
        unsafe { std::env::set_var(VARIABLE, "FALSE") };
    }
}

/// An open file, verified; derefs to its root group.
pub struct File {
    root: Node,
    header: Option<Header>,
}

impl File {
    /// The verified header; `None` for a user's own HDF5 file.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }
}

impl Deref for File {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.root
    }
}

/// A file that is being written; derefs to its root group.
///
/// The file appears under its name only when [`NewFile::finish`] has completed it and it is on
/// the disk; if it is dropped before, nothing is left behind.
pub struct NewFile {
    root: Node,
    file: hdf5::File,
    kind: Kind,
    path: PathBuf,
    scratch: Scratch,
}

impl NewFile {
    /// Begins a file of `kind` that will stand at `path`.
    ///
    /// # Errors
    /// The folder is missing or cannot be written to.
    pub fn create(path: &Path, kind: Kind) -> Result<Self> {
        let scratch = Scratch::new(path)?;
        let failed = |e: hdf5::Error| cannot_write(path, &e);
        let file = hdf5::File::with_options()
            .with_fcpl(|p| p.userblock(header::BLOCK as u64).obj_track_times(false))
            .create(scratch.path())
            .map_err(failed)?;
        let root = Node::new(path.to_path_buf(), file.as_group().map_err(failed)?);
        Ok(Self {
            root,
            file,
            kind,
            path: path.to_path_buf(),
            scratch,
        })
    }

    /// Completes the file and puts it in its place. Drop the nodes of the file before.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<Digest> {
        let Self {
            root,
            file,
            kind,
            path,
            scratch,
        } = self;
        drop(root);
        file.flush()
            .and_then(|()| file.close())
            .map_err(|e| cannot_write(&path, &e))?;
        let header = Header::of(scratch.path(), kind)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(scratch.path())
            .map_err(|e| Error::io(&path, e))?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header.to_block()))
            .map_err(|e| Error::io(&path, e))?;
        drop(file);
        scratch.commit()?;
        Ok(header.digest)
    }
}

impl Deref for NewFile {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.root
    }
}

fn cannot_write(path: &Path, error: &hdf5::Error) -> Error {
    node::failure(path, "cannot write", error)
}

/// Writes a file of `kind` at `path` with the content that `fill` puts into the root group: a
/// [`NewFile`] from beginning to end.
///
/// # Errors
/// An unwritable folder, a full disk, and whatever `fill` reports.
pub fn write(path: &Path, kind: Kind, fill: impl FnOnce(&Node) -> Result<()>) -> Result<Digest> {
    let file = NewFile::create(path, kind)?;
    fill(&file)?;
    file.finish()
}

/// Opens a file of ours after verifying every byte of it, and that reading it ends no process
/// (a checksum can be made to fit).
///
/// # Errors
/// One line that tells a missing or unreadable file from one that is not HDF5, not ours, of
/// another kind, of a newer schema version, truncated or damaged.
pub fn open(path: &Path, kind: Kind) -> Result<File> {
    let header = Header::read(path)?;
    header.expect(path, kind)?;
    header.verify(path)?;
    examine::survived(path)?;
    Ok(File {
        root: open_hdf5(path)?,
        header: Some(header),
    })
}

/// Opens a file of ours whose bytes another rank has just verified with [`open`].
///
/// # Errors
/// As [`open`], except that damage inside the file is not looked for.
pub fn open_trusted(path: &Path, kind: Kind) -> Result<File> {
    let header = Header::read(path)?;
    header.expect(path, kind)?;
    Ok(File {
        root: open_hdf5(path)?,
        header: Some(header),
    })
}

/// Opens any HDF5 file: one that a user made, and that no checksum protects. It is read once by a
/// child process before this one touches it.
///
/// # Errors
/// A missing or unreadable file, one that is not HDF5, or a damaged one.
pub fn open_plain(path: &Path) -> Result<File> {
    files::check(path)?;
    examine::survived(path)?;
    open_plain_trusted(path)
}

/// Opens a file that another rank has just opened with [`open_plain`].
///
/// # Errors
/// As [`open_plain`], except that damage inside the file is not looked for.
pub fn open_plain_trusted(path: &Path) -> Result<File> {
    files::open(path)?;
    Ok(File {
        root: open_hdf5(path)?,
        header: None,
    })
}

fn open_hdf5(path: &Path) -> Result<Node> {
    let not_hdf5 = |_| Error::file(path, "not an HDF5 file, or a truncated one");
    let file = hdf5::File::open(path).map_err(not_hdf5)?;
    let root = file.as_group().map_err(not_hdf5)?;
    Ok(Node::new(PathBuf::from(path), root))
}

#[cfg(test)]
mod tests;
