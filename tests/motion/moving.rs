//! A protein in motion, as a source of frames.

use super::in_repository;
use holosig::comm::World;
use holosig::data::structure::{self, ReadOptions};
use holosig::data::system::System;
use holosig::data::trajectory::{self, About, Cut, Graph, Header, Item, Source};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// A protein whose atoms tremble and whose tail swings, in a different way for each label.
pub struct Moving {
    pub items: Vec<Item>,
    pub atoms: System,
    pub frames: Vec<Vec<Vec<[f64; 3]>>>,
}

impl Moving {
    /// Ubiquitin's first `residues` residues in trajectories of these numbers of frames.
    pub fn new(residues: u32, counts: &[usize]) -> Self {
        let path = in_repository("tests/structures/pdb1ubi.pdb");
        let mut atoms = structure::read(&path, &ReadOptions::default()).unwrap()[0]
            .system
            .clone();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|l| l.starts_with("ATOM"));
        atoms.names = lines.map(|l| l[12..16].trim().into()).collect();
        assert_eq!(atoms.names.len(), atoms.len());
        let keep: Vec<bool> = atoms.residue_of.iter().map(|&r| r < residues).collect();
        atoms.retain(&keep);
        atoms.residues.truncate(residues as usize);
        let places: Vec<[f64; 3]> = atoms.positions.iter().map(|p| p.map(f64::from)).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut frame = |label: usize, t: usize| -> Vec<[f64; 3]> {
            let swing = [0.7, 1.3][label] * t as f64;
            let atom = |(i, p): (usize, &[f64; 3])| {
                let tail = f64::from(u8::from(atoms.residue_of[i] + 4 >= residues));
                let shift = [swing.sin() * tail, swing.cos() * tail, 0.0];
                std::array::from_fn(|k| match t {
                    0 => p[k],
                    _ => p[k] + shift[k] + rng.random_range(-0.1..0.1),
                })
            };
            places.iter().enumerate().map(atom).collect()
        };
        let frames = counts.iter().enumerate();
        let frames = frames.map(|(i, &n)| (0..n).map(|t| frame(i % 2, t)).collect());
        let frames = frames.collect();
        let item = |i: usize| Item {
            name: format!("run-{i}"),
            label: Some(["slow", "fast"][i % 2].into()),
            group: format!("run-{i}"),
            split: None,
        };
        Self {
            items: (0..counts.len()).map(item).collect(),
            atoms,
            frames,
        }
    }

    /// With every frame changed on its own; its number is given.
    pub fn map(&self, change: impl Fn(usize, &[[f64; 3]]) -> Vec<[f64; 3]>) -> Self {
        let all = self.frames.iter();
        let frames = all.map(|run| run.iter().enumerate().map(|(t, f)| change(t, f)).collect());
        Self {
            items: self.items.clone(),
            atoms: self.atoms.clone(),
            frames: frames.collect(),
        }
    }

    /// Writes a trajectories file; segments have `window` frames.
    pub fn write(&self, path: &Path, window: usize) {
        let about = About {
            origin: "molecular dynamics",
            unit: "angstrom",
            time_unit: "ps",
            dimensions: 3,
            settings: "{}".into(),
            cut: Cut::Window {
                frames: window,
                step: window,
            },
            folds: 3,
            seed: 0,
            skip: false,
        };
        trajectory::prepare(&World::alone(), path, &about, self).unwrap();
    }
}

impl Source for Moving {
    fn items(&self) -> &[Item] {
        &self.items
    }

    fn cost(&self, _: usize) -> u64 {
        1
    }

    fn produce(
        &self,
        index: usize,
        frame: &mut dyn FnMut(&[f32]) -> holosig::Result<()>,
    ) -> holosig::Result<Header> {
        for f in &self.frames[index] {
            frame(&f.iter().flatten().map(|&x| x as f32).collect::<Vec<f32>>())?;
        }
        let mut atoms = self.atoms.clone();
        atoms.positions.clear();
        Ok(Header {
            graph: Graph {
                nodes: atoms.len(),
                edges: (1..atoms.len() as u32).map(|i| [i - 1, i]).collect(),
                atoms: Some(atoms),
            },
            time_step: Some(2.0),
        })
    }
}
