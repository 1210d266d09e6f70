//! The 3D Zernike transform of point clouds, the data of the holographic autoencoder.
//!
//! For atom `i` at distance `r <= cutoff` from the centre, with `rho = r / cutoff`,
//!
//! ```text
//! P_i,nlm = R_nl(rho_i) Y_lm(r_i / |r_i|)
//! Z^c_nlm = sum over atoms i of channel c of w_i P_i,nlm
//! ```
//!
//! for `l = 0..=lmax` and `n = l, l + 2, ... <= nmax` (H-(V)AE paper, eqs. A.6 to A.9), with the
//! radial polynomials of [`crate::so3::radial`], the harmonics of [`crate::so3::harmonics`] and
//! the weights of [`Weighting`]. A *zernikegram* is the flat vector of all `Z`: degree ascending,
//! inside a degree channel, then `n`, then `m`.
//!
//! In a channel of a [`Feature`], `w_i` is multiplied by the atom's number.
//!
//! Channels of the ligand's side are multiplied by [`Settings::ligand_weight`].
//!
//! An atom exactly at the centre has no direction and is left out; so is one beyond the cutoff.

mod cloud;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod density;
mod feature;
mod kernel;
mod lanes;
pub mod launches;
mod settings;
mod tables;

pub use feature::{Feature, Features};
pub use settings::{Binomial, Channel, DROP, Family, LMAX, NMAX, Settings, Side, Weighting};

use crate::so3::irreps::Irreps;
use crate::{Error, Result};
use rayon::prelude::*;

/// A Zernike transform, ready to be applied from any thread.
pub struct Transform {
    settings: Settings,
    irreps: Irreps,
    tables: tables::Tables,
    /// `[dim]`, where the ligand's channels have a weight.
    factors: Option<Vec<f32>>,
    /// [`Settings::channel_of`] every atomic number, on the protein's side and the ligand's.
    channels: [[u8; 256]; 2],
}

impl Transform {
    /// # Errors
    /// A setting out of range, by name.
    pub fn new(settings: &Settings) -> Result<Self> {
        settings.validate()?;
        Ok(Self {
            settings: settings.clone(),
            irreps: settings.irreps(),
            tables: tables::Tables::new(settings),
            factors: (settings.ligand_weight != 1.0).then(|| factors(settings)),
            channels: [Side::Protein, Side::Ligand]
                .map(|side| std::array::from_fn(|z| settings.channel_of(z as u8, side))),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Irreps of a zernikegram; its length is their `dim`.
    pub fn irreps(&self) -> &Irreps {
        &self.irreps
    }

    /// [`Settings::channel_of`], looked up.
    pub fn channel_of(&self, atomic_number: u8, side: Side) -> u8 {
        self.channels[usize::from(side == Side::Ligand)][atomic_number as usize]
    }

    /// Whether an atom at `xyz` (Å, about the centre) takes part in the transform.
    pub fn contains(&self, xyz: &[f32; 3]) -> bool {
        self.tables.contains(xyz)
    }

    /// [`Transform::apply_weighted`] with a weight of 1 for every atom.
    ///
    /// # Errors
    /// As there.
    pub fn apply(
        &self,
        coordinates: &[[f32; 3]],
        channels: &[u8],
        offsets: &[usize],
        out: &mut [f32],
    ) -> Result<()> {
        self.apply_weighted(coordinates, channels, &[], offsets, out)
    }

    /// Transforms clouds to zernikegrams, clouds in parallel on rayon's threads; the bits do not
    /// depend on their number.
    ///
    /// - `coordinates`: `[atoms, 3]` in Å, each cloud about its own centre;
    /// - `channels`: `[atoms]`, from [`Settings::channel_of`]; an index without a channel, such
    ///   as [`DROP`], leaves the atom out;
    /// - `weights`: `[atoms]`, what each is multiplied by, or none for 1;
    /// - `offsets`: `[clouds + 1]`; cloud `i` is the atoms `offsets[i]..offsets[i + 1]`;
    /// - `out`: `[clouds, dim]`.
    ///
    /// # Errors
    /// A coordinate that is not finite (its cloud and atom are named); lengths or offsets that
    /// do not fit together.
    pub fn apply_weighted(
        &self,
        coordinates: &[[f32; 3]],
        channels: &[u8],
        weights: &[f32],
        offsets: &[usize],
        out: &mut [f32],
    ) -> Result<()> {
        let dim = self.irreps.dim();
        check(coordinates, channels, offsets, out.len(), dim)?;
        if !weights.is_empty() && weights.len() != coordinates.len() {
            return Err(Error::internal(format!(
                "Zernike transform: {} weights of {} atoms",
                weights.len(),
                coordinates.len()
            )));
        }
        out.par_chunks_exact_mut(dim)
            .zip(offsets.par_windows(2))
            .for_each_init(
                || tables::Scratch::new(&self.tables),
                |scratch, (out, cloud)| {
                    let atoms = cloud[0]..cloud[1];
                    let cloud = cloud::Cloud {
                        coordinates: &coordinates[atoms.clone()],
                        channels: &channels[atoms.clone()],
                        weights: weights.get(atoms).unwrap_or_default(),
                    };
                    cpu::transform(&self.tables, scratch, cloud, out);
                    if let Some(factors) = &self.factors {
                        out.iter_mut().zip(factors).for_each(|(z, f)| *z *= f);
                    }
                },
            );
        Ok(())
    }
}

/// What each coefficient is multiplied by: the ligand's weight in its channels, 1 in the others.
fn factors(settings: &Settings) -> Vec<f32> {
    let factor = |is_ligand| match is_ligand {
        true => settings.ligand_weight as f32,
        false => 1.0,
    };
    let coefficients = settings.ligand_coefficients();
    coefficients.into_iter().map(factor).collect()
}

fn check(
    coordinates: &[[f32; 3]],
    channels: &[u8],
    offsets: &[usize],
    out: usize,
    dim: usize,
) -> Result<()> {
    let clouds = offsets.len().saturating_sub(1);
    if channels.len() != coordinates.len() || out != clouds * dim {
        return Err(Error::internal(format!(
            "Zernike transform: {} coordinates, {} channels, {clouds} clouds and room for {out} \
             numbers do not fit together",
            coordinates.len(),
            channels.len()
        )));
    }
    if !offsets.is_sorted() || offsets.last().is_some_and(|&end| end > coordinates.len()) {
        return Err(Error::internal(
            "Zernike transform: offsets out of order or out of range",
        ));
    }
    match coordinates
        .iter()
        .position(|xyz| !xyz.iter().all(|c| c.is_finite()))
    {
        None => Ok(()),
        Some(atom) => {
            let cloud = offsets
                .partition_point(|&start| start <= atom)
                .saturating_sub(1);
            Err(Error::input(format!(
                "atom {atom} (cloud {cloud}): a coordinate is not finite"
            )))
        }
    }
}

#[cfg(test)]
mod tests;
