//! Values of residues, from an embedding file or a table, for structures to be coloured by.

use super::embedding::Residues;
use super::pca;
use crate::data::structure::b_factors::{Place, Values};
use crate::data::structure::id_of;
use crate::data::table::Table;
use crate::store::{self, Kind, Node};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The only structure of a table that names none.
const ANY: &str = "";

/// Values of the residues of some structures.
#[derive(Debug, Default)]
pub struct Annotation {
    /// By the structure's id.
    of: BTreeMap<String, Vec<(Place, f64)>>,
    /// Share of the variance along a principal component.
    pub explained: Option<f64>,
}

impl Annotation {
    /// Reads `value` from an embedding file or, if its name ends as one's does, from a table.
    ///
    /// In an embedding file `pc1`, `pc2`, ... are the principal components of the invariants of all
    /// residues in it, `cosine_loss` and any other dataset with one number for each residue go by their
    /// names, and `invariants_3` is the fourth column of `invariants`. A table has the columns
    /// `structure`, `chain`, `number`, perhaps `icode`, and `value`; without `structure` it is about one
    /// structure. Residues with a blank or NaN value have none.
    ///
    /// # Errors
    /// An unreadable file, one without residues, no such value (those that there are, are listed), an
    /// infinite one.
    pub fn read(path: &Path, value: &str) -> Result<Self> {
        let annotation = match is_table(path) {
            true => Self::of_table(path, value)?,
            false => Self::of_embeddings(path, value)?,
        };
        let infinite = annotation.rows().find(|(_, v)| v.is_infinite());
        match infinite.map(|(place, _)| place.number) {
            Some(number) => {
                let what = format!("{value} of residue {number} is infinite");
                Err(Error::file(path, what))
            }
            None if annotation.of.is_empty() => Err(Error::file(
                path,
                format!("no residue has a value of {value}"),
            )),
            None => Ok(annotation),
        }
    }

    fn of_embeddings(path: &Path, value: &str) -> Result<Self> {
        let file = store::open(path, Kind::Embeddings)?;
        if !file.has("residues") {
            let what = "embeddings without names of residues: they were made of trajectories or of plain \
                        zernikegrams";
            return Err(Error::file(path, what));
        }
        let residues = Residues::read(&file.group("residues")?)?;
        let n = residues.number.len();
        let (values, explained) = match component(value) {
            Some(k) => {
                let (invariants, shape) =
                    file.read_shaped::<f32>("invariants", &[Some(n), None])?;
                let dim = shape[1];
                if k > dim {
                    let what = format!("{value}: there are {dim} principal components");
                    return Err(Error::file(path, what));
                }
                let found = pca::components(&invariants, dim, k);
                let last = found.scores.chunks_exact(k).map(|s| s[k - 1]);
                (last.collect(), found.explained.last().copied())
            }
            None => (column(&file, n, value)?, None),
        };
        let mut all = Self {
            explained,
            ..Self::default()
        };
        for (i, value) in values.into_iter().enumerate() {
            let place = Place {
                chain: residues.chain[i].clone(),
                number: residues.number[i],
                icode: residues.icode[i].clone(),
            };
            all.add(&residues.structure[i], place, value);
        }
        Ok(all)
    }

    fn of_table(path: &Path, value: &str) -> Result<Self> {
        let table = Table::read(path)?;
        let structure = table.find("structure")?;
        let (chain, number) = (table.find("chain")?, table.column("number")?);
        let (icode, value) = (table.find("icode")?, table.column(value)?);
        let mut all = Self::default();
        for row in table.rows() {
            let place = Place {
                chain: row.optional(chain).unwrap_or_default().into(),
                number: row.parse(number, "a whole number")?,
                icode: row.optional(icode).unwrap_or_default().into(),
            };
            let Some(_) = row.optional(Some(value)) else {
                continue;
            };
            let name = row.optional(structure).map(|s| id_of(Path::new(s)));
            let number = row.parse::<f64>(value, "a number")?;
            all.add(name.as_deref().unwrap_or(ANY), place, number);
        }
        Ok(all)
    }

