//! Which systems are trained on, which validate, and which test.
//!
//! Systems whose files name a split keep it. All others are dealt out whole groups at a time, so
//! that near copies of a system are not in two splits.

use super::Sample;
use crate::data::Split;
use crate::data::system::System;
use crate::data::table::Table;
use crate::{Error, Result};
use rand_mt::Mt;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// What is kept together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Together {
    /// Nothing: each system is a group of its own.
    #[default]
    Nothing,
    /// Systems of one origin: frames of a trajectory or file.
    Origin,
    /// Systems of the same elements in the same numbers.
    Formula,
    /// Molecules of the same rings and chains between rings (Bemis and Murcko 1996), by their bonds.
    Scaffold,
}

/// The order in which groups are dealt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// `numpy.random.RandomState(seed).permutation(groups)`: the published splits of QM9 and MD17
    /// come out with their seed, 42.
    #[default]
    Random,
    /// That of the files: training first, validation and test last.
    Files,
}

/// A number of systems, or a part of all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    Count(usize),
    Part(f64),
}

impl std::str::FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Amount::Count(count));
        }
        match text.parse() {
            Ok(part) if (0.0..1.0).contains(&part) => Ok(Amount::Part(part)),
            _ => Err("a number of systems, or a part of all below 1, is needed".into()),
        }
    }
}

impl Amount {
    fn of(self, all: usize) -> usize {
        match self {
            Amount::Count(count) => count,
            Amount::Part(part) => (part * all as f64).round() as usize,
        }
    }
}

/// How systems without a split are dealt out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub together: Together,
    pub order: Order,
    pub seed: u32,
    pub validation: Amount,
    pub test: Amount,
}

impl Plan {
    /// Geom3D's split of QM9: 110,000, 10,000 and the rest, by the permutation of seed 42.
    pub fn customized_01(systems: usize) -> Result<Self> {
        const FIRST: usize = 120_000;
        match systems.checked_sub(FIRST) {
            Some(test @ 1..) => Ok(Self {
                together: Together::Nothing,
                order: Order::Random,
                seed: 42,
                validation: Amount::Count(10_000),
                test: Amount::Count(test),
            }),
            _ => Err(Error::input(format!(
                "--customized-01 is for the 130,831 molecules of QM9; here are {systems}"
            ))),
        }
    }
}

/// A split for each sample. Where files name splits but none for validation, validation is taken
/// out of the training samples.
///
/// # Errors
/// A split for some samples and none for others; nothing left for training; scaffolds of molecules
/// without bonds.
pub fn assign(samples: &[Sample], plan: &Plan) -> Result<Vec<Split>> {
    let known: Vec<Option<Split>> = samples.iter().map(|s| s.split).collect();
    if known.iter().all(Option::is_none) {
        let all: Vec<usize> = (0..samples.len()).collect();
        return deal(samples, &all, plan, plan.test.of(all.len()));
    }
    let splits: Option<Vec<Split>> = known.iter().copied().collect();
    let Some(mut splits) = splits else {
        let missing = known.iter().position(Option::is_none).unwrap_or(0);
        return Err(Error::input(format!(
            "{} has no split, others have one: name all in a table (--splits)",
            samples[missing].id
        )));
    };
    if !splits.contains(&Split::Validation) {
        let train: Vec<usize> = (0..samples.len())
            .filter(|&i| splits[i] == Split::Train)
            .collect();
        let dealt = deal(samples, &train, plan, 0)?;
        train
            .into_iter()
            .zip(dealt)
            .for_each(|(i, s)| splits[i] = s);
    }
    Ok(splits)
}

/// Splits of the samples `of`, in their order.
fn deal(samples: &[Sample], of: &[usize], plan: &Plan, test: usize) -> Result<Vec<Split>> {
    let groups = groups(samples, of, plan.together)?;
    let validation = plan.validation.of(of.len());
    let Some(train) = of.len().checked_sub(validation + test).filter(|&n| n > 0) else {
        return Err(Error::input(format!(
            "{validation} systems for validation and {test} for test leave none of {} for training",
            of.len()
        )));
    };
    let order = match plan.order {
        Order::Random => permutation(groups.len(), plan.seed),
        Order::Files => (0..groups.len()).collect(),
    };
    let mut splits = vec![Split::Train; of.len()];
    let mut dealt = 0;
    for group in order {
        let split = match dealt {
            n if n < train => Split::Train,
            n if n < train + validation => Split::Validation,
            _ => Split::Test,
        };
        for &member in &groups[group] {
            splits[member] = split;
        }
        dealt += groups[group].len();
    }
    let needed = [(Split::Validation, validation), (Split::Test, test)];
    match needed.iter().find(|(s, n)| *n > 0 && !splits.contains(s)) {
        Some((split, _)) => Err(Error::input(format!(
            "{} groups are too few or too large: none is left for {split}",
            groups.len()
        ))),
        None => Ok(splits),
    }
}

