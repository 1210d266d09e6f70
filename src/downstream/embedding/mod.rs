//! Residue neighborhoods to invariants and frames with a trained model.
//!
//! Ranks share the work by blocks of residues. What a block becomes does not depend on who
//! computes it, and rank 0 writes blocks in order: the file is the same for any number of ranks.

mod source;

pub use source::{Neighborhoods, Residues, Source, ZernikegramFile};

use crate::comm::World;
use crate::data::zernikegrams::write_settings;
use crate::models::Model;
use crate::models::hvae::{Description, Hvae};
use crate::ops::in_pool;
use crate::store::{self, Kind, Node, Scratch, Storage};
use crate::tasks::TaskKind;
use crate::tasks::hvae::HvaeKind;
use crate::train::Checkpoint;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// Residues per forward pass.
pub const BLOCK: usize = 256;

/// A trained model, ready to embed.
pub struct Embedder {
    pub model: Hvae,
    pub description: Description,
    /// Hash of parameters and buffers, as `holosig hash` prints it.
    pub hash: String,
}

impl Embedder {
    /// Reads a checkpoint on rank 0 and shares it.
    ///
    /// # Errors
    /// A file that is not a checkpoint, is damaged, or does not hold the model it describes.
    pub fn open(world: &World, path: &Path) -> Result<Self> {
        let checkpoint = world.on_root(|| Checkpoint::read(path))?;
        let checkpoint = Checkpoint::broadcast(world, checkpoint)?;
        world.agree(Self::from_checkpoint(&checkpoint, path))
    }

    fn from_checkpoint(checkpoint: &Checkpoint, path: &Path) -> Result<Self> {
        let here = |e| Error::file(path, e);
        let description = HvaeKind::describe(checkpoint, path)?;
        let model = description
            .build(0, DType::F32, &Device::Cpu)
            .map_err(here)?;
        checkpoint.load_into(path, model.parameters())?;
        let hash = checkpoint.hash().to_string();
        Ok(Self {
            model,
            description,
            hash,
        })
    }

    /// The same architecture and input with parameters drawn from `seed`.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn untrained(&self, seed: u64) -> Result<Self> {
        let model = self.description.build(seed, DType::F32, &Device::Cpu)?;
        Ok(Self {
            model,
            description: self.description.clone(),
            hash: format!("untrained, seed {seed}"),
        })
    }

    /// The same model on another device.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn on(self, device: &Device) -> Result<Self> {
        let here = self.model.parameters();
        if here.device().same_device(device) {
            return Ok(self);
        }
        let model = self.description.build(0, DType::F32, device)?;
        model.parameters().set_flat(&here.flat()?)?;
        model.parameters().set_buffers(&here.buffers())?;
        Ok(Self { model, ..self })
    }

    /// Length of a zernikegram.
    pub fn dim(&self) -> usize {
        self.model.irreps().dim()
    }

    /// Encodes zernikegrams `[n, dim]` (not normalised) and, if asked, decodes them again.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn embed(&self, zernikegrams: &[f32], reconstruct: bool) -> Result<Block> {
        in_pool(|| self.embed_here(zernikegrams, reconstruct))
    }

    fn embed_here(&self, zernikegrams: &[f32], reconstruct: bool) -> Result<Block> {
        let (dim, n) = (self.dim(), zernikegrams.len() / self.dim());
        let factor = self.description.norm_factor as f32;
        let normalised: Vec<f32> = zernikegrams.iter().map(|z| z / factor).collect();
        let x = Tensor::from_slice(&normalised, (n, dim), self.model.parameters().device())?;
        let encoding = self.model.encode(&x)?;
        let mut block = Block {
            invariants: values(&encoding.mean)?,
            frames: values(&encoding.frame)?,
            ..Block::default()
        };
        if reconstruct {
            block.reconstruction = values(&self.model.decode(&encoding.mean, &encoding.frame)?)?;
            block.zernikegram = zernikegrams.to_vec();
            let pairs = block
                .reconstruction
                .chunks_exact(dim)
                .zip(normalised.chunks_exact(dim));
            block.cosine_loss = pairs
                .map(|(r, x)| self.model.cosine_loss(r, x) as f32)
                .collect();
        }
        Ok(block)
    }
}

fn values(t: &Tensor) -> Result<Vec<f32>> {
    Ok(t.flatten_all()?.to_vec1()?)
}

/// What one block of residues becomes; the last three are empty unless asked for.
#[derive(Default)]
pub struct Block {
    /// `[n, z]`
    pub invariants: Vec<f32>,
    /// `[n, 3, 3]`, rows x, y, z.
    pub frames: Vec<f32>,
    /// `[n, dim]`, not normalised.
    pub zernikegram: Vec<f32>,
    /// `[n, dim]`, of the normalised zernikegram.
    pub reconstruction: Vec<f32>,
    /// `[n]`
    pub cosine_loss: Vec<f32>,
}

/// Names, row shapes and values of a block's parts, in a fixed order.
type Parts<'a> = [(&'static str, Vec<usize>, &'a [f32]); 5];