    fn add(&mut self, structure: &str, place: Place, value: f64) {
        if !value.is_nan() {
            let rows = self.of.entry(structure.to_string()).or_default();
            rows.push((place, value));
        }
    }

    fn rows(&self) -> impl Iterator<Item = &(Place, f64)> {
        self.of.values().flatten()
    }

    /// Ids of the structures, in their order; empty where a table names none.
    pub fn structures(&self) -> impl Iterator<Item = &str> {
        self.of.keys().map(String::as_str)
    }

    /// Places and values of a structure's residues, in the order of the file.
    pub fn of(&self, structure: &str) -> &[(Place, f64)] {
        let found = self.of.get(structure).or_else(|| self.of.get(ANY));
        found.map_or(&[], Vec::as_slice)
    }

    /// Whether there are values of a structure, or of a model of it.
    pub fn has(&self, structure: &str) -> bool {
        !self.of(structure).is_empty() || !self.by_model(structure).is_empty()
    }

    /// Whether the values are those of a table that names no structure.
    pub fn is_unnamed(&self) -> bool {
        self.of.contains_key(ANY)
    }

    /// The values of a structure by the residue's place; `None` where it has none.
    pub fn by_place(&self, structure: &str) -> Option<Values> {
        let rows = self.of(structure);
        (!rows.is_empty()).then(|| by_place(rows))
    }

    /// The values of a structure's models, where each has its own.
    pub fn by_model(&self, structure: &str) -> BTreeMap<i32, Values> {
        let number = |id: &str| id.strip_prefix(structure)?.strip_prefix(':')?.parse().ok();
        let models = self.of.iter();
        models
            .filter_map(|(id, rows)| Some((number(id)?, by_place(rows))))
            .collect()
    }

    /// Number of residues that have a value.
    pub fn len(&self) -> usize {
        self.rows().count()
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The smallest and the largest value.
    pub fn range(&self) -> [f64; 2] {
        self.rows()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], (_, v)| {
                [low.min(*v), high.max(*v)]
            })
    }

    /// Maps the smallest value to 0 and the largest to 100 (all to 50 where they are equal).
    pub fn rescale(&mut self) {
        let [low, high] = self.range();
        for (_, v) in self.of.values_mut().flatten() {
            *v = match high > low {
                true => 100.0 * (*v - low) / (high - low),
                false => 50.0,
            };
        }
    }

    /// A structure's values as an attribute of residues that ChimeraX opens (`.defattr`), after the
    /// comment `remark`.
    pub fn attribute(&self, structure: &str, name: &str, remark: &str) -> String {
        let mut text = format!(
            "# holosig: {remark}\nattribute: {}\nmatch mode: any\nrecipient: residues\n",
            attribute_name(name)
        );
        for (place, value) in self.of(structure) {
            let chain = match place.chain.as_str() {
                "" => String::new(),
                chain => format!("/{chain}"),
            };
            text += &format!(
                "\t{chain}:{}{}\t{}\n",
                place.number, place.icode, *value as f32
            );
        }
        text
    }
}

fn by_place(rows: &[(Place, f64)]) -> Values {
    let mut values = Values::new();
    for (place, value) in rows {
        values.entry(place.clone()).or_default().push(*value);
    }
    values
}

/// Whether a name is that of a table.
fn is_table(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".csv", ".tsv", ".txt"].iter().any(|e| name.ends_with(e))
}

/// The number of a principal component, from 1.
fn component(value: &str) -> Option<usize> {
    let number = value.strip_prefix("pc")?.parse().ok();
    number.filter(|&k| k > 0)
}

/// Names of attributes in ChimeraX have letters, digits and underscores, and begin with a small letter.
fn attribute_name(name: &str) -> String {
    let word = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '_',
    };
    let name: String = name.chars().map(word).collect();
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name,
        false => format!("value_{name}"),
    }
}

