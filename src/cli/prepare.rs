//! `holosig prepare`.

mod chains;
mod complexes;
mod cut;
mod grd;
pub(super) mod progress;
mod structures;
mod systems;
mod trajectories;

use crate::Result;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Pack protein structures
    Structures(structures::Args),
    /// Pack protein chains as residues, with classes or labels
    Chains(chains::Args),
    /// Pack protein-ligand complexes, alone or with structures
    Complexes(complexes::Args),
    /// Simulate gene regulatory dynamics
    Grd(grd::Args),
    /// Pack molecules and crystals with energies, forces and other targets
    Systems(systems::Args),
    /// Pack molecular-dynamics trajectories
    Trajectories(trajectories::Args),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Structures(a) => structures::run(a),
        Command::Chains(a) => chains::run(a),
        Command::Complexes(a) => complexes::run(a),
        Command::Systems(a) => systems::run(a),
        Command::Grd(a) => grd::run(a),
        Command::Trajectories(a) => trajectories::run(a),
    }
}
