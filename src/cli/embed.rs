//! `holosig embed`.

use super::places::{Overwrite, Places, Target, checkpoint, ending};
use super::prepare::progress::Progress;
use crate::comm::{DeviceKind, World};
use crate::data::Split;
use crate::data::dataset::Dataset;
use crate::data::prepare::{collect, list_files};
use crate::data::structure::{Notes, ReadOptions, Structure};
use crate::data::trajectory;
use crate::downstream::coarse::{CoarseGrainer, STRUCTURE};
use crate::downstream::embedding::{self, Embedder, Neighborhoods, Source, ZernikegramFile};
use crate::downstream::motion;
use crate::draw::PICTURE;
use crate::print::count;
use crate::store::{Content, Kind, Output};
use crate::{Error, Result};
use candle_core::Device;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(false))]
pub struct Args {
    /// Checkpoint of the model, or the folder of a run, whose best one is taken
    #[arg(value_parser = checkpoint())]
    checkpoint: PathBuf,
    /// Structure files (PDB or mmCIF, gzipped or not), folders of them, or @LIST; read as those
    /// that the model was trained on
    #[arg(long, value_name = "FILE|FOLDER|@LIST", group = "source", num_args = 1..)]
    structures: Vec<PathBuf>,
    /// Stop at the first structure file that cannot be used
    #[arg(long, requires = "structures")]
    strict: bool,
    /// Dataset file of `holosig prepare`
    #[arg(long, value_name = "FILE", group = "source")]
    dataset: Option<PathBuf>,
    /// Only this split of the dataset: train, validation or test
    #[arg(long, requires = "dataset")]
    split: Option<Split>,
    /// Zernikegrams, as `holosig zernike` writes them
    #[arg(long, value_name = "FILE", group = "source")]
    zernikegrams: Option<PathBuf>,
    /// Trajectories file of `holosig prepare`, for a Deep Signature model, or with --holographic for an
    /// H-(V)AE
    #[arg(long, value_name = "FILE", group = "source")]
    trajectories: Option<PathBuf>,
    /// Invariants of every residue in every frame, by an H-(V)AE: paths that no rotation or
    /// translation of a frame changes
    #[arg(long, requires = "trajectories", conflicts_with_all = ["clusters_pdb", "plots", "reconstruct"])]
    holographic: bool,
    /// Also the frame of each residue relative to that of the residue before it
    #[arg(long, requires = "holographic")]
    relative_frames: bool,
    /// Folder for PDB files whose B-factors are the numbers of the learned beads
    #[arg(long, value_name = "DIR", requires = "trajectories")]
    clusters_pdb: Option<PathBuf>,
    /// Folder for pictures of the segments that the model is surest of: the coarse path, and
    /// which beads carry the decision
    #[arg(long, value_name = "DIR", requires = "trajectories")]
    plots: Option<PathBuf>,
    /// Embedding file to write: .h5 with everything, .csv or .npz with its arrays
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    sites: Places,
    #[command(flatten)]
    overwrite: Overwrite,
    /// What an H-(V)AE computes on
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    device: DeviceKind,
    /// Also write zernikegrams, their reconstructions and the cosine loss of each
    #[arg(long)]
    reconstruct: bool,
}

pub fn run(args: Args) -> Result<()> {
    let elsewhere = args.trajectories.is_some() || args.zernikegrams.is_some();
    if elsewhere && !args.sites.chosen().is_empty() {
        return Err(Error::input(
            "--chain and --residues choose residues of --structures or --dataset",
        ));
    }
    if args.holographic {
        return holographic(&args);
    }
    if args.trajectories.is_some() && args.device != DeviceKind::Auto {
        return Err(Error::input(
            "--device: a Deep Signature model embeds on the processor",
        ));
    }
    World::run(|world| {
        let mut target = Target::new(&args.out, Kind::Embeddings);
        let _claim = args
            .overwrite
            .claim(world, || args.outputs(&target), &args.inputs())?;
        target.begin(world)?;
        if let Some(path) = &args.trajectories {
            let grainer = CoarseGrainer::open(world, &args.checkpoint, &Device::Cpu)?;
            let dataset = trajectory::Dataset::open(world, path)?;
            let (pdb, plots) = (args.clusters_pdb.as_deref(), args.plots.as_deref());
            grainer.write(world, &dataset, target.h5(), pdb, plots)?;
            target.finish(world)?;
            if world.is_root() {
                crate::say!(
                    "{}: {}, {}",
                    args.out.display(),
                    count(dataset.trajectories().len(), "trajectory"),
                    count(dataset.segments().len(), "segment")
                );
            }
            return Ok(());
        }
        let place = world.agree(world.place(args.device))?;
        let embedder = Embedder::open(world, &args.checkpoint, &place.device)?;
        let description = &embedder.description;
        if let Some(path) = &args.zernikegrams {
            let source = ZernikegramFile::open(world, path, &description.zernike)?;
            return write(world, &args, &embedder, &source, target);
        }
        let (name, dataset, skipped) = match &args.dataset {
            Some(path) => {
                let dataset = world.agree(Dataset::open(path))?;
                (path.display().to_string(), dataset, Skipped::default())
            }
            None => {
                let (dataset, skipped) = read(world, &args, &description.read)?;
                let name = count(dataset.structures().len(), "structure");
                (name, dataset, skipped)
            }
        };
        let source = Neighborhoods::new(name, &dataset, args.split, description)
            .and_then(|source| source.at(&args.sites.chosen()));
        write(world, &args, &embedder, &world.agree(source)?, target)?;
        world.agree(match skipped {
            Skipped { files: 0, .. } => Ok(()),
            Skipped { files, of } => Err(Error::Partial { skipped: files, of }),
        })
    })
}

