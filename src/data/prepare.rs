//! Reads many structure files, shared out to the ranks, into one dataset.

use super::Split;
use super::dataset::Chosen;
use super::structure::{
    ReadOptions, Structure, entry_of, id_of, is_entry, is_structure_name, read,
};
use crate::comm::World;
use crate::{Error, Result, files};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Files that all ranks together read before their structures are collected: bounds the
/// memory of one exchange.
const ROUND: usize = 512;

/// A structure file and the id that its structures get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructureFile {
    pub path: PathBuf,
    pub id: String,
}

/// A file that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    pub file: PathBuf,
    pub reason: String,
}

/// What came of a list of files. Complete on rank 0, empty on the others.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// In the order of the files.
    pub structures: Vec<Structure>,
    pub skipped: Vec<Skipped>,
}

/// The structure files that `inputs` name: files as they are, folders with all their structure
/// files in name order (subfolders too), `@LIST` with the paths in that text file, one a line,
/// relative to it. Each file once, where it is first named.
///
/// Where there is a `library`, a four-character PDB id that is no file stands for its entry there:
/// a plain folder, or one in the layout of the archive and its mirrors
/// (`divided/pdb/ab/pdb1abc.ent.gz`), PDB format first.
///
/// A file's name gives its id ([`id_of`]); files that share one have as much of their path as
/// tells them apart instead (`a/1abc.pdb`, `b/1abc.pdb`).
///
/// # Errors
/// A path that does not exist; a folder or list without structure files.
pub fn list_files(inputs: &[PathBuf], library: Option<&Path>) -> Result<Vec<StructureFile>> {
    let wanted = Wanted {
        is_one: is_structure_name,
        what: "structure files in it (.pdb, .ent, .cif, .mmcif, also .gz)",
        library,
    };
    Ok(name(list_named(inputs, &wanted)?))
}

/// Which files [`list_named`] looks for.
pub struct Wanted<'a> {
    /// Tells by a name which files of a folder are taken.
    pub is_one: fn(&str) -> bool,
    /// What they are called, where there are none.
    pub what: &'a str,
    /// Where entries of the PDB are looked up.
    pub library: Option<&'a Path>,
}

/// The files that `inputs` name, as [`list_files`] does, of any kind.
///
/// # Errors
/// As [`list_files`].
pub fn list_named(inputs: &[PathBuf], wanted: &Wanted) -> Result<Vec<PathBuf>> {
    let library = wanted.library;
    let mut found = Vec::new();
    for input in inputs {
        let before = found.len();
        match input.to_str().and_then(|t| t.strip_prefix('@')) {
            Some(list) => from_list(Path::new(list), library, &mut found)?,
            None if input.is_dir() => {
                let name =
                    |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
                let is_one = |path: &PathBuf| name(path).is_some_and(|n| (wanted.is_one)(&n));
                found.extend(files::within(input)?.into_iter().filter(is_one));
            }
            None if input.exists() => found.push(input.clone()),
            None => match library.and_then(|folder| entry_in(folder, input)) {
                Some(path) => found.push(path),
                None => return Err(Error::file(input, "no such file or folder")),
            },
        }
        if found.len() == before {
            return Err(Error::file(input, format!("no {}", wanted.what)));
        }
    }
    let mut seen = HashSet::new();
    found.retain(|f| seen.insert(f.clone()));
    Ok(found)
}

/// Gives each file the shortest id that no other has.
fn name(paths: Vec<PathBuf>) -> Vec<StructureFile> {
    let longest = paths.iter().map(|p| p.components().count()).max();
    let mut ids: Vec<String> = paths.iter().map(|p| id_of(p)).collect();
    for parts in 1..=longest.unwrap_or(0) {
        let mut count: HashMap<String, usize> = HashMap::new();
        for id in &ids {
            *count.entry(id.clone()).or_default() += 1;
        }
        for (id, path) in ids.iter_mut().zip(&paths) {
            if count[id] > 1 {
                *id = tail(path, parts);
            }
        }
    }
    let named = paths.into_iter().zip(ids);
    named.map(|(path, id)| StructureFile { path, id }).collect()
}