/// Places in `of`, group by group, in the order in which groups first occur.
fn groups(samples: &[Sample], of: &[usize], together: Together) -> Result<Vec<Vec<usize>>> {
    if together == Together::Nothing {
        return Ok((0..of.len()).map(|i| vec![i]).collect());
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, &sample) in of.iter().enumerate() {
        let sample = &samples[sample];
        let key = match together {
            Together::Formula => sample.system.formula(),
            Together::Scaffold => scaffold(sample)?,
            _ => sample.group.clone(),
        };
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(i);
    }
    Ok(groups)
}

/// `numpy.random.RandomState(seed).permutation(n)` of NumPy's legacy generator: Fisher and Yates
/// from the end, each place drawn from as many bits as it needs until it fits.
pub fn permutation(n: usize, seed: u32) -> Vec<usize> {
    let mut random = Mt::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let mask = (i + 1).next_power_of_two() - 1;
        let j = loop {
            let j = random.next_u32() as usize & mask;
            if j <= i {
                break j;
            }
        };
        order.swap(i, j);
    }
    order
}

/// The rings of a molecule and the chains that join them, as a text that is the same for equal
/// ones: heavy atoms that are left when ends are taken off again and again, told apart by their
/// surroundings (as many rounds of refinement as there are atoms). Molecules without rings have
/// the empty scaffold.
///
/// # Errors
/// A molecule of several atoms without bonds.
fn scaffold(sample: &Sample) -> Result<String> {
    let system: &System<f64> = &sample.system;
    if system.bonds.is_empty() && system.len() > 1 {
        return Err(Error::input(format!(
            "{}: no bonds are known, and scaffolds are made of bonds",
            sample.id
        )));
    }
    let mut neighbors: Vec<Vec<usize>> = vec![Vec::new(); system.len()];
    for &[i, j] in &system.bonds {
        neighbors[i as usize].push(j as usize);
        neighbors[j as usize].push(i as usize);
    }
    let mut ends: Vec<usize> = (0..system.len())
        .filter(|&i| neighbors[i].len() < 2)
        .collect();
    let mut left = vec![true; system.len()];
    while let Some(end) = ends.pop() {
        left[end] = false;
        for other in std::mem::take(&mut neighbors[end]) {
            neighbors[other].retain(|&k| k != end);
            if neighbors[other].len() < 2 && left[other] {
                ends.push(other);
            }
        }
    }
    let hash = |words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        xxhash_rust::xxh3::xxh3_64(&bytes)
    };
    let kept: Vec<usize> = (0..system.len()).filter(|&i| left[i]).collect();
    let mut colors: Vec<u64> = system.numbers.iter().map(|&z| u64::from(z)).collect();
    for _ in 0..kept.len() {
        let next = kept.iter().map(|&i| {
            let mut around: Vec<u64> = neighbors[i].iter().map(|&k| colors[k]).collect();
            around.sort_unstable();
            around.push(colors[i]);
            hash(&around)
        });
        let next: Vec<u64> = next.collect();
        kept.iter()
            .zip(next)
            .for_each(|(&i, color)| colors[i] = color);
    }
    let mut all: Vec<u64> = kept.iter().map(|&i| colors[i]).collect();
    all.sort_unstable();
    Ok(match all.is_empty() {
        true => String::new(),
        false => format!("{:016x}", hash(&all)),
    })
}

/// Takes the splits of samples away if all have the same: nothing could be trained and validated.
/// Returns whether that was so.
pub fn forget_single(samples: &mut [Sample]) -> bool {
    let first = samples.first().and_then(|s| s.split);
    let single = first.is_some() && samples.iter().all(|s| s.split == first);
    if single {
        samples.iter_mut().for_each(|s| s.split = None);
    }
    single
}

