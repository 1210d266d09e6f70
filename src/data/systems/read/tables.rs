//! Tables with one system a row: those of `qm9pack`, and any with a column of CIF texts.

use super::{Options, Source, cif, element, qm9};
use crate::Result;
use crate::data::system::System;
use crate::data::systems::{Sample, Value};
use crate::data::table::{Row, Table};

pub(super) fn read(source: &Source, options: &Options) -> Result<Vec<Result<Sample>>> {
    let table = Table::read(&source.path)?;
    if table.find("XYZ_Ang")?.is_some() {
        return qm9pack(source, &table, options);
    }
    match table.find("cif")? {
        Some(column) => crystals(source, &table, column, options),
        None => Err(table.in_header(format!(
            "neither a column cif nor XYZ_Ang, which tables of systems have; {}; targets of other \
             files are given with --targets",
            table.listed()
        ))),
    }
}

/// Columns of `qm9pack` that hold the targets, in QM9's order.
const QM9PACK: [&str; 12] = [
    "Dipole_debye",
    "Polarizability_bohr3",
    "HOMO_au",
    "LUMO_au",
    "HOMO_LUMO_gap_au",
    "R2_bohr2",
    "ZPVE_au",
    "InternalEnergy_0K_au",
    "InternalEnergy_298K_au",
    "Enthalphy_298K_au",
    "GibbsFreeEnergy_298K_au",
    "Heatcapacity_Cv_cal_mol_K",
];

fn qm9pack(source: &Source, table: &Table, options: &Options) -> Result<Vec<Result<Sample>>> {
    let [file, elements, positions] = ["XYZ_file", "Elements", "XYZ_Ang"].map(|c| table.column(c));
    let (file, elements, positions) = (file?, elements?, positions?);
    let targets = QM9PACK.iter().map(|c| table.column(c));
    let targets: Vec<usize> = targets.collect::<Result<_>>()?;
    let molecule = |row: Row| -> Result<Sample> {
        let id = row.filled(file)?.trim_end_matches(".xyz").to_string();
        let json = row.text(elements).replace('\'', "\"");
        let symbols: Vec<String> = serde_json::from_str(&json)
            .map_err(|e| row.error(format!("Elements: not a list of symbols ({e})")))?;
        let numbers = symbols.iter().map(|s| element(s).map_err(|e| row.error(e)));
        let numbers: Vec<u8> = numbers.collect::<Result<_>>()?;
        // Python writes 5. for 5.0.
        let json = row
            .text(positions)
            .replace(".,", ".0,")
            .replace(".]", ".0]");
        let places: Vec<[f64; 3]> = serde_json::from_str(&json)
            .map_err(|e| row.error(format!("XYZ_Ang: not a list of positions ({e})")))?;
        let values = targets.iter().map(|&c| row.parse::<f64>(c, "a number"));
        let values: Vec<f64> = values.collect::<Result<_>>()?;
        Ok(Sample {
            group: id.clone(),
            id,
            split: source.split(),
            system: System {
                numbers,
                positions: places,
                ..System::default()
            },
            values: qm9::values(values, options)?,
            ..Sample::default()
        })
    };
    Ok(table.rows().map(molecule).collect())
}

/// A crystal a row; its id is in the column `material_id` or `id`, and every column of numbers but
/// for ids is a target.
fn crystals(
    source: &Source,
    table: &Table,
    text: usize,
    options: &Options,
) -> Result<Vec<Result<Sample>>> {
    let id = match table.find("material_id")? {
        Some(column) => Some(column),
        None => table.find("id")?,
    };
    let columns = table.columns();
    let is_number = |&c: &usize| {
        let named = !columns[c].is_empty() && Some(c) != id && c != text;
        named
            && table
                .rows()
                .all(|row| row.text(c).is_empty() || row.text(c).parse::<f64>().is_ok())
    };
    let targets: Vec<usize> = (0..columns.len()).filter(is_number).collect();
    let crystal = |(i, row): (usize, Row)| -> Result<Sample> {
        let mut sample = source.sample(Some(i));
        if let Some(column) = id {
            sample.id = row.filled(column)?.to_string();
            sample.group.clone_from(&sample.id);
        }
        sample.system = cif::crystal(row.filled(text)?).map_err(|e| row.error(e))?;
        for &c in targets.iter().filter(|&&c| !row.text(c).is_empty()) {
            let value = row.parse::<f64>(c, "a number")?;
            let unit = options.unit(&columns[c], "")?;
            sample.values.push(Value::new(&columns[c], &unit, value));
        }
        Ok(sample)
    };
    Ok(table.rows().enumerate().map(crystal).collect())
}

/// Adds the targets of a table with a column `id` to samples. A column is a target; its unit stands
/// in brackets behind its name, `gap (eV)`, or in the options. Empty cells are unknown.
///
/// # Errors
/// A table that cannot be read, a cell that is no number, an id that no sample has.
pub fn add_targets(
    path: &std::path::Path,
    samples: &mut [Sample],
    options: &Options,
) -> Result<()> {
    let table = Table::read(path)?;
    let id = table.column("id")?;
    let mut targets = Vec::new();
    for (c, column) in table.columns().iter().enumerate().filter(|(c, _)| *c != id) {
        let bracketed = column.strip_suffix(')').and_then(|c| c.rsplit_once('('));
        let (name, unit) = bracketed.map_or((column.as_str(), ""), |(n, u)| (n.trim(), u));
        let unit = options.unit(name, unit);
        let unit = unit.map_err(|e| table.in_header(format!("column {column:?}: {e}")))?;
        targets.push((c, name.to_string(), unit));
    }
    let places = samples.iter().enumerate();
    let places: std::collections::HashMap<String, usize> =
        places.map(|(i, s)| (s.id.clone(), i)).collect();
    for row in table.rows() {
        let name = row.filled(id)?;
        let unknown = || row.error(format!("id {name:?}: no system of this name"));
        let place = *places.get(name).ok_or_else(unknown)?;
        for (c, target, unit) in targets.iter().filter(|(c, ..)| !row.text(*c).is_empty()) {
            let value = row.parse::<f64>(*c, "a number")?;
            if !value.is_finite() {
                return Err(row.error(format!("{target} is {value}, not a finite number")));
            }
            let sample = &mut samples[place];
            if sample.values.iter().any(|v| v.name == *target) {
                return Err(row.error(format!("{name} has a target {target} already")));
            }
            sample.values.push(Value::new(target, unit, value));
        }
    }
    Ok(())
}
