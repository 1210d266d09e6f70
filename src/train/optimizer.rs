//! Adam on the parameters of a model, where they are.

use crate::comm::World;
use crate::models::{Flat, Parameters};
use crate::ops::device::adam::Step;
use crate::train::checkpoint::Moments;
use crate::train::groups::Stretch;
use crate::train::norm::Squares;
use crate::{Error, Result};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSettings {
    /// What a first moment keeps of itself in a step.
    pub beta1: f64,
    /// What a second moment keeps of itself in a step.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// How fast weights decay.
    pub weight_decay: f64,
    /// Whether decay is a penalty in the gradient (Adam) or decoupled from it (AdamW).
    pub decay: Decay,
}

/// How weights decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// An L2 penalty, added to the gradient (PyTorch's `Adam`).
    #[default]
    L2,
    /// Beside the gradient, `p = p - lr weight_decay p` (PyTorch's `AdamW`: Loshchilov and Hutter
    /// 2019, Algorithm 2).
    Decoupled,
}

impl Default for AdamSettings {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-5,
            decay: Decay::L2,
        }
    }
}

impl AdamSettings {
    /// The numbers of the update after `steps` others, with learning rate `rate`.
    pub fn step(&self, steps: u64, rate: f64) -> Step {
        let t = (steps + 1) as f64;
        let (penalty, shrink) = match self.decay {
            Decay::L2 => (self.weight_decay, 1.0),
            Decay::Decoupled => (0.0, 1.0 - rate * self.weight_decay),
        };
        Step {
            step_size: (rate / (1.0 - self.beta1.powf(t))) as f32,
            root_correction: (1.0 - self.beta2.powf(t)).sqrt() as f32,
            new1: (1.0 - self.beta1) as f32,
            keep2: self.beta2 as f32,
            new2: (1.0 - self.beta2) as f32,
            epsilon: self.epsilon as f32,
            decay: penalty as f32,
            shrink: shrink as f32,
            scale: 1.0,
        }
    }
}

/// Adam (Kingma and Ba 2015, Algorithm 1) with weight decay, operation for operation as
/// `torch.optim.Adam` and `torch.optim.AdamW` round in f32:
///
/// ```text
/// g = grad + weight_decay p             with Decay::L2
/// p = p (1 - lr weight_decay)           with Decay::Decoupled
/// m = m + (1 - beta1)(g - m)            v = beta2 v + (1 - beta2) g^2
/// p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
///
/// Its moments are where the model is, and it changes the parameters there, with the same bits in
/// the processor's memory and on a device.
pub struct Adam {
    settings: AdamSettings,
    /// The parameters that it updates: all of a model, or a rank's part.
    own: Range<usize>,
    /// What it does to them, in flat order; what lies in none of these stays as it is.
    stretches: Vec<Stretch>,
    steps: u64,
    /// First and second moments of these.
    moments: [Flat; 2],
}

impl Adam {
    /// For the parameters `own` of a model, after `moments` or at the start.
    ///
    /// # Errors
    /// Moments of another length; a failure of the device.
    pub fn new(
        settings: AdamSettings,
        model: &Parameters,
        own: Range<usize>,
        moments: Option<Moments>,
    ) -> Result<Self> {
        let device = model.device();
        let (steps, moments) = match moments {
            Some(m) if m.first.len() != own.len() || m.second.len() != own.len() => {
                let lens = (m.first.len(), m.second.len(), own.len());
                return Err(Error::internal(format!("moments, parameters: {lens:?}")));
            }
            Some(m) => {
                let there = |values| Flat::from_host(values, device);
                (m.steps, [there(m.first)?, there(m.second)?])
            }
            None => {
                let zeros = || Flat::zeros(own.len(), device);
                (0, [zeros()?, zeros()?])
            }
        };
        let whole = Stretch {
            range: 0..model.len(),
            rate: 1.0,
            weight_decay: settings.weight_decay,
        };
        Ok(Self {
            settings,
            own,
            stretches: vec![whole],
            steps,
            moments,
        })
    }

