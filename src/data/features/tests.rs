use super::*;
use crate::data::neighborhoods::{Neighborhood, SystemFinder};
use crate::data::zernikegrams::of_clouds;
use crate::elements;
use crate::ops::zernike::{Channel, Settings, Transform};
use crate::so3::rotation;
use crate::stats;

type Atom = (u8, [f32; 3]);

fn features(molecule: &[Atom], ligand: Option<u32>) -> Vec<Features> {
    let (numbers, positions): (Vec<u8>, Vec<[f32; 3]>) = molecule.iter().copied().unzip();
    let residue_of: Vec<u32> = (0..numbers.len() as u32).collect();
    of(&Atoms {
        numbers: &numbers,
        positions: &positions,
        residue_of: &residue_of,
        ligand,
    })
}

/// `number` at a distance and an angle (degrees) in the plane.
fn at(number: u8, from: [f32; 3], length: f32, degrees: f32) -> Atom {
    let (sin, cos) = degrees.to_radians().sin_cos();
    (
        number,
        [from[0] + length * cos, from[1] + length * sin, from[2]],
    )
}

/// A flat ring of these elements with sides of a length.
fn ring(numbers: &[u8], side: f32) -> Vec<Atom> {
    let turn = 360.0 / numbers.len() as f32;
    let radius = side / 2.0 / (turn / 2.0).to_radians().sin();
    let corner = |(k, &z): (usize, &u8)| at(z, [0.0; 3], radius, k as f32 * turn);
    numbers.iter().enumerate().map(corner).collect()
}

/// An atom with three others around it in a plane.
fn star(centre: u8, arms: [(u8, f32); 3]) -> Vec<Atom> {
    let around = |(k, (z, length)): (usize, (u8, f32))| at(z, [0.0; 3], length, 120.0 * k as f32);
    let arms = arms.into_iter().enumerate().map(around);
    std::iter::once((centre, [0.0; 3])).chain(arms).collect()
}

/// Corners of a tetrahedron about an atom.
fn tetrahedron(centre: u8, arms: &[(u8, f32)]) -> Vec<Atom> {
    const CORNERS: [[f32; 3]; 4] = [
        [1.0, 1.0, 1.0],
        [1.0, -1.0, -1.0],
        [-1.0, 1.0, -1.0],
        [-1.0, -1.0, 1.0],
    ];
    let arms = arms.iter().zip(CORNERS);
    let arms = arms.map(|(&(z, length), c)| (z, c.map(|x| x * length / 3f32.sqrt())));
    std::iter::once((centre, [0.0; 3])).chain(arms).collect()
}

/// Checks charge, donor, acceptor and aromatic of every atom.
fn check(name: &str, molecule: &[Atom], expected: &[[f32; 4]]) {
    let own = features(molecule, None);
    assert_eq!(own.len(), expected.len(), "{name}");
    for (i, (own, expected)) in own.iter().zip(expected).enumerate() {
        for k in 0..4 {
            let feature = Feature::ALL[k];
            assert!(
                (own[k] - expected[k]).abs() < 1e-6,
                "{name}, atom {i}: {feature} {} for {}",
                own[k],
                expected[k]
            );
        }
    }
}

const NOTHING: [f32; 4] = [0.0; 4];
const DONOR: [f32; 4] = [0.0, 1.0, 0.0, 0.0];
const ACCEPTOR: [f32; 4] = [0.0, 0.0, 1.0, 0.0];
const BOTH: [f32; 4] = [0.0, 1.0, 1.0, 0.0];
const RING: [f32; 4] = [0.0, 0.0, 0.0, 1.0];

