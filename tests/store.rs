//! A full disk, played by a limit on the size of files.

use holosig::Result;
use holosig::store::{self, Kind, Storage};
use std::path::PathBuf;
use std::process::Command;

fn values() -> Vec<f32> {
    (0..100_000).map(|i| (i as f32).sin()).collect()
}

fn write(path: &std::path::Path, storage: Storage) -> Result<()> {
    store::write(path, Kind::Dataset, |root| {
        root.set_attr("cutoff", 10.0f64)?;
        let group = root.create_group("atoms")?;
        group.write("x", &[10_000, 10], &values(), storage)?;
        let names: Vec<String> = (0..1000).map(|i| format!("the name of file {i}")).collect();
        root.write_strings("names", &names)?;
        group.create::<f32>("rows", &[2000, 10], storage)?;
        group.write_rows("rows", 0, &values()[..20_000])
    })
    .map(drop)
}

/// Wherever the room ends, in data, strings, rows or metadata: an error and no file, or a file
/// with everything in it.
#[test]
fn a_full_disk_leaves_a_whole_file_or_none() {
    const NAME: &str = "a_full_disk_leaves_a_whole_file_or_none";
    if let Some(dir) = std::env::var_os("DIR") {
        let path = PathBuf::from(dir).join("a.h5");
        for storage in [Storage::Plain, Storage::Compressed] {
            if let Err(e) = write(&path, storage) {
                let told = e.to_string();
                assert!(told.contains("a.h5: File too large"), "{told}");
                assert!(!path.exists());
                println!("refused");
                continue;
            }
            let file = store::open(&path, Kind::Dataset).unwrap();
            let atoms = file.group("atoms").unwrap();
            let read = |name| atoms.read_shaped::<f32>(name, &[None, Some(10)]).unwrap().0;
            assert!(read("x") == values());
            assert!(read("rows") == values()[..20_000]);
            assert_eq!(file.read_strings("names").unwrap().len(), 1000);
            std::fs::remove_file(&path).unwrap();
            println!("whole");
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut said = String::new();
    for kib in (0..700).step_by(25) {
        let limit =
            format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" --exact {NAME} --nocapture");
        let mut command = Command::new("bash");
        command.args(["-c", &limit]);
        command
            .arg(std::env::current_exe().unwrap())
            .env("DIR", dir.path());
        let outcome = command.output().unwrap();
        assert!(outcome.status.success(), "{kib} KiB: {outcome:?}");
        said.push_str(&String::from_utf8_lossy(&outcome.stdout));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    assert!(said.contains("refused") && said.contains("whole"), "{said}");
}
