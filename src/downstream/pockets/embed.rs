//! Complexes to pockets.

use super::{Outcome, Pool, Settings};
use crate::data::complexes::{Complex, Entry, Reader};
use crate::data::neighborhoods::SystemFinder;
use crate::data::system::Residue;
use crate::data::zernikegrams;
use crate::downstream::embedding::{BLOCK, Embedder};
use crate::ops::zernike::{DROP, Transform};
use crate::so3::irreps::Irreps;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The pocket of one complex.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pocket {
    pub residues: Vec<Residue>,
    /// Å from each residue's CA to the nearest heavy atom of the ligand.
    pub distances: Vec<f32>,
    /// `[residues, z]`
    pub invariants: Vec<f32>,
    /// `[z]`
    pub pocket: Vec<f32>,
    /// `[z]`; empty without an untrained encoder.
    pub untrained: Vec<f32>,
    /// Of the zernikegrams (norms per channel, radial order and degree), pooled.
    pub zernike: Vec<f32>,
    pub affinity: Option<f64>,
    pub facts: Facts,
}

/// What is counted in a complex.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub ligand_heavy_atoms: i32,
    pub ligand_formula: String,
    /// Ligand atoms of elements for which the model has no channel: it does not see them.
    pub ligand_without_channel: i32,
    /// Atoms of all neighborhoods of the pocket, of protein and ligand.
    pub neighborhood_atoms: i32,
    /// Those of them that the model does not see.
    pub neighborhood_without_channel: i32,
    /// Atoms of the structure's file left out because the ligand has them too.
    pub shared_atoms: i32,
}

/// A model and what it takes to make pockets with it.
pub struct Pocketer {
    embedder: Embedder,
    untrained: Option<Embedder>,
    transform: Transform,
    settings: Settings,
    reader: Reader,
}

/// A complex, read, with the neighborhoods of its pocket.
struct Found {
    pocket: Pocket,
    /// `[residues, dim]`
    zernikegrams: Vec<f32>,
}

impl Pocketer {
    /// # Errors
    /// A cutoff that is no positive length; settings of the model out of range.
    pub fn new(embedder: Embedder, settings: Settings) -> Result<Self> {
        if !(settings.cutoff.is_finite() && settings.cutoff > 0.0) {
            let what = format!(
                "--cutoff {}: must be a positive length in Å",
                settings.cutoff
            );
            return Err(Error::input(what));
        }
        let untrained = settings.untrained.map(|seed| embedder.untrained(seed));
        Ok(Self {
            untrained: untrained.transpose()?,
            transform: Transform::new(&embedder.description.zernike)?,
            embedder,
            settings,
            reader: Reader::default(),
        })
    }

    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Length of a pocket's vector.
    pub fn latent(&self) -> usize {
        self.embedder.description.model.latent_dim
    }

    /// Pockets of some complexes, or why a complex has none. What a complex becomes does not
    /// depend on the others.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn group(&self, entries: &[Entry]) -> Result<Vec<Outcome>> {
        let embed = |entry| match self.find(entry) {
            Ok(found) => self.embed(found),
            Err(reason) => Ok(Err(reason)),
        };
        entries.par_iter().map(embed).collect()
    }

    fn embed(&self, found: Found) -> Result<Outcome> {
        let Found {
            mut pocket,
            zernikegrams,
        } = found;
        let (z, pool) = (self.latent(), self.settings.pool);
        pocket.invariants = embed(&self.embedder, &zernikegrams)?;
        pocket.pocket = pooled(&pocket.invariants, z, pool);
        if let Some(untrained) = &self.untrained {
            pocket.untrained = pooled(&embed(untrained, &zernikegrams)?, z, pool);
        }
        let irreps = self.transform.irreps();
        let invariants: Vec<f32> = zernikegrams
            .chunks_exact(irreps.dim())
            .flat_map(|z| invariants_of(z, irreps))
            .collect();
        let width = invariants.len() / pocket.residues.len();
        pocket.zernike = pooled(&invariants, width, pool);
        let all = [&pocket.pocket, &pocket.untrained, &pocket.zernike];
        let finite = all.into_iter().flatten().all(|v| v.is_finite());
        Ok(match finite {
            true => Ok(pocket),
            false => Err("its embedding is not finite".into()),
        })
    }

    /// Reads a complex and finds its pocket.
    fn find(&self, entry: &Entry) -> std::result::Result<Found, String> {
        let description = &self.embedder.description;
        let complex = self
            .reader
            .read(entry, &description.read)
            .map_err(|e| e.to_string())?;
        let mut near = pocket_of(&complex, self.settings.cutoff);
        let all = near.centres.len();
        let sites = &self.settings.sites;
        near.keep(|atom| sites.have(complex.structure.system.residue(atom)));
        if near.centres.is_empty() && all > 0 {
            return Err(format!(
                "none of the {all} residues of the pocket is at {sites}"
            ));
        }
        if near.centres.is_empty() {
            return Err(format!(
                "no pocket: the CA nearest to the ligand is {:.1} Å away, the cutoff {} Å; is the \
                 ligand in the protein's frame?",
                near.nearest, self.settings.cutoff
            ));
        }
        let settings = self.transform.settings();
        let unseen = |elements: &[u8]| {
            let count = elements.iter().filter(|&&z| settings.channel_of(z) == DROP);
            count.count() as i32
        };
        let facts = Facts {
            ligand_heavy_atoms: complex.ligand.len() as i32,
            ligand_formula: complex.ligand.formula(),
            ligand_without_channel: unseen(&complex.ligand.numbers),
            shared_atoms: complex.shared_atoms as i32,
            ..Facts::default()
        };
        let affinity = entry.affinity.or(complex.affinity);
        let mut system = complex.structure.system;
        system.append(complex.ligand);
        let finder = SystemFinder::new(system.atoms(), description.neighborhood());
        let clouds = finder.clouds(&near.centres);
        let residues = near.centres.iter().map(|&atom| *system.residue(atom));
        let pocket = Pocket {
            residues: residues.collect(),
            distances: near.distances,
            affinity,
            facts: Facts {
                neighborhood_atoms: clouds.elements.len() as i32,
                neighborhood_without_channel: unseen(&clouds.elements),
                ..facts
            },
            ..Pocket::default()
        };
        let zernikegrams = zernikegrams::of_clouds(&self.transform, &clouds);
        let zernikegrams = zernikegrams.map_err(|e| e.to_string())?;
        Ok(Found {
            pocket,
            zernikegrams,
        })
    }
}

