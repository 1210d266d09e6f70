//! Trajectories to paths of invariants: an encoder at every residue of every frame.
//!
//! A file of invariant paths has the tables of the trajectories that it was made of (see
//! [`crate::data::trajectory`]), with residues as nodes, and
//!
//! | name | shape | what |
//! |---|---|---|
//! | `invariants/NNNNNN` | [frames, residues, z] f32 | per trajectory, in chunks of one residue |
//! | `relative_frames/NNNNNN` | [frames, residues, 3, 3] f32 | by option: the axes of the residue's frame (rows) in those of the frame of the residue before it, F F_before^T; the identity for the first of a chain |
//! | `mean`, `deviation` | [z] f64 | of every invariant over all residues and frames |
//! | `description` | text | the encoder (TOML) |
//! | attributes `checkpoint_hash`, `trajectories` | | hash of the encoder; fingerprint of the trajectories file |
//!
//! The invariants of a frame do not change when the frame is turned or moved, so nothing is
//! superposed on anything.

use super::centres::{self, Centres};
use crate::comm::{World, packed};
use crate::data::neighborhoods::SystemFinder;
use crate::data::system::Atoms;
use crate::data::trajectory::{Dataset, coordinates_name};
use crate::data::zernikegrams::{of_clouds, write_settings};
use crate::downstream::embedding::{BLOCK, Embedder};
use crate::models::Describes;
use crate::ops::in_pool;
use crate::ops::zernike::Transform;
use crate::store::{Kind, NewFile, Node, Storage};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// Frames of one trajectory that a rank embeds before it hands them to rank 0; also the length of
/// a chunk.
const FRAMES: usize = 64;

const RELATIVE: &str = "relative_frames";

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub trajectories: usize,
    /// Residues times frames.
    pub neighborhoods: u64,
}

/// Some frames of one trajectory.
#[derive(Default, Serialize, Deserialize)]
struct Block {
    /// `[frames, residues, z]`
    #[serde(with = "packed")]
    invariants: Vec<f32>,
    /// `[frames, residues, 3, 3]`; empty unless asked for.
    #[serde(with = "packed")]
    relative: Vec<f32>,
}

/// Embeds every residue in every frame of `dataset` into the file `out`; with `relative` also frames
/// relative to those of the residue before. `progress` is told the number of frames done, on rank 0.
/// What a rank holds at a time does not grow with the number of frames. Collective.
///
/// # Errors
/// Trajectories whose atoms, elements or residues are unknown or incomplete, an encoder of other
/// channels, an unwritable `out`.
pub fn write(
    world: &World,
    embedder: &Embedder,
    dataset: &Dataset,
    relative: bool,
    out: &Path,
    progress: impl Fn(usize),
) -> Result<Summary> {
    let centres = world.agree(centres::all(dataset, &embedder.description))?;
    let job = Job {
        embedder,
        dataset,
        centres,
        transform: world.agree(Transform::new(&embedder.description.zernike))?,
        relative,
    };
    let mut output = world.on_root(|| job.begin(out))?;
    let blocks = job.blocks();
    let mut done = 0;
    world.ordered(
        blocks.len(),
        1,
        |i| job.block(&blocks[i.start]),
        |i, block| {
            let frames = &blocks[i.start];
            done += frames.range.len();
            progress(done);
            output.as_mut().map_or(Ok(()), |o| o.add(frames, &block))
        },
    )?;
    world.on_root(|| output.map(Output::finish).transpose())?;
    let all = dataset.trajectories().iter();
    let residues = |graph: u32| job.centres[graph as usize].len() as u64;
    Ok(Summary {
        trajectories: all.len(),
        neighborhoods: all.map(|t| t.frames * residues(t.graph)).sum(),
    })
}

/// Frames that are embedded together.
struct Frames {
    trajectory: usize,
    range: Range<usize>,
}

struct Job<'a> {
    embedder: &'a Embedder,
    dataset: &'a Dataset,
    /// By graph.
    centres: Vec<Centres>,
    transform: Transform,
    relative: bool,
}

