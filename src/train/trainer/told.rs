//! What the slices of a step tell each other before their losses, where these compare samples.

use super::Trainer;
use crate::models::layers::Told;
use crate::models::{Model, StepKey};
use crate::train::Task;
use crate::train::loader::Slice;
use crate::{Error, Result, trace};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

impl<T: Task> Trainer<'_, T> {
    /// What all slices of a step tell, in their order, the same on every rank; nothing where the loss
    /// of a slice is its own affair. Collective.
    pub(super) fn told(
        &self,
        key: StepKey,
        slices: &[Slice<<T::Model as Model>::Batch>],
    ) -> Result<Option<Told>> {
        let model = self.plan.task.model();
        if !model.compares() || self.plan.settings.slices == 1 {
            return Ok(None);
        }
        let _span = trace::span("representations");
        let tell = |slice: &Slice<<T::Model as Model>::Batch>| match &slice.batch {
            Some(batch) => model.tell(batch, key),
            None => Ok(Vec::new()),
        };
        let parameters = model.parameters();
        let own: Result<Told> = match parameters.device().is_cpu() {
            true => slices.par_iter().map(tell).collect(),
            false => slices.iter().map(tell).collect(),
        };
        let packed = self.world.agree(own.and_then(|own| Packed::new(&own)))?;
        let all = Packed {
            shapes: self.world.all_gather(&packed.shapes).concat(),
            values: self.world.all_gather(&packed.values).concat(),
        };
        all.into_told(parameters.dtype(), parameters.device())
            .map(Some)
    }
}

/// Tensors of slices as they travel.
#[derive(Debug, Default)]
struct Packed {
    /// For each slice the number of its tensors; for each of these the number of its dimensions and
    /// the dimensions.
    shapes: Vec<u64>,
    values: Vec<f32>,
}

impl Packed {
    fn new(told: &Told) -> Result<Self> {
        let mut packed = Self::default();
        for slice in told {
            packed.shapes.push(slice.len() as u64);
            for tensor in slice {
                packed.shapes.push(tensor.rank() as u64);
                packed
                    .shapes
                    .extend(tensor.dims().iter().map(|&d| d as u64));
                let values = tensor.to_dtype(DType::F32)?.flatten_all()?;
                packed.values.extend(values.to_vec1::<f32>()?);
            }
        }
        Ok(packed)
    }

    fn into_told(self, dtype: DType, device: &Device) -> Result<Told> {
        let missing = || Error::internal("slices have told less than they said");
        let mut shapes = self.shapes.into_iter().map(|n| n as usize);
        let mut values = self.values.as_slice();
        let mut told = Told::new();
        while let Some(tensors) = shapes.next() {
            let mut slice = Vec::with_capacity(tensors);
            for _ in 0..tensors {
                let rank = shapes.next().ok_or_else(missing)?;
                let dims: Vec<usize> = shapes.by_ref().take(rank).collect();
                let len = dims.iter().product();
                let (own, rest) = values.split_at_checked(len).ok_or_else(missing)?;
                values = rest;
                slice.push(Tensor::from_slice(own, dims, device)?.to_dtype(dtype)?);
            }
            told.push(slice);
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_travel() {
        let of = |shape: &[usize]| Tensor::rand(-1f32, 1.0, shape, &Device::Cpu).unwrap();
        let told = vec![
            vec![of(&[2, 3]), of(&[5])],
            vec![],
            vec![of(&[0, 3]), of(&[1])],
        ];
        let packed = Packed::new(&told).unwrap();
        let came = packed.into_told(DType::F32, &Device::Cpu).unwrap();
        assert_eq!(came.len(), told.len());
        for (came, told) in came.iter().zip(&told) {
            assert_eq!(came.len(), told.len());
            for (came, told) in came.iter().zip(told) {
                assert_eq!(came.dims(), told.dims());
                let [came, told] =
                    [came, told].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                assert_eq!(came, told);
            }
        }
    }

    #[test]
    fn less_than_was_said_is_an_error() {
        let packed = Packed {
            shapes: vec![1, 2, 2, 3],
            values: vec![0.0; 5],
        };
        assert!(packed.into_told(DType::F32, &Device::Cpu).is_err());
    }
}
