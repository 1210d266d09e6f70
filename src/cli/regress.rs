//! `holosig regress`.

use super::places::Overwrite;
use crate::comm::World;
use crate::downstream::pockets::Pockets;
use crate::downstream::regression::{self, Division, Learner, Settings};
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Pocket file, as `holosig pockets` writes it
    pockets: PathBuf,
    /// CSV file with the columns id and pK (or affinity) [default: the affinities that came with
    /// the complexes]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How complexes are divided: a column of the pocket file, a CSV file with the columns id and
    /// split, or k-fold:K (groups stay together)
    #[arg(long, value_name = "COLUMN|FILE|k-fold:K", default_value = "split")]
    split: Division,
    /// Column whose values are groups of like proteins: kept together in folds and in the resamples
    /// behind the intervals [default: group, or else clusters of the sequences]
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Regressors: ridge, linear, kernel, forest, boosting, knn or all; of several, their mean
    /// (committee) is in the table too
    #[arg(long, value_name = "MODEL", default_value = "all", value_delimiter = ',', value_parser = models)]
    model: Vec<Models>,
    /// Use only complexes whose column has this value, or one of these for the same column
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = pair)]
    only: Vec<(String, String)>,
    /// Repeat the table for each value of this column
    #[arg(long, value_name = "COLUMN")]
    by: Vec<String>,
    /// Bootstrap resamples of the training part, to each of which is fitted (10 in the paper); 0: fits
    /// to all of it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = bags)]
    bags: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for tables, predictions and fitted regressors
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

/// One word of `--model`.
#[derive(Clone)]
struct Models(Vec<Learner>);

fn models(text: &str) -> std::result::Result<Models, String> {
    match text {
        "all" => Ok(Models(Learner::ALL.to_vec())),
        one => Learner::from_str(one, false).map(|l| Models(vec![l])),
    }
}

fn bags(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(1) => {
            Err("one resample has no spread: 2 or more, or 0 for fits to all complexes".into())
        }
        Ok(bags) if bags <= usize::from(u16::MAX) => Ok(bags),
        _ => Err("a number of resamples is needed".into()),
    }
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or("COLUMN=VALUE is needed")?;
    Ok((column.to_string(), value.to_string()))
}

impl Args {
    fn inputs(&self) -> Vec<&Path> {
        let split = match &self.split {
            Division::File(file) => Some(file),
            _ => None,
        };
        let files = [&self.pockets].into_iter().chain(&self.labels);
        files.chain(split).map(PathBuf::as_path).collect()
    }
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let start = std::time::Instant::now();
        let mut learners: Vec<Learner> = args.model.iter().flat_map(|m| m.0.clone()).collect();
        learners.sort();
        learners.dedup();
        let outputs = || Ok(regression::outputs(&args.out, &learners));
        let _claim = args.overwrite.claim(world, outputs, &args.inputs())?;
        let pockets = world.agree(Pockets::read(&args.pockets))?;
        let settings = Settings {
            labels: args.labels.clone(),
            division: args.split.clone(),
            group: args.group.clone(),
            learners,
            only: args.only.clone(),
            by: args.by.clone(),
            bags: args.bags,
            seed: args.seed,
        };
        let (results, unlabelled) = regression::run(world, &pockets, &settings, &args.out)?;
        if let Some(results) = results {
            crate::print::text(&format!("{}\n", results.summary()));
            crate::say!(
                "{}: every regressor in table.csv and predictions.csv, {:.1} s",
                args.out.display(),
                start.elapsed().as_secs_f64()
            );
        }
        world.agree(match unlabelled {
            0 => Ok(()),
            skipped => Err(Error::Partial {
                skipped: skipped as u64,
                of: pockets.ids.len() as u64,
            }),
        })
    })
}
