//! Bonds that a topology leaves out, and the graph of the nodes.

use super::select::Selection;
use super::system::{Residue, System};
use crate::data::trajectory::{Atoms, Graph};
use std::collections::{HashMap, HashSet};

/// Covalent radii in Å (Cordero et al., Dalton Trans. 2008, 2832).
fn radius(element: u8) -> f64 {
    match element {
        1 => 0.31,
        6 => 0.76,
        7 => 0.71,
        8 => 0.66,
        9 => 0.57,
        15 => 1.07,
        16 => 1.05,
        17 => 1.02,
        34 | 35 => 1.20,
        53 => 1.39,
        26 => 1.32,
        30 => 1.22,
        _ => 1.20,
    }
}

/// How much longer than the sum of two radii a bond may be, in Å.
const SLACK: f64 = 0.4;

/// Adds the bonds that a file without a full bond list (GRO; PDB with residues that its reader
/// has no template for) leaves out: within a residue that has an unbound atom, and between
/// consecutive residues of a chain that are not bound yet, every pair of atoms closer than
/// their covalent radii allow. Does nothing where the file has no coordinates.
pub(super) fn complete(system: &mut System) {
    let Some(positions) = &system.positions else {
        return;
    };
    let mut bound = vec![false; system.atoms.len()];
    let mut linked = HashSet::new();
    for bond in &system.bonds {
        bond.iter().for_each(|&a| bound[a as usize] = true);
        let [r, s] = bond.map(|a| system.atoms[a as usize].residue);
        linked.insert((r, s));
        linked.insert((s, r));
    }
    let close = |a: u32, b: u32| {
        let (x, y) = (positions[a as usize], positions[b as usize]);
        let d = match &system.cell {
            Some(cell) => cell.separation(x, y),
            None => std::array::from_fn(|k| y[k] - x[k]),
        };
        let [p, q] = [a, b].map(|i| system.atoms[i as usize].element);
        let longest = radius(p) + radius(q) + SLACK;
        (p, q) != (1, 1) && d.iter().map(|x| x * x).sum::<f64>() < longest * longest
    };
    let mut found = Vec::new();
    let several = |r: &Residue| r.atoms.len() > 1 && !system.is_solvent(r);
    for (r, residue) in system.residues.iter().enumerate() {
        if !several(residue) {
            continue;
        }
        let atoms = residue.atoms.clone();
        if atoms.clone().any(|a| !bound[a as usize]) {
            let pairs = atoms
                .clone()
                .flat_map(|a| (a + 1..atoms.end).map(move |b| [a, b]));
            found.extend(pairs.filter(|&[a, b]| close(a, b)));
        }
        let Some(next) = system.residues.get(r + 1) else {
            continue;
        };
        let open = !linked.contains(&(r as u32, r as u32 + 1));
        if open && several(next) && next.chain == residue.chain {
            let pairs = atoms.flat_map(|a| next.atoms.clone().map(move |b| [a, b]));
            found.extend(pairs.filter(|&[a, b]| close(a, b)));
        }
    }
    system.bonds.extend(found);
    system.bonds.sort_unstable();
    system.bonds.dedup();
}

/// The graph of nodes made of the atoms in `nodes`: bonds of the topology, and for CA, or where
/// no two nodes are bound, pairs within `cutoff` Å of each other at `centres`.
pub(super) fn graph(
    system: &System,
    selection: &Selection,
    nodes: &[Vec<u32>],
    centres: &[[f64; 3]],
    cutoff: f64,
) -> Graph {
    let mut edges = match selection {
        Selection::Ca => Vec::new(),
        _ => bonds_between(system, nodes),
    };
    if edges.is_empty() {
        edges = pairs_within(centres, cutoff);
    }
    edges.sort_unstable();
    edges.dedup();
    Graph {
        nodes: nodes.len(),
        edges,
        atoms: Some(describe(system, selection, nodes)),
    }
}

/// Whether [`graph`] looks at coordinates.
pub(super) fn needs_centres(system: &System, selection: &Selection, nodes: &[Vec<u32>]) -> bool {
    *selection == Selection::Ca || bonds_between(system, nodes).is_empty()
}

fn bonds_between(system: &System, nodes: &[Vec<u32>]) -> Vec<[u32; 2]> {
    let whole_residues = nodes.iter().any(|n| n.len() > 1);
    let mut node_of: HashMap<u32, u32> = HashMap::new();
    for (n, atoms) in nodes.iter().enumerate() {
        node_of.extend(atoms.iter().map(|&a| (a, n as u32)));
        if whole_residues {
            // Hydrogens count for their residue's bonds too.
            let residue = system.residue_of(atoms[0]);
            node_of.extend(residue.atoms.clone().map(|a| (a, n as u32)));
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

/// All pairs i < j of points within `cutoff` of each other, by cells of that size.
fn pairs_within(points: &[[f64; 3]], cutoff: f64) -> Vec<[u32; 2]> {
    let key = |p: &[f64; 3]| p.map(|x| (x / cutoff).floor() as i64);
    let mut cells: HashMap<[i64; 3], Vec<u32>> = HashMap::new();
    for (i, point) in points.iter().enumerate() {
        cells.entry(key(point)).or_default().push(i as u32);
    }
    let near = |i: u32, j: u32| {
        let (a, b) = (points[i as usize], points[j as usize]);
        (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>() <= cutoff * cutoff
    };
    let mut pairs = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let i = i as u32;
        let home = key(point);
        for code in 0..27 {
            let step = [code % 3, code / 3 % 3, code / 9];
            let cell: [i64; 3] = std::array::from_fn(|k| home[k] + step[k] - 1);
            let others = cells.get(&cell).into_iter().flatten();
            pairs.extend(others.filter(|&&j| i < j && near(i, j)).map(|&j| [i, j]));
        }
    }
    pairs
}

fn describe(system: &System, selection: &Selection, nodes: &[Vec<u32>]) -> Atoms {
    let mut described = Atoms::default();
    let mut residues: HashMap<u32, u32> = HashMap::new();
    for node in nodes {
        let atom = &system.atoms[node[0] as usize];
        let residue = system.residue_of(node[0]);
        let (name, element) = match selection {
            Selection::Residue => (&residue.name, 0),
            _ => (&atom.name, atom.element),
        };
        described.name.push(name.clone());
        described.element.push(element);
        let next = residues.len() as u32;
        let number = *residues.entry(atom.residue).or_insert(next);
        described.residue.push(number);
        described.residue_name.push(residue.name.clone());
        described.residue_number.push(residue.number);
        described.chain.push(residue.chain.clone());
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
