//! Atomic numbers from symbols.

use super::Elements;
use crate::elements;

/// The atomic number of a symbol in any case (deuterium and tritium are hydrogen).
pub fn number(symbol: &[u8]) -> Option<u8> {
    if symbol.eq_ignore_ascii_case(b"D") || symbol.eq_ignore_ascii_case(b"T") {
        return Some(1);
    }
    elements::number(symbol)
}

impl Elements {
    /// The atomic number under this rule.
    pub(super) fn apply(self, z: u8) -> u8 {
        let symbol = elements::symbol(z).unwrap_or_default();
        match (self, symbol.as_bytes().first()) {
            (Elements::True, _) => z,
            (Elements::FirstLetter, Some(b'C')) => 6,
            (Elements::FirstLetter, Some(b'N')) => 7,
            (Elements::FirstLetter, Some(b'O')) => 8,
            (Elements::FirstLetter, Some(b'S')) => 16,
            (Elements::FirstLetter, _) => z,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isotopes_of_hydrogen_have_symbols_of_their_own() {
        for symbol in ["D", "d", "T", "H"] {
            assert_eq!(number(symbol.as_bytes()), Some(1), "{symbol}");
        }
        assert_eq!(number(b"Dy"), Some(66));
    }
}
