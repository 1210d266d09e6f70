//! `holosig predict`.

use super::places::Overwrite;
use crate::comm::World;
use crate::downstream::pockets::Pockets;
use crate::downstream::regression::{self, HEADER, Learner};
use crate::store::{Content, Output};
use crate::{Result, print, store};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Folder that `holosig regress` wrote
    regression: PathBuf,
    /// Pocket file of the complexes to predict, made with the same checkpoint
    pockets: PathBuf,
    /// Regressor to use [default: the one that did best in validation]
    #[arg(long, value_enum)]
    model: Option<Learner>,
    /// CSV file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let content = Content::marked("a table of predictions of holosig", HEADER);
        let outputs = || Ok(vec![Output::new(&args.out, content)]);
        let _claim = args.overwrite.claim(world, outputs, &[&args.pockets])?;
        world.on_root(|| write(&args)).map(drop)
    })
}

fn write(args: &Args) -> Result<()> {
    let pockets = Pockets::read(&args.pockets)?;
    let predictions = regression::predict(&args.regression, &pockets, args.model)?;
    store::write_bytes(&args.out, &predictions.csv(&pockets)?)?;
    crate::say!(
        "{}: {}, predicted by {}",
        args.out.display(),
        print::count(pockets.ids.len(), "complex"),
        predictions.learner.name()
    );
    Ok(())
}
