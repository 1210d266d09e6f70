//! What commands write and print: nothing of the user's is overwritten without a word, pipes and
//! devices are refused by kind, a closed standard output ends nothing, control characters reach no
//! script. Each rule is tried with every command that it touches.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod runs;
mod told;

use common::{holosig, holosig_on, run, start};
use holosig::data::Split;
use holosig::data::dataset::{Chosen, Dataset};
use holosig::data::structure::{self, ReadOptions};
use holosig::store::{self, Kind, Storage};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// A small job: a few steps on a few residues.
const JOB: &str = r#"
task = "hvae"
[data]
dataset = "dataset.h5"
[zernike]
lmax = 2
nmax = 3
[model]
latent_dim = 3
channels = [4, 4]
projection = 4
[train]
steps = 4
batch = 8
slices = 2
"#;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// One file of each kind that commands read, made once.
struct Bench(tempfile::TempDir);

impl Bench {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let fixture = |name: &str| in_repository("tests/fixtures/published_small").join(name);
        let checkpoint = bench.at("model.h5");
        run(holosig()
            .arg("import")
            .args([fixture("model.pt"), fixture("hparams.json")])
            .arg("--out")
            .arg(&checkpoint))
        .success();
        std::fs::copy(fixture("model.pt"), bench.at("model.pt")).unwrap();
        std::fs::copy(fixture("hparams.json"), bench.at("hparams.json")).unwrap();
        let pdb = in_repository("tests/structures/pdb1ubi.pdb");
        std::fs::copy(&pdb, bench.at("a.pdb")).unwrap();
        let structure = structure::read(&pdb, &ReadOptions::default()).unwrap();
        let split = [Split::Train, Split::Validation, Split::Test];
        let chosen: Vec<Chosen> = split
            .into_iter()
            .map(|split| {
                let mut structure = structure[0].clone();
                structure.id = format!("{}-{split}", structure.id);
                Chosen {
                    structure,
                    split,
                    chains: None,
                    complex: None,
                }
            })
            .collect();
        let dataset = Dataset::pack(&chosen, "").unwrap();
        dataset.write(&bench.at("dataset.h5")).unwrap();
        std::fs::write(bench.at("job.toml"), JOB).unwrap();
        // User's own HDF5 files: a cloud of one atom, a path of three points.
        let plain = |name: &str, fill: &dyn Fn(&hdf5::File)| {
            fill(&hdf5::File::create(bench.at(name)).unwrap());
        };
        plain("clouds.h5", &|f| {
            let write = |name: &str| f.new_dataset_builder().with_data(&[0u64, 1]).create(name);
            write("offsets").unwrap();
            f.new_dataset_builder()
                .with_data(&ndarray::arr2(&[[1.0f32, 2.0, 3.0]]))
                .create("coordinates")
                .unwrap();
            f.new_dataset_builder()
                .with_data(&[6u8])
                .create("elements")
                .unwrap();
        });
        plain("paths.h5", &|f| {
            f.new_dataset_builder()
                .with_data(&ndarray::Array3::<f32>::zeros((1, 3, 2)))
                .create("path")
                .unwrap();
        });
        bench
    }
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(Bench::make)
}

/// A command that writes a file; `{out}` is its place.
struct Writer {
    arguments: &'static str,
    /// The file that is written and the input that must not be lost by it.
    input: &'static str,
}

/// Every command that writes a single file from inputs that are quick to have.
const WRITERS: &[Writer] = &[
    Writer {
        arguments: "prepare structures {in} --out {out}",
        input: "a.pdb",
    },
    Writer {
        arguments: "prepare structures {dir}/a.pdb --out {dir}/unused.h5 --missing {out}",
        input: "a.pdb",
    },
    Writer {
        arguments: "prepare systems {in} --out {out}",
        input: "a.pdb",
    },
    Writer {
        arguments: "prepare chains {in} --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "prepare complexes --complexes {in} --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "prepare images {in} --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "prepare shapes {in} --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "sphere {in} {out}",
        input: "clouds.h5",
    },
    Writer {
        arguments: "prepare grd --nodes 5 --trajectories 4 --folds 1 --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "prepare peptides --residues 2 --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "embed {in} --trajectories {dir}/dataset.h5 --holographic --out {out}",
        input: "model.h5",
    },
    Writer {
        arguments: "motion {in} --out {out}",
        input: "dataset.h5",
    },
    Writer {
        arguments: "prepare trajectories --manifest {in} --out {out}",
        input: "hparams.json",
    },
    Writer {
        arguments: "embed {in} --dataset {dir}/dataset.h5 --out {out}",
        input: "model.h5",
    },
    Writer {
        arguments: "embed {dir}/model.h5 --dataset {in} --out {out}",
        input: "dataset.h5",
    },
    Writer {
        arguments: "embed {dir}/model.h5 --structures {in} --out {out}",
        input: "a.pdb",
    },
    Writer {
        arguments: "pockets {in} --complexes {dir}/job.toml --out {out}",
        input: "model.h5",
    },
    Writer {
        arguments: "predict {dir} {in} --out {out}",
        input: "dataset.h5",
    },
    Writer {
        arguments: "import {in} {dir}/hparams.json --out {out}",
        input: "model.pt",
    },
    Writer {
        arguments: "import {dir}/model.pt {in} --out {out}",
        input: "hparams.json",
    },
    Writer {
        arguments: "zernike {in} {out}",
        input: "clouds.h5",
    },
    Writer {
        arguments: "signature {in} {out} --depth 2",
        input: "paths.h5",
    },
    Writer {
        arguments: "report {dir} --beside {in} --out {out}",
        input: "job.toml",
    },
    Writer {
        arguments: "scale {in} --measure {out}",
        input: "job.toml",
    },
];

/// Commands that fill a folder, which is `{out}`, and one of their files.
const FILLERS: &[(Writer, &str)] = &[
    (
        Writer {
            arguments: "evaluate {dir}/model.h5 --dataset {in} --out {out}",
            input: "dataset.h5",
        },
        "evaluation.json",
    ),
    (
        Writer {
            arguments: "evaluate {in} --dataset {dir}/dataset.h5 --out {out}",
            input: "model.h5",
        },
        "embeddings-0.h5",
    ),
    (
        Writer {
            arguments: "generate {in} --dataset {dir}/dataset.h5 --inputs 1 --points 2 --out {out}",
            input: "model.h5",
        },
        "1ubi-test-A1-MET.pdb",
    ),
    (
        Writer {
            arguments: "regress {in} --out {out}",
            input: "clouds.h5",
        },
        "table.csv",
    ),
    (
        Writer {
            arguments: "sweep {in} --out {out}",
            input: "job.toml",
        },
        "results.csv",
    ),
    (
        Writer {
            arguments: "sweep {in} --out {out}",
            input: "job.toml",
        },
        "report.html",
    ),
    (
        Writer {
            arguments: "submit {in} --scheduler slurm --out {out}",
            input: "job.toml",
        },
        "submit.sbatch",
    ),
];

impl Writer {
    fn command(&self, ranks: usize, dir: &Path, input: &Path, out: &Path) -> Command {
        let mut command = holosig_on(ranks);
        for word in self.arguments.split(' ') {
            let word = word
                .replace("{dir}", &dir.display().to_string())
                .replace("{in}", &input.display().to_string())
                .replace("{out}", &out.display().to_string());
            command.arg(word);
        }
        command
    }
}

/// A folder with copies of all inputs.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(bench().0.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn mkfifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}
