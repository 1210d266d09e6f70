//! The norm of a gradient, with bits that no order of the sum changes.

use crate::comm::World;
use rayon::prelude::*;

/// Biased exponents of f32.
const EXPONENTS: usize = 256;
/// Numbers that one thread squares at a time: that many squares of 48 bits fit 64.
const CHUNK: usize = 1 << 16;
/// Sums side by side, so that an addition need not wait for the one before.
const LANES: usize = 4;

/// An exact sum of squares of finite f32 numbers.
///
/// A number is `m 2^e` with an integer `m` of 24 bits, so its square is an integer times `2^(2e)`.
/// Squares of one exponent are summed as integers: whoever adds which of them, and in whatever
/// order, the sums are the same. Only [`Squares::root`] rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squares {
    /// By biased exponent.
    sums: Vec<u128>,
}

impl Default for Squares {
    fn default() -> Self {
        Self {
            sums: vec![0; EXPONENTS],
        }
    }
}

impl Squares {
    /// Adds the squares of numbers, on all threads.
    pub fn add(&mut self, values: &[f32]) {
        let sums = values.par_chunks(CHUNK).map(squares_of_chunk);
        let sums = sums.reduce(|| vec![0; EXPONENTS], |a, b| added(a, &b));
        self.sums = added(std::mem::take(&mut self.sums), &sums);
    }

    /// The sum over all ranks, on every rank. Collective.
    pub fn over_ranks(self, world: &World) -> Self {
        let halves = |sum: &u128| [*sum as u64, (*sum >> 64) as u64];
        let own: Vec<u64> = self.sums.iter().flat_map(halves).collect();
        let mut all = Self::default();
        for words in world.all_gather(&own) {
            let (halves, _) = words.as_chunks::<2>();
            for (sum, &[low, high]) in all.sums.iter_mut().zip(halves) {
                *sum += u128::from(low) | u128::from(high) << 64;
            }
        }
        all
    }

    /// The root of the sum, to the rounding of f64.
    pub fn root(&self) -> f64 {
        let scaled = |(exponent, &sum): (usize, &u128)| {
            // Subnormal numbers have the exponent of the smallest normal ones.
            let power = 2 * exponent.max(1) as i32 - 300;
            sum as f64 * 2f64.powi(power)
        };
        self.sums.iter().enumerate().map(scaled).sum::<f64>().sqrt()
    }
}

fn added(mut to: Vec<u128>, other: &[u128]) -> Vec<u128> {
    to.iter_mut().zip(other).for_each(|(a, b)| *a += b);
    to
}

/// Sums of squares of at most [`CHUNK`] numbers.
fn squares_of_chunk(values: &[f32]) -> Vec<u128> {
    let mut lanes = [[0u64; EXPONENTS]; LANES];
    for values in values.chunks(LANES) {
        for (sums, value) in lanes.iter_mut().zip(values) {
            let bits = value.to_bits();
            let exponent = (bits >> 23 & 0xff) as usize;
            let leading = u32::from(exponent > 0) << 23;
            let mantissa = u64::from(bits & 0x7f_ffff | leading);
            sums[exponent] += mantissa * mantissa;
        }
    }
    let total = |e: usize| lanes.iter().map(|sums| u128::from(sums[e])).sum();
    (0..EXPONENTS).map(total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Squares {
        let mut squares = Squares::default();
        squares.add(values);
        squares
    }

    fn numbers(len: usize) -> Vec<f32> {
        // From 1e-12 to 1e12.
        let value = |i: usize| (i as f32 * 0.37).sin() * 10f32.powi((i * 7 % 25) as i32 - 12);
        (0..len).map(value).collect()
    }

    #[test]
    fn the_root_is_right() {
        assert_eq!(of(&[3.0, -4.0]).root(), 5.0);
        assert_eq!(of(&[]).root(), 0.0);
        let values = numbers(200_001);
        let plain: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
        assert!((of(&values).root() / plain.sqrt() - 1.0).abs() < 1e-12);
        // Where f32 is at its ends.
        for value in [1e-45f32, 1e-40, f32::MIN_POSITIVE, f32::MAX] {
            assert_eq!(of(&[value]).root(), f64::from(value));
            let four = f64::from(value) * 2.0;
            assert_eq!(of(&[value; 4]).root(), four);
        }
    }

    #[test]
    fn no_order_and_no_partition_changes_it() {
        let values = numbers(150_000);
        let whole = of(&values);
        let mut turned = values.clone();
        turned.reverse();
        assert_eq!(of(&turned), whole);
        for cut in [1, 4097, 70_001] {
            let mut parts = of(&values[..cut]);
            parts.add(&values[cut..]);
            assert_eq!(parts, whole);
            assert_eq!(parts.over_ranks(&World::alone()), whole);
        }
        let mut other = values;
        other[77] = f32::from_bits(other[77].to_bits() ^ 1);
        assert_ne!(of(&other), whole);
    }
}
