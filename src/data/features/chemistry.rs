//! Charges and hydrogen bonds from bonds alone: what is usual near pH 7.
//!
//! | group | charge | donor | acceptor |
//! |---|---|---|---|
//! | carboxylate (C with two O of one bond) | -1/2 each O | | O |
//! | O of one bond at P, of `k` such: `1 - k`, -2 at least, shared | | | O |
//! | sulphonate, sulphate (S with three, four such) | -1, -2, shared | | O |
//! | other O of one bond: bond to C below 1.30 Å, or to another element | | | O |
//! | hydroxyl (longer) and water | | O | O |
//! | O of two bonds | | | O |
//! | N of a flat C with three N, outside aromatic rings (guanidinium) | +1/3 each N | N with a hydrogen | |
//! | N of a flat C with two N of one bond (amidinium) | +1/2 each N | N | |
//! | N bound to C alone, none of them flat (amine) | +1 | unless of four bonds | |
//! | other N with one or two bonds (amide, aniline, sulphonamide) | | N | |
//! | N of two bonds with one below 1.30 Å (imine), or of one bond below 1.22 Å (nitrile) | | | N |
//! | N of two bonds in an aromatic ring of six | | | N |
//! | the same of five with another such N (which has the hydrogen is not told) | | N | N |
//! | the same of five with O, S, or an N of three bonds | | | N |
//! | the same of five without (pyrrole) | | N | |
//! | metals: +1 of the first group, else +2; halogens without a bond: -1 | | | |

use super::bonds::Bonds;
use crate::elements::is_metal;
use crate::ops::zernike::{Feature, Features};

/// Bond to carbon that is shorter belongs to a carbonyl, in Å.
const CARBONYL: f64 = 1.30;
/// Bond of nitrogen that is shorter is double, in Å.
const IMINE: f64 = 1.30;
/// Bond of nitrogen that is shorter is triple, in Å.
const NITRILE: f64 = 1.22;

/// What an atom is.
#[derive(Default)]
struct Nature {
    charge: f32,
    donor: bool,
    acceptor: bool,
}

/// All features but the surface.
pub fn of(bonds: &Bonds) -> Vec<Features> {
    let one = |i: usize| {
        let nature = match bonds.numbers[i] {
            7 => nitrogen(bonds, i),
            8 => oxygen(bonds, i),
            z => Nature {
                charge: ion(z, bonds.of(i).len()),
                ..Nature::default()
            },
        };
        let mut features = Features::default();
        features[Feature::Charge as usize] = nature.charge;
        features[Feature::Donor as usize] = f32::from(u8::from(nature.donor));
        features[Feature::Acceptor as usize] = f32::from(u8::from(nature.acceptor));
        features[Feature::Aromatic as usize] = f32::from(u8::from(bonds.ring(i) > 0));
        features
    };
    (0..bonds.numbers.len()).map(one).collect()
}

fn ion(number: u8, bonds: usize) -> f32 {
    match number {
        3 | 11 | 19 | 37 | 55 => 1.0,
        9 | 17 | 35 | 53 if bonds == 0 => -1.0,
        z if is_metal(z) => 2.0,
        _ => 0.0,
    }
}

/// Atoms of an element bound to `i` alone, among those bound to it.
fn ends(bonds: &Bonds, i: usize, number: u8) -> usize {
    bonds
        .of(i)
        .filter(|&j| bonds.numbers[j] == number && bonds.of(j).len() == 1)
        .count()
}

fn oxygen(bonds: &Bonds, i: usize) -> Nature {
    let mut bound = bonds.of(i);
    let acceptor = Nature {
        acceptor: true,
        ..Nature::default()
    };
    let (count, Some(to)) = (bound.len(), bound.next()) else {
        return Nature {
            donor: true,
            ..acceptor
        };
    };
    if count > 1 {
        return acceptor;
    }
    let ends = ends(bonds, to, 8) as f32;
    let charge = match bonds.numbers[to] {
        6 if ends == 2.0 => -0.5,
        6 => 0.0,
        15 => -(ends - 1.0).min(2.0) / ends,
        16 if ends > 2.0 => -(ends - 2.0) / ends,
        _ => 0.0,
    };
    let hydroxyl = bonds.numbers[to] == 6 && charge == 0.0 && bonds.length(i, to) >= CARBONYL;
    Nature {
        charge,
        donor: hydroxyl,
        acceptor: true,
    }
}

fn nitrogen(bonds: &Bonds, i: usize) -> Nature {
    let bound = bonds.of(i);
    let count = bound.len();
    if bonds.ring(i) > 0 {
        let (donor, acceptor) = match count {
            2 => in_ring(bonds, i),
            _ => (false, false),
        };
        return Nature {
            charge: 0.0,
            donor,
            acceptor,
        };
    }
    let shared: f32 = bound.clone().map(|c| share(bonds, c)).fold(0.0, f32::max);
    if shared > 0.0 {
        return Nature {
            charge: shared,
            donor: count < 3,
            acceptor: false,
        };
    }
    // The bond to a carbonyl is an amide's, however short a file has it.
    let free = bound.clone().filter(|&c| !is_carbonyl(bonds, c));
    let lengths = free.map(|c| bonds.length(i, c));
    let shortest = lengths.fold(f64::INFINITY, f64::min);
    let longest_double = if count == 1 { NITRILE } else { IMINE };
    if count < 3 && shortest < longest_double {
        return Nature {
            acceptor: true,
            ..Nature::default()
        };
    }
    let flat = |c: usize| bonds.ring(c) > 0 || bonds.is_flat(c);
    let single = |c: usize| bonds.numbers[c] == 6 && !flat(c);
    let amine = bound.clone().all(single) && !(count == 3 && bonds.is_flat(i));
    Nature {
        charge: f32::from(u8::from(amine)),
        donor: count < if amine { 4 } else { 3 },
        acceptor: false,
    }
}

fn is_carbonyl(bonds: &Bonds, c: usize) -> bool {
    bonds.of(c).any(|j| {
        let end = bonds.numbers[j] == 8 && bonds.of(j).len() == 1;
        end && bonds.length(c, j) < CARBONYL
    })
}

/// Whether a nitrogen of two bonds in an aromatic ring gives and takes hydrogen bonds.
fn in_ring(bonds: &Bonds, i: usize) -> (bool, bool) {
    if bonds.ring(i) == 6 {
        return (false, true);
    }
    let near = bonds.of(i).flat_map(|j| bonds.of(j).chain([j]));
    let own = near.filter(|&j| j != i && bonds.ring(j) == 5);
    let (mut like, mut other) = (false, false);
    for j in own {
        match (bonds.numbers[j], bonds.of(j).len()) {
            (7, 2) => like = true,
            (7 | 8 | 16, _) => other = true,
            _ => {}
        }
    }
    (!other, like || other)
}

/// The charge of each nitrogen of a guanidinium or amidinium whose carbon is `c`.
fn share(bonds: &Bonds, c: usize) -> f32 {
    if bonds.numbers[c] != 6 || bonds.ring(c) > 0 || !bonds.is_flat(c) || bonds.of(c).len() != 3 {
        return 0.0;
    }
    let nitrogens = bonds.of(c).filter(|&j| bonds.numbers[j] == 7).count();
    match (nitrogens, ends(bonds, c, 7)) {
        (3, _) => 1.0 / 3.0,
        (2, 2) if ends(bonds, c, 8) == 0 => 0.5,
        _ => 0.0,
    }
}
