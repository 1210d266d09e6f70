//! `holosig report`.

use super::places::Overwrite;
use crate::comm::World;
use crate::downstream::evaluation::{RECORD, Record};
use crate::downstream::regression::Results;
use crate::downstream::report::{
    self, Affinity, Embedding, EvaluationReport, PREDICTIONS, Part, Predicted, Run, RunReport,
};
use crate::store::{self, Output};
use crate::tasks::sweep::Sweep;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Folders of results: runs, sweeps, regressions, evaluations
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Embedding file of a run's trained model (`holosig embed --reconstruct`)
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Embedding file of an untrained model on the same structures, to compare with
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    untrained: Option<PathBuf>,
    /// Table of published figures to put beside those of an evaluation: columns named by job
    /// keys (train.steps) tell which models a row belongs to, the others hold figures
    #[arg(long, value_name = "TABLE.csv")]
    beside: Option<PathBuf>,
    /// Page to write [default: report.html in the first folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    let beside = || args.folders[0].join("report.html");
    let out = args.out.clone().unwrap_or_else(beside);
    World::run(|world| {
        world.on_root(|| args.folders.iter().try_for_each(|f| exists(f)))?;
        let outputs = || Ok(vec![Output::new(&out, report::content())]);
        let inputs = [&args.embeddings, &args.untrained, &args.beside];
        let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        world.on_root(|| write(&args, &out)).map(drop)
    })
}

/// A misspelled folder shall not be made for the page.
fn exists(folder: &Path) -> Result<()> {
    match (folder.is_dir(), folder.exists()) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::file(
            folder,
            "a file, where the folder of a run is needed",
        )),
        (false, false) => Err(Error::file(folder, "no such folder")),
    }
}

fn write(args: &Args, out: &Path) -> Result<()> {
    let parts = args.folders.iter().map(|folder| part(args, folder));
    let parts: Vec<Part> = parts.collect::<Result<_>>()?;
    store::write_bytes(out, report::page(&parts)?.as_bytes())?;
    crate::say!("page: {}", out.display());
    Ok(())
}

/// What a folder holds is told by the record in it.
fn part(args: &Args, folder: &Path) -> Result<Part> {
    let is_run = Run::is_one(folder);
    if args.embeddings.is_some() && !is_run {
        let what = "not the folder of a run: --embeddings belong to the page of one";
        return Err(Error::file(folder, what));
    }
    if Sweep::read(folder)?.is_some() {
        return super::sweep::tell(folder);
    }
    if Results::are_in(folder) {
        return Affinity::read(folder)?.part();
    }
    if folder.join(RECORD).exists() {
        return EvaluationReport::read(folder, args.beside.as_deref())?.part();
    }
    if Record::is_unfinished(folder) {
        let what = "an evaluation that did not end; run `holosig evaluate` again";
        return Err(Error::file(folder, what));
    }
    let embedding = |path: &Option<PathBuf>| path.as_deref().map(Embedding::read).transpose();
    let report = RunReport {
        run: Run::read(folder)?,
        trained: embedding(&args.embeddings)?,
        untrained: embedding(&args.untrained)?,
        predicted: match folder.join(PREDICTIONS) {
            file if file.exists() => Some(Predicted::read(&file)?),
            _ => None,
        },
    };
    if let (Some(trained), Some(untrained)) = report.cosine_losses() {
        crate::say!("cosine loss: {trained:.4} trained, {untrained:.4} untrained");
    }
    report.part()
}
