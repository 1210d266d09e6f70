//! `holosig evaluate`.

use super::places::{Overwrite, checkpoint};
use super::prepare::progress::Progress;
use crate::Result;
use crate::comm::World;
use crate::data::Split;
use crate::data::dataset::Dataset;
use crate::data::spheres::Spheres;
use crate::downstream::evaluation::{self, LabelSource, Labels, Options, Record, Trial};
use crate::downstream::spheres;
use crate::print::count;
use crate::store::{Header, Kind};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Checkpoints of the models, one or more, or folders of runs, whose best ones are taken
    #[arg(required = true, value_name = "CKPT", value_parser = checkpoint())]
    checkpoints: Vec<PathBuf>,
    /// Dataset file of `holosig prepare structures`, or of signals on the sphere (`prepare images`,
    /// `prepare shapes`), of which all samples of the split are taken and classified by their labels
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// Split of the dataset: train, validation or test
    #[arg(long, default_value = "test")]
    split: Split,
    /// What to read off the latent space: residue (type), secondary (structure), or
    /// TABLE.csv:COLUMN with the columns structure, chain, number and COLUMN
    #[arg(long, num_args = 1.., default_values = ["residue", "secondary"])]
    labels: Vec<LabelSource>,
    /// Evaluate on at most this many residues
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    residues: usize,
    /// Take every residue type in equal shares
    #[arg(long)]
    balanced: bool,
    /// Chooses residues, folds, starts of the clustering and rotations
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folds of the cross-validation
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    folds: u16,
    /// Starts of k-means
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    restarts: u16,
    /// Folder to write evaluation.json and embeddings into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

pub fn run(args: Args) -> Result<()> {
    let kind = Header::read(&args.dataset).map(|header| header.kind);
    if kind.is_ok_and(|kind| kind == Kind::Spheres) {
        return on_spheres(&args);
    }
    World::run(|world| {
        let outputs = || Ok(evaluation::outputs(&args.out, args.checkpoints.len()));
        let _claim = args.overwrite.claim(world, outputs, &args.inputs())?;
        let dataset = world.agree(Dataset::open(&args.dataset))?;
        let labels = args.labels.iter().map(|l| Labels::new(l, &dataset));
        let labels: Vec<Labels> = world.agree(labels.collect())?;
        let options = Options {
            split: args.split,
            residues: args.residues,
            balanced: args.balanced,
            seed: args.seed,
            folds: args.folds.into(),
            restarts: args.restarts.into(),
        };
        let trial = world.agree(Trial::new(&dataset, &args.dataset, &labels, options))?;
        if world.is_root() {
            trial.left_out().for_each(|line| log::warn!("{line}"));
        }
        let total = trial.len() * args.checkpoints.len();
        let progress = Progress::new(world.is_root(), total, "residues");
        let checkpoints = &args.checkpoints;
        let record = evaluation::run(world, checkpoints, &trial, &args.out, |n| progress.at(n))?;
        drop(progress);
        if let Some(record) = record {
            print(&record);
            crate::say!("record: {}", args.out.join(evaluation::RECORD).display());
        }
        Ok(())
    })
}

fn on_spheres(args: &Args) -> Result<()> {
    World::run(|world| {
        let outputs = || Ok(spheres::outputs(&args.out, args.checkpoints.len()));
        let _claim = args.overwrite.claim(world, outputs, &args.inputs())?;
        let data = Spheres::open(world, &args.dataset)?;
        let options = spheres::Options {
            split: args.split,
            seed: args.seed,
            restarts: args.restarts.into(),
        };
        let (name, out) = (&args.dataset, &args.out);
        let record = spheres::run(world, &args.checkpoints, &data, name, &options, out)?;
        if let Some(record) = record {
            record.spheres.iter().for_each(print_spheres);
            crate::say!("record: {}", out.join(evaluation::RECORD).display());
        }
        Ok(())
    })
}

fn print_spheres(e: &spheres::Evaluation) {
    let fitted = count(e.fitted, "sample");
    crate::say!(
        "{}: {}, classifiers fitted to {fitted}",
        e.checkpoint,
        count(e.samples, "sample")
    );
    let r = &e.reconstruction;
    crate::say!(
        "  reconstruction: cosine loss {:.4}, MSE {:.3e}",
        r.cosine,
        r.mse
    );
    for q in &e.equivariance {
        let (z, x) = (&q.invariants, &q.reconstruction);
        crate::say!(
            "  equivariance error {}: invariants {:.1e} of {:.1e}, reconstruction {:.1e} of {:.1e}",
            q.precision,
            z.error,
            z.value,
            x.error,
            x.value
        );
    }
    let Some(k) = &e.knowledge else {
        crate::say!("  no labels: no classifier");
        return;
    };
    crate::say!(
        "  linear {:.3}, nearest neighbours {:.3}",
        k.linear,
        k.nearest
    );
    let c = &k.clustering;
    crate::say!(
        "  k-means purity {:.3}, V-measure {:.3}",
        c.purity,
        c.v_measure
    );
    for (name, r) in [
        ("linear", &k.linear_retrieval),
        ("nearest", &k.nearest_retrieval),
    ] {
        for (mean, m) in [("micro", &r.micro), ("macro", &r.macro_average)] {
            crate::say!(
                "  retrieval, {name}, {mean}: P@N {:.3}, R@N {:.3}, F1@N {:.3}, mAP {:.3}, NDCG {:.3}",
                m.precision,
                m.recall,
                m.f1,
                m.map,
                m.ndcg
            );
        }
    }
}

impl Args {
    fn inputs(&self) -> Vec<&Path> {
        let tables = self.labels.iter().filter_map(LabelSource::table);
        let files = self.checkpoints.iter().chain([&self.dataset]);
        files.map(PathBuf::as_path).chain(tables).collect()
    }
}

fn print(record: &Record) {
    for e in &record.evaluations {
        crate::say!("{}: {}", e.checkpoint, count(e.residues, "residue"));
        let r = &e.reconstruction;
        crate::say!(
            "  reconstruction: cosine loss {:.4}, MSE {:.3e}",
            r.cosine,
            r.mse
        );
        for d in &r.degrees {
            crate::say!(
                "    l = {}: cosine loss {:.4}, MSE {:.3e}",
                d.l,
                d.cosine,
                d.mse
            );
        }
        for q in &e.equivariance {
            crate::say!(
                "  equivariance error {}: invariants {:.1e} of {:.1e}, reconstruction {:.1e} of {:.1e}",
                q.precision,
                q.invariants.error,
                q.invariants.value,
                q.reconstruction.error,
                q.reconstruction.value
            );
        }
        for k in &e.labels {
            crate::say!(
                "  {} ({} classes, chance {:.3}): linear {:.3} ± {:.3}, nearest neighbours {:.3} ± \
                 {:.3}, k-means purity {:.3}, V-measure {:.3}, silhouette {:.3}",
                k.name,
                k.classes.len(),
                k.chance,
                k.linear.mean,
                k.linear.deviation,
                k.nearest.mean,
                k.nearest.deviation,
                k.clustering.purity,
                k.clustering.v_measure,
                k.silhouette
            );
        }
    }
}
