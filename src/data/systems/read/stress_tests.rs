//! Stresses of every format, and what is refused.

use super::super::{Systems, units};
use super::tests::{read_as, read_with, refused};
use super::*;
use crate::comm::World;

/// eV/Å^3.
const STRESS: Stress = [
    [0.01, 0.04, -0.05],
    [0.04, -0.02, 0.06],
    [-0.05, 0.06, 0.03],
];
const VOLUME: f64 = 4.0 * 5.0 * 6.0;

/// A frame whose second line has this too.
fn frame(more: &str) -> String {
    format!(
        "2\nLattice=\"4 0 0 0 5 0 0 0 6\" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 \
         {more}\nCu 0 0 0 0.1 0.2 0.3\nO 1.5 0 0 -0.1 -0.2 -0.3\n"
    )
}

fn texts(numbers: impl IntoIterator<Item = f64>, between: &str) -> String {
    let texts: Vec<String> = numbers.into_iter().map(|x| x.to_string()).collect();
    texts.join(between)
}

/// The numbers in this order, times a factor.
fn six(places: [(usize, usize); 6], factor: f64) -> [f64; 6] {
    places.map(|(i, k)| factor * STRESS[i][k])
}

const VOIGT: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)];
const VASP: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)];
/// kbar, positive under compression.
const KILOBAR: f64 = -1_602.176_634;

#[track_caller]
fn close(sample: &Sample, factor: f64) {
    let own = sample.stress.expect("a stress");
    let pairs = own.as_flattened().iter().zip(STRESS.as_flattened());
    for (own, expected) in pairs {
        assert!(
            (own - factor * expected).abs() < 1e-12,
            "{own} for {expected}"
        );
    }
}

#[test]
fn extended_xyz_has_stresses_and_virials() {
    let nine = |factor: f64| texts(STRESS.as_flattened().iter().map(|x| factor * x), " ");
    let of = |more: String, options: &Options| {
        read_with("a.xyz", frame(&more).as_bytes(), options)
            .unwrap()
            .remove(0)
    };
    let plain = &Options::default();
    let labels = [
        format!("stress=\"{}\"", nine(1.0)),
        format!("REF_stress=\"{}\"", texts(six(VOIGT, 1.0), " ")),
        format!("stress=[{}]", texts(six(VOIGT, 1.0), ", ")),
        format!("virial=\"{}\"", nine(-VOLUME)),
        format!("dft_virial={{{}}} stress=\"{}\"", nine(7.0), nine(1.0)),
    ];
    for label in labels {
        let sample = of(label, plain);
        close(&sample, 1.0);
        assert_eq!(sample.values.len(), 1);
    }
    let converted = Options {
        convert: vec![(String::new(), "kcal/mol".into())],
        ..Options::default()
    };
    let factor = units::factor("eV", "kcal/mol").unwrap();
    close(&of(format!("stress=\"{}\"", nine(1.0)), &converted), factor);
    let pascals = Options {
        units: vec![("stress".into(), "GPa".into())],
        ..converted
    };
    close(
        &of(format!("stress=\"{}\"", nine(160.217_663_4)), &pascals),
        factor,
    );
    let ordered = Options {
        stress_order: Some("xx,yy,zz,xy,yz,zx".parse().unwrap()),
        ..Options::default()
    };
    close(
        &of(
            format!("stress=\"{}\"", texts(six(VASP, 1.0), " ")),
            &ordered,
        ),
        1.0,
    );
}

#[test]
fn json_has_those_of_vasp_and_of_ase() {
    let jarvis = |numbers: &str| {
        format!(
            r#"[{{"atoms": {{"lattice_mat": [[4,0,0],[0,5,0],[0,0,6]], "cartesian": true, "coords":
            [[0,0,0],[1.5,0,0]], "elements": ["Cu","O"]}}, "total_energy": -0.75, "stresses":
            [{numbers}]}}]"#
        )
    };
    let rows = STRESS.map(|row| format!("[{}]", texts(row.map(|x| KILOBAR * x), ",")));
    let pymatgen = format!(
        r#"{{"structure": {{"lattice": {{"matrix": [[4,0,0],[0,5,0],[0,0,6]]}}, "sites": [{{"species":
        [{{"element": "Cu", "occu": 1}}], "xyz": [0,0,0]}}]}}, "outputs": {{"energy": -1.5, "stress":
        [{}]}}}}"#,
        rows.join(",")
    );
    let ase = format!(
        r#"{{"1": {{"numbers": [29], "positions": [[0,0,0]], "cell": [[4,0,0],[0,5,0],[0,0,6]], "pbc":
        [true,true,true], "energy": -1.5, "stress": {{"__ndarray__": [[6], "float64", [{}]]}}}}, "ids":
        [1]}}"#,
        texts(six(VOIGT, 1.0), ",")
    );
    let vasp = jarvis(&texts(six(VASP, KILOBAR), ","));
    for text in [&vasp, &pymatgen, &ase] {
        let sample = read_as("a.json", text.as_bytes()).unwrap().remove(0);
        close(&sample, 1.0);
        assert_eq!(sample.values.len(), 1);
    }
    let copper = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
    let options = Options {
        stress_order: Some("xx,yy,zz,xy,xz,yz".parse().unwrap()),
        ..Options::default()
    };
    let text = jarvis(&texts(six(copper, KILOBAR), ","));
    close(
        &read_with("a.json", text.as_bytes(), &options).unwrap()[0],
        1.0,
    );
    let told = refused("a.json", jarvis("1, 2, \"x\"").as_bytes());
    assert!(told.contains("stress: numbers are needed"), "{told}");
}

