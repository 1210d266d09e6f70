//! `holosig prepare`.

mod cut;
mod grd;

use crate::{Error, Result};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Pack protein structures
    Structures(Structures),
    /// Simulate gene regulatory dynamics
    Grd(grd::Args),
}

#[derive(clap::Args)]
pub struct Structures {}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Structures(_) => Err(Error::internal("not written yet")),
        Command::Grd(a) => grd::run(a),
    }
}
