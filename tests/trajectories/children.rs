//! Files that a child process reads: what would fill or stop the machine ends the child alone.

use super::gzip::gzip;
use super::*;
use std::time::Instant;

/// Half a gigabyte of it is half a megabyte of gzip.
#[test]
fn a_packed_line_of_any_length_is_told_and_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run_of = Run::new(2, 9);
    run_of.write(&at("run.xtc"), 0..2);
    run_of.write_frame(&at("top.xyz"));
    manifest(&folder, &["trajectory,topology", "run.xtc,top.xyz.gz"]);
    let text = std::fs::read_to_string(at("top.xyz")).unwrap();
    // Behind the remark.
    let (place, _) = text.match_indices('\n').nth(1).unwrap();
    let (head, rest) = text.split_at(place);
    let blanks = gzip(&vec![b' '; 1 << 24]);
    let prepared = |pieces: usize| {
        let blanks = blanks.repeat(pieces);
        let whole = [gzip(head.as_bytes()), blanks, gzip(rest.as_bytes())].concat();
        assert!(whole.len() < 4 << 20, "{}", whole.len());
        std::fs::write(at("top.xyz.gz"), whole).unwrap();
        std::fs::remove_file(at("out.h5")).ok();
        run(&mut prepare(&folder, &["--segments", "1x1"]))
    };
    prepared(1).success();
    let told = prepared(33).failure(2, "top.xyz.gz: ");
    assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    assert!(!at("out.h5").exists());
}

#[test]
fn a_child_has_limits_of_memory_and_time() {
    let folder = tempfile::tempdir().unwrap();
    // It waits for what nobody writes.
    let pipe = folder.path().join("run.xyz.gz");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut command = holosig();
    command.args(["--child-reader", "frames"]).arg(&pipe);
    let mut child = start(command.args(["0", "1"])).child;
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    // Once its limits are set, what libraries print is dropped.
    let (begun, nowhere) = (Instant::now(), Path::new("/dev/null"));
    while std::fs::read_link(process.join("fd/1")).is_ok_and(|to| to != nowhere)
        && begun.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    let limits = std::fs::read_to_string(process.join("limits"));
    child.kill().unwrap();
    child.wait().unwrap();
    let limits = limits.unwrap();
    let limit = |name: &str| -> u64 {
        let line = limits.lines().find_map(|l| l.strip_prefix(name));
        let soft = line.unwrap().split_whitespace().next().unwrap();
        soft.parse().unwrap_or(u64::MAX)
    };
    assert!(limit("Max cpu time") <= 60, "{limits}");
    assert!(limit("Max address space") <= 16 << 30, "{limits}");
}
