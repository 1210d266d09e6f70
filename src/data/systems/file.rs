//! The dataset file of systems.
//!
//! | group | dataset | type, shape | meaning |
//! |---|---|---|---|
//! | `systems` | `id`, `group`, `split` | string `[S]` | name, origin, split |
//! | | `atom_offsets`, `bond_offsets` | u64 `[S + 1]` | system `i` is `offsets[i]..offsets[i + 1]` |
//! | | `cell` | f64 `[S, 3, 3]` | Å, one vector a row, zeros in free space; absent if no system has one |
//! | | `periodic` | u8 `[S, 3]` | in which directions the cell repeats; beside `cell` |
//! | | `stress` | f64 `[S, 3, 3]` | derivative of the energy by a strain over the volume, energy per Å^3, NaN where unknown; absent if no system has any; attribute `stress_unit` of the group |
//! | `atoms` | `number` | u8 `[A]` | atomic number |
//! | | `position` | f64 `[A, 3]` | Å |
//! | | `forces` | f64 `[A, 3]` | energy per Å, NaN where unknown; absent if no system has any |
//! | `bonds` | `atoms` | u32 `[B, 2]` | counted from the system's first |
//! | | `order` | u8 `[B]` | 1, 2, 3, or 4 where aromatic |
//! | `targets` | one for each | f64 `[S]` | NaN where unknown; attribute `NAME_unit` of the group |
//!
//! The text dataset `settings` (TOML) tells how the file was made.

use super::{FORCES, STRESS, Stress, Systems, Target};
use crate::comm::World;
use crate::data::Split;
use crate::data::system::Cell;
use crate::store::{self, Digest, Kind, Node, Storage::Compressed};
use crate::{Error, Result};
use std::path::Path;

impl Systems {
    /// Writes the dataset, whole or not at all. Equal content gives equal bytes.
    ///
    /// # Errors
    /// An unwritable folder, a full disk.
    pub fn write(&self, path: &Path) -> Result<Digest> {
        store::write(path, Kind::Systems, |root| {
            root.set_attr_text("position_unit", "angstrom")?;
            root.write_text("settings", &self.settings)?;
            self.write_systems(&root.create_group("systems")?)?;
            let atoms = root.create_group("atoms")?;
            let count = self.numbers.len();
            let rows = |values: &[[f64; 3]], name| {
                atoms.write(name, &[count, 3], values.as_flattened(), Compressed)
            };
            atoms.write("number", &[count], &self.numbers, Compressed)?;
            rows(&self.positions, "position")?;
            if self.has_forces() {
                rows(&self.forces, FORCES)?;
                atoms.set_attr_text("forces_unit", &format!("{}/A", self.force_unit))?;
            }
            let bonds = root.create_group("bonds")?;
            let flat = self.bonds.as_flattened();
            bonds.write("atoms", &[self.bonds.len(), 2], flat, Compressed)?;
            bonds.write("order", &[self.orders.len()], &self.orders, Compressed)?;
            let targets = root.create_group("targets")?;
            for target in &self.targets {
                targets.write(&target.name, &[self.len()], &target.values, Compressed)?;
                targets.set_attr_text(&format!("{}_unit", target.name), &target.unit)?;
            }
            Ok(())
        })
    }

    fn write_systems(&self, group: &Node) -> Result<()> {
        group.write_strings("id", &self.ids)?;
        group.write_strings("group", &self.groups)?;
        let splits: Vec<String> = self.splits.iter().map(Split::to_string).collect();
        group.write_strings("split", &splits)?;
        for (name, offsets) in [
            ("atom_offsets", &self.offsets),
            ("bond_offsets", &self.bond_offsets),
        ] {
            group.write(name, &[offsets.len()], offsets, Compressed)?;
        }
        if self.cells.iter().any(Option::is_some) {
            let vectors = |c: &Option<Cell>| c.map_or([[0.0; 3]; 3], |c| c.vectors());
            let vectors: Vec<[[f64; 3]; 3]> = self.cells.iter().map(vectors).collect();
            let flat = vectors.as_flattened().as_flattened();
            group.write("cell", &[self.len(), 3, 3], flat, Compressed)?;
            let periodic = |c: &Option<Cell>| c.map_or([false; 3], |c| c.periodic());
            let periodic = self.cells.iter().flat_map(periodic).map(u8::from);
            let periodic: Vec<u8> = periodic.collect();
            group.write("periodic", &[self.len(), 3], &periodic, Compressed)?;
        }
        if self.has_stresses() {
            let flat = self.stresses.as_flattened().as_flattened();
            group.write(STRESS, &[self.len(), 3, 3], flat, Compressed)?;
            group.set_attr_text("stress_unit", &format!("{}/A^3", self.force_unit))?;
        }
        Ok(())
    }

    /// Reads a dataset on all ranks; rank 0 verifies its bytes. Collective.
    ///
    /// # Errors
    /// As [`store::open`]; arrays that do not fit together.
    pub fn open(world: &World, path: &Path) -> Result<Self> {
        let verified = world.on_root(|| store::open(path, Kind::Systems))?;
        let opened = match verified {
            Some(file) => Ok(file),
            None => store::open_trusted(path, Kind::Systems),
        };
        world.agree(opened.and_then(|file| Self::load(path, &file)))
    }

