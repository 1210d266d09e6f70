//! Latents and frames of our choice, and what the decoder makes of them.

use crate::data::Split;
use crate::data::spheres::Spheres;
use crate::downstream::spheres::{Classifier, Encoded, SphereModel};
use crate::so3::rotation::{self, Matrix, compose};
use crate::so3::wigner::turned;
use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// What to make.
#[derive(Debug, Clone)]
pub struct Choice {
    pub split: Split,
    /// Samples of the prior; of each label for a conditional model.
    pub samples: usize,
    /// Signals to rebuild.
    pub inputs: usize,
    /// The two signals to go between, by their names; the first two of different classes if absent.
    pub between: Option<[String; 2]>,
    /// Steps between them, both ends included.
    pub steps: usize,
    pub seed: u64,
}

/// Signals that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    pub name: &'static str,
    pub about: String,
    /// Signals in a row of the picture.
    pub columns: usize,
    pub ids: Vec<String>,
    /// In the scale of the data, `[n, D]`.
    pub coefficients: Vec<f32>,
    /// `[n, Z]`, with labels beside it for a conditional model; not a number for signals that were not
    /// decoded.
    pub z: Vec<f32>,
    /// `[n, 3, 3]`: the frames of the decoder.
    pub frames: Vec<f32>,
}

const IDENTITY: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
/// Points along each axis of a latent plane, and how far it is shown.
const GRID: usize = 9;
const EXTENT: f32 = 2.0;
/// Samples of a label in a row of their picture, at most.
const WIDEST: usize = 50;
/// Signals in the picture of equivariance.
const TURNED: usize = 5;

/// All sets that the model and the data allow. A classifier is asked for the labels of what a
/// conditional model samples.
///
/// # Errors
/// Data that the model was not made for; a name that none of the signals has.
pub fn sets(
    model: &SphereModel,
    classifier: Option<&Classifier>,
    data: Option<&Spheres>,
    choice: &Choice,
) -> Result<Vec<Set>> {
    let maker = Maker {
        model,
        classifier,
        choice,
    };
    let mut sets = Vec::new();
    if model.description.model.variational && choice.samples > 0 {
        sets.push(maker.samples()?);
    }
    if model.decoder_input() == 2 {
        sets.push(maker.plane()?);
    }
    if let Some(data) = data {
        model.description.check_data(data)?;
        let all = data.split(choice.split);
        if all.is_empty() {
            return Err(Error::input(format!(
                "no signal of the split {}; see --split",
                choice.split
            )));
        }
        let chosen = &all[..choice.inputs.clamp(1, all.len())];
        sets.push(maker.reconstruction(data, chosen)?);
        sets.extend(maker.interpolation(data, all)?);
        sets.push(maker.canonical(data, all)?);
        sets.push(maker.equivariance(data, &chosen[..chosen.len().min(TURNED)])?);
    }
    Ok(sets)
}

struct Maker<'a> {
    model: &'a SphereModel,
    classifier: Option<&'a Classifier>,
    choice: &'a Choice,
}

