//! `holosig status`.

use crate::train::status::status;
use crate::{Error, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Run folders
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let mut failed: Option<Error> = None;
    for run in &args.runs {
        match status(run) {
            Ok(status) => crate::say!("{}: {}", run.display(), status.line()),
            Err(e) => {
                if let Some(before) = failed.replace(e) {
                    log::error!("{before}");
                }
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
