//! What is measured.

use super::{Case, Need, Part, Work, graph, scaling};
use crate::comm::{Rounding, SliceTree, World, slice_range};
use crate::data::structure::{self, ReadOptions};
use crate::models::deep_signature::{
    Clip, DeepSignature, DeepSignatureConfig, Graph, Objective, RawClip, Variant,
};
use crate::models::hvae::{Hvae, HvaeConfig};
use crate::models::{self, Losses, Model, Parameters, StepKey, Weights};
use crate::ops::in_pool;
use crate::ops::signature::{Basis, log_signature, signature};
use crate::ops::zernike::{Settings, Transform};
use crate::so3::irreps::{Irreps, radial_orders};
use crate::store::{self, Kind, Scratch, Storage};
use crate::train::optimizer::{Adam, AdamSettings};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use std::sync::Arc;

/// Cases that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    Zernike,
    Hae,
    Signature,
    DeepSignature,
    /// Networks of atoms and edges.
    Graph,
    /// Sum of gradients over the ranks.
    Reduce,
    /// Weak-scaling efficiency of training.
    Scaling,
    Checkpoint,
    /// Reading structure files.
    Prepare,
}

/// Every case, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend([4, 6, 8].map(zernike));
    for paper in [&Z64_L4, &Z128_L6] {
        for batch in [64, 512] {
            cases.push(hae_train(paper, batch));
            cases.push(hae_encode(paper, batch));
        }
    }
    for (channels, depth) in [(10, 3), (10, 4), (30, 2), (30, 3), (30, 4), (60, 3)] {
        cases.push(signatures(channels, depth, (16, 25), false));
    }
    for length in [25, 100, 1000] {
        for batch in [1, 16, 64] {
            // The default batch and length are in the list above.
            if (batch, length) != (16, 25) {
                cases.push(signatures(30, 3, (batch, length), false));
            }
        }
    }
    for (channels, depth) in [(60, 2), (60, 3), (150, 2), (150, 3)] {
        cases.push(signatures(channels, depth, (64, 25), true));
    }
    for shape in [(1, 25), (16, 100), (1, 1000), (64, 1000)] {
        cases.push(signatures(60, 3, shape, true));
    }
    cases.push(deep_signature());
    cases.extend(graph::cases());
    cases.extend([Sum::Reproducible, Sum::Fast, Sum::Bf16].map(reduce));
    cases.extend(Sum::ALL.map(scaling::case));
    cases.extend([checkpoint(), structures()]);
    cases
}

/// Clouds of 100 atoms of protein-like composition, uniform in the ball.
fn zernike(lmax: usize) -> Case {
    const CLOUDS: usize = 400;
    const ATOMS: usize = 100;
    let settings = Settings {
        lmax,
        ..Settings::default()
    };
    // Per atom: radial values and harmonics by recurrence (about five operations each), then a
    // multiply and an add per coefficient of its channel.
    let radial: usize = (0..=lmax).map(|l| radial_orders(settings.nmax, l)).sum();
    let products: usize = (0..=lmax)
        .map(|l| radial_orders(settings.nmax, l) * (2 * l + 1))
        .sum();
    let flops = 5 * (radial + (lmax + 1) * (lmax + 1)) + 2 * products;
    let prepare = move |_: &World, _device: &Device| -> Result<Work> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let cutoff = settings.cutoff as f32;
        let mut coordinates = Vec::with_capacity(CLOUDS * ATOMS);
        while coordinates.len() < CLOUDS * ATOMS {
            let xyz: [f32; 3] = std::array::from_fn(|_| rng.random_range(-cutoff..cutoff));
            if xyz.iter().map(|c| c * c).sum::<f32>() < cutoff * cutoff {
                coordinates.push(xyz);
            }
        }
        // 63 % C, 17 % N, 19 % O, 1 % S.
        let element = |p: f64| [0.63, 0.80, 0.99].iter().filter(|&&l| p > l).count() as u8;
        let channels: Vec<u8> = coordinates.iter().map(|_| element(rng.random())).collect();
        let offsets: Vec<usize> = (0..=CLOUDS).map(|i| i * ATOMS).collect();
        let transform = Transform::new(&settings)?;
        #[cfg(feature = "cuda")]
        if _device.is_cuda() {
            let device = _device.clone();
            return Ok(Box::new(move |_| {
                let args = (&coordinates[..], &channels[..], &offsets[..]);
                black_box(transform.apply_on(&device, args.0, args.1, args.2, 1.0)?);
                Ok(())
            }));
        }
        let mut out = vec![0.0; CLOUDS * transform.irreps().dim()];
        Ok(Box::new(move |_| {
            transform.apply(&coordinates, &channels, &offsets, &mut out)
        }))
    };
    Case {
        name: format!("zernike-l{lmax}"),
        group: Group::Zernike,
        unit: "neighborhoods/s",
        amount: CLOUDS as f64,
        need: Need::Flops((CLOUDS * ATOMS * flops) as f64),
        prepare: Box::new(prepare),
        part: None,
    }
}

