//! One run of a network whose layers draw random numbers or keep batch statistics.

use super::whole::{Compared, Others};
use crate::models::{Buffer, Entry, Parameters, StepKey};
use crate::ops::segment::Incidence;
use candle_core::{DType, Result, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::{Cell, RefCell};

/// Purpose tag of dropout among counter-based random numbers.
const DROPOUT: u64 = 0x64726f706f7574;

/// What a run of a network is for.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Batch norms take the batch's own statistics and differentiate through them. Without a key
    /// nothing is dropped out.
    Train(Option<StepKey>),
    /// Batch norms take these running statistics, all buffers of the model in flat order.
    Evaluate(Tensor),
}

impl Mode {
    /// Evaluation with the running statistics that a model has.
    ///
    /// # Errors
    /// Those of candle.
    pub fn evaluation(parameters: &Parameters) -> Result<Self> {
        let buffers: Vec<f64> = parameters.buffers().into_iter().map(f64::from).collect();
        let len = buffers.len();
        let buffers = Tensor::from_vec(buffers, len, parameters.device())?;
        Ok(Self::Evaluate(buffers))
    }
}

/// A run of a network over a batch of samples.
pub struct Pass<'a> {
    pub parameters: &'a Parameters,
    mode: Mode,
    /// The samples' numbers in their dataset.
    samples: &'a [u64],
    /// Places where something was dropped out so far.
    sites: Cell<u64>,
    statistics: RefCell<Vec<(usize, Tensor)>>,
    compared: Compared<'a>,
}

impl<'a> Pass<'a> {
    pub fn new(parameters: &'a Parameters, mode: Mode, samples: &'a [u64]) -> Self {
        Self {
            parameters,
            mode,
            samples,
            sites: Cell::new(0),
            statistics: RefCell::default(),
            compared: Compared::default(),
        }
    }

    /// The same run as one slice of a step, whose other slices have told their rows.
    pub fn among(mut self, others: Others<'a>) -> Self {
        self.compared = Compared::whole(others);
        self
    }

    /// The same run, which notes what the step's other slices need to know.
    pub fn telling(mut self) -> Self {
        self.compared = Compared::Noted(RefCell::default());
        self
    }

    /// What was noted for the other slices.
    pub fn into_told(self) -> Vec<Tensor> {
        match self.compared {
            Compared::Noted(noted) => noted.into_inner(),
            _ => Vec::new(),
        }
    }

    /// Rows `[n, ..]` of the slice between those of the step's other slices, for a loss that compares
    /// samples; alone where these are not known.
    ///
    /// # Errors
    /// Slices that have told other things.
    pub fn whole(&self, x: &Tensor) -> Result<Tensor> {
        self.compared.rows(x)
    }

    /// A run that takes the batch's own statistics and drops nothing out.
    pub fn training(parameters: &'a Parameters) -> Self {
        Self::new(parameters, Mode::Train(None), &[])
    }

    /// A run with the running statistics that the model has.
    ///
    /// # Errors
    /// Those of candle.
    pub fn evaluation(parameters: &'a Parameters) -> Result<Self> {
        Ok(Self::new(parameters, Mode::evaluation(parameters)?, &[]))
    }

    /// The running statistics where they are to be taken.
    pub(super) fn running(&self) -> Option<&Tensor> {
        match &self.mode {
            Mode::Train(_) => None,
            Mode::Evaluate(buffers) => Some(buffers),
        }
    }

    /// Notes what a buffer's batch statistics are.
    pub(super) fn note(&self, buffer: &Buffer, statistics: &Tensor) -> Result<()> {
        let noted = (buffer.offset, statistics.to_dtype(DType::F32)?);
        self.statistics.borrow_mut().push(noted);
        Ok(())
    }

    /// What was noted, in the order of the buffers: [`crate::models::Losses::statistics`]. A buffer
    /// of which nothing was, such as one of bonds in a batch of lone atoms, stays as it is.
    ///
    /// # Errors
    /// Those of candle.
    pub fn into_statistics(self) -> Result<Vec<Tensor>> {
        let noted = self.statistics.into_inner();
        let running = self.parameters.buffers();
        let of = |entry: &Entry| {
            let own = noted.iter().find(|(offset, _)| *offset == entry.offset);
            match own {
                Some((_, statistics)) => Ok(statistics.clone()),
                None => {
                    let stays = &running[entry.offset..][..entry.len()];
                    Tensor::new(stays, self.parameters.device())
                }
            }
        };
        self.parameters.buffer_entries().iter().map(of).collect()
    }