#[test]
fn oxygens_by_what_they_are_bound_to() {
    check("water", &[(8, [0.0; 3])], &[BOTH]);
    check(
        "methanol",
        &[(6, [0.0; 3]), at(8, [0.0; 3], 1.43, 0.0)],
        &[NOTHING, BOTH],
    );
    let ether = [
        at(6, [0.0; 3], 1.42, 0.0),
        (8, [0.0; 3]),
        at(6, [0.0; 3], 1.42, 112.0),
    ];
    check("ether", &ether, &[NOTHING, ACCEPTOR, NOTHING]);
    let acetone = star(6, [(8, 1.22), (6, 1.51), (6, 1.51)]);
    check("acetone", &acetone, &[NOTHING, ACCEPTOR, NOTHING, NOTHING]);
    let half = [-0.5, 0.0, 1.0, 0.0];
    check(
        "acetate",
        &star(6, [(8, 1.25), (8, 1.25), (6, 1.52)]),
        &[NOTHING, half, half, NOTHING],
    );
    let mut phosphate = tetrahedron(15, &[(8, 1.51), (8, 1.51), (8, 1.51), (8, 1.6)]);
    let last = phosphate[4].1;
    phosphate.push((6, last.map(|x| x * 1.9)));
    let part = [-2.0 / 3.0, 0.0, 1.0, 0.0];
    check(
        "methyl phosphate",
        &phosphate,
        &[NOTHING, part, part, part, ACCEPTOR, NOTHING],
    );
    let third = [-1.0 / 3.0, 0.0, 1.0, 0.0];
    let sulphonate = tetrahedron(16, &[(8, 1.45), (8, 1.45), (8, 1.45), (6, 1.77)]);
    check(
        "sulphonate",
        &sulphonate,
        &[NOTHING, third, third, third, NOTHING],
    );
    let sulphone = tetrahedron(16, &[(8, 1.45), (8, 1.45), (6, 1.77), (6, 1.77)]);
    check(
        "sulphone",
        &sulphone,
        &[NOTHING, ACCEPTOR, ACCEPTOR, NOTHING, NOTHING],
    );
}

#[test]
fn nitrogens_by_what_they_are_bound_to() {
    let ammonium = [1.0, 1.0, 0.0, 0.0];
    check(
        "methylammonium",
        &[(6, [0.0; 3]), at(7, [0.0; 3], 1.49, 0.0)],
        &[NOTHING, ammonium],
    );
    let amine = tetrahedron(7, &[(6, 1.48); 3]);
    check(
        "trimethylammonium",
        &amine,
        &[ammonium, NOTHING, NOTHING, NOTHING],
    );
    let quaternary = tetrahedron(7, &[(6, 1.48); 4]);
    check(
        "tetramethylammonium",
        &quaternary,
        &[[1.0, 0.0, 0.0, 0.0], NOTHING, NOTHING, NOTHING, NOTHING],
    );
    let amide = star(6, [(8, 1.23), (7, 1.33), (6, 1.52)]);
    check("acetamide", &amide, &[NOTHING, ACCEPTOR, DONOR, NOTHING]);
    let mut dimethyl = amide.clone();
    let n = dimethyl[2].1;
    dimethyl.extend([at(6, n, 1.46, 60.0), at(6, n, 1.46, 180.0)]);
    check(
        "dimethylacetamide",
        &dimethyl,
        &[NOTHING, ACCEPTOR, NOTHING, NOTHING, NOTHING, NOTHING],
    );
    let third = [1.0 / 3.0, 1.0, 0.0, 0.0];
    let mut guanidinium = star(6, [(7, 1.33); 3]);
    guanidinium.push(at(6, guanidinium[1].1, 1.46, 60.0));
    check(
        "methylguanidinium",
        &guanidinium,
        &[NOTHING, third, third, third, NOTHING],
    );
    let half = [0.5, 1.0, 0.0, 0.0];
    check(
        "acetamidinium",
        &star(6, [(7, 1.31), (7, 1.31), (6, 1.5)]),
        &[NOTHING, half, half, NOTHING],
    );
    let nitrile = [
        (6, [0.0; 3]),
        at(6, [0.0; 3], 1.46, 0.0),
        at(7, [1.46, 0.0, 0.0], 1.16, 0.0),
    ];
    check("acetonitrile", &nitrile, &[NOTHING, NOTHING, ACCEPTOR]);
    let imine = [
        at(6, [0.0; 3], 1.46, 0.0),
        (7, [0.0; 3]),
        at(6, [0.0; 3], 1.27, 120.0),
    ];
    check("imine", &imine, &[NOTHING, ACCEPTOR, NOTHING]);
    let mut aniline = ring(&[6; 6], 1.39);
    aniline.push(at(7, aniline[0].1, 1.40, 0.0));
    let mut expected = vec![RING; 6];
    expected.push(DONOR);
    check("aniline", &aniline, &expected);
}

