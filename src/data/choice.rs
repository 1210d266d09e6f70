//! Which structures and chains are wanted, and for which split: from ProteinNet files or from
//! a table.

use crate::data::Split;
use crate::data::proteinnet::{self, Fields, is_pdb_id};
use crate::data::table::Table;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Structures by name, each with its split and chains.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// In the order in which they were first named.
    entries: Vec<Entry>,
    by_key: HashMap<String, usize>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// As first written, less the class and chain of a ProteinNet id.
    name: String,
    split: Split,
    /// `None` for all.
    chains: Option<Vec<String>>,
    /// The record or line that first named it.
    source: String,
}

impl Choice {
    /// What the records of ProteinNet files choose; their coordinates are not read.
    ///
    /// # Errors
    /// Those of [`proteinnet::read`]; records that put one PDB entry into two splits.
    pub fn from_proteinnet<P: AsRef<Path>>(files: &[(P, Split)]) -> Result<Self> {
        let mut choice = Self::default();
        for (path, split) in files {
            let path = path.as_ref();
            proteinnet::read(path, Fields::Sequence, |record| {
                let id = record.id;
                let name = id.pdb.as_deref().unwrap_or(&id.name);
                let source = format!("{}: line {}: record {id}", path.display(), record.line);
                choice.add(name, *split, id.chain, source)
            })?;
        }
        Ok(choice)
    }

    /// What a CSV file with the columns `id`, `split` and, if wanted, `chain` chooses. An id
    /// is a PDB id or a file's name; an id with several chains has a line for each; no chain
    /// stands for all.
    ///
    /// # Errors
    /// The file is not CSV; an unknown, missing or doubled column; an unknown split; an empty
    /// id; lines that put one id into two splits; no line at all.
    pub fn from_csv(path: &Path) -> Result<Self> {
        let table = Table::read(path)?;
        check_columns(&table)?;
        let (id, split, chain) = (
            table.column("id")?,
            table.column("split")?,
            table.find("chain")?,
        );
        let mut choice = Self::default();
        for row in table.rows() {
            let name = row.text(id);
            if name.is_empty() {
                return Err(row.error("id \"\": an id must not be empty"));
            }
            let wanted = row.text(split).parse::<Split>();
            let wanted = wanted.map_err(|e| row.error(format!("id {name:?}: {e}")))?;
            let source = format!("{}: line {}: id {name:?}", path.display(), row.line());
            let chain = row.optional(chain).map(str::to_owned);
            choice.add(name, wanted, chain, source)?;
        }
        if choice.entries.is_empty() {
            return Err(Error::file(path, "no structure is named in this file"));
        }
        Ok(choice)
    }

    fn add(
        &mut self,
        name: &str,
        split: Split,
        chain: Option<String>,
        source: String,
    ) -> Result<()> {
        let key = key(name);
        let Some(&index) = self.by_key.get(&key) else {
            self.by_key.insert(key, self.entries.len());
            self.entries.push(Entry {
                name: name.to_owned(),
                split,
                chains: chain.map(|c| vec![c]),
                source,
            });
            return Ok(());
        };
        let entry = &mut self.entries[index];
        if entry.split != split {
            return Err(Error::input(format!(
                "{source}: {name} is put into split {split} here, into split {} by {}: remove one",
                entry.split, entry.source
            )));
        }
        match (&mut entry.chains, chain) {
            (Some(chains), Some(chain)) if !chains.contains(&chain) => chains.push(chain),
            (chains @ Some(_), None) => *chains = None,
            _ => {}
        }
        Ok(())
    }

    /// The split and the chains (`None` for all) wanted of the structure in a file of this
    /// name, if any are. Letter case, `pdb` in front and structure files' extensions do not
    /// count. The whole name is looked for first (`1a2b`, `1A2K_l_u`, `T0285`), then a PDB id
    /// or ASTRAL domain within it (`pdb1a2b.ent`, `1abc_A`, `d1a2ba_`, `pdb_00001abc`).
    pub fn find(&self, structure: &str) -> Option<(Split, Option<Vec<String>>)> {
        let entry = &self.entries[self.index(structure)?];
        Some((entry.split, entry.chains.clone()))
    }

