//! Files of systems: one file of this folder per format, one line of `FORMATS` each.

mod cif;
mod extxyz;
mod json;
mod npz;
mod own;
mod poscar;
mod qm9;
mod sdf;
mod tables;

pub use tables::add_targets;

use super::stress::{self, Order, Stress};
use super::{STRESS, Sample, units};
use crate::data::Split;
use crate::data::structure::gunzip;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Which of a file's labels are read, where it has several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The file's main ones.
    #[default]
    Main,
    /// Of a file of rMD17 the energies and forces of MD17 (`old_energies`, `old_forces`).
    Md17,
}

/// How files are read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    pub labels: Labels,
    /// Units of targets that a file does not name or names wrongly: target and unit.
    pub units: Vec<(String, String)>,
    /// Units of energy that targets are converted to: target, nothing for all energies, and unit.
    pub convert: Vec<(String, String)>,
    /// Order of the six numbers of stresses, if it is not the format's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stress_order: Option<Order>,
}

impl Options {
    /// The unit of a target, where the format's own is `usual`.
    ///
    /// # Errors
    /// A unit that is not known.
    fn unit(&self, target: &str, usual: &str) -> Result<String> {
        let given = self.units.iter().find(|(name, _)| name == target);
        let unit = given.map_or(usual, |(_, unit)| unit);
        units::name_of(unit).map(String::from)
    }

    /// # Errors
    /// A unit that is not known, or for stresses none of a pressure; stresses that are to be
    /// converted without their energy.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::input(what));
        for (name, unit) in &self.units {
            let unit = units::name_of(unit)?;
            if name == STRESS && units::pressure(unit).is_none() {
                return wrong(format!(
                    "--unit {STRESS}={unit}: eV/A^3, GPa or kbar is needed"
                ));
            }
        }
        for (name, unit) in &self.convert {
            units::name_of(unit)?;
            if name == STRESS {
                return wrong(format!(
                    "--convert {STRESS}: stresses go along with their energy"
                ));
            }
        }
        Ok(())
    }
}

/// What the numbers are that a file has of a stress.
#[derive(Debug, Clone, Copy)]
enum Convention {
    /// ASE: as here ([`super::stress`]), six numbers in Voigt's order.
    Ase,
    /// QUIP: minus the stress times the volume, an energy.
    Virial,
    /// VASP: minus the stress in kbar, six numbers in VASP's order.
    Vasp,
}

/// The stress that `numbers` of a file are, for a sample whose cell and energy are known.
fn stress_of(
    sample: &Sample,
    numbers: &[f64],
    convention: Convention,
    options: &Options,
) -> std::result::Result<Stress, String> {
    let own = match convention {
        Convention::Vasp => Order::VASP,
        Convention::Ase | Convention::Virial => Order::VOIGT,
    };
    let tensor = stress::tensor(numbers, options.stress_order.unwrap_or(own))?;
    // A sample without an energy is refused later.
    let energy = super::energy_of(&sample.values).map_or("eV", |e| &*e.unit);
    let given = options.units.iter().find(|(name, _)| name == STRESS);
    let given = given.and_then(|(_, unit)| units::name_of(unit).ok());
    let in_unit = |unit: &str| {
        let factors = units::pressure(unit).zip(units::factor("eV", energy));
        let unknown = || format!("a stress in {unit} of an energy in {energy:?}");
        factors
            .map(|(own, energy)| own * energy)
            .ok_or_else(unknown)
    };
    let factor = match (convention, given) {
        (Convention::Virial, _) => -1.0 / stress::cell_of(sample)?.volume(),
        (Convention::Ase, None) => 1.0,
        (Convention::Ase, Some(unit)) => in_unit(unit)?,
        (Convention::Vasp, unit) => -in_unit(unit.unwrap_or("kbar"))?,
    };
    Ok(tensor.map(|row| row.map(|x| factor * x)))
}

/// A file to be read.
pub struct Source {
    path: PathBuf,
    /// Name of the file without endings.
    stem: String,
    /// What its systems are called.
    name: String,
    /// Endings in lower case without `.gz`.
    ending: String,
}

