//! `holosig predict`.

use super::places::Overwrite;
use crate::comm::{DeviceKind, World};
use crate::data::Split;
use crate::data::chains::Chains;
use crate::data::dataset::Dataset;
use crate::data::systems::Systems;
use crate::downstream::affinity::{self, AffinityPredictions, AffinityPredictor};
use crate::downstream::chains::{self, ChainPredictions, ChainPredictor};
use crate::downstream::pockets::Pockets;
use crate::downstream::regression::{self, HEADER, Learner};
use crate::downstream::systems::{EXTENDED_XYZ, Predictions, Predictor, chosen};
use crate::store::{Content, Kind, Output};
use crate::train::RunFolder;
use crate::{Error, Result, print, store};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Folder that `holosig regress` wrote, or checkpoint (or run) of a network of atoms, residues or
    /// affinities
    #[arg(value_name = "REGRESSION|CHECKPOINT")]
    trained: PathBuf,
    /// Pocket file of the complexes to predict, made with the same checkpoint
    #[arg(required_unless_present_any = ["systems", "chains", "complexes"], conflicts_with = "systems")]
    pockets: Option<PathBuf>,
    /// Regressor to use [default: the one that did best in validation]
    #[arg(long, value_enum, conflicts_with = "systems")]
    model: Option<Learner>,
    /// Systems file of `holosig prepare` to predict with a network of atoms
    #[arg(long, value_name = "FILE")]
    systems: Option<PathBuf>,
    /// File of chains of `holosig prepare` to predict with a network of residues
    #[arg(long, value_name = "FILE", conflicts_with_all = ["systems", "pockets", "model"])]
    chains: Option<PathBuf>,
    /// Dataset file of `holosig prepare complexes` to predict with a network of affinities
    #[arg(long, value_name = "FILE", conflicts_with_all = ["systems", "chains", "pockets", "model"])]
    complexes: Option<PathBuf>,
    /// Only this split of the systems, chains or complexes: train, validation or test
    #[arg(long, conflicts_with = "pockets")]
    split: Option<Split>,
    /// Predict forces and stresses too, if the network did not learn them
    #[arg(long, requires = "systems")]
    forces: bool,
    /// What a network computes on
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    device: DeviceKind,
    /// File to write: CSV of affinities; HDF5 of systems, or extended XYZ if it ends in .xyz; HDF5 of
    /// chains, or CSV of their most probable classes if it ends in .csv
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let inputs: Vec<&Path> = [&args.pockets, &args.systems, &args.chains, &args.complexes]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .chain([args.trained.as_path()])
            .collect();
        let _claim = args
            .overwrite
            .claim(world, || Ok(vec![args.output()]), &inputs)?;
        match (&args.systems, &args.chains, &args.complexes, &args.pockets) {
            (Some(path), ..) => of_systems(world, &args, path),
            (_, Some(path), ..) => of_chains(world, &args, path),
            (.., Some(path), _) => of_complexes(world, &args, path),
            (.., Some(pockets)) => world.on_root(|| of_pockets(&args, pockets)).map(drop),
            _ => Err(Error::input(
                "pockets, --systems, --chains or --complexes are needed",
            )),
        }
    })
}

impl Args {
    fn is_xyz(&self) -> bool {
        let ending = self.out.extension();
        ending.is_some_and(|e| e == "xyz" || e == "extxyz")
    }

    fn is_csv(&self) -> bool {
        self.out.extension().is_some_and(|e| e == "csv")
    }

    /// The network's checkpoint; a run folder stands for its best one.
    fn checkpoint(&self) -> Result<PathBuf> {
        let found = RunFolder::checkpoint_in(&self.trained);
        found.map_err(|what| Error::file(&self.trained, what))
    }

    /// What is going to be written.
    fn output(&self) -> Output {
        if self.chains.is_some() {
            return match self.is_csv() {
                true => {
                    let what = "a table of predicted classes of holosig";
                    Output::new(&self.out, Content::marked(what, chains::HEADER))
                }
                false => Output::new(&self.out, Kind::PredictedChains),
            };
        }
        if self.complexes.is_some() {
            let what = "a table of predicted affinities of holosig";
            return Output::new(&self.out, Content::marked(what, affinity::HEADER));
        }
        if self.systems.is_none() {
            let content = Content::marked("a table of predictions of holosig", HEADER);
            return Output::new(&self.out, content);
        }
        match self.is_xyz() {
            true => Output::new(
                &self.out,
                Content::marked("systems predicted by holosig", EXTENDED_XYZ),
            ),
            false => Output::new(&self.out, Kind::PredictedSystems),
        }
    }
}

