//! A checkpoint: everything needed to use a model, and to go on training it exactly.

mod layout;
mod saved;
mod training;

pub use layout::{Array, CHUNK, Layout, State};
pub use saved::Saved;
#[cfg(test)]
pub(super) use saved::write_damaged_inside;

use super::guard::Guard;
use super::watch::{Better, Control};
use crate::comm::World;
use crate::models::Parameters;
use crate::store::{self, Digest, Kind, Node};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// A parameter or a buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    /// Published name, e.g. `encoder_mean.weight`.
    pub name: String,
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Of the metric that the job chooses by; mostly the total loss with the weights that hold after
    /// the warm-up.
    #[serde(with = "bits")]
    pub value: f64,
    /// Steps completed then.
    pub step: u64,
    /// Whether the warm-up of the weights was over; earlier validations lose to later ones.
    pub warm: bool,
}

impl Best {
    /// Whether this validation is better than `other`; one that is not finite never is.
    pub fn beats(&self, other: Option<&Best>, better: Better) -> bool {
        let better = |o: &Best| match (self.warm == o.warm, better) {
            (true, Better::Lower) => self.value < o.value,
            (true, Better::Higher) => self.value > o.value,
            (false, _) => self.warm,
        };
        self.value.is_finite() && other.is_none_or(better)
    }
}

/// A number as its bits: text would round it.
pub(super) mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    /// A number that may be absent.
    pub mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
            value.map(f64::to_bits).serialize(to)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
            let bits = Option::<u64>::deserialize(from)?;
            Ok(bits.map(f64::from_bits))
        }
    }

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// Where a training run stands. Sampler and random numbers are keyed by the seed and counted by
/// the step, so these numbers are all of their state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps completed.
    pub step: u64,
    pub epoch: u64,
    /// Samples of this epoch already seen.
    pub position: u64,
    pub seed: u64,
    pub best: Option<Best>,
    /// What is known of numeric faults.
    pub guard: Guard,
    /// What validations have decided.
    pub control: Control,
    /// The resolved job, TOML.
    pub job: String,
    /// Identifies the data of the run.
    pub fingerprint: String,
}

/// First and second moments of Adam, and what else is flat in the parameters' order.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    pub steps: u64,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    /// The parameters that training goes on with, where those of the checkpoint are their moving
    /// averages.
    pub raw: Option<Vec<f32>>,
}

/// The content of a checkpoint file. An imported model has no `training` part.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The word that names the task in jobs ([`crate::train::Task::NAME`]).
    pub task: String,
    /// How to build the model and prepare its input, TOML
    /// ([`crate::train::Task::description`]).
    pub description: String,
    pub parameters: Vec<NamedArray>,
    pub buffers: Vec<NamedArray>,
    pub training: Option<(Progress, Moments)>,
}

impl Checkpoint {
    /// The present state of a model.
    pub fn of_model(task: &str, description: String, model: &Parameters) -> Result<Self> {
        let flat = model.flat()?;
        let cut = |entries: &[crate::models::Entry], values: &[f32]| {
            let array = |e: &crate::models::Entry| NamedArray {
                name: e.name.clone(),
                shape: e.shape.clone(),
                values: values[e.offset..e.offset + e.len()].to_vec(),
            };
            entries.iter().map(array).collect()
        };
        Ok(Self {
            task: task.into(),
            description,
            parameters: cut(model.entries(), &flat),
            buffers: cut(model.buffer_entries(), &model.buffers()),
            training: None,
        })
    }

    /// Puts parameters and buffers into a model of the same names and shapes.
    ///
    /// # Errors
    /// The first name or shape that differs; `path` is the file to blame.
    pub fn load_into(&self, path: &Path, model: &Parameters) -> Result<()> {
        let layout = Layout::of(self);
        saved::fit(&layout.parameters, model.entries())
            .and_then(|()| saved::fit(&layout.buffers, model.buffer_entries()))
            .map_err(|what| Error::file(path, what))?;
        let collect = |has: &[NamedArray]| -> Vec<f32> {
            has.iter().flat_map(|a| a.values.iter().copied()).collect()
        };
        model.set_flat(&collect(&self.parameters))?;
        model.set_buffers(&collect(&self.buffers))
    }

    /// XXH3-128 of all parameters and buffers in their fixed order.
    pub fn hash(&self) -> Digest {
        let mut hash = Xxh3::new();
        for array in self.parameters.iter().chain(&self.buffers) {
            for value in &array.values {
                hash.update(&value.to_le_bytes());
            }
        }
        Digest(hash.digest128())
    }

    /// Writes the file; see [`store::write`].
    pub fn write(&self, path: &Path) -> Result<Digest> {
        let arrays = self.parameters.iter().chain(&self.buffers);
        let mut values: Vec<&[f32]> = arrays.map(|a| &a.values[..]).collect();
        if let Some((_, moments)) = &self.training {
            values.extend([&moments.first[..], &moments.second[..]]);
            values.extend(moments.raw.as_deref());
        }
        let mut rest = values.into_iter();
        let mut current: &[f32] = &[];
        Layout::of(self).write(path, &mut |n| {
            while current.is_empty() && n > 0 {
                current = rest
                    .next()
                    .ok_or_else(|| Error::internal("too few values"))?;
            }
            let (head, tail) = current.split_at(n);
            current = tail;
            Ok(head.to_vec())
        })
    }

