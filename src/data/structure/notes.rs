//! What a reader made of a file that its words do not say: counted, for the summary of a dataset.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was renamed, repeated or left out, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes(BTreeMap<String, u64>);

impl Notes {
    /// Counts `count` more of what the words say (`residues HIE, which count as HIS`).
    pub fn add(&mut self, what: impl Into<String>, count: u64) {
        if count > 0 {
            *self.0.entry(what.into()).or_default() += count;
        }
    }

    /// Adds the counts of another file.
    pub fn merge(&mut self, other: &Notes) {
        for (what, count) in &other.0 {
            self.add(what.as_str(), *count);
        }
    }

    /// The counts of several files together.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Notes>) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|notes| sum.merge(notes));
        sum
    }

    /// Prints [`Notes::lines`].
    pub fn tell(&self) {
        self.lines().for_each(|line| crate::say!("{line}"));
    }

    /// One line for each kind, in the order of their words.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(what, count)| format!("{what}: {count}"))
    }

    /// How often something was counted.
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}
