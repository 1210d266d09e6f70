//! `holosig inspect`.

use crate::Result;
use crate::comm::World;
use crate::data::chains::Chains;
use crate::data::dataset::Dataset;
use crate::data::spheres::Spheres;
use crate::data::systems::Systems;
use crate::data::{Split, trajectory};
use crate::store::{self, Header, Kind, Node};
use crate::train::Checkpoint;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Any file that holosig wrote, or the folder of a run, whose best checkpoint is taken
    #[arg(value_name = "FILE", value_parser = super::places::checkpoint())]
    file: PathBuf,
}

/// Describes a file in words, after verifying every byte of it.
pub fn run(args: Args) -> Result<()> {
    let path = &args.file;
    let header = Header::read(path)?;
    header.verify(path)?;
    row("file", path.display());
    row(
        "kind",
        format!("{}, schema version {}", header.kind, header.version),
    );
    row("integrity", format!("whole; XXH3-128 {}", header.digest));
    match header.kind {
        Kind::Dataset => dataset(path),
        Kind::Systems => systems(path),
        Kind::Spheres => spheres(path),
        Kind::Generated => table(path, header.kind, &[]),
        Kind::Trajectories | Kind::InvariantPaths => trajectories(path),
        Kind::Checkpoint => checkpoint(path),
        Kind::Embeddings => table(path, header.kind, &["invariants", "frames", "cosine_loss"]),
        Kind::Motion => table(path, header.kind, &["global"]),
        Kind::Zernikegrams => table(path, header.kind, &["zernikegram"]),
        Kind::Signatures => table(path, header.kind, &["signature"]),
        Kind::Pockets => {
            let columns = [
                "pocket",
                "pocket_untrained",
                "zernike_invariants",
                "affinity",
            ];
            table(path, header.kind, &columns)
        }
        Kind::Regressor => table(path, header.kind, &[]),
        Kind::Predictions => table(path, header.kind, &["predicted", "measured"]),
        Kind::PredictedSystems => table(path, header.kind, &["id", "forces"]),
        Kind::Chains => chains(path),
        Kind::PredictedChains => table(path, header.kind, &["id", "probabilities"]),
    }
}

fn row(name: &str, value: impl std::fmt::Display) {
    crate::say!("{name:<20} {value}");
}

/// TOML text as indented rows.
fn block(name: &str, text: &str) {
    crate::say!("{name}");
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        crate::say!("  {line}");
    }
}

fn dataset(path: &Path) -> Result<()> {
    let d = Dataset::open(path)?;
    row("structures", d.structures().len());
    row("atoms", d.atom_count());
    row("residues", d.residue_count());
    complexes(&d);
    row("neighborhoods", d.len());
    for split in Split::ALL {
        let structures = d.structures().iter().filter(|s| s.split == split).count();
        row(
            "",
            format!(
                "{split}: {} in {structures} structures",
                d.split(split).len()
            ),
        );
    }
    block("settings", d.settings());
    Ok(())
}

/// Complexes of a dataset, if it has any.
fn complexes(d: &Dataset) {
    let all: Vec<_> = d
        .structures()
        .iter()
        .filter_map(|s| s.complex.as_ref())
        .collect();
    if all.is_empty() {
        return;
    }
    let known = all.iter().filter(|c| c.affinity.is_some()).count();
    let groups: HashSet<_> = all.iter().filter_map(|c| c.group.as_ref()).collect();
    let groups = match groups.len() {
        0 => String::new(),
        n => format!(", in {n} groups"),
    };
    row(
        "complexes",
        format!("{}{groups}; affinity of {known}", all.len()),
    );
}

fn systems(path: &Path) -> Result<()> {
    let d = Systems::open(&World::alone(), path)?;
    row("systems", d.len());
    row("atoms", d.atom_count());
    for split in Split::ALL {
        row("", format!("{split}: {}", d.split(split).len()));
    }
    for target in d.targets() {
        let known = target.values.iter().filter(|v| !v.is_nan()).count();
        row(
            "target",
            format!("{} ({}), {known} known", target.name, target.unit),
        );
    }
    if d.has_forces() {
        row("forces", format!("{}/A", d.force_unit()));
    }
    if d.has_stresses() {
        let known = (0..d.len()).filter(|&i| d.stress(i).is_some()).count();
        row("stresses", format!("{}/A^3, {known} known", d.force_unit()));
    }
    block("settings", d.settings());
    Ok(())
}

