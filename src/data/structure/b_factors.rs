//! B-factors as carriers of values: every viewer colours by them.
//!
//! A structure file is copied with the values of its residues in the place of its B-factors (columns
//! 61-66 of PDB, `_atom_site.B_iso_or_equiv` of mmCIF) and is otherwise as it was; a system in memory
//! becomes a PDB file with a value for each atom.

use super::assemble::Record;
use super::{bytes, mmcif, pdb};
use crate::data::names;
use crate::data::system::System;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

/// A residue as its file names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Empty where the file has none.
    pub chain: String,
    /// The author's.
    pub number: i32,
    /// Insertion code; empty for most.
    pub icode: String,
}

/// Values of a structure's residues. Residues that share their place have one each, in the order of
/// the file.
pub type Values = HashMap<Place, Vec<f64>>;

/// How values stand in the six columns that PDB has for a B-factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    decimals: usize,
}

impl Field {
    const WIDTH: usize = 6;

    /// With as many decimals, two to four, as the values need and as leave a blank before every one of
    /// them; with two if none do.
    ///
    /// # Errors
    /// A value that is not finite, or that six columns do not hold.
    pub fn of(values: &[f64]) -> Result<Self> {
        let texts = |decimals: usize| values.iter().map(move |v| format!("{v:.decimals$}"));
        let widest = |decimals| texts(decimals).map(|t| t.len()).max().unwrap_or(0);
        if let Some(value) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::input(format!("{value} is no B-factor")));
        }
        let fits = |&d: &usize| widest(d) < Self::WIDTH && texts(d).any(|t| !t.ends_with('0'));
        let decimals = [4, 3].into_iter().find(fits).unwrap_or(2);
        match widest(decimals) <= Self::WIDTH {
            true => Ok(Self { decimals }),
            false => Err(Error::input(
                "values beyond -99.99 or 999.99 do not fit the B-factors of PDB: bring them to 0..100 \
                 (--rescale), or write another format",
            )),
        }
    }

    /// Six characters.
    pub fn text(self, value: f64) -> String {
        format!("{value:>6.*}", self.decimals)
    }
}

/// ATOM records of `atoms` at `points` (Å) with `values` as B-factors, after the line `remark`; serial
/// and residue numbers wrap where the format's columns end.
///
/// # Errors
/// Those of [`Field::of`].
pub fn of_system(
    remark: &str,
    atoms: &System,
    points: &[[f32; 3]],
    values: &[f64],
) -> Result<String> {
    let field = Field::of(values)?;
    let mut text = format!("{remark}\n");
    for (i, (p, &value)) in points.iter().zip(values).enumerate() {
        let name = atoms.names[i].as_str();
        let name = match name.len() {
            0..=3 => format!(" {name:<3}"),
            _ => name.chars().take(4).collect(),
        };
        let residue = atoms.residue(i as u32);
        let residue_name: String = residue.name.as_str().chars().take(3).collect();
        text += &format!(
            "ATOM  {:>5} {name} {residue_name:>3} {}{:>4}    {:>8.3}{:>8.3}{:>8.3}{:>6.2}{}\n",
            (i + 1) % 100_000,
            residue.chain.as_str().chars().next().unwrap_or(' '),
            residue.number.rem_euclid(10_000),
            p[0],
            p[1],
            p[2],
            1.0,
            field.text(value),
        );
    }
    Ok(text + "END\n")
}

/// A file with other B-factors.
#[derive(Debug, Default)]
pub struct Copy {
    /// The whole file, unpacked.
    pub text: Vec<u8>,
    /// Residues that have got a value.
    pub filled: usize,
    /// Places that share a name in the file, but not as often as there are values for it.
    pub ambiguous: usize,
}

/// Copies the structure file at `path`, after the comment `remark`. `values` tells those of a model,
/// by its place in the file (from 0) and its number; atoms without a value get `missing`.
///
/// # Errors
/// A file that cannot be read as a structure; mmCIF without B-factors; values that do not fit.
pub fn copy<'v>(
    path: &Path,
    remark: &str,
    values: impl Fn(usize, i32) -> Option<&'v Values>,
    field: Field,
    missing: f64,
) -> Result<Copy> {
    let loaded = bytes::load(path)?;
    let mut slots = Slots::default();
    let (read, first) = match loaded.format {
        bytes::Format::Pdb => (pdb::slots(&loaded.text, &mut slots), "REMARK 250 HOLOSIG: "),
        bytes::Format::Mmcif => (mmcif::slots(&loaded.text, &mut slots), "# holosig: "),
    };
    read.map_err(|what| Error::file(path, what))?;
    let mut copy = Copy::default();
    let mut filled: Vec<Option<f64>> = vec![None; slots.runs.len()];
    for (model, &(number, start)) in slots.models.iter().enumerate() {
        let end = slots
            .models
            .get(model + 1)
            .map_or(slots.runs.len(), |m| m.1);
        if let Some(values) = values(model, number) {
            copy.ambiguous += assign(&slots.runs[start..end], values, &mut filled[start..end]);
        }
    }
    copy.filled = filled.iter().flatten().count();
    let mut spans: Vec<(&Span, f64)> = Vec::new();
    for (run, value) in slots.runs.iter().zip(&filled) {
        spans.extend(run.spans.iter().map(|s| (s, value.unwrap_or(missing))));
    }
    // Records of one residue may stand apart.
    spans.sort_by_key(|(span, _)| span.place.start);
    copy.text = format!("{first}{remark}\n").into_bytes();
    let mut at = 0;
    for (span, value) in spans {
        copy.text.extend(&loaded.text[at..span.place.start]);
        copy.text.extend(std::iter::repeat_n(b' ', span.blanks));
        copy.text.extend(match loaded.format {
            bytes::Format::Pdb => field.text(value).into_bytes(),
            bytes::Format::Mmcif => (value as f32).to_string().into_bytes(),
        });
        at = span.place.end;
    }
    copy.text.extend(&loaded.text[at..]);
    Ok(copy)
}