#[test]
fn bad_stresses_are_named() {
    let good = "stress=\"1 0 0 0 1 0 0 0 1\"";
    let whole = frame(good);
    for (from, to, expected) in [
        (
            good,
            "stress=\"1 2 3\"",
            "line 2: 3 numbers of a stress: 6 or 9 are needed",
        ),
        (good, "stress=1.0", "line 2: 1 numbers of a stress"),
        (
            good,
            "stress=\"1 0 0 0 1 0 0 0 x\"",
            "line 2: \"x\" is not a number",
        ),
        (
            good,
            "stress=\"1 0 0 0 nan 0 0 0 1\"",
            "its stress has NaN, not a finite number",
        ),
        (
            good,
            "stress=\"1 0.2 0 0.3 1 0 0 0 1\"",
            "its stress is not symmetric: 0.2 for xy, 0.3 for yx",
        ),
        (
            "energy=-1.5",
            "pbc=\"T T F\" energy=-1.5",
            "a stress needs a cell that repeats in all three directions",
        ),
        ("Lattice=\"4 0 0 0 5 0 0 0 6\"", "", "a stress needs a cell"),
        (
            "Lattice=\"4 0 0 0 5 0 0 0 6\" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 \
             stress=",
            "Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 virial=",
            "line 2: a stress needs a cell",
        ),
        (
            ":forces:R:3 energy=-1.5",
            ":other:R:3",
            "a stress without an energy",
        ),
    ] {
        let error = refused("a.xyz", whole.replace(from, to).as_bytes());
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    // Rounding is no mistake.
    let rounded = whole.replace(good, "stress=\"1 0.20001 0 0.2 1 0 0 0 1\"");
    assert!(read_as("a.xyz", rounded.as_bytes()).is_ok());
    let refused = |units: &[(&str, &str)], convert: &[(&str, &str)]| {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs.map(|(a, b)| (a.to_string(), b.to_string())).collect()
        };
        let options = Options {
            units: owned(units),
            convert: owned(convert),
            ..Options::default()
        };
        options.check().unwrap_err().to_string()
    };
    assert!(refused(&[("stress", "eV")], &[]).contains("GPa or kbar is needed"));
    assert!(refused(&[], &[("stress", "GPa")]).contains("stresses go along with their energy"));
}

#[test]
fn a_file_keeps_stresses_and_one_without_them_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.h5");
    let of_xyz = |text: &str| read_as("a.xyz", text.as_bytes()).unwrap();
    let write = |samples: Vec<Sample>| {
        let splits = vec![Split::Train; samples.len()];
        Systems::pack(samples, splits, String::new())
            .unwrap()
            .write(&path)
            .unwrap();
        Systems::open(&World::alone(), &path).unwrap()
    };
    let label = format!("stress=\"{}\"", texts(STRESS.concat(), " "));
    let with = write(of_xyz(&[frame(&label), frame("")].concat()));
    assert_eq!(with.stress(0), Some((STRESS, VOLUME)));
    assert!(with.has_stresses() && with.stress(1).is_none());
    let options = Options {
        convert: vec![("energy".into(), "hartree".into())],
        ..Options::default()
    };
    let again = read(&path, &options).unwrap();
    close(&again[0], units::factor("eV", "hartree").unwrap());
    assert!(again[1].stress.is_none());
    // A stress alone names the unit.
    let mut alone = of_xyz(&frame(&label));
    alone[0].forces = None;
    assert_eq!(write(alone).force_unit(), "eV");
    let without = write(of_xyz(&frame("")));
    assert!(!without.has_stresses() && without.stress(0).is_none());
}
