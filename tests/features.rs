//! A program built without a feature says which one a job needs.
//! `cargo test --release --no-default-features --test features`

#[cfg(not(all(feature = "chemfiles", feature = "lmdb")))]
#[path = "common/mod.rs"]
mod common;

#[cfg(not(feature = "chemfiles"))]
#[test]
fn trajectories_need_chemfiles() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("m.csv");
    std::fs::write(&manifest, "trajectory,topology\na.xtc,a.pdb\n").unwrap();
    let out = folder.path().join("out.h5");
    let mut command = common::holosig();
    command.args(["prepare", "trajectories", "--manifest"]);
    command.arg(&manifest).arg("--out").arg(&out);
    common::run(&mut command).failure(2, "without the feature `chemfiles`");
    assert!(!out.exists());
}

#[cfg(not(feature = "lmdb"))]
#[test]
fn databases_need_lmdb() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("data.mdb"), "").unwrap();
    let published =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published_small");
    let files = ["model.pt", "hparams.json"].map(|f| published.join(f));
    let mut import = common::holosig();
    import
        .arg("import")
        .args(files)
        .arg("--out")
        .arg(at("m.h5"));
    common::run(&mut import).success();
    let mut command = common::holosig();
    command.arg("pockets").arg(at("m.h5")).arg("--complexes");
    command.arg(at("data.mdb")).arg("--out").arg(at("out.h5"));
    common::run(&mut command).failure(
        2,
        "data.mdb: a database of ATOM3D: this program was built without the feature `lmdb`",
    );
}
