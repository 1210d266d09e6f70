//! Atomic numbers from symbols, and from PDB atom names where the symbol is missing.

use super::Elements;

const SYMBOLS: [&str; 119] = [
    "X", "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S",
    "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge",
    "As", "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd",
    "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd",
    "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg",
    "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn",
    "Nh", "Fl", "Mc", "Lv", "Ts", "Og",
];

/// The symbol of an atomic number; `X` for 0 and for numbers that no element has.
pub fn symbol(number: u8) -> &'static str {
    SYMBOLS.get(usize::from(number)).unwrap_or(&SYMBOLS[0])
}

/// The atomic number of a symbol in any case (deuterium and tritium are hydrogen).
pub(super) fn number(symbol: &[u8]) -> Option<u8> {
    if symbol.eq_ignore_ascii_case(b"D") || symbol.eq_ignore_ascii_case(b"T") {
        return Some(1);
    }
    SYMBOLS[1..]
        .iter()
        .position(|s| s.as_bytes().eq_ignore_ascii_case(symbol))
        .map(|i| i as u8 + 1)
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
        match (self, symbol(z).as_bytes()[0]) {
            (Elements::True, _) => z,
            (Elements::FirstLetter, b'C') => 6,
            (Elements::FirstLetter, b'N') => 7,
            (Elements::FirstLetter, b'O') => 8,
            (Elements::FirstLetter, b'S') => 16,
            (Elements::FirstLetter, _) => z,
        }
    }
}
