//! Names of atoms, residues and chains.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A short name. Up to eight bytes, as nearly all names of the field have, it is stored in place;
/// a longer one is kept once in a table of the process, for good.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Label([u8; Label::IN_PLACE]);

/// Longer names, each once: a program meets few of them.
static LONG: Mutex<Table> = Mutex::new(Table {
    names: Vec::new(),
    places: BTreeMap::new(),
});

struct Table {
    names: Vec<&'static str>,
    places: BTreeMap<&'static str, usize>,
}

/// First byte of a label whose other bytes are a place in [`LONG`]. No UTF-8 text begins with it.
const ELSEWHERE: u8 = 0xff;

impl Label {
    /// Longest name, in bytes, that needs no table.
    pub const IN_PLACE: usize = 8;

    /// A name of a structure file: `None` if it is longer than [`Label::IN_PLACE`], not ASCII, or
    /// holds a zero byte.
    pub fn short(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::IN_PLACE];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        (text.is_ascii() && !text.contains(&0)).then_some(Self(bytes))
    }

    pub fn as_str(&self) -> &str {
        if self.0[0] == ELSEWHERE {
            let [_, place @ ..] = self.0;
            let place = place
                .iter()
                .rev()
                .fold(0, |p, &b| (p << 8) | usize::from(b));
            let long = LONG.lock().unwrap_or_else(PoisonError::into_inner);
            return long.names.get(place).copied().unwrap_or_default();
        }
        let end = self.0.iter().position(|&b| b == 0);
        std::str::from_utf8(&self.0[..end.unwrap_or(Self::IN_PLACE)]).unwrap_or_default()
    }
}

impl From<&str> for Label {
    /// Takes any text.
    fn from(text: &str) -> Self {
        let mut bytes = [0; Self::IN_PLACE];
        if text.len() <= Self::IN_PLACE && !text.contains('\0') {
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            return Self(bytes);
        }
        let mut long = LONG.lock().unwrap_or_else(PoisonError::into_inner);
        let known = long.places.get(text).copied();
        let place = known.unwrap_or_else(|| {
            let kept: &str = Box::leak(text.into());
            long.names.push(kept);
            let place = long.names.len() - 1;
            long.places.insert(kept, place);
            place
        });
        bytes[0] = ELSEWHERE;
        bytes[1..].copy_from_slice(&(place as u64).to_le_bytes()[..Self::IN_PLACE - 1]);
        Self(bytes)
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::fmt::Debug for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl PartialEq<str> for Label {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Label {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_str().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_are_kept() {
        let names = [
            "",
            "CA",
            "C1'",
            "ABCDEFGH",
            "ABCDEFGHI",
            "Å",
            "éééé",
            "ééééé",
            "a\0b",
        ];
        for name in names {
            let label = Label::from(name);
            assert_eq!(label, name);
            assert_eq!(label, Label::from(name), "{name:?}");
            let json = serde_json::to_string(&label).unwrap();
            assert_eq!(serde_json::from_str::<Label>(&json).unwrap(), label);
        }
        assert_ne!(Label::from("ABCDEFGHI"), Label::from("ABCDEFGHJ"));
        let mut sorted = names.map(Label::from);
        sorted.sort();
        assert!(sorted.is_sorted_by_key(|l| l.as_str().to_string()));
    }

    #[test]
    fn structure_files_have_short_names() {
        assert_eq!(Label::short(b"ABCDEFGH"), Some(Label::from("ABCDEFGH")));
        for bad in ["ABCDEFGHI", "é", "a\0"] {
            assert_eq!(Label::short(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
