//! Molecules in motion, easily changed.

#![allow(dead_code)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A graph and its coordinates, easily changed.
#[derive(Clone)]
pub struct Molecule {
    pub edges: Vec<(u32, u32)>,
    /// `[T][N]`
    pub frames: Vec<Vec<[f64; 3]>>,
}

/// A bonded chain with some cross links, moving about a helix.
pub fn molecule(nodes: usize, frames: usize, seed: u64) -> Molecule {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut edges: Vec<(u32, u32)> = (1..nodes as u32).map(|i| (i - 1, i)).collect();
    edges.extend((0..nodes as u32 - 7).step_by(5).map(|i| (i, i + 7)));
    let mut points: Vec<[f64; 3]> = (0..nodes)
        .map(|i| {
            let a = i as f64 * 0.6;
            [0.5 * a.cos(), 0.4 * a.sin(), 0.08 * i as f64]
        })
        .collect();
    let frames = (0..frames)
        .map(|_| {
            for x in points.iter_mut().flatten() {
                *x += 0.03 * (2.0 * rng.random::<f64>() - 1.0);
            }
            points.clone()
        })
        .collect();
    Molecule { edges, frames }
}

/// A random order of the nodes: `new[i]` is the new number of node i.
pub fn order(nodes: usize) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(77);
    let mut new: Vec<usize> = (0..nodes).collect();
    for i in (1..nodes).rev() {
        new.swap(i, rng.random_range(0..=i));
    }
    new
}

impl Molecule {
    /// The first `d` coordinates, `[N, T, d]`.
    pub fn features(&self, d: usize) -> Vec<f32> {
        let nodes = 0..self.frames[0].len();
        nodes
            .flat_map(|n| self.frames.iter().flat_map(move |f| &f[n][..d]))
            .map(|x| *x as f32)
            .collect()
    }

    /// With coordinates changed by `f`, which is given the frame.
    pub fn map(&self, f: impl Fn(usize, [f64; 3]) -> [f64; 3]) -> Self {
        let frames = self.frames.iter().enumerate();
        Self {
            edges: self.edges.clone(),
            frames: frames
                .map(|(t, points)| points.iter().map(|p| f(t, *p)).collect())
                .collect(),
        }
    }

    /// With frame `t` repeated `times(t)` times.
    pub fn repeated(&self, times: impl Fn(usize) -> usize) -> Self {
        let frames = self.frames.iter().enumerate();
        Self {
            edges: self.edges.clone(),
            frames: frames
                .flat_map(|(t, f)| std::iter::repeat_n(f.clone(), times(t)))
                .collect(),
        }
    }

    /// With the nodes in a new order; edges go from where they went, or up.
    pub fn permuted(&self, new: &[usize], keep_direction: bool) -> Self {
        let edge = |&(a, b): &(u32, u32)| {
            let (a, b) = (new[a as usize] as u32, new[b as usize] as u32);
            if keep_direction || a < b {
                (a, b)
            } else {
                (b, a)
            }
        };
        let frame = |points: &Vec<[f64; 3]>| {
            let mut out = points.clone();
            for (i, p) in points.iter().enumerate() {
                out[new[i]] = *p;
            }
            out
        };
        Self {
            edges: self.edges.iter().map(edge).collect(),
            frames: self.frames.iter().map(frame).collect(),
        }
    }
}