/// A model of the paper's Table S2.
pub(super) struct Paper {
    name: &'static str,
    lmax: usize,
    config: &'static str,
    /// Necessary operations per neighborhood: sparse products, symmetric pairs once, vanishing
    /// paths left out. Forward and backward; the encoder forward alone.
    train: f64,
    encode: f64,
}

pub(super) const Z64_L4: Paper = Paper {
    name: "z64-l4",
    lmax: 4,
    config: "latent_dim = 64\nchannels = [50, 50, 50, 64, 64, 64]\ndegrees = [4, 4, 4, 4, 2, 1]\n\
             projection = 44",
    train: 24.3e6,
    encode: 4.1e6,
};

const Z128_L6: Paper = Paper {
    name: "z128-l6",
    lmax: 6,
    config: "latent_dim = 128\nchannels = [60, 60, 60, 90, 128, 128]\n\
             degrees = [6, 6, 6, 4, 2, 1]\nprojection = 44",
    train: 83.6e6,
    encode: 14.0e6,
};

impl Paper {
    pub(super) fn build(&self, batch: usize, device: &Device) -> Result<(Hvae, Tensor)> {
        let irreps = Irreps::zernike(self.lmax, 20, 4);
        let config: HvaeConfig = toml::from_str(self.config).map_err(Error::internal)?;
        let model = Hvae::new(&config, &irreps, 1, DType::F32, device)?;
        let x = Tensor::randn(0f32, 1.0, (batch, irreps.dim()), device)?;
        Ok((model, x))
    }
}

/// Adam as one rank's training runs it, on the model's device.
pub(super) fn adam(model: &Parameters) -> Result<Adam> {
    Adam::new(AdamSettings::default(), model, 0..model.len(), None)
}

/// Backward pass and Adam, as one rank's training runs them.
fn update(adam: &mut Adam, model: &Parameters, losses: Losses, weights: &Weights) -> Result<()> {
    let gradient = model.gradient(&losses.objective(weights)?)?;
    drop(losses);
    adam.step(model, &gradient, 1e-5)
}

/// Forward, backward and Adam.
fn hae_train(paper: &'static Paper, batch: usize) -> Case {
    let prepare = move |_: &World, device: &Device| -> Result<Work> {
        let (model, x) = paper.build(batch, device)?;
        let noise = Tensor::zeros((batch, model.config().latent_dim), DType::F32, device)?;
        let mut adam = adam(model.parameters())?;
        let mut step = move || -> Result<()> {
            let losses = model.pass_with(&x, &noise)?.losses;
            let weights = Weights::from(models::hvae::TERMS);
            update(&mut adam, model.parameters(), losses, &weights)
        };
        Ok(Box::new(move |_| in_pool(&mut step)))
    };
    Case {
        name: format!("hae-train-{}-b{batch}", paper.name),
        group: Group::Hae,
        unit: "neighborhoods/s",
        amount: batch as f64,
        need: Need::Flops(batch as f64 * paper.train),
        prepare: Box::new(prepare),
        part: Some(Part {
            case: format!("zernike-l{}", paper.lmax),
            what: "the transform before it",
        }),
    }
}

fn hae_encode(paper: &'static Paper, batch: usize) -> Case {
    let prepare = move |_: &World, device: &Device| -> Result<Work> {
        let (model, x) = paper.build(batch, device)?;
        Ok(Box::new(move |_| {
            black_box(in_pool(|| model.encode(&x))?);
            Ok(())
        }))
    };
    Case {
        name: format!("hae-encode-{}-b{batch}", paper.name),
        group: Group::Hae,
        unit: "neighborhoods/s",
        amount: batch as f64,
        need: Need::Flops(batch as f64 * paper.encode),
        prepare: Box::new(prepare),
        part: None,
    }
}

