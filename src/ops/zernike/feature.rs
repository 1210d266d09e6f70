//! What a channel may hold of an atom beside its element.

use std::fmt;

/// A number of each atom: a channel of it holds all atoms of its side, each times its number, and so
/// beside the channel of their element. `crate::data::features` tells the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Charge in elementary charges.
    Charge,
    /// 1 where it may give a hydrogen bond.
    Donor,
    /// 1 where it may take a hydrogen bond.
    Acceptor,
    /// 1 in an aromatic ring.
    Aromatic,
    /// The part of its surface that the solvent reaches, 0 to 1.
    Surface,
}

impl Feature {
    pub const ALL: [Feature; 5] = [
        Feature::Charge,
        Feature::Donor,
        Feature::Acceptor,
        Feature::Aromatic,
        Feature::Surface,
    ];

    /// The word of a channel.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Charge => "charge",
            Feature::Donor => "donor",
            Feature::Acceptor => "acceptor",
            Feature::Aromatic => "aromatic",
            Feature::Surface => "surface",
        }
    }

    /// The feature of a word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The numbers of an atom, in the order of [`Feature::ALL`].
pub type Features = [f32; Feature::ALL.len()];
