//! `holosig prepare structures`.

use super::progress::Progress;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::Split;
use crate::data::choice::Choice;
use crate::data::dataset::Dataset;
use crate::data::prepare::{Collected, Fractions, Skipped, StructureFile, collect, list_files};
use crate::data::proteinnet;
use crate::data::selection::{Selected, Selection};
use crate::data::structure::{Elements, Models, Notes, ReadOptions, is_entry};
use crate::store::{Content, Kind, Output, write_bytes};
use crate::{Error, Result, print};
use std::path::{Path, PathBuf};

const EXIT_CODES: &str = "Exit codes: 0, every file was used; 3, the dataset is written, but some \
    files could not be used and are named; 2, bad input, nothing is written; 1, any other failure.";

/// The first line of the list of missing structures.
const MISSING: &str = "# ids without a structure (holosig prepare structures)";

#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Structure files (PDB or mmCIF, gzipped or not), folders of them, or @LIST
    #[arg(required_unless_present = "backbone", value_name = "FILE|FOLDER|@LIST")]
    inputs: Vec<PathBuf>,
    /// Look up inputs that are PDB ids (1abc, also in @LIST) in this folder: plain, or in the layout
    /// of the archive (divided/pdb/ab/pdb1abc.ent.gz)
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Take only what the records of these ProteinNet files name, with their splits
    #[arg(long, value_name = "FILE", num_args = 1..)]
    proteinnet: Vec<PathBuf>,
    /// Split of the ProteinNet files, if their names (training_30, validation, testing) do not
    /// tell it: once for all of them, or once for each in turn
    #[arg(long, value_name = "SPLIT", requires = "proteinnet")]
    split_name: Vec<Split>,
    /// CSV file that chooses structures: columns id, split and, if wanted, chain
    #[arg(long, value_name = "FILE", conflicts_with = "proteinnet")]
    splits: Option<PathBuf>,
    /// Take the coordinates of N, CA and C from the ProteinNet files themselves
    #[arg(long, requires = "proteinnet", conflicts_with = "inputs")]
    backbone: bool,
    /// Write the ids that ProteinNet or CSV files name and no structure has to this file
    #[arg(long, value_name = "FILE")]
    missing: Option<PathBuf>,
    /// Models to read of each file
    #[arg(long, value_enum, default_value_t)]
    models: Models,
    /// Leave out ligands, ions and modified residues
    #[arg(long)]
    no_hetero: bool,
    /// Count modified amino acids (MSE, SEP, TPO, ...) as those that they were made of, so that
    /// their CA atoms are centres; names of force fields (HIE, CYX, ...) always count so
    #[arg(long)]
    modified: bool,
    /// Leave out atoms of a confidence below this (pLDDT of 0 to 100, in the column of the B
    /// factors): for predicted models
    #[arg(long, value_name = "PLDDT")]
    min_plddt: Option<f32>,
    /// Keep hydrogen atoms
    #[arg(long)]
    hydrogens: bool,
    /// What counts as an atom's element
    #[arg(long, value_enum, default_value_t)]
    elements: Elements,
    /// Part of the structures for validation, where no file names splits
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
    split: KeptSplit,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum KeptSplit {
    Chance(Fractions),
    Listed { files: Vec<String> },
}

/// What rank 0 plans before any structure is read.
struct Plan {
    selection: Selection,
    files: Vec<StructureFile>,
    /// Files that hold nothing wanted.
    others: usize,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let _claim = args
            .overwrite
            .claim(world, || args.outputs(), &args.outside())?;
        if args.backbone {
            return world.on_root(|| args.pack_backbones()).map(drop);
        }
        // Rank 0 reads the lists, which can be huge, and tells the others the files.
        let mut plan = None;
        let files = world.broadcast_value(|| {
            let plan = plan.insert(args.plan()?);
            Ok(plan.files.clone())
        })?;
        let progress = Progress::new(world.is_root(), files.len(), "files");
        let collected = collect(world, &files, &args.read_options(), args.strict, |done| {
            progress.at(done)
        })?;
        drop(progress);
        let partial = world.on_root(|| match plan {
            Some(plan) => args.finish(plan, collected),
            None => Ok(()),
        });
        partial.map(drop)
    })
}

impl Args {
    fn outputs(&self) -> Result<Vec<Output>> {
        let missing = Content::marked("a list of missing structures of holosig", MISSING);
        let missing = self.missing.iter().map(|p| Output::new(p, missing.clone()));
        let dataset = Output::new(&self.out, Kind::Dataset);
        Ok([dataset].into_iter().chain(missing).collect())
    }

    /// All files that are read, as far as the command line names them.
    fn outside(&self) -> Vec<&Path> {
        let lists = self.proteinnet.iter().chain(&self.splits);
        self.inputs
            .iter()
            .chain(lists)
            .map(PathBuf::as_path)
            .collect()
    }

    fn read_options(&self) -> ReadOptions {
        ReadOptions {
            models: self.models,
            hetero: !self.no_hetero,
            hydrogens: self.hydrogens,
            modified: self.modified,
            min_plddt: self.min_plddt,
            elements: self.elements,
            names: false,
        }
    }

    fn fractions(&self) -> Fractions {
        Fractions {
            validation: self.validation,
            test: self.test,
            seed: self.seed,
        }
    }