#[test]
fn rings_are_aromatic_if_flat_and_short() {
    let nitrogen = [0.0, 0.0, 1.0, 1.0];
    let pyridine = ring(&[7, 6, 6, 6, 6, 6], 1.37);
    check(
        "pyridine",
        &pyridine,
        &[nitrogen, RING, RING, RING, RING, RING],
    );
    let either = [0.0, 1.0, 1.0, 1.0];
    let imidazole = ring(&[7, 6, 7, 6, 6], 1.36);
    check("imidazole", &imidazole, &[either, RING, either, RING, RING]);
    let mut methylated = imidazole.clone();
    methylated.push(at(6, methylated[0].1, 1.46, 0.0));
    check(
        "methylimidazole",
        &methylated,
        &[RING, RING, nitrogen, RING, RING, NOTHING],
    );
    let thiazole = ring(&[16, 6, 7, 6, 6], 1.45);
    check("thiazole", &thiazole, &[RING, RING, nitrogen, RING, RING]);
    let donor = [0.0, 1.0, 0.0, 1.0];
    check(
        "pyrrole",
        &ring(&[7, 6, 6, 6, 6], 1.38),
        &[donor, RING, RING, RING, RING],
    );
    let mut chair = ring(&[6; 6], 1.44);
    for (k, atom) in chair.iter_mut().enumerate() {
        atom.1[2] = if k % 2 == 0 { 0.25 } else { -0.25 };
    }
    check("cyclohexane", &chair, &[NOTHING; 6]);
    check("long sides", &ring(&[6; 6], 1.53), &[NOTHING; 6]);
    let mut hydrogens = ring(&[6; 6], 1.39);
    let outer: Vec<Atom> = (0..6)
        .map(|k| at(1, hydrogens[k].1, 1.08, 60.0 * k as f32))
        .collect();
    hydrogens.extend(outer);
    let expected = [[RING; 6], [NOTHING; 6]].concat();
    check("benzene with hydrogens", &hydrogens, &expected);
}

#[test]
fn ions_have_charges_and_metals_bind_nothing() {
    let charged = |charge| [charge, 0.0, 0.0, 0.0];
    check("sodium", &[(11, [0.0; 3])], &[charged(1.0)]);
    check("chloride", &[(17, [0.0; 3])], &[charged(-1.0)]);
    check(
        "chloromethane",
        &[(6, [0.0; 3]), at(17, [0.0; 3], 1.78, 0.0)],
        &[NOTHING, NOTHING],
    );
    check(
        "zinc and water",
        &[(30, [0.0; 3]), at(8, [0.0; 3], 2.0, 0.0)],
        &[charged(2.0), BOTH],
    );
}

const SURFACE: usize = Feature::Surface as usize;

#[test]
fn two_spheres_hide_the_caps_of_each_other() {
    // Radii with water: 3.10 for C, 2.92 for O.
    let (c, o) = (3.10f64, 2.92f64);
    // The height of a cap, from the law of cosines.
    let hidden =
        |r: f64, other: f64, d: f64| (r - (d * d + r * r - other * other) / (2.0 * d)) / (2.0 * r);
    for (d, factor) in [(1.4f32, 0.8875), (2.5, 0.3516)] {
        let own = features(&[(6, [0.0; 3]), (8, [0.0, d, 0.0])], None);
        for (k, (r, other)) in [(c, o), (o, c)].into_iter().enumerate() {
            let expected = 1.0 - factor * hidden(r, other, f64::from(d));
            assert!((f64::from(own[k][SURFACE]) - expected).abs() < 1e-6, "{d}");
        }
    }
    let pair = |number: u8, d: f32, ligand| {
        let own = features(&[(6, [0.0; 3]), (number, [0.0, d, 0.0])], ligand);
        [own[0][SURFACE], own[1][SURFACE]]
    };
    assert_eq!(pair(8, 7.0, None), [1.0, 1.0]);
    assert_eq!(pair(8, 2.5, Some(1)), [1.0, 1.0]);
    assert_eq!(pair(1, 1.09, None), [1.0, 0.0]);
}