/// The last components of a path.
fn tail(path: &Path, parts: usize) -> String {
    let all: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    all[all.len().saturating_sub(parts)..].join("/")
}

/// The file of the PDB entry `id` in a library of structures, under the names and folders that the
/// archive gives it. An entry that is not there is given the plain name, for the reader to refuse;
/// `None` if `id` is no id of an entry.
fn entry_in(library: &Path, id: &Path) -> Option<PathBuf> {
    let given = id.to_str().filter(|id| is_entry(id))?;
    let id = given.to_ascii_lowercase();
    let middle = &id[1..3];
    let folders = [
        "",
        "pdb",
        "mmCIF",
        "divided",
        "divided/pdb",
        "divided/mmCIF",
    ];
    let folders = folders
        .iter()
        .flat_map(|f| [library.join(f), library.join(f).join(middle)]);
    let names = [
        format!("pdb{id}.ent"),
        format!("{id}.pdb"),
        format!("{given}.pdb"),
        format!("{id}.ent"),
        format!("{id}.cif"),
        format!("{given}.cif"),
    ];
    let mut paths = folders.flat_map(|folder| {
        let both = |name: &String| [folder.join(name), folder.join(format!("{name}.gz"))];
        names.iter().flat_map(both).collect::<Vec<_>>()
    });
    let found = paths.find(|path| path.is_file());
    Some(found.unwrap_or_else(|| library.join(format!("{id}.pdb"))))
}

fn from_list(list: &Path, library: Option<&Path>, files: &mut Vec<PathBuf>) -> Result<()> {
    let text = files::read_text(list)?;
    let folder = list.parent().unwrap_or(Path::new(""));
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let here = folder.join(line);
        let entry = || entry_in(library?, Path::new(line));
        files.push(match here.exists() {
            true => here,
            false => entry().unwrap_or(here),
        });
    }
    Ok(())
}

/// Reads `files`, each rank its share. Collective.
///
/// A file that cannot be used is skipped, unless `strict`: then the first such file, in the
/// order of the list, is the error. `progress` is called on rank 0 with the number of files that
/// are done.
pub fn collect(
    world: &World,
    files: &[StructureFile],
    options: &ReadOptions,
    strict: bool,
    mut progress: impl FnMut(usize),
) -> Result<Collected> {
    let mut all = Collected::default();
    world.ordered(
        files.len(),
        ROUND.div_ceil(world.size()),
        |block| {
            let read = files[block].par_iter().map(|file| outcome(file, options));
            Ok(read.collect::<Vec<Outcome>>())
        },
        |block, outcomes| {
            for (file, outcome) in files[block.clone()].iter().zip(outcomes) {
                match outcome {
                    Ok(structures) => all.structures.extend(structures),
                    Err(reason) if strict => return Err(Error::Input(reason)),
                    Err(reason) => all.skipped.push(Skipped {
                        file: file.path.clone(),
                        reason,
                    }),
                }
            }
            progress(block.end);
            Ok(())
        },
    )?;
    Ok(all)
}

/// A file's structures, or why there are none.
type Outcome = std::result::Result<Vec<Structure>, String>;

fn outcome(file: &StructureFile, options: &ReadOptions) -> Outcome {
    let mut structures = read(&file.path, options).map_err(|e| e.to_string())?;
    let from_name = id_of(&file.path).len();
    for s in &mut structures {
        // What `read` may have appended, a model's number, stays.
        s.id.replace_range(..from_name, &file.id);
    }
    Ok(structures)
}

/// Splits by chance, but always the same way: the fate of a structure hangs on its PDB entry
/// and the seed alone, so that files of one entry stay together and more files move none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fractions {
    pub validation: f64,
    pub test: f64,
    pub seed: u64,
}

impl Fractions {
    /// # Errors
    /// Fractions that are negative or leave nothing for training.
    pub fn validate(&self) -> Result<()> {
        let fits = |f: f64| (0.0..1.0).contains(&f);
        match fits(self.validation) && fits(self.test) && self.validation + self.test < 1.0 {
            true => Ok(()),
            false => Err(Error::input(format!(
                "fractions of {} for validation and {} for test: both must be at least 0 and leave some for training",
                self.validation, self.test
            ))),
        }
    }

