//! `holosig report`.

use crate::comm::World;
use crate::downstream::regression::Results;
use crate::downstream::report::{Affinity, Embedding, Report, Run};
use crate::{Result, store};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of a run, as `holosig train` made it, or of a regression (`holosig regress`)
    run: PathBuf,
    /// Embedding file of the trained model (`holosig embed --reconstruct`)
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Embedding file of an untrained model on the same structures, to compare with
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    untrained: Option<PathBuf>,
    /// Page to write [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| world.on_root(|| write(&args)).map(drop))
}

fn write(args: &Args) -> Result<()> {
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.run.join("report.html"));
    if Results::are_in(&args.run) {
        store::write_bytes(&out, Affinity::read(&args.run)?.page()?.as_bytes())?;
        println!("page: {}", out.display());
        return Ok(());
    }
    let embedding = |path: &Option<PathBuf>| path.as_deref().map(Embedding::read).transpose();
    let report = Report {
        run: Run::read(&args.run)?,
        trained: embedding(&args.embeddings)?,
        untrained: embedding(&args.untrained)?,
    };
    store::write_bytes(&out, report.page()?.as_bytes())?;
    if let (Some(trained), Some(untrained)) = report.cosine_losses() {
        println!("cosine loss: {trained:.4} trained, {untrained:.4} untrained");
    }
    println!("page: {}", out.display());
    Ok(())
}