impl Maker<'_> {
    /// Decodes `z` `[n, Z]` in frames `[n, 3, 3]`.
    fn decoded(&self, set: Set) -> Result<Set> {
        let coefficients = self.in_scale(self.model.decode(&set.z, &set.frames)?);
        Ok(Set {
            coefficients,
            ..set
        })
    }

    /// Normalised coefficients in the scale of the data.
    fn in_scale(&self, mut x: Vec<f32>) -> Vec<f32> {
        let factor = self.model.description.norm_factor as f32;
        x.iter_mut().for_each(|c| *c *= factor);
        x
    }

    /// Latents of signals as the decoder takes them, [`SphereModel::with_labels`].
    fn with_labels(&self, data: &Spheres, samples: &[u32], z: &[f32]) -> Result<Vec<f32>> {
        let labels = samples.iter().map(|&s| data.label(s));
        self.model.with_labels(z, labels)
    }

    /// Latents of the prior in the canonical frame, each drawn from the seed and its number; as many for
    /// every label of a conditional model.
    fn samples(&self) -> Result<Set> {
        let (n, seed) = (self.choice.samples, self.choice.seed);
        let draw = |i: usize| {
            let mut key = [0u8; 32];
            key[..8].copy_from_slice(&seed.to_le_bytes());
            key[8..16].copy_from_slice(&(i as u64).to_le_bytes());
            let mut rng = ChaCha8Rng::from_seed(key);
            let normal = |_| -> f32 { StandardNormal.sample(&mut rng) };
            (0..self.model.latent()).map(normal).collect::<Vec<f32>>()
        };
        let classes = &self.model.description.classes;
        let labels: Vec<&str> = classes
            .iter()
            .flat_map(|c| std::iter::repeat_n(c.as_str(), n))
            .collect();
        let all = n * classes.len().max(1);
        let z: Vec<f32> = (0..all).flat_map(draw).collect();
        let id = |i: usize| match labels.get(i) {
            Some(label) => format!("{label} {}", i % n),
            None => i.to_string(),
        };
        let mut set = self.decoded(Set {
            name: "samples",
            about: format!("Samples of the prior in the canonical frame, seed {seed}."),
            columns: if labels.is_empty() {
                n.isqrt()
            } else {
                n.min(WIDEST)
            },
            ids: (0..all).map(id).collect(),
            coefficients: Vec::new(),
            z: self.model.with_labels(&z, labels.iter().copied())?,
            frames: IDENTITY.repeat(all),
        })?;
        if let Some(classifier) = self.classifier.filter(|_| !labels.is_empty()) {
            let accuracy = classifier.accuracy(&set.coefficients, &labels)?;
            set.about += &format!(" The classifier finds the label of {accuracy:.4} of them.");
        }
        Ok(set)
    }

    /// A latent space of two dimensions, in the canonical frame.
    fn plane(&self) -> Result<Set> {
        let at = |i: usize| EXTENT * (2.0 * i as f32 / (GRID - 1) as f32 - 1.0);
        let points: Vec<[f32; 2]> = (0..GRID * GRID)
            .map(|i| [at(i % GRID), at(GRID - 1 - i / GRID)])
            .collect();
        self.decoded(Set {
            name: "latent",
            about: format!("The latent plane from -{EXTENT} to {EXTENT}, in the canonical frame."),
            columns: GRID,
            ids: points.iter().map(|[x, y]| format!("{x} {y}")).collect(),
            coefficients: Vec::new(),
            frames: IDENTITY.repeat(points.len()),
            z: points.concat(),
        })
    }

    /// Signals above their reconstructions.
    fn reconstruction(&self, data: &Spheres, samples: &[u32]) -> Result<Set> {
        let x = self.model.description.normalised(data, samples);
        let Encoded { invariants, frames } = self.model.encode(&x)?;
        let invariants = self.with_labels(data, samples, &invariants)?;
        let rebuilt = self.model.decode(&invariants, &frames)?;
        let ids = |what: &str| {
            samples
                .iter()
                .map(move |&s| format!("{} {what}", data.id(s)))
                .collect::<Vec<_>>()
        };
        Ok(Set {
            name: "reconstruction",
            about: "Signals, and below each what the decoder makes of its latent in its frame."
                .into(),
            columns: samples.len(),
            ids: [ids("input"), ids("reconstruction")].concat(),
            coefficients: self.in_scale([x, rebuilt].concat()),
            z: [vec![f32::NAN; invariants.len()], invariants].concat(),
            frames: [frames.clone(), frames].concat(),
        })
    }

    /// From one signal to another along a line in the latent space; none for a single signal.
    fn interpolation(&self, data: &Spheres, all: &[u32]) -> Result<Option<Set>> {
        let label = |s: u32| data.label(s);
        let ends = match &self.choice.between {
            Some(names) => {
                let find = |name: &String| {
                    let found = all.iter().copied().find(|&s| data.id(s) == name);
                    found.ok_or_else(|| {
                        Error::input(format!("--between: no signal is called {name}"))
                    })
                };
                [find(&names[0])?, find(&names[1])?]
            }
            None => {
                let other = all.iter().copied().find(|&s| label(s) != label(all[0]));
                match other.or(all.get(1).copied()) {
                    Some(other) => [all[0], other],
                    None => return Ok(None),
                }
            }
        };
        let steps = self.choice.steps.max(2);
        let z = self
            .model
            .encode(&self.model.description.normalised(data, &ends))?
            .invariants;
        let z = self.with_labels(data, &ends, &z)?;
        let (from, to) = z.split_at(self.model.decoder_input());
        let at = |i: usize| {
            let t = i as f32 / (steps - 1) as f32;
            from.iter().zip(to).map(move |(a, b)| (1.0 - t) * a + t * b)
        };
        let set = Set {
            name: "interpolation",
            about: format!(
                "From {} ({}) to {} ({}) in the canonical frame.",
                data.id(ends[0]),
                label(ends[0]),
                data.id(ends[1]),
                label(ends[1])
            ),
            columns: steps,
            ids: (0..steps)
                .map(|i| format!("{i} of {}", steps - 1))
                .collect(),
            coefficients: Vec::new(),
            z: (0..steps).flat_map(at).collect(),
            frames: IDENTITY.repeat(steps),
        };
        self.decoded(set).map(Some)
    }

    /// Means over each class of the signals turned into their frames, above those of what is decoded
    /// in the canonical frame: the sharper, the better frames agree within a class.
    fn canonical(&self, data: &Spheres, all: &[u32]) -> Result<Set> {
        /// Signals per forward pass.
        const BLOCK: usize = 256;
        let (dim, latent, irreps) = (
            self.model.dim(),
            self.model.decoder_input(),
            self.model.model.irreps(),
        );
        let mut classes: BTreeMap<&str, Sums> = BTreeMap::new();
        for block in all.chunks(BLOCK) {
            let x = self.model.description.normalised(data, block);
            let Encoded { invariants, frames } = self.model.encode(&x)?;
            let invariants = self.with_labels(data, block, &invariants)?;
            let decoded = self
                .model
                .decode(&invariants, &IDENTITY.repeat(block.len()))?;
            for (i, &sample) in block.iter().enumerate() {
                let own: Vec<f64> = x[i * dim..(i + 1) * dim]
                    .iter()
                    .map(|&v| v.into())
                    .collect();
                let own = turned(irreps, &own, &matrix(&frames[9 * i..9 * i + 9]));
                let empty = || Sums::new(dim, latent);
                let sums = classes.entry(data.label(sample)).or_insert_with(empty);
                sums.inputs.iter_mut().zip(&own).for_each(|(s, v)| *s += v);
                let parts = [
                    (&mut sums.decoded, &decoded, dim),
                    (&mut sums.z, &invariants, latent),
                ];
                for (sum, values, n) in parts {
                    let values = &values[i * n..(i + 1) * n];
                    sum.iter_mut()
                        .zip(values)
                        .for_each(|(s, &v)| *s += f64::from(v));
                }
                sums.count += 1.0;
            }
        }
        let mean = |sum: &[f64], n: f64| sum.iter().map(|s| (s / n) as f32).collect::<Vec<f32>>();
        let of = |part: fn(&Sums) -> &Vec<f64>| {
            classes
                .values()
                .flat_map(|c| mean(part(c), c.count))
                .collect::<Vec<f32>>()
        };
        let ids = |what: &str| {
            classes
                .keys()
                .map(|c| format!("{c} {what}"))
                .collect::<Vec<_>>()
        };
        let z = of(|c| &c.z);
        Ok(Set {
            name: "canonical",
            about: "Means over the signals of each class: turned into their own frames, and below what \
                    the decoder makes of their latents in the canonical frame."
                .into(),
            columns: classes.len(),
            ids: [ids("inputs"), ids("decoded")].concat(),
            coefficients: self.in_scale([of(|c| &c.inputs), of(|c| &c.decoded)].concat()),
            z: z.repeat(2),
            frames: IDENTITY.repeat(2 * classes.len()),
        })
    }

    /// A column per signal: turned by a random rotation, and four ways to rebuild it that must agree.
    fn equivariance(&self, data: &Spheres, samples: &[u32]) -> Result<Set> {
        let (dim, irreps) = (self.model.dim(), self.model.model.irreps());
        let n = samples.len();
        let turns: Vec<Matrix> = (0..n as u64)
            .map(|i| rotation::random(self.choice.seed.wrapping_add(i)))
            .collect();
        let turn = |x: &[f32]| -> Vec<f32> {
            let rows = x.chunks_exact(dim).zip(&turns);
            let row = |(x, r): (&[f32], &Matrix)| {
                let x: Vec<f64> = x.iter().map(|&v| v.into()).collect();
                turned(irreps, &x, r)
                    .into_iter()
                    .map(|v| v as f32)
                    .collect::<Vec<_>>()
            };
            rows.flat_map(row).collect()
        };
        let x = self.model.description.normalised(data, samples);
        let encode = |x: &[f32]| -> Result<Encoded> {
            let encoded = self.model.encode(x)?;
            Ok(Encoded {
                invariants: self.with_labels(data, samples, &encoded.invariants)?,
                ..encoded
            })
        };
        let still = encode(&x)?;
        let input = turn(&x);
        let moved = encode(&input)?;
        let frames = |(f, r): (&[f32], &Matrix)| {
            let back = std::array::from_fn(|i| std::array::from_fn(|j| r[j][i]));
            compose(&matrix(f), &back)
                .concat()
                .into_iter()
                .map(|v| v as f32)
                .collect::<Vec<_>>()
        };
        let turned_frames: Vec<f32> = still
            .frames
            .chunks_exact(9)
            .zip(&turns)
            .flat_map(frames)
            .collect();
        let decode = |z: &[f32], frames: &[f32]| self.model.decode(z, frames);
        let ways = [
            decode(&moved.invariants, &moved.frames)?,
            turn(&decode(&still.invariants, &still.frames)?),
            decode(&still.invariants, &moved.frames)?,
            decode(&still.invariants, &turned_frames)?,
        ];
        let size =
            |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let apart = ways[1..].iter().map(|way| {
            let difference = size(&mut way.iter().zip(&ways[0]).map(|(a, b)| a - b));
            difference / size(&mut ways[0].iter().copied()).max(f64::MIN_POSITIVE)
        });
        let apart: Vec<String> = apart.map(|a| format!("{a:.1e}")).collect();
        let names = [
            "turned input",
            "its reconstruction",
            "turned reconstruction",
            "with the latent of \
                     the input that was not turned",
            "with its frame, turned",
        ];
        let ids = names.iter().flat_map(|what| {
            samples
                .iter()
                .map(move |&s| format!("{} {what}", data.id(s)))
        });
        Ok(Set {
            name: "equivariance",
            about: format!(
                "Rows: {}. The last four must be the same: the relative distances from the first of \
                 them are {}.",
                names.join("; "),
                apart.join(", ")
            ),
            columns: n,
            ids: ids.collect(),
            coefficients: self.in_scale([input, ways.concat()].concat()),
            z: [
                vec![f32::NAN; still.invariants.len()],
                moved.invariants,
                still.invariants.repeat(3),
            ]
            .concat(),
            frames: [
                moved.frames.clone(),
                moved.frames.clone(),
                still.frames,
                moved.frames,
                turned_frames,
            ]
            .concat(),
        })
    }
}

/// Sums over the signals of a class.
struct Sums {
    /// In their frames.
    inputs: Vec<f64>,
    /// In the canonical frame.
    decoded: Vec<f64>,
    z: Vec<f64>,
    count: f64,
}

impl Sums {
    fn new(dim: usize, latent: usize) -> Self {
        Self {
            inputs: vec![0.0; dim],
            decoded: vec![0.0; dim],
            z: vec![0.0; latent],
            count: 0.0,
        }
    }
}

fn matrix(flat: &[f32]) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| flat[3 * i + j].into()))
}
