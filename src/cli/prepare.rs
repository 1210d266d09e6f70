//! `holosig prepare`.

use crate::{Error, Result};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Pack protein structures
    Structures(Structures),
}

#[derive(clap::Args)]
pub struct Structures {}

pub fn run(_command: Command) -> Result<()> {
    Err(Error::internal("not written yet"))
}
