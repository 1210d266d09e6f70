//! The dataset file of chains.
//!
//! | group | dataset | type, shape | meaning |
//! |---|---|---|---|
//! | `chains` | `id`, `part` | string `[S]` | name; part of the data under its own name |
//! | | `split` | string `[S]` | train, validation or test |
//! | | `offsets` | u64 `[S + 1]` | residues of chain `i` are `offsets[i]..offsets[i + 1]` |
//! | | `label_offsets` | u64 `[S + 1]` | the same for `label` |
//! | | `label` | u32 `[L]` | places in `classes` |
//! | | `classes` | string `[C]` | names of classes or labels |
//! | `residues` | `kind` | u8 `[R]` | place in `ACDEFGHIKLMNPQRSTVWYX` |
//! | | `backbone` | f32 `[R, 3, 3]` | N, CA, C; Å |
//! | | `side` | f32 `[R, 4]` | torsions chi 1 to 4, radians |
//!
//! The text dataset `settings` (TOML) tells how the file was made.

use super::{Chain, KINDS, Record, manifest::Entry, side};
use crate::comm::World;
use crate::data::Split;
use crate::store::{self, Digest, Kind, Storage::Compressed};
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;

/// Many chains with their labels: the content of a dataset file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chains {
    ids: Vec<String>,
    parts: Vec<String>,
    splits: Vec<Split>,
    /// Places in `classes`, ascending.
    labels: Vec<Vec<u32>>,
    classes: Vec<String>,
    offsets: Vec<u64>,
    kinds: Vec<u8>,
    backbone: Vec<[[f32; 3]; 3]>,
    side: Vec<[f32; 4]>,
    settings: String,
    fingerprint: String,
}

impl Chains {
    /// Packs chains; `settings` tells how they were read.
    ///
    /// # Errors
    /// Two chains of one id.
    pub fn pack(chains: Vec<(Entry, Record)>, settings: String) -> Result<Self> {
        let mut seen = HashSet::new();
        if let Some((twice, _)) = chains.iter().find(|(e, _)| !seen.insert(&e.id)) {
            return Err(Error::input(format!(
                "two chains are called {:?}: an id names one",
                twice.id
            )));
        }
        let names = chains.iter().flat_map(|(e, _)| &e.labels);
        let classes: Vec<String> = names
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect();
        let mut packed = Self {
            settings,
            offsets: vec![0],
            ..Self::default()
        };
        for (entry, record) in chains {
            let place = |label: &String| classes.binary_search(label).unwrap_or_default() as u32;
            packed.labels.push(entry.labels.iter().map(place).collect());
            packed.ids.push(entry.id);
            packed.parts.push(entry.part);
            packed.splits.push(entry.split);
            packed.kinds.extend(record.kinds);
            packed.backbone.extend(record.backbone);
            packed.side.extend(record.side);
            packed.offsets.push(packed.kinds.len() as u64);
        }
        packed.classes = classes;
        Ok(packed)
    }

    /// Number of chains.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of residues of all chains.
    pub fn residue_count(&self) -> usize {
        self.kinds.len()
    }

    pub fn id(&self, chain: usize) -> &str {
        &self.ids[chain]
    }

    /// The part of the data that a chain is of, under its own name.
    pub fn part(&self, chain: usize) -> &str {
        &self.parts[chain]
    }

    /// Classes of a chain, as places in [`Chains::classes`].
    pub fn labels(&self, chain: usize) -> &[u32] {
        &self.labels[chain]
    }

