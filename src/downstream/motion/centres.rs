//! The residues of a trajectory as an encoder sees them: which atoms are their centres, which atoms
//! surround them, and which residues are neighbors.

use crate::data::names::parent_of_variant;
use crate::data::neighbors::pairs;
use crate::data::system::{Residue, System, crowd};
use crate::data::trajectory::{self, Dataset};
use crate::models::hvae::Description;
use crate::ops::zernike::{Channel, DROP, Family, Settings, Side};
use crate::store::Kind;
use crate::{Error, Result};

/// Residues whose CA are nearer than this in the first frame are neighbors, in Å: the distance that
/// `prepare trajectories --select ca` takes.
const NEIGHBORS: f64 = 8.0;

/// The residues of one graph of atoms.
pub(super) struct Centres {
    /// Atoms that neighborhoods are made of, by their place in a frame.
    pub atoms: Vec<u32>,
    /// Atomic numbers and residues of `atoms`.
    pub numbers: Vec<u8>,
    pub residue_of: Vec<u32>,
    /// Places of the CA in `atoms`, one for each residue that has one.
    pub centres: Vec<u32>,
    /// For each centre whether the one before it belongs to the same chain.
    pub follows: Vec<bool>,
    /// Residues as nodes.
    pub graph: trajectory::Graph,
}

/// The residues of every graph of a dataset.
///
/// # Errors
/// Nodes that are no atoms, that lack elements or residues, or of which an encoder of such channels
/// would see a part only.
pub(super) fn all(dataset: &Dataset, description: &Description) -> Result<Vec<Centres>> {
    let refused = |what: String| Err(Error::file(dataset.path(), what));
    if dataset.kind() != Kind::Trajectories {
        return refused("it holds invariants already; --holographic needs trajectories".into());
    }
    if dataset.unit() != "angstrom" || dataset.graphs().iter().any(|g| g.atoms.is_none()) {
        return refused(
            "its nodes are no atoms: neighborhoods need the elements and residues that `holosig \
             prepare trajectories` stores"
                .into(),
        );
    }
    let build = |(number, graph): (usize, &trajectory::Graph)| {
        let named = |e: Error| Error::file(dataset.path(), format!("graph {number}: {e}"));
        let system = graph.atoms.as_ref();
        let system = system.ok_or_else(|| Error::internal("a graph without atoms"))?;
        let mut centres = Centres::of(system, &description.zernike).map_err(named)?;
        centres.graph.edges = edges(dataset, number, &centres).map_err(named)?;
        Ok(centres)
    };
    dataset.graphs().iter().enumerate().map(build).collect()
}

impl Centres {
    fn of(system: &System, settings: &Settings) -> Result<Self> {
        if let Some(i) = system.numbers.iter().position(|&z| z == 0) {
            return Err(Error::input(format!(
                "node {i} ({} of {}) has no element: neighborhoods need atoms; prepare \
                 trajectories with --select all",
                system.names[i],
                named(system.residue(i as u32))
            )));
        }
        let hydrogens = check_channels(system, settings)?;
        let kept =
            (0..system.len() as u32).filter(|&a| hydrogens || system.numbers[a as usize] != 1);
        let atoms: Vec<u32> = kept.collect();
        let mut new = vec![u32::MAX; system.len()];
        for (n, &a) in (0..).zip(&atoms) {
            new[a as usize] = n;
        }
        let mut out = Self {
            numbers: atoms.iter().map(|&a| system.numbers[a as usize]).collect(),
            residue_of: atoms
                .iter()
                .map(|&a| system.residue_of[a as usize])
                .collect(),
            atoms,
            centres: Vec::new(),
            follows: Vec::new(),
            graph: trajectory::Graph::default(),
        };
        let mut nodes = System::default();
        for (residue, members) in system.residues.iter().zip(system.members().iter()) {
            let Some(ca) = ca_of(system, residue, members)? else {
                continue;
            };
            let before = nodes.residues.last();
            out.follows
                .push(before.is_some_and(|r: &Residue| r.chain == residue.chain));
            out.centres.push(new[ca as usize]);
            nodes.numbers.push(6);
            nodes.names.push("CA".into());
            nodes.residue_of.push(nodes.residues.len() as u32);
            nodes.residues.push(*residue);
        }
        if nodes.is_empty() {
            return Err(Error::input(
                "no residue has a CA atom: neighborhoods are centred on the CA of amino acids",
            ));
        }
        out.graph.nodes = nodes.len();
        out.graph.atoms = Some(nodes);
        Ok(out)
    }

    /// Number of residues.
    pub fn len(&self) -> usize {
        self.centres.len()
    }
}

/// A residue in words.
fn named(residue: &Residue) -> String {
    let chain = residue.chain.as_str();
    match chain.is_empty() {
        true => format!("{} {}", residue.name, residue.number),
        false => format!("{} {} of chain {chain}", residue.name, residue.number),
    }
}

