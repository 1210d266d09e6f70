//! Adam whose state stays where the parameters are.

use super::{Adam, AdamSettings, apply};
use crate::Result;
use crate::models::to_host;
use crate::ops::device::adam::Step;
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Tensor, bail};

/// [`Adam`] with parameters and moments in the memory of a device. Its bits are [`Adam`]'s.
pub struct Resident {
    /// Counts the steps; has no moments.
    adam: Adam,
    len: usize,
    /// Parameters, first and second moments, each from a multiple of [`ALIGNMENT`] on.
    state: Tensor,
}

/// Elements that the kernel reads at a time.
const ALIGNMENT: usize = 4;

impl Resident {
    /// The state after `steps`.
    ///
    /// # Errors
    /// Vectors of different lengths; a failure of the device.
    pub fn new(
        settings: AdamSettings,
        steps: u64,
        parts: [&[f32]; 3],
        device: &Device,
    ) -> Result<Self> {
        let len = parts[0].len();
        let stride = len.next_multiple_of(ALIGNMENT);
        let mut flat = vec![0.0; 3 * stride];
        for (place, values) in flat.chunks_mut(stride.max(1)).zip(parts) {
            place[..len].copy_from_slice(values);
        }
        let mut adam = Adam::new(settings, 0);
        adam.steps = steps;
        Ok(Self {
            adam,
            len,
            state: Tensor::from_vec(flat, 3 * stride, device)?,
        })
    }

    pub fn steps(&self) -> u64 {
        self.adam.steps
    }

    /// One update with learning rate `rate`; `gradient` is a vector on the same device.
    ///
    /// # Errors
    /// A gradient of another length or place; a failure of the device.
    pub fn step(&mut self, gradient: &Tensor, rate: f64) -> Result<()> {
        let update = Update {
            step: self.adam.next(rate),
            len: self.len,
        };
        Ok(self.state.inplace_op2(gradient, &update)?)
    }

    /// The parameters, on the device; the next step changes them.
    ///
    /// # Errors
    /// None that a program can cause.
    pub fn parameters(&self) -> Result<Tensor> {
        self.part(0)
    }

    /// First and second moments, on the host.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn moments(&self) -> Result<[Vec<f32>; 2]> {
        Ok([to_host(&self.part(1)?)?, to_host(&self.part(2)?)?])
    }

    fn part(&self, number: usize) -> Result<Tensor> {
        let start = number * self.len.next_multiple_of(ALIGNMENT);
        Ok(self.state.narrow(0, start, self.len)?)
    }
}

/// One step in place of the state of a [`Resident`], from a gradient.
struct Update {
    step: Step,
    len: usize,
}

impl InplaceOp2 for Update {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        state: &mut CpuStorage,
        place: &Layout,
        gradient: &CpuStorage,
        from: &Layout,
    ) -> candle_core::Result<()> {
        let ranges = (place.contiguous_offsets(), from.contiguous_offsets());
        let (CpuStorage::F32(state), CpuStorage::F32(gradient), (Some(at), Some(from))) =
            (state, gradient, ranges)
        else {
            bail!("Adam takes contiguous f32 vectors")
        };
        let stride = self.len.next_multiple_of(ALIGNMENT);
        let (state, gradient) = (&mut state[at.0..at.1], &gradient[from.0..from.1]);
        if gradient.len() != self.len || state.len() != 3 * stride {
            bail!(
                "a gradient of {} for {} parameters",
                gradient.len(),
                self.len
            )
        }
        let (p, moments) = state.split_at_mut(stride);
        let (m, v) = moments.split_at_mut(stride);
        let n = self.len;
        apply(&self.step, &mut p[..n], gradient, &mut m[..n], &mut v[..n]);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        state: &mut candle_core::CudaStorage,
        place: &Layout,
        gradient: &candle_core::CudaStorage,
        from: &Layout,
    ) -> candle_core::Result<()> {
        use crate::ops::{cuda, device::adam};
        let stride = self.len.next_multiple_of(ALIGNMENT);
        let part = |number: usize| {
            let place = place.narrow(0, number * stride, self.len)?;
            cuda::input(state, &place)
        };
        let inputs = [part(0)?, cuda::input(gradient, from)?, part(1)?, part(2)?];
        let sequence = adam::step(&self.step, self.len);
        cuda::run(&gradient.device, &sequence, &inputs).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the CPU, where both can be had; the kernel is compared in `tests/kernels`.
    #[test]
    fn the_state_of_a_device_has_the_bits_of_the_hosts() {
        for len in [0, 1, 4, 1027, 40_001] {
            let numbers = |k: f32| (0..len).map(|i| (i as f32 * k).sin()).collect::<Vec<f32>>();
            let settings = AdamSettings::default();
            let (mut p, mut adam) = (numbers(0.37), Adam::new(settings, len));
            let parts = [&p[..], &adam.first, &adam.second];
            let mut other = Resident::new(settings, 0, parts, &Device::Cpu).unwrap();
            for step in 0..5 {
                if step == 3 {
                    let [first, second] = other.moments().unwrap();
                    let p = to_host(&other.parameters().unwrap()).unwrap();
                    let parts = [&p[..], &first, &second];
                    other = Resident::new(settings, other.steps(), parts, &Device::Cpu).unwrap();
                }
                let g = numbers(0.11 + step as f32);
                adam.step(&mut p, &g, 1e-3);
                let g = Tensor::from_vec(g, len, &Device::Cpu).unwrap();
                other.step(&g, 1e-3).unwrap();
                assert_eq!(to_host(&other.parameters().unwrap()).unwrap(), p);
                let [first, second] = other.moments().unwrap();
                assert_eq!((first, second), (adam.first.clone(), adam.second.clone()));
                assert_eq!(other.steps(), adam.steps);
            }
        }
    }

    #[test]
    fn a_gradient_of_another_length_is_refused() {
        let parts = [&[1.0; 5][..]; 3];
        let mut adam = Resident::new(AdamSettings::default(), 0, parts, &Device::Cpu).unwrap();
        let gradient = Tensor::from_vec(vec![0f32; 4], 4, &Device::Cpu).unwrap();
        assert!(adam.step(&gradient, 1e-3).is_err());
    }
}
