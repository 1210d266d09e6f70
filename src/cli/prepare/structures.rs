//! `holosig prepare structures`.

use crate::comm::World;
use crate::data::Split;
use crate::data::choice::Choice;
use crate::data::dataset::{Chosen, Dataset};
use crate::data::prepare::{Fractions, Skipped, collect, list_files};
use crate::data::proteinnet;
use crate::data::structure::{Elements, Models, ReadOptions, id_of};
use crate::{Error, Result, store};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Structure files (PDB or mmCIF, gzipped or not), folders of them, or @LIST
    #[arg(required_unless_present = "backbone", value_name = "FILE|FOLDER|@LIST")]
    inputs: Vec<PathBuf>,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Models to read of each file
    #[arg(long, value_enum, default_value_t)]
    models: Models,
    /// Leave out ligands, ions and modified residues
    #[arg(long)]
    no_hetero: bool,
    /// Keep hydrogen atoms
    #[arg(long)]
    hydrogens: bool,
    /// What counts as an atom's element
    #[arg(long, value_enum, default_value_t)]
    elements: Elements,
    /// Take only what these ProteinNet files name, with their splits (by the files' names:
    /// training_30, validation, testing, ..)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    proteinnet: Vec<PathBuf>,
    /// Split of all --proteinnet files, whatever their names
    #[arg(long, value_name = "SPLIT", requires = "proteinnet")]
    split_name: Option<Split>,
    /// Make structures of the ProteinNet files' own N, CA and C coordinates
    #[arg(long, requires = "proteinnet", conflicts_with_all = ["inputs", "splits"])]
    backbone: bool,
    /// Take only what this table names (columns id, split and, optionally, chain)
    #[arg(long, value_name = "CSV", conflicts_with = "proteinnet")]
    splits: Option<PathBuf>,
    /// Write the ids of the ProteinNet files or the table that no input has, one a line
    #[arg(long, value_name = "FILE")]
    missing: Option<PathBuf>,
    /// Part of the structures for validation, where no splits are given
    #[arg(long, default_value_t = 0.1, value_name = "FRACTION")]
    validation: f64,
    /// Part of the structures for test, where no splits are given
    #[arg(long, default_value_t = 0.1, value_name = "FRACTION")]
    test: f64,
    /// Seed of the split by chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop at the first file that cannot be used
    #[arg(long)]
    strict: bool,
}

/// How the dataset was made, as it is kept in the file.
#[derive(serde::Serialize)]
struct Kept<'a> {
    read: &'a ReadOptions,
    split: SplitBy,
}

/// Where the splits come from.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum SplitBy {
    Chance(Fractions),
    Files { from: Vec<String> },
}

pub fn run(args: Args) -> Result<()> {
    let read = ReadOptions {
        models: args.models,
        hetero: !args.no_hetero,
        hydrogens: args.hydrogens,
        elements: args.elements,
    };
    let fractions = Fractions {
        validation: args.validation,
        test: args.test,
        seed: args.seed,
    };
    fractions.validate()?;
    World::run(|world| {
        let named = world.agree(args.proteinnet_files())?;
        let (chosen, skipped, files) = if args.backbone {
            let records = world.on_root(|| proteinnet::structures(&named))?;
            (records.unwrap_or_default(), Vec::new(), named.len())
        } else {
            from_files(world, &args, &named, &read, fractions)?
        };
        let skipped = world.on_root(|| {
            let split = match args.split_sources() {
                from if from.is_empty() => SplitBy::Chance(fractions),
                from => SplitBy::Files { from },
            };
            let kept = toml::to_string(&Kept { read: &read, split }).map_err(Error::internal)?;
            finish(&args, &chosen, &skipped, &kept, files)
        })?;
        // Every rank ends with the same exit code.
        match world.broadcast(vec![skipped.unwrap_or(0) as u64])[0] {
            0 => Ok(()),
            n => world.agree(Err(Error::Partial {
                skipped: n,
                of: files as u64,
            })),
        }
    })
}

impl Args {
    /// The ProteinNet files with their splits.
    fn proteinnet_files(&self) -> Result<Vec<(PathBuf, Split)>> {
        let split = |path: &PathBuf| {
            self.split_name
                .map_or_else(|| proteinnet::split_of(path), Ok)
        };
        self.proteinnet
            .iter()
            .map(|p| Ok((p.clone(), split(p)?)))
            .collect()
    }

