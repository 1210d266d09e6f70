//! `holosig hash`.

use crate::Result;
use crate::train::Checkpoint;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint file, or the folder of a run, whose best one is taken
    #[arg(value_name = "CKPT", value_parser = super::places::checkpoint())]
    checkpoint: PathBuf,
}

/// Prints the XXH3-128 of all parameters and buffers in their fixed order: equal models have
/// equal hashes, whatever else differs between their files.
pub fn run(args: Args) -> Result<()> {
    crate::say!("{}", Checkpoint::read(&args.checkpoint)?.hash());
    Ok(())
}