impl Source {
    pub fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        // VASP names its files without an ending.
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, name));
        Self {
            path: path.to_path_buf(),
            stem: stem.into(),
            name: stem.into(),
            ending: ending.to_ascii_lowercase(),
        }
    }

    /// An error about the file.
    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::file(&self.path, what)
    }

    /// The file's bytes, unpacked.
    fn bytes(&self) -> Result<Vec<u8>> {
        let raw = files::read(&self.path)?;
        match raw.starts_with(&[0x1f, 0x8b]) {
            true => gunzip(&self.path, &raw),
            false => Ok(raw),
        }
    }

    /// The file as text. Names of authors and remarks come in whatever encoding; atoms are ASCII.
    fn text(&self) -> Result<String> {
        Ok(files::lossy_text(files::plain(self.bytes()?)))
    }

    /// The split that the file's name tells: one of its words is `train`, `val` or `test`.
    fn split(&self) -> Option<Split> {
        let words = self.stem.split(|c: char| !c.is_ascii_alphanumeric());
        let mut splits = words.filter_map(|word| match word {
            "training" => Some(Split::Train),
            "testing" => Some(Split::Test),
            word => word.parse().ok(),
        });
        splits.next()
    }

    /// A sample of this file, the `number`th if it has several.
    fn sample(&self, number: Option<usize>) -> Sample {
        let id = match number {
            Some(number) => format!("{}:{number}", self.name),
            None => self.name.clone(),
        };
        Sample {
            id,
            group: self.name.clone(),
            split: self.split(),
            ..Sample::default()
        }
    }
}

/// A format of files.
struct Format {
    /// What it is called.
    name: &'static str,
    /// Endings of files that may be of the format.
    endings: &'static [&'static str],
    /// Whether such a file is; asked in the order of [`FORMATS`].
    fits: fn(&Source) -> Result<bool>,
    read: Reader,
}

/// How the systems of a file are read.
enum Reader {
    /// All or none.
    Whole(fn(&Source, &Options) -> Result<Vec<Sample>>),
    /// Each by itself: one that is damaged leaves the others as they are.
    Each(fn(&Source, &Options) -> Result<Vec<Result<Sample>>>),
}

/// All formats.
const FORMATS: &[Format] = &[
    Format {
        name: "npz of MD17 and rMD17",
        endings: &["npz"],
        fits: |_| Ok(true),
        read: Reader::Whole(npz::read),
    },
    Format {
        name: "a systems file of holosig",
        endings: &["h5", "hdf5"],
        fits: own::fits,
        read: Reader::Whole(own::read),
    },
    Format {
        name: "HDF5 of QM9",
        endings: &["h5", "hdf5"],
        fits: |_| Ok(true),
        read: Reader::Whole(qm9::read_hdf5),
    },
    Format {
        name: "xyz of QM9",
        endings: &["xyz"],
        fits: qm9::is_xyz,
        read: Reader::Whole(qm9::read_xyz),
    },
    Format {
        name: "extended XYZ",
        endings: &["xyz", "extxyz"],
        fits: |_| Ok(true),
        read: Reader::Each(extxyz::read),
    },
    Format {
        name: "CIF of a crystal",
        endings: &["cif"],
        fits: cif::fits,
        read: Reader::Whole(cif::read),
    },
    Format {
        name: "PDB or mmCIF",
        endings: &["pdb", "ent", "cif", "mmcif"],
        fits: |_| Ok(true),
        read: Reader::Whole(cif::read_structure),
    },
    Format {
        name: "POSCAR",
        endings: &["poscar", "contcar", "vasp"],
        fits: |_| Ok(true),
        read: Reader::Whole(poscar::read),
    },
    Format {
        name: "SDF",
        endings: &["sdf", "mol"],
        fits: |_| Ok(true),
        read: Reader::Each(sdf::read),
    },
    Format {
        name: "JSON of JARVIS, pymatgen or ASE",
        endings: &["json"],
        fits: |_| Ok(true),
        read: Reader::Each(json::read),
    },
    Format {
        name: "CSV of qm9pack, or with CIF texts",
        endings: &["csv"],
        fits: |_| Ok(true),
        read: Reader::Each(tables::read),
    },
];

/// Whether a file of this name is taken from a folder.
pub fn is_systems_name(name: &str) -> bool {
    let source = Source::new(Path::new(name));
    !name.starts_with('.') && of_ending(&source).next().is_some()
}

fn of_ending(source: &Source) -> impl Iterator<Item = &'static Format> {
    let formats = FORMATS.iter();
    formats.filter(|f| f.endings.contains(&source.ending.as_str()))
}

