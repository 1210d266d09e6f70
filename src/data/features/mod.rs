//! What atoms are beside their element: charge, donor or acceptor of hydrogen bonds, member of an
//! aromatic ring, exposed to the solvent ([`Feature`]).
//!
//! Everything is told from elements and places alone, by the same rules for proteins, ligands and
//! cofactors, so that no file needs bonds or hydrogens; hydrogens are not looked at. The numbers
//! do not change when the system is turned or moved.

mod bonds;
mod chemistry;
mod surface;

use super::system::Atoms;
use crate::ops::zernike::{Feature, Features};

/// The features of each atom, in the order of [`Feature::ALL`].
pub fn of(atoms: &Atoms) -> Vec<Features> {
    let bonds = bonds::Bonds::new(atoms.numbers, atoms.positions);
    let exposed = surface::exposed(atoms, &bonds);
    let mut all = chemistry::of(&bonds);
    for (features, exposed) in all.iter_mut().zip(exposed) {
        features[Feature::Surface as usize] = exposed;
    }
    all
}

#[cfg(test)]
mod tests;
