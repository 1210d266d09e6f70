//! Which atoms become nodes.

use super::system::System;
use crate::{Error, Result};
use chemfiles::{Atom, Frame, Residue};

/// A choice of nodes. Water and ions are never nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every heavy atom.
    All,
    /// N, CA, C and O of amino acids.
    Backbone,
    /// CA of amino acids.
    Ca,
    /// One node per residue, at the mean place of its heavy atoms.
    Residue,
    /// Atoms by an expression of chemfiles' selection language, hydrogens included.
    Expression(String),
}

impl std::str::FromStr for Selection {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "all" => Selection::All,
            "backbone" => Selection::Backbone,
            "ca" => Selection::Ca,
            "residue" => Selection::Residue,
            other => Selection::Expression(other.into()),
        })
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Selection::All => "all",
            Selection::Backbone => "backbone",
            Selection::Ca => "ca",
            Selection::Residue => "residue",
            Selection::Expression(text) => text,
        })
    }
}

impl Selection {
    /// The atoms of each node, in file order.
    ///
    /// # Errors
    /// A wrong expression, or one that matches nothing.
    pub fn nodes(&self, system: &System) -> Result<Vec<Vec<u32>>> {
        let solute = system.solute();
        let heavy = |a: &u32| system.atoms[*a as usize].element != 1;
        let of_amino_acid = |names: &'static [&str]| {
            move |a: &u32| {
                names.contains(&system.atoms[*a as usize].name.as_str())
                    && system.is_amino_acid(system.residue_of(*a))
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
            Selection::Residue => system
                .residues
                .iter()
                .filter(|r| !system.is_solvent(r))
                .map(|r| r.atoms.clone().filter(heavy).collect::<Vec<u32>>())
                .filter(|atoms| !atoms.is_empty())
                .collect(),
            Selection::Expression(text) => single(matching(text, system, &solute)?),
        };
        match nodes.is_empty() {
            false => Ok(nodes),
            true => Err(Error::input(format!(
                "--select {self} matches none of its {} atoms (water and ions are left out)",
                system.atoms.len()
            ))),
        }
    }
}

fn matching(text: &str, system: &System, among: &[u32]) -> Result<Vec<u32>> {
    let wrong = |e: &str| Error::input(format!("--select {text:?}: {e}"));
    let mut selection = chemfiles::Selection::new(text)
        .map_err(|e| wrong(e.message.lines().next().unwrap_or("")))?;
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

/// The system as the selection language sees it.
fn as_frame(system: &System) -> std::result::Result<Frame, chemfiles::Error> {
    let mut frame = Frame::new();
    for (i, atom) in system.atoms.iter().enumerate() {
        let place = system.positions.as_ref().map_or([0.0; 3], |p| p[i]);
        let mut added = Atom::new(atom.name.as_str());
        if let Some(symbol) = symbol(atom.element) {
            added.set_atomic_type(symbol);
        }
        frame.add_atom(&added, place, None);
    }
    for residue in &system.residues {
        let mut added = Residue::with_id(residue.name.as_str(), i64::from(residue.number));
        added.set("chainid", residue.chain.as_str());
        added.set("chainname", residue.chain.as_str());
        residue
            .atoms
            .clone()
            .for_each(|a| added.add_atom(a as usize));
        frame.add_residue(&added)?;
    }
    for &[i, j] in &system.bonds {
        frame.add_bond(i as usize, j as usize);
    }
    Ok(frame)
}

fn symbol(element: u8) -> Option<&'static str> {
    Some(match element {
        1 => "H",
        6 => "C",
        7 => "N",
        8 => "O",
        9 => "F",
        11 => "Na",
        12 => "Mg",
        15 => "P",
        16 => "S",
        17 => "Cl",
        19 => "K",
        20 => "Ca",
        25 => "Mn",
        26 => "Fe",
        29 => "Cu",
        30 => "Zn",
        34 => "Se",
        35 => "Br",
        53 => "I",
        _ => return None,
    })
}
