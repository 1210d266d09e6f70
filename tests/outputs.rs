//! What commands write and print: nothing of the user's is overwritten without a word, pipes and
//! devices are refused by kind, a closed standard output ends nothing, control characters reach no
//! script. Each rule is tried with every command that it touches.

mod common;

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
                    ligand: None,
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

impl Writer {
    fn command(&self, ranks: usize, dir: &Path, input: &Path, out: &Path) -> Command {
        let mut command = match ranks {
            0 => holosig(),
            n => holosig_on(n),
        };
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

#[test]
fn an_output_is_no_input_by_any_name() {
    let dir = folder();
    for writer in WRITERS {
        let input = dir.path().join(writer.input);
        let before = std::fs::read(&input).unwrap();
        let link = dir.path().join("link.h5");
        std::os::unix::fs::symlink(&input, &link).unwrap();
        for out in [&input, &link] {
            let told = run(&mut writer.command(0, dir.path(), &input, out));
            assert_eq!(told.code, 2, "{}: {told:#?}", writer.arguments);
            assert!(told.stderr.contains("--force"), "{told:#?}");
            assert!(std::fs::read(&input).unwrap() == before);
        }
        std::fs::remove_file(link).unwrap();
    }
}

#[test]
fn what_is_not_ours_is_kept() {
    let dir = folder();
    let notes = dir.path().join("notes.h5");
    for writer in WRITERS {
        std::fs::write(&notes, "my notes\n").unwrap();
        let input = dir.path().join(writer.input);
        let told = run(&mut writer.command(0, dir.path(), &input, &notes));
        assert_eq!(told.code, 2, "{}: {told:#?}", writer.arguments);
        assert!(
            told.stderr.contains("notes.h5: is there already"),
            "{told:#?}"
        );
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), "my notes\n");
    }
    // On two ranks it is told once.
    let input = dir.path().join("a.pdb");
    run(&mut WRITERS[0].command(2, dir.path(), &input, &notes))
        .failure(2, "notes.h5: is there already");
}

#[test]
fn files_of_the_same_kind_are_replaced_and_others_by_force() {
    let dir = folder();
    let out = dir.path().join("new/folder/out.h5");
    let embed = |out: &Path, more: &[&str]| {
        let mut command = holosig();
        command.arg("embed").arg(dir.path().join("model.h5"));
        command.arg("--dataset").arg(dir.path().join("dataset.h5"));
        run(command.arg("--out").arg(out).args(more))
    };
    embed(&out, &[]).success();
    let first = std::fs::read(&out).unwrap();
    embed(&out, &[]).success();
    assert!(std::fs::read(&out).unwrap() == first);
    let copy = dir.path().join("other.h5");
    std::fs::copy(dir.path().join("dataset.h5"), &copy).unwrap();
    embed(&copy, &[]).failure(2, "is not a file of embeddings of holosig");
    embed(&copy, &["--force"]).success();
    assert!(std::fs::read(&copy).unwrap() == first);
}

#[test]
fn devices_pipes_and_folders_are_never_replaced() {
    let dir = folder();
    let pipe = dir.path().join("pipe");
    mkfifo(&pipe);
    let inside = dir.path().join("folder");
    std::fs::create_dir(&inside).unwrap();
    for writer in WRITERS {
        let input = dir.path().join(writer.input);
        for place in [&pipe, &PathBuf::from("/dev/null"), &inside] {
            for force in [false, true] {
                let mut command = writer.command(0, dir.path(), &input, place);
                if force {
                    command.arg("--force");
                }
                let told = start(&mut command).wait(LIMIT);
                assert_eq!(told.code, 2, "{}: {told:#?}", writer.arguments);
            }
        }
    }
    use std::os::unix::fs::FileTypeExt;
    let kind = |path: &Path| std::fs::symlink_metadata(path).unwrap().file_type();
    assert!(kind(Path::new("/dev/null")).is_char_device());
    assert!(kind(&pipe).is_fifo());
}

