//! The exponential moving average of a model's parameters.

use crate::Result;
use crate::comm::World;
use crate::models::{Flat, Parameters};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Values that one thread averages at a time.
const CHUNK: usize = 1 << 14;

/// An exponential moving average of parameters, where they are: after update `t` (from 0)
///
/// ```text
/// a = d a + (1 - d) p        d = min(decay, (1 + t) / (10 + t))
/// ```
///
/// The decay rises to its value, so that an average does not remember the start for long.
pub struct Average {
    decay: f64,
    /// The parameters that it follows: all of a model, or a rank's part.
    own: Range<usize>,
    values: Flat,
}

impl Average {
    /// Begins with the present parameters.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn new(decay: f64, model: &Parameters, own: Range<usize>) -> Result<Self> {
        Ok(Self {
            decay,
            values: Flat::from_host(model.range(own.clone())?, model.device())?,
            own,
        })
    }

    /// The averages of its parameters.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn values(&self) -> Result<Cow<'_, [f32]>> {
        self.values.host()
    }

    /// Takes in the parameters after `steps` other updates.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn update(&mut self, model: &Parameters, steps: u64) -> Result<()> {
        let t = steps as f64;
        let keep = self.decay.min((1.0 + t) / (10.0 + t));
        let (keep, new) = (keep as f32, (1.0 - keep) as f32);
        match &mut self.values {
            Flat::Host(values) => model.modify(self.own.clone(), |at, parameters| {
                let values = &mut values[at..at + parameters.len()];
                values
                    .par_chunks_mut(CHUNK)
                    .zip(parameters.par_chunks(CHUNK))
                    .for_each(|(a, p)| {
                        a.iter_mut()
                            .zip(p)
                            .for_each(|(a, p)| *a = keep * *a + new * p)
                    });
            }),
            Flat::Device(values) => {
                for (at, part) in model.parts(self.own.clone())? {
                    let old = values.narrow(0, at, part.elem_count())?;
                    let part = part.to_dtype(old.dtype())?;
                    let next = ((old * f64::from(keep))? + (part * f64::from(new))?)?;
                    values.slice_set(&next, 0, at)?;
                }
                Ok(())
            }
        }
    }

    /// Puts the averages in the place of the parameters, on every rank; returns those that were
    /// there, for [`Average::put_back`]. Collective.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn put_in(&self, world: &World, model: &Parameters) -> Result<Vec<f32>> {
        let own = model.range(self.own.clone())?;
        self.put_back(world, model, &self.values.host()?)?;
        Ok(own)
    }

    /// Replaces the parameters by what each rank has of them: undoes [`Average::put_in`].
    /// Collective.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn put_back(&self, world: &World, model: &Parameters, own: &[f32]) -> Result<()> {
        if self.own.len() == model.len() {
            return model.set_flat(own);
        }
        let mut all = vec![0.0; model.len()];
        all[self.own.clone()].copy_from_slice(own);
        world.share_parts(&mut all);
        model.set_flat(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Init, ParametersBuilder};
    use candle_core::{DType, Device};

    fn model() -> Parameters {
        let mut b = ParametersBuilder::default();
        b.root().parameter("a", 30_000, Init::Constant(0.0));
        b.root().parameter("b", 7, Init::Constant(0.0));
        b.build(1, DType::F32, &Device::Cpu, 0.1).unwrap()
    }

    #[test]
    fn it_follows_the_formula_in_whole_and_in_parts() {
        let model = model();
        let parameters = |step: usize| -> Vec<f32> {
            (0..model.len())
                .map(|i| ((i + 31 * step) as f32 * 0.37).sin())
                .collect()
        };
        model.set_flat(&parameters(0)).unwrap();
        let average = |own| Average::new(0.5, &model, own).unwrap();
        let mut whole = average(0..model.len());
        let mut parts = [average(0..12_345), average(12_345..model.len())];
        let mut wanted: Vec<f64> = parameters(0).into_iter().map(f64::from).collect();
        for step in 0..20 {
            let next = parameters(step + 1);
            model.set_flat(&next).unwrap();
            whole.update(&model, step as u64).unwrap();
            for part in &mut parts {
                part.update(&model, step as u64).unwrap();
            }
            let keep = (0.5f64).min((1.0 + step as f64) / (10.0 + step as f64));
            for (a, p) in wanted.iter_mut().zip(&next) {
                *a = keep * *a + (1.0 - keep) * f64::from(*p);
            }
        }
        let values = whole.values().unwrap();
        for (got, want) in values.iter().zip(&wanted) {
            assert!((f64::from(*got) - want).abs() < 1e-6);
        }
        let [first, second] = parts.each_ref().map(|p| p.values().unwrap());
        assert_eq!(values[..], [&first[..], &second[..]].concat());
        // For a validation, and back.
        let raw = whole.put_in(&World::alone(), &model).unwrap();
        assert_eq!(model.flat().unwrap(), values[..]);
        whole.put_back(&World::alone(), &model, &raw).unwrap();
        assert_eq!(model.flat().unwrap(), parameters(20));
    }
}