/// The same share by points on each sphere (Shrake and Rupley 1973).
fn by_points(numbers: &[u8], positions: &[[f32; 3]]) -> Vec<f64> {
    const POINTS: usize = 200;
    let radius = |z: u8| match z {
        6 => 3.10,
        7 => 2.95,
        8 => 2.92,
        _ => 3.20,
    };
    let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
    let one = |i: usize| {
        let free = |k: &usize| {
            let z = 1.0 - (2.0 * *k as f64 + 1.0) / POINTS as f64;
            let (sin, cos) = (golden * *k as f64).sin_cos();
            let flat = (1.0 - z * z).sqrt();
            let r = radius(numbers[i]);
            let point = [flat * cos * r, flat * sin * r, z * r];
            (0..numbers.len()).all(|j| {
                let d = (0..3)
                    .map(|k| f64::from(positions[i][k]) + point[k] - f64::from(positions[j][k]));
                j == i || d.map(|x| x * x).sum::<f64>() > radius(numbers[j]).powi(2)
            })
        };
        (0..POINTS).filter(free).count() as f64 / POINTS as f64
    };
    (0..numbers.len()).map(one).collect()
}

/// What textbooks say of an atom of a protein: charge, donor, acceptor, aromatic.
fn of_residue(residue: &str, atom: &str, first: bool, last: bool) -> [f32; 4] {
    match (residue, atom) {
        (_, "N") if first => [1.0, 1.0, 0.0, 0.0],
        (_, "O" | "OXT") if last => [-0.5, 0.0, 1.0, 0.0],
        ("ASP", "OD1" | "OD2") | ("GLU", "OE1" | "OE2") => [-0.5, 0.0, 1.0, 0.0],
        ("LYS", "NZ") => [1.0, 1.0, 0.0, 0.0],
        ("ARG", "NE" | "NH1" | "NH2") => [1.0 / 3.0, 1.0, 0.0, 0.0],
        ("HIS", "ND1" | "NE2") => [0.0, 1.0, 1.0, 1.0],
        ("HIS", "CG" | "CD2" | "CE1") => RING,
        ("PHE" | "TYR", "CG" | "CD1" | "CD2" | "CE1" | "CE2" | "CZ") => RING,
        ("PRO", "N") => NOTHING,
        (_, "N") | ("ASN", "ND2") | ("GLN", "NE2") => DONOR,
        ("SER", "OG") | ("THR", "OG1") | ("TYR", "OH") => BOTH,
        (_, "O") | ("ASN", "OD1") | ("GLN", "OE1") => ACCEPTOR,
        _ => NOTHING,
    }
}

#[test]
fn a_crystal_structure_has_the_features_that_its_residues_have() {
    let text = include_str!("../../../tests/structures/pdb1ubi.pdb");
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("ATOM")).collect();
    let number = |l: &str| l[22..26].trim().parse::<u32>().unwrap();
    let place = |l: &str| -> [f32; 3] {
        std::array::from_fn(|k| l[30 + 8 * k..38 + 8 * k].trim().parse().unwrap())
    };
    let element = |l: &&str| elements::number(l[76..78].trim().as_bytes()).unwrap();
    let numbers: Vec<u8> = lines.iter().map(element).collect();
    let positions: Vec<[f32; 3]> = lines.iter().map(|l| place(l)).collect();
    let residue_of: Vec<u32> = lines.iter().map(|l| number(l)).collect();
    let own = of(&Atoms {
        numbers: &numbers,
        positions: &positions,
        residue_of: &residue_of,
        ligand: None,
    });
    let mut wrong = Vec::new();
    for (line, own) in lines.iter().zip(&own) {
        let (residue, atom) = (line[17..20].trim(), line[12..16].trim());
        let expected = of_residue(residue, atom, number(line) == 1, number(line) == 76);
        if (0..4).any(|k| (own[k] - expected[k]).abs() > 1e-6) {
            wrong.push(format!("{}: {own:?} for {expected:?}", &line[12..26]));
        }
    }
    assert!(wrong.is_empty(), "of {}:\n{}", own.len(), wrong.join("\n"));
    let total: f32 = own.iter().map(|f| f[Feature::Charge as usize]).sum();
    assert!(total.abs() < 1e-3, "ubiquitin is neutral: {total}");
    let surface: Vec<f64> = own.iter().map(|f| f64::from(f[SURFACE])).collect();
    let points = by_points(&numbers, &positions);
    let r = stats::pearson(&surface, &points).unwrap();
    assert!(r > 0.85, "{r}");
}