fn of_pockets(args: &Args, pockets: &Path) -> Result<()> {
    let pockets = Pockets::read(pockets)?;
    let predictions = regression::predict(&args.trained, &pockets, args.model)?;
    store::write_bytes(&args.out, &predictions.csv(&pockets)?)?;
    crate::say!(
        "{}: {}, predicted by {}",
        args.out.display(),
        print::count(pockets.ids.len(), "complex"),
        predictions.learner.name()
    );
    Ok(())
}

fn of_systems(world: &World, args: &Args, path: &Path) -> Result<()> {
    let place = world.agree(world.place(args.device))?;
    let checkpoint = world.agree(args.checkpoint())?;
    let predictor = Predictor::open(world, &checkpoint, &place.device)?;
    let systems = Systems::open(world, path)?;
    let ids = chosen(&systems, args.split);
    if ids.is_empty() {
        return Err(Error::file(path, "no systems of this split"));
    }
    let forces = args.forces || predictor.derivatives();
    let predicted = predictor.predict(world, &systems, &ids, forces)?;
    world.on_root(|| {
        let made = Predictions {
            systems: &systems,
            ids: &ids,
            predicted,
        };
        match args.is_xyz() {
            true => store::write_bytes(&args.out, predictor.extended_xyz(&made).as_bytes())?,
            false => predictor.write(&made, &args.out)?,
        }
        let systems = print::count(ids.len(), "system");
        crate::say!("{}: {systems}", args.out.display());
        if let Some(scores) = predictor.scores(&made) {
            crate::print::text(&scores.table().replace("test: ", ""));
        }
        Ok(())
    })?;
    Ok(())
}

fn of_chains(world: &World, args: &Args, path: &Path) -> Result<()> {
    let place = world.agree(world.place(args.device))?;
    let checkpoint = world.agree(args.checkpoint())?;
    let predictor = ChainPredictor::open(world, &checkpoint, &place.device)?;
    let all = Chains::open(world, path)?;
    let ids = match args.split {
        Some(split) => all.split(split),
        None => (0..all.len() as u32).collect(),
    };
    if ids.is_empty() {
        return Err(Error::file(path, "no chains of this split"));
    }
    let probabilities = predictor.predict(world, &all, &ids)?;
    world.on_root(|| {
        let made = ChainPredictions {
            chains: &all,
            ids: &ids,
            probabilities,
        };
        match args.is_csv() {
            true => store::write_bytes(&args.out, &predictor.csv(&made)?)?,
            false => predictor.write(&made, &args.out)?,
        }
        crate::say!(
            "{}: {}",
            args.out.display(),
            print::count(ids.len(), "chain")
        );
        if let Some(scores) = predictor.scores(&made) {
            crate::print::text(&scores.table());
        }
        Ok(())
    })?;
    Ok(())
}

fn of_complexes(world: &World, args: &Args, path: &Path) -> Result<()> {
    let place = world.agree(world.place(args.device))?;
    let checkpoint = world.agree(args.checkpoint())?;
    let predictor = AffinityPredictor::open(world, &checkpoint, &place.device)?;
    let dataset = world.agree(Dataset::open(path))?;
    let ids = affinity::chosen(&dataset, args.split);
    if ids.is_empty() {
        return Err(Error::file(path, "no complexes of this split"));
    }
    let predicted = predictor.predict(world, &dataset, &ids);
    let predicted = predicted.map_err(|e| e.in_file(path))?;
    world.on_root(|| {
        let made = AffinityPredictions {
            dataset: &dataset,
            ids: &ids,
            predicted,
        };
        store::write_bytes(&args.out, &made.csv()?)?;
        crate::say!(
            "{}: {}",
            args.out.display(),
            print::count(ids.len(), "complex")
        );
        if let Some(scores) = made.scores() {
            crate::print::text(&(scores.words() + "\n"));
        }
        Ok(())
    })?;
    Ok(())
}
