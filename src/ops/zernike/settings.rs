//! What a Zernike transform computes.

use super::feature::Feature;
use crate::elements;
use crate::so3::irreps::{Irreps, radial_orders};
pub use crate::so3::radial::Binomial;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Largest degree for which the transform is tested.
pub const LMAX: usize = 14;
/// Largest radial order for which the transform is tested.
pub const NMAX: usize = 40;
/// Channel index of an atom that takes no part.
pub const DROP: u8 = u8::MAX;

/// The part of a complex that an atom belongs to. Everything that is not the ligand is the
/// protein's side: cofactors and metals too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Protein,
    Ligand,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Protein => "protein",
            Side::Ligand => "ligand",
        }
    }
}

/// Which atoms a channel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// One element, by its atomic number.
    Element(u8),
    /// F, Cl, Br, I.
    Halogen,
    /// Metals ([`elements::is_metal`]).
    Metal,
    /// Every element that no other channel takes.
    Other,
    /// All atoms, each times its feature.
    Feature(Feature),
}

impl Family {
    fn has(self, number: u8) -> bool {
        match self {
            Family::Element(own) => own == number,
            Family::Halogen => matches!(number, 9 | 17 | 35 | 53),
            Family::Metal => elements::is_metal(number),
            Family::Other => true,
            Family::Feature(_) => false,
        }
    }
}

/// Which atoms a channel holds: one element, `halogen`, `metal`, or every `other` element that has
/// no channel of its own; or all atoms times their `charge`, or those that are `donor`, `acceptor`,
/// `aromatic`, or as far as they are at the `surface`. Of either side of a complex, or of one
/// (`protein:C`, `ligand:charge`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Channel {
    pub family: Family,
    /// `None` for both.
    pub side: Option<Side>,
}

impl Channel {
    /// Every element without a channel of its own, on both sides.
    pub const OTHER: Channel = Channel {
        family: Family::Other,
        side: None,
    };

    /// An element on both sides.
    pub const fn element(number: u8) -> Self {
        Self {
            family: Family::Element(number),
            side: None,
        }
    }

    fn has(self, number: u8, side: Side) -> bool {
        self.family.has(number) && self.is_of(side)
    }

    /// Whether it holds atoms of a side.
    pub fn is_of(self, side: Side) -> bool {
        self.side.is_none_or(|own| own == side)
    }

    /// Where several channels have an atom, the narrowest takes it: an element before a family
    /// before `other`, and of equals that of one side.
    fn breadth(self) -> u8 {
        let family = match self.family {
            Family::Element(_) => 0,
            Family::Halogen | Family::Metal => 2,
            Family::Other | Family::Feature(_) => 4,
        };
        family + u8::from(self.side.is_none())
    }
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let (side, atoms) = match name.split_once(':') {
            None => (None, name),
            Some(("protein", atoms)) => (Some(Side::Protein), atoms),
            Some(("ligand", atoms)) => (Some(Side::Ligand), atoms),
            Some((side, _)) => {
                return Err(Error::input(format!(
                    "channel {name:?}: no side {side:?}; use protein or ligand"
                )));
            }
        };
        let word = atoms.to_ascii_lowercase();
        let family = match (word.as_str(), Feature::named(&word)) {
            ("other", _) => Family::Other,
            ("halogen", _) => Family::Halogen,
            ("metal", _) => Family::Metal,
            (_, Some(feature)) => Family::Feature(feature),
            (_, None) => Family::Element(elements::number(atoms.as_bytes()).ok_or_else(|| {
                Error::input(format!(
                    "channel {name:?}: no such element; use an element's symbol, \"halogen\", \
                     \"metal\" or \"other\", or a feature ({}); of one side with protein: or \
                     ligand: before it",
                    Feature::ALL.map(Feature::name).join(", ")
                ))
            })?),
        };
        Ok(Channel { family, side })
    }
}

