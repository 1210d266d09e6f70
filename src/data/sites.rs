//! Residues chosen by chain and number, as users write them: `A`, `A:17`, `A:10-20`.

use super::system::Residue;
use std::str::FromStr;

/// Residues of one chain, from one number to another, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Site {
    chain: String,
    from: i32,
    to: i32,
}

/// Residues of some chains, or of some places in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// Those of both.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether nothing is chosen, which stands for every residue.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a residue is among those chosen, whatever its insertion code; all are where nothing
    /// is chosen.
    pub fn have(&self, residue: &Residue) -> bool {
        let within = |s: &Site| {
            s.chain == residue.chain.as_str() && (s.from..=s.to).contains(&residue.number)
        };
        self.is_empty() || self.0.iter().any(within)
    }

    /// The residues of a whole chain.
    pub fn chain(name: &str) -> Self {
        Self(vec![Site {
            chain: name.to_string(),
            from: i32::MIN,
            to: i32::MAX,
        }])
    }
}

impl std::fmt::Display for Sites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, site) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match (site.from, site.to) {
                (i32::MIN, i32::MAX) => write!(f, "{comma}{}", site.chain)?,
                (from, to) if from == to => write!(f, "{comma}{}:{from}", site.chain)?,
                (from, to) => write!(f, "{comma}{}:{from}-{to}", site.chain)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Sites {
    type Err = String;

    /// Places with commas between them; `:5` is of a chain without a name.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(site)
            .collect::<Result<_, _>>()
            .map(Sites)
    }
}

fn site(text: &str) -> Result<Site, String> {
    let wrong = || format!("{text:?}: CHAIN:NUMBER or CHAIN:FROM-TO is needed, as in A:10-20");
    let (chain, numbers) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |t: &str| t.trim().parse::<i32>().map_err(|_| wrong());
    // The first number may have a sign of its own.
    let dash = numbers.char_indices().skip(1).find(|(_, c)| *c == '-');
    let (from, to) = match dash {
        Some((at, _)) => (number(&numbers[..at])?, number(&numbers[at + 1..])?),
        None => (number(numbers)?, number(numbers)?),
    };
    match from <= to {
        true => Ok(Site {
            chain: chain.to_string(),
            from,
            to,
        }),
        false => Err(format!("{text:?}: {from} comes after {to}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residue(chain: &str, number: i32) -> Residue {
        Residue {
            chain: chain.into(),
            number,
            ..Residue::default()
        }
    }

    #[test]
    fn places_are_read_as_users_write_them() {
        let sites: Sites = "A:10-12,B:5, C:-3--1,:7".parse().unwrap();
        for (chain, number, chosen) in [
            ("A", 9, false),
            ("A", 10, true),
            ("A", 12, true),
            ("A", 13, false),
            ("B", 5, true),
            ("B", 10, false),
            ("C", -3, true),
            ("C", 0, false),
            ("", 7, true),
        ] {
            assert_eq!(
                sites.have(&residue(chain, number)),
                chosen,
                "{chain}:{number}"
            );
        }
        let both = Sites::chain("D").and(sites);
        assert!(both.have(&residue("D", -900)) && both.have(&residue("B", 5)));
        assert!(Sites::default().have(&residue("X", 1)));
        assert_eq!(both.to_string(), "D,A:10-12,B:5,C:-3--1,:7");
        for wrong in ["", "A", "A:", "A:x", "A:5-", "A:9-3", "A:1,,B:2"] {
            assert!(wrong.parse::<Sites>().is_err(), "{wrong}");
        }
    }
}
