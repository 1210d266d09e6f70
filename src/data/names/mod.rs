//! What names of atoms and residues say: the one place for the rules of all readers.
//!
//! An element that a file states is never asked for here. Where a file states none, its atoms' names
//! tell, by the rule of the format: the columns of a PDB file (wwPDB format 3.3: columns 13-14 hold
//! the symbol, right-justified), the kind of residue, the mass. A first letter alone decides only
//! where names are those of amino acids, nucleotides or plain organic molecules.

mod residues;

pub use residues::{CANONICAL, is_polymer, is_water, parent_of_modified, parent_of_variant};

use crate::elements;

/// Where a name stands in the columns 13 to 16 of a PDB file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Columns {
    /// The format has no such columns, or the file does not keep to them.
    #[default]
    Unknown,
    /// From column 13 on: a symbol of two letters, or a name of four characters.
    First,
    /// From column 14 on: a symbol of one letter.
    Second,
}

/// An atom whose file states no element.
#[derive(Debug, Clone, Copy, Default)]
pub struct Named<'a> {
    /// Name of the atom, without blanks.
    pub name: &'a [u8],
    /// Name of its residue, without blanks.
    pub residue: &'a [u8],
    /// Where the name stands.
    pub columns: Columns,
    /// Whether the residue is an amino acid or a nucleotide, whatever its name ([`is_polymer`]
    /// knows the common ones by name).
    pub polymer: bool,
    /// Mass in Da, where the file has one.
    pub mass: Option<f64>,
}

/// The atomic number of an atom whose file states no element; 0 where nothing tells.
pub fn element(atom: &Named) -> u8 {
    let run = letters(atom.name);
    if let Some(ion) = ion(run, atom.residue) {
        return ion;
    }
    if run.eq_ignore_ascii_case(b"CL") || run.eq_ignore_ascii_case(b"BR") {
        return two_letters(run).unwrap_or(0);
    }
    if atom.polymer || is_polymer(atom.residue) {
        return match run.eq_ignore_ascii_case(b"SE") {
            true => 34,
            false => one_letter(run),
        };
    }
    let by_name = by_name(atom, run);
    match atom.mass.filter(|&mass| mass > 0.0) {
        Some(mass) if !is_repartitioned(by_name, mass) => by_mass(mass).unwrap_or(by_name),
        _ => by_name,
    }
}

fn by_name(atom: &Named, run: &[u8]) -> u8 {
    let heme = [b"HEM", b"HEC", b"HEA", b"HEB"].iter();
    if run == b"FE" && heme.into_iter().any(|h| atom.residue.starts_with(*h)) {
        return 26;
    }
    match atom.columns {
        Columns::Second => one_letter(run),
        Columns::First if atom.name.len() < 4 => two_letters(run).unwrap_or(one_letter(run)),
        // Four characters leave no choice of the column; those of hydrogens are frequent.
        _ => plain(atom.name, run),
    }
}

/// The element of a name of which nothing but its letters is known.
fn plain(name: &[u8], run: &[u8]) -> u8 {
    // `Fe1`, `Na+`: the letters' case tells.
    let cased = name.first().is_some_and(u8::is_ascii_uppercase)
        && name.get(1).is_some_and(u8::is_ascii_lowercase);
    let ambiguous = || b"CNOHPDS".contains(&run[0].to_ascii_uppercase());
    // Two-letter symbols that organic molecules' names do not begin with otherwise.
    let metals: [&[u8]; 5] = [b"CU", b"NI", b"PT", b"SE", b"SI"];
    let metal = metals.iter().any(|m| run.eq_ignore_ascii_case(m));
    match run.len() {
        0 => 0,
        2 if cased || metal || !ambiguous() => two_letters(run).unwrap_or(one_letter(run)),
        _ => one_letter(run),
    }
}

/// The element of a free ion, whose atom carries its residue's name (`ZN` in residue `ZN`) or one
/// of CHARMM's and AMBER's own (`SOD`, `CLA`).
fn ion(run: &[u8], residue: &[u8]) -> Option<u8> {
    if run.is_empty() || !letters(residue).eq_ignore_ascii_case(run) {
        return None;
    }
    let own: [(&[u8], u8); 16] = [
        (b"SOD", 11),
        (b"POT", 19),
        (b"CLA", 17),
        (b"CAL", 20),
        (b"CES", 55),
        (b"LIT", 3),
        (b"RUB", 37),
        (b"BAR", 56),
        (b"CAD", 48),
        (b"IOD", 53),
        (b"MGA", 12),
        (b"CIO", 55),
        (b"CIM", 17),
        (b"CIP", 11),
        (b"QS", 55),
        (b"CLM", 17),
    ];
    let known = own.iter().find(|(name, _)| run.eq_ignore_ascii_case(name));
    known.map(|(_, z)| *z).or_else(|| match run.len() {
        2 => elements::number(run),
        _ => None,
    })
}

fn two_letters(run: &[u8]) -> Option<u8> {
    elements::number(run.get(..2)?)
}

/// The element that a name's first letter stands for in organic molecules; 0 for other letters.
fn one_letter(run: &[u8]) -> u8 {
    match run.first().map(u8::to_ascii_uppercase) {
        Some(b'D') => 1,
        Some(letter) if b"HBCNOFPSKI".contains(&letter) => elements::number(&[letter]).unwrap_or(0),
        Some(letter) if run.len() == 1 && b"VUWY".contains(&letter) => {
            elements::number(&[letter]).unwrap_or(0)
        }
        _ => 0,
    }
}

/// The first run of letters.
fn letters(text: &[u8]) -> &[u8] {
    let start = text.iter().position(u8::is_ascii_alphabetic);
    let text = &text[start.unwrap_or(text.len())..];
    let end = text.iter().position(|b| !b.is_ascii_alphabetic());
    &text[..end.unwrap_or(text.len())]
}

