//! Beginning with the weights of a network in a file of the PyTorch world, under the released names.

use crate::comm::World;
use crate::models::Parameters;
use crate::models::state_dict::{StateDict, assign_part};
use crate::train::{Settings, Task};
use crate::{Error, Result};
use std::path::Path;

/// The file of `train.init`, where its ending says that it holds no checkpoint but weights.
pub fn file(settings: &Settings) -> Option<&Path> {
    let path = settings.init.as_deref()?;
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ["safetensors", "pt", "pth"]
        .contains(&ending.as_str())
        .then_some(path)
}

/// Puts the weights of the file into the model's network; returns the names of what the network does
/// not have, or `train.fresh` leaves out, which stays as it was drawn. Collective.
///
/// # Errors
/// A task without such a network; a file that is damaged, or of another network, by the first tensor
/// that does not fit; a pattern of `train.fresh` without use.
pub fn load<T: Task>(
    world: &World,
    settings: &Settings,
    model: &Parameters,
) -> Result<Vec<String>> {
    let path = file(settings).ok_or_else(|| Error::internal("train.init names no weights"))?;
    let part = world.agree(T::RELEASED.ok_or_else(|| {
        let task = T::NAME;
        Error::file(
            path,
            format!(
                "train.init: a job of the task {task} starts from a checkpoint of holosig (.h5) or a run"
            ),
        )
    }))?;
    let names = model.entries().iter().chain(model.buffer_entries());
    let names = names.map(|e| e.name.as_str());
    let held = world.broadcast_value(|| Ok(StateDict::open(path)?.names()))?;
    let held: Vec<String> = held
        .into_iter()
        .map(|name| format!("{part}{name}"))
        .collect();
    let all = names.clone().chain(held.iter().map(String::as_str));
    world.agree(settings.fresh.check_use("train.fresh", all))?;
    let drawn = |name: &str| !name.starts_with(part) || settings.fresh.fit(name);
    world.on_root(|| assign_part(model, part, &drawn, &mut StateDict::open(path)?))?;
    let flat = world.agree(model.flat())?;
    let put = model.set_flat(&world.broadcast(flat));
    world.agree(put.and_then(|()| model.set_buffers(&world.broadcast(model.buffers()))))?;
    Ok(names.filter(|name| drawn(name)).map(String::from).collect())
}
