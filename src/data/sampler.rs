//! The order in which samples are seen: a keyed permutation computed per index.
//!
//! It needs no memory, whatever the number of samples, and does not know how many ranks read
//! it.

/// A pseudo-random permutation of `0..len`: a Feistel network on the smallest even number of
/// bits that holds `len`, walked along its cycle until it lands below `len` (Black and Rogaway
/// 2002, "Ciphers with arbitrary finite domains").
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    len: u64,
    key: u64,
    half_bits: u32,
}

const ROUNDS: u64 = 8;

impl Permutation {
    /// The permutation of `0..len` that `key` chooses.
    pub fn new(len: u64, key: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self {
            len,
            key,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// Where index `i < len` goes.
    pub fn at(&self, i: u64) -> u64 {
        debug_assert!(i < self.len);
        let mut x = i;
        loop {
            x = self.encrypt(x);
            if x < self.len {
                return x;
            }
        }
    }

    fn encrypt(&self, x: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (x >> self.half_bits, x & mask);
        for round in 0..ROUNDS {
            let mixed = mix(right ^ mix(self.key.wrapping_add(round)));
            (left, right) = (right, left ^ (mixed & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_once() {
        for len in [1, 2, 3, 4, 5, 16, 17, 1000, 4096, 4097] {
            let p = Permutation::new(len, 12_345);
            let mut seen: Vec<u64> = (0..len).map(|i| p.at(i)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn works_at_the_largest_sizes() {
        for len in [100_000_000_000, u64::MAX] {
            let p = Permutation::new(len, 3);
            assert!((len - 1000..len).all(|i| p.at(i) < len));
        }
    }

    /// Place 0 is taken by each of 10 values about equally often over 10,000 keys (chi-squared
    /// with 9 degrees of freedom below its 0.9999 quantile), and so are pairs of places.
    #[test]
    fn keys_shuffle_fairly() {
        let (mut first, mut pairs) = ([0u32; 10], [0u32; 100]);
        for key in 0..10_000 {
            let p = Permutation::new(10, key);
            first[p.at(0) as usize] += 1;
            pairs[(p.at(3) * 10 + p.at(4)) as usize] += 1;
        }
        let chi = |counts: &[u32], expected: f64| -> f64 {
            let term = |&c: &u32| (f64::from(c) - expected).powi(2) / expected;
            counts.iter().filter(|c| **c > 0).map(term).sum()
        };
        assert!(chi(&first, 1000.0) < 33.7, "{first:?}");
        assert_eq!(pairs.iter().filter(|c| **c > 0).count(), 90);
        assert!(chi(&pairs, 10_000.0 / 90.0) < 150.0);
    }
}
