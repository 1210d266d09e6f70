//! From atom records, in file order, to the atoms and residues of a model.
//!
//! A residue goes on as long as its records follow each other. When its name and number come back
//! later (chains that begin anew, segments, molecules repeated), that is another residue, unless the
//! atom that comes is an alternate location of one that is there. No atom is dropped for its name.

use super::{Notes, ReadOptions};
use crate::data::names;
use crate::data::system::{Label, Residue, System};
use std::collections::HashMap;

/// An atom record, whatever the format.
pub(in crate::data) struct Record<'a> {
    pub hetero: bool,
    pub name: &'a [u8],
    /// Alternate location; a space where there is none.
    pub altloc: u8,
    pub residue: &'a [u8],
    pub chain: &'a [u8],
    /// Name of the segment, where the format has one beside the chain.
    pub segid: &'a [u8],
    /// Number of chain ends (`TER`) before it.
    pub segment: u32,
    pub number: i32,
    pub icode: u8,
    pub position: [f32; 3],
    pub occupancy: f32,
    /// B factor (Å²), or confidence; `None` where the file has none.
    pub b_factor: Option<f32>,
    pub element: u8,
}

/// One model of a file.
#[derive(Default)]
pub(super) struct Model {
    pub number: i32,
    pub system: System,
    pub centres: Vec<u32>,
    pub notes: Notes,
}

/// Where a residue is: one place can hold several names (microheterogeneity).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    segid: Label,
    chain: Label,
    number: i32,
    icode: u8,
}

struct Atom {
    name: Label,
    position: [f32; 3],
    element: u8,
    residue: u32,
    occupancy: f32,
    is_ca: bool,
}

struct Site {
    residue: Residue,
    /// Name of its first atom.
    first: Label,
    /// Whether it has atoms of several names.
    several: bool,
    /// Whether every atom has an alternate location.
    alternate: bool,
    /// Alternate locations among its atoms.
    altlocs: Altlocs,
    /// The highest among its atoms.
    occupancy: f32,
    /// Sites of one group are alternatives to each other.
    group: u32,
}

/// A set of alternate locations, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Altlocs(u128);

impl Altlocs {
    fn bit(altloc: u8) -> u128 {
        1 << (altloc & 127)
    }

    fn has(self, altloc: u8) -> bool {
        self.0 & Self::bit(altloc) != 0
    }

    fn insert(&mut self, altloc: u8) {
        self.0 |= Self::bit(altloc);
    }

    /// Whether any is a true one, not the blank.
    fn any(self) -> bool {
        self.0 & !Self::bit(b' ') != 0
    }
}

/// Collects the records of one model.
pub(super) struct Assembler<'o> {
    options: &'o ReadOptions,
    atoms: Vec<Atom>,
    sites: Vec<Site>,
    /// The latest site of each place and name (as the file writes it).
    site_of: HashMap<(Place, Label), u32>,
    /// The latest atom of each name in a site, and its alternate locations.
    atom_of: HashMap<(u32, Label), (u32, Altlocs)>,
    /// The alternate locations of each group of sites, and the group that a place has.
    groups: Vec<Altlocs>,
    group_of: HashMap<Place, u32>,
    /// Place, name and segment of the record before, and its site.
    last: Option<((Place, Label, u32), u32)>,
    notes: Notes,
}

impl<'o> Assembler<'o> {
    pub fn new(options: &'o ReadOptions) -> Self {
        Self {
            options,
            atoms: Vec::new(),
            sites: Vec::new(),
            site_of: HashMap::new(),
            atom_of: HashMap::new(),
            groups: Vec::new(),
            group_of: HashMap::new(),
            last: None,
            notes: Notes::default(),
        }
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.atoms.is_empty()
    }

    /// For what the reader of a format leaves out by itself.
    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// Takes a record, or leaves it out; the error says what is wrong with it.
    pub fn push(&mut self, r: &Record) -> Result<(), String> {
        let hydrogen = r.element == 1 && !self.options.hydrogens;
        let wanted = || self.options.modified && names::parent_of_modified(r.residue).is_some();
        let hetero = r.hetero && !self.options.hetero && !wanted();
        if names::is_water(r.residue) || hydrogen || hetero {
            return Ok(());
        }
        let least = self.options.min_plddt.unwrap_or(f32::NEG_INFINITY);
        if r.b_factor.is_some_and(|b| b < least) {
            let what = format!("atoms of a confidence (pLDDT) below {least}, which are left out");
            self.notes.add(what, 1);
            return Ok(());
        }
        let label = |what: &str, text: &[u8]| {
            Label::short(text).ok_or_else(|| {
                let shown = String::from_utf8_lossy(text).into_owned();
                format!("{what} {shown:?}: at most 8 ASCII characters are supported")
            })
        };
        let place = Place {
            segid: label("segment", r.segid)?,
            chain: label("chain", r.chain)?,
            number: r.number,
            icode: r.icode,
        };
        let (residue, name) = (
            label("residue name", r.residue)?,
            label("atom name", r.name)?,
        );
        let site = self.site(place, residue, name, r);
        let parent = self.sites[site as usize].residue.name;
        let atom = Atom {
            name,
            position: r.position,
            element: self.options.elements.apply(r.element),
            residue: site,
            occupancy: r.occupancy,
            is_ca: r.name == b"CA" && r.element == 6 && is_canonical(parent),
        };
        self.place(name, atom, r.altloc);
        Ok(())
    }