    /// What is wanted and not there, in the order in which it was first named: entries that
    /// none of the structures `found` answers to, and chains (`1abc_B`) that no structure of
    /// their entry has. `found` are structures' names with their chains.
    pub fn missing<'a>(
        &self,
        found: impl IntoIterator<Item = (&'a str, &'a [String])>,
    ) -> Vec<String> {
        let mut there: HashMap<usize, HashSet<&str>> = HashMap::new();
        for (structure, chains) in found {
            if let Some(index) = self.index(structure) {
                let entry = there.entry(index).or_default();
                entry.extend(chains.iter().map(String::as_str));
            }
        }
        let mut missing = Vec::new();
        for (i, entry) in self.entries.iter().enumerate() {
            let Some(chains) = there.get(&i) else {
                missing.push(entry.name.clone());
                continue;
            };
            let wanted = entry.chains.iter().flatten();
            let absent = wanted.filter(|c| !chains.contains(c.as_str()));
            missing.extend(absent.map(|c| format!("{}_{c}", entry.name)));
        }
        missing
    }

    /// Number of structures wanted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn index(&self, structure: &str) -> Option<usize> {
        let whole = key(structure);
        let index = self.by_key.get(&whole);
        let within = || pdb_ids(&whole).find_map(|id| self.by_key.get(id));
        index.or_else(within).copied()
    }
}

/// A name in lower case, without what different archives add to it.
fn key(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let mut stem = &lower[..];
    while let Some(shorter) = [".gz", ".pdb", ".ent", ".cif", ".mmcif"]
        .iter()
        .find_map(|extension| stem.strip_suffix(extension))
    {
        stem = shorter;
    }
    let short = stem
        .strip_prefix("pdb_0000")
        .or_else(|| stem.strip_prefix("pdb"));
    short.filter(|s| is_pdb_id(s)).unwrap_or(stem).to_owned()
}

/// What may be PDB ids in a name in lower case.
fn pdb_ids(name: &str) -> impl Iterator<Item = &str> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| {
        let domain = (5..=7).contains(&word.len()) && word.starts_with('d');
        [
            Some(word),
            word.strip_prefix("pdb"),
            word.strip_prefix("0000"),
            domain.then(|| &word[1..5]),
        ]
        .into_iter()
        .flatten()
        .find(|w| is_pdb_id(w))
    })
}

