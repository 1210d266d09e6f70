//! What is printed: once, to its end, and shown rather than obeyed.

use super::*;

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
    for (name, text) in [
        ("c.csv", "protein,ligand\nh.pdb,GLY:A:76\n"),
        ("t.csv", "id,file,chain,label,split\nh,h.pdb,A,a,train\n"),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    for words in [
        "prepare structures h.pdb --out d.h5",
        "prepare chains t.csv --out ch.h5",
        "prepare complexes --complexes c.csv --out co.h5",
        "prepare systems h.pdb --out s.h5",
        "embed model.h5 --structures h.pdb --out e.h5",
        "pockets model.h5 --complexes c.csv --out p.h5",
    ] {
        let told = run(holosig().args(words.split(' ')).current_dir(dir.path())).success();
        let line = "residues HIE, which count as HIS: 1";
        assert!(told.stdout.lines().any(|l| l == line), "{words}: {told:#?}");
    }
}
