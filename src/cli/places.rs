//! Options that name files: checkpoints to read, and outputs that may be there already.

use crate::comm::World;
use crate::store::{self, Claim, Output};
use crate::train::RunFolder;
use crate::{Error, Result};
use clap::builder::{PathBufValueParser, TypedValueParser};
use std::path::{Path, PathBuf};

/// The option `--force` of every command that writes files.
#[derive(clap::Args)]
pub struct Overwrite {
    /// Overwrite files that are there already, whatever they hold
    #[arg(long)]
    force: bool,
}

impl Overwrite {
    /// Makes sure before the work that the outputs can be written and that nothing is lost by it
    /// ([`store::claim`]). Keep the result until they are written. Collective; `outputs` is asked on
    /// rank 0 alone.
    ///
    /// # Errors
    /// An output that may not or cannot be written.
    pub fn claim(
        &self,
        world: &World,
        outputs: impl FnOnce() -> Result<Vec<Output>>,
        inputs: &[&Path],
    ) -> Result<Option<Claim>> {
        world.on_root(|| store::claim(&outputs()?, inputs, self.force))
    }
}

/// Reads the name of a checkpoint: for a run folder it is that of its best checkpoint, or of its
/// last one where nothing has been validated yet.
pub fn checkpoint() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(checkpoint_in)
}

fn checkpoint_in(path: PathBuf) -> PathBuf {
    if !path.is_dir() {
        return path;
    }
    let run = RunFolder::new(&path);
    let found = [run.best(), run.last()].into_iter().find(|p| p.exists());
    found.unwrap_or(path)
}

/// Refuses an output whose name says that it is of a format that is not written.
///
/// # Errors
/// An ending other than `endings`, which are without their dots; `instead` is the way out.
pub fn ending(path: &Path, endings: &[&str], instead: &str) -> Result<()> {
    let own = path.extension().unwrap_or_default().to_string_lossy();
    let fits = endings.iter().any(|e| own.eq_ignore_ascii_case(e));
    match fits {
        true => Ok(()),
        false => Err(Error::file(
            path,
            format!("the ending must be .{}; {instead}", endings.join(" or .")),
        )),
    }
}
