//! Runs by their folders, and what is chosen of an input.

use super::*;

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
    submit(&["--set", "zernike.channels=[\"Zn\"]"])
        .failure(2, "no training sample with an atom in any of the channels");
    submit(&["--set", "model.degrees=[1]"]).failure(2, "degrees has 1 entries, channels has 2");
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
        let mut command = holosig_on(ranks);
        command.arg("train").args(more).current_dir(dir.path());
        start(&mut command).wait(LIMIT)
    };
    let scores = || std::fs::read_to_string(at("runs/job/scores.json")).unwrap();
    train(2, &["job.toml"]).success();
    // Scores that are made again lack this mark.
    let first = scores() + "\n\n";
    std::fs::write(at("runs/job/scores.json"), &first).unwrap();
    // Nothing is left to do.
    let again: [&[&str]; 3] = [
        &["--resume", "runs/job"],
        &["job.toml", "--resume"],
        &["--resume", "job.toml", "--out", "runs/job"],
    ];
    for words in again {
        train(0, words).success();
        assert_eq!(scores(), first);
        assert!(!at("runs/job/scores-4.json").exists());
    }
    // A new length is said and needs a word.
    let longer = ["--resume", "runs/job", "--set", "train.steps=6"];
    train(2, &longer).failure(2, "--extend goes on beyond its end");
    assert_eq!(scores(), first);
    let told = train(2, &[&longer[..], &["--extend"]].concat()).success();
    let change = "the length of the run changes: 4 steps so far, 6 now";
    assert_eq!(told.stderr.matches(change).count(), 1, "{told:#?}");
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
    // Pipes under the names of files and checkpoints do not stop it.
    for name in ["scores.json", "loss.svg"] {
        std::fs::remove_file(at("runs/job").join(name)).unwrap();
        mkfifo(&at("runs/job").join(name));
        let refused = format!("{name}: a named pipe");
        train(0, &["--resume", "runs/job"]).failure(2, &refused);
        std::fs::remove_file(at("runs/job").join(name)).unwrap();
    }
    std::fs::remove_file(at("runs/job/checkpoints/last.h5")).unwrap();
    mkfifo(&at("runs/job/checkpoints/last.h5"));
    train(0, &["--resume", "runs/job"]).failure(2, "last.h5: a named pipe");
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

#[test]
fn a_run_stands_for_its_checkpoint() {
    let dir = folder();
    let program = |words: &str| run(holosig().args(words.split(' ')).current_dir(dir.path()));
    program("train job.toml --out first").success();
    program("train job.toml --out second --set train.init=first").success();
    program("embed first --structures a.pdb --out e.h5").success();
    for words in ["hash empty", "embed empty --structures a.pdb --out e.h5"] {
        std::fs::create_dir_all(dir.path().join("empty")).unwrap();
        program(words).failure(2, "a folder without checkpoints");
    }
    program("predict empty --systems s.h5 --out p.h5").failure(2, "a folder without checkpoints");
    program("train job.toml --out x --set train.init=empty").failure(2, "a folder without");
    std::fs::remove_file(dir.path().join("first/checkpoints/best.h5")).unwrap();
    program("hash first").success();
    program("hash first/checkpoints/best.h5").failure(2, "nothing has been validated in this run");
    program("train first").failure(2, "first: a run, where a job is needed; train --resume RUN");
    program("prepare chains t.csv --column fold=label --out c.h5")
        .failure(2, "\"fold\" is none of id, file, chain, label, split");
    program("report a.pdb").failure(2, "a.pdb: a file, where the folder of a run is needed");
}