    /// Updates these stretches of the model only, each at its own rate.
    pub fn with_stretches(self, stretches: Vec<Stretch>) -> Self {
        Self { stretches, ..self }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// First and second moments.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn moments(&self) -> Result<[Cow<'_, [f32]>; 2]> {
        let [first, second] = &self.moments;
        Ok([first.host()?, second.host()?])
    }

    /// The squares of the gradient of those parameters that are updated here.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn squares(&self, gradient: &Flat) -> Result<Squares> {
        let gradient = gradient.host()?;
        let mut squares = Squares::default();
        for stretch in &self.stretches {
            squares.add(&gradient[stretch.within(&self.own)]);
        }
        Ok(squares)
    }

    /// One update of the model with learning rate `rate`; `gradient` is as long as the model and
    /// where it is.
    ///
    /// # Errors
    /// A gradient of another length or place; a failure of the device.
    pub fn step(&mut self, model: &Parameters, gradient: &Flat, rate: f64) -> Result<()> {
        self.scaled_step(model, gradient, rate, 1.0)
    }

    /// [`Adam::step`] of the gradient times `scale`.
    ///
    /// # Errors
    /// As [`Adam::step`].
    pub fn scaled_step(
        &mut self,
        model: &Parameters,
        gradient: &Flat,
        rate: f64,
        scale: f32,
    ) -> Result<()> {
        if gradient.len() != model.len() {
            let lens = (gradient.len(), model.len());
            return Err(Error::internal(format!("gradient, parameters: {lens:?}")));
        }
        for stretch in self.stretches.clone() {
            let settings = AdamSettings {
                weight_decay: stretch.weight_decay,
                ..self.settings
            };
            let numbers = Step {
                scale,
                ..settings.step(self.steps, rate * stretch.rate)
            };
            self.update(model, gradient, stretch.within(&self.own), &numbers)?;
        }
        self.steps += 1;
        Ok(())
    }

    /// Updates the parameters `range`, which are among its own.
    fn update(
        &mut self,
        model: &Parameters,
        gradient: &Flat,
        range: Range<usize>,
        numbers: &Step,
    ) -> Result<()> {
        let before = range.start - self.own.start;
        match (&mut self.moments, gradient) {
            ([Flat::Host(first), Flat::Host(second)], Flat::Host(gradient)) => {
                let gradient = &gradient[range.clone()];
                model.modify(range, |at, parameters| {
                    let len = parameters.len();
                    let place = before + at..before + at + len;
                    let moments = [&mut first[place.clone()], &mut second[place]];
                    update(numbers, parameters, &gradient[at..at + len], moments);
                })?;
            }
            #[cfg(feature = "cuda")]
            ([Flat::Device(first), Flat::Device(second)], Flat::Device(gradient)) => {
                for (at, part) in model.parts(range.clone())? {
                    let len = part.elem_count();
                    let gradient = gradient.narrow(0, range.start + at, len)?;
                    let moment = |all: &candle_core::Tensor| all.narrow(0, before + at, len);
                    let (first, second) = (moment(first)?, moment(second)?);
                    let tensors = [&part, &gradient, &first, &second];
                    // Their memory begins at multiples of 256 bytes.
                    let wide = tensors.iter().all(|t| t.layout().start_offset() % 4 == 0);
                    let sequence = crate::ops::device::adam::step(numbers, len, wide);
                    crate::ops::cuda::run_tensors(&sequence, &tensors)?;
                }
            }
            _ => return Err(Error::internal("gradient and moments are not together")),
        }
        Ok(())
    }

    /// After a step of parts the ranks tell each other, and every rank has the same model again.
    /// The values of `scratch`, as many as parameters, are lost. Collective.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn share(&self, world: &World, model: &Parameters, scratch: Flat) -> Result<()> {
        let mut values = match scratch {
            Flat::Host(values) => values,
            Flat::Device(_) => vec![0.0; model.len()],
        };
        values[self.own.clone()].copy_from_slice(&model.range(self.own.clone())?);
        world.share_parts(&mut values);
        model.set_flat(&values)
    }
}

