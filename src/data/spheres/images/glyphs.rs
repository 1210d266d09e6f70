//! Images to try the program with: ten glyphs drawn by strokes, each a little different.

use super::Images;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pixels along a side, as in MNIST.
const SIDE: usize = 28;

/// The strokes of each class: points that lines go through, in a square of side 2 about the centre, x
/// to the right and y down.
const GLYPHS: [&[&[(f64, f64)]]; 10] = [
    &[&[
        (0.0, -0.9),
        (0.5, -0.5),
        (0.5, 0.5),
        (0.0, 0.9),
        (-0.5, 0.5),
        (-0.5, -0.5),
        (0.0, -0.9),
    ]],
    &[&[(-0.3, -0.6), (0.0, -0.9), (0.0, 0.9)]],
    &[&[
        (-0.5, -0.5),
        (0.0, -0.9),
        (0.5, -0.5),
        (-0.5, 0.9),
        (0.6, 0.9),
    ]],
    &[&[
        (-0.5, -0.8),
        (0.5, -0.8),
        (0.0, -0.1),
        (0.5, 0.4),
        (0.0, 0.9),
        (-0.5, 0.6),
    ]],
    &[&[(0.3, 0.9), (0.3, -0.9), (-0.5, 0.3), (0.6, 0.3)]],
    &[&[
        (0.5, -0.9),
        (-0.4, -0.9),
        (-0.5, -0.1),
        (0.2, -0.2),
        (0.5, 0.4),
        (0.1, 0.9),
        (-0.5, 0.8),
    ]],
    &[&[
        (0.3, -0.9),
        (-0.4, 0.0),
        (-0.4, 0.6),
        (0.0, 0.9),
        (0.4, 0.5),
        (0.0, 0.1),
        (-0.4, 0.5),
    ]],
    &[&[(-0.5, -0.9), (0.5, -0.9), (-0.1, 0.9)]],
    &[
        &[
            (0.0, 0.0),
            (-0.4, -0.5),
            (0.0, -0.9),
            (0.4, -0.5),
            (0.0, 0.0),
        ],
        &[(0.0, 0.0), (-0.5, 0.5), (0.0, 0.9), (0.5, 0.5), (0.0, 0.0)],
    ],
    &[&[
        (0.4, -0.5),
        (0.0, -0.1),
        (-0.4, -0.5),
        (0.0, -0.9),
        (0.4, -0.5),
        (0.3, 0.9),
    ]],
];

/// `count` images of all classes in turn; `seed` and the number of an image choose how it is drawn.
pub fn glyphs(count: usize, seed: u64) -> Images {
    let mut all = Images {
        rows: SIDE,
        columns: SIDE,
        ..Images::default()
    };
    for i in 0..count {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(i as u64).to_le_bytes());
        all.pixels
            .extend(draw(i % GLYPHS.len(), &mut ChaCha8Rng::from_seed(key)));
        all.ids.push(i.to_string());
        all.labels.push((i % GLYPHS.len()).to_string());
    }
    all
}

fn draw(class: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (turn, slant) = (rng.random_range(-0.2..0.2f64), rng.random_range(-0.3..0.3));
    let (wide, high) = (rng.random_range(7.0..9.5), rng.random_range(8.0..10.0));
    let pen = rng.random_range(1.0..1.7);
    let mut place = |&(x, y): &(f64, f64)| {
        let (x, y) = (
            x + rng.random_range(-0.08..0.08),
            y + rng.random_range(-0.08..0.08),
        );
        let (x, y) = ((x - slant * y) * wide, y * high);
        let middle = SIDE as f64 / 2.0;
        (
            x * turn.cos() - y * turn.sin() + middle,
            x * turn.sin() + y * turn.cos() + middle,
        )
    };
    let strokes: Vec<Vec<(f64, f64)>> = GLYPHS[class]
        .iter()
        .map(|stroke| stroke.iter().map(&mut place).collect())
        .collect();
    let ink = |pixel: usize| {
        let (x, y) = ((pixel % SIDE) as f64 + 0.5, (pixel / SIDE) as f64 + 0.5);
        let lines = strokes.iter().flat_map(|stroke| stroke.windows(2));
        let nearest = lines
            .map(|l| distance((x, y), l[0], l[1]))
            .fold(f64::INFINITY, f64::min);
        (255.0 * (pen + 0.5 - nearest).clamp(0.0, 1.0)) as u8
    };
    (0..SIDE * SIDE).map(ink).collect()
}

/// From a point to a piece of a line.
fn distance(p: (f64, f64), a: (f64, f64), b: (f64, f64)) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let along = ((p.0 - a.0) * dx + (p.1 - a.1) * dy) / (dx * dx + dy * dy).max(1e-12);
    let t = along.clamp(0.0, 1.0);
    (p.0 - a.0 - t * dx).hypot(p.1 - a.1 - t * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glyphs_of_one_class_are_alike_and_none_is_blank() {
        let images = glyphs(200, 3);
        assert_eq!(images, glyphs(200, 3));
        assert_ne!(images.pixels, glyphs(200, 4).pixels);
        let apart = |a: usize, b: usize| {
            let pairs = images.image(a).iter().zip(images.image(b));
            pairs
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let mean = |same: bool| {
            let pairs = (0..200).flat_map(|a| (0..a).map(move |b| (a, b)));
            let of: Vec<f64> = pairs
                .filter(|(a, b)| (a % 10 == b % 10) == same)
                .map(|(a, b)| apart(a, b))
                .collect();
            of.iter().sum::<f64>() / of.len() as f64
        };
        assert!(
            mean(true) < 0.8 * mean(false),
            "{} {}",
            mean(true),
            mean(false)
        );
        for i in 0..200 {
            let ink = images.image(i).iter().filter(|v| **v > 128).count();
            assert!((30..350).contains(&ink), "{i}: {ink}");
        }
    }
}
