//! A choice of residues in which every type has an equal share.

use super::dataset::Dataset;
use super::sampler::Permutation;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// `n` of `centres`, ascending: every residue type that occurs gives an equal share (the first
/// types in alphabetical order one more where `n` does not divide), chosen by `seed`. A larger
/// `n` keeps the residues of a smaller one.
///
/// # Errors
/// No centres, `n` = 0, a type with fewer residues than its share: the largest possible `n` is
/// named.
pub fn balanced(dataset: &Dataset, centres: &[u32], n: usize, seed: u64) -> Result<Vec<u32>> {
    let mut types: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for &centre in centres {
        let name = dataset.residue(centre).residue.name.as_str();
        types.entry(name).or_default().push(centre);
    }
    if n == 0 || types.is_empty() {
        return Err(Error::input(format!(
            "{n} of {} residues: nothing to choose",
            centres.len()
        )));
    }
    let mut chosen = Vec::with_capacity(n.min(centres.len()));
    for (i, (name, members)) in types.iter().enumerate() {
        let share = n / types.len() + usize::from(i < n % types.len());
        if share > members.len() {
            let fewest = types.values().map(Vec::len).min().unwrap_or(0);
            return Err(Error::input(format!(
                "{n} residues of {} types in equal shares need {share} of {name}, where there \
                 are {}: ask for {} or fewer",
                types.len(),
                members.len(),
                fewest * types.len()
            )));
        }
        let order = Permutation::new(members.len() as u64, seed.wrapping_add(i as u64));
        chosen.extend((0..share as u64).map(|k| members[order.at(k) as usize]));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::data::dataset::Chosen;
    use crate::data::structure::Structure;
    use crate::data::system::{Residue, System};

    /// A structure of 12 residues: six ALA, four GLY, two TRP.
    fn dataset() -> Dataset {
        let names = ["ALA", "GLY", "ALA", "TRP", "ALA", "GLY"].repeat(2);
        let residue = |(i, name): (usize, &&str)| Residue {
            number: i as i32,
            name: (*name).into(),
            ..Residue::default()
        };
        let n = names.len();
        let structure = Structure {
            id: "a".into(),
            file: "a.pdb".into(),
            format: "pdb".into(),
            digest: 0,
            model: 1,
            system: System {
                positions: (0..n).map(|i| [i as f32, 0.0, 0.0]).collect(),
                numbers: vec![6; n],
                residue_of: (0..n as u32).collect(),
                residues: names.iter().enumerate().map(residue).collect(),
                ..System::default()
            },
            centres: (0..n as u32).collect(),
            notes: Default::default(),
        };
        let chosen = Chosen {
            structure,
            split: Split::Train,
            chains: None,
            complex: None,
        };
        Dataset::pack(&[chosen], "").unwrap()
    }

    #[test]
    fn types_have_equal_shares_and_small_choices_are_parts_of_large_ones() {
        let d = dataset();
        let all: Vec<u32> = (0..12).collect();
        let count = |chosen: &[u32], name: &str| {
            let names = chosen.iter().map(|&c| d.residue(c).residue.name);
            names.filter(|n| n.as_str() == name).count()
        };
        let five = balanced(&d, &all, 5, 7).unwrap();
        assert_eq!(five.len(), 5);
        let shares = ["ALA", "GLY", "TRP"].map(|name| count(&five, name));
        assert_eq!(shares, [2, 2, 1]);
        let six = balanced(&d, &all, 6, 7).unwrap();
        assert!(five.iter().all(|c| six.contains(c)));
        assert_eq!(six, balanced(&d, &all, 6, 7).unwrap());
        let others = (8..20).map(|seed| balanced(&d, &all, 5, seed).unwrap());
        assert!(others.into_iter().any(|o| o != five));
    }

    #[test]
    fn too_large_a_choice_names_the_type_and_the_limit() {
        let d = dataset();
        let all: Vec<u32> = (0..12).collect();
        let error = balanced(&d, &all, 9, 0).unwrap_err().to_string();
        assert!(
            error.contains("3 of TRP") && error.contains("ask for 6"),
            "{error}"
        );
        assert!(balanced(&d, &all, 0, 0).is_err());
        assert!(balanced(&d, &[], 3, 0).is_err());
    }
}
