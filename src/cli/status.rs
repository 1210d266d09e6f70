//! `holosig status`.

use crate::train::RunFolder;
use crate::train::status::status;
use crate::{Error, Result, say};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Run folders, or folders of such
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let mut failed: Option<Error> = None;
    let mut fail = |e: Error| {
        if let Some(before) = failed.replace(e) {
            log::error!("{before}");
        }
    };
    for named in &args.runs {
        match runs_in(named) {
            Ok(runs) => {
                for run in runs {
                    match status(&run) {
                        Ok(status) => say!("{}: {}", run.display(), status.line()),
                        Err(e) => fail(e),
                    }
                }
            }
            Err(e) => fail(e),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The run folder itself, or those that lie in a folder.
fn runs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(Error::file(folder, "no such run folder"));
    }
    if RunFolder::new(folder).is_one() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut runs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| RunFolder::new(path).is_one())
        .collect();
    runs.sort();
    match runs.is_empty() {
        true => Err(Error::file(folder, "no run folder, nor a folder of such")),
        false => Ok(runs),
    }
}
