//! Clusters of proteins by sequence.
//!
//! Two chains are alike if, in their best local alignment (Smith and Waterman 1981 with Gotoh's
//! affine gaps; BLOSUM62, 11 to open a gap and 1 to extend it), at least 35 % of the aligned pairs
//! are identical, and the identical pairs are at least 35 % of the shorter chain or 50. Complexes
//! with alike chains are of one cluster, and so are those linked through others. Only chains that
//! share two words of four residues at about the same offset are aligned.

use crate::comm::pulse;
use crate::data::structure::{CANONICAL, Structure};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Least share of identical pairs, of the alignment and of the shorter chain.
pub const IDENTITY: f64 = 0.35;
/// So many identical pairs are enough, however long the chains are.
const IDENTICAL: usize = 50;
/// Length of a word.
const WORD: usize = 4;
/// Offsets within a band of so many count as the same.
const BAND: i64 = 16;
const OPEN: i64 = 11;
const EXTEND: i64 = 1;

/// One-letter codes in the order of [`CANONICAL`].
const LETTERS: &[u8; 20] = b"ARNDCQEGHILKMFPSTWYV";

/// BLOSUM62 (Henikoff and Henikoff 1992), lower triangle in the order of [`LETTERS`].
const BLOSUM62: [&[i8]; 20] = [
    &[4],
    &[-1, 5],
    &[-2, 0, 6],
    &[-2, -2, 1, 6],
    &[0, -3, -3, -3, 9],
    &[-1, 1, 0, 0, -3, 5],
    &[-1, 0, 0, 2, -4, 2, 5],
    &[0, -2, 0, -1, -3, -2, -2, 6],
    &[-2, 0, 1, -1, -3, 0, 0, -2, 8],
    &[-1, -3, -3, -3, -1, -3, -3, -4, -3, 4],
    &[-1, -2, -3, -4, -1, -2, -3, -4, -3, 2, 4],
    &[-1, 2, 0, -1, -3, 1, 1, -2, -1, -3, -2, 5],
    &[-1, -1, -2, -3, -1, 0, -2, -3, -2, 1, 2, -1, 5],
    &[-2, -3, -3, -3, -2, -3, -3, -3, -1, 0, 0, -3, 0, 6],
    &[-1, -2, -2, -1, -3, -1, -1, -2, -2, -3, -3, -1, -2, -4, 7],
    &[1, -1, 1, 0, -1, 0, 0, 0, -1, -2, -2, 0, -1, -2, -1, 4],
    &[
        0, -1, 0, -1, -1, -1, -1, -2, -2, -1, -1, -1, -1, -2, -1, 1, 5,
    ],
    &[
        -3, -3, -4, -4, -2, -2, -3, -2, -2, -3, -2, -3, -1, 1, -4, -3, -2, 11,
    ],
    &[
        -2, -2, -2, -3, -2, -1, -2, -3, 2, -1, -1, -2, -1, 3, -3, -2, -2, 2, 7,
    ],
    &[
        0, -3, -3, -3, -1, -2, -2, -3, -3, 3, 1, -2, 1, -1, -2, -2, 0, -3, -1, 4,
    ],
];

fn code(letter: u8) -> Option<u8> {
    let place = LETTERS.iter().position(|&l| l == letter)?;
    Some(place as u8)
}

/// The cluster of each complex, numbered in the order in which clusters first occur; a complex is
/// the sequences of its chains in letters of the 20 amino acids. Chains shorter than 20 residues do
/// not count; a complex without a chain that counts is a cluster of its own.
pub fn clusters(complexes: &[Vec<String>]) -> Vec<usize> {
    const SHORTEST: usize = 20;
    let mut owners: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (i, chains) in complexes.iter().enumerate() {
        for chain in chains.iter().filter(|c| c.len() >= SHORTEST) {
            let codes: Vec<u8> = chain.bytes().filter_map(code).collect();
            owners.entry(codes).or_default().push(i);
        }
    }
    let chains: Vec<&Vec<u8>> = owners.keys().collect();
    let mut sets = Sets::new(complexes.len());
    for owners in owners.values() {
        owners.windows(2).for_each(|w| sets.join(w[0], w[1]));
    }
    let owner: Vec<usize> = owners.values().map(|o| o[0]).collect();
    let words = index(&chains);
    for (i, chain) in chains.iter().enumerate() {
        pulse::tick();
        let mut others = candidates(i, chain, &words);
        others.retain(|&j| sets.root(owner[i]) != sets.root(owner[j]));
        let alike: Vec<usize> = others
            .into_par_iter()
            .filter(|&j| alike(chain, chains[j]))
            .collect();
        alike
            .into_iter()
            .for_each(|j| sets.join(owner[i], owner[j]));
    }
    let mut numbers = HashMap::new();
    (0..complexes.len())
        .map(|i| {
            let next = numbers.len();
            *numbers.entry(sets.root(i)).or_insert(next)
        })
        .collect()
}