    pub fn split(&self, structure: &str) -> Split {
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(entry_of(structure).as_bytes(), self.seed);
        let place = hash as f64 / 2f64.powi(64);
        match place {
            p if p < self.test => Split::Test,
            p if p < self.test + self.validation => Split::Validation,
            _ => Split::Train,
        }
    }

    /// Every structure with all its chains.
    pub fn assign(&self, structures: Vec<Structure>) -> Vec<Chosen> {
        let choose = |structure: Structure| Chosen {
            split: self.split(&structure.id),
            chains: None,
            complex: None,
            structure,
        };
        structures.into_iter().map(choose).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "a/1abc.pdb",
            "a/1abc.cif.gz",
            "b/1abc.pdb",
            "b/pdb2xyz.ent",
            "b/readme.txt",
        ];
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let list = folder.path().join("list");
        std::fs::write(&list, "# again\nb/1abc.pdb\n\na/1abc.pdb\n").unwrap();
        let at = PathBuf::from(format!("@{}", list.display()));
        let found = list_files(&[at, folder.path().to_path_buf()], None).unwrap();
        let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
        assert_eq!(ids, ["b/1abc.pdb", "a/1abc.pdb", "1abc.cif.gz", "2xyz"]);
        // One entry, one split: a file's format and folder do not count.
        let entries: Vec<String> = ids.iter().map(|id| entry_of(id)).collect();
        assert_eq!(entries, ["1abc", "1abc", "1abc", "2xyz"]);

        let nowhere = [folder.path().join("nowhere")];
        let error = list_files(&nowhere, None).unwrap_err().to_string();
        assert!(
            error.ends_with("nowhere: no such file or folder"),
            "{error}"
        );
    }

    #[test]
    fn entries_are_found_in_a_library() {
        let library = tempfile::tempdir().unwrap();
        let names = [
            "divided/pdb/ab/pdb1abc.ent.gz",
            "divided/mmCIF/xy/2xyz.cif.gz",
            "3DEF.pdb",
            "hi/pdb4hij.ent",
        ];
        for name in names {
            let path = library.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let list = library.path().join("list");
        std::fs::write(
            &list,
            "\u{feff}1ABC\r\n2xyz\r\n\r\n3DEF\r\n4hij\r\n9zzz\r\n",
        )
        .unwrap();
        let at = PathBuf::from(format!("@{}", list.display()));
        let found = list_files(&[at, "1abc".into()], Some(library.path())).unwrap();
        let paths: Vec<PathBuf> = found.iter().map(|f| f.path.clone()).collect();
        let expected = names.iter().chain(&["9zzz.pdb"]);
        assert_eq!(
            paths,
            expected.map(|n| library.path().join(n)).collect::<Vec<_>>()
        );
        let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
        assert_eq!(ids, ["1abc", "2xyz", "3DEF", "4hij", "9zzz"]);
    }

    #[test]
    fn fractions_are_kept_and_entries_stay_together() {
        let f = Fractions {
            validation: 0.1,
            test: 0.2,
            seed: 3,
        };
        let ids: Vec<String> = (0..10_000).map(|i| format!("structure{i}")).collect();
        let count = |split| ids.iter().filter(|id| f.split(id) == split).count();
        assert!((count(Split::Test) as i64 - 2000).abs() < 150);
        assert!((count(Split::Validation) as i64 - 1000).abs() < 120);
        assert_eq!(f.split("1A2K_l_u"), f.split("1a2k"));
        assert_ne!(
            ids.iter().map(|i| f.split(i)).collect::<Vec<_>>(),
            ids.iter()
                .map(|i| Fractions { seed: 4, ..f }.split(i))
                .collect::<Vec<_>>()
        );
        assert!(
            Fractions {
                validation: 0.6,
                test: 0.4,
                seed: 0
            }
            .validate()
            .is_err()
        );
    }
}