/// Gives samples the splits of a table with columns `id` and `split`, and takes out those that it
/// does not name. Returns how many these are.
///
/// # Errors
/// A table that cannot be read; an id that no system has, or that stands there twice.
pub fn from_table(path: &Path, samples: &mut Vec<Sample>) -> Result<usize> {
    let table = Table::read(path)?;
    let (id, split) = (table.column("id")?, table.column("split")?);
    let places = samples.iter().enumerate();
    let mut places: HashMap<String, usize> = places.map(|(i, s)| (s.id.clone(), i)).collect();
    let mut splits: Vec<Option<Split>> = vec![None; samples.len()];
    for row in table.rows() {
        let name = row.filled(id)?;
        let Some(place) = places.remove(name) else {
            return Err(row.error(format!(
                "id {name:?}: no system of this name, or named twice"
            )));
        };
        splits[place] = Some(row.filled(split)?.parse().map_err(|e| row.error(e))?);
    }
    let before = samples.len();
    let mut given = splits.into_iter();
    samples.retain_mut(|sample| {
        sample.split = given.next().flatten();
        sample.split.is_some()
    });
    Ok(before - samples.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: usize, numbers: &[u8], bonds: &[[u32; 2]]) -> Sample {
        Sample {
            id: id.to_string(),
            group: (id / 4).to_string(),
            system: System {
                numbers: numbers.to_vec(),
                positions: (0..numbers.len()).map(|i| [i as f64, 0.0, 0.0]).collect(),
                bonds: bonds.to_vec(),
                ..System::default()
            },
            ..Sample::default()
        }
    }

    fn plan(together: Together, order: Order) -> Plan {
        Plan {
            together,
            order,
            seed: 42,
            validation: Amount::Part(0.2),
            test: Amount::Count(4),
        }
    }

    /// The numbers that the notebook of Geom3D prints for `customized_01`.
    #[test]
    fn the_published_split_of_qm9_comes_out() {
        let order = permutation(130_831, 42);
        assert_eq!(order[..3], [112_526, 100_113, 55_940]);
        assert_eq!(
            order[109_997..110_003],
            [62_969, 20_239, 83_098, 90_042, 89_438, 45_073]
        );
        assert_eq!(order[120_000..120_003], [24_143, 20_981, 30_492]);
        assert_eq!(order[130_828..], [860, 15_795, 121_958]);
        let plan = Plan::customized_01(130_831).unwrap();
        assert_eq!(plan.test, Amount::Count(10_831));
        assert!(Plan::customized_01(120_000).is_err());
    }

    #[test]
    fn groups_stay_together_and_amounts_are_met() {
        let samples: Vec<Sample> = (0..20).map(|i| sample(i, &[1], &[])).collect();
        for order in [Order::Random, Order::Files] {
            let splits = assign(&samples, &plan(Together::Origin, order)).unwrap();
            for group in splits.chunks(4) {
                assert!(group.iter().all(|s| *s == group[0]), "{splits:?}");
            }
            let count = |s| splits.iter().filter(|t| **t == s).count();
            assert_eq!(Split::ALL.map(count), [12, 4, 4]);
        }
        let splits = assign(&samples, &plan(Together::Nothing, Order::Files)).unwrap();
        assert_eq!(
            (splits[11], splits[12], splits[16]),
            (Split::Train, Split::Validation, Split::Test)
        );
        let whole = Plan {
            test: Amount::Count(17),
            ..plan(Together::Nothing, Order::Files)
        };
        assert!(
            assign(&samples, &whole)
                .unwrap_err()
                .to_string()
                .contains("leave none of 20")
        );
        // All of one formula.
        let error = assign(&samples, &plan(Together::Formula, Order::Random)).unwrap_err();
        assert!(
            error.to_string().contains("1 groups are too few"),
            "{error}"
        );
    }

    #[test]
    fn named_splits_stay() {
        let mut samples: Vec<Sample> = (0..20).map(|i| sample(i, &[1], &[])).collect();
        for (i, s) in samples.iter_mut().enumerate() {
            s.split = Some(if i < 10 { Split::Train } else { Split::Test });
        }
        let splits = assign(&samples, &plan(Together::Nothing, Order::Files)).unwrap();
        assert_eq!(splits[8..10], [Split::Validation; 2]);
        assert!(splits[10..].iter().all(|s| *s == Split::Test));
        assert!(!forget_single(&mut samples) && forget_single(&mut samples[..10]));
        samples.iter_mut().for_each(|s| s.split = Some(Split::Test));
        samples[3].split = None;
        let error = assign(&samples, &plan(Together::Nothing, Order::Files)).unwrap_err();
        assert!(error.to_string().starts_with("3 has no split"), "{error}");
    }

    #[test]
    fn scaffolds_are_rings_and_what_joins_them() {
        let ring = |from: u32, n: u32| (0..n).map(move |i| [from + i, from + (i + 1) % n]);
        let six: Vec<[u32; 2]> = ring(0, 6).collect();
        let of = |numbers: &[u8], bonds: &[[u32; 2]]| scaffold(&sample(0, numbers, bonds)).unwrap();
        let benzene = of(&[6; 6], &six);
        // Ends do not count, nor does the order of atoms.
        let toluene = of(
            &[6, 6, 6, 6, 6, 6, 6, 1],
            &[&six[..], &[[2, 6], [6, 7]]].concat(),
        );
        assert_eq!(benzene, toluene);
        let pyridine = of(&[6, 7, 6, 6, 6, 6], &six);
        assert_eq!(pyridine, of(&[6, 6, 6, 6, 7, 6], &six));
        assert_ne!(benzene, pyridine);
        let two: Vec<[u32; 2]> = six.iter().copied().chain(ring(6, 6)).collect();
        let joined = |by: &[[u32; 2]]| of(&[6; 14], &[&two[..], by].concat());
        assert_eq!(joined(&[[0, 6]]), joined(&[[3, 9]]));
        assert_ne!(joined(&[[0, 6]]), joined(&[[0, 12], [12, 6]]));
        assert_eq!(of(&[6, 6, 8], &[[0, 1], [1, 2]]), "");
        assert!(scaffold(&sample(0, &[6, 6], &[])).is_err());
    }
}
