//! The nodes that a selection makes of a system.

use super::solvent::Residues;
use crate::data::md::Selection;
#[cfg(feature = "chemfiles")]
use crate::data::md::select::translated;
#[cfg(feature = "chemfiles")]
use crate::data::system::Label;
use crate::data::system::System;
#[cfg(feature = "chemfiles")]
use crate::elements;
use crate::{Error, Result};
#[cfg(feature = "chemfiles")]
use chemfiles::{Atom, Frame, Residue};
#[cfg(feature = "chemfiles")]
use std::collections::BTreeSet;

impl Selection {
    /// The atoms of each node, in file order.
    ///
    /// # Errors
    /// A wrong expression, or one that matches nothing.
    pub(super) fn nodes(&self, system: &System<f64>) -> Result<Vec<Vec<u32>>> {
        let residues = &Residues::new(system);
        let solute = residues.solute();
        let heavy = |a: &u32| system.numbers[*a as usize] != 1;
        let of_amino_acid = |names: &'static [&str]| {
            move |a: &u32| {
                let a = *a as usize;
                names.contains(&system.names[a].as_str())
                    && residues.is_amino_acid(system.residue_of[a] as usize)
            }
        };
        let single = |atoms: Vec<u32>| atoms.into_iter().map(|a| vec![a]).collect();
        let nodes: Vec<Vec<u32>> = match self {
            Selection::All => single(solute.into_iter().filter(heavy).collect()),
            Selection::Backbone => {
                let backbone = of_amino_acid(&["N", "CA", "C", "O"]);
                single(solute.into_iter().filter(backbone).collect())
            }
            Selection::Ca => single(solute.into_iter().filter(of_amino_acid(&["CA"])).collect()),
            Selection::Residue => residues
                .of_solute()
                .map(|r| residues.atoms(r).iter().copied().filter(heavy))
                .map(Iterator::collect::<Vec<u32>>)
                .filter(|atoms| !atoms.is_empty())
                .collect(),
            Selection::Expression(text) => single(matching(text, system, &solute)?),
        };
        match nodes.is_empty() {
            false => Ok(nodes),
            true => Err(Error::input(format!(
                "--select {self} matches none of its {} atoms (water and ions are left out)",
                system.len()
            ))),
        }
    }
}

#[cfg(feature = "chemfiles")]
fn matching(text: &str, system: &System<f64>, among: &[u32]) -> Result<Vec<u32>> {
    let wrong = |e: &str| Error::input(format!("--select {text:?}: {e}"));
    // The library's binding takes ASCII alone, and its parser calls itself for each bracket.
    if !text.is_ascii() || text.len() > LONGEST {
        let what = format!("an expression has at most {LONGEST} characters, all of them ASCII");
        return Err(wrong(&what));
    }
    let residues = Residues::new(system);
    let amino_acids = (0..system.residues.len()).filter(|&r| residues.is_amino_acid(r));
    let names: BTreeSet<String> = amino_acids
        .map(|r| quoted(&ascii(&system.residues[r].name)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let expression = translated(text, &names);
    // The library prints its warnings; the error says the same.
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| chemfiles::set_warning_callback(|warning: &str| log::debug!("{warning}")));
    let mut selection = chemfiles::Selection::new(expression.as_str()).map_err(|e| {
        let said = e.message.lines().next().unwrap_or("");
        wrong(&format!(
            "{said}; the language is that of chemfiles (chemfiles.org/chemfiles/latest/selections.html), with \
             protein, backbone and ranges besides, as in \"protein and name CA and resid 1:50\""
        ))
    })?;
    if selection.size() != 1 {
        return Err(wrong(
            "it selects groups of atoms, where single atoms are needed",
        ));
    }
    let frame = as_frame(system).map_err(|e| Error::internal(e.message))?;
    let mut found: Vec<u32> = selection
        .list(&frame)
        .into_iter()
        .map(|a| a as u32)
        .collect();
    found.sort_unstable();
    found.retain(|a| among.binary_search(a).is_ok());
    Ok(found)
}

#[cfg(not(feature = "chemfiles"))]
fn matching(text: &str, _: &System<f64>, _: &[u32]) -> Result<Vec<u32>> {
    Err(Error::feature(format!("--select {text:?}"), "chemfiles"))
}

/// Longest expression, in characters.
#[cfg(feature = "chemfiles")]
const LONGEST: usize = 2000;

/// A name with a question mark for each character that the library's binding does not take.
#[cfg(feature = "chemfiles")]
fn ascii(name: &Label) -> String {
    let known = |c: char| c.is_ascii_graphic() && c != '"';
    let chars = name.as_str().chars();
    chars.map(|c| if known(c) { c } else { '?' }).collect()
}

/// A name as the selection language writes it.
#[cfg(feature = "chemfiles")]
fn quoted(name: &str) -> String {
    match name.bytes().all(|b| b.is_ascii_alphanumeric()) && !name.is_empty() {
        true => name.to_string(),
        false => format!("\"{name}\""),
    }
}

/// The system as the selection language sees it.
#[cfg(feature = "chemfiles")]
fn as_frame(system: &System<f64>) -> std::result::Result<Frame, chemfiles::Error> {
    let mut frame = Frame::new();
    for (i, name) in system.names.iter().enumerate() {
        let place = system.positions.get(i).copied().unwrap_or_default();
        let mut added = Atom::new(ascii(name).as_str());
        if let Some(symbol) = elements::symbol(system.numbers[i]) {
            added.set_atomic_type(symbol);
        }
        frame.add_atom(&added, place, None);
    }
    for (residue, atoms) in system.residues.iter().zip(system.members().iter()) {
        let number = i64::from(residue.number);
        let mut added = Residue::with_id(ascii(&residue.name).as_str(), number);
        added.set("chainid", ascii(&residue.chain));
        added.set("chainname", ascii(&residue.chain));
        atoms.iter().for_each(|&a| added.add_atom(a as usize));
        frame.add_residue(&added)?;
    }
    for &[i, j] in &system.bonds {
        frame.add_bond(i as usize, j as usize);
    }
    Ok(frame)
}
