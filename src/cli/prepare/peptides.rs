//! `holosig prepare peptides`.

use super::cut;
use super::grd::range;
use crate::Result;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::peptides::{Peptides, Settings};
use crate::data::trajectory::{self, About};
use crate::store::{Kind, Output};
use std::path::PathBuf;

/// The defaults are the example of the documentation.
#[derive(clap::Args)]
pub struct Args {
    /// File to write
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Alanines in each chain
    #[arg(long, default_value_t = 12)]
    residues: usize,
    /// Trajectories in all, half of them of each class
    #[arg(long, default_value_t = 100)]
    trajectories: usize,
    /// Frames of each trajectory
    #[arg(long, default_value_t = 64)]
    frames: usize,
    /// Amplitude of the two hinges in degrees
    #[arg(long, default_value_t = 25.0)]
    swing: f64,
    /// Standard deviation of the trembling of all angles, in degrees
    #[arg(long, default_value_t = 4.0)]
    tremble: f64,
    /// Turns of the hinges from the first frame to the last, or the range they are drawn from
    #[arg(long, default_value = "1,4", value_name = "LOW[,HIGH]", value_parser = range)]
    turns: [f64; 2],
    #[command(flatten)]
    cut: cut::Args,
}

/// What is kept in the file.
#[derive(serde::Serialize)]
struct Kept {
    peptides: Settings,
    cut: trajectory::Cut,
    folds: usize,
}

pub fn run(args: Args) -> Result<()> {
    let kept = Kept {
        peptides: Settings {
            residues: args.residues,
            trajectories: args.trajectories,
            frames: args.frames,
            swing: args.swing,
            tremble: args.tremble,
            turns: args.turns,
            seed: args.cut.seed,
        },
        cut: args.cut.cut(1, 1),
        folds: args.cut.folds,
    };
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Trajectories)]);
        let _claim = args.overwrite.claim(world, outputs, &[])?;
        let source = world.agree(Peptides::new(kept.peptides.clone()))?;
        let about = About {
            origin: "generated peptides",
            unit: "angstrom",
            time_unit: "ps",
            dimensions: 3,
            settings: cut::settings(&kept)?,
            cut: kept.cut,
            folds: kept.folds,
            seed: kept.peptides.seed,
            skip: false,
        };
        if let Some(summary) = trajectory::prepare(world, &args.out, &about, &source)? {
            cut::report(&args.out, &summary);
        }
        Ok(())
    })
}
