//! A program built without a feature says which one a job needs.
//! `cargo test --release --no-default-features --test features`

#[cfg(not(feature = "chemfiles"))]
#[path = "common/mod.rs"]
mod common;

#[cfg(not(feature = "chemfiles"))]
#[test]
fn trajectories_need_chemfiles() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("m.csv");
    std::fs::write(&manifest, "trajectory,topology\na.xyz,a.pdb\n").unwrap();
    let out = folder.path().join("out.h5");
    let mut command = common::holosig();
    command.args(["prepare", "trajectories", "--manifest"]);
    command.arg(&manifest).arg("--out").arg(&out);
    common::run(&mut command).failure(2, "without the feature `chemfiles`");
    assert!(!out.exists());
}
