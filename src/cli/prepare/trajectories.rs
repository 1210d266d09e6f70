//! `holosig prepare trajectories`.

use super::cut;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::md::{self, Ensemble, Selection, manifest};
use crate::data::trajectory::{self, About};
use crate::store::{Kind, Output};
use crate::{Error, Result};
use std::path::PathBuf;

const EXIT_CODES: &str = "Exit codes: 0, every trajectory was used; 3, the file is written, but some \
    trajectories could not be used and are named (--skip); 2, bad input, nothing is written; 1, any other \
    failure.";

#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// CSV file with the columns trajectory, topology and label, and optionally frames (FROM:TO,
    /// counting from 0: a row is then a window of the trajectory, with a label of its own), group
    /// (what must stay together in one fold: the trajectory where nothing is said) and split (train,
    /// validation or test)
    #[arg(long)]
    manifest: PathBuf,
    /// File to write
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Nodes: all (heavy atoms), backbone, ca, residue, or an expression such as
    /// "protein and name CA and resid 1:50" (chemfiles' selection language, with protein, backbone
    /// and ranges); never water or ions
    #[arg(long, default_value = "all", value_name = "NODES")]
    select: Selection,
    /// Keep one of this many frames
    #[arg(long, default_value_t = 1, value_name = "FRAMES")]
    stride: usize,
    /// Distance within which nodes without bonds (as CA) are neighbors, in Å
    #[arg(long, default_value_t = 8.0, value_name = "DISTANCE")]
    cutoff: f64,
    /// Column with the labels: classes or numbers
    #[arg(long, default_value = "label", value_name = "COLUMN")]
    label: String,
    /// Labels that may occur [default: any]
    #[arg(long, value_delimiter = ',', value_name = "LABEL")]
    classes: Vec<String>,
    /// Leave out trajectories that cannot be used, and name them
    #[arg(long)]
    skip: bool,
    #[command(flatten)]
    cut: cut::Args,
}

/// What is kept in the file.
#[derive(serde::Serialize)]
struct Kept {
    manifest: PathBuf,
    label: String,
    select: String,
    stride: usize,
    cutoff: f64,
    cut: trajectory::Cut,
    folds: usize,
    seed: u64,
}

pub fn run(args: Args) -> Result<()> {
    let kept = Kept {
        manifest: args.manifest.clone(),
        label: args.label.clone(),
        select: args.select.to_string(),
        stride: args.stride,
        cutoff: args.cutoff,
        cut: args.cut.cut(5, 5),
        folds: args.cut.folds,
        seed: args.cut.seed,
    };
    let settings = md::Settings {
        selection: args.select,
        stride: args.stride,
        cutoff: args.cutoff,
    };
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Trajectories)]);
        let _claim = args.overwrite.claim(world, outputs, &[&args.manifest])?;
        let rows = world.agree(manifest::read(&args.manifest, &args.label, &args.classes))?;
        let source = world.agree(Ensemble::new(rows, settings))?;
        let about = About {
            origin: "molecular dynamics",
            unit: "angstrom",
            time_unit: "ps",
            dimensions: 3,
            settings: cut::settings(&kept)?,
            cut: kept.cut,
            folds: kept.folds,
            seed: kept.seed,
            skip: args.skip,
        };
        let summary = trajectory::prepare(world, &args.out, &about, &source)?;
        let notes = source.notes(world)?;
        world.on_root(|| {
            let Some(summary) = summary else {
                return Err(Error::internal("no summary on rank 0"));
            };
            cut::report(&args.out, &summary);
            notes.tell();
            match summary.skipped as u64 {
                0 => Ok(()),
                skipped => Err(Error::Partial {
                    skipped,
                    of: skipped + summary.trajectories as u64,
                }),
            }
        })?;
        Ok(())
    })
}
