//! `holosig generate`.

use super::places::{Overwrite, checkpoint};
use crate::comm::World;
use crate::data::Split;
use crate::data::dataset::Dataset;
use crate::data::spheres::Spheres;
use crate::downstream::embedding::Embedder;
use crate::downstream::generate::{self, Choice, molecules};
use crate::downstream::spheres::{Classifier, SphereModel};
use crate::tasks::TaskKind;
use crate::tasks::spheres::SpheresKind;
use crate::train::Checkpoint;
use crate::{Error, Result};
use candle_core::Device;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint of an H-(V)AE, or the folder of a run, whose best one is taken
    #[arg(value_name = "CKPT", value_parser = checkpoint())]
    checkpoint: PathBuf,
    /// Dataset to take inputs from: signals on the sphere, or structures for a model of molecules
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// Split of the dataset: train, validation or test
    #[arg(long, default_value = "test")]
    split: Split,
    /// Samples of the prior, of each label if the model is conditional (variational models of signals on
    /// the sphere)
    #[arg(long, default_value_t = 25, value_name = "N")]
    samples: usize,
    /// Checkpoint of a classifier (task sphere-classes), or the folder of a run, to find the labels of what a
    /// conditional model samples
    #[arg(long, value_name = "CKPT", value_parser = checkpoint())]
    classifier: Option<PathBuf>,
    /// Inputs to rebuild: signals, or residues
    #[arg(long, default_value_t = 10, value_name = "N")]
    inputs: usize,
    /// Names of two signals to go between
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"])]
    between: Option<Vec<String>>,
    /// Steps between them, both ends included
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(2..))]
    steps: u16,
    /// Points along each edge of a volume (models of molecules)
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u16).range(2..=512))]
    points: u16,
    /// Chooses samples and rotations
    #[arg(long, default_value_t = 123_456_789)]
    seed: u64,
    /// Folder to write into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let task = world.broadcast_value(|| Ok(Checkpoint::read(&args.checkpoint)?.task))?;
        match task == SpheresKind::name() {
            true => args.signals(world),
            false => args.molecules(world),
        }
    })
}

impl Args {
    fn inputs(&self) -> Vec<&Path> {
        let all = [
            Some(&self.checkpoint),
            self.classifier.as_ref(),
            self.dataset.as_ref(),
        ];
        all.into_iter().flatten().map(PathBuf::as_path).collect()
    }

    fn signals(&self, world: &World) -> Result<()> {
        let outputs = || Ok(generate::outputs(&self.out));
        let _claim = self.overwrite.claim(world, outputs, &self.inputs())?;
        let model = SphereModel::open(world, &self.checkpoint, &Device::Cpu)?;
        let data = self
            .dataset
            .as_ref()
            .map(|path| Spheres::open(world, path))
            .transpose()?;
        let unlabelled = self.classifier.is_some() && model.description.classes.is_empty();
        world.agree(match unlabelled {
            true => Err(Error::input(
                "--classifier: the model is not conditional, its samples have no labels",
            )),
            false => Ok(()),
        })?;
        let signal = &model.description.signal;
        let classifier = self
            .classifier
            .as_ref()
            .map(|path| Classifier::open_for(world, path, signal))
            .transpose()?;
        let between = self.between.clone().map(|names| {
            let mut names = names.into_iter();
            [
                names.next().unwrap_or_default(),
                names.next().unwrap_or_default(),
            ]
        });
        let choice = Choice {
            split: self.split,
            samples: self.samples,
            inputs: self.inputs,
            between,
            steps: self.steps.into(),
            seed: self.seed,
        };
        world.on_root(|| {
            let made = generate::run(
                &model,
                classifier.as_ref(),
                data.as_ref(),
                &choice,
                &self.out,
            );
            for set in made? {
                crate::say!("{}: {}", set.name, set.about);
            }
            crate::say!("page: {}", self.out.join(generate::PAGE).display());
            Ok(())
        })?;
        Ok(())
    }

    fn molecules(&self, world: &World) -> Result<()> {
        let embedder = Embedder::open(world, &self.checkpoint, &Device::Cpu)?;
        let path = self.dataset.as_ref().ok_or_else(|| {
            Error::input(
                "a model of molecules needs --dataset: a file of holosig prepare structures",
            )
        });
        let path = world.agree(path)?;
        let dataset = world.agree(Dataset::open(path))?;
        let all = dataset.split(self.split);
        world.agree(match all.is_empty() {
            true => {
                let what = format!("no residue of the split {}; see --split", self.split);
                Err(Error::file(path, what))
            }
            false => Ok(()),
        })?;
        let centres = &all[..self.inputs.clamp(1, all.len())];
        let outputs = || Ok(molecules::outputs(&embedder, &dataset, centres, &self.out));
        let _claim = self.overwrite.claim(world, outputs, &self.inputs())?;
        world.on_root(|| {
            let side = self.points.into();
            for file in molecules::write(&embedder, &dataset, centres, side, &self.out)? {
                crate::say!("{}", file.display());
            }
            Ok(())
        })?;
        Ok(())
    }
}
