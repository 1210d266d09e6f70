//! `holosig export`.

use super::places::{self, Overwrite, checkpoint};
use crate::comm::World;
use crate::models::graph::{NETWORK, Network};
use crate::models::hvae::published;
use crate::models::{Describes, Model, state_dict};
use crate::store::{Content, Kind, Output, Scratch};
use crate::tasks::hvae::HvaeKind;
use crate::tasks::pretrain::PretrainKind;
use crate::tasks::systems::SystemsKind;
use crate::tasks::{TaskKind, Trained};
use crate::train::Checkpoint;
use crate::{Error, Result};
use candle_core::Device;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint to read, or the folder of a run, whose best one is taken
    #[arg(value_parser = checkpoint())]
    checkpoint: PathBuf,
    /// File to write: .safetensors, with the hyper-parameters beside it under the ending .json, or
    /// .h5, a checkpoint without what only training needs
    #[arg(value_name = "OUT.safetensors|OUT.h5")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let _claim = args
            .overwrite
            .claim(world, || args.outputs(), &[&args.checkpoint])?;
        world.on_root(|| export(&args)).map(drop)
    })
}

impl Args {
    fn is_checkpoint(&self) -> bool {
        self.out
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("h5"))
    }

    /// Where the hyper-parameters go.
    fn beside(&self) -> PathBuf {
        self.out.with_extension("json")
    }

    fn outputs(&self) -> Result<Vec<Output>> {
        let instead = "it is read by torch with safetensors.torch.load_file";
        places::ending(&self.out, &["safetensors", "h5"], instead)?;
        if self.is_checkpoint() {
            return Ok(vec![Output::new(&self.out, Kind::Checkpoint)]);
        }
        let weights = || Content::marked("a model that holosig exported", state_dict::MARK);
        Ok(vec![
            Output::new(&self.out, weights()),
            Output::new(self.beside(), weights()).known_by(&self.out),
        ])
    }
}

fn trained<K: TaskKind>(args: &Args, checkpoint: &Checkpoint) -> Result<Trained<K>> {
    Trained::of(checkpoint, &args.checkpoint, &Device::Cpu)
}

/// Settings of a network.
fn json(network: &Network) -> Result<String> {
    serde_json::to_string_pretty(network).map_err(Error::internal)
}

fn export(args: &Args) -> Result<()> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let here = |e| Error::file(&args.checkpoint, e);
    if args.is_checkpoint() {
        let trained = trained::<HvaeKind>(args, &checkpoint)?;
        let text = trained.description.to_toml()?;
        let model = trained.model.parameters();
        Checkpoint::of_model(HvaeKind::name(), text, model)?.write(&args.out)?;
        crate::say!("{}", args.out.display());
        return Ok(());
    }
    let beside = args.beside();
    // Both files are complete before either gets its name.
    let (weights, text) = (Scratch::new(&args.out)?, Scratch::new(&beside)?);
    let to = weights.path();
    let hparams = match checkpoint.task.as_str() {
        "hvae" => {
            let Trained {
                model, description, ..
            } = trained::<HvaeKind>(args, &checkpoint)?;
            let hparams = published::to_json(&description).map_err(here)?;
            state_dict::write(model.parameters(), "", to)?;
            hparams
        }
        "pretrain" => {
            let Trained {
                model, description, ..
            } = trained::<PretrainKind>(args, &checkpoint)?;
            state_dict::write(model.parameters(), NETWORK, to)?;
            json(&description.model.network)?
        }
        "systems" => {
            let Trained {
                model, description, ..
            } = trained::<SystemsKind>(args, &checkpoint)?;
            state_dict::write(model.parameters(), NETWORK, to)?;
            json(&description.model.network)?
        }
        other => {
            return Err(here(Error::input(format!(
                "a model of the task {other:?}: only H-(V)AE models and networks of atoms are \
                 exported; its parameters are plain HDF5 under the published names"
            ))));
        }
    };
    std::fs::write(text.path(), hparams).map_err(|e| Error::io(&beside, e))?;
    weights.commit()?;
    text.commit()?;
    crate::say!("{}", args.out.display());
    crate::say!("{}", beside.display());
    Ok(())
}
