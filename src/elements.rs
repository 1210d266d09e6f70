//! The chemical elements: symbols by atomic number, and covalent radii.

/// Symbols in the order of atomic numbers, from 1 on (IUPAC, Periodic Table of the Elements,
/// 4 May 2022).
const SYMBOLS: [&str; 118] = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl",
    "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In",
    "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb",
    "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl",
    "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk",
    "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh",
    "Fl", "Mc", "Lv", "Ts", "Og",
];

/// The largest atomic number, that of oganesson.
pub const LAST: u8 = SYMBOLS.len() as u8;

/// The symbol of an element (`Cl` for 17); `None` for a number that no element has.
pub fn symbol(number: u8) -> Option<&'static str> {
    let place = usize::from(number).checked_sub(1)?;
    SYMBOLS.get(place).copied()
}

/// The atomic number of a symbol, in upper or lower case.
pub fn number(symbol: &[u8]) -> Option<u8> {
    let place = SYMBOLS
        .iter()
        .position(|s| s.as_bytes().eq_ignore_ascii_case(symbol))?;
    Some(place as u8 + 1)
}

/// Whether an element is a metal. The metalloids (B, Si, Ge, As, Sb, Te) and an unknown element are
/// none.
pub fn is_metal(number: u8) -> bool {
    !matches!(number, 0..=2 | 5..=10 | 14..=18 | 32..=36 | 51..=54 | 85 | 86 | 117 | 118)
}

/// The largest radius that [`covalent_radius`] gives, in Å.
const LARGEST_RADIUS: f64 = 1.39;

/// How much longer than the sum of two radii a bond may be, in Å.
const SLACK: f64 = 0.4;

/// Longer than any bond, in Å.
pub const BEYOND_BONDS: f64 = 2.0 * LARGEST_RADIUS + SLACK + 1e-3;

/// The length below which two atoms of these elements are bound, in Å.
pub fn longest_bond(a: u8, b: u8) -> f64 {
    covalent_radius(a) + covalent_radius(b) + SLACK
}

/// The covalent radius of an element in Å (Cordero et al., Dalton Trans. 2008, 2832; carbon: sp3,
/// iron: low spin), for the elements that molecules of biology bind. Every other element, and an
/// unknown one, counts as 1.20.
pub fn covalent_radius(number: u8) -> f64 {
    match number {
        1 => 0.31,
        6 => 0.76,
        7 => 0.71,
        8 => 0.66,
        9 => 0.57,
        15 => 1.07,
        16 => 1.05,
        17 => 1.02,
        26 => 1.32,
        30 => 1.22,
        53 => LARGEST_RADIUS,
        _ => 1.20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metals_are_told_from_the_rest() {
        let named = |text: &str| {
            text.split(' ')
                .map(|s| number(s.as_bytes()).unwrap())
                .collect::<Vec<_>>()
        };
        assert!(
            named("Li Na Mg Al K Ca Mn Fe Zn Ga Cd Hg Pb Ra U")
                .into_iter()
                .all(is_metal)
        );
        assert!(
            !named("H He B C N O F Ne Si P S Cl Ar As Se Br Kr Te I Xe At")
                .into_iter()
                .any(is_metal)
        );
        assert!(!is_metal(0));
    }

    #[test]
    fn symbols_and_numbers_answer_each_other() {
        for n in 1..=LAST {
            let symbol = symbol(n).unwrap();
            assert_eq!(number(symbol.as_bytes()), Some(n));
            assert_eq!(number(symbol.to_ascii_uppercase().as_bytes()), Some(n));
        }
        // Elements of known numbers, far apart in the table: none is missing before them.
        let known: [(u8, &str); 8] = [
            (6, "C"),
            (17, "Cl"),
            (30, "Zn"),
            (53, "I"),
            (74, "W"),
            (80, "Hg"),
            (92, "U"),
            (118, "Og"),
        ];
        for (n, s) in known {
            assert_eq!(symbol(n), Some(s));
        }
        assert_eq!((symbol(0), symbol(119)), (None, None));
        for nothing in ["", "X", "Xx", "CA1", " C"] {
            assert_eq!(number(nothing.as_bytes()), None, "{nothing:?}");
        }
    }

    #[test]
    fn no_radius_is_larger_than_the_largest() {
        assert!((0..=u8::MAX).all(|n| covalent_radius(n) <= LARGEST_RADIUS));
    }
}
