//! Residue neighborhoods to invariants and frames with a trained model.
//!
//! Ranks and their threads share the work by blocks of residues. What a block becomes does not depend on who
//! computes it, and rank 0 writes blocks in order: the file is the same for any number of ranks.

mod source;

pub use source::{Neighborhoods, Residues, Source, ZernikegramFile};

use crate::comm::{World, packed};
use crate::data::zernikegrams::write_settings;
use crate::models::{Describes, Model};
use crate::ops::in_pool;
use crate::store::{Kind, NewFile, Node, Storage};
use crate::tasks::Trained;
use crate::tasks::hvae::HvaeKind;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// Residues per forward pass.
pub const BLOCK: usize = 256;

/// A trained model, ready to embed.
pub type Embedder = Trained<HvaeKind>;

impl Embedder {
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
            progress: None,
        })
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

    /// Decodes `z` `[n, Z]` in frames `[n, 3, 3]` to normalised zernikegrams `[n, dim]`.
    ///
    /// # Errors
    /// A failure of the numerical backend.
    pub fn decode(&self, z: &[f32], frames: &[f32]) -> Result<Vec<f32>> {
        in_pool(|| {
            let (n, device) = (frames.len() / 9, self.model.parameters().device());
            let z = Tensor::from_slice(z, (n, z.len() / n.max(1)), device)?;
            let frames = Tensor::from_slice(frames, (n, 3, 3), device)?;
            values(&self.model.decode(&z, &frames)?)
        })
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
#[derive(Default, Serialize, Deserialize)]
pub struct Block {
    /// `[n, z]`
    #[serde(with = "packed")]
    pub invariants: Vec<f32>,
    /// `[n, 3, 3]`, rows x, y, z.
    #[serde(with = "packed")]
    pub frames: Vec<f32>,
    /// `[n, dim]`, not normalised.
    #[serde(with = "packed")]
    pub zernikegram: Vec<f32>,
    /// `[n, dim]`, of the normalised zernikegram.
    #[serde(with = "packed")]
    pub reconstruction: Vec<f32>,
    /// `[n]`
    #[serde(with = "packed")]
    pub cosine_loss: Vec<f32>,
}

/// One kind of numbers of a block.
struct Column<'a> {
    /// Its dataset in the file.
    name: &'static str,
    /// Shape of a residue's numbers.
    row: Vec<usize>,
    values: &'a [f32],
}

impl Block {
    /// Puts the rows of another block behind its own.
    fn append(&mut self, other: Block) {
        self.invariants.extend(other.invariants);
        self.frames.extend(other.frames);
        self.zernikegram.extend(other.zernikegram);
        self.reconstruction.extend(other.reconstruction);
        self.cosine_loss.extend(other.cosine_loss);
    }

    /// How many numbers it holds.
    fn len(&self) -> usize {
        let columns = [&self.invariants, &self.frames, &self.zernikegram];
        let columns = columns.into_iter().chain([&self.reconstruction]);
        columns.map(Vec::len).sum::<usize>() + self.cosine_loss.len()
    }

    /// The columns in a fixed order; `z` is the length of the invariants, `dim` that of a
    /// zernikegram.
    fn columns(&self, z: usize, dim: usize) -> [Column<'_>; 5] {
        let column = |name, row: &[usize], values| Column {
            name,
            row: row.to_vec(),
            values,
        };
        [
            column("invariants", &[z], &self.invariants[..]),
            column("frames", &[3, 3], &self.frames),
            column("zernikegram", &[dim], &self.zernikegram),
            column("reconstruction", &[dim], &self.reconstruction),
            column("cosine_loss", &[], &self.cosine_loss),
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
    let job = Job {
        embedder,
        source,
        reconstruct,
    };
    // The file is begun before the work: a folder that cannot be written to is reported at once.
    let file = world.on_root(|| {
        let file = NewFile::create(out, Kind::Embeddings)?;
        job.describe(&file)?;
        Ok(file)
    })?;
    // Sum of the cosine losses in the order of the file, on rank 0.
    let mut cosine = 0.0;
    let mut waiting = Waiting::default();
    world.ordered_by_threads(
        source.len(),
        BLOCK,
        |rows| job.block(rows),
        |rows, block| {
            cosine += block.cosine_loss.iter().map(|&x| f64::from(x)).sum::<f64>();
            waiting.push(rows, block);
            match &file {
                Some(root) if waiting.rows.len() >= Waiting::MOST => waiting.write(&job, root),
                _ => Ok(()),
            }
        },
    )?;
    world.on_root(|| {
        let Some(file) = file else { return Ok(()) };
        waiting.write(&job, &file)?;
        file.finish().map(drop)
    })?;
    let n = source.len() as f64;
    Ok((reconstruct && n > 0.0).then_some(cosine / n))
}

/// Rows that are written together: a write costs as much for one block as for a hundred.
#[derive(Default)]
struct Waiting {
    /// Where they begin in the file, and where they end.
    place: Range<usize>,
    rows: Block,
}

impl Waiting {
    /// Numbers beyond which they wait no longer (4 MiB).
    const MOST: usize = 1 << 20;

    fn push(&mut self, rows: Range<usize>, block: Block) {
        self.place.end = rows.end;
        self.rows.append(block);
    }

    fn write(&mut self, job: &Job, root: &Node) -> Result<()> {
        job.write_block(root, self.place.start, &self.rows)?;
        self.place.start = self.place.end;
        self.rows = Block::default();
        Ok(())
    }
}

struct Job<'a> {
    embedder: &'a Embedder,
    source: &'a dyn Source,
    reconstruct: bool,
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
        for column in self.columns(&Block::default()) {
            if self.reconstruct || column.name == "invariants" || column.name == "frames" {
                let shape: Vec<usize> = [vec![self.source.len()], column.row].concat();
                root.create::<f32>(column.name, &shape, Storage::Plain)?;
            }
        }
        Ok(())
    }

    fn columns<'b>(&self, block: &'b Block) -> [Column<'b>; 5] {
        let z = self.embedder.description.model.latent_dim;
        block.columns(z, self.embedder.dim())
    }

    fn block(&self, rows: Range<usize>) -> Result<Block> {
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

    fn write_block(&self, root: &Node, start: usize, block: &Block) -> Result<()> {
        let columns = self.columns(block);
        let mut filled = columns.iter().filter(|column| !column.values.is_empty());
        filled.try_for_each(|column| root.write_rows(column.name, start, column.values))
    }
}

const UNITS: &str = "invariants: none; frames: unit vectors in rows x, y, z, in the structure's \
                     coordinates; zernikegram: none; reconstruction: of zernikegram / norm_factor; \
                     cosine_loss: 0 (exact) to 2";
