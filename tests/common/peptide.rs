//! A small solvated peptide that drifts through a periodic box, and its files.

use chemfiles::{Atom, Frame, Residue, Trajectory, UnitCell};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::path::Path;

/// Alanines in the chain, which is longer than the box.
pub const RESIDUES: usize = 8;
/// Six atoms each, three waters and an ion.
pub const ATOMS: usize = 6 * RESIDUES + 10;
/// Edge of the cubic box in Å.
pub const BOX: f64 = 18.0;

/// Name and place within a residue, in Å; residues follow each other along x.
const ALANINE: [(&str, [f64; 3]); 6] = [
    ("N", [0.0, 0.0, 0.0]),
    ("H", [-0.1, 0.95, -0.3]),
    ("CA", [1.4, 0.3, 0.0]),
    ("C", [2.4, -0.6, 0.0]),
    ("O", [2.4, -1.8, 0.0]),
    ("CB", [1.4, 1.0, 1.2]),
];
const BONDS: [[usize; 2]; 5] = [[0, 1], [0, 2], [2, 3], [3, 4], [2, 5]];

/// Numbers of the backbone atoms.
pub fn backbone() -> Vec<usize> {
    (0..RESIDUES)
        .flat_map(|r| [0, 2, 3, 4].map(|a| 6 * r + a))
        .collect()
}

fn bonds() -> Vec<[usize; 2]> {
    let within = (0..RESIDUES).flat_map(|r| BONDS.map(|b| b.map(|a| 6 * r + a)));
    let between = (1..RESIDUES).map(|r| [6 * r - 3, 6 * r]);
    let waters =
        (0..3).flat_map(|w| [1, 2].map(|h| [6 * RESIDUES + 3 * w, 6 * RESIDUES + 3 * w + h]));
    within.chain(between).chain(waters).collect()
}

/// Name, element, residue name and residue number of each atom.
fn atoms() -> Vec<(&'static str, &'static str, &'static str, usize)> {
    let peptide =
        (0..RESIDUES).flat_map(|r| ALANINE.map(|(name, _)| (name, &name[..1], "ALA", r + 1)));
    let water = (0..3).flat_map(|w| {
        [("O", "O"), ("H1", "H"), ("H2", "H")].map(|(n, e)| (n, e, "HOH", RESIDUES + 1 + w))
    });
    let ion = [("NA", "Na", "NA", RESIDUES + 4)];
    peptide.chain(water).chain(ion).collect()
}

/// The true, unwrapped coordinates of all atoms in every frame, 2 ps apart.
pub struct Run {
    pub frames: Vec<Vec<[f64; 3]>>,
}

impl Run {
    /// A peptide that vibrates a little and drifts up to 3 Å per frame, so that it crosses the
    /// box several times.
    pub fn new(count: usize, seed: u64) -> Run {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut place = [4.0, 9.0, 9.0];
        let rest: Vec<[f64; 3]> = (6 * RESIDUES..ATOMS)
            .map(|_| std::array::from_fn(|_| rng.random_range(0.0..BOX)))
            .collect();
        let frames = (0..count)
            .map(|_| {
                let mut frame = Vec::with_capacity(ATOMS);
                for r in 0..RESIDUES {
                    for (_, at) in ALANINE {
                        let along = [3.6 * r as f64, 0.0, 0.0];
                        frame.push(std::array::from_fn(|k| {
                            place[k] + at[k] + along[k] + rng.random_range(-0.05..0.05)
                        }));
                    }
                }
                frame.extend(&rest);
                for x in &mut place {
                    *x += rng.random_range(-2.0..3.0);
                }
                frame
            })
            .collect();
        Run { frames }
    }

    fn frame(&self, index: usize) -> Frame {
        let mut frame = Frame::new();
        frame.set_cell(&UnitCell::new([BOX; 3]));
        frame.set("time", 2.0 * index as f64);
        for ((name, element, ..), at) in atoms().into_iter().zip(&self.frames[index]) {
            let mut atom = Atom::new(name);
            atom.set_atomic_type(element);
            frame.add_atom(&atom, at.map(|x| x.rem_euclid(BOX)), None);
        }
        let atoms = atoms();
        for number in 1..=RESIDUES + 4 {
            let of = |i: &usize| atoms[*i].3 == number;
            let members: Vec<usize> = (0..ATOMS).filter(of).collect();
            let mut residue = Residue::with_id(atoms[members[0]].2, number as i64);
            members.iter().for_each(|&a| residue.add_atom(a));
            residue.set("chainid", "A");
            residue.set("chainname", "A");
            residue.set("is_standard_pdb", true);
            frame.add_residue(&residue).unwrap();
        }
        frame
    }