    /// Names of the files that decide the splits.
    fn split_sources(&self) -> Vec<String> {
        let name = |p: &PathBuf| {
            p.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        self.proteinnet
            .iter()
            .chain(&self.splits)
            .map(name)
            .collect()
    }

    fn choice(&self, named: &[(PathBuf, Split)]) -> Result<Option<Choice>> {
        match &self.splits {
            Some(table) => Choice::from_csv(table).map(Some),
            None if named.is_empty() => Ok(None),
            None => Choice::from_proteinnet(named).map(Some),
        }
    }
}

/// Structures of the input files that are wanted, those skipped, and how many files were read.
/// The structures are on rank 0. Collective.
fn from_files(
    world: &World,
    args: &Args,
    named: &[(PathBuf, Split)],
    read: &ReadOptions,
    fractions: Fractions,
) -> Result<(Vec<Chosen>, Vec<Skipped>, usize)> {
    let mut files = world.agree(list_files(&args.inputs))?;
    let choice = world.agree(args.choice(named))?;
    if let Some(choice) = &choice {
        let ids: Vec<String> = files.iter().map(|f| id_of(f)).collect();
        let missing = choice.missing(ids.iter().map(String::as_str));
        world.on_root(|| tell_missing(args, choice, &missing))?;
        files.retain(|f| choice.find(&id_of(f)).is_some());
    }
    let bar = progress_bar(world, files.len());
    let collected = collect(world, &files, read, args.strict, |done| {
        bar.set_position(done as u64)
    })?;
    bar.finish_and_clear();
    let chosen = collected.structures.into_iter().map(|structure| {
        // `ID:MODEL` goes where its file goes.
        let id = structure.id.split(':').next().unwrap_or_default();
        let (split, chains) = match &choice {
            Some(choice) => choice.find(id).unwrap_or((Split::Train, None)),
            None => (fractions.split(id), None),
        };
        Chosen {
            structure,
            split,
            chains,
        }
    });
    Ok((chosen.collect(), collected.skipped, files.len()))
}

/// Ids shown of those that no input file has.
const SHOWN: usize = 10;

fn tell_missing(args: &Args, choice: &Choice, missing: &[String]) -> Result<()> {
    if let Some(path) = &args.missing {
        let lines: String = missing.iter().map(|id| format!("{id}\n")).collect();
        store::write_bytes(path, lines.as_bytes())?;
    }
    if !missing.is_empty() {
        let more = if missing.len() > SHOWN { ", .." } else { "" };
        let shown = missing[..missing.len().min(SHOWN)].join(", ");
        log::warn!(
            "{} of {} entries have no input file: {shown}{more}",
            missing.len(),
            choice.len()
        );
    }
    if missing.len() == choice.len() {
        return Err(Error::input(
            "none of the entries asked for is among the input files",
        ));
    }
    Ok(())
}

fn progress_bar(world: &World, files: usize) -> ProgressBar {
    if !world.is_root() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{elapsed} [{wide_bar}] {pos}/{len} files, ETA {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// On rank 0: writes the file and tells what is in it; returns how many files were skipped.
fn finish(
    args: &Args,
    chosen: &[Chosen],
    skipped: &[Skipped],
    kept: &str,
    files: usize,
) -> Result<usize> {
    for s in skipped {
        log::warn!("skipped: {}", s.reason);
    }
    if chosen.is_empty() {
        return Err(Error::input(format!(
            "none of the {files} files could be used: {} is not written",
            args.out.display()
        )));
    }
    let dataset = Dataset::pack(chosen, kept)?;
    let digest = dataset.write(&args.out)?;
    println!(
        "{}: {} structures of {files} files, {} atoms",
        args.out.display(),
        dataset.structures().len(),
        dataset.atom_count()
    );
    let counts: Vec<String> = Split::ALL
        .iter()
        .map(|&s| format!("{} {s}", dataset.split(s).len()))
        .collect();
    println!(
        "{} neighborhoods: {}; fingerprint {digest}",
        dataset.len(),
        counts.join(", ")
    );
    Ok(skipped.len())
}
