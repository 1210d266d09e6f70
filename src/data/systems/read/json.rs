//! JSON of three kinds: entries of JARVIS (`atoms` with `lattice_mat`), structures of pymatgen
//! (`lattice` and `sites`, alone or in entries with `outputs`), and databases of ASE.
//!
//! Energies are eV, forces eV/Å. The `total_energy` of JARVIS is one of an atom, and becomes that of
//! the system. Stresses of ASE are eV/Å^3 in Voigt's order; those of JARVIS and pymatgen are VASP's:
//! kbar, positive under compression, xx yy zz xy yz zx where they are six. (Checked on the strained
//! cells of the mlearn sets, by the work of a strain against the difference of energies: with minus
//! a kbar the slope is 0.998 for copper and 0.999 for silicon. Silicon's shears are in VASP's order,
//! copper's in xx yy zz xy xz yz: `docs/data.md` says more.)

use super::{Convention, Options, Source, element, stress_of};
use crate::data::system::{Cell, Point, System};
use crate::data::systems::{Sample, Value};
use crate::{Error, Result};
use serde_json::Value as Json;

type Parsed<T> = std::result::Result<T, String>;

pub(super) fn read(source: &Source, options: &Options) -> Result<Vec<Result<Sample>>> {
    let text = source.text()?;
    let json: Json = serde_json::from_str(&text)
        .map_err(|e| Error::input(format!("not JSON, or a truncated file: {e}")))?;
    let entries: Vec<&Json> = match &json {
        Json::Array(entries) => entries.iter().collect(),
        Json::Object(fields) if fields.contains_key("ids") => {
            let missing = |id: &Json| Error::input(format!("no row of id {id}: truncated?"));
            let row = |id: &Json| fields.get(&id.to_string()).ok_or_else(|| missing(id));
            let ids = fields["ids"].as_array().into_iter().flatten();
            ids.map(row).collect::<Result<_>>()?
        }
        one => vec![one],
    };
    let several = entries.len() > 1;
    let entry = |(i, entry): (usize, &Json)| {
        let sample = source.sample(several.then_some(i));
        let place = if several {
            format!("entry {i}: ")
        } else {
            String::new()
        };
        of(sample, entry, options).map_err(|what| Error::input(format!("{place}{what}")))
    };
    Ok(entries.into_iter().enumerate().map(entry).collect())
}

fn of(mut sample: Sample, entry: &Json, options: &Options) -> Parsed<Sample> {
    let (energy, labels, convention) = if entry["atoms"].is_object() {
        sample.system = jarvis(&entry["atoms"])?;
        let atoms = sample.system.len() as f64;
        let energy = entry["total_energy"].as_f64().map(|e| e * atoms);
        (energy, entry, Convention::Vasp)
    } else if entry["structure"].is_object() || entry["sites"].is_array() {
        let inner = match entry["structure"].is_object() {
            true => &entry["structure"],
            false => entry,
        };
        sample.system = pymatgen(inner)?;
        let outputs = match entry["outputs"].is_object() {
            true => &entry["outputs"],
            false => entry,
        };
        (outputs["energy"].as_f64(), outputs, Convention::Vasp)
    } else if entry.get("numbers").is_some() {
        sample.system = ase(entry)?;
        (entry["energy"].as_f64(), entry, Convention::Ase)
    } else {
        return Err("neither an entry of JARVIS, a structure of pymatgen nor a row of ASE".into());
    };
    if let Some(energy) = energy {
        let unit = options.unit("energy", "eV").map_err(|e| e.to_string())?;
        sample.values.push(Value::new("energy", &unit, energy));
    }
    if !labels["forces"].is_null() {
        sample.forces = Some(rows(array(&labels["forces"]), "forces")?);
    }
    let stress = ["stress", "stresses"].map(|name| &labels[name]);
    if let Some(stress) = stress.into_iter().find(|s| !s.is_null()) {
        let numbers = numbers(array(stress)).ok_or("stress: numbers are needed")?;
        sample.stress = Some(stress_of(&sample, &numbers, convention, options)?);
    }
    for (name, value) in entry.as_object().into_iter().flatten() {
        let known = [
            "energy",
            "total_energy",
            "stress",
            "stresses",
            "charge",
            "ctime",
            "mtime",
            "calculator_parameters",
        ];
        if let Some(value) = value.as_f64().filter(|_| !known.contains(&name.as_str())) {
            let unit = options.unit(name, "").map_err(|e| e.to_string())?;
            sample.values.push(Value::new(name, &unit, value));
        }
    }
    Ok(sample)
}