/// The CA of an amino acid; nothing for a residue that is none (a cap, a ligand).
///
/// # Errors
/// An amino acid of which heavy atoms are missing: N, C, or the CB of all but glycine.
fn ca_of(system: &System, residue: &Residue, members: &[u32]) -> Result<Option<u32>> {
    let find = |name: &str| {
        let mut members = members.iter().copied();
        members.find(|&a| system.names[a as usize].as_str() == name)
    };
    let Some(ca) = find("CA").filter(|&a| system.numbers[a as usize] == 6) else {
        return Ok(None);
    };
    let name = residue.name.as_str();
    let glycine = name == "GLY" || parent_of_variant(name.as_bytes()) == Some("GLY");
    let needed = ["N", "C", "CB"]
        .into_iter()
        .filter(|&n| n != "CB" || !glycine);
    match needed.into_iter().find(|n| find(n).is_none()) {
        None => Ok(Some(ca)),
        Some(missing) => Err(Error::input(format!(
            "{} has no {missing}: neighborhoods need all heavy atoms; prepare trajectories with \
             --select all",
            named(residue)
        ))),
    }
}

/// Whether hydrogens are looked at: where a channel holds them.
///
/// # Errors
/// Channels that none of the atoms would fill, or a channel of hydrogens without any.
fn check_channels(system: &System, settings: &Settings) -> Result<bool> {
    let of_hydrogens = |c: &Channel| c.family == Family::Element(1) && c.side != Some(Side::Ligand);
    let hydrogens = settings.channels.iter().any(of_hydrogens);
    let list = || {
        let names = settings.channels.iter().map(Channel::to_string);
        names.collect::<Vec<_>>().join(", ")
    };
    if hydrogens && !system.numbers.contains(&1) {
        return Err(Error::input(format!(
            "the encoder has channels for {}, and there are no hydrogens; prepare trajectories \
             with --select protein, or take an encoder of heavy atoms",
            list()
        )));
    }
    let seen = |z: u8| settings.channel_of(z, Side::Protein) != DROP;
    if let Some((z, name)) = [(6, "carbon"), (7, "nitrogen"), (8, "oxygen")]
        .into_iter()
        .find(|&(z, _)| !seen(z) && system.numbers.contains(&z))
    {
        log::warn!(
            "element {z} ({name}) is in no channel of the encoder, which sees {}",
            list()
        );
    }
    if !system.numbers.iter().any(|&z| seen(z)) {
        return Err(Error::input(format!(
            "the encoder has channels for {}, and none of the atoms is in them",
            list()
        )));
    }
    Ok(hydrogens)
}

/// Pairs of neighboring residues, from the first frame of the first trajectory on the graph.
fn edges(dataset: &Dataset, number: usize, centres: &Centres) -> Result<Vec<[u32; 2]>> {
    let mut all = dataset.trajectories().iter();
    let Some(first) = all.position(|t| t.graph as usize == number) else {
        return Ok(Vec::new());
    };
    let frame = dataset.frames(first, 0..1)?.values;
    let place = |&c: &u32| {
        let at = 3 * centres.atoms[c as usize] as usize;
        [frame[at], frame[at + 1], frame[at + 2]]
    };
    let places: Vec<[f32; 3]> = centres.centres.iter().map(place).collect();
    match crowd(&places) {
        Some(crowd) => Err(Error::input(format!("neighbors: {crowd}"))),
        None => Ok(pairs(&places, NEIGHBORS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(residue: &str, atoms: &[(&str, u8)]) -> System {
        System {
            names: atoms.iter().map(|(name, _)| (*name).into()).collect(),
            numbers: atoms.iter().map(|(_, z)| *z).collect(),
            residue_of: vec![0; atoms.len()],
            residues: vec![Residue {
                chain: "B".into(),
                number: 7,
                name: residue.into(),
                ..Residue::default()
            }],
            ..System::default()
        }
    }

    fn told(system: &System, channels: &[u8]) -> String {
        let settings = Settings {
            channels: channels.iter().map(|&z| Channel::element(z)).collect(),
            ..Settings::default()
        };
        match Centres::of(system, &settings) {
            Ok(centres) => format!("{} of {}", centres.len(), centres.atoms.len()),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn residues_must_be_whole() {
        let heavy = [6, 7, 8, 16];
        let glycine = [("N", 7), ("CA", 6), ("C", 6), ("O", 8)];
        assert_eq!(told(&system("GLY", &glycine), &heavy), "1 of 4");
        assert_eq!(told(&system("NGLY", &glycine), &heavy), "1 of 4");
        let missing = told(&system("ALA", &glycine), &heavy);
        assert!(
            missing.starts_with("ALA 7 of chain B has no CB"),
            "{missing}"
        );
        let alone = told(&system("ALA", &[("CA", 6)]), &heavy);
        assert!(
            alone.contains("has no N: neighborhoods need all heavy atoms"),
            "{alone}"
        );
        let residue = told(&system("ALA", &[("ALA", 0)]), &heavy);
        assert!(residue.contains("has no element"), "{residue}");
        let calcium = told(&system("CA", &[("CA", 20)]), &[20]);
        assert!(calcium.contains("no residue has a CA atom"), "{calcium}");
    }

    #[test]
    fn channels_must_be_filled() {
        let mut glycine = vec![("N", 7), ("CA", 6), ("C", 6), ("O", 8)];
        let without = told(&system("GLY", &glycine), &[1, 6, 7, 8]);
        assert!(without.contains("no hydrogens"), "{without}");
        let other = told(&system("GLY", &glycine), &[26]);
        assert!(
            other.contains("channels for FE, and none of the atoms"),
            "{other}"
        );
        glycine.push(("HA2", 1));
        assert_eq!(told(&system("GLY", &glycine), &[6, 7, 8]), "1 of 4");
        assert_eq!(told(&system("GLY", &glycine), &[1, 6, 7, 8]), "1 of 5");
    }
}
