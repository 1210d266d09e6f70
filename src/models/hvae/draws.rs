//! What is random in a step: drawn from the seed, the step and the sample, so that neither ranks nor
//! slices matter.

use super::Mask;
use crate::models::StepKey;
use crate::so3::irreps::Irreps;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Purpose tags among counter-based random numbers: the latent's noise, what is hidden of an input, whose
/// ligand is.
const NOISE: u64 = 0x6e6f697365;
const HIDDEN: u64 = 0x68696464656e;
const MASKED: u64 = 0x6d61736b6564;

fn generator(key: StepKey, id: u64, purpose: u64) -> ChaCha8Rng {
    let mut counter = [0u8; 32];
    let words = [key.seed, key.step, id, purpose];
    for (bytes, word) in counter.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(counter)
}

/// Standard normal noise of the latents of some samples, `[B, Z]`.
pub fn noise(key: StepKey, ids: &[u64], z: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(ids.len() * z);
    for &id in ids {
        let mut rng = generator(key, id, NOISE);
        values.extend((0..z).map(|_| -> f64 { StandardNormal.sample(&mut rng) }));
    }
    values
}

/// Factors of the coefficients of some samples, `[B, D]` in the published layout: 0 for all orders of
/// a feature with probability `rate`, else 1. What is left turns with the input.
pub fn visible(key: StepKey, ids: &[u64], irreps: &Irreps, rate: f64) -> Vec<f64> {
    let mut factors = Vec::with_capacity(ids.len() * irreps.dim());
    for &id in ids {
        let mut rng = generator(key, id, HIDDEN);
        for l in 0..=irreps.lmax() {
            for _ in 0..irreps.channels(l) {
                let factor = f64::from(rng.random::<f64>() >= rate);
                factors.extend(std::iter::repeat_n(factor, 2 * l + 1));
            }
        }
    }
    factors
}

/// Factors of the coefficients of some samples, `[B, D]`: with the mask's probability 0 for all of the
/// coefficients that it names, else 1.
pub fn unmasked(key: StepKey, ids: &[u64], mask: &Mask) -> Vec<f64> {
    let mut factors = Vec::with_capacity(ids.len() * mask.coefficients.len());
    for &id in ids {
        let hides = generator(key, id, MASKED).random::<f64>() < mask.probability;
        let named = mask.coefficients.iter();
        factors.extend(named.map(|&named| f64::from(!(hides && named))));
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Model;
    use crate::models::hvae::{Hvae, HvaeBatch, HvaeConfig};
    use candle_core::{DType, Device, Tensor};

    #[test]
    fn whole_features_are_hidden_by_sample_and_step() {
        let irreps = Irreps::new(vec![400, 300, 200]);
        let of = |step, ids: &[u64]| visible(StepKey { seed: 1, step }, ids, &irreps, 0.3);
        let both = of(2, &[7, 8]);
        let (first, second) = both.split_at(irreps.dim());
        assert_eq!(first, of(2, &[7]));
        assert_ne!(first, second);
        assert_ne!(first, of(3, &[7]));
        for l in 0..=2 {
            let features = first[irreps.offset(l)..irreps.offset(l + 1)].chunks(2 * l + 1);
            features.for_each(|f| assert!(f.iter().all(|v| *v == f[0])));
        }
        let features = first[..400].iter().chain(first[400..].iter().step_by(3));
        let (mut hidden, mut all) = (0.0, 0.0);
        features.take(700).for_each(|f| {
            hidden += 1.0 - f;
            all += 1.0;
        });
        assert!((hidden / all - 0.3).abs() < 0.06, "{hidden} of {all}");
    }

    #[test]
    fn a_mask_hides_all_or_nothing_of_what_it_names() {
        let coefficients: Vec<bool> = (0..7).map(|i| i % 3 == 1).collect();
        let mask = Mask {
            probability: 0.3,
            coefficients: coefficients.clone(),
        };
        let of = |step, ids: &[u64]| unmasked(StepKey { seed: 1, step }, ids, &mask);
        let ids: Vec<u64> = (0..2000).collect();
        let all = of(5, &ids);
        assert_eq!(all[7..14], of(5, &[1]));
        assert_ne!(all, of(6, &ids));
        let mut hidden = 0;
        for factors in all.chunks(7) {
            let hides = factors[1] == 0.0;
            hidden += usize::from(hides);
            let expected = coefficients
                .iter()
                .map(|named| f64::from(!(hides && *named)));
            assert!(expected.eq(factors.iter().copied()));
        }
        assert!((500..700).contains(&hidden), "{hidden}");
    }

    #[test]
    fn what_is_hidden_is_to_be_rebuilt() {
        let irreps = Irreps::uniform(2, 3);
        let config = |denoising| HvaeConfig {
            degrees: Some(vec![2, 1]),
            denoising,
            ..HvaeConfig::new(3, vec![4, 4])
        };
        let build = |rate| Hvae::new(&config(rate), &irreps, 1, DType::F64, &Device::Cpu).unwrap();
        let model = build(0.4);
        let (key, ids) = (StepKey { seed: 1, step: 2 }, vec![3, 4, 5, 6]);
        let x: Vec<f64> = (0..4 * irreps.dim()).map(|i| (i as f64).sin()).collect();
        let seen: Vec<f64> = visible(key, &ids, &irreps, 0.4)
            .iter()
            .zip(&x)
            .map(|(v, x)| v * x)
            .collect();
        let on = |v| Tensor::from_vec(v, (4, irreps.dim()), &Device::Cpu).unwrap();
        let (x, seen) = (on(x), on(seen));
        let noise = Tensor::zeros((4, 3), DType::F64, &Device::Cpu).unwrap();
        let rebuilt = model.pass_with(&seen, &noise).unwrap().rebuilt;
        let error = (rebuilt - &x).unwrap().sqr().unwrap().mean_all().unwrap();
        let labels = None;
        let batch = HvaeBatch { x, ids, labels };
        let loss = |model: &Hvae| model.losses(&batch, key).unwrap().term_values().unwrap()[0];
        assert!((loss(&model) - error.to_scalar::<f64>().unwrap()).abs() < 1e-12);
        assert!((loss(&model) - loss(&build(0.0))).abs() > 1e-3);
    }
}
