//! `holosig prepare shapes`.

use super::progress::Progress;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::Split;
use crate::data::prepare::{Wanted, list_named};
use crate::data::spheres::Sample;
use crate::data::spheres::make::{ShapeFile, ShapeMaker};
use crate::data::spheres::mesh::is_mesh_name;
use crate::data::table::Table;
use crate::store::{Kind, Output};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const EXIT_CODES: &str = "Exit codes: 0, every file was used; 3, the dataset is written, but some \
    files could not be used and are named (--skip); 2, bad input, nothing is written; 1, any other \
    failure.";

#[derive(clap::Args, Serialize)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Meshes (.off, .obj, .ply, .stl, also .gz), folders of them, or @LIST
    #[arg(required_unless_present = "table", value_name = "FILE|FOLDER|@LIST")]
    inputs: Vec<PathBuf>,
    /// Table of meshes: the columns file (relative to it), class, split, and perhaps subclass.
    /// Without it, a mesh's class is the name of its folder, and --split is the split of all
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    table: Option<PathBuf>,
    /// Split of meshes that no table deals
    #[arg(long, default_value = "test")]
    split: Split,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    out: PathBuf,
    /// Leave meshes as they stand instead of turning each by a random rotation
    #[arg(long)]
    not_rotated: bool,
    /// Further copies of each training mesh, turned anew and moved by up to a tenth of its radius
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000))]
    copies: u32,
    /// Leave out the channels of the convex hull
    #[arg(long)]
    no_hull: bool,
    /// Half the number of rings of the grid
    #[arg(long, default_value_t = 90)]
    bandwidth: usize,
    /// The largest degree of the coefficients
    #[arg(long, default_value_t = 14)]
    lmax: usize,
    /// Chooses random rotations
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave out meshes that cannot be used, and name them
    #[arg(long)]
    skip: bool,
    #[command(flatten)]
    #[serde(skip)]
    overwrite: Overwrite,
}

/// A file's sample and a remark, or why there is none.
type Outcome = std::result::Result<(Sample, Option<String>), String>;

/// Files that one rank works on at a time.
const BLOCK: usize = 16;

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let inputs: Vec<&Path> = args
            .inputs
            .iter()
            .chain(&args.table)
            .map(PathBuf::as_path)
            .collect();
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Spheres)]);
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        let (lmax, bandwidth) = (args.lmax, args.bandwidth);
        let maker = ShapeMaker::new(lmax, bandwidth, !args.no_hull, !args.not_rotated, args.seed);
        let maker = world.agree(maker)?;
        let files = world.broadcast_value(|| args.files())?;
        let wanted = args.wanted(&files);
        let progress = Progress::new(world.is_root(), wanted.len(), "signals");
        let (mut samples, mut skipped) = (Vec::new(), 0);
        let outcome = |&(i, copy): &(usize, usize)| match maker.sample(&files[i], i, copy) {
            Err(Error::Input(reason)) if args.skip => Ok(Err(reason)),
            other => other.map(Ok),
        };
        world.ordered(
            wanted.len(),
            BLOCK,
            |range| {
                wanted[range]
                    .par_iter()
                    .map(outcome)
                    .collect::<Result<Vec<Outcome>>>()
            },
            |range, outcomes| {
                for outcome in outcomes {
                    match outcome {
                        Ok((sample, remark)) => {
                            remark.iter().for_each(|remark| log::warn!("{remark}"));
                            samples.push(sample);
                        }
                        Err(reason) => {
                            log::warn!("skipped: {reason}");
                            skipped += 1;
                        }
                    }
                }
                progress.at(range.end);
                Ok(())
            },
        )?;
        drop(progress);
        world.on_root(|| {
            let settings = toml::to_string(&args).map_err(Error::internal)?;
            super::spheres::finish(maker.signal(), samples, settings, &args.out)?;
            match skipped {
                0 => Ok(()),
                skipped => Err(Error::Partial {
                    skipped,
                    of: wanted.len() as u64,
                }),
            }
        })?;
        Ok(())
    })
}

impl Args {
    /// Numbers of files and copies: each file once, then the copies of those for training.
    fn wanted(&self, files: &[ShapeFile]) -> Vec<(usize, usize)> {
        let train = |&i: &usize| files[i].split == Split::Train;
        let again = |copy| (0..files.len()).filter(train).map(move |i| (i, copy));
        let once = (0..files.len()).map(|i| (i, 0));
        once.chain((1..=self.copies as usize).flat_map(again))
            .collect()
    }

    fn files(&self) -> Result<Vec<ShapeFile>> {
        if let Some(table) = &self.table {
            return from_table(table);
        }
        let wanted = Wanted {
            is_one: is_mesh_name,
            what: "meshes in it (.off, .obj, .ply, .stl, also .gz)",
            library: None,
        };
        let file = |path: PathBuf| {
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            let label = folder.to_string_lossy().into_owned();
            ShapeFile {
                id: path.display().to_string(),
                subclass: label.clone(),
                label,
                split: self.split,
                path,
            }
        };
        Ok(list_named(&self.inputs, &wanted)?
            .into_iter()
            .map(file)
            .collect())
    }
}

fn from_table(path: &Path) -> Result<Vec<ShapeFile>> {
    let table = Table::read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (file, class, split) = (
        table.column("file")?,
        table.column("class")?,
        table.column("split")?,
    );
    let subclass = table.find("subclass")?;
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for row in table.rows() {
        let id = row.filled(file)?;
        if !seen.insert(id) {
            return Err(row.error(format!("{id} for the second time")));
        }
        let label = row.filled(class)?;
        files.push(ShapeFile {
            path: folder.join(id),
            id: id.to_string(),
            label: label.to_string(),
            subclass: row
                .optional(subclass)
                .filter(|s| !s.is_empty())
                .unwrap_or(label)
                .to_string(),
            split: row.filled(split)?.parse().map_err(|e| row.error(e))?,
        });
    }
    match files.is_empty() {
        true => Err(Error::file(path, "a table of no meshes")),
        false => Ok(files),
    }
}
