//! A few molecules with bonds, as tensors and as a file.

use crate::numbers::numbers;
use holosig::data::system::System;
use holosig::models::pretrain::Molecule;
use std::fmt::Write;

type Atom = (u8, [f64; 3]);
type Bond = ([u32; 2], u8);

/// Atoms (Å) and bonds with their orders.
const SHAPES: [(&[Atom], &[Bond]); 5] = [
    (
        &[
            (8, [0.0, 0.0, 0.117]),
            (1, [0.0, 0.757, -0.469]),
            (1, [0.0, -0.757, -0.469]),
        ],
        &[([0, 1], 1), ([0, 2], 1)],
    ),
    (
        &[
            (6, [0.0, 0.0, -0.529]),
            (8, [0.0, 0.0, 0.677]),
            (1, [0.0, 0.935, -1.109]),
            (1, [0.0, -0.935, -1.109]),
        ],
        &[([0, 1], 2), ([0, 2], 1), ([0, 3], 1)],
    ),
    (
        &[
            (1, [0.0, 0.0, -1.067]),
            (6, [0.0, 0.0, 0.0]),
            (7, [0.0, 0.0, 1.156]),
        ],
        &[([0, 1], 1), ([1, 2], 3)],
    ),
    (
        &[
            (7, [0.0, 0.0, 0.1]),
            (1, [0.94, 0.0, -0.27]),
            (1, [-0.47, 0.81, -0.27]),
            (1, [-0.47, -0.81, -0.27]),
        ],
        &[([0, 1], 1), ([0, 2], 1), ([0, 3], 1)],
    ),
    (
        &[
            (6, [0.63, 0.63, 0.63]),
            (1, [1.26, 1.26, 1.26]),
            (1, [0.0, 0.0, 1.26]),
            (1, [0.0, 1.26, 0.0]),
            (1, [1.26, 0.0, 0.0]),
        ],
        &[([0, 1], 1), ([0, 2], 1), ([0, 3], 1), ([0, 4], 1)],
    ),
];

/// Molecules `0..count`, their atoms some 0.1 Å from where they are at rest.
pub fn molecules(count: u64) -> Vec<Molecule> {
    let of = |sample: u64| {
        let (atoms, bonds) = SHAPES[sample as usize % SHAPES.len()];
        let mut steps = numbers(sample, 3 * atoms.len()).into_iter();
        let moved = |r: [f64; 3]| r.map(|x| x + 0.1 * steps.next().unwrap());
        Molecule {
            sample,
            name: format!("molecule {sample}"),
            system: System {
                numbers: atoms.iter().map(|a| a.0).collect(),
                positions: atoms.iter().map(|a| a.1).map(moved).collect(),
                bonds: bonds.iter().map(|b| b.0).collect(),
                orders: bonds.iter().map(|b| b.1).collect(),
                ..System::default()
            },
            target: Some((sample as f64).sin()),
        }
    };
    (0..count).map(of).collect()
}

/// The molecules as an SDF file, with a number called `size`.
pub fn sdf(molecules: &[Molecule]) -> String {
    let symbol = |z: u8| match z {
        1 => "H",
        6 => "C",
        7 => "N",
        _ => "O",
    };
    let mut text = String::new();
    for m in molecules {
        let (atoms, bonds) = (m.system.len(), m.system.bonds.len());
        write!(
            text,
            "\n\n\n{atoms:3}{bonds:3}  0  0  0  0  0  0  0  0999 V2000\n"
        )
        .unwrap();
        for (&z, [x, y, r]) in m.system.numbers.iter().zip(&m.system.positions) {
            writeln!(text, "{x:10.4}{y:10.4}{r:10.4} {:<3} 0  0", symbol(z)).unwrap();
        }
        for (&[i, j], order) in m.system.bonds.iter().zip(&m.system.orders) {
            writeln!(text, "{:3}{:3}{order:3}  0", i + 1, j + 1).unwrap();
        }
        let size = atoms as f64 + m.target.unwrap();
        write!(text, "M  END\n> <size>\n{size}\n\n$$$$\n").unwrap();
    }
    text
}
