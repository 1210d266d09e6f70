//! `holosig import`.

use super::places::Overwrite;
use crate::comm::World;
use crate::models::hvae::published;
use crate::models::state_dict::{StateDict, assign};
use crate::models::{Describes, Model};
use crate::store::{Kind, Output};
use crate::tasks::TaskKind;
use crate::tasks::hvae::HvaeKind;
use crate::tasks::spheres::SpheresKind;
use crate::train::Checkpoint;
use crate::{Error, Result, files};
use candle_core::{DType, Device};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// State dict of the published PyTorch code (.pt), or .safetensors with its names
    model: PathBuf,
    /// Hyper-parameter file of the published code (hparams.json)
    hparams: PathBuf,
    /// Checkpoint to write
    #[arg(long, value_name = "CKPT.h5")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Checkpoint)]);
        let inputs: [&Path; 2] = [&args.model, &args.hparams];
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        world.on_root(|| import(&args)).map(drop)
    })
}

fn import(args: &Args) -> Result<()> {
    let text = files::read_text(&args.hparams)?;
    let here = |e| Error::file(&args.hparams, e);
    // Every parameter is replaced below: the seed does not matter.
    let (task, model, description) = match published::images::from_json(&text).map_err(here)? {
        Some(d) => (
            SpheresKind::name(),
            d.build(0, DType::F32, &Device::Cpu),
            d.to_toml()?,
        ),
        None => {
            let d = published::from_json(&text).map_err(here)?;
            (
                HvaeKind::name(),
                d.build(0, DType::F32, &Device::Cpu),
                d.to_toml()?,
            )
        }
    };
    let model = model.map_err(here)?;
    let mut state = StateDict::open(&args.model)?;
    assign(model.parameters(), &mut state)?;
    let checkpoint = Checkpoint::of_model(task, description, model.parameters())?;
    checkpoint.write(&args.out)?;
    crate::say!(
        "{}: {} parameters, hash {}",
        args.out.display(),
        model.parameters().len(),
        checkpoint.hash()
    );
    Ok(())
}
