//! Mutations of files: the same seed, reader and number give the same input.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers at the edges of types and of common sizes.
const NUMBERS: [i64; 18] = [
    0,
    1,
    -1,
    2,
    9,
    127,
    128,
    255,
    256,
    32_767,
    65_535,
    65_536,
    99_999,
    2_147_483_647,
    -2_147_483_648,
    4_294_967_295,
    i64::MAX,
    i64::MIN,
];

/// Texts that readers of numbers and names stumble over.
const TEXTS: [&str; 22] = [
    "nan", "inf", "-inf", "1e308", "1e-320", "-0", "+", "", " ", "\t", "\n", "\r\n", "\0",
    "\u{feff}", "é", "\u{2028}", "\"", "'", ";", ",", "#", "%",
];

/// Largest input, in bytes.
const LARGEST: usize = 1 << 16;

/// Makes inputs of whole files.
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static str],
    key: [u8; 32],
}

impl Mutator {
    pub fn new(
        corpus: Vec<Vec<u8>>,
        words: &'static [&'static str],
        seed: u64,
        name: &str,
    ) -> Self {
        assert!(!corpus.is_empty());
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let name = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
        key[8..24].copy_from_slice(&name.to_le_bytes());
        Self { corpus, words, key }
    }

    /// The first inputs are the whole files themselves.
    pub fn input(&self, number: u64) -> Vec<u8> {
        if let Some(whole) = self.corpus.get(number as usize) {
            return whole.clone();
        }
        let mut key = self.key;
        key[24..].copy_from_slice(&number.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        let mut bytes = self.corpus[rng.random_range(0..self.corpus.len())].clone();
        // Mostly few changes, at times many.
        let most = [1, 2, 4, 16, 64][rng.random_range(0..5)];
        for _ in 0..rng.random_range(1..=most) {
            self.mutate(&mut bytes, &mut rng);
            bytes.truncate(LARGEST);
        }
        bytes
    }

    fn mutate(&self, bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        let at = rng.random_range(0..=bytes.len());
        let length = [1, 4, 32, 512][rng.random_range(0..4)];
        let end = (at + rng.random_range(1..=length)).min(bytes.len());
        match rng.random_range(0..12) {
            0 => flip(bytes, at, rng),
            1 => set(bytes, at, &[rng.random()]),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                insert(bytes, at, &copy);
            }
            4 => insert(bytes, at, pick(&TEXTS, rng).as_bytes()),
            5 if !self.words.is_empty() => insert(bytes, at, pick(self.words, rng).as_bytes()),
            6 => bytes.truncate(at),
            7 => number(bytes, at, rng),
            8 => binary(bytes, at, rng),
            9 => self.splice(bytes, at, rng),
            10 => lines(bytes, rng),
            _ => {
                let text = TEXTS[rng.random_range(0..TEXTS.len())];
                set(bytes, at, text.as_bytes());
            }
        }
    }

    /// Goes on with another file from somewhere.
    fn splice(&self, bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
        let other = &self.corpus[rng.random_range(0..self.corpus.len())];
        bytes.truncate(at);
        bytes.extend(&other[rng.random_range(0..=other.len())..]);
    }
}

fn pick<'a>(texts: &[&'a str], rng: &mut ChaCha8Rng) -> &'a str {
    texts[rng.random_range(0..texts.len())]
}

fn flip(bytes: &mut [u8], at: usize, rng: &mut ChaCha8Rng) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.random_range(0..8);
    }
}

/// Writes over what is there, as far as the file goes.
fn set(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
        *byte = *new;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// Replaces the next number in the text.
fn number(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    let Some(start) = bytes[at..]
        .iter()
        .position(u8::is_ascii_digit)
        .map(|i| at + i)
    else {
        return;
    };
    let rest = &bytes[start..];
    let end = start
        + rest
            .iter()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(rest.len());
    let mut new = NUMBERS[rng.random_range(0..NUMBERS.len())].to_string();
    if rng.random() {
        // Of the same width: columns stay where they are.
        new = format!("{new:>width$}", width = end - start);
        new.truncate(end - start);
    }
    bytes.splice(start..end, new.into_bytes());
}

/// Writes a binary number of either byte order.
fn binary(bytes: &mut [u8], at: usize, rng: &mut ChaCha8Rng) {
    let value = NUMBERS[rng.random_range(0..NUMBERS.len())];
    let width = [2, 4, 8][rng.random_range(0..3)];
    match rng.random() {
        true => set(bytes, at, &value.to_le_bytes()[..width]),
        false => set(bytes, at, &value.to_be_bytes()[8 - width..]),
    }
}

/// Removes, doubles or exchanges lines.
fn lines(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let mut lines: Vec<Vec<u8>> = bytes
        .split_inclusive(|&b| b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() {
        return;
    }
    let [a, b] = [0, 0].map(|_: i32| rng.random_range(0..lines.len()));
    match rng.random_range(0..3) {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a].clone()),
        _ => lines.swap(a, b),
    }
    *bytes = lines.concat();
}
