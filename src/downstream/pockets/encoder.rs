//! Encoders that make pockets.

use crate::Result;
use crate::comm::World;
use crate::downstream::embedding::Embedder;
use crate::models::{Describes, Model};
use crate::tasks::TaskKind;
use crate::tasks::affinity::AffinityKind;
use crate::tasks::hvae::HvaeKind;
use crate::train::Checkpoint;
use crate::train::checkpoint::NamedArray;
use candle_core::{DType, Device};
use std::path::Path;

/// The encoder of a checkpoint: of an H-(V)AE, or of a network of affinities, which was fine-tuned
/// from one. The latter has no decoder and no frame; what stands in their place is random and not
/// asked for by pockets. Collective.
///
/// # Errors
/// As [`Embedder::open`].
pub fn open(world: &World, path: &Path) -> Result<Embedder> {
    let checkpoint = world.on_root(|| Checkpoint::read(path))?;
    let checkpoint = Checkpoint::broadcast(world, checkpoint)?;
    let opened = match checkpoint.task == AffinityKind::name() {
        true => fine_tuned(&checkpoint, path),
        false => Embedder::of(&checkpoint, path, &Device::Cpu),
    };
    world.agree(opened)
}

fn fine_tuned(checkpoint: &Checkpoint, path: &Path) -> Result<Embedder> {
    let description = AffinityKind::describe(checkpoint, path)?.encoder;
    let model = description.build(0, DType::F32, &Device::Cpu)?;
    let mut whole =
        Checkpoint::of_model(HvaeKind::name(), description.to_toml()?, model.parameters())?;
    fill(&mut whole.parameters, &checkpoint.parameters);
    fill(&mut whole.buffers, &checkpoint.buffers);
    let mut encoder = Embedder::of(&whole, path, &Device::Cpu)?;
    encoder.hash = checkpoint.hash().to_string();
    Ok(encoder)
}

/// Takes the values of all arrays that both have.
fn fill(arrays: &mut [NamedArray], from: &[NamedArray]) {
    for array in arrays {
        if let Some(own) = from.iter().find(|a| a.name == array.name) {
            array.clone_from(own);
        }
    }
}
