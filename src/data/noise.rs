//! Noise on coordinates, for training.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Purpose tag of coordinate noise among counter-based random numbers.
const COORDINATES: u64 = 0x636f_6f72_6473;

/// Normal noise on every coordinate of a step's samples: drawn from the run's seed, the step and
/// the sample, never from a rank or a thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation, Å.
    pub deviation: f64,
    pub seed: u64,
    pub step: u64,
}

impl Noise {
    /// Adds noise to the coordinates (Å) of a sample. The same sample in the same step gets the
    /// same noise.
    pub fn add<'a>(&self, sample: u64, coordinates: impl IntoIterator<Item = &'a mut f32>) {
        let mut key = [0u8; 32];
        let words = [self.seed, self.step, sample, COORDINATES];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        for x in coordinates {
            let z: f64 = StandardNormal.sample(&mut rng);
            *x += (z * self.deviation) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_follows_from_seed_step_and_sample() {
        let noise = Noise {
            deviation: 0.2,
            seed: 5,
            step: 7,
        };
        let drawn = |noise: Noise, sample| {
            let mut values = vec![1.0f32; 30_000];
            noise.add(sample, &mut values);
            values
        };
        let values = drawn(noise, 3);
        assert_eq!(values, drawn(noise, 3));
        for other in [Noise { seed: 6, ..noise }, Noise { step: 8, ..noise }] {
            assert_ne!(values, drawn(other, 3));
        }
        assert_ne!(values, drawn(noise, 4));
        let off = |v: &f32| f64::from(v - 1.0);
        let mean = values.iter().map(off).sum::<f64>() / 3e4;
        let square = values.iter().map(|v| off(v).powi(2)).sum::<f64>() / 3e4;
        assert!(mean.abs() < 0.005, "{mean}");
        assert!((square.sqrt() / 0.2 - 1.0).abs() < 0.02, "{square}");
    }
}
