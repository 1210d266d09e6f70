//! The permutation by which NumPy's `default_rng(seed).permutation(n)` shuffles, for splits as
//! published: SeedSequence, PCG64 (XSL-RR of a 128-bit congruential generator; O'Neill 2014), and
//! integers by rejection.

/// PCG64 as NumPy seeds it.
struct Pcg {
    state: u128,
    increment: u128,
    /// The upper half of the last number, where only its lower half has been used.
    half: Option<u32>,
}

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

impl Pcg {
    fn new(seed: u64) -> Self {
        let words = seed_words(seed);
        let wide = |i: usize| (u128::from(words[i]) << 64) | u128::from(words[i + 1]);
        let mut pcg = Self {
            state: 0,
            increment: (wide(2) << 1) | 1,
            half: None,
        };
        pcg.step();
        pcg.state = pcg.state.wrapping_add(wide(0));
        pcg.step();
        pcg
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        let number = folded.rotate_right((self.state >> 122) as u32);
        self.half = Some((number >> 32) as u32);
        number as u32
    }

    /// A number of `0..=most`: numbers of as many bits are drawn until one is small enough.
    fn bounded(&mut self, most: u32) -> u32 {
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let number = self.next_u32() & mask;
            if number <= most {
                return number;
            }
        }
    }
}

/// NumPy's SeedSequence: four 64-bit words out of a seed.
fn seed_words(seed: u64) -> [u64; 4] {
    const SIZE: usize = 4;
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ (value >> 16)
    };
    let mix = |x: u32, y: u32| {
        let mixed = 0xca01_f9dd_u32
            .wrapping_mul(x)
            .wrapping_sub(0x4973_f715_u32.wrapping_mul(y));
        mixed ^ (mixed >> 16)
    };
    let entropy = [seed as u32, (seed >> 32) as u32, 0, 0];
    let mut pool = entropy.map(&mut hash);
    for from in 0..SIZE {
        for to in (0..SIZE).filter(|&to| to != from) {
            pool[to] = mix(pool[to], hash(pool[from]));
        }
    }
    let mut constant = 0x8b51_f9dd_u32;
    let mut words = [0u32; 2 * SIZE];
    for (i, word) in words.iter_mut().enumerate() {
        let value = pool[i % SIZE] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        *word = value ^ (value >> 16);
    }
    std::array::from_fn(|i| (u64::from(words[2 * i + 1]) << 32) | u64::from(words[2 * i]))
}

/// `numpy.random.default_rng(seed).permutation(len)`.
pub fn permutation(seed: u64, len: u32) -> Vec<u32> {
    let mut pcg = Pcg::new(seed);
    let mut order: Vec<u32> = (0..len).collect();
    for i in (1..len).rev() {
        order.swap(i as usize, pcg.bounded(i) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    // NumPy 2 gives these.
    const PUBLISHED: [u32; 12] = [8, 9, 2, 3, 6, 1, 5, 4, 11, 0, 7, 10];
    const LARGE: [u32; 5] = [3, 0, 2, 4, 1];
    const PLACES: [u32; 4] = [27978, 33942, 18864, 46586];

    #[test]
    fn it_is_the_one_of_numpy() {
        assert_eq!(permutation(1234567890, 12), PUBLISHED);
        assert_eq!(permutation(1 << 40, 5), LARGE);
        let all = permutation(1234567890, 60_000);
        assert_eq!([all[0], all[1], all[53_999], all[59_999]], PLACES);
    }
}