impl TryFrom<String> for Channel {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.to_string()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(side) = self.side {
            write!(f, "{}:", side.name())?;
        }
        match self.family {
            Family::Other => f.write_str("other"),
            Family::Halogen => f.write_str("halogen"),
            Family::Metal => f.write_str("metal"),
            Family::Feature(feature) => feature.fmt(f),
            // In upper case, as in all files written so far.
            Family::Element(number) => match elements::symbol(number) {
                Some(symbol) => f.write_str(&symbol.to_ascii_uppercase()),
                None => write!(f, "element {number}"),
            },
        }
    }
}

/// The weight of an atom in the sum over atoms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// 1.
    None,
    /// `1 / sum_nlm P_nlm^2` over all `n <= nmax` and `l <= lmax`: the published models.
    Square,
}

impl Weighting {
    /// Its word in job files, options and attributes.
    pub fn name(self) -> &'static str {
        match self {
            Weighting::None => "none",
            Weighting::Square => "square",
        }
    }
}

/// Settings of a Zernike transform. The default is that of the published protein models at
/// lmax 6.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Largest degree.
    pub lmax: usize,
    /// Largest radial order, inclusive.
    pub nmax: usize,
    /// Radius of the ball in Å.
    pub cutoff: f64,
    /// Which atoms make a channel: an element's symbol, `halogen`, `metal` or `other`; beside them
    /// all atoms times their `charge`, `donor`, `acceptor`, `aromatic` or `surface`. Of one side of a
    /// complex alone with `protein:` or `ligand:` before it.
    pub channels: Vec<Channel>,
    /// Factor on the ligand's channels. A ligand has few atoms: with a factor of 3 or so they
    /// weigh in the loss as much as the protein's.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ligand_weight: f64,
    /// The weight of an atom in the sum over atoms.
    pub weighting: Weighting,
    /// The binomial factor of the radial polynomials.
    pub binomial: Binomial,
}

fn one() -> f64 {
    1.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lmax: 6,
            nmax: 20,
            cutoff: 10.0,
            channels: [6, 7, 8, 16].map(Channel::element).to_vec(),
            ligand_weight: 1.0,
            weighting: Weighting::Square,
            binomial: Binomial::Published,
        }
    }
}

