//! Energies, forces and other targets of systems, predicted by a trained network of atoms.
//!
//! Ranks share the systems in blocks; rank 0 writes them in order, so the file is the same for any
//! number of ranks.

use crate::comm::World;
use crate::data::Split;
use crate::data::system::System;
use crate::data::systems::{Stress, Systems};
use crate::elements::symbol;
use crate::models::Model;
use crate::models::graph::{FORCES, STRESS};
use crate::ops::in_pool;
use crate::store::{self, Kind, Node, Storage::Compressed};
use crate::tasks::Trained;
use crate::tasks::systems::{
    Measured, On, Predicted, Scores, SystemsKind, UNKNOWN, forces, known, stresses,
};
use crate::{Error, Result};
use candle_core::DType;
use std::fmt::Write;
use std::path::Path;

/// Systems of one forward pass.
const BLOCK: usize = 32;

/// A trained model, ready to predict.
pub type Predictor = Trained<SystemsKind>;

/// Stands in the comment of every system of [`Predictor::extended_xyz`].
pub const EXTENDED_XYZ: &str = "predicted_by=holosig";

impl Predictor {
    /// Whether forces or stresses were learned.
    pub fn derivatives(&self) -> bool {
        self.description.derivatives()
    }

    /// Predicts the systems `ids`; forces and stresses if `forces`. Collective; the result is on rank 0.
    ///
    /// # Errors
    /// An element that the network does not know, classes where forces are asked for.
    pub fn predict(
        &self,
        world: &World,
        systems: &Systems,
        ids: &[u32],
        forces: bool,
    ) -> Result<Predicted> {
        let classes = self
            .description
            .targets
            .iter()
            .any(|t| !t.classes.is_empty());
        if forces && classes {
            return Err(Error::input(
                "--forces: the model tells classes, which have no forces",
            ));
        }
        let on = On {
            dtype: DType::F32,
            device: self.model.parameters().device(),
        };
        let mut all = Predicted::default();
        world.ordered(
            ids.len(),
            BLOCK,
            |range| {
                let own = ids[range].iter().map(|&i| systems.system(i as usize));
                let own: Vec<System<f64>> = own.collect();
                in_pool(|| self.description.predict(&self.model, &own, forces, on))
            },
            |_, part| {
                all.append(part);
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// How good predictions are; `None` where something is not known of every system, or in units
    /// that cannot be compared.
    pub fn scores(&self, made: &Predictions) -> Option<Scores> {
        let measured = Measured::of(made.systems, made.ids, &self.description).ok()?;
        let mut all = measured
            .values
            .iter()
            .flatten()
            .chain(measured.forces.as_flattened());
        let complete = all.all(|v| v.is_finite());
        complete.then(|| Scores::new(&self.description, &made.predicted, &measured))
    }

    /// Writes predictions as HDF5: for each target f64 `[n]` under its name, `forces` f64
    /// `[atoms, 3]`, beside forces `stress` f64 `[n, 3, 3]` if a system is a crystal (NaN of others),
    /// `offsets` u64 `[n + 1]`, `id`, `number` u8 `[atoms]`, what is known of the same in the group
    /// `measured`; units as attributes.
    ///
    /// # Errors
    /// An unwritable folder, a full disk.
    pub fn write(&self, made: &Predictions, out: &Path) -> Result<()> {
        store::write(out, Kind::PredictedSystems, |root| {
            root.set_attr_text("checkpoint_hash", &self.hash)?;
            root.set_attr_text("dataset", made.systems.fingerprint())?;
            let ids = made.ids.iter().map(|&i| made.systems.id(i as usize));
            root.write_strings("id", &ids.collect::<Vec<_>>())?;
            let (offsets, numbers) = made.atoms();
            root.write("offsets", &[offsets.len()], &offsets, Compressed)?;
            root.write("number", &[numbers.len()], &numbers, Compressed)?;
            for (k, target) in self.description.targets.iter().enumerate() {
                let values = &made.predicted.values[k];
                root.write(&target.name, &[values.len()], values, Compressed)?;
                root.set_attr_text(&format!("{}_unit", target.name), &target.unit)?;
                if !target.classes.is_empty() {
                    let shape = [values.len(), target.classes.len()];
                    let probabilities = &made.predicted.probabilities[k];
                    let name = format!("{}_probabilities", target.name);
                    root.write(&name, &shape, probabilities, Compressed)?;
                    root.set_attr_list(&format!("{}_classes", target.name), &target.classes)?;
                }
            }
            if let Some(forces) = &made.predicted.forces {
                rows(root, FORCES, forces)?;
                root.set_attr_text("forces_unit", &self.force_unit())?;
            }
            if let Some(stresses) = made.stresses() {
                tensors(root, STRESS, stresses)?;
                root.set_attr_text("stress_unit", &format!("{}^3", self.force_unit()))?;
            }
            self.write_measured(made, &root.create_group("measured")?)
        })?;
        Ok(())
    }

    fn force_unit(&self) -> String {
        let first = self.description.targets.first();
        format!("{}/A", first.map_or("", |t| &t.unit))
    }

    fn write_measured(&self, made: &Predictions, group: &Node) -> Result<()> {
        for target in &self.description.targets {
            if let Ok(known) = known(made.systems, target) {
                let own = made.ids.iter().map(|&i| known[i as usize]);
                let own: Vec<f64> = own.collect();
                group.write(&target.name, &[own.len()], &own, Compressed)?;
            }
        }
        if let (Some(_), Ok(all)) = (
            &made.predicted.forces,
            forces(made.systems, made.ids, &self.description),
        ) && made.systems.has_forces()
        {
            rows(group, FORCES, &all)?;
        }
        if let (Some(_), Ok(all)) = (
            made.stresses(),
            stresses(made.systems, made.ids, &self.description),
        ) && made.systems.has_stresses()
        {
            let known = all.iter().map(|k| k.map_or(UNKNOWN, |(stress, _)| stress));
            tensors(group, STRESS, &known.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Predictions as extended XYZ, in the units of the model.
    pub fn extended_xyz(&self, made: &Predictions) -> String {
        let mut out = String::new();
        let mut atom = 0;
        let stresses = made.stresses();
        for (row, &i) in made.ids.iter().enumerate() {
            let system = made.systems.system(i as usize);
            let mut comment = String::new();
            if let Some(cell) = &system.cell {
                let flat = cell.vectors().concat();
                let flat: Vec<String> = flat.iter().map(f64::to_string).collect();
                let periodic = cell.periodic().map(|p| if p { "T" } else { "F" });
                let (flat, periodic) = (flat.join(" "), periodic.join(" "));
                comment += &format!("Lattice=\"{flat}\" pbc=\"{periodic}\" ");
            }
            let forces = made.predicted.forces.as_ref();
            comment += EXTENDED_XYZ;
            comment += " Properties=species:S:1:pos:R:3";
            comment += if forces.is_some() { ":forces:R:3" } else { "" };
            for (target, values) in self.description.targets.iter().zip(&made.predicted.values) {
                comment += &format!(" {}={}", target.name, values[row]);
            }
            if let Some(stress) = stresses.map(|all| &all[row])
                && stress[0][0].is_finite()
            {
                let flat = stress.as_flattened().iter().map(f64::to_string);
                let flat: Vec<String> = flat.collect();
                comment += &format!(" stress=\"{}\"", flat.join(" "));
            }
            comment += &format!(" id=\"{}\"", made.systems.id(i as usize));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}\n{comment}", system.len());
            for (z, position) in system.numbers.iter().zip(&system.positions) {
                let mut line = symbol(*z).unwrap_or("X").to_string();
                let force = forces.map(|f| f[atom]);
                for x in position.iter().chain(force.iter().flatten()) {
                    line += &format!(" {x}");
                }
                out += &(line + "\n");
                atom += 1;
            }
        }
        out
    }
}

/// Predictions of some of a dataset's systems.
pub struct Predictions<'a> {
    pub systems: &'a Systems,
    pub ids: &'a [u32],
    pub predicted: Predicted,
}

impl Predictions<'_> {
    /// Where the atoms of each system begin, and all their atomic numbers.
    fn atoms(&self) -> (Vec<u64>, Vec<u8>) {
        let (mut offsets, mut numbers) = (vec![0], Vec::new());
        for &i in self.ids {
            numbers.extend(self.systems.numbers(i as usize));
            offsets.push(numbers.len() as u64);
        }
        (offsets, numbers)
    }
}

impl Predictions<'_> {
    /// Predicted stresses, NaN of what is no crystal, if any system is one.
    fn stresses(&self) -> Option<&[Stress]> {
        let all = self.predicted.stresses.as_deref()?;
        let any = all.iter().any(|stress| !stress[0][0].is_nan());
        any.then_some(all)
    }
}

fn tensors(group: &Node, name: &str, all: &[Stress]) -> Result<()> {
    let flat = all.as_flattened().as_flattened();
    group.write(name, &[all.len(), 3, 3], flat, Compressed)
}

fn rows(group: &Node, name: &str, rows: &[[f64; 3]]) -> Result<()> {
    group.write(name, &[rows.len(), 3], rows.as_flattened(), Compressed)
}

/// Numbers of the systems of a split, or of all.
pub fn chosen(systems: &Systems, split: Option<Split>) -> Vec<u32> {
    match split {
        Some(split) => systems.split(split),
        None => (0..systems.len() as u32).collect(),
    }
}
