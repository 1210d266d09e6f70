//! Affinities in the units and spellings of tables: as negative decadic logarithms of mol/l.

use super::manifest::Role;
use crate::Result;
use crate::data::table::Table;

/// What the numbers of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Negative decadic logarithms of mol/l.
    Log,
    /// Dissociation constants or the like, in so many mol/l.
    Molar(f64),
}

/// Units of concentration in mol/l. Micro is `u`.
const UNITS: [(&str, f64); 7] = [
    ("m", 1.0),
    ("molar", 1.0),
    ("mm", 1e-3),
    ("um", 1e-6),
    ("nm", 1e-9),
    ("pm", 1e-12),
    ("fm", 1e-15),
];

/// What is measured in such units.
const CONSTANTS: [&str; 6] = ["kd", "ki", "ic50", "ec50", "k", "affinity"];

/// Letters and digits in small letters, word by word; micro becomes `u`.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(['\u{b5}', '\u{3bc}'], "u");
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|w| !w.is_empty()).map(String::from).collect()
}

fn unit(word: &str) -> Option<f64> {
    let known = UNITS.iter().find(|(name, _)| *name == word);
    known.map(|(_, molar)| *molar)
}

/// What a column's name says: `Kd (nM)`, `IC50_uM`, `-logKd/Ki`; `None` if it says nothing.
fn scale(name: &str) -> Option<Scale> {
    let words = words(name);
    match &words[..] {
        [constant, of] if CONSTANTS.contains(&constant.as_str()) => unit(of).map(Scale::Molar),
        [first, ..] if name.trim_start().starts_with('-') && first.starts_with("log") => {
            Some(Scale::Log)
        }
        _ => None,
    }
}

/// Whether a name is that of a constant, without a unit.
fn is_bare(name: &str) -> bool {
    matches!(&words(name)[..], [word] if CONSTANTS[..4].contains(&word.as_str()))
}

/// The column of affinities and what its numbers are: the one that the user chose or that has a name
/// for them, else the only one whose name or whose every cell has a unit. What looks like one and is
/// not taken is told of.
///
/// # Errors
/// The name of a column that is not there, or there twice.
pub fn column(table: &Table, chosen: &[(Role, String)]) -> Result<Option<(usize, Scale)>> {
    let columns = table.columns();
    if let Some(place) = Role::Affinity.find(table, chosen)? {
        return Ok(Some((place, scale(&columns[place]).unwrap_or(Scale::Log))));
    }
    let with_units = |place: usize| {
        let cells = table.rows().map(|row| row.text(place));
        let cells: Vec<&str> = cells.filter(|t| !t.is_empty()).collect();
        !cells.is_empty() && cells.iter().all(|t| with_unit(t).is_some())
    };
    let of = |(place, name): (usize, &String)| match scale(name) {
        None if is_bare(name) && with_units(place) => Some((place, Scale::Log)),
        known => known.map(|scale| (place, scale)),
    };
    let found: Vec<(usize, Scale)> = columns.iter().enumerate().filter_map(of).collect();
    match found[..] {
        [(place, scale)] => {
            log::info!(
                "affinities: column {:?}, as -log10 of mol/l",
                columns[place]
            );
            Ok(Some((place, scale)))
        }
        [] => {
            if let Some(name) = columns.iter().find(|name| is_bare(name)) {
                log::warn!(
                    "no affinities are read: {name:?} says no unit; call it {name} (nM), or take \
                     --column affinity={name} if it holds -log10 of mol/l"
                );
            }
            Ok(None)
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|(p, _)| columns[*p].as_str()).collect();
            log::warn!(
                "no affinities are read: {} are all of them; choose one by --column affinity=NAME",
                names.join(", ")
            );
            Ok(None)
        }
    }
}

/// The number of `50 nM`, in mol/l.
fn with_unit(text: &str) -> Option<f64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, of) = text.split_at(end);
    let [of] = &words(of)[..] else { return None };
    Some(number.trim().parse::<f64>().ok()? * unit(of)?)
}

/// A number that can be an affinity, perhaps with a unit of its own; nothing where the field is empty.
///
/// # Errors
/// Text that is no finite number, a constant that is not positive.
pub fn value(text: &str, scale: Scale) -> std::result::Result<Option<f64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let plain = || text.parse::<f64>().ok();
    let number = match (with_unit(text), scale) {
        (Some(molar), _) => Some(-molar.log10()),
        (None, Scale::Log) => plain(),
        (None, Scale::Molar(of)) => plain().map(|number| -(number * of).log10()),
    };
    let number = number.filter(|v| v.is_finite());
    let comma = text.replacen(',', ".", 1);
    let mend = match comma != text && comma.parse::<f64>().is_ok() {
        true => format!("write {comma}, with a point"),
        false => "leave it empty if unknown".into(),
    };
    let what = || format!("affinity {text:?} is not a finite number; {mend}");
    number.map(Some).ok_or_else(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_cells_tell_units() {
        for (name, of) in [
            ("Kd (nM)", 1e-9),
            ("Ki_uM", 1e-6),
            ("IC50 [\u{b5}M]", 1e-6),
            ("kd/\u{3bc}M", 1e-6),
            ("Affinity pM", 1e-12),
            ("Kd (M)", 1.0),
        ] {
            assert_eq!(scale(name), Some(Scale::Molar(of)), "{name}");
        }
        assert_eq!(scale("-logKd/Ki"), Some(Scale::Log));
        for name in ["Kd", "nM", "log", "mass (nM)", "Kd (nM) error", ""] {
            assert_eq!(scale(name), None, "{name}");
        }
        let close = |text: &str, scale, wanted: f64| {
            let read = value(text, scale).unwrap().unwrap();
            assert!((read - wanted).abs() < 1e-12, "{text}: {read}");
        };
        close("50", Scale::Molar(1e-9), 9.0 - 50f64.log10());
        close("5e-9", Scale::Molar(1.0), 9.0 - 5f64.log10());
        close("3.2 uM", Scale::Log, 6.0 - 3.2f64.log10());
        close("3.2\u{b5}M", Scale::Molar(1e-9), 6.0 - 3.2f64.log10());
        close("7.5", Scale::Log, 7.5);
        assert_eq!(value(" ", Scale::Log), Ok(None));
        for bad in ["n.d.", ">50", "50 kg", "nan", "0 nM"] {
            assert!(value(bad, Scale::Log).is_err(), "{bad}");
        }
        assert!(value("-3", Scale::Molar(1e-9)).is_err());
        let comma = value("12,5", Scale::Log).unwrap_err();
        assert!(comma.ends_with("write 12.5, with a point"), "{comma}");
    }

    #[test]
    fn the_only_column_with_a_unit_is_taken() {
        let of = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            column(&Table::read(file.path()).unwrap(), &[]).unwrap()
        };
        assert_eq!(of("id,Kd (nM)\na,5\n"), Some((1, Scale::Molar(1e-9))));
        assert_eq!(of("Kd (nM),pK\n5,8.3\n"), Some((1, Scale::Log)));
        assert_eq!(of("id,Ki\na,5 nM\nb,\nc,1 pM\n"), Some((1, Scale::Log)));
        for none in ["id,Ki\na,5 nM\nb,7\n", "Kd (nM),Ki (nM)\n5,6\n", "id,Ki\n"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