/// Some molecules side by side.
fn mixture() -> Vec<Atom> {
    let parts = [
        star(6, [(8, 1.25), (8, 1.25), (6, 1.52)]),
        ring(&[7, 6, 7, 6, 6], 1.36),
        tetrahedron(7, &[(6, 1.48); 3]),
        star(6, [(7, 1.33); 3]),
    ];
    let mut all = Vec::new();
    for (k, part) in parts.into_iter().enumerate() {
        let shift = [4.0 * k as f32, 0.7 * k as f32, -0.3 * k as f32];
        all.extend(
            part.into_iter()
                .map(|(z, r)| (z, std::array::from_fn(|k| r[k] + shift[k]))),
        );
    }
    all
}

#[test]
fn features_do_not_change_when_the_system_turns_and_moves() {
    let molecule = mixture();
    let before = features(&molecule, None);
    for seed in 0..10 {
        let r = rotation::random(seed);
        let turned: Vec<Atom> = molecule
            .iter()
            .map(|&(z, at)| {
                let at = rotation::rotate(&r, at.map(f64::from));
                (z, at.map(|x| x as f32 + 11.0))
            })
            .collect();
        for (a, b) in before.iter().zip(features(&turned, None)) {
            assert_eq!(a[..SURFACE], b[..SURFACE]);
            assert!((a[SURFACE] - b[SURFACE]).abs() < 1e-5);
        }
    }
}

#[test]
fn a_channel_of_a_feature_is_the_sum_of_its_atoms_times_their_numbers() {
    let molecule = mixture();
    let (numbers, positions): (Vec<u8>, Vec<[f32; 3]>) = molecule.iter().copied().unzip();
    // The first part is the ligand.
    let residue_of: Vec<u32> = (0..numbers.len() as u32)
        .map(|i| u32::from(i >= 4))
        .collect();
    let atoms = Atoms {
        numbers: &numbers,
        positions: &positions,
        residue_of: &residue_of,
        ligand: Some(0),
    };
    let rule = Neighborhood {
        features: true,
        ..Neighborhood::default()
    };
    let names = ["C", "charge", "ligand:charge", "protein:surface"];
    let settings = |names: &[&str]| Settings {
        lmax: 3,
        nmax: 5,
        channels: names
            .iter()
            .map(|n| n.parse::<Channel>().unwrap())
            .collect(),
        ..Settings::default()
    };
    let transform = Transform::new(&settings(&names)).unwrap();
    let centre = 5u32;
    let clouds = SystemFinder::new(atoms, rule).clouds(&[centre]);
    let own = of_clouds(&transform, &clouds).unwrap();
    // One atom after another in one channel, summed in f64.
    let single = Transform::new(&settings(&["C"])).unwrap();
    let of_atom = |i: usize| {
        let at = [std::array::from_fn(|k| {
            positions[i][k] - positions[centre as usize][k]
        })];
        let mut out = vec![0.0; single.irreps().dim()];
        single.apply(&at, &[0], &[0, 1], &mut out).unwrap();
        out
    };
    let all = of(&atoms);
    let mut expected = vec![vec![0f64; single.irreps().dim()]; names.len()];
    for i in (0..numbers.len()).filter(|&i| i != centre as usize) {
        let [charge, .., surface] = all[i].map(f64::from);
        let ligand = f64::from(u8::from(i < 4));
        let carbon = f64::from(u8::from(numbers[i] == 6));
        let shares = [carbon, charge, ligand * charge, (1.0 - ligand) * surface];
        for (expected, share) in expected.iter_mut().zip(shares) {
            for (e, z) in expected.iter_mut().zip(of_atom(i)) {
                *e += share * f64::from(z);
            }
        }
    }
    assert!(
        expected
            .iter()
            .all(|channel| channel.iter().any(|z| z.abs() > 1e-3))
    );
    for l in 0..=3 {
        let (from, width) = (
            single.irreps().offset(l),
            single.irreps().channels(l) * (2 * l + 1),
        );
        let at = transform.irreps().offset(l);
        for (c, expected) in expected.iter().enumerate() {
            for k in 0..width {
                let (own, expected) = (f64::from(own[at + c * width + k]), expected[from + k]);
                assert!(
                    (own - expected).abs() < 1e-5,
                    "{}, l {l}: {own} for {expected}",
                    names[c]
                );
            }
        }
    }
}
