//! Words over an alphabet of path channels: the bookkeeping of truncated signatures.
//!
//! A signature truncated at depth `N` of a path with `c` channels has one term per word of 1 to
//! `N` letters `0..c`: levels concatenated, words of a level in lexicographic order (row-major
//! order of the level's tensor). The scalar term 1 is left out. A log-signature is determined by
//! its terms at *Lyndon words*, those strictly smaller than all their proper suffixes; in
//! Reutenauer, "Free Lie algebras" (1993), chapter 5, they index a basis of the free Lie algebra.

/// Number of words of exactly `level` letters, `c^level`; `None` when it overflows.
pub fn level_terms(channels: usize, level: usize) -> Option<usize> {
    channels.checked_pow(u32::try_from(level).ok()?)
}

/// Number of words of 1 to `depth` letters, the length of a signature; `None` when it overflows.
pub fn terms(channels: usize, depth: usize) -> Option<usize> {
    (1..=depth).try_fold(0usize, |sum, k| sum.checked_add(level_terms(channels, k)?))
}

/// Number of Lyndon words of exactly `level` letters by Witt's formula
/// `1/k sum_{d | k} mu(d) c^(k/d)`; `None` when it overflows.
pub fn witt(channels: usize, level: usize) -> Option<usize> {
    if level == 0 {
        return Some(0);
    }
    let mut sum = 0i128;
    for d in (1..=level).filter(|d| level.is_multiple_of(*d)) {
        sum += moebius(d) * level_terms(channels, level / d)? as i128;
    }
    usize::try_from(sum / level as i128).ok()
}

/// Number of Lyndon words of 1 to `depth` letters, the length of a log-signature in that basis.
pub fn lyndon_terms(channels: usize, depth: usize) -> Option<usize> {
    (1..=depth).try_fold(0usize, |sum, k| sum.checked_add(witt(channels, k)?))
}

fn moebius(mut n: usize) -> i128 {
    let mut sign = 1;
    let mut p = 2;
    while n > 1 {
        if n.is_multiple_of(p) {
            n /= p;
            if n.is_multiple_of(p) {
                return 0;
            }
            sign = -sign;
        }
        p += 1;
    }
    sign
}

/// First term of each level in a signature of `depth` levels, and its length: `depth + 1`
/// numbers, `offsets[k - 1]..offsets[k]` being level `k`. The caller has checked [`terms`].
pub fn offsets(channels: usize, depth: usize) -> Vec<usize> {
    let mut offsets = vec![0];
    for k in 1..=depth {
        offsets.push(offsets[k - 1] + channels.pow(k as u32));
    }
    offsets
}

/// Calls `visit` with every Lyndon word of 1 to `depth` letters in lexicographic order
/// (Duval, "Génération d'une section des classes de conjugaison", 1988).
pub fn for_each_lyndon(channels: usize, depth: usize, mut visit: impl FnMut(&[usize])) {
    if channels == 0 || depth == 0 {
        return;
    }
    let mut word = vec![0];
    loop {
        visit(&word);
        let period = word.len();
        while word.len() < depth {
            word.push(word[word.len() - period]);
        }
        while word.last() == Some(&(channels - 1)) {
            word.pop();
        }
        match word.last_mut() {
            Some(letter) => *letter += 1,
            None => return,
        }
    }
}

/// Terms of the Lyndon words in a signature, words ordered by length, then lexicographically.
/// The caller has checked [`terms`].
pub fn lyndon_positions(channels: usize, depth: usize) -> Vec<usize> {
    let offsets = offsets(channels, depth);
    let mut levels = vec![Vec::new(); depth];
    for_each_lyndon(channels, depth, |word| {
        let place = word
            .iter()
            .fold(0, |index, letter| index * channels + letter);
        levels[word.len() - 1].push(offsets[word.len() - 1] + place);
    });
    levels.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All words of `level` letters in lexicographic order.
    fn all(channels: usize, level: usize) -> Vec<Vec<usize>> {
        (0..channels.pow(level as u32))
            .map(|mut n| {
                let mut word = vec![0; level];
                for letter in word.iter_mut().rev() {
                    *letter = n % channels;
                    n /= channels;
                }
                word
            })
            .collect()
    }

    #[test]
    fn lyndon_words_are_the_words_smaller_than_their_suffixes() {
        for (channels, depth) in [(1, 4), (2, 7), (3, 5), (5, 3)] {
            let offsets = offsets(channels, depth);
            let mut expected = Vec::new();
            for level in 1..=depth {
                let words = all(channels, level);
                let found = words
                    .iter()
                    .enumerate()
                    .filter(|(_, w)| (1..level).all(|i| w[..] < w[i..]));
                expected.extend(found.map(|(i, _)| offsets[level - 1] + i));
            }
            assert_eq!(lyndon_positions(channels, depth), expected);
            assert_eq!(lyndon_terms(channels, depth), Some(expected.len()));
            assert_eq!(terms(channels, depth), Some(offsets[depth]));
        }
    }

    #[test]
    fn dimensions_of_wide_paths() {
        assert_eq!(lyndon_terms(150, 2), Some(11_325));
        assert_eq!(lyndon_terms(150, 3), Some(1_136_275));
        assert_eq!(terms(60, 3), Some(219_660));
        assert_eq!(witt(2, 6), Some(9));
    }

    #[test]
    fn overflow_is_told() {
        assert_eq!(terms(1 << 20, 4), None);
        assert_eq!(lyndon_terms(1 << 33, 2), None);
        assert_eq!(terms(10, 0), Some(0));
        assert_eq!(lyndon_terms(0, 3), Some(0));
    }
}