/// Refuses columns other than `id`, `split` and `chain`: a name with a slip in it must not pass
/// for one that is left out. A column without a name, an index that pandas writes, says nothing.
fn check_columns(table: &Table) -> Result<()> {
    let names = ["id", "split", "chain"];
    let known = |c: &str| c.is_empty() || names.iter().any(|n| n.eq_ignore_ascii_case(c));
    let strange = |c: &&String| !known(c);
    match table.columns().iter().find(strange) {
        Some(column) => Err(table.in_header(format!(
            "unknown column {column:?}: the columns are id,split or id,split,chain, named in the \
             first line"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Choice> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits.csv");
        std::fs::write(&path, text).unwrap();
        Choice::from_csv(&path)
    }

    /// Files `training_30`, `validation` and `testing` of records with these ids.
    fn proteinnet(ids: [&[&str]; 3]) -> Result<Choice> {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, ids) in ["training_30", "validation", "testing"].iter().zip(ids) {
            let records = ids
                .iter()
                .map(|id| format!("[ID]\n{id}\n[PRIMARY]\nAG\n\n"));
            let path = folder.path().join(name);
            std::fs::write(&path, records.collect::<String>()).unwrap();
            let split = proteinnet::split_of(&path)?;
            files.extend((!ids.is_empty()).then_some((path, split)));
        }
        Choice::from_proteinnet(&files)
    }

    fn chains(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn records_choose_entries_chains_and_splits() {
        let choice = proteinnet([
            &["1A2B_1_A", "3VC5_d3vc5a1", "1A2B_3_c", "3VC5_d3vc5a2"],
            &["30#2J58_1_A", "90#d1a2c__"],
            &["TBM#T0285", "FM#T0350"],
        ])
        .unwrap();
        assert_eq!(choice.len(), 6);
        let train = Some((Split::Train, chains(&["A", "c"])));
        for name in [
            "1a2b",
            "1A2B",
            "pdb1a2b.ent",
            "pdb1a2b",
            "1a2b_A",
            "x-1a2b-y",
            "1a2b.cif.gz",
        ] {
            assert_eq!(choice.find(name), train, "{name}");
        }
        assert_eq!(choice.find("d3vc5a1"), Some((Split::Train, chains(&["A"]))));
        assert_eq!(choice.find("1A2C"), Some((Split::Validation, None)));
        assert_eq!(choice.find("t0285"), Some((Split::Test, None)));
        for name in ["1a2", "1a2bc", "9xyz", "", "T028", "é1a2b1"] {
            assert_eq!(choice.find(name), None, "{name}");
        }
        let found = [
            ("pdb1a2b.ent", &["c".to_string()][..]),
            ("2j58", &["A".to_string()]),
            ("T0350", &[]),
            ("9xyz", &[]),
        ];
        let missing = choice.missing(found);
        assert_eq!(missing, ["1a2b_A", "3vc5", "1a2c", "T0285"]);
    }

    #[test]
    fn records_that_disagree_are_named() {
        let error = proteinnet([&["1A2B_1_A"], &["30#1A2B_2_B"], &[]]).unwrap_err();
        let message = error.to_string();
        for part in [
            "validation: line 2: record 30#1A2B_2_B",
            "training_30: line 2: record 1A2B_1_A",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn table_of_ids() {
        let choice = csv("\u{feff}ID, chain, split\n\
             1A2K_l_u,,train\n1abc,A,test\n 1abc , B , test\n1abc,A,test\n\
             pdb_00002abc,,validation\n\"my, protein.pdb\",X,validation\n2xyz,A,train\n2xyz,,train\n")
        .unwrap();
        assert_eq!(choice.find("1a2k_L_u"), Some((Split::Train, None)));
        assert_eq!(choice.find("1A2K_r_u"), None);
        let both = Some((Split::Test, chains(&["A", "B"])));
        assert_eq!(choice.find("1abc_A"), both);
        assert_eq!(choice.find("2abc"), Some((Split::Validation, None)));
        assert_eq!(
            choice.find("pdb_00002abc_xyz"),
            Some((Split::Validation, None))
        );
        assert_eq!(
            choice.find("My, Protein"),
            Some((Split::Validation, chains(&["X"])))
        );
        assert_eq!(choice.find("2xyz"), Some((Split::Train, None)));
        let chains = ["A", "B", "X"].map(String::from);
        let found = ["1abc_A", "2xyz", "my, protein"].map(|name| (name, &chains[..]));
        assert_eq!(choice.missing(found), ["1A2K_l_u", "pdb_00002abc"]);
    }

    #[test]
    fn an_index_without_a_name_says_nothing() {
        let choice = csv(",id,split\n0,1abc,test\n1,2abc,train\n").unwrap();
        assert_eq!(choice.find("1abc"), Some((Split::Test, None)));
    }

    #[test]
    fn whole_names_come_before_pdb_ids() {
        let choice = csv("id,split\n1abc_A,test\n1abc,train\n").unwrap();
        assert_eq!(choice.find("1ABC_A"), Some((Split::Test, None)));
        assert_eq!(choice.find("1abc_B"), Some((Split::Train, None)));
    }

    #[test]
    fn bad_tables_are_refused_by_file_and_line() {
        let cases = [
            ("", "no column \"id\""),
            ("id,chain\n1abc,A\n", "line 1: no column \"split\""),
            (
                "id,split,fold\n1abc,train,1\n",
                "line 1: unknown column \"fold\"",
            ),
            ("id,split,id\n1abc,train,1\n", "line 1: two columns \"id\""),
            ("id,split\n", "no structure"),
            (
                "id,split\n1abc,train\n2abc,holdout\n",
                "line 3: id \"2abc\": ",
            ),
            (
                "id,split\n1abc,train\n,test\n",
                "line 3: id \"\": an id must not be empty",
            ),
            (
                "id,split\n1abc\n",
                "line 2: 1 columns where the first line has 2",
            ),
            (
                "id,split\n1abc,train\n2abc,test\n1ABC.pdb,test\n",
                "line 4: id \"1ABC.pdb\": ",
            ),
        ];
        for (text, expected) in cases {
            let error = csv(text).unwrap_err();
            assert_eq!(error.exit_code(), crate::error::EXIT_INPUT);
            let message = error.to_string();
            assert!(message.contains("splits.csv: "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
        let twice = csv("id,split\n1abc,train\n2abc,test\n1ABC.pdb,test\n").unwrap_err();
        assert!(twice.to_string().contains("line 2: id \"1abc\""), "{twice}");
    }
}