/// One number for each of `n` residues.
fn column(file: &Node, n: usize, value: &str) -> Result<Vec<f64>> {
    let mut known = vec!["pc1, pc2, ...".to_string()];
    for name in file.names()? {
        let Ok(shape) = file.shape(&name) else {
            continue; // a group
        };
        if shape.first() != Some(&n) || file.is_f32(&name).is_err() {
            continue;
        }
        if let Some(at) = place_in(&name, &shape[1..], value) {
            let width: usize = shape[1..].iter().product();
            let all = file.read_rows::<f32>(&name, 0..n)?;
            return Ok(all
                .iter()
                .skip(at)
                .step_by(width)
                .map(|&v| f64::from(v))
                .collect());
        }
        let zeros = "_0".repeat(shape.len() - 1);
        known.push(match shape.len() {
            1 => name,
            _ => format!("{name}{zeros}, ..."),
        });
    }
    let lost = match value {
        "cosine_loss" => "; it is there after `holosig embed --reconstruct`",
        _ => "",
    };
    let known = known.join(", ");
    Err(Error::file(
        file.path(),
        format!("no value {value:?}{lost}; there are {known}"),
    ))
}

/// Where in a row of the dataset `name`, of shape `row`, the column `value` is: `frames_2_1`, as tables
/// name it.
fn place_in(name: &str, row: &[usize], value: &str) -> Option<usize> {
    let rest = value.strip_prefix(name)?;
    let indices: Vec<usize> = match rest {
        "" => Vec::new(),
        _ => {
            let parts = rest.strip_prefix('_')?.split('_');
            parts.map(|p| p.parse().ok()).collect::<Option<_>>()?
        }
    };
    let inside = indices.len() == row.len() && indices.iter().zip(row).all(|(i, n)| i < n);
    inside.then(|| indices.iter().zip(row).fold(0, |at, (i, n)| at * n + i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_go_by_the_names_that_tables_have() {
        assert_eq!(place_in("cosine_loss", &[], "cosine_loss"), Some(0));
        assert_eq!(place_in("invariants", &[16], "invariants_3"), Some(3));
        assert_eq!(place_in("frames", &[3, 3], "frames_2_1"), Some(7));
        for wrong in [
            "invariants",
            "invariants_16",
            "invariants_",
            "invariants_x",
            "inv_3",
            "invariants_1_1",
        ] {
            assert_eq!(place_in("invariants", &[16], wrong), None, "{wrong}");
        }
        assert_eq!(
            (component("pc3"), component("pc0"), component("pch")),
            (Some(3), None, None)
        );
    }

    #[test]
    fn a_table_may_be_about_one_structure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(
            &path,
            "chain;number;icode;a b\nA;5;;1.5\nA;5;B;nan\nA;6;;\nA;7;;-2\n",
        )
        .unwrap();
        let mut all = Annotation::read(&path, "a b").unwrap();
        assert_eq!((all.len(), all.range()), (2, [-2.0, 1.5]));
        let attribute = all.attribute("any", "a b", "words");
        assert_eq!(
            attribute,
            "# holosig: words\nattribute: a_b\nmatch mode: any\nrecipient: residues\n\t/A:5\t1.5\n\t/A:7\t-2\n"
        );
        all.rescale();
        assert_eq!(all.range(), [0.0, 100.0]);
        std::fs::write(&path, "structure,chain,number,v\nx.pdb.gz,A,5,inf\n").unwrap();
        let told = Annotation::read(&path, "v").unwrap_err().to_string();
        assert!(told.ends_with("v of residue 5 is infinite"), "{told}");
        std::fs::write(&path, "structure,chain,number,v\nx.pdb.gz,A,5,2\n").unwrap();
        let all = Annotation::read(&path, "v").unwrap();
        assert_eq!((all.of("x").len(), all.of("y").len()), (1, 0));
        assert_eq!(attribute_name("7-Kd"), "value_7_kd");
    }
}
