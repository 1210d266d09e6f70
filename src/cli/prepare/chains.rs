//! `holosig prepare chains`.

use super::progress::Progress;
use crate::cli::places::{Overwrite, named};
use crate::comm::World;
use crate::data::Split;
use crate::data::chains::manifest::{self, Entry, Role};
use crate::data::chains::{Chains, Notes, Record, of_structure};
use crate::data::structure::{self, ReadOptions, Structure, read_any};
use crate::print::count;
use crate::store::{Kind, Output};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const EXIT_CODES: &str = "Exit codes: 0, every chain was used; 3, the dataset is written, but some \
    chains could not be used and are named (--skip); 2, bad input, nothing is written; 1, any other \
    failure.";

#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// CSV file of chains: columns id, file, split and label, and chain where files have several;
    /// labels of a chain are separated by semicolons
    table: PathBuf,
    /// Folder that the table's files are in [default: that of the table]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of a column of the table, such as label=fold; may be repeated
    #[arg(long, value_name = "ROLE=COLUMN", value_parser = role)]
    column: Vec<(Role, String)>,
    /// Leave out chains that cannot be used, and name them
    #[arg(long)]
    skip: bool,
    #[command(flatten)]
    overwrite: Overwrite,
}

fn role(text: &str) -> std::result::Result<(Role, String), String> {
    let (role, column) = text.split_once('=').ok_or("ROLE=COLUMN is needed")?;
    Ok((named(role)?, column.trim().into()))
}

/// How the dataset was made, as it is kept in the file.
#[derive(Serialize)]
struct Kept<'a> {
    read: &'a ReadOptions,
}

/// A chain, or why there is none.
#[derive(Serialize, Deserialize)]
enum Outcome {
    Chain(Record, Notes),
    Refused(String),
}

/// What its reader made of a file, and what came of the chains that rows ask for.
type File = (structure::Notes, Vec<Outcome>);

/// Files that one rank reads at a time.
const BLOCK: usize = 64;

fn options() -> ReadOptions {
    ReadOptions {
        modified: true,
        names: true,
        ..ReadOptions::default()
    }
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Chains)]);
        let _claim = args
            .overwrite
            .claim(world, outputs, &[args.table.as_path()])?;
        let entries: Vec<Entry> = world.broadcast_value(|| {
            manifest::read(&args.table, args.folder.as_deref(), &args.column)
        })?;
        // Rows of one file, one after another, so that it is read once.
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|&row| &entries[row].file);
        let files: Vec<&[usize]> = order
            .chunk_by(|&a, &b| entries[a].file == entries[b].file)
            .collect();
        let progress = Progress::new(world.is_root(), files.len(), "files");
        let mut chains: Vec<Option<Record>> = vec![None; entries.len()];
        let (mut notes, mut told, mut skipped) = (Notes::default(), structure::Notes::default(), 0);
        let block = files.len().div_ceil(world.size()).clamp(1, BLOCK);
        world.ordered(
            files.len(),
            block,
            |range| {
                let read = |rows: &&[usize]| of_file(&entries, rows, args.skip);
                let all: Vec<Result<File>> = files[range].par_iter().map(read).collect();
                all.into_iter().collect::<Result<Vec<File>>>()
            },
            |range, outcomes| {
                let rows = files[range.clone()].concat();
                let outcomes = outcomes.into_iter().flat_map(|(of_file, outcomes): File| {
                    told.merge(&of_file);
                    outcomes
                });
                for (row, outcome) in rows.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Chain(chain, own) => {
                            notes.add(own);
                            chains[row] = Some(chain);
                        }
                        Outcome::Refused(reason) => {
                            log::warn!("skipped: {reason}");
                            skipped += 1;
                        }
                    }
                }
                progress.at(range.end);
                Ok(())
            },
        )?;
        drop(progress);
        world.on_root(|| {
            let of = entries.len() as u64;
            let used = entries.into_iter().zip(chains);
            let used = used.filter_map(|(entry, chain)| Some((entry, chain?)));
            finish(&args.out, used.collect(), notes)?;
            told.tell();
            match skipped {
                0 => Ok(()),
                skipped => Err(Error::Partial { skipped, of }),
            }
        })?;
        Ok(())
    })
}

/// The chains of a file that rows of the table ask for.
fn of_file(entries: &[Entry], rows: &[usize], skip: bool) -> Result<File> {
    let path = &entries[rows[0]].file;
    let read = read_any(path, &options());
    let first = |structures: &[Structure], row: usize| -> Result<(Record, Notes)> {
        let entry = &entries[row];
        let of = of_structure(&structures[0], entry.chain.as_deref());
        of.map_err(|e| Error::file(path, format!("{}: {e}", entry.id)))
    };
    let outcome = |&row: &usize| {
        let chain = match &read {
            Ok(structures) => first(structures, row),
            Err(Error::Input(reason)) => Err(Error::input(reason.clone())),
            Err(e) => Err(Error::internal(e)),
        };
        match chain {
            Ok((record, notes)) => Ok(Outcome::Chain(record, notes)),
            Err(Error::Input(reason)) if skip => Ok(Outcome::Refused(reason)),
            Err(e) => Err(e),
        }
    };
    let outcomes = rows.iter().map(outcome).collect::<Result<_>>()?;
    let notes = read.iter().flatten().next().map(|s| s.notes.clone());
    Ok((notes.unwrap_or_default(), outcomes))
}

/// Writes the file and tells what is in it.
fn finish(out: &Path, chains: Vec<(Entry, Record)>, notes: Notes) -> Result<()> {
    if chains.is_empty() {
        let out = out.display();
        return Err(Error::input(format!("no chains: {out} is not written")));
    }
    let kept = toml::to_string(&Kept { read: &options() }).map_err(Error::internal)?;
    let chains = Chains::pack(chains, kept)?;
    let digest = chains.write(out)?;
    let shares = Split::ALL.map(|s| format!("{} {s}", chains.split(s).len()));
    crate::say!(
        "{}: {}, {}, {}: {}",
        out.display(),
        count(chains.len(), "chain"),
        count(chains.residue_count(), "residue"),
        count(chains.classes().len(), "class"),
        shares.join(", ")
    );
    for line in notes.lines() {
        crate::say!("{line}");
    }
    let unlabelled = (0..chains.len())
        .filter(|&i| chains.labels(i).is_empty())
        .count();
    if unlabelled > 0 {
        crate::say!("{} without a label", count(unlabelled, "chain"));
    }
    for split in [Split::Train, Split::Validation] {
        if chains.split(split).is_empty() {
            log::warn!("no chain is for {split}: training needs some");
        }
    }
    crate::say!("fingerprint: {digest}");
    Ok(())
}
