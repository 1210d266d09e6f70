//! Secondary structure from coordinates by the hydrogen-bond rules of DSSP.
//!
//! W. Kabsch and C. Sander, "Dictionary of protein secondary structure", Biopolymers 22, 2577
//! (1983). A dataset keeps no atom names, so backbone atoms are told by elements and bond
//! lengths. Three classes: helix (DSSP's H, G and I), strand (E and B), coil (the rest).

use super::dataset::Dataset;
use super::system::Atoms;
use rayon::prelude::*;

/// Secondary structure of a residue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secondary {
    Helix,
    Strand,
    Coil,
}

impl Secondary {
    pub fn name(self) -> &'static str {
        match self {
            Secondary::Helix => "helix",
            Secondary::Strand => "strand",
            Secondary::Coil => "coil",
        }
    }
}

/// One class per centre of the dataset; `None` where the residue lacks a backbone atom.
pub fn assign(dataset: &Dataset) -> Vec<Option<Secondary>> {
    let per_structure: Vec<Vec<Option<Secondary>>> = (0..dataset.structures().len())
        .into_par_iter()
        .map(|s| of_structure(dataset, s))
        .collect();
    (0..dataset.len() as u32)
        .map(|centre| {
            let (structure, atom) = dataset.centre(centre);
            let residue = dataset.atoms(structure).residue_of[atom];
            per_structure[structure][residue as usize]
        })
        .collect()
}

type Point = [f64; 3];

/// Backbone of one residue.
struct Backbone {
    /// Index of the residue in its structure.
    residue: usize,
    n: Point,
    ca: Point,
    c: Point,
    o: Point,
    /// Amide hydrogen, 1 Å from N against the direction of the preceding C=O; none for proline
    /// and at the start of a chain.
    h: Option<Point>,
    /// Follows the residue before it in the list by a peptide bond.
    joined: bool,
}

fn distance(a: Point, b: Point) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

/// Longest bonds between heavy atoms of a backbone, in Å, with room for poor structures; DSSP's
/// longest peptide bond.
const SINGLE: f64 = 1.8;
const DOUBLE: f64 = 1.35;
const PEPTIDE: f64 = 2.5;

fn of_structure(dataset: &Dataset, structure: usize) -> Vec<Option<Secondary>> {
    let atoms = dataset.atoms(structure);
    let residues = dataset.residues(structure);
    let chain = chain(&atoms, residues.len(), |r| {
        residues[r].name.as_str() == "PRO"
    });
    let classes = classes(&chain);
    let mut out = vec![None; residues.len()];
    for (backbone, class) in chain.iter().zip(classes) {
        out[backbone.residue] = Some(class);
    }
    out
}

/// Residues that have a whole backbone, in file order.
fn chain(atoms: &Atoms, residues: usize, is_proline: impl Fn(usize) -> bool) -> Vec<Backbone> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); residues];
    for (i, &r) in atoms.residue_of.iter().enumerate() {
        members[r as usize].push(i);
    }
    let mut chain: Vec<Backbone> = Vec::new();
    for (r, members) in members.iter().enumerate() {
        let Some(mut next) = backbone(atoms, r, members) else {
            continue;
        };
        if let Some(last) = chain.last() {
            next.joined = last.residue + 1 == r && distance(last.c, next.n) <= PEPTIDE;
            if next.joined && !is_proline(r) {
                let length = distance(last.c, last.o);
                let h = |k: usize| next.n[k] + (last.c[k] - last.o[k]) / length;
                next.h = Some([h(0), h(1), h(2)]);
            }
        }
        chain.push(next);
    }
    chain
}

/// The first N - CA - C = O of bond lengths in a residue's atoms.
fn backbone(atoms: &Atoms, residue: usize, members: &[usize]) -> Option<Backbone> {
    let at = |i: usize| atoms.positions[i].map(f64::from);
    let of = |element: u8| {
        members
            .iter()
            .copied()
            .filter(move |&i| atoms.numbers[i] == element)
    };
    for n in of(7) {
        for ca in of(6).filter(|&i| distance(at(i), at(n)) < SINGLE) {
            // A side chain's carbon may hold an oxygen, but not at a double bond's length from
            // it while itself next to CA; the shortest C=O is the carbonyl's.
            let bonded = |&c: &usize| c != ca && distance(at(c), at(ca)) < SINGLE;
            let pairs = of(6)
                .filter(bonded)
                .flat_map(|c| of(8).map(move |o| (c, o)));
            let carbonyl = pairs
                .map(|(c, o)| (distance(at(c), at(o)), c, o))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((length, c, o)) = carbonyl
                && length < DOUBLE
            {
                return Some(Backbone {
                    residue,
                    n: at(n),
                    ca: at(ca),
                    c: at(c),
                    o: at(o),
                    h: None,
                    joined: false,
                });
            }
        }
    }
    None
}

/// Energy of the bond N-H of `donor` to O=C of `acceptor`, kcal/mol (equation 1 of the paper).
fn energy(donor: &Backbone, acceptor: &Backbone) -> f64 {
    /// 332 q1 q2 with charges 0.42 e and 0.20 e.
    const COUPLING: f64 = 27.888;
    const CLOSEST: f64 = 0.5;
    const LOWEST: f64 = -9.9;
    let Some(h) = donor.h else { return 0.0 };
    let ho = distance(h, acceptor.o);
    let hc = distance(h, acceptor.c);
    let nc = distance(donor.n, acceptor.c);
    let no = distance(donor.n, acceptor.o);
    if [ho, hc, nc, no].into_iter().any(|d| d < CLOSEST) {
        return LOWEST;
    }
    COUPLING * (1.0 / no + 1.0 / hc - 1.0 / ho - 1.0 / nc)
}

