//! Bonds that a topology leaves out, and the graph of the nodes.

use super::solvent::Residues;
use crate::data::md::Selection;
use crate::data::neighbors::{CellList, pairs};
use crate::data::system::{Residue, System, crowd, dot, sub};
use crate::data::trajectory::Graph;
use crate::elements::{BEYOND_BONDS, longest_bond};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// Adds the bonds that a file without a full bond list (GRO; PDB with residues that its reader
/// has no template for) leaves out: within a residue that has an unbound atom, and between
/// consecutive residues of a chain that are not bound yet, every pair of atoms closer than
/// their covalent radii allow. Does nothing where the file has no coordinates.
pub(super) fn complete(system: &mut System<f64>) {
    if system.positions.is_empty() {
        return;
    }
    // Where atoms are packed beyond matter, everything would be bound to everything.
    if let Some(crowd) = crowd(&system.positions) {
        log::warn!("no bonds are looked for: {crowd}");
        return;
    }
    let gaps = Gaps::new(system);
    let atoms = gaps.atoms(system);
    let positions: Vec<[f64; 3]> = atoms
        .iter()
        .map(|&a| system.positions[a as usize])
        .collect();
    let list = CellList::new(&positions, system.cell, BEYOND_BONDS);
    let (mut found, mut near) = (Vec::new(), Vec::new());
    for (i, &a) in atoms.iter().enumerate() {
        list.within(&positions, i, &mut near);
        near.dedup();
        let later = near.iter().map(|&j| atoms[j as usize]).filter(|&b| b > a);
        let bound = later.filter(|&b| gaps.between(system, a, b) && close(system, a, b));
        found.extend(bound.map(|b| [a, b]));
    }
    system.bonds.extend(found);
    system.bonds.sort_unstable();
    system.bonds.dedup();
}

/// Whether two atoms are as close as bound ones.
fn close(system: &System<f64>, a: u32, b: u32) -> bool {
    let (x, y) = (system.positions[a as usize], system.positions[b as usize]);
    let d = match &system.cell {
        Some(cell) => cell.separation(x, y),
        None => sub(y, x),
    };
    let [p, q] = [a, b].map(|i| system.numbers[i as usize]);
    let longest = longest_bond(p, q);
    (p, q) != (1, 1) && dot(d, d) < longest * longest
}

/// Where bonds may be missing.
struct Gaps {
    /// For each residue: within it.
    inside: Vec<bool>,
    /// For each residue: between it and the next one.
    after: Vec<bool>,
}

impl Gaps {
    fn new(system: &System<f64>) -> Self {
        let mut bound = vec![false; system.len()];
        let mut linked = HashSet::new();
        for bond in &system.bonds {
            bond.iter().for_each(|&a| bound[a as usize] = true);
            let [r, s] = bond.map(|a| system.residue_of[a as usize]);
            linked.insert((r.min(s), r.max(s)));
        }
        let residues = Residues::new(system);
        let several: Vec<bool> = (0..system.residues.len())
            .map(|r| residues.atoms(r).len() > 1 && !residues.is_solvent(r))
            .collect();
        let chain = |r: usize| system.residues.get(r).map(|r: &Residue| r.chain);
        Self {
            inside: (0..several.len())
                .map(|r| several[r] && residues.atoms(r).iter().any(|&a| !bound[a as usize]))
                .collect(),
            after: (0..several.len())
                .map(|r| {
                    several[r]
                        && several.get(r + 1) == Some(&true)
                        && chain(r) == chain(r + 1)
                        && !linked.contains(&(r as u32, r as u32 + 1))
                })
                .collect(),
        }
    }

    /// Atoms that may lack a bond, ascending.
    fn atoms(&self, system: &System<f64>) -> Vec<u32> {
        let lacks = |r: usize| self.inside[r] || self.after[r] || (r > 0 && self.after[r - 1]);
        (0u32..)
            .zip(&system.residue_of)
            .filter(|(_, r)| lacks(**r as usize))
            .map(|(a, _)| a)
            .collect()
    }

    /// Whether the bond between two atoms may be missing.
    fn between(&self, system: &System<f64>, a: u32, b: u32) -> bool {
        let [r, s] = [a, b].map(|i| system.residue_of[i as usize] as usize);
        match r.abs_diff(s) {
            0 => self.inside[r],
            1 => self.after[r.min(s)],
            _ => false,
        }
    }
}

