//! Bonds between heavy atoms by their distances, and what geometry tells of them.

use crate::data::neighbors::CellList;
use crate::data::system::{cross, dot, sub};
use crate::elements::{BEYOND_BONDS, is_metal, longest_bond};

/// Atoms of one place, in Å.
const COPIES: f64 = 0.6;
/// Height of an atom over its three neighbors' plane that still is flat, in Å; of sp3 carbon it is 0.5.
const FLAT: f64 = 0.25;
/// Angle at an atom of two neighbors from which on it is flat, between 109.5 and 120 degrees.
const WIDE: f64 = 115.0;
/// Farthest from the plane of its aromatic ring that an atom may be, in Å.
const PLANE: f64 = 0.15;
/// Longest bond of an aromatic ring without sulphur, in Å.
const CONJUGATED: f64 = 1.48;

/// Heavy atoms and their bonds. Metals have none: what they are coordinated by stays as it is.
pub struct Bonds<'a> {
    pub numbers: &'a [u8],
    positions: &'a [[f32; 3]],
    /// Bound atoms of each, ascending.
    near: Vec<Vec<u32>>,
    /// The size of the smallest aromatic ring, 0 without.
    ring: Vec<u8>,
}

impl<'a> Bonds<'a> {
    /// Every pair of atoms closer than their covalent radii allow is bound.
    pub fn new(numbers: &'a [u8], positions: &'a [[f32; 3]]) -> Self {
        let binds = |i: usize| numbers[i] > 1 && !is_metal(numbers[i]);
        let list = CellList::new(positions, None, BEYOND_BONDS);
        let mut found = Vec::new();
        let near = (0..numbers.len()).map(|i| {
            if !binds(i) {
                return Vec::new();
            }
            list.within(positions, i, &mut found);
            let others = found.iter().copied().filter(|&j| binds(j as usize));
            let bound = |&j: &u32| {
                let longest = longest_bond(numbers[i], numbers[j as usize]);
                (COPIES..longest).contains(&distance(positions, i, j as usize))
            };
            others.filter(bound).collect()
        });
        let mut bonds = Self {
            near: near.collect(),
            ring: vec![0; numbers.len()],
            numbers,
            positions,
        };
        bonds.find_rings();
        bonds
    }

    /// The atoms bound to one.
    pub fn of(&self, i: usize) -> impl ExactSizeIterator<Item = usize> + Clone + '_ {
        self.near[i].iter().map(|&j| j as usize)
    }

    /// Å.
    pub fn length(&self, i: usize, j: usize) -> f64 {
        distance(self.positions, i, j)
    }

    /// The size of the smallest aromatic ring that an atom is in, 0 without.
    pub fn ring(&self, i: usize) -> u8 {
        self.ring[i]
    }

    /// Whether the bonds of an atom lie in a plane, as those of sp2 atoms do.
    pub fn is_flat(&self, i: usize) -> bool {
        let to = |j: u32| self.vector(i, j as usize);
        match self.near[i][..] {
            [a, b] => {
                let (a, b) = (to(a), to(b));
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                cosine < WIDE.to_radians().cos()
            }
            [a, b, c] => {
                let [a, b, c] = [a, b, c].map(to);
                let normal = cross(sub(b, a), sub(c, a));
                dot(normal, a).abs() < FLAT * dot(normal, normal).sqrt()
            }
            _ => false,
        }
    }

    fn vector(&self, i: usize, j: usize) -> [f64; 3] {
        let [a, b] = [i, j].map(|k| self.positions[k].map(f64::from));
        sub(b, a)
    }

    /// Aromatic rings are flat, of five or six atoms C, N, O, S with three bonds at most, and short bonds.
    fn find_rings(&mut self) {
        for first in 0..self.near.len() {
            if self.may_be_in_ring(first) {
                self.extend_ring(&mut vec![first]);
            }
        }
    }

    fn may_be_in_ring(&self, i: usize) -> bool {
        matches!(self.numbers[i], 6..=8 | 16) && matches!(self.near[i].len(), 2 | 3)
    }

    /// Closes a path whose first atom is its least, or goes on from its last.
    fn extend_ring(&mut self, path: &mut Vec<usize>) {
        let (first, last) = (path[0], path[path.len() - 1]);
        if path.len() >= 5 && self.near[last].contains(&(first as u32)) {
            self.close_ring(path);
        }
        if path.len() == 6 {
            return;
        }
        for k in 0..self.near[last].len() {
            let next = self.near[last][k] as usize;
            if next > first && !path.contains(&next) && self.may_be_in_ring(next) {
                path.push(next);
                self.extend_ring(path);
                path.pop();
            }
        }
    }

    fn close_ring(&mut self, path: &[usize]) {
        if self.is_aromatic(path) {
            let size = path.len() as u8;
            for &i in path {
                self.ring[i] = match self.ring[i] {
                    0 => size,
                    other => other.min(size),
                };
            }
        }
    }

    fn is_aromatic(&self, path: &[usize]) -> bool {
        let steps = || path.iter().zip(path.iter().cycle().skip(1));
        let sulphur = |i: usize| self.numbers[i] == 16;
        let short =
            |(&i, &j): (&usize, &usize)| sulphur(i) || sulphur(j) || self.length(i, j) < CONJUGATED;
        if !steps().all(short) {
            return false;
        }
        let from = path[0];
        let at: Vec<[f64; 3]> = path.iter().map(|&i| self.vector(from, i)).collect();
        let n = at.len() as f64;
        let centre: [f64; 3] = std::array::from_fn(|k| at.iter().map(|r| r[k]).sum::<f64>() / n);
        let arms: Vec<[f64; 3]> = at.iter().map(|&r| sub(r, centre)).collect();
        let mut normal = [0.0; 3];
        for (&a, &b) in arms.iter().zip(arms.iter().cycle().skip(1)) {
            let turn = cross(a, b);
            (0..3).for_each(|k| normal[k] += turn[k]);
        }
        let length = dot(normal, normal).sqrt();
        arms.iter()
            .all(|&arm| dot(arm, normal).abs() < PLANE * length)
    }
}

fn distance(positions: &[[f32; 3]], i: usize, j: usize) -> f64 {
    let d = sub(positions[j].map(f64::from), positions[i].map(f64::from));
    dot(d, d).sqrt()
}
