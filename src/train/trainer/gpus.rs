//! Fast reduction where every rank has a GPU of its own: sums over the ranks stay on the GPUs.

use crate::Result;
use crate::comm::World;
use crate::comm::nccl::Nccl;
use crate::models::Model;
use crate::train::{Plan, Reduction, Task};

/// Connects the GPUs if the run is to use them so; tells why not. Collective.
pub(super) fn connect<T: Task>(world: &World, plan: &Plan<T>) -> Result<Option<Nccl>> {
    let device = plan.task.model().parameters().device();
    let settings = plan.settings;
    let plain = settings.reduction == Reduction::Fast && settings.compression.is_none();
    if !plain || !world.any(device.is_cuda()) {
        return Ok(None);
    }
    match Nccl::connect(world, device)? {
        Ok(nccl) => Ok(Some(nccl)),
        Err(why) if world.size() > 1 && world.is_root() => {
            log::warn!("gradients go through MPI and the hosts' memory: {why}");
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}
