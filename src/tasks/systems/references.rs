//! Numbers of free atoms that are taken off a target before anything else.

use crate::data::systems::{Target, units};
use crate::elements::{number, symbol};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Numbers of free atoms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum References {
    /// Of a set that is known here.
    Known(Set),
    /// By element, in the unit of the first target.
    Given(BTreeMap<String, f64>),
}

/// Sets of references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// Those that QM9 comes with (Ramakrishnan et al., Scientific Data 2014): of `u0`, `u298`,
    /// `h298`, `g298` and `cv`; its other targets have none.
    Qm9,
}

/// Elements of QM9.
const ELEMENTS: [&str; 5] = ["H", "C", "N", "O", "F"];

/// Targets of QM9, their unit, and their numbers of the free atoms.
const QM9: [(&str, &str, [f64; 5]); 5] = [
    (
        "u0",
        "hartree",
        [-0.500273, -37.846772, -54.583861, -75.064579, -99.718730],
    ),
    (
        "u298",
        "hartree",
        [-0.498857, -37.845355, -54.582445, -75.063163, -99.717314],
    ),
    (
        "h298",
        "hartree",
        [-0.497912, -37.844411, -54.581501, -75.062219, -99.716370],
    ),
    (
        "g298",
        "hartree",
        [-0.510927, -37.861317, -54.598897, -75.079532, -99.733544],
    ),
    ("cv", "cal/mol/K", [2.981; 5]),
];

/// Targets of QM9 that free atoms have none of.
const OTHERS: [&str; 7] = ["mu", "alpha", "homo", "lumo", "gap", "r2", "zpve"];

impl References {
    /// The numbers of a target by element, in its unit; `first` tells the first target.
    ///
    /// # Errors
    /// A target that is none of QM9's, or in a unit that QM9's cannot become.
    pub fn of(&self, target: &Target, first: bool) -> Result<BTreeMap<String, f64>> {
        match self {
            Self::Given(given) if first => Ok(given.clone()),
            Self::Given(_) => Ok(BTreeMap::new()),
            Self::Known(Set::Qm9) => qm9(target),
        }
    }

    /// # Errors
    /// An element that there is not, a number that is not finite.
    pub fn check(&self) -> Result<()> {
        let Self::Given(given) = self else {
            return Ok(());
        };
        for (name, value) in given {
            let known = number(name.as_bytes()).and_then(symbol) == Some(name);
            if !known || !value.is_finite() {
                return Err(Error::input(format!(
                    "data.references: {name} = {value}: an element and a number are needed"
                )));
            }
        }
        Ok(())
    }
}

fn qm9(target: &Target) -> Result<BTreeMap<String, f64>> {
    let (name, to) = (&target.name, &target.unit);
    let wrong = |what: String| Err(Error::input(format!("data.references = \"qm9\": {what}")));
    let Some((_, from, values)) = QM9.iter().find(|(known, ..)| known == name) else {
        return match OTHERS.contains(&&**name) {
            true => Ok(BTreeMap::new()),
            false => wrong(format!("{name:?} is no target of QM9")),
        };
    };
    let Some(factor) = units::factor(from, to) else {
        return wrong(format!("{name} in {to:?} cannot be compared with {from}"));
    };
    let own = ELEMENTS.iter().zip(values);
    Ok(own.map(|(s, v)| (s.to_string(), factor * v)).collect())
}

/// Refuses atoms without a number, where others have one.
///
/// # Errors
/// The element, and the system that has it.
pub fn check_elements<'a>(
    references: &BTreeMap<String, f64>,
    mut elements: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    if references.is_empty() {
        return Ok(());
    }
    match elements.find(|(symbol, _)| !references.contains_key(*symbol)) {
        None => Ok(()),
        Some((symbol, id)) => Err(Error::input(format!(
            "data.references: {id} has {symbol}, of which no reference is given"
        ))),
    }
}
