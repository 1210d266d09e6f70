//! `holosig predict`.

use crate::comm::{DeviceKind, World};
use crate::data::Split;
use crate::data::systems::Systems;
use crate::downstream::pockets::Pockets;
use crate::downstream::regression::{self, Learner};
use crate::downstream::systems::{Predictions, Predictor, chosen};
use crate::store::Scratch;
use crate::{Error, Result, store};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Folder that `holosig regress` wrote, or checkpoint of a network of atoms
    #[arg(value_name = "REGRESSION|CHECKPOINT")]
    trained: PathBuf,
    /// Pocket file of the complexes to predict, made with the same checkpoint
    #[arg(required_unless_present = "systems", conflicts_with = "systems")]
    pockets: Option<PathBuf>,
    /// Regressor to use [default: the one that did best in validation]
    #[arg(long, value_enum, conflicts_with = "systems")]
    model: Option<Learner>,
    /// Systems file of `holosig prepare` to predict with a network of atoms
    #[arg(long, value_name = "FILE")]
    systems: Option<PathBuf>,
    /// Only this split of the systems: train, validation or test
    #[arg(long, requires = "systems")]
    split: Option<Split>,
    /// Predict forces too, if the network did not learn them
    #[arg(long, requires = "systems")]
    forces: bool,
    /// What a network of atoms computes on
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    device: DeviceKind,
    /// File to write: CSV of affinities; HDF5 of systems, or extended XYZ if it ends in .xyz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| match (&args.systems, &args.pockets) {
        (Some(path), _) => of_systems(world, &args, path),
        (None, Some(pockets)) => world.on_root(|| of_pockets(&args, pockets)).map(drop),
        (None, None) => Err(Error::input("pockets or --systems are needed")),
    })
}

fn of_pockets(args: &Args, pockets: &Path) -> Result<()> {
    let pockets = Pockets::read(pockets)?;
    let predictions = regression::predict(&args.trained, &pockets, args.model)?;
    store::write_bytes(&args.out, &predictions.csv(&pockets)?)?;
    crate::say!(
        "{}: {} complexes, predicted by {}",
        args.out.display(),
        pockets.ids.len(),
        predictions.learner.name()
    );
    Ok(())
}

fn of_systems(world: &World, args: &Args, path: &Path) -> Result<()> {
    // An unwritable folder is told before the work.
    world.on_root(|| Scratch::new(&args.out))?;
    let place = world.agree(world.place(args.device))?;
    let predictor = Predictor::open(world, &args.trained, &place)?;
    let systems = Systems::open(world, path)?;
    let ids = chosen(&systems, args.split);
    if ids.is_empty() {
        return Err(Error::file(path, "no systems of this split"));
    }
    let forces = args.forces || predictor.forces();
    let predicted = predictor.predict(world, &systems, &ids, forces)?;
    world.on_root(|| {
        let made = Predictions {
            systems: &systems,
            ids: &ids,
            predicted,
        };
        match args
            .out
            .extension()
            .is_some_and(|e| e == "xyz" || e == "extxyz")
        {
            true => store::write_bytes(&args.out, predictor.extended_xyz(&made).as_bytes())?,
            false => predictor.write(&made, &args.out)?,
        }
        crate::say!("{}: {} systems", args.out.display(), ids.len());
        if let Some(scores) = predictor.scores(&made) {
            crate::print::text(&scores.table().replace("test: ", ""));
        }
        Ok(())
    })?;
    Ok(())
}