/// Where the B-factor of an atom stands in the text.
pub(super) struct Span {
    place: Range<usize>,
    /// Columns that the line lacks before it.
    blanks: usize,
}

/// Records of one residue that follow each other.
struct Run {
    place: Place,
    /// Several where residues are alternatives to each other.
    names: HashSet<Vec<u8>>,
    has_ca: bool,
    is_water: bool,
    /// Chain ends before it.
    segment: u32,
    spans: Vec<Span>,
}

/// The B-factors of a file.
#[derive(Default)]
pub(super) struct Slots {
    runs: Vec<Run>,
    /// Number and first run of each model.
    models: Vec<(i32, usize)>,
}

impl Slots {
    /// Adds an atom of the model `number`, whose B-factor stands at `place`, after `blanks` that are
    /// not there.
    pub(super) fn add(&mut self, number: i32, r: &Record, place: Range<usize>, blanks: usize) {
        let begins = self.models.last().is_none_or(|m| m.0 != number);
        if begins {
            self.models.push((number, self.runs.len()));
        }
        let here = Place {
            chain: String::from_utf8_lossy(r.chain).into_owned(),
            number: r.number,
            icode: char::from(r.icode).to_string().trim().to_string(),
        };
        let is_water = names::is_water(r.residue);
        let goes_on = |run: &&mut Run| {
            let same = (run.segment, run.is_water) == (r.segment, is_water);
            !begins && same && run.place == here
        };
        let span = Span { place, blanks };
        let is_ca = r.name == b"CA" && r.element == 6;
        if let Some(run) = self.runs.last_mut().filter(goes_on) {
            run.names.insert(r.residue.to_vec());
            run.has_ca |= is_ca;
            run.spans.push(span);
            return;
        }
        self.runs.push(Run {
            place: here,
            names: HashSet::from([r.residue.to_vec()]),
            has_ca: is_ca,
            is_water,
            segment: r.segment,
            spans: vec![span],
        });
    }
}

