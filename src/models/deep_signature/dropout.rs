//! Dropout whose masks are drawn from the step and the sample, never from a rank or a thread.

use crate::models::StepKey;
use crate::models::layers::mask;
use candle_core::{Result, Tensor};

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
        let each = x.elem_count() / self.ids.len();
        let masks = self.ids.iter().map(|&id| mask(key, id, site, rate));
        let mask: Vec<f64> = masks.flat_map(|m| m.take(each)).collect();
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
