//! `holosig zernike`.

use super::places::Overwrite;
use crate::Result;
use crate::comm::World;
use crate::data::zernikegrams::{Summary, transform_file, word};
use crate::ops::zernike::{Binomial, Channel, Settings, Weighting};
use crate::print::count;
use crate::store::{Kind, Output};
use std::path::PathBuf;
use std::time::Instant;

/// The input is an HDF5 file with `coordinates` f32 `[atoms, 3]` (Å, each cloud about its own
/// centre), `elements` u8 `[atoms]` (atomic numbers) and `offsets` u64 `[clouds + 1]`; the output
/// holds `zernikegram` f32 `[clouds, dim]` and the settings as attributes. The defaults are those
/// of the published protein models at lmax 6.
#[derive(clap::Args)]
pub struct Args {
    /// Point clouds
    #[arg(value_name = "IN.h5")]
    input: PathBuf,
    /// Where to write the zernikegrams
    #[arg(value_name = "OUT.h5")]
    output: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Largest degree
    #[arg(long, default_value_t = Settings::default().lmax)]
    lmax: usize,
    /// Largest radial order
    #[arg(long, default_value_t = Settings::default().nmax)]
    nmax: usize,
    /// Radius of the ball in Å
    #[arg(long, default_value_t = Settings::default().cutoff)]
    cutoff: f64,
    /// Elements, each a channel; `other` takes all that are not named
    #[arg(long, value_delimiter = ',', default_values_t = Settings::default().channels)]
    channels: Vec<Channel>,
    /// Weight of an atom: `square` (over its own squared norm) or `none`
    #[arg(long, default_value = Settings::default().weighting.name(), value_parser = word::<Weighting>)]
    weighting: Weighting,
    /// Radial polynomials: `published` or `exact` (orthonormal)
    #[arg(long, default_value = Settings::default().binomial.name(), value_parser = word::<Binomial>)]
    binomial: Binomial,
}

pub fn run(args: Args) -> Result<()> {
    let settings = Settings {
        lmax: args.lmax,
        nmax: args.nmax,
        cutoff: args.cutoff,
        channels: args.channels,
        weighting: args.weighting,
        binomial: args.binomial,
        ligand_weight: 1.0,
    };
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.output, Kind::Zernikegrams)]);
        let _claim = args.overwrite.claim(world, outputs, &[&args.input])?;
        // One process writes; its threads do the work.
        world.on_root(|| {
            let start = Instant::now();
            let summary = transform_file(&args.input, &args.output, &settings)?;
            tell(&summary, start.elapsed().as_secs_f64());
            Ok(())
        })?;
        Ok(())
    })
}

fn tell(summary: &Summary, seconds: f64) {
    let Summary {
        clouds,
        atoms,
        without_channel,
        outside,
    } = summary;
    let rate = *clouds as f64 / seconds;
    let (clouds, atoms) = (count(clouds, "cloud"), count(atoms, "atom"));
    log::info!("{clouds} of {atoms} in {seconds:.1} s ({rate:.0} clouds/s)");
    if *without_channel > 0 {
        let atoms = count(without_channel, "atom");
        log::info!("{atoms} left out: no channel takes their element");
    }
    if *outside > 0 {
        let atoms = count(outside, "atom");
        log::warn!("{atoms} left out: beyond the cutoff, or exactly at the centre");
    }
}
