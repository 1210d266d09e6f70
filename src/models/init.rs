//! Values that parameters start from.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// How an entry starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    Constant(f32),
    /// Uniform on [-a, a].
    Uniform(f64),
    /// Uniform between these numbers.
    Between([f64; 2]),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// 1, 2, 3, .. times this number.
    Multiples(f32),
    /// Rows or columns that are orthogonal to each other.
    Orthogonal(Orthogonal),
    /// Parts one after another: their lengths, and how each starts.
    Parts(Arc<[(usize, Init)]>),
}

/// A random matrix whose rows are orthogonal to each other, or its columns where there are fewer,
/// scaled to a variance of its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orthogonal {
    pub rows: usize,
    pub columns: usize,
    pub variance: f64,
}

impl Orthogonal {
    /// Fills `out`, row by row, with normal numbers that are made orthogonal one vector after
    /// another.
    fn draw(self, rng: &mut ChaCha8Rng, out: &mut [f32]) {
        let (short, long) = (self.rows.min(self.columns), self.rows.max(self.columns));
        let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(short);
        while vectors.len() < short {
            let mut v: Vec<f64> = (0..long).map(|_| StandardNormal.sample(rng)).collect();
            // Twice, against rounding.
            for u in vectors.iter().chain(&vectors) {
                let along: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            v.iter_mut().for_each(|x| *x /= norm);
            vectors.push(v);
        }
        // The elements of a unit vector of length n have variance 1/n.
        let scale = (self.variance * long as f64).sqrt();
        for (i, out) in out.iter_mut().enumerate() {
            let (row, column) = (i / self.columns, i % self.columns);
            *out = (scale
                * match self.rows <= self.columns {
                    true => vectors[row][column],
                    false => vectors[column][row],
                }) as f32;
        }
    }
}

impl Init {
    /// Orthogonal with the variance of Glorot's initialisation, `2 / (from + to)`, as in DimeNet++.
    pub fn glorot_orthogonal(from: usize, to: usize) -> Self {
        Init::Orthogonal(Orthogonal {
            rows: to,
            columns: from,
            variance: 2.0 / (from + to) as f64,
        })
    }

    /// Orthogonal with variance `1 / from`, as in GemNet.
    pub fn he_orthogonal(from: usize, to: usize) -> Self {
        Init::Orthogonal(Orthogonal {
            rows: to,
            columns: from,
            variance: 1.0 / from as f64,
        })
    }

    /// PyTorch's default for a layer with `from` inputs: uniform on +-1/sqrt(from).
    pub fn fan_in(from: usize) -> Self {
        Init::Uniform(1.0 / (from as f64).sqrt())
    }

    /// Glorot's (Xavier's) uniform initialisation with gain 1.
    pub fn glorot(from: usize, to: usize) -> Self {
        Init::Uniform((6.0 / (from + to) as f64).sqrt())
    }

    /// Draws values from stream `stream` of a counter-based generator keyed by `seed`.
    pub(super) fn draw(&self, seed: u64, stream: u64, out: &mut [f32]) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        match self {
            Init::Multiples(c) => {
                let multiples = (1..).map(|n| n as f32 * c);
                out.iter_mut().zip(multiples).for_each(|(o, v)| *o = v);
            }
            Init::Orthogonal(shape) => shape.draw(&mut rng, out),
            Init::Parts(parts) => {
                let mut rest = out;
                for (len, init) in parts.iter() {
                    let (part, others) = rest.split_at_mut(*len);
                    init.fill(&mut rng, part);
                    rest = others;
                }
            }
            _ => self.fill(&mut rng, out),
        }
    }

    /// Draws independent numbers.
    fn fill(&self, rng: &mut ChaCha8Rng, out: &mut [f32]) {
        let one = || match *self {
            Init::Constant(c) => c,
            Init::Uniform(a) => ((2.0 * rng.random::<f64>() - 1.0) * a) as f32,
            Init::Between([a, b]) => (a + (b - a) * rng.random::<f64>()) as f32,
            Init::Normal(deviation) => {
                let z: f64 = StandardNormal.sample(rng);
                (z * deviation) as f32
            }
            Init::Multiples(_) | Init::Orthogonal(_) | Init::Parts(_) => {
                unreachable!("these are drawn as a whole")
            }
        };
        out.fill_with(one);
    }
}