    /// Zero, as a function of all parameters: the loss of a batch that has nothing to learn from,
    /// such as pairs of single atoms.
    ///
    /// # Errors
    /// Those of candle.
    pub fn nothing(&self) -> Result<Tensor> {
        self.parameters.nothing().map_err(candle_core::Error::wrap)
    }

    /// Zeroes channels of `x` `[rows, .., channels]` with probability `rate` and scales up the
    /// others; what lies between rows and channels shares its fate. `rows` tells which sample each
    /// row is of, so that a mask belongs to the step and the sample alone.
    ///
    /// # Errors
    /// Those of candle.
    pub fn dropout(&self, x: &Tensor, rate: f64, rows: &Incidence) -> Result<Tensor> {
        let key = match self.mode {
            Mode::Train(Some(key)) if rate > 0.0 => key,
            _ => return Ok(x.clone()),
        };
        let site = self.sites.get();
        self.sites.set(site + 1);
        let mut shape = vec![1; x.rank()];
        let channels = x.dim(candle_core::D::Minus1)?;
        (shape[0], shape[x.rank() - 1]) = (x.dim(0)?, channels);
        let mut masks = Vec::with_capacity(shape.iter().product());
        for (place, &id) in self.samples.iter().enumerate() {
            let len = rows.of_receiver(place).len() * channels;
            masks.extend(mask(key, id, site, rate).take(len));
        }
        let masks = Tensor::from_vec(masks, shape, x.device())?;
        x.broadcast_mul(&masks.to_dtype(x.dtype())?)
    }
}

/// Factors of the elements of a sample, without end: 0 with probability `rate`, so large otherwise
/// that their mean is 1. `site` numbers the places in the model.
pub(in crate::models) fn mask(
    key: StepKey,
    id: u64,
    site: u64,
    rate: f64,
) -> impl Iterator<Item = f64> {
    let mut counter = [0u8; 32];
    let words = [key.seed, key.step, id, DROPOUT ^ (site << 56)];
    for (bytes, word) in counter.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(counter);
    let kept = 1.0 / (1.0 - rate);
    std::iter::repeat_with(move || {
        if rng.random::<f64>() < rate {
            0.0
        } else {
            kept
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ParametersBuilder;
    use crate::ops::segment::Ends;
    use candle_core::Device;

    /// Samples with 2, 1 and 3 rows.
    fn dropped(samples: &[u64], rows: &[u32], sites: usize) -> Vec<Vec<f64>> {
        let builder = ParametersBuilder::default();
        let p = builder.build(0, DType::F64, &Device::Cpu, 0.0).unwrap();
        let key = Some(StepKey { seed: 1, step: 2 });
        let pass = Pass::new(&p, Mode::Train(key), samples);
        let count = samples.len();
        let groups = Incidence::groups(Ends { rows, count }).unwrap();
        let x = Tensor::ones((rows.len(), 3, 400), DType::F64, &Device::Cpu).unwrap();
        let all = (0..sites).map(|_| pass.dropout(&x, 0.2, &groups).unwrap());
        let last = all.last().unwrap().flatten(1, 2).unwrap();
        last.to_vec2().unwrap()
    }

    #[test]
    fn masks_belong_to_samples_and_whole_channels() {
        let all = dropped(&[7, 8, 9], &[0, 0, 1, 2, 2, 2], 1);
        let mean = all.concat().iter().sum::<f64>() / 7200.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        for row in &all {
            assert_eq!((&row[..400], &row[400..800]), (&row[400..800], &row[800..]));
        }
        assert_eq!(dropped(&[9], &[0, 0, 0], 1), all[3..]);
        assert_ne!(dropped(&[9], &[0, 0, 0], 2), all[3..]);
    }

    /// The eighth bit of a site is the last one that fits its word.
    #[test]
    fn sites_differ() {
        let key = StepKey { seed: 1, step: 2 };
        let of = |site| mask(key, 3, site, 0.5).take(64).collect::<Vec<_>>();
        let all: Vec<_> = (0..256).map(of).collect();
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }
}
