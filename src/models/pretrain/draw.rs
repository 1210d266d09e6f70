//! Random numbers of an objective.

use super::Molecule;
use crate::Result;
use crate::models::StepKey;
use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use xxhash_rust::xxh3::xxh3_64;

/// What random numbers are keyed by, and where tensors are made.
#[derive(Debug, Clone)]
pub struct Draw {
    pub key: StepKey,
    /// Type of the network's numbers.
    pub dtype: DType,
    pub device: Device,
}

impl Draw {
    /// The generator of one purpose and one sample.
    pub fn rng(&self, purpose: &str, sample: u64) -> ChaCha8Rng {
        let mut key = [0u8; 32];
        let words = [
            self.key.seed,
            self.key.step,
            sample,
            xxh3_64(purpose.as_bytes()),
        ];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }

    /// The draw of numbers that stay the same in every step.
    pub fn without_step(&self) -> Self {
        let key = StepKey {
            step: u64::MAX,
            ..self.key
        };
        Self {
            key,
            ..self.clone()
        }
    }

    /// Normal numbers, `count(molecule)` for each molecule, one molecule after another.
    pub fn normals(
        &self,
        purpose: &str,
        molecules: &[Molecule],
        count: impl Fn(&Molecule) -> usize,
    ) -> Vec<f64> {
        let of = |m: &Molecule| -> Vec<f64> {
            let rng = self.rng(purpose, m.sample);
            StandardNormal.sample_iter(rng).take(count(m)).collect()
        };
        molecules.iter().flat_map(of).collect()
    }

    /// A uniform number in [0, 1) for each atom, one molecule after another. The order of these
    /// numbers is a random order of the atoms, which no cut into batches changes.
    pub fn of_atoms(&self, purpose: &str, molecules: &[Molecule]) -> Vec<f64> {
        let of = |m: &Molecule| -> Vec<f64> {
            let mut rng = self.rng(purpose, m.sample);
            m.system.numbers.iter().map(|_| rng.random()).collect()
        };
        molecules.iter().flat_map(of).collect()
    }

    /// The atoms of all molecules in random order.
    pub fn order(&self, purpose: &str, molecules: &[Molecule]) -> Vec<u32> {
        let keys = self.of_atoms(purpose, molecules);
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
        order
    }

    /// A number below `count` for each molecule.
    pub fn below(&self, purpose: &str, molecules: &[Molecule], count: usize) -> Vec<usize> {
        let one = |m: &Molecule| self.rng(purpose, m.sample).random_range(0..count);
        molecules.iter().map(one).collect()
    }

    /// Numbers as a tensor of the network's type.
    ///
    /// # Errors
    /// Those of candle.
    pub fn floats<S: Into<candle_core::Shape>>(
        &self,
        values: Vec<f64>,
        shape: S,
    ) -> Result<Tensor> {
        Ok(Tensor::from_vec(values, shape, &self.device)?.to_dtype(self.dtype)?)
    }

    /// Row numbers as a tensor.
    ///
    /// # Errors
    /// Those of candle.
    pub fn rows<S: Into<candle_core::Shape>>(&self, rows: Vec<u32>, shape: S) -> Result<Tensor> {
        Ok(Tensor::from_vec(rows, shape, &self.device)?)
    }
}
