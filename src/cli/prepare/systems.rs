//! `holosig prepare systems`.

use super::progress::Progress;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::Split;
use crate::data::prepare::{Wanted, list_named};
use crate::data::structure::Notes;
use crate::data::systems::example;
use crate::data::systems::read::{self, Labels, Options, is_systems_name};
use crate::data::systems::split::{self, Amount, Order, Plan, Together};
use crate::data::systems::{Order as StressOrder, Sample, Systems};
use crate::print::count;
use crate::store::{Kind, Output};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

const EXIT_CODES: &str = "Exit codes: 0, every system was used; 3, the dataset is written, but some \
    systems or files could not be used and are named (--skip); 2, bad input, nothing is written; 1, any other \
    failure.";

#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Files of molecules or crystals, folders of them, or @LIST
    #[arg(
        required_unless_present = "quickstart",
        value_name = "FILE|FOLDER|@LIST"
    )]
    inputs: Vec<PathBuf>,
    /// Pack small molecules in a Morse potential, to try the program with, instead of files
    #[arg(long, conflicts_with = "inputs")]
    quickstart: bool,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Labels to read where a file has several
    #[arg(long, value_enum, default_value_t)]
    labels: Labels,
    /// Unit of a target that a file does not name, such as energy=kcal/mol; may be repeated
    #[arg(long, value_name = "TARGET=UNIT", value_parser = pair)]
    unit: Vec<(String, String)>,
    /// Order of six numbers of a stress where it is not the format's own, such as
    /// xx,yy,zz,xy,xz,yz
    #[arg(long, value_name = "ORDER")]
    stress_order: Option<StressOrder>,
    /// Convert an energy, and forces and stresses with it, such as energy=eV; a unit alone converts
    /// all energies; may be repeated
    #[arg(long, value_name = "[TARGET=]UNIT", value_parser = pair_or_unit)]
    convert: Vec<(String, String)>,
    /// CSV file of targets: a column id, and one for each target, named such as "gap (eV)"
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// CSV file that chooses systems: columns id and split
    #[arg(long, value_name = "FILE", conflicts_with = "customized_01")]
    splits: Option<PathBuf>,
    /// Systems for validation where no file names splits: a number, or a part of all
    #[arg(long, default_value = "0.1", value_name = "AMOUNT")]
    validation: Amount,
    /// Systems for test
    #[arg(long, default_value = "0.1", value_name = "AMOUNT")]
    test: Amount,
    /// What is never parted: near copies must not be in two splits
    #[arg(long, value_enum, default_value_t)]
    together: Together,
    /// Order in which systems are dealt to splits
    #[arg(long, value_enum, default_value_t)]
    order: Order,
    /// Seed of the random order (NumPy's legacy generator)
    #[arg(long, default_value_t = 42)]
    seed: u32,
    /// Geom3D's split of QM9: 110,000, 10,000 and the rest
    #[arg(long)]
    customized_01: bool,
    /// Leave out systems, and files, that cannot be used, and name them
    #[arg(long)]
    skip: bool,
    #[command(flatten)]
    overwrite: Overwrite,
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (target, unit) = text.split_once('=').ok_or("TARGET=UNIT is needed")?;
    Ok((target.trim().into(), unit.trim().into()))
}

fn pair_or_unit(text: &str) -> std::result::Result<(String, String), String> {
    match text.contains('=') {
        true => pair(text),
        false => Ok((String::new(), text.trim().into())),
    }
}

/// How the dataset was made, as it is kept in the file.
#[derive(serde::Serialize)]
struct Kept<'a> {
    read: &'a Options,
    split: &'a Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    splits: Option<String>,
}

/// The systems of a file, or why one of them, or all, cannot be used.
type Outcome = Vec<std::result::Result<Sample, String>>;

/// Files that one rank reads at a time.
const BLOCK: usize = 64;

