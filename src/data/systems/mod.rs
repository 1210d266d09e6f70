//! Molecules and crystals with what is to be learned of them: energies, forces, other numbers.
//!
//! Readers ([`read`]) make [`Sample`]s of files, [`Systems`] packs them into one file ([`file`]),
//! and [`split`] says which are trained on. Edges are found when a batch is made.

mod check;
pub mod example;
mod file;
pub mod read;
pub mod split;
mod stress;
pub mod units;

pub use check::check;
pub use stress::{Order, Stress};

use super::Split;
use super::structure::Notes;
use super::system::{Cell, System};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A number that is known of a system, and its unit's name ([`units`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    pub name: String,
    pub unit: String,
    pub value: f64,
}

impl Value {
    pub fn new(name: &str, unit: &str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            value,
        }
    }
}

/// One system as a reader returns it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Unique in a dataset.
    pub id: String,
    /// What samples of one origin share: a trajectory, a file.
    pub group: String,
    pub split: Option<Split>,
    pub system: System<f64>,
    pub values: Vec<Value>,
    /// `[atoms]`, energy per Å; the energy is that of the value `energy`, or the first.
    pub forces: Option<Vec<[f64; 3]>>,
    /// Derivative of the same energy by a strain of atoms and cell over the volume, energy per Å^3.
    #[serde(default)]
    pub stress: Option<Stress>,
    /// What the reader renamed, repeated or left out.
    #[serde(default)]
    pub notes: Notes,
}

/// A target of all systems.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub name: String,
    pub unit: String,
    /// One for each system; NaN where a system has none.
    pub values: Vec<f64>,
}

impl Target {
    /// The values in another unit; `None` if its own cannot become that.
    pub fn in_unit(&self, unit: &str) -> Option<Vec<f64>> {
        let factor = units::factor(&self.unit, unit)?;
        Some(self.values.iter().map(|v| factor * v).collect())
    }
}

/// Many systems, column by column: the content of a dataset file.
#[derive(Debug, Clone, PartialEq)]
pub struct Systems {
    ids: Vec<String>,
    groups: Vec<String>,
    splits: Vec<Split>,
    /// Atoms of system `i` are `offsets[i]..offsets[i + 1]`.
    offsets: Vec<u64>,
    numbers: Vec<u8>,
    positions: Vec<[f64; 3]>,
    cells: Vec<Option<Cell>>,
    bond_offsets: Vec<u64>,
    bonds: Vec<[u32; 2]>,
    orders: Vec<u8>,
    targets: Vec<Target>,
    /// NaN where a system has none; empty if no system has any.
    forces: Vec<[f64; 3]>,
    /// `[systems]`, NaN where a system has none; empty if no system has any.
    stresses: Vec<Stress>,
    /// Unit of energy that forces have per Å and stresses per Å^3.
    force_unit: String,
    settings: String,
    fingerprint: String,
}

impl Default for Systems {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            groups: Vec::new(),
            splits: Vec::new(),
            offsets: vec![0],
            numbers: Vec::new(),
            positions: Vec::new(),
            cells: Vec::new(),
            bond_offsets: vec![0],
            bonds: Vec::new(),
            orders: Vec::new(),
            targets: Vec::new(),
            forces: Vec::new(),
            stresses: Vec::new(),
            force_unit: String::new(),
            settings: String::new(),
            fingerprint: String::new(),
        }
    }
}

impl Systems {
    /// Packs samples, whose splits are given apart.
    ///
    /// # Errors
    /// Two samples of one id; a target that has different units in different files.
    pub fn pack(samples: Vec<Sample>, splits: Vec<Split>, settings: String) -> Result<Self> {
        let mut packed = Self {
            splits,
            settings,
            ..Self::default()
        };
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = samples.iter().find(|s| !seen.insert(s.id.clone())) {
            return Err(Error::input(format!(
                "two systems are called {:?}: give each file once, or files of different names",
                twice.id
            )));
        }
        let any_forces = samples.iter().any(|s| s.forces.is_some());
        let any_stress = samples.iter().any(|s| s.stress.is_some());
        for sample in samples {
            if any_stress {
                let own = sample.stress.map(stress::symmetric);
                packed.stresses.push(own.unwrap_or([[f64::NAN; 3]; 3]));
            }
            packed.push(sample, any_forces)?;
        }
        Ok(packed)
    }

