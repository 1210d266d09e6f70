//! Binding pockets to vectors (paper, section A.6.1).
//!
//! The pocket of a complex is the residues whose CA lies within a cutoff of any heavy atom of the
//! ligand. Each gets its neighborhood of atoms of protein **and** ligand, as wide as the model
//! was trained on, and the encoder's invariants; the pocket's vector is their sum, which grows
//! with the pocket as a free energy does, or their mean. Instead of CA atoms, atoms of the ligand or
//! of the protein in contact with it can be the centres.
//!
//! Most of such a sum says how large the pocket is. What the ligand does is in the difference to the
//! embedding of the same neighborhoods without its atoms; it is written as well ([`View`]).
//!
//! Beside it, from the same neighborhoods: the vector of an untrained encoder and that of the
//! zernikegrams' own invariants; counts of the ligand's elements and of contacts; and clusters of the
//! proteins by sequence, so that the learned embedding can be judged without the
//! structures.
//!
//! Ranks share the complexes by groups. What a complex becomes depends neither on who computes it
//! nor on the others, and rank 0 writes them in order: the file is the same for any number of
//! ranks. Residues are written as they come; only one row a complex is held in memory.

mod embed;
pub mod encoder;
pub mod features;
mod file;

pub use embed::{Pocket, Pocketer, View};
pub use features::Features;
pub use file::{CLUSTER, Pockets, Table};

use crate::comm::World;
use crate::data::complexes::{Centres, Listing};
use crate::data::sites::Sites;
use crate::data::structure::Notes;
pub use crate::models::affinity::Pool;
use crate::print::count;
use crate::store::{Kind, NewFile};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Complexes that a rank reads and embeds at a time, its cores side by side.
const GROUP: usize = 8;

/// What a pocket is.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Å between a residue's CA and the nearest heavy atom of the ligand, inclusive.
    pub cutoff: f64,
    pub centres: Centres,
    pub pool: Pool,
    /// Seed of the untrained encoder; `None` for none.
    pub untrained: Option<u64>,
    /// Where residues of a pocket may be.
    pub sites: Sites,
    /// The first complex that cannot be used is an error.
    pub strict: bool,
}

/// How many complexes and residues there are, and which complexes were left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    pub complexes: usize,
    pub residues: usize,
    pub skipped: usize,
    /// What the readers of the proteins' files renamed, repeated or left out, once for each complex.
    pub notes: Notes,
}

/// Embeds every complex of a listing into the file `out`; collective. A complex that cannot be
/// used is named with its reason and left out. `progress` is called on rank 0 with the number of
/// complexes that are done.
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
    // The file is begun before the work: a folder that cannot be written to is reported at once.
    let file = world.on_root(|| {
        let file = NewFile::create(out, Kind::Pockets)?;
        file::describe(&file, pocketer)?;
        Ok(file)
    })?;
    let (mut table, mut notes) = (Table::default(), Notes::default());
    world.ordered(
        listing.entries.len(),
        GROUP,
        |group| pocketer.group(&listing.entries[group]),
        |group, outcomes: Vec<Outcome>| {
            let Some(root) = &file else {
                return Ok(());
            };
            for (number, outcome) in group.clone().zip(outcomes) {
                let id = &listing.entries[number].id;
                match outcome {
                    Ok(pocket) => {
                        notes.merge(&pocket.notes);
                        table.push(root, number, pocket)?;
                    }
                    Err(reason) if pocketer.settings().strict => {
                        return Err(Error::input(format!("complex {id}: {reason}")));
                    }
                    Err(reason) => {
                        log::warn!("skipped complex {id}: {reason}");
                        table.skip(id, reason);
                    }
                }
            }
            progress(group.end);
            Ok(())
        },
    )?;
    world.broadcast_value(|| {
        if table.is_empty() {
            return Err(Error::input(format!(
                "of {} none could be used: {} is not written",
                count(listing.entries.len(), "complex"),
                out.display()
            )));
        }
        if let Some(file) = file {
            table.write(&file, pocketer, listing)?;
            file.finish()?;
        }
        Ok(Summary {
            complexes: table.len(),
            residues: table.residues(),
            skipped: table.skipped(),
            notes,
        })
    })
}

/// A pocket, or why there is none.
pub type Outcome = std::result::Result<Pocket, String>;