pub fn run(args: Args) -> Result<()> {
    let options = args.options();
    World::run(|world| {
        let tables = args.targets.iter().chain(&args.splits);
        let inputs: Vec<&Path> = args
            .inputs
            .iter()
            .chain(tables)
            .map(PathBuf::as_path)
            .collect();
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Systems)]);
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        if args.quickstart {
            let samples = || example::samples(u64::from(args.seed));
            return world.on_root(|| args.finish(samples(), &options)).map(drop);
        }
        let files = world.broadcast_value(|| {
            options.check()?;
            let wanted = Wanted {
                is_one: is_systems_name,
                what: "files of systems in it",
                library: None,
            };
            list_named(&args.inputs, &wanted)
        })?;
        let progress = Progress::new(world.is_root(), files.len(), "files");
        let names = read::names(&files);
        let mut samples = Vec::new();
        let mut skipped = 0;
        let block = files.len().div_ceil(world.size()).clamp(1, BLOCK);
        world.ordered(
            files.len(),
            block,
            |range| {
                let own = files[range.clone()].par_iter().zip(&names[range]);
                let outcome =
                    |(path, name): (&PathBuf, &String)| args.outcome(path, name, &options);
                let outcomes: Vec<Result<Outcome>> = own.map(outcome).collect();
                outcomes.into_iter().collect::<Result<Vec<Outcome>>>()
            },
            |range, outcomes| {
                for outcome in outcomes.into_iter().flatten() {
                    match outcome {
                        Ok(sample) => samples.push(sample),
                        Err(reason) => {
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
        let all = skipped + samples.len() as u64;
        world.on_root(|| {
            args.finish(samples, &options)?;
            match skipped {
                0 => Ok(()),
                skipped => Err(Error::Partial { skipped, of: all }),
            }
        })?;
        Ok(())
    })
}

impl Args {
    fn options(&self) -> Options {
        Options {
            labels: self.labels,
            units: self.unit.clone(),
            convert: self.convert.clone(),
            stress_order: self.stress_order,
        }
    }

    /// What becomes of a file: with `--skip` what cannot be used is told, otherwise it is an error.
    fn outcome(&self, path: &Path, name: &str, options: &Options) -> Result<Outcome> {
        let told = |e: Error| match e {
            Error::Input(reason) if self.skip => Ok(Err(reason)),
            e => Err(e),
        };
        match read::read_each(path, name, options) {
            Ok(all) => all
                .into_iter()
                .map(|one| one.map(Ok).or_else(told))
                .collect(),
            Err(e) => Ok(vec![told(e)?]),
        }
    }

    fn plan(&self, systems: usize) -> Result<Plan> {
        match self.customized_01 {
            true => Plan::customized_01(systems),
            false => Ok(Plan {
                together: self.together,
                order: self.order,
                seed: self.seed,
                validation: self.validation,
                test: self.test,
            }),
        }
    }

    /// Writes the file and tells what is in it.
    fn finish(&self, mut samples: Vec<Sample>, options: &Options) -> Result<()> {
        if let Some(table) = &self.targets {
            read::add_targets(table, &mut samples, options)?;
        }
        if let Some(table) = &self.splits {
            match split::from_table(table, &mut samples)? {
                0 => {}
                left => crate::say!("{left} systems are not in {}", table.display()),
            }
        } else if split::forget_single(&mut samples) {
            crate::say!("all files are of one split by their names: systems are dealt anew");
        }
        if samples.is_empty() {
            let out = self.out.display();
            return Err(Error::input(format!("no systems: {out} is not written")));
        }
        let plan = self.plan(samples.len())?;
        let splits = split::assign(&samples, &plan)?;
        let kept = Kept {
            read: options,
            split: &plan,
            splits: self.splits.as_ref().map(|p| p.display().to_string()),
        };
        let kept = toml::to_string(&kept).map_err(Error::internal)?;
        let notes = Notes::sum(samples.iter().map(|s| &s.notes));
        let systems = Systems::pack(samples, splits, kept)?;
        let digest = systems.write(&self.out)?;
        self.tell(&systems);
        notes.tell();
        crate::say!("fingerprint: {digest}");
        Ok(())
    }

    fn tell(&self, systems: &Systems) {
        let share = |s: Split| format!("{} {s}", systems.split(s).len());
        crate::say!(
            "{}: {}, {}: {}",
            self.out.display(),
            count(systems.len(), "system"),
            count(systems.atom_count(), "atom"),
            Split::ALL.map(share).join(", ")
        );
        let mut targets: Vec<String> = systems
            .targets()
            .iter()
            .map(|t| match t.unit.is_empty() {
                true => t.name.clone(),
                false => format!("{} ({})", t.name, t.unit),
            })
            .collect();
        if systems.has_forces() {
            targets.push(format!("forces ({}/Å)", systems.force_unit()));
        }
        if systems.has_stresses() {
            targets.push(format!("stresses ({}/Å^3)", systems.force_unit()));
        }
        if !targets.is_empty() {
            crate::say!("targets: {}", targets.join(", "));
        }
        for split in [Split::Train, Split::Validation] {
            if systems.split(split).is_empty() {
                log::warn!("no system is for {split}: training needs some");
            }
        }
    }
}
