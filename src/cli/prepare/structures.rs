//! `holosig prepare structures`.

use crate::comm::World;
use crate::data::Split;
use crate::data::dataset::Dataset;
use crate::data::prepare::{Collected, Fractions, collect, list_files};
use crate::data::structure::{Elements, Models, ReadOptions};
use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Structure files (PDB or mmCIF, gzipped or not), folders of them, or @LIST
    #[arg(required = true, value_name = "FILE|FOLDER|@LIST")]
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
    /// Part of the structures for validation
    #[arg(long, default_value_t = 0.1, value_name = "FRACTION")]
    validation: f64,
    /// Part of the structures for test
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
    split: Fractions,
}

pub fn run(args: Args) -> Result<()> {
    let read = ReadOptions {
        models: args.models,
        hetero: !args.no_hetero,
        hydrogens: args.hydrogens,
        elements: args.elements,
    };
    let split = Fractions {
        validation: args.validation,
        test: args.test,
        seed: args.seed,
    };
    split.validate()?;
    World::run(|world| {
        let files = world.agree(list_files(&args.inputs))?;
        let bar = progress_bar(world, files.len());
        let collected = collect(world, &files, &read, args.strict, |done| {
            bar.set_position(done as u64)
        })?;
        bar.finish_and_clear();
        let skipped = world.on_root(|| {
            let kept = toml::to_string(&Kept { read: &read, split }).map_err(Error::internal)?;
            finish(&args, collected, split, &kept, files.len())
        })?;
        // Every rank ends with the same exit code.
        match world.broadcast(vec![skipped.unwrap_or(0) as u64])[0] {
            0 => Ok(()),
            n => world.agree(Err(Error::Partial {
                skipped: n,
                of: files.len() as u64,
            })),
        }
    })
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
    collected: Collected,
    split: Fractions,
    kept: &str,
    files: usize,
) -> Result<usize> {
    for s in &collected.skipped {
        log::warn!("skipped: {}", s.reason);
    }
    if collected.structures.is_empty() {
        return Err(Error::input(format!(
            "none of the {files} files could be used: {} is not written",
            args.out.display()
        )));
    }
    let dataset = Dataset::pack(&split.assign(collected.structures), kept)?;
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
    Ok(collected.skipped.len())
}
