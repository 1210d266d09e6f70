//! `holosig embed`.

use crate::Result;
use crate::comm::World;
use crate::downstream::embedding::{self, Embedder, Source, ZernikegramFile};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(false))]
pub struct Args {
    /// Checkpoint of the model
    checkpoint: PathBuf,
    /// Zernikegrams, as `holosig zernike` writes them
    #[arg(long, value_name = "FILE", group = "source")]
    zernikegrams: Option<PathBuf>,
    /// Embedding file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write zernikegrams, their reconstructions and the cosine loss of each
    #[arg(long)]
    reconstruct: bool,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let embedder = Embedder::open(world, &args.checkpoint)?;
        let source = open(world, &args, &embedder)?;
        let start = std::time::Instant::now();
        let cosine = embedding::write(world, &embedder, &*source, args.reconstruct, &args.out)?;
        if world.is_root() {
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{}: {} residues in {seconds:.1} s",
                args.out.display(),
                source.len()
            );
            if let Some(cosine) = cosine {
                println!("mean cosine loss: {cosine:.4}");
            }
        }
        Ok(())
    })
}

fn open(world: &World, args: &Args, embedder: &Embedder) -> Result<Box<dyn Source>> {
    let path = args.zernikegrams.as_ref().unwrap();
    Ok(Box::new(ZernikegramFile::open(
        world,
        path,
        &embedder.description.zernike,
    )?))
}
