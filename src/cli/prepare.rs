//! `holosig prepare`.

mod chains;
mod complexes;
mod cut;
mod grd;
mod images;
mod peptides;
pub(super) mod progress;
mod shapes;
pub(super) mod spheres;
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
    /// Generate peptides whose class is in their motion
    Peptides(peptides::Args),
    /// Pack molecules and crystals with energies, forces and other targets
    Systems(systems::Args),
    /// Project images onto the sphere
    Images(images::Args),
    /// Look at meshes from the sphere around them
    Shapes(shapes::Args),
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
        Command::Images(a) => images::run(a),
        Command::Shapes(a) => shapes::run(a),
        Command::Peptides(a) => peptides::run(a),
        Command::Trajectories(a) => trajectories::run(a),
    }
}