    /// Names of classes or labels, ascending.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    fn residues(&self, chain: usize) -> Range<usize> {
        self.offsets[chain] as usize..self.offsets[chain + 1] as usize
    }

    /// The residues of a chain.
    pub fn chain(&self, chain: usize) -> Chain {
        let own = self.residues(chain);
        let backbone = self.backbone[own.clone()].iter();
        Chain::new(
            self.kinds[own.clone()].to_vec(),
            backbone.map(|r| r.map(|p| p.map(f64::from))).collect(),
            self.side[own]
                .iter()
                .map(|a| side(a.map(f64::from)))
                .collect(),
        )
    }

    /// Chains of a split, ascending.
    pub fn split(&self, split: Split) -> Vec<u32> {
        let all = (0u32..).zip(&self.splits);
        all.filter(|(_, s)| **s == split).map(|(i, _)| i).collect()
    }

    /// Deals the labels of training and validation anew to their chains, drawn from `seed`: what a
    /// model scores then is what chance, and whatever else than the labels, can give.
    pub fn shuffle_labels(&mut self, seed: u64) {
        for (stream, split) in (0..).zip([Split::Train, Split::Validation]) {
            let ids = self.split(split);
            let mut labels: Vec<_> = ids
                .iter()
                .map(|&i| self.labels[i as usize].clone())
                .collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            labels.shuffle(&mut rng);
            ids.iter()
                .zip(labels)
                .for_each(|(&i, l)| self.labels[i as usize] = l);
        }
    }

    /// How the file was made, TOML.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// XXH3-128 of the file's bytes.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Writes the dataset, whole or not at all. Equal content gives equal bytes.
    ///
    /// # Errors
    /// An unwritable folder, a full disk.
    pub fn write(&self, path: &Path) -> Result<Digest> {
        store::write(path, Kind::Chains, |root| {
            root.set_attr_text("position_unit", "angstrom")?;
            root.set_attr_text("kinds", KINDS)?;
            root.write_text("settings", &self.settings)?;
            let chains = root.create_group("chains")?;
            chains.write_strings("id", &self.ids)?;
            chains.write_strings("part", &self.parts)?;
            let splits: Vec<String> = self.splits.iter().map(Split::to_string).collect();
            chains.write_strings("split", &splits)?;
            chains.write("offsets", &[self.offsets.len()], &self.offsets, Compressed)?;
            let mut label_offsets = vec![0u64];
            label_offsets.extend(self.labels.iter().scan(0, |end, labels| {
                *end += labels.len() as u64;
                Some(*end)
            }));
            chains.write(
                "label_offsets",
                &[label_offsets.len()],
                &label_offsets,
                Compressed,
            )?;
            let labels = self.labels.concat();
            chains.write("label", &[labels.len()], &labels, Compressed)?;
            chains.write_strings("classes", &self.classes)?;
            let residues = root.create_group("residues")?;
            let r = self.kinds.len();
            residues.write("kind", &[r], &self.kinds, Compressed)?;
            let flat = self.backbone.as_flattened().as_flattened();
            residues.write("backbone", &[r, 3, 3], flat, Compressed)?;
            residues.write("side", &[r, 4], self.side.as_flattened(), Compressed)
        })
    }

    /// Reads a dataset on all ranks; rank 0 verifies its bytes. Collective.
    ///
    /// # Errors
    /// As [`store::open`]; arrays that do not fit together.
    pub fn open(world: &World, path: &Path) -> Result<Self> {
        let verified = world.on_root(|| store::open(path, Kind::Chains))?;
        let opened = match verified {
            Some(file) => Ok(file),
            None => store::open_trusted(path, Kind::Chains),
        };
        world.agree(opened.and_then(|file| Self::load(path, &file)))
    }

    fn load(path: &Path, file: &store::File) -> Result<Self> {
        let (chains, residues) = (file.group("chains")?, file.group("residues")?);
        let (backbone, _) = residues.read_shaped::<f32>("backbone", &[None, Some(3), Some(3)])?;
        let (side, _) = residues.read_shaped::<f32>("side", &[None, Some(4)])?;
        let splits = chains.read_strings("split")?;
        let splits = splits.iter().map(|s| s.parse::<Split>());
        let broken = || Error::file(path, "its arrays do not fit together; prepare it again");
        let ends: Vec<u64> = chains.read("label_offsets")?;
        let all: Vec<u32> = chains.read("label")?;
        let own = |ends: &[u64]| Some(all.get(ends[0] as usize..ends[1] as usize)?.to_vec());
        let labels: Option<Vec<Vec<u32>>> = ends.windows(2).map(own).collect();
        let loaded = Self {
            ids: chains.read_strings("id")?,
            parts: chains.read_strings("part")?,
            splits: splits.collect::<Result<_>>().map_err(|e| e.in_file(path))?,
            labels: labels.ok_or_else(broken)?,
            classes: chains.read_strings("classes")?,
            offsets: chains.read("offsets")?,
            kinds: residues.read("kind")?,
            backbone: backbone.as_chunks().0.as_chunks().0.to_vec(),
            side: side.as_chunks().0.to_vec(),
            settings: file.read_text("settings")?,
            fingerprint: file
                .header()
                .map_or(String::new(), |h| h.digest.to_string()),
        };
        match loaded.consistent() {
            true => Ok(loaded),
            false => Err(broken()),
        }
    }

    fn consistent(&self) -> bool {
        let (n, r) = (self.len(), self.kinds.len());
        self.offsets.len() == n + 1
            && self.offsets[0] == 0
            && self.offsets.is_sorted()
            && self.offsets[n] == r as u64
            && [self.parts.len(), self.splits.len(), self.labels.len()] == [n; 3]
            && [self.backbone.len(), self.side.len()] == [r; 2]
            && self.kinds.iter().all(|&k| (k as usize) < KINDS.len())
            && self
                .labels
                .iter()
                .flatten()
                .all(|&l| (l as usize) < self.classes.len())
            && self
                .backbone
                .as_flattened()
                .as_flattened()
                .iter()
                .all(|x| x.is_finite())
    }
}
