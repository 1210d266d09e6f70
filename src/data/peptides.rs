//! Peptides whose class is in their motion alone: trajectories to try a method on.
//!
//! A helix of alanines with two hinges, the psi angles of two residues. They swing out of phase by a
//! quarter of a turn, so the pair goes round a circle: in one class forwards, in the other backwards.
//! Start, rate and wandering of the phase are drawn alike for both, all other angles tremble
//! (an Ornstein-Uhlenbeck process), and every frame tumbles as it likes. No single frame tells the
//! class, nor do the first and the last together; the order of the frames does. Bond lengths and
//! angles are those of Engh and Huber (Acta Cryst. A47, 392, 1991), rounded.

use super::system::{Residue, System};
use super::trajectory::{Graph, Header, Item, Source};
use crate::so3::{rigid, rotation};
use crate::{Error, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};

/// What is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Alanines in the chain, at least [`SHORTEST`].
    pub residues: usize,
    /// Trajectories in all; classes take turns.
    pub trajectories: usize,
    pub frames: usize,
    /// Amplitude of the two hinges in degrees.
    pub swing: f64,
    /// Standard deviation of the trembling of every angle, in degrees.
    pub tremble: f64,
    /// Range of turns from the first frame to the last, drawn for each trajectory.
    pub turns: [f64; 2],
    pub seed: u64,
}

/// Class names.
pub const CLASSES: [&str; 2] = ["forwards", "backwards"];

/// Residues of the shortest chain with two hinges apart.
pub const SHORTEST: usize = 6;

/// Phi and psi of a helix, in degrees.
const HELIX: [f64; 2] = [-60.0, -45.0];
/// Frames in which trembling forgets itself.
const MEMORY: f64 = 4.0;
/// Standard deviation of the phase's wandering per frame, in radians.
const WANDERING: f64 = 0.1;
/// Time between frames in ps, for the record.
const TIME_STEP: f64 = 10.0;

impl Settings {
    /// # Errors
    /// The first setting that makes no sense, by its command-line name.
    pub fn validate(&self) -> Result<()> {
        let refuse = |option: &str, what: &str| Err(Error::input(format!("--{option}: {what}")));
        let angle = |v: f64| (0.0..=90.0).contains(&v);
        let [low, high] = self.turns;
        if self.residues < SHORTEST {
            return refuse("residues", &format!("at least {SHORTEST} are needed"));
        }
        if self.trajectories < 2 {
            return refuse("trajectories", "at least 2 are needed, one of each class");
        }
        if self.frames < 2 {
            return refuse("frames", "at least 2 are needed");
        }
        if !angle(self.swing) {
            return refuse("swing", "0 to 90 degrees are needed");
        }
        if !angle(self.tremble) {
            return refuse("tremble", "0 to 90 degrees are needed");
        }
        if !(low >= 0.0 && low <= high && high.is_finite()) {
            return refuse(
                "turns",
                "must be two numbers from 0 on, the smaller one first",
            );
        }
        Ok(())
    }
}

/// The peptides as a source of trajectories. Trajectory k depends on the settings and k alone.
pub struct Peptides {
    settings: Settings,
    items: Vec<Item>,
}

impl Peptides {
    /// # Errors
    /// As [`Settings::validate`].
    pub fn new(settings: Settings) -> Result<Self> {
        settings.validate()?;
        let item = |k: usize| Item {
            name: format!("peptide-{k:06}"),
            label: Some(CLASSES[k % 2].into()),
            group: format!("peptide-{k:06}"),
            split: None,
        };
        Ok(Self {
            items: (0..settings.trajectories).map(item).collect(),
            settings,
        })
    }