    /// Writes some frames; the name tells the format.
    pub fn write(&self, path: &Path, range: Range<usize>) {
        let mut file = Trajectory::open(path, 'w').unwrap();
        range.for_each(|i| file.write(&self.frame(i)).unwrap());
    }

    /// Writes the first frame, as a topology.
    pub fn write_frame(&self, path: &Path) {
        self.write(path, 0..1);
    }

    /// Writes the first frame over and over.
    pub fn repeat(&self, path: &Path, count: usize) {
        let mut file = Trajectory::open(path, 'w').unwrap();
        let frame = self.frame(0);
        (0..count).for_each(|_| file.write(&frame).unwrap());
    }
}

fn mass(element: &str) -> f64 {
    match element {
        "H" => 1.008,
        "C" => 12.011,
        "N" => 14.007,
        "O" => 15.999,
        _ => 22.99,
    }
}

/// The topology as X-PLOR PSF.
pub fn psf() -> String {
    let mut text = format!("PSF\n\n       1 !NTITLE\n REMARKS peptide\n\n{ATOMS:8} !NATOM\n");
    for (i, (name, element, residue, number)) in atoms().into_iter().enumerate() {
        // Force-field types are no elements.
        text += &format!(
            "{:8} PEP  {number:<4} {residue:<4} {name:<4} X{name:<4} {:10.6} {:13.4} {:11}\n",
            i + 1,
            0.0,
            mass(element),
            0
        );
    }
    let bonds = bonds();
    text += &format!("\n{:8} !NBOND: bonds\n", bonds.len());
    for four in bonds.chunks(4) {
        let numbers = four.iter().flatten().map(|a| format!("{:8}", a + 1));
        text += &(numbers.collect::<String>() + "\n");
    }
    text + "\n       0 !NTHETA: angles\n\n"
}

/// The topology as AMBER PRMTOP.
pub fn prmtop() -> String {
    let atoms = atoms();
    let section = |name: &str, format: &str, per_line: usize, fields: Vec<String>| {
        let lines: Vec<String> = fields.chunks(per_line).map(<[String]>::concat).collect();
        format!("%FLAG {name}\n%FORMAT({format})\n{}\n", lines.join("\n"))
    };
    let integers = |name: &str, numbers: Vec<usize>| {
        let fields = numbers.into_iter().map(|n| format!("{n:8}")).collect();
        section(name, "10I8", 10, fields)
    };
    let texts = |name: &str, texts: Vec<&str>| {
        let fields = texts.into_iter().map(|t| format!("{t:<4}")).collect();
        section(name, "20a4", 20, fields)
    };
    let first: Vec<usize> = (1..=RESIDUES + 4)
        .filter_map(|n| atoms.iter().position(|a| a.3 == n))
        .collect();
    let (with, without): (Vec<_>, Vec<_>) = bonds()
        .into_iter()
        .partition(|b| b.iter().any(|&a| atoms[a].1 == "H"));
    let offsets =
        |bonds: Vec<[usize; 2]>| bonds.iter().flat_map(|b| [3 * b[0], 3 * b[1], 1]).collect();
    let masses = atoms
        .iter()
        .map(|a| format!("{:16.8E}", mass(a.1)))
        .collect();
    [
        "%VERSION  VERSION_STAMP = V0001.000\n".to_string(),
        integers("POINTERS", vec![ATOMS, 1, with.len(), without.len()]),
        texts("ATOM_NAME", atoms.iter().map(|a| a.0).collect()),
        section("MASS", "5E16.8", 5, masses),
        texts("RESIDUE_LABEL", first.iter().map(|&a| atoms[a].2).collect()),
        integers("RESIDUE_POINTER", first.iter().map(|a| a + 1).collect()),
        integers("BONDS_INC_HYDROGEN", offsets(with)),
        integers("BONDS_WITHOUT_HYDROGEN", offsets(without)),
    ]
    .concat()
}