    /// Puts an atom into its site, where the name may be known already.
    fn place(&mut self, name: Label, atom: Atom, altloc: u8) {
        let next = self.atoms.len() as u32;
        let key = (atom.residue, name);
        let Some((known, altlocs)) = self.atom_of.get_mut(&key) else {
            let mut altlocs = Altlocs::default();
            altlocs.insert(altloc);
            self.atom_of.insert(key, (next, altlocs));
            self.atoms.push(atom);
            return;
        };
        let before = &mut self.atoms[*known as usize];
        if !altlocs.has(altloc) {
            altlocs.insert(altloc);
            if atom.occupancy > before.occupancy {
                *before = atom;
            }
        } else if before.position == atom.position {
            self.notes.add(
                "atoms that stand twice in one place, of which one is kept",
                1,
            );
        } else {
            let what = "atoms that share their name with another of their residue: all are kept";
            self.notes.add(what, 1);
            *known = next;
            self.atoms.push(atom);
        }
    }

    fn site(&mut self, place: Place, name: Label, atom: Label, r: &Record) -> u32 {
        let key = (place, name, r.segment);
        let site = match self.last {
            Some((last, site)) if last == key && !self.begins_anew(site, atom, r) => site,
            _ => match self.earlier(place, name, atom, r.altloc) {
                Some(site) => site,
                None => self.new_site(place, name, atom, r),
            },
        };
        self.last = Some((key, site));
        let s = &mut self.sites[site as usize];
        s.alternate &= r.altloc != b' ';
        s.altlocs.insert(r.altloc);
        s.occupancy = s.occupancy.max(r.occupancy);
        s.several |= s.first != atom;
        self.groups[s.group as usize].insert(r.altloc);
        site
    }

    /// Whether a molecule of one residue is repeated under the same number: its first atom comes
    /// again, elsewhere.
    fn begins_anew(&self, site: u32, atom: Label, r: &Record) -> bool {
        let s = &self.sites[site as usize];
        let again = r.altloc == b' ' && s.several && s.first == atom;
        again
            && names::is_polymer(r.residue)
            && self
                .atom_of
                .get(&(site, atom))
                .is_some_and(|(known, _)| self.atoms[*known as usize].position != r.position)
    }

    /// The site of which a record away from it is truly an alternate location.
    fn earlier(&self, place: Place, name: Label, atom: Label, altloc: u8) -> Option<u32> {
        let site = *self
            .site_of
            .get(&(place, name))
            .filter(|_| altloc != b' ')?;
        let fits = match self.atom_of.get(&(site, atom)) {
            Some((_, altlocs)) => altlocs.any() && !altlocs.has(altloc),
            None => self.sites[site as usize].altlocs.any(),
        };
        fits.then_some(site)
    }

    fn new_site(&mut self, place: Place, name: Label, atom: Label, r: &Record) -> u32 {
        let site = self.sites.len() as u32;
        if self.site_of.insert((place, name), site).is_some() {
            let what = "residues that share name, chain and number with another: all are kept";
            self.notes.add(what, 1);
        }
        let known = self.group_of.get(&place).copied();
        let joins = |g: &u32| r.altloc != b' ' && !self.groups[*g as usize].has(r.altloc);
        let group = known.filter(joins).unwrap_or(self.groups.len() as u32);
        if group as usize == self.groups.len() {
            self.groups.push(Altlocs::default());
            self.group_of.insert(place, group);
        }
        let canonical = self.canonical(name);
        self.sites.push(Site {
            residue: Residue {
                chain: place.chain,
                number: place.number,
                icode: place.icode,
                name: canonical,
            },
            first: atom,
            several: false,
            alternate: true,
            altlocs: Altlocs::default(),
            occupancy: f32::NEG_INFINITY,
            group,
        });
        site
    }

    /// The name of the amino acid that a name of force fields stands for, and, where it is asked
    /// for, a modified residue; every other name as it is.
    fn canonical(&mut self, name: Label) -> Label {
        let bytes = name.as_str().as_bytes();
        let modified = || names::parent_of_modified(bytes).filter(|_| self.options.modified);
        match names::parent_of_variant(bytes).or_else(modified) {
            Some(parent) => {
                self.notes
                    .add(format!("residues {name}, which count as {parent}"), 1);
                parent.into()
            }
            None => name,
        }
    }

    /// For each residue, whether it stays: of several names in one place, all of them
    /// alternate, only the one with the highest occupancy does.
    fn choose(&self) -> Vec<bool> {
        let mut best: HashMap<u32, usize> = HashMap::new();
        let mut keep = vec![true; self.sites.len()];
        for (i, s) in self.sites.iter().enumerate().filter(|(_, s)| s.alternate) {
            let first = *best.entry(s.group).or_insert(i);
            if first == i {
                continue;
            }
            let better = s.occupancy > self.sites[first].occupancy;
            keep[if better { first } else { i }] = false;
            if better {
                best.insert(s.group, i);
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
            if self.options.names {
                system.names.push(atom.name);
            }
            system.positions.push(atom.position);
            system.numbers.push(atom.element);
            system.residue_of.push(new[atom.residue as usize]);
        }
        model.notes = self.notes;
        let unknown = system.numbers.iter().filter(|z| **z == 0).count() as u64;
        model.notes.add("atoms of an unknown element", unknown);
        let left_out = keep.iter().filter(|k| !**k).count() as u64;
        let what = "residues left out for a more occupied name in their place";
        model.notes.add(what, left_out);
        model
    }
}

pub(super) fn is_canonical(name: Label) -> bool {
    names::CANONICAL.contains(&name.as_str())
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
