//! Atomic numbers from symbols, and from PDB atom names where the symbol is missing.

use super::Elements;
use crate::elements;

/// The atomic number of a symbol in any case (deuterium and tritium are hydrogen).
pub fn number(symbol: &[u8]) -> Option<u8> {
    if symbol.eq_ignore_ascii_case(b"D") || symbol.eq_ignore_ascii_case(b"T") {
        return Some(1);
    }
    elements::number(symbol)
}

/// The element of an atom whose file names none. An ion carries its residue's name (`ZN` in
/// residue `ZN`); otherwise the first letter decides, as in all names of amino acids,
/// nucleotides and most ligands. `two_letters` says that the file gives the name as one that
/// begins with a two-letter symbol (PDB: a hetero atom's name in the first of four columns).
pub(super) fn of_name(name: &[u8], residue: &[u8], two_letters: bool) -> u8 {
    let symbol = letters(name);
    let ion = symbol.eq_ignore_ascii_case(letters(residue));
    symbol
        .get(..2)
        .filter(|_| ion || two_letters)
        .and_then(number)
        .or_else(|| symbol.get(..1).and_then(number))
        .unwrap_or(0)
}

/// The first run of letters.
fn letters(text: &[u8]) -> &[u8] {
    let start = text.iter().position(u8::is_ascii_alphabetic);
    let text = &text[start.unwrap_or(text.len())..];
    let end = text.iter().position(|b| !b.is_ascii_alphabetic());
    &text[..end.unwrap_or(text.len())]
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
