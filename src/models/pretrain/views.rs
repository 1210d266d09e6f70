//! Two views of a molecule: as it is, and with noise on its atoms (GeoSSL, Liu et al. 2023).

use super::{Draw, Inputs, Molecule};
use crate::data::system::System;
use crate::{Error, Result};
use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the second view is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Perturbation {
    /// Standard deviation of the noise on coordinates, Å.
    pub noise: f64,
    /// Share of the atoms that both views lack: what is left grows along bonds from an atom.
    pub masking: f64,
}

impl Default for Perturbation {
    fn default() -> Self {
        Self {
            noise: 0.3,
            masking: 0.0,
        }
    }
}

impl Perturbation {
    /// # Errors
    /// Settings out of range.
    pub fn check(&self) -> Result<()> {
        super::check_positive("objective.view.noise", self.noise)?;
        check_masking(self.masking)
    }

    /// Both views; the noise `[N, 3]` is drawn as `position_noise`.
    ///
    /// # Errors
    /// Molecules without bonds where atoms are masked.
    pub fn views(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let kept = masked(molecules, self.masking, draw)?;
        let mut inputs = Inputs::of(&kept, draw)?;
        let noise = draw.normals("positions", &kept, |m| 3 * m.system.len());
        inputs.views.push(moved(&kept, &noise, |_| self.noise));
        let atoms = noise.len() / 3;
        let noise = draw.floats(noise, (atoms, 3))?;
        inputs.draws.put("position_noise", noise);
        Ok(inputs)
    }
}

/// The molecules' systems with `noise` `[3 N]` on their coordinates, times a number of Å for each
/// molecule.
pub fn moved(
    molecules: &[Molecule],
    noise: &[f64],
    deviation: impl Fn(usize) -> f64,
) -> Vec<System<f64>> {
    let mut steps = noise.iter();
    let of = |(i, m): (usize, &Molecule)| {
        let mut system = m.system.clone();
        let coordinates = system.positions.as_flattened_mut().iter_mut();
        for (x, step) in coordinates.zip(&mut steps) {
            *x += deviation(i) * step;
        }
        system
    };
    molecules.iter().enumerate().map(of).collect()
}

/// # Errors
/// A share that leaves nothing, or is negative.
pub fn check_masking(masking: f64) -> Result<()> {
    match (0.0..1.0).contains(&masking) {
        true => Ok(()),
        false => Err(Error::input(format!(
            "objective.masking = {masking}: must be from 0 to below 1"
        ))),
    }
}

/// Molecules without a share of their atoms: `int(n (1 - share)) + 1` stay, a subgraph that grows
/// from a random atom along bonds, and jumps where there are none.
///
/// # Errors
/// Molecules without bonds.
pub fn masked(molecules: &[Molecule], share: f64, draw: &Draw) -> Result<Vec<Molecule>> {
    if share == 0.0 {
        return Ok(molecules.to_vec());
    }
    let of = |m: &Molecule| {
        m.check_bonds()?;
        Ok(subgraph(m, share, &mut draw.rng("masking", m.sample)))
    };
    molecules.iter().map(of).collect()
}

fn subgraph(molecule: &Molecule, share: f64, rng: &mut impl Rng) -> Molecule {
    let atoms = molecule.system.len();
    let wanted = ((atoms as f64 * (1.0 - share)) as usize + 1).min(atoms);
    let mut keep = vec![false; atoms];
    for _ in 0..wanted {
        let bonds = molecule.system.bonds.iter();
        let ends = bonds.flat_map(|&[i, j]| [[i, j], [j, i]]);
        let mut next: Vec<u32> = ends
            .filter(|&[from, to]| keep[from as usize] && !keep[to as usize])
            .map(|[_, to]| to)
            .collect();
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            next = (0..atoms as u32).filter(|&i| !keep[i as usize]).collect();
        }
        keep[next[rng.random_range(0..next.len())] as usize] = true;
    }
    let mut part = molecule.clone();
    part.system.retain(&keep);
    part
}
