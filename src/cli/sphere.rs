//! `holosig sphere`.

use super::places::Overwrite;
use super::prepare::spheres::finish;
use crate::comm::World;
use crate::data::Split;
use crate::data::spheres::signals;
use crate::so3::sphere::Rings;
use crate::store::{Kind, Output};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Serialize)]
pub struct Args {
    /// HDF5 file with a dataset signal [N, channels, 2b, 2b] (rings from the north pole, then azimuth),
    /// and perhaps strings id, label, subclass and split [N]; with --inverse, a file of this command or
    /// of prepare images or shapes
    input: PathBuf,
    /// Dataset file to write: coefficients to train on; with --inverse, signals
    #[serde(skip)]
    output: PathBuf,
    /// The largest degree. Absent: what the grid allows, at most 14
    #[arg(long)]
    lmax: Option<usize>,
    /// Where the rings of the grid lie
    #[arg(long, value_enum, default_value = "driscoll-healy")]
    rings: Rings,
    /// Split of signals, where the file does not deal them
    #[arg(long, default_value = "test")]
    split: Split,
    /// From coefficients to signals on their grid
    #[arg(long)]
    #[serde(skip)]
    inverse: bool,
    #[command(flatten)]
    #[serde(skip)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let kind = if args.inverse {
            Kind::Generated
        } else {
            Kind::Spheres
        };
        let outputs = || Ok(vec![Output::new(&args.output, kind)]);
        let inputs: [&Path; 1] = [&args.input];
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        world.on_root(|| match args.inverse {
            true => signals::write_inverse(&args.input, &args.output),
            false => {
                let (signal, samples) =
                    signals::read(&args.input, args.rings, args.lmax, args.split)?;
                let settings = toml::to_string(&args).map_err(Error::internal)?;
                finish(&signal, samples, settings, &args.output)
            }
        })?;
        Ok(())
    })
}
