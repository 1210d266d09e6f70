//! Units of targets: which are known, and how energies become one another.

use crate::{Error, Result};

/// Units of energy and how many eV one is (CODATA 2022; a calorie is 4.184 J).
const ENERGIES: [(&str, f64); 7] = [
    ("eV", 1.0),
    ("meV", 1e-3),
    ("hartree", HARTREE),
    ("Ry", HARTREE / 2.0),
    ("kJ/mol", KILOJOULE),
    ("kcal/mol", 4.184 * KILOJOULE),
    ("cm^-1", 1.239_841_984_332_0e-4),
];

const HARTREE: f64 = 27.211_386_245_981;
const KILOJOULE: f64 = 1.036_426_965_626e-2;

/// Other units that targets have.
const OTHERS: [&str; 13] = [
    "",
    "D",
    "e",
    "bohr^2",
    "bohr^3",
    "A^2",
    "A^3",
    "cal/mol/K",
    "GPa",
    "kbar",
    "eV/A^3",
    "K",
    "-log10(mol/l)",
];

/// Other spellings.
const SPELLINGS: [(&str, &str); 12] = [
    ("ha", "hartree"),
    ("eh", "hartree"),
    ("au", "hartree"),
    ("rydberg", "Ry"),
    ("electronvolt", "eV"),
    ("kcal", "kcal/mol"),
    ("kcalmol", "kcal/mol"),
    ("kjmol", "kJ/mol"),
    ("debye", "D"),
    ("1", ""),
    ("none", ""),
    ("cal/(mol k)", "cal/mol/K"),
];

/// The one name of a unit.
///
/// # Errors
/// A unit that is not known: the known ones are listed.
pub fn name_of(unit: &str) -> Result<&'static str> {
    let unit = unit.trim();
    let energies = ENERGIES.iter().map(|(name, _)| *name);
    let known = || energies.clone().chain(OTHERS);
    let spelled = SPELLINGS
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(unit))
        .map_or(unit, |(_, name)| name);
    // Case tells meV from MeV: only a name without a rival is taken in another case.
    let exact = known().find(|name| *name == spelled);
    let other_case = || known().find(|name| name.eq_ignore_ascii_case(spelled) && unit != "MeV");
    exact.or_else(other_case).ok_or_else(|| {
        let all: Vec<&str> = known().filter(|name| !name.is_empty()).collect();
        let all = all.join(", ");
        Error::input(format!(
            "unit {unit:?} is not known; known are {all}, and 1 for numbers"
        ))
    })
}

/// How many of `to` one of `from` is; `None` unless both are energies.
pub fn factor(from: &str, to: &str) -> Option<f64> {
    let of = |unit: &str| ENERGIES.iter().find(|(name, _)| *name == unit).map(|e| e.1);
    if from == to {
        return Some(1.0);
    }
    Some(of(from)? / of(to)?)
}

/// How many eV/Å^3 one of a unit of pressure is.
pub fn pressure(unit: &str) -> Option<f64> {
    // 1 eV is 1.602176634e-19 J, and 1 eV/Å^3 therefore 160.2176634 GPa.
    const GIGAPASCAL: f64 = 1.0 / 160.217_663_4;
    match unit {
        "eV/A^3" => Some(1.0),
        "GPa" => Some(GIGAPASCAL),
        "kbar" => Some(0.1 * GIGAPASCAL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energies_become_one_another() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b;
        assert!(close(factor("hartree", "kcal/mol").unwrap(), 627.509_474));
        assert!(close(factor("kcal/mol", "meV").unwrap(), 43.364_104));
        assert_eq!(factor("D", "D"), Some(1.0));
        assert_eq!(factor("D", "eV"), None);
    }

    #[test]
    fn units_have_one_name() {
        for (given, name) in [
            ("Hartree", "hartree"),
            ("ev", "eV"),
            ("KCAL", "kcal/mol"),
            ("1", ""),
        ] {
            assert_eq!(name_of(given).unwrap(), name);
        }
        for unknown in ["furlong", "MeV", "eV/furlong"] {
            let error = name_of(unknown).unwrap_err().to_string();
            assert!(error.contains("known are eV, meV, hartree"), "{error}");
        }
    }
}