/// Gives the runs of a model their values; returns how many places could not be told apart.
fn assign(runs: &[Run], values: &Values, filled: &mut [Option<f64>]) -> usize {
    let mut of_place: HashMap<&Place, Vec<usize>> = HashMap::new();
    for (i, run) in runs.iter().enumerate() {
        of_place.entry(&run.place).or_default().push(i);
    }
    let mut ambiguous = 0;
    for (place, mut here) in of_place {
        let Some(values) = values.get(place) else {
            continue;
        };
        // Amino acids have their CA; what shares its place with one (a water in a file without
        // chains) is not meant.
        let amino: Vec<usize> = here.iter().copied().filter(|&i| runs[i].has_ca).collect();
        if !amino.is_empty() {
            let named = |i: &usize| {
                amino
                    .iter()
                    .any(|&a| !runs[a].names.is_disjoint(&runs[*i].names))
            };
            here.retain(named);
        }
        let places = if amino.is_empty() { &here } else { &amino };
        match values[..] {
            [value] => here.iter().for_each(|&i| filled[i] = Some(value)),
            _ if values.len() == places.len() => {
                let pairs = places.iter().zip(values);
                pairs.for_each(|(&i, &value)| filled[i] = Some(value));
            }
            _ => ambiguous += 1,
        }
    }
    ambiguous
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::system::Residue;

    #[test]
    fn values_stand_in_their_columns() {
        let of = |values: &[f64]| {
            Field::of(values).map(|f| values.iter().map(|&v| f.text(v)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[0.12345, 1.5]).unwrap(), [" 0.123", " 1.500"]);
        assert_eq!(of(&[-0.12345, 12.5]).unwrap(), [" -0.12", " 12.50"]);
        assert_eq!(of(&[999.99, 0.0]).unwrap(), ["999.99", "  0.00"]);
        assert_eq!(of(&[]).unwrap(), Vec::<String>::new());
        for wrong in [1000.0, -100.0, f64::NAN, f64::INFINITY] {
            assert_eq!(of(&[wrong]).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn systems_become_records() {
        let residue = |chain: &str, number| Residue {
            chain: chain.into(),
            number,
            name: "ARG".into(),
            ..Residue::default()
        };
        let atoms = System {
            names: vec!["CA".into(), "HH11".into()],
            numbers: vec![6, 1],
            residue_of: vec![0, 1],
            residues: vec![residue("A", 7), residue("", 12_007)],
            ..System::default()
        };
        let points = [[1.0, -2.5, 3.25], [10.0, 0.0, 0.0]];
        let text = of_system("REMARK", &atoms, &points, &[3.0, 12.0]).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines[0],
            "ATOM      1  CA  ARG A   7       1.000  -2.500   3.250  1.00  3.00"
        );
        assert_eq!((&lines[1][12..16], &lines[1][22..26]), ("HH11", "2007"));
        assert_eq!((&lines[1][60..66], lines[2]), (" 12.00", "END"));
    }

    const ATOMS: &str = "\
HEADER    A TEST
ATOM      1  N   ALA A   5       0.000   0.000   0.000  1.00 20.00           N
ATOM      2  CA  ALA A   5       1.400   0.000   0.000  1.00 21.00           C
ATOM      3  CA  GLY A   5A      5.000   0.000   0.000
TER
ATOM      4  CA  ALA A   5       0.000   9.000   0.000  1.00 22.00           C
HETATM    5  O   HOH A   5       0.000  19.000   0.000  1.00 23.00           O
END
";

    fn place(number: i32, icode: &str) -> Place {
        Place {
            chain: "A".into(),
            number,
            icode: icode.into(),
        }
    }

    fn copied(text: &str, values: &Values) -> (String, Copy) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.x");
        std::fs::write(&path, text).unwrap();
        let field = Field { decimals: 2 };
        let of = |model: usize, _: i32| (model == 0).then_some(values);
        let copy = copy(&path, "words", of, field, 0.0).unwrap();
        (String::from_utf8(copy.text.clone()).unwrap(), copy)
    }

    #[test]
    fn a_pdb_file_is_as_it_was_but_for_its_b_factors() {
        let both = Values::from([(place(5, ""), vec![1.5, 2.5]), (place(5, "A"), vec![7.0])]);
        let (text, copy) = copied(ATOMS, &both);
        let expected = ATOMS
            .replace("20.00", " 1.50")
            .replace("21.00", " 1.50")
            .replace("0.000   0.000\nTER", "0.000   0.000        7.00\nTER")
            .replace("22.00", " 2.50")
            .replace("23.00", " 0.00");
        assert_eq!(text, format!("REMARK 250 HOLOSIG: words\n{expected}"));
        assert_eq!((copy.filled, copy.ambiguous), (3, 0));
        // One value for a place that two residues have is theirs, three are nobody's.
        let (text, _) = copied(ATOMS, &Values::from([(place(5, ""), vec![4.0])]));
        assert_eq!(text.matches("  4.00").count(), 3);
        let (text, copy) = copied(ATOMS, &Values::from([(place(5, ""), vec![4.0; 3])]));
        assert_eq!((text.matches("  4.00").count(), copy.ambiguous), (0, 1));
    }

    #[test]
    fn models_have_values_of_their_own() {
        let atom = ATOMS.lines().nth(2).unwrap();
        let text = format!("MODEL        1\n{atom}\nENDMDL\nMODEL        2\n{atom}\nENDMDL\n");
        let (copy, _) = copied(&text, &Values::from([(place(5, ""), vec![4.0])]));
        assert_eq!(copy.matches("1.00  4.00").count(), 1);
        assert_eq!(copy.matches("1.00  0.00").count(), 1);
        assert!(copy.find("  4.00") < copy.find("MODEL        2"));
    }

    #[test]
    fn an_mmcif_file_is_as_it_was_but_for_its_b_factors() {
        let text = "data_x\n_entry.id 'x 1.0'\nloop_\n_atom_site.id\n_atom_site.type_symbol\n\
            _atom_site.label_atom_id\n_atom_site.label_comp_id\n_atom_site.auth_asym_id\n\
            _atom_site.auth_seq_id\n_atom_site.pdbx_PDB_ins_code\n_atom_site.Cartn_x\n\
            _atom_site.Cartn_y\n_atom_site.Cartn_z\n_atom_site.B_iso_or_equiv\n_atom_site.note\n\
            1 C CA ALA A 5 ? 0.0 0.0 0.0 21.5 21.5\n2 C CA GLY A 5 A 1.0 0.0 0.0 ? 'a b'\n#\n";
        let values = Values::from([(place(5, "A"), vec![-0.0625])]);
        let (copy, told) = copied(text, &values);
        let expected = text
            .replace(" 21.5 21.5", " 0 21.5")
            .replace("? 'a b'", "-0.0625 'a b'");
        assert_eq!(copy, format!("# holosig: words\n{expected}"));
        assert_eq!(told.filled, 1);
    }
}
