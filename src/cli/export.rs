//! `holosig export`.

use crate::comm::World;
use crate::models::hvae::published;
use crate::models::{Model, state_dict};
use crate::store::Scratch;
use crate::tasks::TaskKind;
use crate::tasks::hvae::HvaeKind;
use crate::train::Checkpoint;
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint to read
    checkpoint: PathBuf,
    /// File to write; the hyper-parameters go beside it with the ending .json
    #[arg(value_name = "OUT.safetensors")]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| world.on_root(|| export(&args)).map(drop))
}

fn export(args: &Args) -> Result<()> {
    let beside = args.out.with_extension("json");
    if beside == args.out {
        return Err(Error::file(
            &args.out,
            "must not end in .json: the hyper-parameters take that name",
        ));
    }
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