/// Readers of every kind of file: what is no regular file is refused, not waited for.
#[test]
fn pipes_and_devices_are_not_read() {
    let dir = folder();
    let pipe = dir.path().join("pipe");
    mkfifo(&pipe);
    let readers = [
        "hash {in}",
        "inspect {in}",
        "embed {in} --dataset {dir}/dataset.h5 --out {dir}/out.h5",
        "embed {dir}/model.h5 --dataset {in} --out {dir}/out.h5",
        "embed {dir}/model.h5 --zernikegrams {in} --out {dir}/out.h5",
        "embed {dir}/model.h5 --structures {in} --out {dir}/out.h5",
        "evaluate {in} --dataset {dir}/dataset.h5 --out {dir}/eval",
        "evaluate {dir}/model.h5 --dataset {in} --out {dir}/eval",
        "pockets {in} --complexes {dir}/job.toml --out {dir}/out.h5",
        "pockets {dir}/model.h5 --complexes {in} --out {dir}/out.h5",
        "regress {in} --out {dir}/regression",
        "import {in} {dir}/hparams.json --out {dir}/out.h5",
        "import {dir}/model.pt {in} --out {dir}/out.h5",
        "export {in} {dir}/out.safetensors",
        "zernike {in} {dir}/out.h5",
        "signature {in} {dir}/out.h5 --depth 2",
        "prepare structures {in} --out {dir}/out.h5",
        "prepare structures @{in} --out {dir}/out.h5",
        "prepare structures {dir}/a.pdb --splits {in} --out {dir}/out.h5",
        "prepare structures --proteinnet {in} --split-name train --backbone --out {dir}/out.h5",
        "prepare trajectories --manifest {in} --out {dir}/out.h5",
        "train {in} --out {dir}/run",
        "train {dir}/job.toml --set data.dataset={in} --out {dir}/run",
        "sweep {in} --out {dir}/sweep",
        "submit {in} --dry-run",
        "scale --machine {in}",
    ];
    for words in readers {
        for input in [&pipe, &PathBuf::from("/dev/zero")] {
            let reader = Writer {
                arguments: words,
                input: "",
            };
            let mut command = reader.command(0, dir.path(), input, Path::new(""));
            let told = start(&mut command).wait(LIMIT);
            assert!([2, 3].contains(&told.code), "{words}: {told:#?}");
            assert!(told.stderr.contains("where a file is needed"), "{told:#?}");
        }
    }
    assert!(!dir.path().join("out.h5").exists());
}

