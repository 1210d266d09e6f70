//! Complexes to pockets.

use super::{Outcome, Pool, Settings};
use crate::data::complexes::{Centres, Entry, Reader, clusters, contacts};
use crate::data::neighborhoods::{Clouds, SystemFinder};
use crate::data::structure::Notes;
use crate::data::system::{Atoms, Residue};
use crate::data::zernikegrams;
use crate::downstream::embedding::{BLOCK, Embedder};
use crate::ops::zernike::{DROP, Side, Transform};
use crate::so3::irreps::Irreps;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// An encoder's view of a pocket, pooled over the centres: each `[z]`, with `a` the invariants of a
/// centre's neighborhood and `b` those of the same without the atoms of the ligand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Of `a`.
    pub with: Vec<f32>,
    /// Of `b`.
    pub without: Vec<f32>,
    /// Of `|a - b|`: what the ligand does, whose signs would cancel.
    pub difference: Vec<f32>,
    /// Of `a b`.
    pub products: Vec<f32>,
}

/// The pocket of one complex.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pocket {
    /// Of each centre.
    pub residues: Vec<Residue>,
    /// Å from each centre to the nearest heavy atom of the other side.
    pub distances: Vec<f32>,
    /// `[residues, z]`
    pub invariants: Vec<f32>,
    pub pocket: View,
    /// Empty without an untrained encoder.
    pub untrained: View,
    /// Of the zernikegrams (norms per channel, radial order and degree), pooled.
    pub zernike: Vec<f32>,
    pub affinity: Option<f64>,
    pub facts: Facts,
    /// What the reader of the protein's file renamed, repeated or left out.
    pub notes: Notes,
}

/// What is counted in a complex.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Residues whose CA is within the cutoff of the ligand, whatever the centres are.
    pub pocket_residues: i32,
    pub ligand_heavy_atoms: i32,
    pub ligand_formula: String,
    /// [`contacts::ligand_elements`].
    pub ligand_elements: Vec<i32>,
    /// [`contacts::contacts`].
    pub contacts: Vec<i32>,
    /// Of the chains that the pocket belongs to.
    pub sequences: Vec<String>,
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
    /// `[centres, dim]`
    zernikegrams: Vec<f32>,
    /// The same without the atoms of the ligand.
    without: Vec<f32>,
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
            without,
        } = found;
        let pool = self.settings.pool;
        pocket.invariants = embed(&self.embedder, &zernikegrams)?;
        let bare = embed(&self.embedder, &without)?;
        pocket.pocket = self.view(&pocket.invariants, &bare);
        if let Some(untrained) = &self.untrained {
            let both = [&zernikegrams, &without].map(|z| embed(untrained, z));
            let [with, without] = both;
            pocket.untrained = self.view(&with?, &without?);
        }
        let irreps = self.transform.irreps();
        let invariants: Vec<f32> = zernikegrams
            .chunks_exact(irreps.dim())
            .flat_map(|z| invariants_of(z, irreps))
            .collect();
        let width = invariants.len() / pocket.residues.len();
        pocket.zernike = pooled(&invariants, width, pool);
        let views = [&pocket.pocket, &pocket.untrained];
        let views = views.map(|v| [&v.with, &v.without, &v.difference, &v.products]);
        let all = views.iter().flatten().copied().chain([&pocket.zernike]);
        let finite = all.flatten().all(|v| v.is_finite());
        Ok(match finite {
            true => Ok(pocket),
            false => Err("its embedding is not finite".into()),
        })
    }

    /// Pools the invariants `[centres, z]` with and without the ligand.
    fn view(&self, with: &[f32], without: &[f32]) -> View {
        let pool = |rows: &[f32]| pooled(rows, self.latent(), self.settings.pool);
        let pairs = || with.iter().zip(without);
        View {
            with: pool(with),
            without: pool(without),
            difference: pool(&pairs().map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()),
            products: pool(&pairs().map(|(a, b)| a * b).collect::<Vec<_>>()),
        }
    }

    /// Reads a complex and finds its pocket.
    fn find(&self, entry: &Entry) -> std::result::Result<Found, String> {
        let description = &self.embedder.description;
        let complex = self
            .reader
            .read(entry, &description.read)
            .map_err(|e| e.to_string())?;
        let (cutoff, own) = (self.settings.cutoff, complex.structure.system.len() as u32);
        let mut near = self.settings.centres.of(&complex, cutoff);
        let all = near.centres.len();
        let sites = &self.settings.sites;
        // The ligand has no place in a chain.
        near.keep(|atom| atom >= own || sites.have(complex.structure.system.residue(atom)));
        if near.centres.is_empty() && all > 0 {
            return Err(format!(
                "none of the {all} residues of the pocket is at {sites}"
            ));
        }
        if near.centres.is_empty() {
            return Err(near.reason(cutoff));
        }
        let settings = self.transform.settings();
        let dropped = |z: u8, side| settings.channel_of(z, side) == DROP;
        let ligand = complex.ligand.numbers.iter();
        let unseen = ligand.filter(|&&z| dropped(z, Side::Ligand)).count();
        let residues = Centres::Ca.of(&complex, cutoff).centres;
        let facts = Facts {
            pocket_residues: residues.len() as i32,
            ligand_heavy_atoms: complex.ligand.len() as i32,
            ligand_formula: complex.ligand.formula(),
            ligand_elements: contacts::ligand_elements(&complex.ligand),
            contacts: contacts::contacts(&complex.structure.system, &complex.ligand),
            sequences: clusters::sequences(&complex.structure, &residues),
            ligand_without_channel: unseen as i32,
            shared_atoms: complex.shared_atoms as i32,
            ..Facts::default()
        };
        let affinity = entry.affinity.or(complex.affinity);
        let notes = complex.structure.notes.clone();
        let (system, ligand) = complex.joined();
        let atoms = Atoms {
            ligand: Some(ligand),
            ..system.atoms()
        };
        let finder = SystemFinder::new(atoms, description.neighborhood());
        let clouds = finder.clouds(&near.centres);
        let seen = clouds.elements.iter().zip(&clouds.sides);
        let unseen = seen.filter(|&(&z, &side)| dropped(z, side)).count();
        let residues = near.centres.iter().map(|&atom| *system.residue(atom));
        let pocket = Pocket {
            residues: residues.collect(),
            distances: near.distances,
            affinity,
            notes,
            facts: Facts {
                neighborhood_atoms: clouds.elements.len() as i32,
                neighborhood_without_channel: unseen as i32,
                ..facts
            },
            ..Pocket::default()
        };
        let transformed = |clouds: &Clouds| {
            zernikegrams::of_clouds(&self.transform, clouds).map_err(|e| e.to_string())
        };
        Ok(Found {
            pocket,
            zernikegrams: transformed(&clouds)?,
            without: transformed(&clouds.without_ligand())?,
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