    fn push(&mut self, sample: Sample, any_forces: bool) -> Result<()> {
        let atoms = sample.system.len();
        let place = self.ids.len();
        let derived = sample.forces.is_some() || sample.stress.is_some();
        if let (true, Some(energy)) = (derived, energy_of(&sample.values)) {
            match self.force_unit.is_empty() {
                true => self.force_unit = energy.unit.clone(),
                false => same_unit(FORCES, &sample.id, [&self.force_unit, &energy.unit])?,
            }
        }
        for value in sample.values {
            let known = self.targets.iter().position(|t| t.name == value.name);
            let target = known.unwrap_or_else(|| {
                self.targets.push(Target {
                    name: value.name.clone(),
                    unit: value.unit.clone(),
                    values: vec![f64::NAN; place],
                });
                self.targets.len() - 1
            });
            let target = &mut self.targets[target];
            same_unit(&value.name, &sample.id, [&target.unit, &value.unit])?;
            target.values.push(value.value);
        }
        for target in &mut self.targets {
            target.values.resize(place + 1, f64::NAN);
        }
        if any_forces {
            let missing = || vec![[f64::NAN; 3]; atoms];
            self.forces.extend(sample.forces.unwrap_or_else(missing));
        }
        self.ids.push(sample.id);
        self.groups.push(sample.group);
        self.numbers.extend(&sample.system.numbers);
        self.positions.extend(&sample.system.positions);
        self.offsets.push(self.numbers.len() as u64);
        self.cells.push(sample.system.cell);
        self.orders.extend(match sample.system.orders.is_empty() {
            true => vec![1; sample.system.bonds.len()],
            false => sample.system.orders,
        });
        self.bonds.extend(sample.system.bonds);
        self.bond_offsets.push(self.bonds.len() as u64);
        Ok(())
    }

    /// Number of systems.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of atoms of all systems.
    pub fn atom_count(&self) -> usize {
        self.numbers.len()
    }

    pub fn id(&self, system: usize) -> &str {
        &self.ids[system]
    }

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Which of the dataset's atoms are a system's.
    pub fn atoms(&self, system: usize) -> std::ops::Range<usize> {
        self.offsets[system] as usize..self.offsets[system + 1] as usize
    }

    /// Atomic numbers of a system.
    pub fn numbers(&self, system: usize) -> &[u8] {
        &self.numbers[self.atoms(system)]
    }

    /// Pairs of bound atoms of a system.
    pub fn bonds(&self, system: usize) -> &[[u32; 2]] {
        &self.bonds[self.bonds_of(system)]
    }

    fn bonds_of(&self, system: usize) -> std::ops::Range<usize> {
        self.bond_offsets[system] as usize..self.bond_offsets[system + 1] as usize
    }

    /// Atoms, bonds and cell of a system.
    pub fn system(&self, system: usize) -> System<f64> {
        System {
            numbers: self.numbers(system).to_vec(),
            positions: self.positions[self.atoms(system)].to_vec(),
            bonds: self.bonds(system).to_vec(),
            orders: self.orders[self.bonds_of(system)].to_vec(),
            cell: self.cells[system],
            ..System::default()
        }
    }

    /// Forces on a system's atoms, [`Systems::force_unit`] per Å.
    pub fn forces(&self, system: usize) -> Option<&[[f64; 3]]> {
        let own = self.forces.get(self.atoms(system))?;
        own.iter().flatten().all(|f| f.is_finite()).then_some(own)
    }

    pub fn has_forces(&self) -> bool {
        !self.forces.is_empty()
    }

    /// The stress of a system, [`Systems::force_unit`] per Å^3, and the volume of its cell, Å^3.
    pub fn stress(&self, system: usize) -> Option<(Stress, f64)> {
        let own = self.stresses.get(system)?;
        let known = own.as_flattened().iter().all(|x| x.is_finite());
        let volume = self.cells[system]?.volume();
        known.then_some((*own, volume))
    }

    pub fn has_stresses(&self) -> bool {
        !self.stresses.is_empty()
    }

    /// The unit of energy that forces have per Å and stresses per Å^3.
    pub fn force_unit(&self) -> &str {
        &self.force_unit
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The target of this name.
    ///
    /// # Errors
    /// No such target: those that there are are listed.
    pub fn target(&self, name: &str) -> Result<&Target> {
        let found = self.targets.iter().find(|t| t.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.targets.iter().map(|t| t.name.as_str()).collect();
            Error::input(match names.is_empty() {
                true => format!("no target {name:?}: the systems have no targets"),
                false => format!("no target {name:?}; there are {}", names.join(", ")),
            })
        })
    }

    /// Systems of a split, ascending.
    pub fn split(&self, split: Split) -> Vec<u32> {
        let all = (0u32..).zip(&self.splits);
        all.filter(|(_, s)| **s == split).map(|(i, _)| i).collect()
    }

    /// How the file was made, TOML.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// XXH3-128 of the file's bytes.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The word for forces among targets.
const FORCES: &str = "forces";
/// The word for stresses.
const STRESS: &str = "stress";

/// The value that forces belong to.
fn energy_of(values: &[Value]) -> Option<&Value> {
    let named = values.iter().find(|v| v.name == "energy");
    named.or_else(|| values.first())
}

fn same_unit(name: &str, id: &str, [one, other]: [&str; 2]) -> Result<()> {
    match one == other {
        true => Ok(()),
        false => Err(Error::input(format!(
            "{id}: {name} in {other}, in {one} elsewhere; --convert {name}={one} makes them one"
        ))),
    }
}