impl Block {
    fn parts(&self, z: usize, dim: usize) -> Parts<'_> {
        [
            ("invariants", vec![z], &self.invariants),
            ("frames", vec![3, 3], &self.frames),
            ("zernikegram", vec![dim], &self.zernikegram),
            ("reconstruction", vec![dim], &self.reconstruction),
            ("cosine_loss", vec![], &self.cosine_loss),
        ]
    }
}

/// Embeds every residue of `source` into the file `out`; collective. Returns the mean cosine
/// loss on rank 0 when reconstructions were asked for and there are any residues.
///
/// # Errors
/// An unwritable `out`, an unreadable source, numbers that are not finite.
pub fn write(
    world: &World,
    embedder: &Embedder,
    source: &dyn Source,
    reconstruct: bool,
    out: &Path,
) -> Result<Option<f64>> {
    // Says so before the work, not after it.
    world.on_root(|| Scratch::new(out))?;
    let mut job = Job {
        world,
        embedder,
        source,
        reconstruct,
        cosine: 0.0,
    };
    let result = if world.is_root() {
        let filled = store::write(out, Kind::Embeddings, |root| {
            job.describe(root).and_then(|()| job.run(Some(root)))
        });
        filled.map(drop)
    } else {
        job.run(None)
    };
    world.agree(result)?;
    let n = source.len() as f64;
    Ok((reconstruct && n > 0.0).then_some(job.cosine / n))
}

struct Job<'a> {
    world: &'a World,
    embedder: &'a Embedder,
    source: &'a dyn Source,
    reconstruct: bool,
    /// Sum of cosine losses in file order, rank 0.
    cosine: f64,
}

impl Job<'_> {
    /// Everything but the numbers of the blocks.
    fn describe(&self, root: &Node) -> Result<()> {
        let d = &self.embedder.description;
        root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
        root.set_attr_text("checkpoint_hash", &self.embedder.hash)?;
        root.set_attr_text("source", &self.source.name())?;
        root.set_attr("norm_factor", d.norm_factor)?;
        write_settings(root, &d.zernike)?;
        root.set_attr_text("units", UNITS)?;
        root.write_text("description", &d.to_toml()?)?;
        if let Some(residues) = self.source.residues()? {
            residues.write(&root.create_group("residues")?)?;
        }
        let n = self.source.len();
        for (name, row, _) in Block::default().parts(d.model.latent_dim, self.embedder.dim()) {
            if self.reconstruct || name == "invariants" || name == "frames" {
                let shape: Vec<usize> = [vec![n], row].concat();
                root.create::<f32>(name, &shape, Storage::Plain)?;
            }
        }
        Ok(())
    }

    /// Rounds of one block per rank; rank 0 writes them in order.
    fn run(&mut self, root: Option<&Node>) -> Result<()> {
        let (rank, size) = (self.world.rank(), self.world.size());
        let blocks = self.source.len().div_ceil(BLOCK);
        for round in 0..blocks.div_ceil(size) {
            let mine = round * size + rank;
            let block = self.world.agree(self.block(mine))?;
            let mut gathered: Vec<_> = block
                .parts(1, 1)
                .iter()
                .map(|(_, _, values)| self.world.gather(values).into_iter())
                .collect();
            let written = root.map_or(Ok(()), |root| {
                for number in round * size..((round + 1) * size).min(blocks) {
                    let parts = gathered.iter_mut().map(|g| g.next().unwrap_or_default());
                    let values: Vec<Vec<f32>> = parts.collect();
                    self.write_block(root, number, &values)?;
                }
                Ok(())
            });
            self.world.agree(written)?;
        }
        Ok(())
    }

    fn block(&self, number: usize) -> Result<Block> {
        let start = (number * BLOCK).min(self.source.len());
        let rows = start..(start + BLOCK).min(self.source.len());
        if rows.is_empty() {
            return Ok(Block::default());
        }
        let zernikegrams = self.source.zernikegrams(rows.clone())?;
        if let Some(i) = zernikegrams.iter().position(|z| !z.is_finite()) {
            let row = rows.start + i / self.embedder.dim();
            let name = self.source.name();
            return Err(Error::file(
                name,
                format!("residue {row}: its zernikegram is not finite"),
            ));
        }
        self.embedder.embed(&zernikegrams, self.reconstruct)
    }

    fn write_block(&mut self, root: &Node, number: usize, values: &[Vec<f32>]) -> Result<()> {
        let names = Block::default().parts(1, 1).map(|p| p.0);
        for (name, values) in names.iter().zip(values) {
            if !values.is_empty() {
                root.write_rows(name, number * BLOCK, values)?;
            }
            if *name == "cosine_loss" {
                self.cosine += values.iter().map(|&x| f64::from(x)).sum::<f64>();
            }
        }
        Ok(())
    }
}

const UNITS: &str = "invariants: none; frames: unit vectors in rows x, y, z, in the structure's \
                     coordinates; zernikegram: none; reconstruction: of zernikegram / norm_factor; \
                     cosine_loss: 0 (exact) to 2";
