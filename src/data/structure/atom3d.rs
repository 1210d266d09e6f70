//! ATOM3D's tables of atoms: a pandas data frame as JSON, split into columns and rows
//! (Townshend et al., 2021).

use super::assemble::{Assembler, Record};
use super::{ReadOptions, Structure, element};
use crate::data::names::{self, Named};
use serde::Deserialize;
use serde_json::Value;

/// A data frame in pandas' `split` orientation.
#[derive(Debug, Deserialize)]
pub struct Table {
    columns: Vec<String>,
    data: Vec<Vec<Value>>,
}

/// Rows farther out than this (Å) are refused, as in structure files.
const FARTHEST: f64 = 1e6;

impl Table {
    fn column(&self, name: &str) -> Result<usize, String> {
        let place = self.columns.iter().position(|c| c == name);
        place.ok_or_else(|| format!("no column {name:?} in the table of atoms"))
    }

    /// The table as a structure called `id`, with the rules that hold for structure files:
    /// waters, hydrogens and all but the most occupied alternate location are left out.
    ///
    /// # Errors
    /// A missing column; a row that holds no atom, by its number.
    pub fn structure(&self, id: &str, options: &ReadOptions) -> Result<Structure, String> {
        let columns = Columns::find(self)?;
        let mut assembler = Assembler::new(options);
        for (i, row) in self.data.iter().enumerate() {
            let at_row = |what: String| format!("row {i} of the table of atoms: {what}");
            let atom = columns.atom(row).map_err(at_row)?;
            assembler.push(&atom).map_err(at_row)?;
        }
        let model = assembler.finish(1);
        Ok(Structure {
            id: id.to_string(),
            file: id.to_string(),
            format: "atom3d".into(),
            digest: 0,
            model: 1,
            system: model.system,
            centres: model.centres,
            notes: model.notes,
        })
    }
}

impl Table {
    /// Elements' symbols and positions (Å) of all rows: for tables of ligands, whose atoms need
    /// no names of their own.
    ///
    /// # Errors
    /// A missing column; a row without coordinates or element, by its number.
    pub fn atoms(&self) -> Result<Vec<(String, [f32; 3])>, String> {
        let [x, y, z] = ["x", "y", "z"].map(|c| self.column(c));
        let (position, element) = ([x?, y?, z?], self.column("element")?);
        let rows = self.data.iter().enumerate();
        rows.map(|(i, row)| {
            let symbol = row.get(element).and_then(Value::as_str);
            let symbol = symbol.ok_or_else(|| format!("row {i}: no element"))?;
            let place = coordinates(row, position).map_err(|what| format!("row {i}: {what}"))?;
            Ok((symbol.trim().to_string(), place))
        })
        .collect()
    }
}

fn coordinates(row: &[Value], columns: [usize; 3]) -> Result<[f32; 3], String> {
    let mut position = [0.0; 3];
    for (k, value) in position.iter_mut().enumerate() {
        let number = row.get(columns[k]).and_then(Value::as_f64);
        let near = number.filter(|v| v.abs() <= FARTHEST);
        *value = near
            .ok_or_else(|| format!("{} is not a finite number within 1e6 Å", ["x", "y", "z"][k]))?
            as f32;
    }
    Ok(position)
}

/// Places of the columns.
struct Columns {
    texts: [usize; 7],
    number: usize,
    position: [usize; 3],
    occupancy: Option<usize>,
}

impl Columns {
    fn find(table: &Table) -> Result<Self, String> {
        let [chain, hetero, icode, name, residue, element, altloc] = [
            "chain",
            "hetero",
            "insertion_code",
            "name",
            "resname",
            "element",
            "altloc",
        ]
        .map(|c| table.column(c));
        let [x, y, z] = ["x", "y", "z"].map(|c| table.column(c));
        Ok(Self {
            texts: [chain?, hetero?, icode?, name?, residue?, element?, altloc?],
            number: table.column("residue")?,
            position: [x?, y?, z?],
            occupancy: table.column("occupancy").ok(),
        })
    }

    fn atom<'r>(&self, row: &'r [Value]) -> Result<Record<'r>, String> {
        let text = |i: usize| row.get(i).and_then(Value::as_str).unwrap_or("").trim();
        let [chain, hetero, icode, name, residue, symbol, altloc] = self.texts.map(text);
        let number = row.get(self.number).and_then(Value::as_i64);
        let number = number.and_then(|n| i32::try_from(n).ok());
        let occupancy = self.occupancy.and_then(|i| row.get(i)?.as_f64());
        let hetero = !hetero.is_empty();
        let named = || {
            names::element(&Named {
                name: name.as_bytes(),
                residue: residue.as_bytes(),
                ..Named::default()
            })
        };
        let blank = |text: &str| text.bytes().next().unwrap_or(b' ');
        Ok(Record {
            hetero,
            name: name.as_bytes(),
            altloc: blank(altloc),
            residue: residue.as_bytes(),
            chain: chain.as_bytes(),
            segid: b"",
            segment: 0,
            number: number.ok_or("residue is not a whole number")?,
            icode: blank(icode),
            position: coordinates(row, self.position)?,
            occupancy: occupancy.unwrap_or(1.0) as f32,
            b_factor: None,
            element: element::number(symbol.as_bytes()).unwrap_or_else(named),
        })
    }
}