    /// Psi and phi of every residue in every frame, in radians: `[frames][residues][2]`.
    fn angles(&self, index: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<[f64; 2]>> {
        let s = &self.settings;
        let normal = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };
        let sign = [1.0, -1.0][index % 2];
        let turns = s.turns[0] + (s.turns[1] - s.turns[0]) * rng.random::<f64>();
        let rate = sign * TAU * turns / (s.frames - 1) as f64;
        let mut phase = TAU * rng.random::<f64>();
        let (tremble, kept) = (s.tremble.to_radians(), (-1.0 / MEMORY).exp());
        let fresh = (1.0 - kept * kept).sqrt();
        let mut noise: Vec<[f64; 2]> = (0..s.residues)
            .map(|_| [0; 2].map(|_| tremble * normal(rng)))
            .collect();
        let hinges = [s.residues / 3, 2 * s.residues / 3];
        let mut frames = Vec::with_capacity(s.frames);
        for _ in 0..s.frames {
            let swing = s.swing.to_radians();
            let mut frame: Vec<[f64; 2]> = noise
                .iter()
                .map(|n| [0, 1].map(|k| HELIX[k].to_radians() + n[k]))
                .collect();
            frame[hinges[0]][1] += swing * phase.cos();
            frame[hinges[1]][1] += swing * phase.sin();
            frames.push(frame);
            phase += rate + WANDERING * normal(rng);
            for x in noise.iter_mut().flatten() {
                *x = kept * *x + fresh * tremble * normal(rng);
            }
        }
        frames
    }
}

impl Source for Peptides {
    fn items(&self) -> &[Item] {
        &self.items
    }

    fn cost(&self, _index: usize) -> u64 {
        1
    }

    fn produce(&self, index: usize, frame: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<Header> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed);
        rng.set_stream(index as u64);
        for angles in self.angles(index, &mut rng) {
            let turn = rotation::random(rng.random());
            let shift: [f64; 3] = std::array::from_fn(|_| rng.random_range(-20.0..20.0));
            let atoms = chain(&angles).into_iter();
            let moved = atoms.flat_map(|p| {
                let p = rigid::apply(&turn, p);
                [0, 1, 2].map(|k| (p[k] + shift[k]) as f32)
            });
            frame(&moved.collect::<Vec<f32>>())?;
        }
        Ok(Header {
            graph: graph(self.settings.residues),
            time_step: Some(TIME_STEP),
        })
    }
}

/// Names and atomic numbers of the atoms of a residue.
const ALANINE: [(&str, u8); 5] = [("N", 7), ("CA", 6), ("C", 6), ("O", 8), ("CB", 6)];

fn graph(residues: usize) -> Graph {
    let mut edges = Vec::new();
    let mut atoms = System::default();
    for r in 0..residues as u32 {
        let n = 5 * r;
        if r > 0 {
            edges.push([n - 3, n]);
        }
        edges.extend([[n, n + 1], [n + 1, n + 2], [n + 1, n + 4], [n + 2, n + 3]]);
        for (name, number) in ALANINE {
            atoms.names.push(name.into());
            atoms.numbers.push(number);
            atoms.residue_of.push(r);
        }
        atoms.residues.push(Residue {
            chain: "A".into(),
            number: r as i32 + 1,
            name: "ALA".into(),
            ..Residue::default()
        });
    }
    Graph {
        nodes: atoms.len(),
        edges,
        atoms: Some(atoms),
    }
}

/// The atoms of a chain with these phi and psi angles, in Å.
fn chain(angles: &[[f64; 2]]) -> Vec<[f64; 3]> {
    let degrees = f64::to_radians;
    let mut n = [0.0, 0.0, 0.0];
    let mut ca = [1.458, 0.0, 0.0];
    let bend = degrees(111.0);
    let mut c = [1.458 - 1.525 * bend.cos(), 1.525 * bend.sin(), 0.0];
    let mut atoms = Vec::with_capacity(5 * angles.len());
    for (i, &[_, psi]) in angles.iter().enumerate() {
        let o = place([n, ca, c], 1.231, degrees(120.1), psi + PI);
        let cb = place([c, n, ca], 1.530, degrees(110.5), degrees(-122.6));
        atoms.extend([n, ca, c, o, cb]);
        if let Some(&[phi, _]) = angles.get(i + 1) {
            let next_n = place([n, ca, c], 1.329, degrees(117.2), psi);
            let next_ca = place([ca, c, next_n], 1.458, degrees(121.7), PI);
            c = place([c, next_n, next_ca], 1.525, bend, phi);
            (n, ca) = (next_n, next_ca);
        }
    }
    atoms
}

