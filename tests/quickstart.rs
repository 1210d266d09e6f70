//! The dataset that `jobs/quickstart.toml` trains on is what `prepare` makes of the embedded
//! structures.

mod common;

use common::{holosig, run};
use holosig::data::dataset::Dataset;
use std::path::Path;

#[test]
fn the_embedded_dataset_is_that_of_the_embedded_structures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().join("fresh.h5");
    let mut prepare = holosig();
    prepare
        .args(["prepare", "structures"])
        .arg(root.join("tests/structures"));
    prepare
        .args(["--validation", "0.1", "--test", "0.15", "--out"])
        .arg(&fresh);
    run(&mut prepare).success();
    let (fresh, embedded) = (
        Dataset::open(&fresh).unwrap(),
        Dataset::open(&root.join("jobs/quickstart.h5")).unwrap(),
    );
    assert!(embedded.structures().len() >= 20);
    assert_eq!(embedded.structures(), fresh.structures());
    assert_eq!(embedded.settings(), fresh.settings());
    assert_eq!(embedded.len(), fresh.len());
    for s in 0..embedded.structures().len() {
        let (a, b) = (embedded.atoms(s), fresh.atoms(s));
        assert_eq!(a.positions, b.positions);
        assert_eq!((a.numbers, a.residue_of), (b.numbers, b.residue_of));
    }
    for centre in 0..embedded.len() as u32 {
        assert_eq!(embedded.residue(centre), fresh.residue(centre));
    }
}