/// Elements of biomolecules and their mass in Da (IUPAC, abridged standard atomic weights, 2021).
const MASSES: [(u8, f64); 30] = [
    (1, 1.008),
    (3, 6.94),
    (5, 10.81),
    (6, 12.011),
    (7, 14.007),
    (8, 15.999),
    (9, 18.998),
    (11, 22.990),
    (12, 24.305),
    (13, 26.982),
    (14, 28.085),
    (15, 30.974),
    (16, 32.06),
    (17, 35.45),
    (19, 39.098),
    (20, 40.078),
    (25, 54.938),
    (26, 55.845),
    (29, 63.546),
    (30, 65.38),
    (34, 78.971),
    (35, 79.904),
    (37, 85.468),
    (38, 87.62),
    (48, 112.41),
    (53, 126.90),
    (55, 132.91),
    (56, 137.33),
    (78, 195.08),
    (80, 200.59),
];

/// The element of a mass in Da. A repartitioned hydrogen weighs 3 to 4 Da.
pub fn by_mass(mass: f64) -> Option<u8> {
    if (0.9..4.5).contains(&mass) {
        return Some(1);
    }
    MASSES
        .iter()
        .map(|&(element, exact)| (element, (mass - exact).abs()))
        .filter(|&(_, off)| off < 0.3)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(element, _)| element)
}

/// Whether a heavy atom weighs what is left when its one to three hydrogens have taken mass from
/// it, 2.016 Da each (hydrogen mass repartitioning): a nitrogen can then weigh as a carbon does.
fn is_repartitioned(element: u8, mass: f64) -> bool {
    const TAKEN: f64 = 2.016;
    let whole = MASSES.iter().find(|(e, _)| *e == element && *e > 1);
    whole.is_some_and(|(_, whole)| {
        (1..=3).any(|hydrogens| (whole - f64::from(hydrogens) * TAKEN - mass).abs() < 0.05)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn z(name: &str, residue: &str, columns: Columns) -> u8 {
        element(&Named {
            name: name.as_bytes(),
            residue: residue.as_bytes(),
            columns,
            ..Named::default()
        })
    }

    #[test]
    fn columns_tell_one_letter_from_two() {
        use Columns::{First, Second};
        for (name, columns, number) in [
            ("CA", First, 20),
            ("CA", Second, 6),
            ("HG", First, 80),
            ("HG", Second, 1),
            ("CD", Second, 6),
            ("CD", First, 48),
            ("NA", Second, 7),
            ("NA", First, 11),
            ("HO", Second, 1),
            ("FE", First, 26),
            ("F1", Second, 9),
            ("SE", First, 34),
            ("CL1", First, 17),
            ("BR2", First, 35),
            ("C3", First, 6),
            ("HG11", First, 1),
            ("HO5'", First, 1),
            ("CL12", First, 17),
            ("BR12", First, 35),
            ("FE12", First, 26),
            ("CAAA", First, 6),
            ("NH12", First, 7),
            ("1HB", First, 1),
            ("CL", Second, 17),
        ] {
            assert_eq!(z(name, "LIG", columns), number, "{name} {columns:?}");
        }
        // Left-justified names of amino acids are no metals.
        for (name, number) in [("CA", 6), ("HG", 1), ("CD", 6), ("NE", 7), ("SE", 34)] {
            assert_eq!(z(name, "MSE", First), number, "{name}");
        }
        assert_eq!(z("FE", "HEM", Second), 26);
    }

    #[test]
    fn names_alone_tell_what_they_can() {
        for (name, residue, number) in [
            ("CA", "ALA", 6),
            ("HG", "SER", 1),
            ("CA", "HIE", 6),
            ("CA", "CA", 20),
            ("CA", "CA2", 20),
            ("HG", "HG", 80),
            ("NA+", "NA+", 11),
            ("Na+", "Na+", 11),
            ("SOD", "SOD", 11),
            ("CLA", "CLA", 17),
            ("CAL", "CAL", 20),
            ("POT", "POT", 19),
            ("CL1", "LIG", 17),
            ("Br", "LIG", 35),
            ("FE", "HEM", 26),
            ("NA", "HEM", 7),
            ("F1", "LIG", 9),
            ("ZN", "LIG", 30),
            ("Fe1", "LIG", 26),
            ("SE", "MSE", 34),
            ("O5'", "DA", 8),
            ("C", "C", 6),
            ("PA", "ATP", 15),
            ("SG", "LIG", 16),
            ("MW", "SOL", 0),
            ("LP1", "LIG", 0),
            ("", "LIG", 0),
        ] {
            assert_eq!(
                z(name, residue, Columns::Unknown),
                number,
                "{name} of {residue}"
            );
        }
    }

    #[test]
    fn masses_name_elements_unless_hydrogens_took_some() {
        for (element, mass) in MASSES {
            assert_eq!(by_mass(mass + 0.02), Some(element));
        }
        assert_eq!((by_mass(4.032), by_mass(0.0)), (Some(1), None));
        let of = |name: &'static [u8], mass| {
            element(&Named {
                name,
                residue: b"LIG",
                mass: Some(mass),
                ..Named::default()
            })
        };
        assert_eq!(of(b"CA1", 40.08), 20);
        assert_eq!(of(b"CO", 12.01), 6);
        assert_eq!(of(b"X7", 79.9), 35);
        assert_eq!(of(b"N1", 14.007 - 2.016), 7);
        assert_eq!(of(b"C1", 12.011 - 3.0 * 2.016), 6);
        assert_eq!(of(b"HC", 3.024), 1);
        assert_eq!(of(b"FE", 18.998), 9);
    }
}
