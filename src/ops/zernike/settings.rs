//! What a Zernike transform computes.

use crate::elements;
use crate::so3::irreps::Irreps;
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

/// Which atoms a channel holds: one element, or every element that has no channel of its own.
/// Written as the element's symbol, or `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Channel {
    /// An element by its atomic number.
    Element(u8),
    Other,
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if name.eq_ignore_ascii_case("other") {
            return Ok(Channel::Other);
        }
        elements::number(name.as_bytes())
            .map(Channel::Element)
            .ok_or_else(|| {
                Error::input(format!(
                    "channel {name:?}: no such element; use an element's symbol or \"other\""
                ))
            })
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
        match self {
            // In upper case, as in all files written so far.
            Channel::Element(number) => match elements::symbol(*number) {
                Some(symbol) => f.write_str(&symbol.to_ascii_uppercase()),
                None => write!(f, "element {number}"),
            },
            Channel::Other => f.write_str("other"),
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
    /// Which atoms make a channel: an element's symbol, or `other`.
    pub channels: Vec<Channel>,
    /// The weight of an atom in the sum over atoms.
    pub weighting: Weighting,
    /// The binomial factor of the radial polynomials.
    pub binomial: Binomial,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lmax: 6,
            nmax: 20,
            cutoff: 10.0,
            channels: [6, 7, 8, 16].map(Channel::Element).to_vec(),
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

    /// The channel of an element; [`DROP`] when it has none.
    pub fn channel_of(&self, atomic_number: u8) -> u8 {
        let find = |channel| self.channels.iter().position(|&c| c == channel);
        find(Channel::Element(atomic_number))
            .or_else(|| find(Channel::Other))
            .map_or(DROP, |index| index as u8)
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
        assert_eq!(settings.channels[1], Channel::Element(30));
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
        assert!(told(|s| s.channels.push(Channel::Element(6))).contains("C is named twice"));
        Settings::default().validate().unwrap();
    }

    #[test]
    fn elements_find_their_channel() {
        let mut settings = Settings::default();
        assert_eq!(
            [6, 7, 8, 16, 30].map(|z| settings.channel_of(z)),
            [0, 1, 2, 3, DROP]
        );
        settings.channels.insert(0, Channel::Other);
        assert_eq!([6, 30, 0].map(|z| settings.channel_of(z)), [1, 0, 0]);
    }
}