/// What the systems of each file are called: the file's name without its ending, and as many of the
/// folders before it as tell it from files of the same name (VASP calls all its files POSCAR).
pub fn names(files: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf, folders: usize| {
        let parts = path.parent().into_iter().flat_map(Path::components);
        let parts: Vec<_> = parts.map(|c| c.as_os_str().to_string_lossy()).collect();
        let first = parts.len().saturating_sub(folders);
        let stem = Source::new(path).stem;
        let own = parts[first..].iter().map(|part| part.as_ref());
        own.chain([stem.as_str()]).collect::<Vec<_>>().join("/")
    };
    let deepest = files.iter().map(|path| path.components().count()).max();
    let mut names: Vec<String> = files.iter().map(|path| name(path, 0)).collect();
    for folders in 1..deepest.unwrap_or(0) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        names
            .iter()
            .for_each(|name| *counts.entry(name.clone()).or_default() += 1);
        for (own, path) in names.iter_mut().zip(files) {
            if counts[own] > 1 {
                *own = name(path, folders);
            }
        }
    }
    names
}

/// Reads all systems of a file, in the units that `options` ask for, and checks them.
///
/// # Errors
/// One line that names the file, the place in it and what is wrong: a file of no known format,
/// unreadable or damaged; a system that [`super::check`] refuses; a unit that is not known.
pub fn read(path: &Path, options: &Options) -> Result<Vec<Sample>> {
    let name = Source::new(path).stem;
    read_each(path, &name, options)?.into_iter().collect()
}

/// Each system of a file, or why it cannot be used; `name` is the one that [`names`] gives the file.
///
/// # Errors
/// As [`read`], of a file of which nothing can be used.
pub fn read_each(path: &Path, name: &str, options: &Options) -> Result<Vec<Result<Sample>>> {
    let source = Source {
        name: name.into(),
        ..Source::new(path)
    };
    let named = |e: Error| match e {
        Error::Input(what) if !what.contains(&*path.to_string_lossy()) => source.error(what),
        other => other,
    };
    for format in of_ending(&source) {
        if !(format.fits)(&source)? {
            continue;
        }
        let samples = match format.read {
            Reader::Whole(read) => {
                let all = read(&source, options);
                all.map(|all| all.into_iter().map(Ok).collect())
            }
            Reader::Each(read) => read(&source, options),
        };
        let samples: Vec<Result<Sample>> = samples.map_err(named)?;
        if samples.is_empty() {
            return Err(source.error(format!("no systems in it ({} is what it is)", format.name)));
        }
        let checked = |sample: Result<Sample>| {
            let mut sample = sample.map_err(named)?;
            convert(&mut sample, options).map_err(|e| e.in_file(path))?;
            super::check(&sample).map_err(|e| e.in_file(path))?;
            Ok(sample)
        };
        return Ok(samples.into_iter().map(checked).collect());
    }
    let mut names: Vec<&str> = FORMATS.iter().flat_map(|f| f.endings).copied().collect();
    names.dedup();
    Err(source.error(format!(
        "a file of no known format: names end in .{}, also .gz",
        names.join(", .")
    )))
}

/// Brings energies, and forces and stresses with theirs, to the units that are asked for.
fn convert(sample: &mut Sample, options: &Options) -> Result<()> {
    let energy = super::energy_of(&sample.values).map(|e| e.name.clone());
    for (name, unit) in &options.convert {
        let to = units::name_of(unit)?;
        for value in &mut sample.values {
            let factor = match (units::factor(&value.unit, to), name) {
                (Some(factor), name) if name.is_empty() || *name == value.name => factor,
                (None, name) if *name == value.name => {
                    let from = &value.unit;
                    let what = format!("--convert {name}={to}: {from:?} cannot become {to}");
                    return Err(Error::input(what));
                }
                _ => continue,
            };
            value.value *= factor;
            value.unit = to.into();
            if energy.as_ref() == Some(&value.name) {
                let forces = sample.forces.iter_mut().flatten().flatten();
                let stress = sample.stress.iter_mut().flatten().flatten();
                forces.chain(stress).for_each(|x| *x *= factor);
            }
        }
    }
    Ok(())
}

/// A number of a text.
fn number<T: std::str::FromStr>(text: &str, what: &str) -> std::result::Result<T, String> {
    let bad = |_| format!("{text:?} is not {what}");
    text.parse().map_err(bad)
}

/// The atomic number of a symbol or of a number in a text.
fn element(text: &str) -> std::result::Result<u8, String> {
    let known = crate::data::structure::atomic_number(text.as_bytes());
    let number = || text.parse().ok().filter(|&z: &u8| z > 0);
    known
        .or_else(number)
        .ok_or_else(|| format!("{text:?} is not an element"))
}

/// An error at a line, counted from 1.
fn at_line(line: usize, what: impl std::fmt::Display) -> Error {
    Error::input(format!("line {line}: {what}"))
}

#[cfg(test)]
mod stress_tests;
#[cfg(test)]
mod tests;
