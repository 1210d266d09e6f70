//! Binding pockets to vectors (paper, section A.6.1).
//!
//! The pocket of a complex is the residues whose CA lies within a cutoff of any heavy atom of the
//! ligand. Each gets its neighborhood of atoms of protein **and** ligand, as wide as the model
//! was trained on, and the encoder's invariants; the pocket's vector is their sum, which grows
//! with the pocket as a free energy does, or their mean.
//!
//! Beside it, from the same neighborhoods: the vector of an untrained encoder and that of the
//! zernikegrams' own invariants, so that the learned embedding can be judged without the
//! structures.
//!
//! Ranks share the complexes by groups. What a complex becomes depends neither on who computes it
//! nor on the others, and rank 0 writes them in order: the file is the same for any number of
//! ranks. Residues are written as they come; only one row a complex is held in memory.

mod embed;
mod file;

pub use embed::{Pocket, Pocketer};
pub use file::{Features, Pockets, Table};

use crate::comm::World;
use crate::data::complexes::Listing;
use crate::store::{self, Kind, Node, Scratch};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Complexes that a rank reads and embeds at a time, its cores side by side.
const GROUP: usize = 8;

/// How residues become a pocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    #[default]
    Sum,
    Mean,
}

impl Pool {
    pub fn name(self) -> &'static str {
        match self {
            Pool::Sum => "sum",
            Pool::Mean => "mean",
        }
    }
}

/// What a pocket is.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Å between a residue's CA and the nearest heavy atom of the ligand, inclusive.
    pub cutoff: f64,
    pub pool: Pool,
    /// Seed of the untrained encoder; `None` for none.
    pub untrained: Option<u64>,
    /// The first complex that cannot be used is an error.
    pub strict: bool,
}

/// How many complexes and residues there are, and which complexes were left out.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub complexes: usize,
    pub residues: usize,
    pub skipped: usize,
}

/// Embeds every complex of a listing into the file `out`; collective. A complex that cannot be
/// used is named with its reason and left out. `progress` is told how many are done.
///
/// # Errors
/// An unwritable `out`; no complex that can be used; with `strict` the first that cannot.
pub fn write(
    world: &World,
    pocketer: &Pocketer,
    listing: &Listing,
    out: &Path,
    mut progress: impl FnMut(usize),
) -> Result<Summary> {
    // Says so before the work, not after it.
    world.on_root(|| Scratch::new(out))?;
    let mut table = Table::default();
    let result = if world.is_root() {
        let filled = store::write(out, Kind::Pockets, |root| {
            file::describe(root, pocketer)?;
            run(
                world,
                pocketer,
                listing,
                &mut table,
                Some(root),
                &mut progress,
            )?;
            if table.is_empty() {
                let what = format!(
                    "none of the {} complexes could be used: {} is not written",
                    listing.entries.len(),
                    out.display()
                );
                return Err(Error::input(what));
            }
            table.write(root, pocketer, listing)
        });
        filled.map(drop)
    } else {
        run(world, pocketer, listing, &mut table, None, &mut progress)
    };
    world.agree(result)?;
    let counts = [table.len(), table.residues(), table.skipped()];
    let counts = world.broadcast(counts.map(|n| n as u64).to_vec());
    Ok(Summary {
        complexes: counts[0] as usize,
        residues: counts[1] as usize,
        skipped: counts[2] as usize,
    })
}

/// A pocket, or why there is none.
pub type Outcome = std::result::Result<Pocket, String>;

/// Rounds of one group per rank; rank 0 writes them in order.
fn run(
    world: &World,
    pocketer: &Pocketer,
    listing: &Listing,
    table: &mut Table,
    root: Option<&Node>,
    progress: &mut impl FnMut(usize),
) -> Result<()> {
    let entries = &listing.entries;
    let groups = entries.len().div_ceil(GROUP);
    for round in 0..groups.div_ceil(world.size()) {
        let from = (round * world.size() + world.rank()) * GROUP;
        let mine = from.min(entries.len())..(from + GROUP).min(entries.len());
        let outcomes = world.agree(pocketer.group(&entries[mine]).and_then(|o| encode(&o)))?;
        let gathered = world.gather(&outcomes);
        let written = root.map_or(Ok(()), |root| {
            for (rank, bytes) in gathered.iter().enumerate() {
                let start = (round * world.size() + rank) * GROUP;
                for (i, outcome) in decode(bytes)?.into_iter().enumerate() {
                    take(table, root, pocketer, listing, start + i, outcome)?;
                }
            }
            Ok(())
        });
        world.agree(written)?;
        progress(((round + 1) * world.size() * GROUP).min(entries.len()));
    }
    Ok(())
}

fn take(
    table: &mut Table,
    root: &Node,
    pocketer: &Pocketer,
    listing: &Listing,
    number: usize,
    outcome: Outcome,
) -> Result<()> {
    let id = &listing.entries[number].id;
    match outcome {
        Ok(pocket) => table.push(root, number, pocket),
        Err(reason) if pocketer.settings().strict => {
            Err(Error::input(format!("complex {id}: {reason}")))
        }
        Err(reason) => {
            log::warn!("skipped complex {id}: {reason}");
            table.skip(id, reason);
            Ok(())
        }
    }
}

fn encode(outcomes: &[Outcome]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(outcomes, &mut bytes).map_err(Error::internal)?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Vec<Outcome>> {
    ciborium::from_reader(bytes).map_err(Error::internal)
}