impl Job<'_> {
    fn blocks(&self) -> Vec<Frames> {
        let mut blocks = Vec::new();
        for (trajectory, t) in self.dataset.trajectories().iter().enumerate() {
            let total = t.frames as usize;
            let starts = (0..total).step_by(FRAMES);
            blocks.extend(starts.map(|start| Frames {
                trajectory,
                range: start..(start + FRAMES).min(total),
            }));
        }
        blocks
    }

    fn centres_of(&self, trajectory: usize) -> &Centres {
        let graph = self.dataset.trajectories()[trajectory].graph;
        &self.centres[graph as usize]
    }

    fn block(&self, frames: &Frames) -> Result<Block> {
        let centres = self.centres_of(frames.trajectory);
        let read = self
            .dataset
            .frames(frames.trajectory, frames.range.clone())?;
        let mut rows = Rows {
            job: self,
            frames,
            residues: centres.len(),
            zernikegrams: Vec::new(),
            embedded: 0,
            block: Block::default(),
        };
        for frame in read.values.chunks_exact(3 * read.nodes) {
            rows.add_frame(centres, frame)?;
        }
        rows.embed(true)?;
        let mut block = rows.block;
        if self.relative {
            let frames = block.relative.chunks_exact(9 * centres.len());
            block.relative = frames.flat_map(|f| relative(f, &centres.follows)).collect();
        }
        Ok(block)
    }

    /// Everything but the invariants.
    fn begin(&self, out: &Path) -> Result<Output> {
        let file = NewFile::create(out, Kind::InvariantPaths)?;
        let d = &self.embedder.description;
        file.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
        file.set_attr_text("checkpoint_hash", &self.embedder.hash)?;
        file.set_attr_text("trajectories", &self.dataset.fingerprint())?;
        file.set_attr("norm_factor", d.norm_factor)?;
        write_settings(&file, &d.zernike)?;
        file.write_text("description", &d.to_toml()?)?;
        let graphs: Vec<_> = self.centres.iter().map(|c| c.graph.clone()).collect();
        let z = d.model.latent_dim;
        let invariants = self.dataset.begin_invariants(&file, &graphs, z, FRAMES)?;
        let relative = match self.relative {
            false => None,
            true => {
                let group = file.create_group(RELATIVE)?;
                for (i, t) in self.dataset.trajectories().iter().enumerate() {
                    let shape = [t.frames as usize, self.centres_of(i).len(), 3, 3];
                    group.create::<f32>(&coordinates_name(i), &shape, Storage::Columns(FRAMES))?;
                }
                Some(group)
            }
        };
        Ok(Output {
            file,
            invariants,
            relative,
            moments: Moments::new(z),
        })
    }
}

/// Neighborhoods of some frames on their way through the encoder, [`BLOCK`] at a time.
struct Rows<'a> {
    job: &'a Job<'a>,
    frames: &'a Frames,
    residues: usize,
    /// Of neighborhoods that wait.
    zernikegrams: Vec<f32>,
    /// Neighborhoods that have been embedded.
    embedded: usize,
    block: Block,
}

impl Rows<'_> {
    /// The neighborhoods of one frame, `[nodes, 3]`.
    fn add_frame(&mut self, centres: &Centres, frame: &[f32]) -> Result<()> {
        let place = |&a: &u32| {
            let at = 3 * a as usize;
            [frame[at], frame[at + 1], frame[at + 2]]
        };
        let positions: Vec<[f32; 3]> = centres.atoms.iter().map(place).collect();
        let atoms = Atoms {
            numbers: &centres.numbers,
            positions: &positions,
            residue_of: &centres.residue_of,
            ligand: None,
        };
        let rule = self.job.embedder.description.neighborhood();
        let finder = SystemFinder::new(atoms, rule);
        for some in centres.centres.chunks(BLOCK) {
            let clouds = finder.clouds(some);
            let more = in_pool(|| of_clouds(&self.job.transform, &clouds))?;
            self.zernikegrams.extend(more);
            self.embed(false)?;
        }
        Ok(())
    }

    /// Embeds what waits, in whole blocks; the rest too when it is the `last`.
    fn embed(&mut self, last: bool) -> Result<()> {
        let dim = self.job.embedder.dim();
        let waiting = self.zernikegrams.len() / dim;
        let whole = match last {
            true => waiting,
            false => waiting - waiting % BLOCK,
        };
        for rows in self.zernikegrams[..whole * dim].chunks(BLOCK * dim) {
            if let Some(i) = rows.iter().position(|z| !z.is_finite()) {
                return Err(self.not_finite(self.embedded + i / dim));
            }
            let embedded = self.job.embedder.embed(rows, false)?;
            self.embedded += rows.len() / dim;
            self.block.invariants.extend(embedded.invariants);
            if self.job.relative {
                self.block.relative.extend(embedded.frames);
            }
        }
        self.zernikegrams.drain(..whole * dim);
        Ok(())
    }

    fn not_finite(&self, row: usize) -> Error {
        let dataset = self.job.dataset;
        let name = &dataset.trajectories()[self.frames.trajectory].name;
        let frame = self.frames.range.start + row / self.residues;
        let residue = row % self.residues;
        let what =
            format!("{name}, frame {frame}, residue {residue}: its zernikegram is not finite");
        Error::file(dataset.path(), what)
    }
}

