//! Options that name files: checkpoints to read, and outputs that may be there already.

use crate::comm::World;
use crate::data::sites::Sites;
use crate::store::{self, Claim, Format, Kind, Output, Scratch};
use crate::train::RunFolder;
use crate::{Error, Result};
use clap::ValueEnum;
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

/// The value of an option that is called so; the error lists those that there are.
pub fn named<T: ValueEnum>(name: &str) -> std::result::Result<T, String> {
    T::from_str(name.trim(), true).map_err(|_| {
        let all = T::value_variants().iter().filter_map(T::to_possible_value);
        let all: Vec<String> = all.map(|v| v.get_name().to_string()).collect();
        format!("{name:?} is none of {}", all.join(", "))
    })
}

/// The options that choose residues.
#[derive(clap::Args)]
pub struct Places {
    /// Only residues of these chains, as the files name them
    #[arg(long, value_name = "CHAIN", value_delimiter = ',')]
    chain: Vec<String>,
    /// Only residues of these numbers, as in A:10-20,B:5; with --chain, both
    #[arg(long, value_name = "CHAIN:FROM-TO")]
    residues: Option<Sites>,
}

impl Places {
    /// What is chosen; everything, if nothing is.
    pub fn chosen(&self) -> Sites {
        let chains = self.chain.iter().map(|name| Sites::chain(name));
        chains.fold(self.residues.clone().unwrap_or_default(), Sites::and)
    }
}

/// Reads the name of a checkpoint: for a run folder it is that of its best checkpoint, or of its
/// last one where nothing has been validated yet.
pub fn checkpoint() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| RunFolder::checkpoint_in(&path))
}

/// The file that a command writes: HDF5, or another format that its ending names and that is made
/// of HDF5 when this is complete.
pub struct Target<'a> {
    out: &'a Path,
    kind: Kind,
    format: Option<Format>,
    /// Of the HDF5 file where this is not the result; on rank 0.
    scratch: Option<Scratch>,
}

impl<'a> Target<'a> {
    /// A file of `kind`, or one that is made of it.
    pub fn new(out: &'a Path, kind: Kind) -> Self {
        let ending = out.extension().unwrap_or_default().to_ascii_lowercase();
        Self {
            out,
            kind,
            format: match ending.to_str() {
                Some("csv") => Some(Format::Csv),
                Some("npz") => Some(Format::Npz),
                _ => None,
            },
            scratch: None,
        }
    }

    /// What is going to be written.
    pub fn output(&self) -> Output {
        match self.format {
            Some(format) => Output::new(self.out, format.content(self.kind)),
            None => Output::new(self.out, self.kind).of_any_ending(),
        }
    }

    /// Begins the work, after the place has been claimed. Collective.
    ///
    /// # Errors
    /// An ending of another format; a folder that takes no files.
    pub fn begin(&mut self, world: &World) -> Result<()> {
        let instead = "these are the formats that are written (others can be made of .h5 or .csv)";
        world.agree(ending(self.out, &["h5", "hdf5", "csv", "npz"], instead))?;
        if self.format.is_some() {
            // A name of its own beside that of the result.
            let place = self.out.with_extension("to-convert");
            self.scratch = world.on_root(|| Scratch::new(&place))?;
        }
        Ok(())
    }

    /// Where the HDF5 file is to be written.
    pub fn h5(&self) -> &Path {
        self.scratch.as_ref().map_or(self.out, Scratch::path)
    }

    /// Converts the complete HDF5 file, if need be. Collective.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self, world: &World) -> Result<()> {
        let Some(format) = self.format else {
            return Ok(());
        };
        world.on_root(|| match &self.scratch {
            Some(scratch) => {
                let file = store::open(scratch.path(), self.kind)?;
                store::convert(&file, self.kind, self.out, format)
            }
            None => Ok(()),
        })?;
        Ok(())
    }
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
