//! Random rotations and shifts of signals, by their number alone.

use crate::so3::rotation::{Matrix, arvo};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The longest random shift.
pub const FARTHEST: f64 = 0.1;

/// The rotation that a group of signals shares: Arvo's method on three numbers of [0, 1) that `seed`,
/// `part` (which signals) and the group's number choose.
pub fn rotation_of(seed: u64, part: u64, group: u64) -> Matrix {
    /// Purpose tag among counter-based random numbers.
    const ROTATION: u64 = 0x7370_6865_7265;
    let mut rng = generator([seed, part, group, ROTATION]);
    arvo(std::array::from_fn(|_| rng.random_range(0.0..1.0)))
}

/// A random direction times a random length below [`FARTHEST`], chosen as by [`rotation_of`].
pub fn shift_of(seed: u64, part: u64, group: u64) -> [f64; 3] {
    /// Purpose tag among counter-based random numbers.
    const SHIFT: u64 = 0x7368_6966_7473;
    let mut rng = generator([seed, part, group, SHIFT]);
    let rotation = arvo(std::array::from_fn(|_| rng.random_range(0.0..1.0)));
    let length = rng.random_range(0.0..FARTHEST);
    rotation.map(|row| length * row[2])
}

/// Counter-based random numbers.
fn generator(words: [u64; 4]) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
