//! What clusters do to a run, and what surrounds it: stalls, locks, disks, status, submission.

use super::*;

/// A rank that is stopped makes the others wait; the watchdog ends the job and names it.
#[test]
fn a_stopped_rank_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // Long enough for a rank that starts on a busy machine.
    let running = started_with(3, dir.path(), &["train.stall_timeout=5"]);
    signal("STOP", &ranks_of(&running)[1..2]);
    let outcome = running.wait(LIMIT);
    assert_ne!(outcome.code, 0);
    let told = outcome
        .stderr
        .lines()
        .filter(|l| l.contains("no sign of life from rank 1 on "));
    assert!(told.count() >= 1, "{outcome:#?}");
    resumes_exactly(dir.path(), 2);
}

#[test]
fn a_rank_that_never_starts_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = common::mpirun(2);
    let script = "if [ ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} = 1 ]; then exec sleep 300; fi; exec \"$0\" \"$@\"";
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_holosig")]);
    train_args(
        &mut command,
        &dir.path().join("run"),
        &["train.stall_timeout=2"],
    );
    let outcome = start(&mut command).wait(LIMIT);
    assert_ne!(outcome.code, 0);
    assert!(
        outcome.stderr.contains("rank 1 never started"),
        "{outcome:#?}"
    );
}

/// Open MPI's launcher can stay behind when its ranks are gone (here because it is stopped); it
/// does not stay for long.
#[test]
fn a_launcher_that_stays_behind_is_ended() {
    let version = Command::new("mpirun").arg("--version").output().unwrap();
    if !String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
        eprintln!("not tested: the launcher is not Open MPI's");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let running = started(2, dir.path());
    let ranks = ranks_of(&running);
    let launcher = running.child.id().to_string();
    signal("STOP", std::slice::from_ref(&launcher));
    signal("KILL", &ranks);
    let begun = Instant::now();
    running.wait(LIMIT);
    assert!(begun.elapsed() < LIMIT, "mpirun is still there");
    resumes_exactly(dir.path(), 2);
}

#[test]
fn one_folder_takes_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let running = started(2, dir.path());
    train_on(2, dir.path(), &[], &["--restart", "auto"]).failure(2, "in use by process");
    signal("TERM", &ranks_of(&running));
    running
        .wait(LIMIT)
        .failure(75, "stopped by a signal after step");
    let left = std::fs::read_dir(dir.path()).unwrap();
    let hidden = |n: &std::ffi::OsString| n.to_string_lossy().starts_with('.');
    assert!(!left.map(|e| e.unwrap().file_name()).any(|n| hidden(&n)));
    resumes_exactly(dir.path(), 2);
}

#[test]
fn a_deleted_run_folder_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let running = started(2, &out);
    std::fs::rename(&out, dir.path().join("moved")).unwrap();
    let outcome = running.wait(LIMIT);
    assert_eq!(outcome.code, 1, "{outcome:#?}");
    let texts = ["the run folder is gone", "No such file"];
    assert!(
        texts.iter().any(|t| outcome.stderr.contains(t)),
        "{outcome:#?}"
    );
    resumes_exactly(&dir.path().join("moved"), 2);
}

