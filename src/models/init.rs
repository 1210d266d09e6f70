//! Values that parameters start from.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// How an entry starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f32),
    /// Uniform on [-a, a].
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

impl Init {
    /// PyTorch's default for a layer with `from` inputs: uniform on +-1/sqrt(from).
    pub fn fan_in(from: usize) -> Self {
        Init::Uniform(1.0 / (from as f64).sqrt())
    }

    /// Glorot's (Xavier's) uniform initialisation with gain 1.
    pub fn glorot(from: usize, to: usize) -> Self {
        Init::Uniform((6.0 / (from + to) as f64).sqrt())
    }

    /// Draws values from stream `stream` of a counter-based generator keyed by `seed`.
    pub(super) fn draw(self, seed: u64, stream: u64, out: &mut [f32]) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let one = || match self {
            Init::Constant(c) => c,
            Init::Uniform(a) => ((2.0 * rng.random::<f64>() - 1.0) * a) as f32,
            Init::Normal(deviation) => {
                let z: f64 = StandardNormal.sample(&mut rng);
                (z * deviation) as f32
            }
        };
        out.fill_with(one);
    }
}