/// Elements that one thread updates at a time.
const CHUNK: usize = 1 << 14;

/// The update of parameters and moments, all of one length.
pub fn update(s: &Step, parameters: &mut [f32], gradient: &[f32], moments: [&mut [f32]; 2]) {
    let [first, second] = moments;
    parameters
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK))
        .zip(second.par_chunks_mut(CHUNK))
        .for_each(|(((p, g), m), v)| {
            for i in 0..p.len() {
                let g = g[i] * s.scale + s.decay * p[i];
                m[i] += (g - m[i]) * s.new1;
                v[i] = v[i] * s.keep2 + s.new2 * g * g;
                let root = v[i].sqrt() / s.root_correction + s.epsilon;
                p[i] = p[i] * s.shrink - s.step_size * (m[i] / root);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Init, ParametersBuilder};
    use candle_core::{DType, Device};

    /// A model of two groups.
    fn model(lens: [usize; 2], values: &[f32]) -> Parameters {
        let mut b = ParametersBuilder::default();
        for (name, len) in ["a", "b"].into_iter().zip(lens) {
            b.root().parameter(name, len, Init::Constant(0.0));
        }
        let model = b.build(1, DType::F32, &Device::Cpu, 0.1).unwrap();
        model.set_flat(values).unwrap();
        model
    }

    /// The textbook form, in f64.
    fn textbook(p: &mut [f64], grads: &[Vec<f64>], rate: f64, s: AdamSettings) {
        for (i, p) in p.iter_mut().enumerate() {
            let (mut m, mut v) = (0.0, 0.0);
            for (t, grad) in grads.iter().enumerate() {
                let (penalty, shrink) = match s.decay {
                    Decay::L2 => (s.weight_decay, 1.0),
                    Decay::Decoupled => (0.0, 1.0 - rate * s.weight_decay),
                };
                let g = grad[i] + penalty * *p;
                m = s.beta1 * m + (1.0 - s.beta1) * g;
                v = s.beta2 * v + (1.0 - s.beta2) * g * g;
                let n = (t + 1) as i32;
                let (mh, vh) = (m / (1.0 - s.beta1.powi(n)), v / (1.0 - s.beta2.powi(n)));
                *p = shrink * *p - rate * mh / (vh.sqrt() + s.epsilon);
            }
        }
    }

    #[test]
    fn follows_the_formula() {
        let n = 3 * CHUNK / 2;
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let start: Vec<f64> = (0..n).map(|i| (i as f64 * 0.37).sin()).collect();
        let grads: Vec<Vec<f64>> = (0..20)
            .map(|t| (0..n).map(|i| ((i + 31 * t) as f64 * 0.11).cos()).collect())
            .collect();
        let mut ends = Vec::new();
        for decay in [Decay::L2, Decay::Decoupled] {
            let settings = AdamSettings {
                weight_decay: 0.1,
                decay,
                ..AdamSettings::default()
            };
            let mut exact = start.clone();
            textbook(&mut exact, &grads, 2.5e-3, settings);
            let model = model([n - 5, 5], &single(&start));
            let mut adam = Adam::new(settings, &model, 0..n, None).unwrap();
            for g in &grads {
                let g = Flat::Host(single(g));
                adam.step(&model, &g, 2.5e-3).unwrap();
            }
            assert_eq!(adam.steps(), 20);
            let end = model.flat().unwrap();
            for (i, (got, want)) in end.iter().zip(&exact).enumerate() {
                let error = (f64::from(*got) - want).abs();
                // Twenty steps, each rounded to f32.
                assert!(error < 2e-6, "{decay:?} {i}: {got} {want}");
            }
            ends.push(end);
        }
        assert_ne!(ends[0], ends[1]);
    }

    /// Stretches have rates of their own; what lies between them stays as it is.
    #[test]
    fn stretches_are_updated_by_themselves() {
        let start: Vec<f32> = (0..10).map(|i| i as f32 - 4.5).collect();
        let gradient = Flat::Host((0..10).map(|i| (i as f32).cos()).collect());
        let stretch = |range, rate, weight_decay| Stretch {
            range,
            rate,
            weight_decay,
        };
        let alone = |rate: f64, weight_decay| {
            let settings = AdamSettings {
                weight_decay,
                ..AdamSettings::default()
            };
            let model = model([3, 7], &start);
            let mut adam = Adam::new(settings, &model, 0..10, None).unwrap();
            adam.scaled_step(&model, &gradient, rate, 0.5).unwrap();
            model.flat().unwrap()
        };
        let wanted = [
            &alone(1.0, 0.0)[..2],
            &start[2..4],
            &alone(0.25, 0.1)[4..9],
            &start[9..],
        ]
        .concat();
        let stretches = vec![stretch(0..2, 2.0, 0.0), stretch(4..9, 0.5, 0.1)];
        for cut in [10, 1, 6, 9] {
            let model = model([3, 7], &start);
            for own in [0..cut, cut..10] {
                let adam = Adam::new(AdamSettings::default(), &model, own, None).unwrap();
                let mut adam = adam.with_stretches(stretches.clone());
                adam.scaled_step(&model, &gradient, 0.5, 0.5).unwrap();
            }
            assert_eq!(model.flat().unwrap(), wanted, "cut at {cut}");
        }
    }

    /// The first step moves every parameter by the learning rate against its gradient's sign.
    #[test]
    fn first_step_is_the_learning_rate() {
        let settings = AdamSettings {
            weight_decay: 0.0,
            ..AdamSettings::default()
        };
        let model = model([2, 1], &[1.0, -2.0, 0.5]);
        let mut adam = Adam::new(settings, &model, 0..3, None).unwrap();
        let gradient = Flat::Host(vec![3.0, -0.2, 1e-3]);
        adam.step(&model, &gradient, 0.1).unwrap();
        for (got, want) in model.flat().unwrap().iter().zip([0.9, -1.9, 0.4]) {
            assert!((got - want).abs() < 1e-5);
        }
    }

    /// Parts that begin and end within groups, with moments that went through a checkpoint.
    #[test]
    fn parts_have_the_bits_of_the_whole() {
        let numbers = |k: f32| {
            (0..1000)
                .map(|i| (i as f32 * k).sin())
                .collect::<Vec<f32>>()
        };
        let [whole, split] = [(); 2].map(|()| model([300, 700], &numbers(0.37)));
        let settings = AdamSettings::default();
        let all = |model, own| Adam::new(settings, model, own, None).unwrap();
        let mut one = all(&whole, 0..1000);
        let mut parts = [all(&split, 0..437), all(&split, 437..1000)];
        for step in 0..4 {
            let gradient = Flat::Host(numbers(0.11 + step as f32));
            one.step(&whole, &gradient, 1e-3).unwrap();
            for adam in &mut parts {
                adam.step(&split, &gradient, 1e-3).unwrap();
                let [first, second] = adam.moments().unwrap().map(Cow::into_owned);
                let moments = Moments {
                    steps: adam.steps(),
                    first,
                    second,
                    raw: None,
                };
                *adam = Adam::new(settings, &split, adam.own.clone(), Some(moments)).unwrap();
            }
            assert_eq!(whole.flat().unwrap(), split.flat().unwrap());
        }
        let [a, b] = parts.each_ref().map(|p| p.moments().unwrap());
        for (whole, (a, b)) in one.moments().unwrap().iter().zip(a.iter().zip(&b)) {
            assert_eq!(whole[..], [&a[..], &b[..]].concat());
        }
    }

    #[test]
    fn a_gradient_of_another_length_is_refused() {
        let model = model([4, 1], &[1.0; 5]);
        let mut adam = Adam::new(AdamSettings::default(), &model, 0..5, None).unwrap();
        assert!(adam.step(&model, &Flat::Host(vec![0.0; 4]), 1e-3).is_err());
    }
}
