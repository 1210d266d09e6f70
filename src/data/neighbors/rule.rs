//! Which atoms of a system edges join.

use super::{Coordinate, Edges, edges};
use crate::data::system::{System, dot};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule by which a system becomes a graph. No edge is longer than the network's cutoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "by", deny_unknown_fields)]
pub enum Rule {
    /// All atoms within the cutoff.
    #[default]
    Radius,
    /// Of the atoms within the cutoff the `count` nearest to each atom, which receives from them;
    /// of atoms as near as the last one the first in the file. Released networks that limit
    /// neighbors keep 32.
    Nearest { count: usize },
    /// Bound atoms.
    Bonds,
}

impl Rule {
    /// The edges of a system, sorted by receiver, then sender, then shift.
    ///
    /// # Errors
    /// As [`edges`]; bonds of a system that has none.
    pub fn edges<T: Coordinate>(self, system: &System<T>, cutoff: f64) -> Result<Edges> {
        let all = edges(system, cutoff)?;
        match self {
            Rule::Radius => Ok(all),
            Rule::Nearest { count } => Ok(nearest(&all, system, count)),
            Rule::Bonds => bonds(&all, system),
        }
    }
}

/// The edges for which `keep` is true.
fn kept(all: &Edges, keep: &[bool]) -> Edges {
    fn of<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
        let pairs = values.iter().zip(keep).filter(|(_, keep)| **keep);
        pairs.map(|(v, _)| *v).collect()
    }
    Edges {
        senders: of(&all.senders, keep),
        receivers: of(&all.receivers, keep),
        shifts: of(&all.shifts, keep),
    }
}

fn nearest<T: Coordinate>(all: &Edges, system: &System<T>, count: usize) -> Edges {
    let lengths: Vec<f64> = all.vectors(system).iter().map(|&v| dot(v, v)).collect();
    let mut keep = vec![false; all.len()];
    let places: Vec<usize> = (0..all.len()).collect();
    for own in places.chunk_by(|&a, &b| all.receivers[a] == all.receivers[b]) {
        let mut own = own.to_vec();
        // A stable sort: of equal lengths the first comes first.
        own.sort_by(|&a, &b| lengths[a].total_cmp(&lengths[b]));
        own.iter().take(count).for_each(|&e| keep[e] = true);
    }
    kept(all, &keep)
}

/// A bond joins the images of two atoms that are nearest to each other.
fn bonds<T: Coordinate>(all: &Edges, system: &System<T>) -> Result<Edges> {
    if system.bonds.is_empty() && system.len() > 1 {
        return Err(Error::input(
            "edges by bonds, and no bonds are known of a system",
        ));
    }
    let bound: std::collections::HashSet<[u32; 2]> = system.bonds.iter().copied().collect();
    let lengths: Vec<f64> = all.vectors(system).iter().map(|&v| dot(v, v)).collect();
    let mut keep = vec![false; all.len()];
    let places: Vec<usize> = (0..all.len()).collect();
    let ends = |e: usize| [all.receivers[e], all.senders[e]];
    for same in places.chunk_by(|&a, &b| ends(a) == ends(b)) {
        let [i, j] = ends(same[0]);
        if bound.contains(&[i.min(j), i.max(j)]) {
            let shortest = |&&a: &&usize, &&b: &&usize| lengths[a].total_cmp(&lengths[b]);
            let shortest = same.iter().min_by(shortest);
            shortest.into_iter().for_each(|&e| keep[e] = true);
        }
    }
    Ok(kept(all, &keep))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::system::Cell;

    /// Atoms on a line, 1 Å apart.
    fn line(atoms: usize) -> System<f64> {
        System {
            numbers: vec![6; atoms],
            positions: (0..atoms).map(|i| [i as f64, 0.0, 0.0]).collect(),
            ..System::default()
        }
    }

    #[test]
    fn the_nearest_are_kept() {
        let edges = Rule::Nearest { count: 3 }.edges(&line(6), 9.0).unwrap();
        let from = |i: u32| -> Vec<u32> {
            let own = edges
                .receivers
                .iter()
                .zip(&edges.senders)
                .filter(|(r, _)| **r == i);
            own.map(|(_, s)| *s).collect()
        };
        assert_eq!(
            [from(0), from(2), from(5)],
            [[1, 2, 3], [0, 1, 3], [2, 3, 4]]
        );
        let few = Rule::Nearest { count: 3 }.edges(&line(6), 1.5).unwrap();
        assert_eq!(few, Rule::Radius.edges(&line(6), 1.5).unwrap());
    }

    #[test]
    fn bound_atoms_are_joined_across_a_periodic_boundary() {
        let mut ring = line(4);
        ring.cell = Cell::new([[4.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]);
        ring.bonds = vec![[0, 1], [0, 3]];
        let edges = Rule::Bonds.edges(&ring, 5.0).unwrap();
        assert_eq!(edges.receivers, [0, 0, 1, 3]);
        assert_eq!(edges.senders, [1, 3, 0, 0]);
        assert_eq!(edges.shifts[1], [-1, 0, 0]);
        assert!(Rule::Bonds.edges(&line(2), 5.0).is_err());
        assert!(Rule::Bonds.edges(&line(1), 5.0).unwrap().is_empty());
    }
}