    fn plan(&self) -> Result<Plan> {
        if self.min_plddt.is_some_and(|p| !(0.0..=100.0).contains(&p)) {
            return Err(Error::input(
                "--min-plddt: a number from 0 to 100 is needed",
            ));
        }
        let files = list_files(&self.inputs, self.from.as_deref())?;
        let selection = match (&self.splits, &self.proteinnet[..]) {
            (Some(table), _) => Selection::Listed(Choice::from_csv(table)?),
            (None, []) => {
                self.fractions().validate()?;
                Selection::Chance(self.fractions())
            }
            (None, _) => Selection::Listed(Choice::from_proteinnet(&self.proteinnet_files()?)?),
        };
        let (files, others) = selection.files(files);
        Ok(Plan {
            selection,
            files,
            others,
        })
    }

    /// The ProteinNet files with their splits.
    fn proteinnet_files(&self) -> Result<Vec<(&Path, Split)>> {
        let (files, given) = (&self.proteinnet, &self.split_name);
        if given.len() > 1 && given.len() != files.len() {
            return Err(Error::input(format!(
                "--split-name is given {} times for {} ProteinNet files: give it once for all or \
                 once for each",
                given.len(),
                files.len()
            )));
        }
        let with_split = |(i, file): (usize, &'_ PathBuf)| -> Result<Split> {
            match given.get(i).or_else(|| given.last()) {
                Some(split) => Ok(*split),
                None => proteinnet::split_of(file),
            }
        };
        let splits = files.iter().enumerate().map(with_split);
        let splits = splits.collect::<Result<Vec<Split>>>()?;
        Ok(files.iter().map(PathBuf::as_path).zip(splits).collect())
    }

    /// How the dataset was made, as TOML.
    fn kept(&self) -> Result<String> {
        let lists: Vec<String> = self
            .proteinnet
            .iter()
            .chain(&self.splits)
            .map(|f| {
                f.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        let split = match lists.is_empty() {
            true => KeptSplit::Chance(self.fractions()),
            false => KeptSplit::Listed { files: lists },
        };
        let read = &self.read_options();
        toml::to_string(&Kept { read, split }).map_err(Error::internal)
    }

    fn pack_backbones(&self) -> Result<()> {
        let chosen = proteinnet::structures(&self.proteinnet_files()?)?;
        if chosen.is_empty() {
            return Err(Error::input(format!(
                "no record has coordinates: {} is not written",
                self.out.display()
            )));
        }
        self.write(&Selected {
            chosen,
            missing: Vec::new(),
        })
    }

    /// Writes the file and tells what is in it and what is not.
    fn finish(&self, plan: Plan, collected: Collected) -> Result<()> {
        for s in &collected.skipped {
            log::warn!("skipped: {}", s.reason);
        }
        let (skipped, of) = (collected.skipped.len(), plan.files.len());
        let selected = plan.selection.select(collected.structures);
        if selected.chosen.is_empty() {
            let is_id = |s: &Skipped| {
                s.file
                    .file_name()
                    .is_some_and(|n| is_entry(&n.to_string_lossy()))
            };
            let hint = match self.from.is_none() && collected.skipped.iter().any(is_id) {
                true => "; --from FOLDER looks up PDB ids",
                false => "",
            };
            return Err(Error::input(format!(
                "nothing to pack ({} tried, {skipped} skipped, {} more in no list): {} is not \
                 written{hint}",
                print::count(of, "file"),
                plan.others,
                self.out.display()
            )));
        }
        self.write(&selected)?;
        if plan.others > 0 {
            crate::say!("{} in no list", print::count(plan.others, "file"));
        }
        match skipped as u64 {
            0 => Ok(()),
            skipped => Err(Error::Partial {
                skipped,
                of: of as u64,
            }),
        }
    }

    fn write(&self, selected: &Selected) -> Result<()> {
        let dataset = Dataset::pack(&selected.chosen, &self.kept()?)?;
        let digest = dataset.write(&self.out)?;
        crate::say!(
            "{}: {}, {}",
            self.out.display(),
            print::count(dataset.structures().len(), "structure"),
            print::count(dataset.atom_count(), "atom")
        );
        let count = |s: Split| format!("{} {s}", dataset.split(s).len());
        crate::say!(
            "{}: {}; fingerprint {digest}",
            print::count(dataset.len(), "neighborhood"),
            Split::ALL.map(count).join(", ")
        );
        Notes::sum(selected.chosen.iter().map(|c| &c.structure.notes)).tell();
        self.tell_shares(&dataset);
        for split in [Split::Train, Split::Validation] {
            if dataset.split(split).is_empty() {
                log::warn!("no structure is for {split}: training needs some");
            }
        }
        self.tell_missing(&selected.missing)
    }

    /// Whole structures are dealt, so that few or unequal ones miss the shares.
    fn tell_shares(&self, dataset: &Dataset) {
        let by_chance = self.splits.is_none() && self.proteinnet.is_empty();
        if !by_chance || dataset.is_empty() {
            return;
        }
        let share = |s: Split| 100.0 * dataset.split(s).len() as f64 / dataset.len() as f64;
        crate::say!(
            "by chance and by whole structures: {:.0} % for validation ({:.0} % asked for), {:.0} % \
             for test ({:.0} %)",
            share(Split::Validation),
            100.0 * self.validation,
            share(Split::Test),
            100.0 * self.test
        );
    }

    fn tell_missing(&self, missing: &[String]) -> Result<()> {
        const SHOWN: usize = 10;
        if let Some(path) = &self.missing {
            let ids: String = missing.iter().map(|id| format!("{id}\n")).collect();
            write_bytes(path, format!("{MISSING}\n{ids}").as_bytes())?;
        }
        if !missing.is_empty() {
            let shown = missing[..missing.len().min(SHOWN)].join(", ");
            let more = if missing.len() > SHOWN { ", ..." } else { "" };
            crate::say!("{} without a structure: {shown}{more}", missing.len());
        }
        Ok(())
    }
}
