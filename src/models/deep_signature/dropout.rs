//! Dropout whose masks are drawn from the step and the sample, never from a rank or a thread.

use crate::models::StepKey;
use candle_core::{Result, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Purpose tag of dropout among counter-based random numbers.
const DROPOUT: u64 = 0x64726f706f7574;

/// Masks for the clips of a batch; without a key nothing is dropped.
pub(super) struct Dropout {
    key: Option<StepKey>,
    ids: Vec<u64>,
}

impl Dropout {
    pub fn new(key: Option<StepKey>, ids: impl Iterator<Item = u64>) -> Self {
        Self {
            key,
            ids: ids.collect(),
        }
    }

    /// For a batch of clip `i` alone.
    pub fn of(&self, i: usize) -> Self {
        Self {
            key: self.key,
            ids: vec![self.ids[i]],
        }
    }

    /// Zeroes elements of `x` `[B, ..]` with probability `rate` and scales up the others; `site`
    /// numbers the places in the model.
    pub fn apply(&self, x: &Tensor, rate: f64, site: u64) -> Result<Tensor> {
        let Some(key) = self.key.filter(|_| rate > 0.0) else {
            return Ok(x.clone());
        };
        let kept = 1.0 / (1.0 - rate);
        let mut mask = Vec::with_capacity(x.elem_count());
        for &id in &self.ids {
            let mut counter = [0u8; 32];
            let words = [key.seed, key.step, id, DROPOUT ^ (site << 56)];
            for (bytes, word) in counter.chunks_exact_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            let mut rng = ChaCha8Rng::from_seed(counter);
            let one = || {
                if rng.random::<f64>() < rate {
                    0.0
                } else {
                    kept
                }
            };
            mask.extend(std::iter::repeat_with(one).take(x.elem_count() / self.ids.len()));
        }
        x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn masks_belong_to_samples() {
        let key = Some(StepKey { seed: 1, step: 2 });
        let x = Tensor::ones((3, 1000), DType::F64, &Device::Cpu).unwrap();
        let all = Dropout::new(key, [7, 8, 9].into_iter());
        let masked = all.apply(&x, 0.2, 0).unwrap().to_vec2::<f64>().unwrap();
        let mean = masked.concat().iter().sum::<f64>() / 3000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        let alone = all
            .of(1)
            .apply(&x.narrow(0, 0, 1).unwrap(), 0.2, 0)
            .unwrap();
        assert_eq!(alone.to_vec2::<f64>().unwrap()[0], masked[1]);
        let elsewhere = all.apply(&x, 0.2, 1).unwrap().to_vec2::<f64>().unwrap();
        assert_ne!(elsewhere[0], masked[0]);
        let none = Dropout::new(None, [7].into_iter())
            .apply(&x, 0.2, 0)
            .unwrap();
        assert_eq!(none.to_vec2::<f64>().unwrap(), x.to_vec2::<f64>().unwrap());
    }
}
