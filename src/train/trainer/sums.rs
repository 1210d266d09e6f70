//! Sums of gradients over slices, on the host or where the model is.

use crate::Result;
use crate::comm::SliceTree;
use crate::models::Parameters;
use crate::train::optimizer::is_finite;
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use std::sync::Mutex;

/// A rank's part of the sum over slices ([`SliceTree`]).
pub(super) enum Sums {
    Host(SliceTree),
    Device(DeviceTree),
}

impl Sums {
    pub fn new(on_device: bool) -> Self {
        match on_device {
            true => Sums::Device(DeviceTree::default()),
            false => Sums::Host(SliceTree::new()),
        }
    }

    /// Adds a slice's gradient, times its share; whether all of it is finite.
    pub fn insert(
        &self,
        slice: usize,
        share: f32,
        parameters: &Parameters,
        store: GradStore,
    ) -> Result<bool> {
        match self {
            Sums::Host(tree) => {
                let mut gradient = parameters.take_gradients(store)?;
                let mut finite = true;
                for value in &mut gradient {
                    finite &= value.is_finite();
                    *value *= share;
                }
                tree.insert(slice, gradient);
                Ok(finite)
            }
            Sums::Device(tree) => {
                let gradient = parameters.gradient(&store)?;
                drop(store);
                let finite = is_finite(&gradient)?;
                // A plain product, as on the host: `affine` adds a zero.
                let share = Tensor::new(&[share], gradient.device())?;
                tree.insert(slice, gradient.broadcast_mul(&share)?)?;
                Ok(finite)
            }
        }
    }

    /// Adds a slice without samples.
    pub fn insert_nothing(&self, slice: usize, parameters: &Parameters) -> Result<()> {
        let len = parameters.len();
        match self {
            Sums::Host(tree) => {
                tree.insert(slice, vec![0.0; len]);
                Ok(())
            }
            Sums::Device(tree) => {
                tree.insert(slice, Tensor::zeros(len, DType::F32, parameters.device())?)
            }
        }
    }
}

/// [`SliceTree`] on a device, for slices that come in ascending number. In a world of one rank the
/// sum has the same bits.
#[derive(Default)]
pub(super) struct DeviceTree {
    /// Nodes that wait for their right neighbor: level, place and vector.
    nodes: Mutex<Vec<(u32, usize, Tensor)>>,
}

impl DeviceTree {
    fn insert(&self, slice: usize, mut vector: Tensor) -> Result<()> {
        let mut nodes = self.nodes.lock().unwrap_or_else(|e| e.into_inner());
        let (mut level, mut place) = (0, slice);
        while let Some((_, _, left)) = nodes.pop_if(|n| (n.0, n.1) == (level, place ^ 1)) {
            vector = (left + vector)?;
            (level, place) = (level + 1, place / 2);
        }
        nodes.push((level, place, vector));
        Ok(())
    }

    /// The sum over all slices; a tensor of its own.
    pub fn into_sum(self, parameters: &Parameters) -> Result<Tensor> {
        let nodes = self.nodes.into_inner().unwrap_or_else(|e| e.into_inner());
        let mut vectors = nodes.into_iter().map(|n| n.2);
        let first = match vectors.next() {
            Some(vector) => vector,
            None => Tensor::zeros(parameters.len(), DType::F32, parameters.device())?,
        };
        vectors.try_fold(first, |sum, vector| Ok((sum + vector)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::World;
    use crate::models::to_host;
    use candle_core::Device;

    fn numbers(seed: usize, len: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 31 + seed * 17) as f32 * 0.37).sin() / (1 + seed) as f32;
        (0..len).map(value).collect()
    }

    #[test]
    fn the_sum_on_a_device_has_the_bits_of_the_hosts() {
        const LEN: usize = 1001;
        let parameters = crate::models::ParametersBuilder::default();
        let parameters = parameters.build(1, DType::F32, &Device::Cpu, 0.1).unwrap();
        for slices in [1, 2, 8, 32] {
            let (host, device) = (SliceTree::new(), DeviceTree::default());
            for slice in 0..slices {
                let values = numbers(slice, LEN);
                host.insert(slice, values.clone());
                let vector = Tensor::from_vec(values, LEN, &Device::Cpu).unwrap();
                device.insert(slice, vector).unwrap();
            }
            let want = World::alone().tree_sum(slices, LEN, host);
            let got = device.into_sum(&parameters).unwrap();
            assert_eq!(to_host(&got).unwrap(), want, "{slices} slices");
        }
    }
}
