//! What is printed: once, to its end, and shown rather than obeyed.

use super::*;
use holosig::print::steers;

/// Runs a command whose standard output is closed, or takes nothing.
fn into(target: &str, command: &Command) -> (i32, String) {
    let mut words = vec![command.get_program().to_os_string()];
    words.extend(command.get_args().map(|a| a.to_os_string()));
    let script = match target {
        // It starts when the reader is gone.
        "closed" => {
            "(trap '' PIPE; while echo; do :; done 2>/dev/null; exec \"$@\") | true; \
             exit ${PIPESTATUS[0]}"
        }
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
    // What the scheduler would take for further options.
    for (option, value) in [
        ("--queue", "a --wrap=x"),
        ("--account", "a'b"),
        ("--account", "a\"b"),
    ] {
        let mut submit = holosig();
        submit.arg("submit").arg(&job).args([option, value]);
        submit.args(["--dry-run", "--scheduler", "slurm"]);
        run(&mut submit).failure(2, "is no name of a scheduler");
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

/// Wherever they come from: files, folders, jobs, the command line itself.
#[test]
fn names_are_shown_on_both_outputs() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let (file, folder) = ("d\u{1b}[31m\u{202e}.h5", "r\u{1b}[31m\u{202e}");
    std::fs::copy(at("dataset.h5"), at(file)).unwrap();
    std::fs::create_dir_all(at(folder).join("checkpoints")).unwrap();
    let job = JOB.replace("dataset.h5", "d\\u001b[31m\\u202e.h5");
    std::fs::write(at("odd.toml"), job).unwrap();
    for (words, code, shown) in [
        (&["inspect", file][..], 0, "d\\u{1b}[31m\\u{202e}.h5"),
        (&["status", folder], 0, "r\\u{1b}[31m\\u{202e}: not started"),
        (&["train", "odd.toml", "--dry-run"], 0, "\\u{202e}.h5\""),
        (&["inspect\u{202e}"], 2, "'inspect\\u{202e}'"),
        (&["inspect", "--x\u{202e}"], 2, "'--x\\u{202e}'"),
    ] {
        let told = run(holosig().args(words).current_dir(dir.path()));
        assert_eq!(told.code, code, "{words:?}: {told:#?}");
        let all = [&told.stdout[..], &told.stderr].concat();
        assert!(all.contains(shown), "{words:?}: {told:#?}");
        let obeyed = |c: char| !['\n', '\t'].contains(&c) && steers(c);
        assert!(!all.contains(obeyed), "{words:?}: {told:#?}");
    }
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
fn shells_complete_commands_and_options() {
    let dir = folder();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(holosig().args(["completions", shell])).success().stdout;
        for word in ["holosig", "prepare", "min-plddt"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        std::fs::write(dir.path().join(format!("c.{shell}")), script).unwrap();
    }
    let mut bash = Command::new("bash");
    bash.args(["-c", ". ./c.bash && complete -p holosig"]);
    let told = run(bash.current_dir(dir.path())).success();
    assert!(told.stdout.ends_with(" holosig\n"), "{told:#?}");
}

/// A column of affinities is taken with its unit; one that is not taken is told of.
#[test]
fn columns_that_look_like_affinities_are_taken_or_told() {
    let dir = folder();
    for (columns, values, affinity, words) in [
        (
            "Kd (nM)",
            "50",
            Some(9.0 - 50f64.log10()),
            "column \"Kd (nM)\"",
        ),
        ("Kd", "50", None, "\"Kd\" says no unit; call it Kd (nM)"),
        (
            "Kd (nM),Ki (nM)",
            "5,6",
            None,
            "Kd (nM), Ki (nM) are all of them; choose one by --column affinity=NAME",
        ),
    ] {
        let table = format!("protein,ligand,{columns}\na.pdb,GLY:A:76,{values}\n");
        std::fs::write(dir.path().join("c.csv"), table).unwrap();
        let words_of_command = "prepare complexes --complexes c.csv --out c.h5".split(' ');
        let told = run(holosig().args(words_of_command).current_dir(dir.path())).success();
        assert_eq!(told.stderr.matches(words).count(), 1, "{told:#?}");
        let dataset = Dataset::open(&dir.path().join("c.h5")).unwrap();
        let found = dataset.structures()[0].complex.as_ref().unwrap().affinity;
        match affinity {
            None => assert_eq!(found, None, "{columns}"),
            Some(affinity) => assert!((found.unwrap() - affinity).abs() < 1e-9, "{found:?}"),
        }
    }
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
