//! `holosig motion`.

use super::places::{Overwrite, ending};
use crate::Result;
use crate::comm::World;
use crate::data::trajectory::Dataset;
use crate::downstream::motion::{self, Conditioning, STRUCTURE, Settings};
use crate::downstream::report::{self, Motion};
use crate::store::{self, Content, Kind, Output};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Paths of invariants (`holosig embed CHECKPOINT --trajectories FILE --holographic`)
    paths: PathBuf,
    /// File to write: log-signatures per residue and global, and how much residues move
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Depth of log-signatures
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=12))]
    depth: u32,
    /// Channels that invariants are projected to: principal axes of what moves
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    /// Keep one of this many frames; longer than jitter remembers itself, shorter than the motion
    #[arg(long, default_value_t = 1, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..))]
    lag: u32,
    /// Moving average over this many frames, before the lag
    #[arg(long, default_value_t = 1, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..))]
    smooth: u32,
    /// Also time as a channel, which grows by one in this many frames: signatures then see speed
    #[arg(long, value_name = "FRAMES")]
    time: Option<f64>,
    /// Double the path to lead and lag: the second level then holds the quadratic variation
    #[arg(long)]
    lead_lag: bool,
    /// Page to write: which residues move, when, and how much of it is jitter
    #[arg(long, value_name = "FILE.html")]
    page: Option<PathBuf>,
    /// Folder for PDB files whose B-factors are the lengths of the residues' paths, the largest 100
    #[arg(long, value_name = "DIR", requires = "trajectories")]
    pdb: Option<PathBuf>,
    /// The trajectories that the paths were made of, for --pdb
    #[arg(long, value_name = "FILE", requires = "pdb")]
    trajectories: Option<PathBuf>,
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            depth: self.depth as usize,
            channels: self.channels as usize,
            conditioning: Conditioning {
                smooth: self.smooth as usize,
                lag: self.lag as usize,
            },
            time: self.time,
            lead_lag: self.lead_lag,
        }
    }

    fn outputs(&self) -> Result<Vec<Output>> {
        let mut outputs = vec![Output::new(&self.out, Kind::Motion)];
        outputs.extend(
            self.page
                .as_ref()
                .map(|p| Output::new(p, report::content())),
        );
        if let Some(folder) = &self.pdb {
            let content = Content::marked("a structure of holosig", STRUCTURE);
            outputs.extend(Output::in_folder(folder, "pdb", &content)?);
        }
        Ok(outputs)
    }
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let mut inputs: Vec<&Path> = vec![&args.paths];
        inputs.extend(args.trajectories.as_deref());
        let _claim = args.overwrite.claim(world, || args.outputs(), &inputs)?;
        world.agree(ending(
            &args.out,
            &["h5", "hdf5"],
            "it holds tables of many shapes",
        ))?;
        let paths = Dataset::open(world, &args.paths)?;
        let trajectories = args.trajectories.as_deref();
        let trajectories = trajectories.map(|p| Dataset::open(world, p)).transpose()?;
        motion::write(world, &paths, &args.settings(), &args.out)?;
        world
            .on_root(|| finish(&args, trajectories.as_ref()))
            .map(drop)
    })
}

/// Page and structures, and a line about the rest.
fn finish(args: &Args, trajectories: Option<&Dataset>) -> Result<()> {
    if let (Some(folder), Some(trajectories)) = (&args.pdb, trajectories) {
        motion::write_structures(&args.out, trajectories, folder)?;
    }
    crate::say!("{}: descriptors of motion", args.out.display());
    if let Some(page) = &args.page {
        let part = Motion::read(&args.out)?.part()?;
        store::write_bytes(page, report::page(&[part])?.as_bytes())?;
        crate::say!("page: {}", page.display());
    }
    Ok(())
}