/// Paths of invariants.
fn holographic(args: &Args) -> Result<()> {
    World::run(|world| {
        let start = std::time::Instant::now();
        let output = || Output::new(&args.out, Kind::InvariantPaths).of_any_ending();
        let outputs = || Ok(vec![output()]);
        let _claim = args.overwrite.claim(world, outputs, &args.inputs())?;
        let instead = "paths of invariants are too large for other formats";
        world.agree(ending(&args.out, &["h5", "hdf5"], instead))?;
        let place = world.agree(world.place(args.device))?;
        let embedder = Embedder::open(world, &args.checkpoint, &place.device)?;
        let path = args.trajectories.as_deref().unwrap_or(Path::new(""));
        let dataset = trajectory::Dataset::open(world, path)?;
        let frames: u64 = dataset.trajectories().iter().map(|t| t.frames).sum();
        let progress = Progress::new(world.is_root(), frames as usize, "frames");
        let relative = args.relative_frames;
        let summary = motion::write_paths(world, &embedder, &dataset, relative, &args.out, |n| {
            progress.at(n);
        })?;
        drop(progress);
        if world.is_root() {
            let seconds = start.elapsed().as_secs_f64();
            let n = summary.neighborhoods;
            crate::say!(
                "{}: {}, {} in {seconds:.1} s ({:.0} per second)",
                args.out.display(),
                count(summary.trajectories, "trajectory"),
                count(n, "neighborhood"),
                n as f64 / seconds
            );
        }
        Ok(())
    })
}

impl Args {
    fn outputs(&self, target: &Target) -> Result<Vec<Output>> {
        let mut outputs = vec![target.output()];
        let folders = [
            (&self.clusters_pdb, "pdb", STRUCTURE),
            (&self.plots, "svg", PICTURE),
        ];
        for (folder, ending, mark) in folders {
            if let Some(folder) = folder {
                let content = Content::marked("a picture or structure of holosig", mark);
                outputs.extend(Output::in_folder(folder, ending, &content)?);
            }
        }
        Ok(outputs)
    }

    fn inputs(&self) -> Vec<&Path> {
        let files = [&self.dataset, &self.zernikegrams, &self.trajectories];
        let files = files.into_iter().flatten().chain(&self.structures);
        files
            .chain([&self.checkpoint])
            .map(PathBuf::as_path)
            .collect()
    }
}

/// How many files could not be used, of how many.
#[derive(Default)]
struct Skipped {
    files: u64,
    of: u64,
}

/// Reads structures, ranks sharing the files, into a dataset in the memory of every rank.
fn read(world: &World, args: &Args, options: &ReadOptions) -> Result<(Dataset, Skipped)> {
    let files = world.agree(list_files(&args.structures, None))?;
    let collected = collect(world, &files, options, args.strict, |_| ())?;
    let (structures, skipped): (Vec<Structure>, u64) = world.broadcast_value(|| {
        for s in &collected.skipped {
            log::warn!("skipped: {}", s.reason);
        }
        if collected.structures.is_empty() {
            return Err(Error::input(format!(
                "of {} none could be used: {} is not written",
                count(files.len(), "structure file"),
                args.out.display()
            )));
        }
        Notes::sum(collected.structures.iter().map(|s| &s.notes)).tell();
        Ok((collected.structures, collected.skipped.len() as u64))
    })?;
    let dataset = world.agree(Dataset::of_structures(structures))?;
    let skipped = Skipped {
        files: skipped,
        of: files.len() as u64,
    };
    Ok((dataset, skipped))
}

fn write(
    world: &World,
    args: &Args,
    embedder: &Embedder,
    source: &dyn Source,
    target: Target,
) -> Result<()> {
    let start = std::time::Instant::now();
    let cosine = embedding::write(world, embedder, source, args.reconstruct, target.h5())?;
    target.finish(world)?;
    if world.is_root() {
        let seconds = start.elapsed().as_secs_f64();
        let (out, n) = (args.out.display(), source.len());
        crate::say!("{out}: {} in {seconds:.1} s", count(n, "residue"));
        if let Some(cosine) = cosine {
            crate::say!("mean cosine loss: {cosine:.4}");
        }
    }
    Ok(())
}
