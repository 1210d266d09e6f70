//! `holosig export`.

use super::places::{self, Overwrite, checkpoint};
use crate::comm::World;
use crate::models::hvae::published;
use crate::models::{Model, state_dict};
use crate::store::{Content, Output, Scratch};
use crate::tasks::TaskKind;
use crate::tasks::hvae::HvaeKind;
use crate::train::Checkpoint;
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint to read, or the folder of a run, whose best one is taken
    #[arg(value_parser = checkpoint())]
    checkpoint: PathBuf,
    /// File to write; the hyper-parameters go beside it with the ending .json
    #[arg(value_name = "OUT.safetensors")]
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
    /// Where the hyper-parameters go.
    fn beside(&self) -> PathBuf {
        self.out.with_extension("json")
    }

    fn outputs(&self) -> Result<Vec<Output>> {
        let instead = "it is read by torch with safetensors.torch.load_file";
        places::ending(&self.out, &["safetensors"], instead)?;
        let weights = || Content::marked("a model that holosig exported", state_dict::MARK);
        Ok(vec![
            Output::new(&self.out, weights()),
            Output::new(self.beside(), weights()).known_by(&self.out),
        ])
    }
}

fn export(args: &Args) -> Result<()> {
    let beside = args.beside();
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let here = |e| Error::file(&args.checkpoint, e);
    if checkpoint.task != HvaeKind::name() {
        return Err(here(Error::input(format!(
            "a model of the task {:?}: only H-(V)AE models are exported; its parameters are plain \
             HDF5 under the published names",
            checkpoint.task
        ))));
    }
    let description = HvaeKind::describe(&checkpoint, &args.checkpoint)?;
    let hparams = published::to_json(&description).map_err(here)?;
    let model = description
        .build(0, DType::F32, &Device::Cpu)
        .map_err(here)?;
    checkpoint.load_into(&args.checkpoint, model.parameters())?;

    // Both files are complete before either gets its name.
    let (weights, text) = (Scratch::new(&args.out)?, Scratch::new(&beside)?);
    state_dict::write(model.parameters(), weights.path())?;
    std::fs::write(text.path(), hparams).map_err(|e| Error::io(&beside, e))?;
    weights.commit()?;
    text.commit()?;
    crate::say!("{}", args.out.display());
    crate::say!("{}", beside.display());
    Ok(())
}