/// Forward and backward of `batch` paths of `length` points.
fn signatures(channels: usize, depth: usize, (batch, length): (usize, usize), log: bool) -> Case {
    let terms: usize = (1..=depth as u32).map(|k| channels.pow(k)).sum();
    // Every increment multiplies and adds into every term at least once, forward and, for the
    // terms' and the increment's gradients, twice more backward.
    let flops = 3 * 2 * (length - 1) * terms * batch;
    let prepare = move |_: &World, device: &Device| -> Result<Work> {
        let path = Tensor::randn(0f32, 0.3, (batch, length, channels), device)?;
        let path = Var::from_tensor(&path)?;
        let step = move || -> Result<()> {
            let out = match log {
                true => log_signature(path.as_tensor(), depth, Basis::Words)?,
                false => signature(path.as_tensor(), depth)?,
            };
            black_box(out.sum_all()?.backward()?);
            Ok(())
        };
        Ok(Box::new(move |_| in_pool(&step)))
    };
    Case {
        name: format!(
            "{}signature-c{channels}-d{depth}-b{batch}-l{length}",
            if log { "log" } else { "" }
        ),
        group: Group::Signature,
        unit: "paths/s",
        amount: batch as f64,
        need: Need::Flops(flops as f64),
        prepare: Box::new(prepare),
        part: None,
    }
}

/// A training step of the default model: 1,400 nodes, 100 frames, 50 beads, 16 clips.
fn deep_signature() -> Case {
    const NODES: usize = 1400;
    const FRAMES: usize = 100;
    const CLIPS: usize = 16;
    let prepare = |_: &World, device: &Device| -> Result<Work> {
        let config = DeepSignatureConfig::default();
        let chain: Vec<(u32, u32)> = (1..NODES as u32).map(|i| (i - 1, i)).collect();
        let graph = Arc::new(Graph::new(NODES, &chain, Variant::Corrected)?);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut clip = |id: u64| {
            let mut walk = |n: usize| -> Vec<f32> {
                let mut at = 0.0f32;
                let step = |_| {
                    at += rng.random_range(-0.1f32..0.1);
                    at
                };
                (0..n).map(step).collect()
            };
            let raw = RawClip {
                holographic: false,
                id,
                graph: graph.clone(),
                features: walk(NODES * FRAMES * 3),
                frames: FRAMES,
                target: (id % 2) as f64,
            };
            Clip::new(raw, &config, DType::F32)?.to_device(device)
        };
        let clips: Vec<Clip> = (0..CLIPS as u64).map(&mut clip).collect::<Result<_>>()?;
        let objective = Objective::Classes(2);
        let model = DeepSignature::new(&config, 3, objective, 1, DType::F32, device)?;
        let weights = Weights::from(models::deep_signature::TERMS.map(|(term, _)| (term, 1.0)));
        let mut adam = adam(model.parameters())?;
        Ok(Box::new(move |_| {
            let key = StepKey { seed: 1, step: 1 };
            let losses = model.losses_with(&clips, Some(key))?;
            update(&mut adam, model.parameters(), losses, &weights)
        }))
    };
    Case {
        name: "deep-signature-train-n1400-t100-k50-b16".into(),
        group: Group::DeepSignature,
        unit: "clips/s",
        amount: CLIPS as f64,
        // About what is left once linear maps are exchanged with means over time.
        need: Need::Flops(90e9),
        prepare: Box::new(prepare),
        part: None,
    }
}

/// How gradients are summed over the ranks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sum {
    Reproducible,
    Fast,
    /// Fast, with 16 bits.
    Bf16,
    /// Reproducible; a rank learns its part of the sum only, updates these parameters and tells
    /// the others.
    Sharded,
    /// Every rank trains a model of its own: what the ranks lose to each other in caches, memory
    /// and clocks before any sum.
    None,
}

impl Sum {
    const ALL: [Sum; 5] = [
        Sum::None,
        Sum::Reproducible,
        Sum::Sharded,
        Sum::Fast,
        Sum::Bf16,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Sum::Reproducible => "reproducible",
            Sum::Fast => "fast",
            Sum::Bf16 => "bf16",
            Sum::Sharded => "sharded",
            Sum::None => "none",
        }
    }

    pub(super) fn over(
        self,
        world: &World,
        slices: usize,
        len: usize,
        tree: SliceTree,
        rounding: &mut Rounding,
    ) -> Vec<f32> {
        match self {
            Sum::Reproducible => world.tree_sum(slices, len, tree),
            Sum::Fast => world.fast_sum(len, tree),
            Sum::Bf16 => world.compressed_sum(len, tree, rounding),
            Sum::Sharded => world.tree_sum_part(slices, len, tree),
            Sum::None => tree.into_sum(len),
        }
    }
}

