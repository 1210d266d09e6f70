//! Which structures are for training, validation and test.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];
}

/// Numbers of the samples of each part of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    pub train: Vec<u32>,
    pub validation: Vec<u32>,
    pub test: Vec<u32>,
}

impl Partition {
    /// # Errors
    /// The first of `samples`.
    pub fn new(samples: impl Fn(Split) -> Result<Vec<u32>>) -> Result<Self> {
        Ok(Self {
            train: samples(Split::Train)?,
            validation: samples(Split::Validation)?,
            test: samples(Split::Test)?,
        })
    }

    pub fn split(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    pub fn split_mut(&mut self, split: Split) -> &mut Vec<u32> {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }

    /// The samples at some places of a split.
    pub fn at(&self, split: Split, places: &[u64]) -> Vec<u32> {
        let all = self.split(split);
        places.iter().map(|&place| all[place as usize]).collect()
    }

    /// The samples of all splits.
    pub fn all(&self) -> impl Iterator<Item = u32> {
        let all = self.train.iter().chain(&self.validation).chain(&self.test);
        all.copied()
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let found = match text {
            "val" | "valid" => Some(Split::Validation),
            _ => Split::ALL.into_iter().find(|s| s.to_string() == text),
        };
        found.ok_or_else(|| Error::input(format!("split {text:?}: use train, validation or test")))
    }
}
