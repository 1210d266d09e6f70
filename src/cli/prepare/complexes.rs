//! `holosig prepare complexes`.

use super::progress::Progress;
use crate::cli::places::Overwrite;
use crate::cli::pockets::Source;
use crate::comm::World;
use crate::data::Split;
use crate::data::complexes::{Centres, Entry, Packing, Reader, clusters};
use crate::data::dataset::{Chosen, Dataset};
use crate::data::prepare::Fractions;
use crate::data::structure::{Notes, ReadOptions};
use crate::print::count;
use crate::store::{Kind, Output};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Complexes that a rank reads at a time, its cores side by side.
const GROUP: usize = 16;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Atoms on which neighborhoods are centred
    #[arg(long, value_enum, default_value_t)]
    centres: Centres,
    /// Å between a residue's CA and the nearest heavy atom of the ligand
    #[arg(long, default_value_t = 10.0)]
    cutoff: f64,
    /// Leave out atoms farther than this from the ligand, in Å: at least the cutoff and the radius
    /// of the neighborhoods together
    #[arg(long, default_value_t = 22.0)]
    reach: f64,
    /// Dataset files of `holosig prepare` whose structures are trained on as well
    #[arg(long, value_name = "FILE", num_args = 1..)]
    with: Vec<PathBuf>,
    /// Part of the complexes for validation, where the source has no splits
    #[arg(long, default_value_t = 0.1, value_name = "FRACTION")]
    validation: f64,
    /// Part of the complexes for test, where the source has no splits
    #[arg(long, default_value_t = 0.1, value_name = "FRACTION")]
    test: f64,
    /// Seed of the split by chance: groups, of the source or by sequence, stay together
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop at the first complex that cannot be used
    #[arg(long)]
    strict: bool,
}

/// How the dataset was made, as it is kept in the file.
#[derive(serde::Serialize)]
struct Kept<'a> {
    read: ReadOptions,
    complexes: Packing,
    split: Fractions,
    groups: Groups,
    with: Vec<&'a Path>,
}

/// Where the groups of complexes come from.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Groups {
    /// The source names them.
    Source,
    /// Like proteins ([`clusters`]), where it names none.
    Sequences,
}

/// Where the splits of complexes come from.
#[derive(Clone, Copy, PartialEq)]
enum Splits {
    Source,
    /// The source has none at all: they are drawn when the groups are known.
    Drawn,
}

impl Splits {
    fn of(entries: &[Entry]) -> Self {
        match entries.iter().any(|e| e.split.is_some()) {
            true => Self::Source,
            false => Self::Drawn,
        }
    }
}

/// Groups complexes by their sequences, where the source has no groups.
fn group(chosen: &mut [Chosen], sequences: &[Vec<String>]) -> Groups {
    let mut bound: Vec<_> = chosen
        .iter_mut()
        .filter_map(|c| c.complex.as_mut())
        .collect();
    if bound.iter().any(|c| c.group.is_some()) {
        return Groups::Source;
    }
    let clusters = clusters::clusters(sequences);
    for (complex, cluster) in bound.iter_mut().zip(clusters) {
        complex.group = Some(cluster.to_string());
    }
    Groups::Sequences
}

/// A complex as a structure, and the sequences of the chains of its pocket.
type Outcome = std::result::Result<(Chosen, Vec<String>), String>;

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Dataset)]);
        let with = args.with.iter().map(PathBuf::as_path);
        let inputs: Vec<&Path> = args.source.inputs().into_iter().chain(with).collect();
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        world.agree(args.check())?;
        let listing = args.source.listing(world)?;
        let total = listing.entries.len();
        let splits = Splits::of(&listing.entries);
        let progress = Progress::new(world.is_root(), total, "complexes");
        let reader = Reader::default();
        let (mut chosen, mut sequences, mut skipped) = (Vec::new(), Vec::new(), 0);
        world.ordered(
            total,
            GROUP,
            |group| {
                let read = |i: usize| args.read(&reader, &listing.entries[i], splits);
                Ok(group.into_par_iter().map(read).collect::<Vec<Outcome>>())
            },
            |group, outcomes: Vec<Outcome>| {
                for (i, outcome) in group.clone().zip(outcomes) {
                    let id = &listing.entries[i].id;
                    match outcome {
                        Ok((structure, chains)) => {
                            chosen.push(structure);
                            sequences.push(chains);
                        }
                        Err(reason) if args.strict => {
                            return Err(Error::input(format!("complex {id}: {reason}")));
                        }
                        Err(reason) => {
                            log::warn!("skipped complex {id}: {reason}");
                            skipped += 1;
                        }
                    }
                }
                progress.at(group.end);
                Ok(())
            },
        )?;
        drop(progress);
        let partial = world.on_root(|| {
            let groups = group(&mut chosen, &sequences);
            if splits == Splits::Drawn {
                args.draw(&mut chosen);
            }
            args.write(&chosen, groups)?;
            match skipped {
                0 => Ok(()),
                skipped => Err(Error::Partial {
                    skipped,
                    of: total as u64,
                }),
            }
        });
        partial.map(drop)
    })
}