impl Settings {
    /// # Errors
    /// Names the setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let Self {
            lmax, nmax, cutoff, ..
        } = *self;
        let bad = |what: String| Err(Error::input(what));
        if lmax > LMAX {
            return bad(format!("lmax = {lmax}: the largest degree is {LMAX}"));
        }
        if nmax > NMAX {
            return bad(format!("nmax = {nmax}: the largest radial order is {NMAX}"));
        }
        if nmax < lmax {
            return bad(format!("nmax = {nmax}: must be at least lmax = {lmax}"));
        }
        if !(cutoff.is_finite() && cutoff > 0.0) {
            return bad(format!("cutoff = {cutoff}: must be a positive length in Å"));
        }
        if !(self.ligand_weight.is_finite() && self.ligand_weight > 0.0) {
            let what = format!("ligand_weight = {}: must be positive", self.ligand_weight);
            return bad(what);
        }
        if self.channels.is_empty() {
            return bad("channels: at least one is needed".into());
        }
        for (i, channel) in self.channels.iter().enumerate() {
            if self.channels[..i].contains(channel) {
                return bad(format!("channels: {channel} is named twice"));
            }
        }
        Ok(())
    }

    /// Irreps of a zernikegram.
    pub fn irreps(&self) -> Irreps {
        Irreps::zernike(self.lmax, self.nmax, self.channels.len())
    }

    /// The channel of an atom by element and side; [`DROP`] when it has none.
    pub fn channel_of(&self, atomic_number: u8, side: Side) -> u8 {
        let channels = self.channels.iter().enumerate();
        let fitting = channels.filter(|(_, c)| c.has(atomic_number, side));
        let narrowest = fitting.min_by_key(|(_, c)| c.breadth());
        narrowest.map_or(DROP, |(index, _)| index as u8)
    }

    /// The channels of features, by their places.
    pub fn features(&self) -> impl Iterator<Item = (u8, Channel, Feature)> + '_ {
        let channels = self.channels.iter().enumerate();
        channels.filter_map(|(index, &channel)| match channel.family {
            Family::Feature(feature) => Some((index as u8, channel, feature)),
            _ => None,
        })
    }

    /// For each coefficient of a zernikegram, whether its channel is the ligand's alone.
    pub fn ligand_coefficients(&self) -> Vec<bool> {
        let mut of_ligand = Vec::with_capacity(self.irreps().dim());
        for l in 0..=self.lmax {
            let coefficients = radial_orders(self.nmax, l) * (2 * l + 1);
            for channel in &self.channels {
                let is_ligand = channel.side == Some(Side::Ligand);
                of_ligand.extend(std::iter::repeat_n(is_ligand, coefficients));
            }
        }
        of_ligand
    }

    /// Whether the ligand's atoms have channels of their own.
    pub fn is_two_sided(&self) -> bool {
        let ligand = |c: &Channel| c.side == Some(Side::Ligand);
        self.channels.iter().any(ligand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_toml_and_refuse_unknown_keys() {
        let text = "lmax = 4\nchannels = [\"C\", \"Zn\", \"other\"]\nweighting = \"none\"\n";
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.lmax, 4);
        assert_eq!(settings.nmax, 20);
        assert_eq!(settings.channels[1], Channel::element(30));
        let again: Settings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
        for bad in [
            "l_max = 4",
            "channels = [\"Xx\"]",
            "binomial = \"floor\"",
            "lmax = -1",
        ] {
            assert!(toml::from_str::<Settings>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn validate_names_the_bad_value() {
        let told = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert!(told(|s| s.lmax = 15).contains("lmax = 15"));
        assert!(told(|s| s.nmax = 41).contains("nmax = 41"));
        assert!(told(|s| s.nmax = 5).contains("at least lmax = 6"));
        assert!(told(|s| s.cutoff = f64::NAN).contains("cutoff = NaN"));
        assert!(told(|s| s.cutoff = 0.0).contains("cutoff = 0"));
        assert!(told(|s| s.channels.clear()).contains("channels"));
        assert!(told(|s| s.channels.push(Channel::element(6))).contains("C is named twice"));
        Settings::default().validate().unwrap();
    }

    #[test]
    fn elements_find_their_channel() {
        let mut settings = Settings::default();
        for side in [Side::Protein, Side::Ligand] {
            assert_eq!(
                [6, 7, 8, 16, 30].map(|z| settings.channel_of(z, side)),
                [0, 1, 2, 3, DROP]
            );
        }
        settings.channels.insert(0, Channel::OTHER);
        assert_eq!(
            [6, 30, 0].map(|z| settings.channel_of(z, Side::Ligand)),
            [1, 0, 0]
        );
    }

    #[test]
    fn the_narrowest_channel_takes_an_atom() {
        let names = [
            "other",
            "protein:C",
            "ligand:C",
            "N",
            "ligand:CL",
            "ligand:halogen",
            "metal",
            "ligand:other",
        ];
        let channels: Vec<Channel> = names.iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(
            channels.iter().map(Channel::to_string).collect::<Vec<_>>(),
            names
        );
        let settings = Settings {
            channels,
            ..Settings::default()
        };
        assert!(settings.is_two_sided() && !Settings::default().is_two_sided());
        let of = |side| [6, 7, 17, 35, 12, 15].map(|z| settings.channel_of(z, side));
        assert_eq!(of(Side::Protein), [1, 3, 0, 0, 6, 0]);
        assert_eq!(of(Side::Ligand), [2, 3, 4, 5, 6, 7]);
        let error = "left:C".parse::<Channel>().unwrap_err().to_string();
        assert!(error.contains("use protein or ligand"), "{error}");
    }
}
