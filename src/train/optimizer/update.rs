//! The update of a model: of all its parameters or of a rank's part, on the host or where it is.

use super::{Adam, AdamSettings, Resident};
use crate::comm::World;
use crate::models::Parameters;
use crate::train::checkpoint::Moments;
use crate::{Error, Result};
use candle_core::Tensor;
use std::borrow::Cow;
use std::ops::Range;

/// Values of a gradient, and where they are.
pub enum Gradient {
    Host(Vec<f32>),
    Device(Tensor),
}

impl Gradient {
    /// Whether the values of a range are finite.
    pub fn is_finite(&self, range: Range<usize>) -> Result<bool> {
        match self {
            Gradient::Host(values) => Ok(values[range].iter().all(|v| v.is_finite())),
            Gradient::Device(vector) => is_finite(&vector.narrow(0, range.start, range.len())?),
        }
    }
}

/// Zero times a finite number is zero, times any other not a number: one number comes back.
pub(in crate::train) fn is_finite(vector: &Tensor) -> Result<bool> {
    Ok(((vector * 0.0)?.sum_all()?).to_scalar::<f32>()? == 0.0)
}

/// Adam, where the gradients are summed.
pub enum Optimizer {
    /// Of all parameters, or of a rank's part of them.
    Host(HostAdam),
    /// Of all parameters.
    Device(Resident),
}

/// Adam on the host.
pub struct HostAdam {
    adam: Adam,
    /// The values that it updates, of a model on a device; one on the host is updated in place.
    copy: Option<Vec<f32>>,
}

impl Optimizer {
    /// For the parameters `own` of a model, on its device or on the host, after `moments` or at
    /// the start.
    pub fn new(
        settings: AdamSettings,
        model: &Parameters,
        own: Range<usize>,
        on_device: bool,
        moments: Option<Moments>,
    ) -> Result<Self> {
        let mut adam = Adam::new(settings, 0);
        let moments = moments.unwrap_or_else(|| Moments {
            steps: 0,
            first: vec![0.0; own.len()],
            second: vec![0.0; own.len()],
        });
        if on_device {
            let parts = [&model.range(own)?[..], &moments.first, &moments.second];
            let resident = Resident::new(settings, moments.steps, parts, model.device())?;
            return Ok(Optimizer::Device(resident));
        }
        adam.steps = moments.steps;
        adam.first = moments.first;
        adam.second = moments.second;
        let copy = match model.device().is_cpu() {
            true => None,
            false => Some(model.range(own)?),
        };
        Ok(Optimizer::Host(HostAdam { adam, copy }))
    }

    pub fn is_on_device(&self) -> bool {
        matches!(self, Optimizer::Device(_))
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        match self {
            Optimizer::Host(host) => host.adam.steps,
            Optimizer::Device(resident) => resident.steps(),
        }
    }

    /// First and second moments.
    pub fn moments(&self) -> Result<[Cow<'_, [f32]>; 2]> {
        Ok(match self {
            Optimizer::Host(HostAdam { adam, .. }) => {
                [&adam.first, &adam.second].map(|m| Cow::Borrowed(&m[..]))
            }
            Optimizer::Device(resident) => resident.moments()?.map(Cow::Owned),
        })
    }

    /// One step of the parameters `own` of `model`. Where these are not all, a vector of the
    /// model's length comes back with them in their place, for [`Optimizer::share`].
    ///
    /// # Errors
    /// A gradient on the host for a state on a device, or the reverse; a failure of the device.
    pub fn step(
        &mut self,
        gradient: Gradient,
        rate: f64,
        model: &Parameters,
        own: Range<usize>,
    ) -> Result<Option<Vec<f32>>> {
        match (self, gradient) {
            (Optimizer::Host(host), Gradient::Host(mut gradient)) => {
                host.step(model, own.clone(), &mut gradient, rate)?;
                Ok((own.len() < model.len()).then_some(gradient))
            }
            (Optimizer::Device(resident), Gradient::Device(gradient)) => {
                resident.step(&gradient, rate)?;
                model.set_vector(&resident.parameters()?)?;
                Ok(None)
            }
            _ => Err(Error::internal("gradient and optimizer are not together")),
        }
    }

    /// After a step of parts the ranks tell each other, and every rank has the same model again.
    /// Collective where ranks have parts.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn share(world: &World, model: &Parameters, parts: Option<Vec<f32>>) -> Result<()> {
        match parts {
            Some(mut parts) => {
                world.share_parts(&mut parts);
                model.set_flat(&parts)
            }
            None => Ok(()),
        }
    }
}

impl HostAdam {
    /// One step of the parameters `own` of `model`. Where these are not all, they are left in
    /// the place of their gradient, which has been used.
    fn step(
        &mut self,
        model: &Parameters,
        own: Range<usize>,
        gradient: &mut [f32],
        rate: f64,
    ) -> Result<()> {
        let part = own.len() < model.len();
        let gradient = &mut gradient[own.clone()];
        match &mut self.copy {
            Some(copy) => {
                self.adam.step(copy, gradient, rate);
                match part {
                    true => gradient.copy_from_slice(copy),
                    false => model.set_flat(copy)?,
                }
            }
            None => {
                self.adam.step_model(model, own.clone(), gradient, rate)?;
                if part {
                    model.modify(own, |at, values| {
                        gradient[at..at + values.len()].copy_from_slice(values);
                    })?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn what_is_not_finite_is_found() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values: Vec<f32> = (0..100).map(|i| (i as f32).sin()).collect();
            values[7] = bad;
            let on = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
            for gradient in [Gradient::Device(on(&values)), Gradient::Host(values)] {
                assert!(!gradient.is_finite(0..100).unwrap());
                assert!(gradient.is_finite(8..100).unwrap());
            }
        }
        // The sum of the values overflows; none of them is infinite.
        let large = Gradient::Device(Tensor::new(&[f32::MAX; 9], &Device::Cpu).unwrap());
        assert!(large.is_finite(0..9).unwrap());
    }
}