    fn load(path: &Path, file: &store::File) -> Result<Self> {
        let (systems, atoms) = (file.group("systems")?, file.group("atoms")?);
        let (bonds, targets) = (file.group("bonds")?, file.group("targets")?);
        let rows = |name| -> Result<Vec<[f64; 3]>> {
            let (flat, _) = atoms.read_shaped::<f64>(name, &[None, Some(3)])?;
            Ok(flat.as_chunks().0.to_vec())
        };
        let forces = atoms.has(FORCES);
        let unit = |group: &Node, name: &str| group.attr_text(&format!("{name}_unit"));
        let ids = systems.read_strings("id")?;
        let stresses: Vec<Stress> = match systems.has(STRESS) {
            true => {
                let shape = [Some(ids.len()), Some(3), Some(3)];
                let (flat, _) = systems.read_shaped::<f64>(STRESS, &shape)?;
                flat.as_chunks().0.as_chunks().0.to_vec()
            }
            false => Vec::new(),
        };
        let force_unit = match (forces, stresses.is_empty()) {
            (true, _) => unit(&atoms, FORCES)?.trim_end_matches("/A").to_string(),
            (_, false) => unit(&systems, STRESS)?.trim_end_matches("/A^3").to_string(),
            _ => String::new(),
        };
        let (flat_bonds, _) = bonds.read_shaped::<u32>("atoms", &[None, Some(2)])?;
        let target = |name: String| -> Result<Target> {
            Ok(Target {
                unit: unit(&targets, &name)?,
                values: targets.read(&name)?,
                name,
            })
        };
        let splits = systems.read_strings("split")?;
        let splits = splits.iter().map(|s| s.parse::<Split>());
        let loaded = Self {
            groups: systems.read_strings("group")?,
            splits: splits.collect::<Result<_>>().map_err(|e| e.in_file(path))?,
            offsets: systems.read("atom_offsets")?,
            bond_offsets: systems.read("bond_offsets")?,
            cells: read_cells(path, &systems, ids.len())?,
            numbers: atoms.read("number")?,
            positions: rows("position")?,
            forces: if forces { rows(FORCES)? } else { Vec::new() },
            stresses,
            force_unit,
            bonds: flat_bonds.as_chunks().0.to_vec(),
            orders: bonds.read("order")?,
            targets: targets
                .names()?
                .into_iter()
                .map(target)
                .collect::<Result<_>>()?,
            settings: file.read_text("settings")?,
            fingerprint: file
                .header()
                .map_or(String::new(), |h| h.digest.to_string()),
            ids,
        };
        match loaded.consistent() {
            true => Ok(loaded),
            false => Err(Error::file(
                path,
                "its arrays do not fit together; prepare it again",
            )),
        }
    }

    fn consistent(&self) -> bool {
        let n = self.len();
        let covers = |offsets: &[u64], all: usize| {
            offsets.len() == n + 1
                && offsets[0] == 0
                && offsets.is_sorted()
                && offsets[n] == all as u64
        };
        let inside = |i: usize| {
            let (own, atoms) = (&self.bond_offsets[i..i + 2], self.atoms(i).len() as u32);
            let own = &self.bonds[own[0] as usize..own[1] as usize];
            own.as_flattened().iter().all(|&a| a < atoms)
        };
        let atoms = self.numbers.len();
        covers(&self.offsets, atoms)
            && covers(&self.bond_offsets, self.bonds.len())
            && [self.groups.len(), self.splits.len(), self.cells.len()] == [n; 3]
            && self.targets.iter().all(|t| t.values.len() == n)
            && self.positions.len() == atoms
            && self.orders.len() == self.bonds.len()
            && (self.forces.is_empty() || self.forces.len() == atoms)
            && (0..n).all(inside)
    }
}

fn read_cells(path: &Path, group: &Node, count: usize) -> Result<Vec<Option<Cell>>> {
    if !group.has("cell") {
        return Ok(vec![None; count]);
    }
    let (vectors, _) = group.read_shaped::<f64>("cell", &[Some(count), Some(3), Some(3)])?;
    let (periodic, _) = group.read_shaped::<u8>("periodic", &[Some(count), Some(3)])?;
    let cell = |(flat, periodic): (&[f64; 9], &[u8; 3])| {
        if flat == &[0.0; 9] {
            return Ok(None);
        }
        let vectors = std::array::from_fn(|i| std::array::from_fn(|k| flat[3 * i + k]));
        match Cell::partly_periodic(vectors, periodic.map(|p| p != 0)) {
            Some(cell) => Ok(Some(cell)),
            None => Err(Error::file(path, "a cell without volume; prepare it again")),
        }
    };
    let rows = vectors.as_chunks().0.iter().zip(periodic.as_chunks().0);
    rows.map(cell).collect()
}
