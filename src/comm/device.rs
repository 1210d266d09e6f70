//! Which device a rank computes on.

use super::World;
use crate::{Error, Result};
use candle_core::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be asked for (`train.device`, `--device`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A GPU where the program knows them and the node has one, the CPU elsewhere.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

impl DeviceKind {
    pub fn is_auto(&self) -> bool {
        *self == DeviceKind::Auto
    }
}

/// A rank's device.
#[derive(Debug, Clone)]
pub struct Place {
    pub device: Device,
    /// The GPU's model, e.g. `NVIDIA H200`.
    pub model: Option<String>,
    /// Identifies a GPU among all that there are, whatever number a rank sees it under.
    pub id: Option<u128>,
}

impl Place {
    pub fn cpu() -> Self {
        Self {
            device: Device::Cpu,
            model: None,
            id: None,
        }
    }

    /// Prints on rank 0 which GPUs the world computes on; nothing when it is the CPUs. Collective.
    pub fn announce(&self, world: &World) {
        let id = self.id.unwrap_or_default();
        let ids = world.gather(&[(id >> 64) as u64, id as u64]);
        let models = world.gather(self.model.as_deref().unwrap_or("CPU").as_bytes());
        if !world.reports_progress() || models.iter().all(|m| m == b"CPU") {
            return;
        }
        let count = |mut list: Vec<Vec<u8>>| {
            list.sort();
            list.dedup();
            list
        };
        let bytes = |id: Vec<u64>| id.iter().flat_map(|n| n.to_le_bytes()).collect();
        let gpus = count(ids.into_iter().map(bytes).collect()).len();
        let models: Vec<String> = count(models)
            .iter()
            .map(|m| String::from_utf8_lossy(m).into_owned())
            .collect();
        let shared = match gpus < world.size() {
            true => ", some shared by several ranks",
            false => "",
        };
        let name = "device";
        crate::say!("{name:>12}  {gpus} x {}{shared}", models.join(", "));
    }
}

impl World {
    /// This rank's device: one GPU per rank by its number on the node, so that ranks share GPUs
    /// only where there are more ranks than GPUs. Not collective.
    ///
    /// # Errors
    /// A GPU is asked for and there is none, or one that does not work.
    pub fn place(&self, kind: DeviceKind) -> Result<Place> {
        match kind {
            DeviceKind::Cpu => Ok(Place::cpu()),
            DeviceKind::Auto => self.gpu_or_cpu(),
            DeviceKind::Cuda => self.gpu(),
        }
    }
}

#[cfg(not(feature = "cuda"))]
impl World {
    fn gpu_or_cpu(&self) -> Result<Place> {
        Ok(Place::cpu())
    }

    fn gpu(&self) -> Result<Place> {
        Err(Error::input(
            "device \"cuda\": this program computes on CPUs only; run holosig-cuda (cargo build \
             --release --features cuda,nccl --bin holosig-cuda), or choose \"cpu\" or \"auto\"",
        ))
    }
}

#[cfg(feature = "cuda")]
impl World {
    fn gpu_or_cpu(&self) -> Result<Place> {
        match self.gpus() {
            Ok(count) => self.open(count),
            Err(why) => {
                log::warn!("no GPU on {}: {why}; computing on the CPU", self.host());
                Ok(Place::cpu())
            }
        }
    }

    fn gpu(&self) -> Result<Place> {
        let count = self.gpus().map_err(|why| {
            Error::input(format!(
                "device \"cuda\": no GPU on {}: {why}; ask the scheduler for one, or choose \"cpu\" \
                 or \"auto\"",
                self.host()
            ))
        })?;
        self.open(count)
    }

    /// Number of GPUs on this node, or why there is none.
    fn gpus(&self) -> std::result::Result<usize, String> {
        match crate::gpu::count()? {
            0 => Err("none is visible (CUDA_VISIBLE_DEVICES)".into()),
            n => Ok(n),
        }
    }

    fn open(&self, count: usize) -> Result<Place> {
        let (device, model, id) = crate::gpu::open(self.local_rank() % count)?;
        Ok(Place {
            device,
            model: Some(model),
            id: Some(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        let world = World::alone();
        assert!(world.place(DeviceKind::Cpu).unwrap().device.is_cpu());
        assert!(world.place(DeviceKind::Auto).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_needs_the_other_program() {
        let told = World::alone().place(DeviceKind::Cuda).unwrap_err();
        assert_eq!(told.exit_code(), crate::error::EXIT_INPUT);
        assert!(told.to_string().contains("holosig-cuda"), "{told}");
    }
}