/// The atom bound to the last of three, at a distance in Å, an angle and a dihedral in radians.
fn place([a, b, c]: [[f64; 3]; 3], distance: f64, angle: f64, dihedral: f64) -> [f64; 3] {
    use super::system::{dot, sub};
    let unit = |v: [f64; 3]| v.map(|x| x / dot(v, v).sqrt());
    let cross = |u: [f64; 3], v: [f64; 3]| {
        [
            u[1] * v[2] - u[2] * v[1],
            u[2] * v[0] - u[0] * v[2],
            u[0] * v[1] - u[1] * v[0],
        ]
    };
    let along = unit(sub(c, b));
    let normal = unit(cross(sub(b, a), along));
    let third = cross(normal, along);
    let (x, y, z) = (
        -distance * angle.cos(),
        distance * angle.sin() * dihedral.cos(),
        distance * angle.sin() * dihedral.sin(),
    );
    std::array::from_fn(|k| c[k] + x * along[k] + y * third[k] + z * normal[k])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::system::{dot, sub};

    fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
        dot(sub(a, b), sub(a, b)).sqrt()
    }

    fn dihedral(p: [[f64; 3]; 4]) -> f64 {
        let [a, b, c] = [sub(p[1], p[0]), sub(p[2], p[1]), sub(p[3], p[2])];
        let cross = |u: [f64; 3], v: [f64; 3]| -> [f64; 3] {
            std::array::from_fn(|k| {
                u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3]
            })
        };
        let (m, n) = (cross(a, b), cross(b, c));
        let along = b.map(|x| x / dot(b, b).sqrt());
        dot(cross(m, n), along).atan2(dot(m, n))
    }

    #[test]
    fn chains_have_the_angles_that_they_are_built_of() {
        let angles: Vec<[f64; 2]> = (0..6)
            .map(|i| [-1.0 - 0.1 * f64::from(i), -0.7 + 0.2 * f64::from(i)])
            .collect();
        let atoms = chain(&angles);
        for i in 0..5 {
            let [n, ca, c] = [5 * i, 5 * i + 1, 5 * i + 2].map(|k| atoms[k]);
            let [next_n, next_ca, next_c] = [5 * i + 5, 5 * i + 6, 5 * i + 7].map(|k| atoms[k]);
            assert!((dihedral([n, ca, c, next_n]) - angles[i][1]).abs() < 1e-9);
            assert!((dihedral([c, next_n, next_ca, next_c]) - angles[i + 1][0]).abs() < 1e-9);
            assert!((distance(c, next_n) - 1.329).abs() < 1e-9);
            assert!((distance(ca, next_ca) - 3.8).abs() < 0.05, "trans peptides");
            // L-amino acids: N, C and CB turn one way about CA.
            let [u, v, w] = [n, c, atoms[5 * i + 4]].map(|p| sub(p, ca));
            let volume = (0..3)
                .map(|k| u[k] * (v[(k + 1) % 3] * w[(k + 2) % 3] - v[(k + 2) % 3] * w[(k + 1) % 3]))
                .sum::<f64>();
            assert!(volume > 1.0, "{volume}");
        }
        // A helix: i and i + 4 are 6 Å apart.
        let helix = chain(&[HELIX.map(f64::to_radians); 8]);
        let turn = distance(helix[1], helix[21]);
        assert!((5.8..6.6).contains(&turn), "{turn}");
    }

    #[test]
    fn the_hinges_go_round_by_class() {
        let settings = Settings {
            residues: 9,
            trajectories: 20,
            frames: 60,
            swing: 25.0,
            tremble: 4.0,
            turns: [1.0, 4.0],
            seed: 3,
        };
        let peptides = Peptides::new(settings).unwrap();
        for k in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(k as u64);
            let angles = peptides.angles(k, &mut rng);
            let path: Vec<[f64; 2]> = angles.iter().map(|f| [f[3][1], f[6][1]]).collect();
            let mean = [0, 1].map(|i| path.iter().map(|p| p[i]).sum::<f64>() / 60.0);
            let area: f64 = path
                .windows(2)
                .map(|w| {
                    let [a, b] = [0, 1].map(|j| [w[j][0] - mean[0], w[j][1] - mean[1]]);
                    0.5 * (a[0] * b[1] - a[1] * b[0])
                })
                .sum();
            assert!(area * [1.0, -1.0][k % 2] > 0.2, "{k}: {area}");
        }
    }
}
