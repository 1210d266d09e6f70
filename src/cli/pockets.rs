//! `holosig pockets`.

use super::places::{Overwrite, Places, Target, checkpoint, named};
use super::prepare::progress::Progress;
use crate::comm::World;
use crate::data::Split;
use crate::data::complexes::manifest::Role;
use crate::data::complexes::{Centres, Listing, Options, list};
use crate::downstream::pockets::{self, Pocketer, Pool, Settings, encoder};
use crate::print::count;
use crate::store::Kind;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint of the model, or the folder of a run, whose best one is taken
    #[arg(value_parser = checkpoint())]
    checkpoint: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Å between a residue's CA and the nearest heavy atom of the ligand
    #[arg(long, default_value_t = 10.0)]
    cutoff: f64,
    /// Atoms whose neighborhoods are embedded
    #[arg(long, value_enum, default_value_t)]
    centres: Centres,
    /// How the neighborhoods become a pocket
    #[arg(long, value_enum, default_value_t)]
    pool: Pool,
    /// Leave out the embedding of an untrained encoder
    #[arg(long)]
    no_untrained: bool,
    /// Seed of the untrained encoder
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop at the first complex that cannot be used
    #[arg(long)]
    strict: bool,
    /// Pocket file to write: .h5 with everything, which `regress` and `predict` read, .csv or .npz
    /// with its arrays
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    sites: Places,
    #[command(flatten)]
    overwrite: Overwrite,
}

/// The options that name complexes.
#[derive(clap::Args)]
pub struct Source {
    /// Complexes: a CSV file (columns protein, ligand and, if you like, id, affinity, split,
    /// group and others), PDBbind's folder, or ATOM3D's data.mdb or its folder
    #[arg(long, value_name = "CSV|DIR|MDB")]
    complexes: PathBuf,
    /// Column of the CSV file for a role: id, protein, ligand, affinity, split or group
    #[arg(long, value_name = "ROLE=NAME", value_parser = role)]
    column: Vec<(Role, String)>,
    /// PDBbind's index file, where the folder has several
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// List of the ids, or numbers, of a split's complexes
    #[arg(long, value_name = "SPLIT=FILE", value_parser = split)]
    split: Vec<(Split, PathBuf)>,
}

fn pair(text: &str) -> std::result::Result<(&str, &str), String> {
    text.split_once('=')
        .ok_or_else(|| "NAME=VALUE is needed".into())
}

fn role(text: &str) -> std::result::Result<(Role, String), String> {
    let (role, name) = pair(text)?;
    Ok((named(role)?, name.to_string()))
}

fn split(text: &str) -> std::result::Result<(Split, PathBuf), String> {
    let (split, path) = pair(text)?;
    let split = split.parse::<Split>().map_err(|e| e.to_string())?;
    Ok((split, path.into()))
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let start = std::time::Instant::now();
        let mut target = Target::new(&args.out, Kind::Pockets);
        let outputs = || Ok(vec![target.output()]);
        let inputs: Vec<&Path> = args
            .source
            .inputs()
            .into_iter()
            .chain([&*args.checkpoint])
            .collect();
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        target.begin(world)?;
        let embedder = encoder::open(world, &args.checkpoint)?;
        let settings = Settings {
            cutoff: args.cutoff,
            centres: args.centres,
            pool: args.pool,
            untrained: (!args.no_untrained).then_some(args.seed),
            sites: args.sites.chosen(),
            strict: args.strict,
        };
        let pocketer = world.agree(Pocketer::new(embedder, settings))?;
        let listing = args.source.listing(world)?;
        let total = listing.entries.len();
        let progress = Progress::new(world.is_root(), total, "complexes");
        let summary = pockets::write(world, &pocketer, &listing, target.h5(), |n| progress.at(n))?;
        drop(progress);
        target.finish(world)?;
        if world.is_root() {
            crate::say!(
                "{}: {} of {} in {:.1} s",
                args.out.display(),
                count(summary.complexes, "pocket"),
                count(summary.residues, "residue"),
                start.elapsed().as_secs_f64()
            );
            summary.notes.tell();
        }
        world.agree(match summary.skipped {
            0 => Ok(()),
            skipped => Err(Error::Partial {
                skipped: skipped as u64,
                of: total as u64,
            }),
        })
    })
}

impl Source {
    /// The files that are read to list the complexes.
    pub fn inputs(&self) -> Vec<&Path> {
        let lists = self.split.iter().map(|(_, file)| file);
        let files = [&self.complexes].into_iter().chain(&self.index);
        files.chain(lists).map(PathBuf::as_path).collect()
    }

    /// Lists the complexes on rank 0 and shares the list. Collective.
    ///
    /// # Errors
    /// As [`list`].
    pub fn listing(&self, world: &World) -> Result<Listing> {
        world.broadcast_value(|| {
            let options = Options {
                columns: self.column.clone(),
                index: self.index.clone(),
                splits: self.split.clone(),
            };
            list(&self.complexes, &options)
        })
    }
}
