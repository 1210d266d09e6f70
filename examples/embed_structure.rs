//! Embeds the residues of a structure with a trained H-AE or H-VAE:
//!
//! ```sh
//! cargo run --release --example embed_structure -- runs/first/checkpoints/best.h5 1abc.pdb
//! ```
//!
//! prints, for every residue, the length of its invariant vector and the first axis of its frame.

use candle_core::Device;
use holosig::comm::World;
use holosig::data::Split;
use holosig::data::dataset::Dataset;
use holosig::data::structure;
use holosig::downstream::embedding::{Embedder, Neighborhoods, Source};
use holosig::{Error, Result};
use std::path::PathBuf;

fn main() -> Result<()> {
    holosig::leave_threads_to_rayon();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(checkpoint), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err(Error::input(
            "usage: embed_structure CHECKPOINT.h5 FILE.pdb",
        ));
    };

    // A world of one rank; under mpirun, `World::run` would give all of them.
    let embedder = Embedder::open(&World::alone(), &checkpoint, &Device::Cpu)?;

    // The structure, read as the model's training data were.
    let read = structure::read(&file, &embedder.description.read)?;
    let dataset = Dataset::of_structures(read)?;

    // The atoms around each residue as zernikegrams, and what the encoder makes of them.
    let name = file.display().to_string();
    let residues = Neighborhoods::new(name, &dataset, Some(Split::Test), &embedder.description)?;
    let block = embedder.embed(&residues.zernikegrams(0..residues.len())?, false)?;
    let width = block.invariants.len() / residues.len();
    let rows = block.invariants.chunks(width).zip(block.frames.chunks(9));
    for (&centre, (invariant, frame)) in dataset.split(Split::Test).iter().zip(rows) {
        let id = dataset.residue(centre).residue;
        let length = invariant.iter().map(|v| v * v).sum::<f32>().sqrt();
        println!(
            "{} {}{}: length {length:.3}, x axis {:?}",
            id.chain,
            id.name,
            id.number,
            &frame[..3]
        );
    }
    Ok(())
}