/// The numbers of an array, which ASE keeps as `{"__ndarray__": [shape, type, values]}`.
fn array(json: &Json) -> &Json {
    match json.get("__ndarray__") {
        Some(parts) => &parts[2],
        None => json,
    }
}

/// Rows of three numbers, nested or flat.
fn rows(json: &Json, what: &str) -> Parsed<Vec<Point>> {
    let bad = || format!("{what}: rows of three numbers are needed");
    let flat = numbers(json).ok_or_else(bad)?;
    match flat.as_chunks() {
        (rows, []) => Ok(rows.to_vec()),
        _ => Err(bad()),
    }
}

/// The numbers of a list, or of lists in it.
fn numbers(json: &Json) -> Option<Vec<f64>> {
    let rows = json.as_array()?.iter();
    let flat = rows.flat_map(|row| {
        row.as_array()
            .map_or(std::slice::from_ref(row), Vec::as_slice)
    });
    flat.map(Json::as_f64).collect()
}

fn cell(json: &Json, periodic: [bool; 3]) -> Parsed<Option<Cell>> {
    let vectors: [Point; 3] = rows(json, "cell")?
        .try_into()
        .map_err(|_| "cell: three vectors are needed".to_string())?;
    if periodic == [false; 3] {
        return Ok(None);
    }
    let cell = Cell::partly_periodic(vectors, periodic);
    cell.map(Some)
        .ok_or_else(|| format!("a cell of no volume: {vectors:?}"))
}

fn jarvis(atoms: &Json) -> Parsed<System<f64>> {
    let cell = cell(&atoms["lattice_mat"], [true; 3])?;
    let symbols = atoms["elements"].as_array().ok_or("atoms: no elements")?;
    let numbers = symbols
        .iter()
        .map(|s| element(s.as_str().unwrap_or_default().trim()));
    let mut positions = rows(&atoms["coords"], "coords")?;
    if !atoms["cartesian"].as_bool().unwrap_or(false) {
        let inside = |p: &mut Point| *p = cell.map_or(*p, |c| c.lattice(*p));
        positions.iter_mut().for_each(inside);
    }
    Ok(System {
        numbers: numbers.collect::<Parsed<_>>()?,
        positions,
        cell,
        ..System::default()
    })
}

fn pymatgen(structure: &Json) -> Parsed<System<f64>> {
    let cell = match &structure["lattice"] {
        Json::Null => None,
        lattice => cell(&lattice["matrix"], [true; 3])?,
    };
    let mut system = System {
        cell,
        ..System::default()
    };
    for (i, site) in structure["sites"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let species = site["species"].as_array().map(Vec::as_slice);
        let Some([only]) = species else {
            return Err(format!("site {i}: one species is needed, not a mixture"));
        };
        if only["occu"]
            .as_f64()
            .is_some_and(|o| (o - 1.0).abs() > 1e-3)
        {
            let what = "a disordered crystal has no one structure";
            return Err(format!("site {i}: occupancy {}: {what}", only["occu"]));
        }
        let symbol = only["element"].as_str().unwrap_or_default();
        let symbol = symbol.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        system
            .numbers
            .push(element(symbol).map_err(|what| format!("site {i}: {what}"))?);
        let place = match (&site["xyz"], cell) {
            (Json::Null, Some(cell)) => {
                let fractions = rows(&site["abc"], "abc")?;
                fractions.first().map(|&p| cell.lattice(p))
            }
            (xyz, _) => rows(xyz, "xyz")?.first().copied(),
        };
        let place = place.ok_or_else(|| format!("site {i}: no position"))?;
        system.positions.push(place);
    }
    Ok(system)
}

fn ase(row: &Json) -> Parsed<System<f64>> {
    let numbers = array(&row["numbers"])
        .as_array()
        .ok_or("numbers: a list is needed")?;
    let z = |n: &Json| {
        n.as_u64()
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(format!("element {n}"))
    };
    let periodic = match array(&row["pbc"]).as_array() {
        None => [false; 3],
        Some(all) => std::array::from_fn(|k| {
            all.get(k)
                .is_some_and(|p| p.as_bool() == Some(true) || p.as_u64() == Some(1))
        }),
    };
    Ok(System {
        numbers: numbers.iter().map(z).collect::<Parsed<_>>()?,
        positions: rows(array(&row["positions"]), "positions")?,
        cell: cell(array(&row["cell"]), periodic)?,
        ..System::default()
    })
}