/// For every residue the (at most two) best acceptors of its hydrogen bond.
fn acceptors(chain: &[Backbone]) -> Vec<Vec<usize>> {
    const FARTHEST_CA: f64 = 9.0;
    const BOND: f64 = -0.5;
    let of = |i: usize| {
        let mut bonds: Vec<(f64, usize)> = (0..chain.len())
            .filter(|&j| j != i && j + 1 != i)
            .filter(|&j| distance(chain[i].ca, chain[j].ca) < FARTHEST_CA)
            .map(|j| (energy(&chain[i], &chain[j]), j))
            .filter(|&(e, _)| e < BOND)
            .collect();
        bonds.sort_by(|a, b| a.0.total_cmp(&b.0));
        bonds.into_iter().take(2).map(|(_, j)| j).collect()
    };
    (0..chain.len()).map(of).collect()
}

/// Which residues a bridge joins, and how.
#[derive(Clone, Copy, PartialEq)]
enum Bridge {
    Parallel,
    Antiparallel,
}

/// Consecutive bridges of one kind: `i` ascends by one, `j` by one (parallel) or falls.
struct Ladder {
    kind: Bridge,
    i: (usize, usize),
    /// First and last, ascending.
    j: (usize, usize),
}

fn classes(chain: &[Backbone]) -> Vec<Secondary> {
    let acceptors = acceptors(chain);
    let bond = |donor: usize, acceptor: usize| acceptors[donor].contains(&acceptor);
    let whole = |from: usize, to: usize| chain[from + 1..=to].iter().all(|b| b.joined);
    let mut classes = vec![Secondary::Coil; chain.len()];
    for ladder in ladders(chain.len(), &bond, &whole) {
        for (from, to) in [ladder.i, ladder.j] {
            classes[from..=to].fill(Secondary::Strand);
        }
    }
    // Two turns in a row make a helix. That of four residues wins over strands; the others need
    // residues that are free, or part of a helix that gives way to theirs.
    let mut turn_of = vec![0; chain.len()];
    for (turn, over) in [(4, [4, 4]), (3, [3, 3]), (5, [5, 4])] {
        let starts: Vec<bool> = (0..chain.len())
            .map(|i| i + turn < chain.len() && bond(i + turn, i) && whole(i, i + turn))
            .collect();
        for i in 1..chain.len().saturating_sub(turn) {
            let range = i..i + turn;
            let free = |j: usize| match classes[j] {
                Secondary::Coil => true,
                Secondary::Helix => over.contains(&turn_of[j]),
                Secondary::Strand => false,
            };
            if starts[i - 1] && starts[i] && (turn == 4 || range.clone().all(free)) {
                classes[range.clone()].fill(Secondary::Helix);
                turn_of[range].fill(turn);
            }
        }
    }
    classes
}

fn ladders(
    n: usize,
    bond: &impl Fn(usize, usize) -> bool,
    whole: &impl Fn(usize, usize) -> bool,
) -> Vec<Ladder> {
    let bridge = |i: usize, j: usize| {
        if !whole(i - 1, i + 1) || !whole(j - 1, j + 1) {
            return None;
        }
        let parallel = (bond(i + 1, j) && bond(j, i - 1)) || (bond(j + 1, i) && bond(i, j - 1));
        let antiparallel = (bond(i + 1, j - 1) && bond(j + 1, i - 1)) || (bond(j, i) && bond(i, j));
        match (parallel, antiparallel) {
            (true, _) => Some(Bridge::Parallel),
            (_, true) => Some(Bridge::Antiparallel),
            _ => None,
        }
    };
    let mut ladders: Vec<Ladder> = Vec::new();
    for i in 1..n.saturating_sub(1) {
        for j in i + 3..n.saturating_sub(1) {
            let Some(kind) = bridge(i, j) else { continue };
            let longer = ladders.iter_mut().find(|l| {
                l.kind == kind
                    && l.i.1 + 1 == i
                    && match kind {
                        Bridge::Parallel => l.j.1 + 1 == j,
                        Bridge::Antiparallel => l.j.0 == j + 1,
                    }
            });
            match longer {
                Some(l) => {
                    l.i.1 = i;
                    match kind {
                        Bridge::Parallel => l.j.1 = j,
                        Bridge::Antiparallel => l.j.0 = j,
                    }
                }
                None => ladders.push(Ladder {
                    kind,
                    i: (i, i),
                    j: (j, j),
                }),
            }
        }
    }
    join_bulges(ladders, whole)
}

/// Ladders parted by a bulge (up to one residue on one strand, four on the other) are one.
fn join_bulges(mut ladders: Vec<Ladder>, whole: &impl Fn(usize, usize) -> bool) -> Vec<Ladder> {
    ladders.sort_by_key(|l| l.i.0);
    let mut a = 0;
    while a < ladders.len() {
        let mut b = a + 1;
        while b < ladders.len() {
            let (l, m) = (&ladders[a], &ladders[b]);
            let (low, high) = match l.kind {
                Bridge::Parallel => (l.j, m.j),
                Bridge::Antiparallel => (m.j, l.j),
            };
            let joins = l.kind == m.kind && l.i.1 < m.i.0 && low.1 < high.0 && {
                let (gap_i, gap_j) = (m.i.0 - l.i.1, high.0 - low.1);
                let small = (gap_j < 6 && gap_i < 3) || (gap_j < 3 && gap_i < 6);
                small && whole(l.i.0, m.i.1) && whole(low.0, high.1)
            };
            if joins {
                ladders[a].j = (low.0, high.1);
                ladders[a].i.1 = ladders[b].i.1;
                ladders.remove(b);
            } else {
                b += 1;
            }
        }
        a += 1;
    }
    ladders
}
