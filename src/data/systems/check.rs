//! What no system may be.

use super::{Sample, stress};
use crate::data::neighbors;
use crate::elements::{self, symbol};
use crate::{Error, Result};

/// Å: two nuclei are never this close (the shortest bond, that of H2, has 0.74 Å).
const OVERLAP: f64 = 0.2;

/// Refuses a sample that cannot be learned from. A single atom is fine: it has no edges.
///
/// # Errors
/// One line that names the sample and the atom: no atoms, an element outside the table, a
/// bond of an atom that is not there, a position, target or force that is not finite, as many forces as there are not atoms, a
/// stress of no crystal or one that is not symmetric, atoms at the same place, a cell that spans too many images.
pub fn check(sample: &Sample) -> Result<()> {
    let wrong = |what: String| Err(Error::input(format!("{}: {what}", sample.id)));
    let system = &sample.system;
    if system.is_empty() {
        return wrong("no atoms".into());
    }
    if system.positions.len() != system.len() {
        let (positions, atoms) = (system.positions.len(), system.len());
        return wrong(format!("{positions} positions for {atoms} atoms"));
    }
    if let Some(atom) = system.numbers.iter().position(|&z| symbol(z).is_none()) {
        return wrong(format!(
            "atom {}: atomic number {}, elements have 1 to {}",
            atom + 1,
            system.numbers[atom],
            elements::LAST
        ));
    }
    let beyond = |b: &&[u32; 2]| b[0] == b[1] || b[1] as usize >= system.len();
    if let Some([i, j]) = system.bonds.iter().find(beyond) {
        let atoms = system.len();
        return wrong(format!(
            "a bond of atoms {} and {} of {atoms}",
            i + 1,
            j + 1
        ));
    }
    let infinite = |p: &[f64; 3]| p.iter().any(|x| !x.is_finite());
    if let Some(atom) = system.positions.iter().position(infinite) {
        return wrong(format!("atom {}: its position is not finite", atom + 1));
    }
    if let Some(value) = sample.values.iter().find(|v| !v.value.is_finite()) {
        return wrong(format!(
            "{} is {}, not a finite number",
            value.name, value.value
        ));
    }
    if let Some(forces) = &sample.forces {
        if forces.len() != system.len() {
            return wrong(format!(
                "{} forces for {} atoms",
                forces.len(),
                system.len()
            ));
        }
        if let Some(atom) = forces.iter().position(infinite) {
            let force = forces[atom];
            return wrong(format!(
                "atom {}: its force {force:?} is not finite",
                atom + 1
            ));
        }
        if sample.values.is_empty() {
            return wrong("forces without an energy".into());
        }
    }
    if let Some(own) = &sample.stress {
        stress::check(sample, own).or_else(wrong)?;
    }
    let close = neighbors::edges(system, OVERLAP).map_err(|e| match e {
        Error::Input(what) => Error::input(format!("{}: {what}", sample.id)),
        other => other,
    })?;
    match close.is_empty() {
        true => Ok(()),
        false => wrong(format!(
            "atoms {} and {} are less than {OVERLAP} Å apart; a copy of the same atom?",
            close.receivers[0] + 1,
            close.senders[0] + 1
        )),
    }
}
