//! Molecules as graphs of bonds, with the features of atoms and bonds that OGB 1.2.1 has
//! (Hu et al. 2020): integers, each with an embedding of its own.

use super::{Draw, Inputs, Molecule};
use crate::Result;

/// Numbers of values of an atom's features: atomic number, chirality, degree, formal charge,
/// hydrogens, radical electrons, hybridisation, aromatic, in a ring.
pub const ATOM_FEATURES: [usize; 9] = [119, 4, 12, 12, 10, 6, 6, 2, 2];

/// Numbers of values of a bond's features: type, stereo, conjugated.
pub const BOND_FEATURES: [usize; 3] = [5, 6, 2];

/// Puts `atom_features` `[N, 9]`, and for every bond in both directions `bond_ends` `[2, E]`
/// (sender, receiver) and `bond_features` `[E, 3]`. Chirality, radicals and stereo are not known
/// of coordinates and bonds alone, and are left at their first value.
///
/// # Errors
/// Molecules without bonds.
pub fn put_bonds(inputs: &mut Inputs, molecules: &[Molecule], draw: &Draw) -> Result<()> {
    let (mut atoms, mut ends, mut bonds) = (Vec::new(), [Vec::new(), Vec::new()], Vec::new());
    let mut first = 0u32;
    for m in molecules {
        m.check_bonds()?;
        let graph = Graph::new(m);
        for i in 0..m.system.len() {
            atoms.extend(graph.atom(i));
        }
        for (k, &[i, j]) in m.system.bonds.iter().enumerate() {
            for [from, to] in [[i, j], [j, i]] {
                ends[0].push(first + from);
                ends[1].push(first + to);
                bonds.extend(graph.bond(k));
            }
        }
        first += m.system.len() as u32;
    }
    let (count, edges) = (first as usize, ends[0].len());
    let draws = &mut inputs.draws;
    draws.put(
        "atom_features",
        draw.rows(atoms, (count, ATOM_FEATURES.len()))?,
    );
    draws.put("bond_ends", draw.rows(ends.concat(), (2, edges))?);
    draws.put(
        "bond_features",
        draw.rows(bonds, (edges, BOND_FEATURES.len()))?,
    );
    Ok(())
}

/// A molecule with what follows from its bonds.
struct Graph<'a> {
    molecule: &'a Molecule,
    /// Other end and number of each atom's bonds.
    bonds: Vec<Vec<(usize, usize)>>,
    /// Whether a bond is in a ring.
    cyclic: Vec<bool>,
}

/// An aromatic bond.
const AROMATIC: u8 = 4;

impl<'a> Graph<'a> {
    fn new(molecule: &'a Molecule) -> Self {
        let mut bonds = vec![Vec::new(); molecule.system.len()];
        for (k, bond) in molecule.system.bonds.iter().enumerate() {
            let [i, j] = bond.map(|a| a as usize);
            bonds[i].push((j, k));
            bonds[j].push((i, k));
        }
        let cyclic = cyclic(&bonds, molecule.system.bonds.len());
        Self {
            molecule,
            bonds,
            cyclic,
        }
    }

    fn number(&self, atom: usize) -> u8 {
        self.molecule.system.numbers[atom]
    }

    fn orders(&self, atom: usize) -> impl Iterator<Item = u8> {
        self.bonds[atom]
            .iter()
            .map(|&(_, k)| self.molecule.system.orders[k])
    }

    fn aromatic(&self, atom: usize) -> bool {
        self.orders(atom).any(|o| o == AROMATIC)
    }

    /// By valence: an aromatic bond counts one and a half.
    fn charge(&self, atom: usize) -> i32 {
        let halves = self
            .orders(atom)
            .map(|o| if o == AROMATIC { 3 } else { 2 * i32::from(o) });
        let valence = halves.sum::<i32>() / 2;
        let usual = match self.number(atom) {
            // One bond too many is a positive charge, one too few a negative one.
            7 | 15 if !self.aromatic(atom) && valence <= 4 => 3,
            8 | 16 if valence <= 3 => 2,
            9 | 17 | 35 | 53 if valence <= 2 => 1,
            _ => return 0,
        };
        valence - usual
    }