/// The frames of one time `[residues, 3, 3]`, rows being axes, in axes of the residue before.
fn relative(frames: &[f32], follows: &[bool]) -> Vec<f32> {
    const IDENTITY: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let all: Vec<&[f32]> = frames.chunks_exact(9).collect();
    let one = |i: usize| -> [f32; 9] {
        match follows[i] {
            false => IDENTITY,
            true => std::array::from_fn(|k| {
                let (own, before) = (&all[i][k / 3 * 3..][..3], &all[i - 1][k % 3 * 3..][..3]);
                own.iter().zip(before).map(|(a, b)| a * b).sum()
            }),
        }
    };
    (0..all.len()).flat_map(one).collect()
}

/// The file while it is filled, on rank 0.
struct Output {
    file: NewFile,
    invariants: Node,
    relative: Option<Node>,
    moments: Moments,
}

impl Output {
    fn add(&mut self, frames: &Frames, block: &Block) -> Result<()> {
        let (name, start) = (coordinates_name(frames.trajectory), frames.range.start);
        self.moments.add(&block.invariants);
        self.invariants
            .write_rows(&name, start, &block.invariants)?;
        match &self.relative {
            Some(group) => group.write_rows(&name, start, &block.relative),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        let Spread { mean, deviation } = self.moments.finish();
        self.file
            .write("mean", &[mean.len()], &mean, Storage::Plain)?;
        self.file
            .write("deviation", &[mean.len()], &deviation, Storage::Plain)?;
        drop((self.invariants, self.relative));
        self.file.finish().map(drop)
    }
}

/// Mean and deviation of every invariant.
struct Spread {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// What [`Spread`] is made of, summed in the order of the file.
struct Moments {
    rows: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(dimensions: usize) -> Self {
        Self {
            rows: 0.0,
            sums: vec![0.0; dimensions],
            squares: vec![0.0; dimensions],
        }
    }

    fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.sums.len()) {
            self.rows += 1.0;
            for ((s, q), &x) in self.sums.iter_mut().zip(&mut self.squares).zip(row) {
                *s += f64::from(x);
                *q += f64::from(x) * f64::from(x);
            }
        }
    }

    fn finish(self) -> Spread {
        let n = self.rows.max(1.0);
        let mean: Vec<f64> = self.sums.iter().map(|s| s / n).collect();
        let variance = self.squares.iter().zip(&mean).map(|(q, m)| q / n - m * m);
        let deviation = variance.map(|v| v.max(0.0).sqrt()).collect();
        Spread { mean, deviation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::rotation;

    #[test]
    fn relative_frames_do_not_turn() {
        let frames: Vec<[[f64; 3]; 3]> = (0..4).map(rotation::random).collect();
        let flat = |turn: &[[f64; 3]; 3]| -> Vec<f32> {
            let turned = frames.iter().flat_map(|f| {
                (0..9).map(move |k| (0..3).map(|x| turn[k % 3][x] * f[k / 3][x]).sum::<f64>())
            });
            turned.map(|x| x as f32).collect()
        };
        let follows = [false, true, true, false];
        let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let (a, b) = (flat(&identity), flat(&rotation::random(9)));
        assert!(a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 0.1));
        let (a, b) = (relative(&a, &follows), relative(&b, &follows));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6));
        // Times F_before it is the frame again.
        let again: f64 = (0..3)
            .map(|k| f64::from(a[9 + 3 + k]) * frames[0][k][2])
            .sum();
        assert!((again - frames[1][1][2]).abs() < 1e-6);
        assert_eq!(a[27..], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }
}