/// Sum of the gradients of the z = 128, lmax = 6 model over 8 slices of all ranks.
fn reduce(sum: Sum) -> Case {
    const PARAMETERS: usize = 2_622_591;
    const SLICES: usize = 8;
    let prepare = move |world: &World, _: &Device| -> Result<Work> {
        let own = slice_range(SLICES, world.rank(), world.size());
        let mut rounding = Rounding::between_hosts(world);
        Ok(Box::new(move |world| {
            let tree = SliceTree::new();
            own.clone()
                .for_each(|slice| tree.insert(slice, vec![1.0; PARAMETERS]));
            let sum = sum.over(world, SLICES, PARAMETERS, tree, &mut rounding);
            match sum[PARAMETERS - 1] == SLICES as f32 {
                true => Ok(()),
                false => Err(Error::internal("the sum over the slices is wrong")),
            }
        }))
    };
    Case {
        name: format!("reduce-{}-p2.6m-s{SLICES}", sum.name()),
        group: Group::Reduce,
        unit: "sums/s",
        amount: 1.0,
        // Every slice's gradient is read once, the sum written once.
        need: Need::Bytes((4 * PARAMETERS * (SLICES + 1)) as f64),
        prepare: Box::new(prepare),
        part: None,
    }
}

/// A file of 100 MB: parameters and moments of a model of 8.3 million, checksummed, synced,
/// renamed.
fn checkpoint() -> Case {
    const VALUES: usize = 25_000_000;
    let prepare = |_: &World, _: &Device| -> Result<Work> {
        let values: Vec<f32> = (0..VALUES).map(|i| (i as f32 * 0.37).sin()).collect();
        let folder = std::env::temp_dir();
        let place = Scratch::new(&folder.join("holosig-bench-checkpoint"))?;
        Ok(Box::new(move |_| {
            store::write(place.path(), Kind::Checkpoint, |root| {
                root.write("values", &[VALUES], &values, Storage::Plain)
            })
            .map(drop)
        }))
    };
    Case {
        name: "checkpoint-100mb".into(),
        group: Group::Checkpoint,
        unit: "MB/s",
        amount: 4.0 * VALUES as f64 / 1e6,
        need: Need::Disk(4.0 * VALUES as f64),
        prepare: Box::new(prepare),
        part: None,
    }
}

/// A PDB file of 40,000 atoms, read as `holosig prepare structures` reads it.
fn structures() -> Case {
    const RESIDUES: usize = 10_000;
    const ATOMS: [(&str, &str); 4] = [("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O")];
    let mut text = String::new();
    for residue in 0..RESIDUES {
        for (i, (name, element)) in ATOMS.iter().enumerate() {
            let (chain, number) = ((b'A' + (residue / 2500) as u8) as char, residue % 2500 + 1);
            let serial = residue * ATOMS.len() + i + 1;
            let [x, y, z] = [0.31, 0.17, 0.07].map(|f| 80.0 * (f * serial as f64).sin());
            text += &format!(
                "ATOM  {serial:>5}  {name:<3} ALA {chain}{number:>4}    {x:>8.3}{y:>8.3}{z:>8.3}  1.00 \
                 20.00          {element:>2}  \n"
            );
        }
    }
    let bytes = text.len() as f64;
    let prepare = move |_: &World, _: &Device| -> Result<Work> {
        let folder = std::env::temp_dir();
        let place = Scratch::new(&folder.join("holosig-bench.pdb"))?;
        std::fs::write(place.path(), &text).map_err(|e| Error::io(place.path(), e))?;
        let options = ReadOptions::default();
        Ok(Box::new(move |_| {
            black_box(structure::read(place.path(), &options)?);
            Ok(())
        }))
    };
    Case {
        name: "prepare-pdb".into(),
        group: Group::Prepare,
        unit: "MB/s",
        amount: bytes / 1e6,
        need: Need::Bytes(bytes),
        prepare: Box::new(prepare),
        part: None,
    }
}