/// Invariants `[n, z]` of zernikegrams `[n, dim]`, block by block.
fn embed(embedder: &Embedder, zernikegrams: &[f32]) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    for block in zernikegrams.chunks(BLOCK * embedder.dim()) {
        out.extend(embedder.embed(block, false)?.invariants);
    }
    Ok(out)
}

/// Residues near a ligand.
struct Near {
    /// Their CA atoms, ascending.
    centres: Vec<u32>,
    /// Å, of each centre.
    distances: Vec<f32>,
    /// Å, of the nearest of all.
    nearest: f64,
}

impl Near {
    fn keep(&mut self, wanted: impl Fn(u32) -> bool) {
        let kept: Vec<bool> = self.centres.iter().map(|&atom| wanted(atom)).collect();
        let mut here = kept.iter();
        self.centres.retain(|_| *here.next().unwrap_or(&true));
        let mut here = kept.iter();
        self.distances.retain(|_| *here.next().unwrap_or(&true));
    }
}

fn pocket_of(complex: &Complex, cutoff: f64) -> Near {
    let mut near = Near {
        centres: Vec::new(),
        distances: Vec::new(),
        nearest: f64::INFINITY,
    };
    for &atom in &complex.structure.centres {
        let ca = complex.structure.system.positions[atom as usize];
        let squared = |l: &[f32; 3]| -> f64 {
            (0..3)
                .map(|k| (f64::from(l[k]) - f64::from(ca[k])).powi(2))
                .sum()
        };
        let all = complex.ligand.positions.iter().map(squared);
        let distance = all.fold(f64::INFINITY, f64::min).sqrt();
        near.nearest = near.nearest.min(distance);
        if distance <= cutoff {
            near.centres.push(atom);
            near.distances.push(distance as f32);
        }
    }
    near
}

/// Rows `[n, width]` pooled, in f64.
fn pooled(rows: &[f32], width: usize, pool: Pool) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    let n = match pool {
        Pool::Sum => 1.0,
        Pool::Mean => (rows.len() / width) as f64,
    };
    sums.into_iter().map(|s| (s / n) as f32).collect()
}

/// Rotation-invariant numbers of a zernikegram, one for each channel of each degree (and radial
/// order): the coefficient itself for l = 0, the norm over m for the others.
pub fn invariants_of(zernikegram: &[f32], irreps: &Irreps) -> Vec<f32> {
    let mut out = Vec::new();
    for l in 0..=irreps.lmax() {
        let start = irreps.offset(l);
        let coefficients = &zernikegram[start..start + irreps.channels(l) * (2 * l + 1)];
        out.extend(coefficients.chunks_exact(2 * l + 1).map(|c| {
            match c {
                [scalar] => *scalar,
                vector => vector
                    .iter()
                    .map(|&v| f64::from(v).powi(2))
                    .sum::<f64>()
                    .sqrt() as f32,
            }
        }));
    }
    out
}