/// Runs a command whose standard output is closed, or takes nothing.
fn into(target: &str, command: &Command) -> (i32, String) {
    let mut words = vec![command.get_program().to_os_string()];
    words.extend(command.get_args().map(|a| a.to_os_string()));
    let script = match target {
        "closed" => "\"$@\" | true; exit ${PIPESTATUS[0]}",
        "full" => "\"$@\" > /dev/full",
        _ => "\"$@\" >&-",
    };
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "bash"]).args(words);
    let told = run(shell.env("RAYON_NUM_THREADS", "1"));
    (told.code, told.stderr)
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    let dir = folder();
    let model = dir.path().join("model.h5");
    let of = |words: &[&str]| {
        let mut command = holosig();
        command.args(words);
        command
    };
    let model = model.to_str().unwrap();
    let job = dir.path().join("job.toml");
    let job = job.to_str().unwrap();
    for words in [
        &["--help"][..],
        &["--version"],
        &["help", "embed"],
        &["inspect", model],
        &["hash", model],
        &["bench", "--list"],
        &["submit", job, "--dry-run", "--scheduler", "slurm"],
        &["train", job, "--dry-run"],
        &["sweep", job, "--dry-run"],
    ] {
        for target in ["closed", "full", "none"] {
            let (code, stderr) = into(target, &of(words));
            // A full disk loses what was asked for; a reader that has enough does not.
            let right = i32::from(target == "full");
            assert_eq!(code, right, "{words:?} {target}: {stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
    // Work goes on to its end.
    for target in ["closed", "full", "none"] {
        let run = dir.path().join(target);
        let (code, stderr) = into(target, &of(&["train", job, "--out", run.to_str().unwrap()]));
        assert_eq!(code, 0, "{stderr}");
        assert!(run.join("scores.json").exists());
    }
}

#[test]
fn control_characters_reach_neither_script_nor_terminal() {
    let dir = folder();
    let job = dir.path().join("job.toml");
    let odd = "x\ntouch PWNED\n#";
    for scheduler in ["slurm", "pbs", "none"] {
        for option in ["--out", "--queue", "--account", "--hostfile", "--set"] {
            for value in [odd, "a\rb", "a\u{1b}[31mb", "a\u{7}"] {
                let told = run(holosig()
                    .arg("submit")
                    .arg(&job)
                    .args(["--dry-run", "--scheduler", scheduler, option, value])
                    .current_dir(dir.path()));
                assert_eq!(told.code, 2, "{option} {value:?}: {told:#?}");
                assert!(told.stderr.contains(option), "{told:#?}");
                assert!(!told.stdout.contains("PWNED"), "{told:#?}");
            }
        }
    }
    // A job of such a name, which is the default name of the run.
    let renamed = dir.path().join("x\ntouch PWNED\n.toml");
    std::fs::copy(&job, &renamed).unwrap();
    run(holosig().arg("submit").arg(&renamed).arg("--dry-run")).failure(2, "control characters");
    // Names in messages are shown, not obeyed.
    let name = dir.path().join("a\u{1b}[31m\nb.h5");
    std::fs::copy(dir.path().join("job.toml"), &name).unwrap();
    let told = run(holosig().arg("hash").arg(&name)).failure(2, "not an HDF5 file");
    assert!(told.stderr.contains("a\\u{1b}[31m\\nb.h5"), "{told:#?}");
    assert!(!told.stderr.contains('\u{1b}'), "{told:#?}");
    // Messages have an end.
    let long = "k".repeat(100_000);
    let told = run(holosig()
        .arg("train")
        .arg(&job)
        .args(["--set", &format!("{long}=1")]));
    assert_eq!(told.code, 2);
    assert!(told.stderr.len() < 5000, "{}", told.stderr.len());
}

#[test]
fn submit_checks_what_will_run_and_a_dry_run_needs_nothing() {
    let dir = folder();
    let submit = |more: &[&str]| {
        let mut command = holosig();
        command.arg("submit").arg(dir.path().join("job.toml"));
        command.env("PATH", "/usr/bin:/bin").current_dir(dir.path());
        run(command.args(["--dry-run"]).args(more))
    };
    submit(&["--nodes", "3", "--ranks-per-node", "2"]).failure(2, "too few for 6 ranks");
    submit(&["--set", "data.dataset=nope.h5"]).failure(2, "nope.h5: no such file");
    submit(&["--set", "data.dataset=model.h5"]).failure(2, "where a dataset of holosig is needed");
    submit(&["--gpus-per-node", "2", "--set", "train.device=\"cpu\""]).failure(2, "idle");
    let told = submit(&["--nodes", "2", "--ranks-per-node", "1"]).success();
    assert!(told.stdout.contains("#SBATCH --nodes=2"), "{told:#?}");
    submit(&["--gpus-per-node", "2"]).success();
    // The last line can be pasted into a shell.
    let told = submit(&["--scheduler", "slurm", "--out", "a run"]).success();
    let last = told.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("# sbatch '") && last.ends_with("a run/submit.sbatch'"),
        "{last}"
    );
    assert!(!dir.path().join("runs").exists());
    // What is submitted is told where to find.
    let fake = dir.path().join("bin");
    std::fs::create_dir(&fake).unwrap();
    let sbatch = fake.join("sbatch");
    std::fs::write(&sbatch, "#!/bin/sh\necho Submitted batch job 42\n").unwrap();
    run(Command::new("chmod").arg("+x").arg(&sbatch)).success();
    let mut command = holosig();
    command.arg("submit").arg(dir.path().join("job.toml"));
    command.args(["--scheduler", "slurm", "--out", "a run"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", fake.display()));
    let told = run(command.current_dir(dir.path())).success().stdout;
    for word in ["run folder: ", "a run/42.log", "holosig status '"] {
        assert!(told.contains(word), "{told}");
    }
    let told = run(holosig().arg("status").arg(dir.path()))
        .success()
        .stdout;
    assert!(told.contains("a run: not started"), "{told}");
}

#[test]
fn a_run_goes_on_by_its_folder_and_keeps_its_scores() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let train = |ranks: usize, more: &[&str]| {
        let mut command = match ranks {
            0 => holosig(),
            n => holosig_on(n),
        };
        command.arg("train").args(more).current_dir(dir.path());
        start(&mut command).wait(LIMIT)
    };
    let scores = || std::fs::read_to_string(at("runs/job/scores.json")).unwrap();
    train(2, &["job.toml"]).success();
    let first = scores();
    // Nothing is left to do.
    let again: [&[&str]; 3] = [
        &["--resume", "runs/job"],
        &["job.toml", "--resume"],
        &["--resume", "job.toml", "--out", "runs/job"],
    ];
    for words in again {
        train(0, words).success();
        assert_eq!(scores(), first);
    }
    // A new length is said and needs a word.
    let longer = ["--resume", "runs/job", "--set", "train.steps=6"];
    train(2, &longer).failure(2, "--extend goes on beyond its end");
    assert_eq!(scores(), first);
    train(2, &[&longer[..], &["--extend"]].concat()).success();
    let kept = std::fs::read_to_string(at("runs/job/scores-4.json")).unwrap();
    assert_eq!(kept, first);
    assert!(at("runs/job/scores.json").exists());
    // The extension is what the run is now.
    train(0, &["--resume", "runs/job"]).success();
    let told = run(holosig().arg("status").arg(at("runs")))
        .success()
        .stdout;
    assert!(told.contains("job: finished, step 6 of 6"), "{told}");
    // A run folder stands for its best checkpoint.
    let hash = |path: PathBuf| run(holosig().arg("hash").arg(path)).success().stdout;
    assert_eq!(
        hash(at("runs/job")),
        hash(at("runs/job/checkpoints/best.h5"))
    );
    run(holosig().arg("status").arg(at("runs/job/checkpoints"))).failure(2, "no run folder");
    // One folder, one job: the user's file is not the run's.
    train(0, &["job.toml", "--out", ".", "--restart", "auto"]).failure(2, "its own job file");
    assert_eq!(std::fs::read_to_string(at("job.toml")).unwrap(), JOB);
    // Pipes under the names of checkpoints do not stop it.
    std::fs::remove_file(at("runs/job/checkpoints/last.h5")).unwrap();
    mkfifo(&at("runs/job/checkpoints/last.h5"));
    train(0, &["--resume", "runs/job"]).failure(2, "last.h5: a named pipe");
}

#[test]
fn commands_without_mpi_print_once() {
    let model = bench().at("model.h5");
    for words in [["hash"], ["inspect"]] {
        let alone = run(holosig().args(words).arg(&model)).success().stdout;
        let two = run(holosig_on(2).args(words).arg(&model)).success().stdout;
        assert_eq!(two, alone);
    }
    let mistake = run(holosig_on(2).args(["prepare", "grd", "--no-such-option"]));
    assert_eq!(
        mistake.stderr.matches("error: unexpected argument").count(),
        1
    );
}

#[test]
fn the_ending_is_the_format() {
    let dir = folder();
    let embed = |out: &str| {
        let mut command = holosig();
        command.arg("embed").arg(dir.path().join("model.h5"));
        command.arg("--dataset").arg(dir.path().join("dataset.h5"));
        run(command.arg("--out").arg(dir.path().join(out)))
    };
    embed("e.h5").success();
    let residues = store::open(&dir.path().join("e.h5"), Kind::Embeddings).unwrap();
    let n = residues.shape("invariants").unwrap()[0];
    embed("e.csv").success();
    let text = std::fs::read_to_string(dir.path().join("e.csv")).unwrap();
    assert_eq!(text.lines().count(), n + 1);
    let head = text.lines().next().unwrap();
    for column in ["row,", "chain", "invariants_0", "frames_2_2"] {
        assert!(head.contains(column), "{head}");
    }
    embed("e.npz").success();
    let bytes = std::fs::read(dir.path().join("e.npz")).unwrap();
    assert!(bytes.starts_with(b"PK\x03\x04"));
    for again in ["e.csv", "e.npz"] {
        embed(again).success();
    }
    for ending in ["parquet", "pt", "npy", "txt"] {
        let out = format!("e.{ending}");
        embed(&out).failure(2, "the ending must be .h5 or .hdf5 or .csv or .npz");
        assert!(!dir.path().join(out).exists());
    }
    std::fs::write(dir.path().join("mine.csv"), "id,value\n").unwrap();
    embed("mine.csv").failure(2, "is not a table of embeddings");
    let names = std::fs::read_dir(dir.path()).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|n| n.starts_with('.')));
    let mut export = holosig();
    export.arg("export").arg(dir.path().join("model.h5"));
    run(export.arg(dir.path().join("m.pt"))).failure(2, "the ending must be .safetensors");
    // The hyper-parameters beside an export are as safe as any file.
    let mut export = holosig();
    export.arg("export").arg(dir.path().join("model.h5"));
    run(export.arg(dir.path().join("hparams.safetensors")))
        .failure(2, "hparams.json: is there already");
}