/// Sequences of the chains that hold any of some CA atoms: of the residues with a CA, in file order.
pub fn sequences(structure: &Structure, atoms: &[u32]) -> Vec<String> {
    let chain = |atom: u32| structure.system.residue(atom).chain;
    let mut chains: Vec<_> = atoms.iter().map(|&a| chain(a)).collect();
    chains.sort();
    chains.dedup();
    let letter = |&atom: &u32| {
        let name = structure.system.residue(atom).name;
        let place = CANONICAL.iter().position(|&c| name == c);
        place.map_or('X', |i| char::from(LETTERS[i]))
    };
    let of = |wanted| {
        let all = structure.centres.iter();
        all.filter(|&&a| chain(a) == wanted).map(letter).collect()
    };
    chains.into_iter().map(of).collect()
}

/// Where each word stands: chain and place.
type Words = HashMap<[u8; WORD], Vec<(u32, u32)>>;

fn words(chain: &[u8]) -> impl Iterator<Item = (u32, [u8; WORD])> {
    let all = (0u32..).zip(chain.windows(WORD));
    all.filter_map(|(at, word)| Some((at, word.try_into().ok()?)))
}

fn index(chains: &[&Vec<u8>]) -> Words {
    let mut index = Words::new();
    for (i, chain) in (0u32..).zip(chains) {
        for (at, word) in words(chain) {
            index.entry(word).or_default().push((i, at));
        }
    }
    index
}

