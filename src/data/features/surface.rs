//! The part of an atom's surface that the solvent reaches.

use super::bonds::Bonds;
use crate::data::neighbors::CellList;
use crate::data::system::{Atoms, dot, sub};
use std::f64::consts::PI;

/// Radius of a water molecule, in Å.
const PROBE: f64 = 1.4;
/// How far the cap that a bound atom hides counts, and that of any other: caps overlap (Hasel, Hendrickson and
/// Still 1988).
const BOUND: f64 = 0.8875;
const OTHER: f64 = 0.3516;
/// The largest of [`radius`], in Å.
const LARGEST: f64 = 1.98;

/// Van der Waals radius in Å (Bondi 1964; elements that it lacks count as sulphur).
fn radius(number: u8) -> f64 {
    match number {
        6 => 1.70,
        7 => 1.55,
        8 => 1.52,
        9 => 1.47,
        17 => 1.75,
        35 => 1.85,
        53 => LARGEST,
        _ => 1.80,
    }
}

/// The share of each atom's accessible surface that is not hidden, 0 to 1, by the product of Wodak and Janin
/// (1980), in which every neighbor hides its cap independently of the others, with the factors of Hasel,
/// Hendrickson and Still (1988) for how caps overlap. It has no grid of points, so that it does not change when
/// the system is turned. Ligand and protein are looked at apart, each as if the other were not there. Hydrogens hide
/// nothing and have 0.
pub fn exposed(atoms: &Atoms, bonds: &Bonds) -> Vec<f32> {
    let cells = CellList::new(atoms.positions, None, 2.0 * (LARGEST + PROBE));
    let of_ligand = |i: usize| atoms.ligand == Some(atoms.residue_of[i]);
    let mut found = Vec::new();
    let one = |i: usize| {
        if atoms.numbers[i] == 1 {
            return 0.0;
        }
        let own = radius(atoms.numbers[i]) + PROBE;
        let mut left = 1.0;
        cells.within(atoms.positions, i, &mut found);
        for j in found.iter().map(|&j| j as usize) {
            if j == i || atoms.numbers[j] == 1 || of_ligand(i) != of_ligand(j) {
                continue;
            }
            let d = sub(
                atoms.positions[j].map(f64::from),
                atoms.positions[i].map(f64::from),
            );
            let hidden = cap(own, radius(atoms.numbers[j]) + PROBE, dot(d, d).sqrt());
            let counts = if bonds.of(i).any(|k| k == j) {
                BOUND
            } else {
                OTHER
            };
            left *= 1.0 - counts * hidden;
        }
        left as f32
    };
    (0..atoms.numbers.len()).map(one).collect()
}

/// The share of a sphere of radius `own` that another one of radius `other` hides at distance `d`.
fn cap(own: f64, other: f64, d: f64) -> f64 {
    if d >= own + other {
        return 0.0;
    }
    if d <= (own - other).abs() {
        return if other > own { 1.0 } else { 0.0 };
    }
    let hidden = PI * own * (own + other - d) * (1.0 + (other - own) / d);
    (hidden / (4.0 * PI * own * own)).clamp(0.0, 1.0)
}
