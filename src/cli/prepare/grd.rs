//! `holosig prepare grd`.

use super::cut;
use crate::Result;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::grd::{Family, Settings, Simulations};
use crate::data::trajectory::{self, About};
use crate::store::{Kind, Output};
use std::path::PathBuf;

/// The defaults are the benchmark of the documentation.
#[derive(clap::Args)]
pub struct Args {
    /// File to write
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Genes of each network
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Trajectories in all, half of them of each class
    #[arg(long, default_value_t = 500)]
    trajectories: usize,
    /// Families that networks are drawn from [default: all]
    #[arg(long, value_delimiter = ',', value_name = "FAMILY")]
    networks: Vec<Family>,
    /// End of the simulation
    #[arg(long, default_value_t = 1.0)]
    time: f64,
    /// Frames from 0 to the end
    #[arg(long, default_value_t = 24)]
    ticks: usize,
    /// Largest concentration at the start
    #[arg(long, default_value_t = 25.0)]
    start: f64,
    /// Decay rate, or the range it is drawn from
    #[arg(long, default_value = "0.25,4", value_name = "LOW[,HIGH]", value_parser = range)]
    decay: [f64; 2],
    /// Observed value of a concentration of one, or the range it is drawn from
    #[arg(long, default_value = "0.1,10", value_name = "LOW[,HIGH]", value_parser = range)]
    gain: [f64; 2],
    /// Standard deviation of the observation noise, in concentrations
    #[arg(long, default_value_t = 2.0)]
    noise: f64,
    #[command(flatten)]
    cut: cut::Args,
}

pub(super) fn range(text: &str) -> std::result::Result<[f64; 2], String> {
    let (low, high) = text.split_once(',').unwrap_or((text, text));
    let number = |n: &str| n.trim().parse::<f64>().map_err(|e| format!("{n:?}: {e}"));
    Ok([number(low)?, number(high)?])
}

/// What is kept in the file.
#[derive(serde::Serialize)]
struct Kept {
    simulation: Settings,
    cut: trajectory::Cut,
    folds: usize,
}

pub fn run(args: Args) -> Result<()> {
    let simulation = Settings {
        nodes: args.nodes,
        trajectories: args.trajectories,
        networks: match args.networks.is_empty() {
            true => Family::ALL.to_vec(),
            false => args.networks,
        },
        time: args.time,
        ticks: args.ticks,
        start: args.start,
        decay: args.decay,
        gain: args.gain,
        noise: args.noise,
        seed: args.cut.seed,
    };
    let kept = Kept {
        simulation: simulation.clone(),
        cut: args.cut.cut(1, 1),
        folds: args.cut.folds,
    };
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Trajectories)]);
        let _claim = args.overwrite.claim(world, outputs, &[])?;
        let source = world.agree(Simulations::new(simulation))?;
        let about = About {
            origin: "gene regulatory dynamics",
            unit: "1",
            time_unit: "1",
            dimensions: 1,
            settings: cut::settings(&kept)?,
            cut: kept.cut,
            folds: kept.folds,
            seed: kept.simulation.seed,
            skip: false,
        };
        if let Some(summary) = trajectory::prepare(world, &args.out, &about, &source)? {
            cut::report(&args.out, &summary);
        }
        Ok(())
    })
}