#[test]
fn manual_pages_follow_the_rule_of_outputs() {
    let dir = folder();
    let man = |more: &[&str]| {
        let mut command = holosig();
        command.args(["man", "pages/deep"]).args(more);
        run(command.current_dir(dir.path()))
    };
    man(&[]).success();
    man(&[]).success();
    let page = dir.path().join("pages/deep/holosig-embed.1");
    let text = || std::fs::read_to_string(&page).unwrap();
    assert!(text().contains(".TH holosig-embed"), "{}", text());
    std::fs::write(&page, "mine").unwrap();
    man(&[]).failure(
        2,
        "holosig-embed.1: is there already and is not a manual page of holosig",
    );
    assert_eq!(text(), "mine");
    man(&["--force"]).success();
    assert!(text().contains(".TH"));
}

/// What a reader renamed or left out is told by every command that reads structures.
#[test]
fn what_was_renamed_is_told() {
    let dir = folder();
    let text = std::fs::read_to_string(dir.path().join("a.pdb")).unwrap();
    std::fs::write(
        dir.path().join("h.pdb"),
        text.replace(" HIS A  68", " HIE A  68"),
    )
    .unwrap();
    std::fs::write(dir.path().join("c.csv"), "protein,ligand\nh.pdb,GLY:A:76\n").unwrap();
    for words in [
        "prepare structures h.pdb --out d.h5",
        "embed model.h5 --structures h.pdb --out e.h5",
        "pockets model.h5 --complexes c.csv --out p.h5",
    ] {
        let told = run(holosig().args(words.split(' ')).current_dir(dir.path())).success();
        let line = "residues HIE, which count as HIS: 1";
        assert!(told.stdout.lines().any(|l| l == line), "{words}: {told:#?}");
    }
}