/// A file system of its own fills up, and then takes nothing at all; both are told, and what was
/// there stays whole. Needs the right to mount.
#[test]
fn a_disk_that_fails_in_mid_run_is_told() {
    let may_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !may_mount.is_ok_and(|s| s.success()) {
        eprintln!("not tested: no right to mount file systems here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (disk, copy) = (dir.path().join("disk"), dir.path().join("copy"));
    std::fs::create_dir(&disk).unwrap();
    let faults = [
        ("head -c 1G /dev/zero > full", "No space left on device"),
        (
            "until mount -o remount,ro .; do sleep 0.01; done",
            "Read-only file system",
        ),
    ];
    for (fault, told) in faults {
        // The program runs until the fault shows; then its folder is copied off the disk.
        let script = format!(
            "mount -t tmpfs -o size=32m tmpfs \"$1\" && cd \"$1\" && shift && {{ \"$@\" & \
             until [ -e run/checkpoints/last.h5 ]; do sleep 0.05; done; {fault} 2>/dev/null; \
             wait $!; code=$?; cp -r run \"{}\"; exit $code; }}",
            copy.display()
        );
        let mut command = Command::new("unshare");
        command
            .env("RAYON_NUM_THREADS", "1")
            .args(["-m", "bash", "-c", &script, "bash"]);
        command.arg(&disk).arg(env!("CARGO_BIN_EXE_holosig"));
        train_args(&mut command, Path::new("run"), &["train.steps=100000"]);
        let outcome = start(&mut command).wait(LIMIT);
        assert_eq!(outcome.code, 1, "{outcome:#?}");
        assert!(outcome.stderr.contains(told), "{outcome:#?}");
        resumes_exactly(&copy, 2);
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn a_dry_run_tells_the_costs_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    for ranks in [0, 2] {
        let outcome = train_on(ranks, &out, &["train.keep=9"], &["--dry-run"]).success();
        for told in [
            "keep = 9",
            "per rank and epoch",
            "a step",
            "checkpoint",
            "of which validation",
        ] {
            assert!(outcome.stdout.contains(told), "{outcome:#?}");
        }
        assert!(!out.exists());
    }
}

/// The one line of `holosig status`.
fn status(out: &Path) -> String {
    run(holosig().arg("status").arg(out)).success().stdout
}

#[test]
fn the_folder_tells_how_a_run_stands() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    run(holosig().arg("status").arg(&out)).failure(2, "no such run folder");
    let running = started(2, &out);
    let told = status(&out);
    assert!(
        told.contains(": running, step ") && told.contains(" of 100000, 2 ranks"),
        "{told}"
    );
    signal("KILL", &ranks_of(&running));
    assert_ne!(running.wait(LIMIT).code, 0);
    let told = status(&out);
    assert!(
        told.contains(": dead, step ") && told.contains("last checkpoint at step"),
        "{told}"
    );
    resumes_exactly(&out, 2);
    let told = status(&out);
    assert!(told.contains(": finished, step "), "{told}");
}

fn submit(out: &Path, options: &[&str]) -> Outcome {
    let mut command = holosig();
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1");
    command.env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    command.arg("submit").arg(bench().join("job.toml"));
    run(command.arg("--out").arg(out).args(options))
}

#[test]
fn submitting_writes_the_script_of_the_scheduler() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a run");
    let wanted = [
        ("slurm", "#SBATCH --nodes=3\n", "#SBATCH --time=02:00:00\n"),
        (
            "pbs",
            "#PBS -l select=3:ncpus=2:mpiprocs=2\n",
            "#PBS -l walltime=02:00:00\n",
        ),
    ];
    for (scheduler, nodes, time) in wanted {
        let options = [
            "--nodes",
            "3",
            "--time",
            "02:00:00",
            "--set",
            "train.slices=8",
            "--scheduler",
            scheduler,
            "--dry-run",
        ];
        let told = submit(&out, &options).success().stdout;
        for line in [
            nodes,
            time,
            "set -- ",
            "a run' --set train.slices=8\n",
            "HOLOSIG_MAX_RESTARTS=3\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let script = dir.path().join("script");
        std::fs::write(&script, told).unwrap();
        run(Command::new("bash").arg("-n").arg(&script)).success();
    }
    assert!(!out.exists());
    submit(&out, &["--set", "train.stepps=1", "--dry-run"]).failure(2, "did you mean train.steps?");
    submit(&out, &["--nodes", "2", "--scheduler", "none"]).failure(2, "give --hostfile");
    submit(&out, &["--nodes", "3"]).failure(2, "too few for 6 ranks");
    submit(&out, &["--time", "soon"]).failure(2, "HH:MM:SS");
    let gpu = "train.device=\"cuda\"";
    submit(&out, &["--set", gpu]).failure(2, "--gpus-per-node G");
    submit(&out, &["--set", gpu, "--gpus-per-node", "4"]).failure(2, "holosig-cuda is not there");
}

#[test]
fn submitting_without_a_scheduler_starts_mpirun() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let told = submit(&out, &["--scheduler", "none", "--set", "train.steps=40"]).success();
    let places = [
        format!("run folder: {}", out.display()),
        format!("log: {}", out.join("submit.log").display()),
        format!("its state: holosig status {}", out.display()),
    ];
    for place in places {
        let mut lines = told.stdout.lines();
        assert!(lines.any(|l| l == place), "{place}: {told:#?}");
    }
    assert!(out.join("submit.log").is_file());
    let begun = Instant::now();
    while !status(&out).contains(": finished, step 40 of 40") {
        assert!(begun.elapsed() < LIMIT, "{}", status(&out));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(hash(&out), reference());
}
