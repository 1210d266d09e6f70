//! From atom records, in file order, to the atoms and residues of a model.

use super::{CANONICAL, ReadOptions, WATERS};
use crate::data::system::{Label, Residue, System};
use std::collections::HashMap;

/// An atom record, whatever the format.
pub(super) struct Record<'a> {
    pub hetero: bool,
    pub name: &'a [u8],
    /// Alternate location; a space where there is none.
    pub altloc: u8,
    pub residue: &'a [u8],
    pub chain: &'a [u8],
    /// Tells chains apart that have the same name or none.
    pub segment: u32,
    pub number: i32,
    pub icode: u8,
    pub position: [f32; 3],
    pub occupancy: f32,
    pub element: u8,
}

/// One model of a file.
#[derive(Default)]
pub(super) struct Model {
    pub number: i32,
    pub system: System,
    pub centres: Vec<u32>,
}

/// Where a residue is: one place can hold several names (microheterogeneity).
type Place = (u32, Label, i32, u8);

struct Atom {
    position: [f32; 3],
    element: u8,
    residue: u32,
    occupancy: f32,
    altloc: u8,
    is_ca: bool,
}

struct Site {
    residue: Residue,
    segment: u32,
    /// Whether every atom has an alternate location.
    alternate: bool,
    /// The highest among its atoms.
    occupancy: f32,
}

/// Collects the records of one model.
pub(super) struct Assembler<'o> {
    options: &'o ReadOptions,
    atoms: Vec<Atom>,
    sites: Vec<Site>,
    site_of: HashMap<(Place, Label), u32>,
    atom_of: HashMap<(u32, Label), u32>,
    last: Option<((Place, Label), u32)>,
}

impl<'o> Assembler<'o> {
    pub fn new(options: &'o ReadOptions) -> Self {
        Self {
            options,
            atoms: Vec::new(),
            sites: Vec::new(),
            site_of: HashMap::new(),
            atom_of: HashMap::new(),
            last: None,
        }
    }

    /// Whether anything was kept.
    pub fn is_empty(&self) -> bool {
        self.atoms.is_empty()
    }

    /// Takes a record, or leaves it out; the error says what is wrong with it.
    pub fn push(&mut self, r: &Record) -> Result<(), String> {
        let water = WATERS.iter().any(|w| w.as_bytes() == r.residue);
        let hydrogen = r.element == 1 && !self.options.hydrogens;
        if water || hydrogen || (r.hetero && !self.options.hetero) {
            return Ok(());
        }
        let label = |what: &str, text: &[u8]| {
            Label::short(text).ok_or_else(|| {
                let shown = String::from_utf8_lossy(text).into_owned();
                format!("{what} {shown:?}: at most 8 ASCII characters are supported")
            })
        };
        let residue = Residue {
            chain: label("chain", r.chain)?,
            number: r.number,
            icode: r.icode,
            name: label("residue name", r.residue)?,
        };
        let name = label("atom name", r.name)?;
        let site = self.site(residue, r);
        let atom = Atom {
            position: r.position,
            element: self.options.elements.apply(r.element),
            residue: site,
            occupancy: r.occupancy,
            altloc: r.altloc,
            is_ca: r.name == b"CA" && r.element == 6 && is_canonical(residue.name),
        };
        let next = self.atoms.len() as u32;
        let known = *self.atom_of.entry((site, name)).or_insert(next);
        if known == next {
            self.atoms.push(atom);
            return Ok(());
        }
        // The same atom again: an alternate location, or (neither has one) a plain repetition.
        let before = &mut self.atoms[known as usize];
        let alternate = atom.altloc != b' ' || before.altloc != b' ';
        if !alternate && self.options.same_names {
            self.atoms.push(atom);
            return Ok(());
        }
        if alternate && atom.occupancy > before.occupancy {
            *before = atom;
        }
        Ok(())
    }

    fn site(&mut self, residue: Residue, r: &Record) -> u32 {
        let place = (r.segment, residue.chain, residue.number, residue.icode);
        let key = (place, residue.name);
        let known = match self.last {
            Some((last, site)) if last == key => Some(site),
            _ => self.site_of.get(&key).copied(),
        };
        let site = known.unwrap_or_else(|| {
            self.sites.push(Site {
                residue,
                segment: r.segment,
                alternate: true,
                occupancy: f32::NEG_INFINITY,
            });
            let site = self.sites.len() as u32 - 1;
            self.site_of.insert(key, site);
            site
        });
        self.last = Some((key, site));
        let s = &mut self.sites[site as usize];
        s.alternate &= r.altloc != b' ';
        s.occupancy = s.occupancy.max(r.occupancy);
        site
    }

    /// For each residue, whether it stays: of several names in one place, all of them
    /// alternate, only the one with the highest occupancy does.
    fn choose(&self) -> Vec<bool> {
        let mut best: HashMap<Place, usize> = HashMap::new();
        let mut keep = vec![true; self.sites.len()];
        for (i, s) in self.sites.iter().enumerate().filter(|(_, s)| s.alternate) {
            let r = &s.residue;
            let place = (s.segment, r.chain, r.number, r.icode);
            let first = *best.entry(place).or_insert(i);
            if first == i {
                continue;
            }
            let better = s.occupancy > self.sites[first].occupancy;
            let loser = if better { first } else { i };
            keep[loser] = false;
            if better {
                best.insert(place, i);
            }
        }
        keep
    }

    pub fn finish(self, number: i32) -> Model {
        let keep = self.choose();
        let mut model = Model {
            number,
            ..Model::default()
        };
        let system = &mut model.system;
        let mut new = vec![u32::MAX; keep.len()];
        for (i, s) in self.sites.iter().enumerate().filter(|(i, _)| keep[*i]) {
            new[i] = system.residues.len() as u32;
            system.residues.push(s.residue);
        }
        for atom in self.atoms.iter().filter(|a| keep[a.residue as usize]) {
            if atom.is_ca {
                model.centres.push(system.len() as u32);
            }
            system.positions.push(atom.position);
            system.numbers.push(atom.element);
            system.residue_of.push(new[atom.residue as usize]);
        }
        model
    }
}

pub(super) fn is_canonical(name: Label) -> bool {
    CANONICAL.contains(&name.as_str())
}

/// Å; no structure is larger, and beyond it f32 cannot tell neighbours apart.
const FARTHEST: f32 = 1e6;

/// A coordinate, or what is wrong with it.
pub(super) fn coordinate(axis: char, text: &[u8]) -> Result<f32, String> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    let value: f32 = std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| format!("{axis} coordinate {:?} is not a number", shown()))?;
    match value.abs() <= FARTHEST {
        true => Ok(value),
        false => Err(format!(
            "{axis} coordinate {:?} is not a finite number within 1e6 Å",
            shown()
        )),
    }
}