#[test]
fn residues_are_chosen_by_chain_and_number() {
    let dir = folder();
    let embed = |more: &[&str]| {
        let mut command = holosig();
        command.arg("embed").arg(dir.path().join("model.h5"));
        command.arg("--structures").arg(dir.path().join("a.pdb"));
        command.arg("--out").arg(dir.path().join("e.h5"));
        run(command.args(more))
    };
    let numbers = || {
        let file = store::open(&dir.path().join("e.h5"), Kind::Embeddings).unwrap();
        let residues = file.group("residues").unwrap();
        residues.read::<i32>("number").unwrap()
    };
    embed(&[]).success();
    let all = numbers();
    embed(&["--chain", "A"]).success();
    assert_eq!(numbers(), all);
    embed(&["--residues", "A:10-12,A:30"]).success();
    assert_eq!(numbers(), [10, 11, 12, 30]);
    embed(&["--residues", "B:10"]).failure(2, "residues is at B:10");
    embed(&["--residues", "A:12-10"]).failure(2, "12 comes after 10");
}

/// Only what is asked for is written: a file of numbers shows it.
#[test]
fn a_dataset_is_not_a_file_of_embeddings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5");
    store::write(&path, Kind::Zernikegrams, |root| {
        root.write("zernikegram", &[1, 1], &[0.5f32], Storage::Plain)
    })
    .unwrap();
    let told = run(holosig().arg("hash").arg(&path).stdin(Stdio::null()));
    told.failure(
        2,
        "a file of zernikegrams of holosig, where a checkpoint of holosig is needed",
    );
}