    /// Reads and verifies a file.
    ///
    /// # Errors
    /// Those of [`store::open`]; missing or malformed content.
    pub fn read(path: &Path) -> Result<Self> {
        let root = store::open(path, Kind::Checkpoint)?;
        let layout = Layout::read(&root)?;
        let training = match layout.training {
            Some(state) => {
                let group = root.group("training")?;
                let raw = state.averaged.then(|| group.read(layout::RAW));
                let moments = Moments {
                    steps: state.adam_steps,
                    first: group.read(layout::FIRST)?,
                    second: group.read(layout::SECOND)?,
                    raw: raw.transpose()?,
                };
                Some((state.progress, moments))
            }
            None => None,
        };
        Ok(Self {
            task: layout.task,
            description: layout.description,
            parameters: read_arrays(&root.group("parameters")?, layout.parameters)?,
            buffers: read_arrays(&root.group("buffers")?, layout.buffers)?,
            training,
        })
    }

    /// The checkpoint of rank 0 on every rank; only rank 0 needs the file.
    pub fn broadcast(world: &World, checkpoint: Option<Self>) -> Result<Self> {
        let lost = |e| Error::internal(format!("checkpoint broadcast: {e}"));
        let layout = checkpoint.as_ref().map(Layout::of);
        let text = serde_json::to_vec(&layout).map_err(lost)?;
        let layout: Option<Layout> =
            serde_json::from_slice(&world.broadcast(text)).map_err(lost)?;
        let layout = layout.ok_or_else(|| Error::internal("rank 0 has no checkpoint to share"))?;
        let values = checkpoint.map(Self::into_values).unwrap_or_default();
        Ok(layout.fill(&world.broadcast(values)))
    }

    fn into_values(self) -> Vec<f32> {
        let arrays = self.parameters.into_iter().chain(self.buffers);
        let mut values: Vec<f32> = arrays.flat_map(|a| a.values).collect();
        if let Some((_, moments)) = self.training {
            values.extend(moments.first);
            values.extend(moments.second);
            values.extend(moments.raw.unwrap_or_default());
        }
        values
    }
}

fn read_arrays(group: &Node, arrays: Vec<Array>) -> Result<Vec<NamedArray>> {
    let read = |Array { name, shape }| {
        let wanted: Vec<_> = shape.iter().copied().map(Some).collect();
        let (values, shape) = group.read_shaped(&name, &wanted)?;
        Ok(NamedArray {
            name,
            shape,
            values,
        })
    };
    arrays.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::guard::LossTrend;
    use super::super::watch::Still;
    use super::*;

    fn sample() -> Checkpoint {
        let array = |name: &str, shape: &[usize]| NamedArray {
            name: name.into(),
            shape: shape.to_vec(),
            values: (0..shape.iter().product())
                .map(|i| i as f32 - 1.5)
                .collect(),
        };
        let progress = Progress {
            step: 7,
            epoch: 1,
            position: 30,
            seed: u64::MAX,
            best: Some(Best {
                value: 0.25,
                step: 6,
                warm: true,
            }),
            guard: Guard {
                skipped: 2,
                rollbacks: 1,
                redrawn: vec![(5, 1)],
                trend: LossTrend {
                    recent: vec![0.1, 3.0],
                },
            },
            control: Control {
                plateau: Still {
                    best: Some(0.1),
                    waited: 3,
                },
                drops: 2,
                stop: Still {
                    best: None,
                    waited: 4,
                },
            },
            job: "[train]\nsteps = 9\n".into(),
            fingerprint: "abc".into(),
        };
        let moments = Moments {
            steps: 7,
            first: vec![0.5; 7],
            second: vec![0.25; 7],
            raw: None,
        };
        Checkpoint {
            task: "some".into(),
            description: "[model]\nlatent_dim = 2\n".into(),
            parameters: vec![array("z.weight.0", &[2, 3]), array("a.bias", &[1])],
            buffers: vec![array("bn.running_mean", &[2])],
            training: Some((progress, moments)),
        }
    }

    #[test]
    fn reads_back_what_was_written() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.h5");
        let checkpoint = sample();
        checkpoint.write(&path)?;
        assert_eq!(Checkpoint::read(&path)?, checkpoint);
        let mut averaged = checkpoint.clone();
        if let Some((_, moments)) = &mut averaged.training {
            moments.raw = Some(vec![0.125; 7]);
        }
        averaged.write(&path)?;
        assert_eq!(Checkpoint::read(&path)?, averaged);
        let world = World::alone();
        assert_eq!(
            Checkpoint::broadcast(&world, Some(averaged.clone()))?,
            averaged
        );
        let imported = Checkpoint {
            training: None,
            ..checkpoint.clone()
        };
        imported.write(&path)?;
        assert_eq!(Checkpoint::read(&path)?, imported);
        assert_eq!(imported.hash(), checkpoint.hash());
        Ok(())
    }

    #[test]
    fn survives_a_broadcast() -> Result<()> {
        let world = World::alone();
        assert_eq!(Checkpoint::broadcast(&world, Some(sample()))?, sample());
        Ok(())
    }

    #[test]
    fn the_hash_sees_every_value() {
        let mut changed = sample();
        changed.buffers[0].values[1] = f32::from_bits(changed.buffers[0].values[1].to_bits() ^ 1);
        assert_ne!(changed.hash(), sample().hash());
    }

    #[test]
    fn later_validations_beat_those_of_the_warm_up() {
        let best = |value, warm| Best {
            value,
            step: 0,
            warm,
        };
        assert!(best(9.0, false).beats(None, Better::Lower));
        assert!(best(9.0, true).beats(Some(&best(1.0, false)), Better::Lower));
        assert!(!best(0.5, false).beats(Some(&best(1.0, true)), Better::Lower));
        assert!(best(0.5, true).beats(Some(&best(1.0, true)), Better::Lower));
        assert!(!best(f64::NAN, true).beats(None, Better::Lower));
        assert!(best(1.5, true).beats(Some(&best(1.0, true)), Better::Higher));
        assert!(!best(f64::INFINITY, true).beats(Some(&best(1.0, false)), Better::Lower));
    }
}
