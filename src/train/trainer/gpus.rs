//! Gradients in fast reduction where every rank has a GPU of its own: summed over slices and
//! ranks where they are, brought to the host once.

use super::Trainer;
use super::step::{SliceTerms, Sum};
use crate::Result;
use crate::comm::nccl::Nccl;
use crate::comm::{World, pulse};
use crate::models::{Model, StepKey};
use crate::train::loader::Slice;
use crate::train::schedule::WeightSchedule;
use crate::train::{Plan, Reduction, Task};
use candle_core::{DType, Tensor};

/// Connects the GPUs if the run is to use them so; tells why not. Collective.
pub(super) fn connect<T: Task, W>(world: &World, plan: &Plan<T, W>) -> Result<Option<Nccl>> {
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

impl<T: Task, W: WeightSchedule + Sync> Trainer<'_, T, W> {
    /// What [`Trainer::gradients`] returns.
    pub(super) fn gradients_of_gpus(
        &self,
        nccl: &Nccl,
        key: StepKey,
        weights: &[f64],
        slices: &[Slice<<T::Model as Model>::Batch>],
    ) -> Result<(Sum, Vec<SliceTerms>)> {
        let model = self.plan.task.model();
        let parameters = model.parameters();
        // Gradient, statistics, objective.
        let len = parameters.len() + parameters.buffers().len() + 1;
        let mut sum = Tensor::zeros(len, DType::F32, model.parameters().device())?;
        let mut terms = Vec::new();
        for slice in slices {
            let Some(batch) = &slice.batch else { continue };
            let losses = model.losses(batch, weights, key)?;
            pulse::tick();
            let store = losses.objective.backward()?;
            let mut parts = vec![model.parameters().gradient(&store)?];
            parts.extend(losses.statistics.iter().cloned());
            parts.push(losses.objective.to_dtype(DType::F32)?.reshape(1)?);
            let vector = Tensor::cat(&parts, 0)?;
            // Zero where finite, else not a number.
            let finite = (&vector * 0.0)?.sum_all()?;
            sum = (sum + (vector * slice.share)?)?;
            let mut values = vec![losses.value()?];
            values.extend(losses.term_values()?);
            terms.push(SliceTerms {
                number: slice.number,
                share: slice.share,
                finite: finite.to_scalar::<f32>()? == 0.0 && values[0].is_finite(),
                names: losses.terms.iter().map(|t| t.0).collect(),
                values,
            });
        }
        nccl.sum(&sum)?;
        let mut gradient = crate::gpu::to_host(&sum)?;
        let mut statistics = gradient.split_off(parameters.len());
        let objective = statistics.pop().unwrap_or(f32::NAN);
        let sum = Sum {
            gradient,
            statistics,
            objective,
        };
        Ok((sum, terms))
    }
}
