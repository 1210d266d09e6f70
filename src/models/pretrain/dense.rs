//! Molecules of a batch as dense arrays, padded to the largest.

use crate::Result;
use candle_core::{DType, Tensor};

/// Where the atoms of molecules are in arrays `[B, n, ..]`.
pub struct Padding {
    molecules: usize,
    /// Atoms of the largest molecule, `n`.
    pub longest: usize,
    /// Row of each atom in `[B n]`.
    places: Tensor,
    /// 1 for atoms, 0 for padding, `[B, n]`.
    pub flags: Tensor,
    /// Atoms of each molecule.
    pub counts: Vec<usize>,
}

impl Padding {
    /// Padding for atoms of these molecules (`graph_of` `[N]`, ascending).
    ///
    /// # Errors
    /// Those of candle.
    pub fn new(graph_of: &Tensor, molecules: usize, dtype: DType) -> Result<Self> {
        let graph_of_atoms = graph_of.to_vec1::<u32>()?;
        let mut counts = vec![0usize; molecules];
        let place = |&graph: &u32| {
            counts[graph as usize] += 1;
            (graph, counts[graph as usize] - 1)
        };
        let places: Vec<(u32, usize)> = graph_of_atoms.iter().map(place).collect();
        let longest = counts.iter().copied().max().unwrap_or(0);
        let rows: Vec<u32> = places
            .into_iter()
            .map(|(graph, place)| graph * longest as u32 + place as u32)
            .collect();
        let mut flags = vec![0f64; molecules * longest];
        rows.iter().for_each(|&row| flags[row as usize] = 1.0);
        let device = graph_of.device();
        let count = rows.len();
        Ok(Self {
            molecules,
            longest,
            places: Tensor::from_vec(rows, count, device)?,
            flags: Tensor::from_vec(flags, (molecules, longest), device)?.to_dtype(dtype)?,
            counts,
        })
    }

    /// `[N, F]` to `[B, n, F]`, zeros in between.
    ///
    /// # Errors
    /// Another number of atoms.
    pub fn pad(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(1)?;
        let rows = self.molecules * self.longest;
        let zeros = Tensor::zeros((rows, width), x.dtype(), x.device())?;
        let padded = zeros.index_add(&self.places, x, 0)?;
        Ok(padded.reshape((self.molecules, self.longest, width))?)
    }

    /// `[B, n, F]` without what is no atom.
    ///
    /// # Errors
    /// Another shape.
    pub fn mask(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.broadcast_mul(&self.flags.unsqueeze(2)?)
    }

    /// `[B, C, n, n]` without what is no pair of atoms.
    ///
    /// # Errors
    /// Another shape.
    pub fn mask_pairs(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.broadcast_mul(&self.flags.unsqueeze(1)?.unsqueeze(2)?)?
            .broadcast_mul(&self.flags.unsqueeze(1)?.unsqueeze(3)?)
    }
}