fn chains(path: &Path) -> Result<()> {
    let d = Chains::open(&World::alone(), path)?;
    row("chains", d.len());
    row("residues", d.residue_count());
    row("classes", d.classes().len());
    for split in Split::ALL {
        row("", format!("{split}: {}", d.split(split).len()));
    }
    block("settings", d.settings());
    Ok(())
}

fn spheres(path: &Path) -> Result<()> {
    let d = Spheres::open(&World::alone(), path)?;
    let signal = d.signal();
    row("signals", d.len());
    for split in Split::ALL {
        row("", format!("{split}: {}", d.split(split).len()));
    }
    row("channels", signal.channels.join(", "));
    let (grid, lmax) = (signal.grid, signal.lmax);
    row(
        "grid",
        format!("{}, bandwidth {}", grid.rings.name(), grid.bandwidth),
    );
    row("coefficients", format!("{} up to degree {lmax}", d.dim()));
    block("settings", d.settings());
    Ok(())
}

fn trajectories(path: &Path) -> Result<()> {
    let d = trajectory::Dataset::open(&World::alone(), path)?;
    let frames: u64 = d.trajectories().iter().map(|t| t.frames).sum();
    row("origin", d.origin());
    row(
        "trajectories",
        format!("{} of {frames} frames", d.trajectories().len()),
    );
    row("segments", d.segments().len());
    row("unit", format!("{}, time in {}", d.unit(), d.time_unit()));
    row("classes", d.classes().join(", "));
    block("settings", &d.settings()?);
    Ok(())
}

fn checkpoint(path: &Path) -> Result<()> {
    let c = Checkpoint::read(path)?;
    let count = |arrays: &[crate::train::checkpoint::NamedArray]| {
        arrays.iter().map(|a| a.values.len()).sum::<usize>()
    };
    row("task", &c.task);
    row(
        "parameters",
        format!("{} in {} tensors", count(&c.parameters), c.parameters.len()),
    );
    row(
        "buffers",
        format!("{} in {} tensors", count(&c.buffers), c.buffers.len()),
    );
    row("hash", c.hash());
    match &c.training {
        Some((progress, moments)) => {
            if moments.raw.is_some() {
                row("parameters are", "moving averages (train.average)");
            }
            row(
                "step",
                format!("{} (epoch {})", progress.step, progress.epoch),
            );
            row("seed", progress.seed);
            row("dataset", format!("fingerprint {}", progress.fingerprint));
            if let Some(best) = &progress.best {
                row(
                    "best",
                    format!("validation objective {} at step {}", best.value, best.step),
                );
            }
        }
        None => row("step", "none: not of a training run (imported)"),
    }
    block("description", &c.description);
    Ok(())
}

/// Every array but those of `told`, groups within groups.
fn shapes(node: &Node, path: &str, told: &[&str]) -> Result<()> {
    for name in node.names()? {
        let full = format!("{path}{name}");
        if told.contains(&full.as_str()) {
            continue;
        }
        match node.group(&name) {
            Ok(group) => shapes(&group, &format!("{full}/"), told)?,
            Err(_) => row(&full, format!("{:?}", node.shape(&name)?)),
        }
    }
    Ok(())
}

/// Files that are one table: the shapes of its columns and the root's attributes.
fn table(path: &Path, kind: Kind, columns: &[&str]) -> Result<()> {
    let root = store::open(path, kind)?;
    for name in columns.iter().filter(|n| root.has(n)) {
        row(name, format!("{:?}", root.shape(name)?));
    }
    shapes(&root, "", columns)?;
    for (name, value) in root.attributes()? {
        row(&name, value);
    }
    Ok(())
}
