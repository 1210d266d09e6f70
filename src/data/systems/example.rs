//! Systems to try the program with: small molecules in a potential that can be written down.
//!
//! Nothing is measured here and nobody's data are copied: geometries are drawn from a seed, energies
//! and forces are those of a sum over all pairs of atoms of Morse's potential (Phys. Rev. 34, 57,
//! 1929),
//!
//! ```text
//! E = sum over i < j of D (1 - exp(-a (r_ij - r0)))^2 - D
//! ```
//!
//! with `r0` the sum of the covalent radii ([`crate::elements::covalent_radius`]), `a` = 1.6 / Å and
//! `D` the geometric mean of the elements' own: 1 eV for H, 3 for C, 4 for O.

use super::{Sample, Value};
use crate::data::system::{Point, System, add, dot, sub};
use crate::elements::{covalent_radius, symbol};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Elements and their depths in eV.
const DEPTHS: [(u8, f64); 3] = [(1, 1.0), (6, 3.0), (8, 4.0)];
/// Per Å.
const STEEPNESS: f64 = 1.6;
/// Molecules, and frames of each.
const MOLECULES: [&[u8]; 6] = [
    &[8, 1, 1],
    &[6, 8, 8],
    &[6, 1, 1, 1, 1],
    &[6, 8, 1, 1],
    &[6, 6, 8, 1, 1],
    &[6, 8, 8, 1, 1, 6],
];
const FRAMES: usize = 60;
/// Å: how far atoms stray from where they are at rest.
const SPREAD: f64 = 0.08;

/// The example: frames of six molecules in their order.
pub fn samples(seed: u64) -> Vec<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut samples = Vec::new();
    for numbers in MOLECULES {
        let rest = at_rest(numbers, &mut rng);
        let name: String = numbers.iter().filter_map(|&z| symbol(z)).collect();
        for frame in 0..FRAMES {
            // Two uniform numbers: a spread without far outliers.
            let mut step = || SPREAD * (rng.random_range(-1.0..1.0) + rng.random_range(-1.0..1.0));
            let positions: Vec<Point> = rest.iter().map(|p| p.map(|x| x + step())).collect();
            let (energy, forces) = morse(numbers, &positions);
            samples.push(Sample {
                id: format!("{name}:{frame}"),
                group: name.clone(),
                system: System {
                    numbers: numbers.to_vec(),
                    positions,
                    ..System::default()
                },
                values: vec![Value::new("energy", "eV", energy)],
                forces: Some(forces),
                ..Sample::default()
            });
        }
    }
    samples
}

/// Energy in eV and forces in eV/Å.
pub fn morse(numbers: &[u8], positions: &[Point]) -> (f64, Vec<Point>) {
    let depth = |z: u8| {
        DEPTHS
            .iter()
            .find(|(own, _)| *own == z)
            .map_or(1.0, |d| d.1)
    };
    let mut energy = 0.0;
    let mut forces = vec![[0.0; 3]; numbers.len()];
    for i in 0..numbers.len() {
        for j in 0..i {
            let [zi, zj] = [numbers[i], numbers[j]];
            let d = (depth(zi) * depth(zj)).sqrt();
            let way = sub(positions[i], positions[j]);
            let r = dot(way, way).sqrt();
            let decay = (-STEEPNESS * (r - covalent_radius(zi) - covalent_radius(zj))).exp();
            energy += d * (1.0 - decay).powi(2) - d;
            let slope = 2.0 * d * (1.0 - decay) * STEEPNESS * decay;
            let force = way.map(|x| -slope * x / r);
            forces[i] = add(forces[i], force);
            forces[j] = sub(forces[j], force);
        }
    }
    (energy, forces)
}

/// A molecule whose forces are small: from a random start downhill.
fn at_rest(numbers: &[u8], rng: &mut ChaCha8Rng) -> Vec<Point> {
    let mut place = || std::array::from_fn(|_| rng.random_range(-1.5..1.5));
    let mut positions: Vec<Point> = numbers.iter().map(|_| place()).collect();
    for _ in 0..5000 {
        let (_, forces) = morse(numbers, &positions);
        for (p, f) in positions.iter_mut().zip(&forces) {
            let length = dot(*f, *f).sqrt();
            // No step is longer than 0.05 Å.
            let step = 0.02f64.min(0.05 / length.max(1e-12));
            *p = add(*p, f.map(|x| step * x));
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::systems::check;

    #[test]
    fn forces_are_slopes_and_molecules_are_whole() {
        let samples = samples(1);
        assert_eq!(samples.len(), MOLECULES.len() * FRAMES);
        assert_eq!(samples, super::samples(1));
        for sample in samples.iter().step_by(37) {
            check(sample).unwrap();
            let (numbers, positions) = (&sample.system.numbers, &sample.system.positions);
            let forces = sample.forces.as_ref().unwrap();
            for (atom, k) in [(0, 0), (1, 2), (2, 1)] {
                let energy = |by: f64| {
                    let mut moved = positions.clone();
                    moved[atom][k] += by;
                    morse(numbers, &moved).0
                };
                let slope = (energy(1e-5) - energy(-1e-5)) / 2e-5;
                assert!((forces[atom][k] + slope).abs() < 1e-6 * (1.0 + slope.abs()));
            }
            let net = forces.iter().fold([0.0; 3], |sum, f| add(sum, *f));
            assert!(dot(net, net) < 1e-20);
            assert!(
                sample.values[0].value < 0.0,
                "{} has fallen apart",
                sample.id
            );
        }
    }
}