/// Chains before the `own`-th that share two words with it in one band of offsets.
fn candidates(own: usize, chain: &[u8], index: &Words) -> Vec<usize> {
    let mut met: HashSet<(u32, i64)> = HashSet::new();
    let mut found: Vec<usize> = Vec::new();
    for (at, word) in words(chain) {
        let others = index.get(&word).into_iter().flatten();
        for &(other, place) in others.take_while(|o| (o.0 as usize) < own) {
            let offset = i64::from(at) - i64::from(place);
            if !met.insert((other, offset.div_euclid(BAND))) {
                found.push(other as usize);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn alike(a: &[u8], b: &[u8]) -> bool {
    let (pairs, identical) = align(a, b);
    let shorter = a.len().min(b.len());
    identical as f64 >= IDENTITY * pairs as f64
        && (identical as f64 >= IDENTITY * shorter as f64 || identical >= IDENTICAL)
}

/// A cell of the alignment: score, aligned pairs and identical ones on the best way to it, in one
/// number, so that a step adds all three at once: `score << 40 | pairs << 20 | identical`. Pairs fit
/// as long as a chain has fewer than 2^20 residues, scores while it has fewer than 2^19.
type Cell = i64;
const SCORE: u32 = 40;
const PAIR: Cell = 1 << 20;

/// What aligning two residues adds to a cell.
const STEPS: [[Cell; 20]; 20] = {
    let mut steps = [[0; 20]; 20];
    let mut a = 0;
    while a < 20 {
        let mut b = 0;
        while b < 20 {
            let score = if a < b {
                BLOSUM62[b][a]
            } else {
                BLOSUM62[a][b]
            };
            steps[a][b] = ((score as Cell) << SCORE) + PAIR + (a == b) as Cell;
            b += 1;
        }
        a += 1;
    }
    steps
};

/// The one with the higher score; of equals the first.
fn better(a: Cell, b: Cell) -> Cell {
    match b >> SCORE > a >> SCORE {
        true => b,
        false => a,
    }
}

/// Aligned and identical pairs of the best local alignment.
fn align(a: &[u8], b: &[u8]) -> (usize, usize) {
    const NEVER: Cell = -(1 << 22) << SCORE;
    let less = |cell: Cell, penalty: Cell| cell - (penalty << SCORE);
    let mut above = vec![0; b.len()];
    let mut down = vec![NEVER; b.len()];
    let mut best = 0;
    for &x in a {
        let steps = &STEPS[x as usize];
        let (mut diagonal, mut left, mut right) = (0, 0, NEVER);
        for ((&y, above), down) in b.iter().zip(&mut above).zip(&mut down) {
            *down = better(less(*down, EXTEND), less(*above, OPEN));
            right = better(less(right, EXTEND), less(left, OPEN));
            let matched = diagonal + steps[y as usize];
            left = better(better(better(0, matched), *down), right);
            diagonal = std::mem::replace(above, left);
            best = better(best, left);
        }
    }
    let of = |bits: Cell| (bits & (PAIR - 1)) as usize;
    (of(best >> 20), of(best))
}

/// Disjoint sets.
struct Sets(Vec<usize>);

impl Sets {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    fn root(&self, mut i: usize) -> usize {
        while self.0[i] != i {
            i = self.0[i];
        }
        i
    }

    /// The smaller root stays.
    fn join(&mut self, i: usize, j: usize) {
        let (i, j) = (self.root(i), self.root(j));
        self.0[i.max(j)] = i.min(j);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn chain(rng: &mut ChaCha8Rng, length: usize) -> String {
        let letter = |_| char::from(LETTERS[rng.random_range(0..20)]);
        (0..length).map(letter).collect()
    }

    /// A copy in which a share of the letters is drawn anew.
    fn changed(rng: &mut ChaCha8Rng, chain: &str, share: f64) -> String {
        let letter = |c: char| match rng.random_range(0.0..1.0) < share {
            true => char::from(LETTERS[rng.random_range(0..20)]),
            false => c,
        };
        chain.chars().map(letter).collect()
    }

    #[test]
    fn kin_is_found_and_strangers_are_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let families: Vec<String> = (0..6).map(|_| chain(&mut rng, 220)).collect();
        let mut complexes = Vec::new();
        for family in &families {
            for share in [0.0, 0.3, 0.45] {
                let kin = changed(&mut rng, family, share);
                // A piece of it with another chain beside it, and some residues put in.
                let stranger = chain(&mut rng, 150);
                let cut = format!("{}GGSGG{}", &kin[15..90], &kin[90..200]);
                complexes.push(vec![stranger, cut]);
            }
        }
        let expected: Vec<usize> = (0..complexes.len()).map(|i| i / 3).collect();
        assert_eq!(clusters(&complexes), expected);
        // A complex of two families links them.
        complexes.push(vec![families[0].clone(), families[4].clone()]);
        let linked = clusters(&complexes);
        assert_eq!((linked[12], linked[18], linked[15]), (0, 0, 4));
    }

    #[test]
    fn short_and_empty_chains_are_clusters_of_their_own() {
        let peptide = || vec!["ACDEFGHIK".to_string()];
        assert_eq!(clusters(&[peptide(), vec![], peptide()]), [0, 1, 2]);
    }

    #[test]
    fn alignments_are_those_of_the_definition() {
        let codes = |text: &str| text.bytes().filter_map(code).collect::<Vec<u8>>();
        let pairs = |a: &str, b: &str| align(&codes(a), &codes(b));
        assert_eq!(pairs("WWWWHHHH", "WWWWHHHH"), (8, 8));
        // Three residues more cost 13, what lies behind them is worth more.
        assert_eq!(pairs("WWWWHHHH", "WWWWGGGHHHH"), (8, 8));
        assert_eq!(pairs("WWWWAA", "WWWWGGGGGGAA"), (4, 4));
        assert_eq!(pairs("WIW", "WVW"), (3, 2));
        // The matrix is symmetric and each residue is most like itself.
        for a in 0..20 {
            let steps = |a: usize, b: usize| STEPS[a][b] >> SCORE;
            assert!((0..20).all(|b| steps(a, b) == steps(b, a) && steps(a, b) <= steps(a, a)));
        }
        assert_eq!(BLOSUM62.iter().map(|r| r.len()).sum::<usize>(), 210);
    }
}