    /// SP, SP2, SP3 by the bonds of highest order.
    fn hybridisation(&self, atom: usize) -> u32 {
        let double = self.orders(atom).filter(|&o| o == 2).count();
        let triple = self.orders(atom).any(|o| o == 3);
        match self.number(atom) {
            1 => 5,
            _ if triple || double > 1 => 0,
            _ if double == 1 || self.aromatic(atom) => 1,
            _ => 2,
        }
    }

    fn atom(&self, atom: usize) -> [u32; 9] {
        let hydrogens = self.bonds[atom]
            .iter()
            .filter(|(j, _)| self.number(*j) == 1);
        let ring = self.bonds[atom].iter().any(|&(_, k)| self.cyclic[k]);
        let values = [
            u32::from(self.number(atom)).saturating_sub(1),
            0,
            self.bonds[atom].len() as u32,
            (self.charge(atom) + 5).max(0) as u32,
            hydrogens.count() as u32,
            0,
            self.hybridisation(atom),
            u32::from(self.aromatic(atom)),
            u32::from(ring),
        ];
        std::array::from_fn(|k| values[k].min(ATOM_FEATURES[k] as u32 - 1))
    }

    fn bond(&self, number: usize) -> [u32; 3] {
        let order = self.molecule.system.orders[number];
        let ends = self.molecule.system.bonds[number];
        // Between two atoms with double or aromatic bonds.
        let unsaturated =
            |a: u32| self.number(a as usize) > 1 && self.hybridisation(a as usize) < 2;
        let conjugated = order == AROMATIC || (order == 1 && ends.into_iter().all(unsaturated));
        let kind = match order {
            1..=4 => u32::from(order) - 1,
            _ => 4,
        };
        [kind, 0, u32::from(conjugated)]
    }
}

/// Which bonds are in a ring: those that are no bridges (Tarjan 1974).
fn cyclic(bonds: &[Vec<(usize, usize)>], count: usize) -> Vec<bool> {
    const NEW: usize = usize::MAX;
    let mut cyclic = vec![true; count];
    let (mut order, mut low) = (vec![NEW; bonds.len()], vec![NEW; bonds.len()]);
    let mut seen = 0;
    for root in 0..bonds.len() {
        if order[root] != NEW {
            continue;
        }
        // Atom, the bond it was reached by, and how many of its bonds are done.
        let mut path = vec![(root, NEW, 0)];
        while let Some((atom, by, done)) = path.pop() {
            if done == 0 {
                order[atom] = seen;
                low[atom] = seen;
                seen += 1;
            }
            match bonds[atom].get(done) {
                Some(&(next, bond)) => {
                    path.push((atom, by, done + 1));
                    if order[next] == NEW {
                        path.push((next, bond, 0));
                    } else if bond != by {
                        low[atom] = low[atom].min(order[next]);
                    }
                }
                None => {
                    if let Some(&(parent, _, _)) = path.last() {
                        low[parent] = low[parent].min(low[atom]);
                        if low[atom] > order[parent] {
                            cyclic[by] = false;
                        }
                    }
                }
            }
        }
    }
    cyclic
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::system::System;

    /// Methylcyclopropane with a carbonyl: C0-C1-C2 a ring, C3 = O4 on C0; and an ammonium ion.
    #[test]
    fn features_follow_from_bonds() {
        let molecule = Molecule {
            system: System {
                numbers: vec![6, 6, 6, 6, 8, 1],
                bonds: vec![[0, 1], [0, 2], [0, 3], [1, 2], [3, 4], [3, 5]],
                orders: vec![1, 1, 1, 1, 2, 1],
                ..System::default()
            },
            ..Molecule::default()
        };
        let graph = Graph::new(&molecule);
        assert_eq!(graph.cyclic, [true, true, false, true, false, false]);
        assert_eq!(graph.atom(0), [5, 0, 3, 5, 0, 0, 2, 0, 1]);
        assert_eq!(graph.atom(3), [5, 0, 3, 5, 1, 0, 1, 0, 0]);
        assert_eq!(graph.atom(4), [7, 0, 1, 5, 0, 0, 1, 0, 0]);
        assert_eq!(graph.bond(4), [1, 0, 0]);
        let ion = Molecule {
            system: System {
                numbers: vec![7, 1, 1, 1, 1],
                bonds: vec![[0, 1], [0, 2], [0, 3], [0, 4]],
                orders: vec![1; 4],
                ..System::default()
            },
            ..Molecule::default()
        };
        assert_eq!(Graph::new(&ion).atom(0)[3], 6);
    }
}