/// The graph of nodes made of the atoms in `nodes`: bonds of the topology, and for CA, or where
/// no two nodes are bound, pairs within `cutoff` Å of each other at `centres`.
///
/// # Errors
/// Centres that are packed beyond matter, where everything would be a neighbor of everything.
pub(super) fn graph(
    system: &System<f64>,
    selection: &Selection,
    nodes: &[Vec<u32>],
    centres: &[[f64; 3]],
    cutoff: f64,
) -> Result<Graph> {
    let mut edges = match selection {
        Selection::Ca => Vec::new(),
        _ => bonds_between(system, nodes),
    };
    if edges.is_empty() {
        if let Some(crowd) = crowd(centres) {
            return Err(Error::input(format!("neighbors: {crowd}")));
        }
        edges = pairs(centres, cutoff);
    }
    edges.sort_unstable();
    edges.dedup();
    Ok(Graph {
        nodes: nodes.len(),
        edges,
        atoms: Some(describe(system, selection, nodes)),
    })
}

/// Whether [`graph`] looks at coordinates.
pub(super) fn needs_centres(
    system: &System<f64>,
    selection: &Selection,
    nodes: &[Vec<u32>],
) -> bool {
    *selection == Selection::Ca || bonds_between(system, nodes).is_empty()
}

fn bonds_between(system: &System<f64>, nodes: &[Vec<u32>]) -> Vec<[u32; 2]> {
    // Hydrogens count for their residue's bonds too.
    let whole_residues = nodes.iter().any(|n| n.len() > 1);
    let members = whole_residues.then(|| system.members());
    let mut node_of: HashMap<u32, u32> = HashMap::new();
    for (n, atoms) in nodes.iter().enumerate() {
        node_of.extend(atoms.iter().map(|&a| (a, n as u32)));
        if let Some(members) = &members {
            let residue = system.residue_of[atoms[0] as usize];
            let all = members.of(residue as usize);
            node_of.extend(all.iter().map(|&a| (a, n as u32)));
        }
    }
    let ends = |b: &[u32; 2]| Some([*node_of.get(&b[0])?, *node_of.get(&b[1])?]);
    system
        .bonds
        .iter()
        .filter_map(ends)
        .filter(|[i, j]| i != j)
        .map(|[i, j]| [i.min(j), i.max(j)])
        .collect()
}

/// The nodes as atoms; a node that is a residue has its name and no element.
fn describe(system: &System<f64>, selection: &Selection, nodes: &[Vec<u32>]) -> System {
    let mut described = System::default();
    let mut residues: HashMap<u32, u32> = HashMap::new();
    for node in nodes {
        let atom = node[0] as usize;
        let residue = system.residue(node[0]);
        let (name, number) = match selection {
            Selection::Residue => (residue.name, 0),
            _ => (system.names[atom], system.numbers[atom]),
        };
        described.names.push(name);
        described.numbers.push(number);
        let next = residues.len() as u32;
        let place = *residues.entry(system.residue_of[atom]).or_insert(next);
        if place == next {
            described.residues.push(*residue);
        }
        described.residue_of.push(place);
    }
    described
}

/// Mean place of each node's atoms.
pub(super) fn centres<'a>(
    nodes: &'a [Vec<u32>],
    positions: &'a [[f64; 3]],
) -> impl Iterator<Item = [f64; 3]> + 'a {
    nodes.iter().map(|atoms| {
        let mut sum = [0.0; 3];
        for &a in atoms {
            for (s, x) in sum.iter_mut().zip(positions[a as usize]) {
                *s += x;
            }
        }
        sum.map(|x| x / atoms.len() as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carbons of one residue.
    fn one_residue(positions: Vec<[f64; 3]>) -> System<f64> {
        System {
            numbers: vec![6; positions.len()],
            names: vec!["C".into(); positions.len()],
            residue_of: vec![0; positions.len()],
            residues: vec![Residue {
                name: "UNL".into(),
                ..Residue::default()
            }],
            positions,
            ..System::default()
        }
    }

    /// A test of all pairs of so many atoms would take minutes.
    #[test]
    fn one_residue_may_have_any_number_of_atoms() {
        const SIDE: usize = 60;
        let start = std::time::Instant::now();
        let at = |i: usize| [i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE].map(|x| 1.5 * x as f64);
        let mut lattice = one_residue((0..SIDE.pow(3)).map(at).collect());
        complete(&mut lattice);
        assert_eq!(lattice.bonds.len(), 3 * SIDE * SIDE * (SIDE - 1));
        let mut point = one_residue(vec![[1.0; 3]; SIDE.pow(3)]);
        complete(&mut point);
        assert_eq!(point.bonds.len(), 0);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