impl Args {
    fn packing(&self) -> Packing {
        Packing {
            centres: self.centres,
            cutoff: self.cutoff,
            reach: self.reach,
        }
    }

    fn fractions(&self) -> Fractions {
        Fractions {
            validation: self.validation,
            test: self.test,
            seed: self.seed,
        }
    }

    fn check(&self) -> Result<()> {
        for (name, length) in [("--cutoff", self.cutoff), ("--reach", self.reach)] {
            if !(length.is_finite() && length > 0.0) {
                return Err(Error::input(format!(
                    "{name} {length}: must be a positive length in Å"
                )));
            }
        }
        self.fractions().validate()
    }

    /// Draws the split of complexes by their groups, or by themselves.
    fn draw(&self, chosen: &mut [Chosen]) {
        let fractions = self.fractions();
        for complex in chosen {
            let bound = complex.complex.as_ref();
            let group = bound.and_then(|c| c.group.as_deref());
            complex.split = fractions.split(group.unwrap_or(&complex.structure.id));
        }
    }

    fn read(&self, reader: &Reader, entry: &Entry, splits: Splits) -> Outcome {
        let split = match splits {
            Splits::Source => entry.split,
            Splits::Drawn => Some(Split::Train),
        };
        let split = split.ok_or("no split, where other complexes have one")?;
        let complex = reader
            .read(entry, &ReadOptions::default())
            .map_err(|e| e.to_string())?;
        let pocket = Centres::Ca.of(&complex, self.cutoff).centres;
        let sequences = clusters::sequences(&complex.structure, &pocket);
        let mut chosen = complex.packed(&entry.id, split, &self.packing())?;
        if let Some(bound) = &mut chosen.complex {
            bound.affinity = entry.affinity.or(bound.affinity);
            bound.group = entry.group.clone().filter(|name| !name.is_empty());
        }
        Ok((chosen, sequences))
    }

    fn write(&self, chosen: &[Chosen], groups: Groups) -> Result<()> {
        if chosen.is_empty() {
            return Err(Error::input(format!(
                "no complex can be used: {} is not written",
                self.out.display()
            )));
        }
        let kept = Kept {
            read: ReadOptions::default(),
            complexes: self.packing(),
            split: self.fractions(),
            groups,
            with: self.with.iter().map(PathBuf::as_path).collect(),
        };
        let settings = toml::to_string(&kept).map_err(Error::internal)?;
        let mut dataset = Dataset::pack(chosen, &settings)?;
        for path in &self.with {
            let other = Dataset::open(path)?;
            dataset.append(other).map_err(|e| Error::file(path, e))?;
        }
        let digest = dataset.write(&self.out)?;
        crate::say!(
            "{}: {} and {} without a ligand, {}",
            self.out.display(),
            count(chosen.len(), "complex"),
            count(dataset.structures().len() - chosen.len(), "structure"),
            count(dataset.atom_count(), "atom")
        );
        Notes::sum(chosen.iter().map(|c| &c.structure.notes)).tell();
        let shares = Split::ALL.map(|s| format!("{} {s}", dataset.split(s).len()));
        crate::say!(
            "{}: {}; fingerprint {digest}",
            count(dataset.len(), "neighborhood"),
            shares.join(", ")
        );
        for split in [Split::Train, Split::Validation] {
            if dataset.split(split).is_empty() {
                log::warn!("no structure is for {split}: training needs some");
            }
        }
        Ok(())
    }
}
