mod npz;

use super::*;
use crate::data::system::{dot, sub};

/// Reads a file of this name and content.
pub(super) fn read_as(name: &str, content: &[u8]) -> Result<Vec<Sample>> {
    read_with(name, content, &Options::default())
}

pub(super) fn read_with(name: &str, content: &[u8], options: &Options) -> Result<Vec<Sample>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    super::read(&path, options)
}

/// What is said of a file, without its folder.
pub(super) fn refused(name: &str, content: &[u8]) -> String {
    let error = read_as(name, content).map(drop).unwrap_err();
    assert_eq!(error.exit_code(), crate::error::EXIT_INPUT);
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    let place = text
        .find(name)
        .unwrap_or_else(|| panic!("{name} is not in {text}"));
    text[place..].to_string()
}

#[test]
fn names_tell_splits_and_formats() {
    let split = |name: &str| Source::new(Path::new(name)).split();
    assert_eq!(split("rmd17_ethanol_train_01.npz"), Some(Split::Train));
    assert_eq!(split("a/perov5_val.csv.gz"), Some(Split::Validation));
    assert_eq!(split("latest.xyz"), None);
    for (name, taken) in [
        ("a.extxyz.gz", true),
        ("POSCAR", true),
        (".a.xyz", false),
        ("a.txt", false),
    ] {
        assert_eq!(is_systems_name(name), taken, "{name}");
    }
    let error = super::read(Path::new("a.doc"), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("no known format"), "{error}");
}

const FRAMES: &str = "2\nLattice=\"9 0 0 0 9 0 1 0 9\" Properties=species:S:1:pos:R:3:forces:R:3 \
    energy=-1.5 config_type=bulk pbc=\"T T F\" note=\"a b\" dipole=\"1 2 3\"\n\
    Cu 0 0 0 0.1 0.2 0.3\nO 1.5 0 0 -0.1 -0.2 -0.3\n\n1\n\nH 0 0 0\n";

#[test]
fn extended_xyz_has_frames_of_any_kind() {
    let samples = read_as("a.xyz", FRAMES.as_bytes()).unwrap();
    assert_eq!([&*samples[0].id, &*samples[1].id], ["a:0", "a:1"]);
    assert_eq!(samples[0].system.numbers, [29, 8]);
    let cell = samples[0].system.cell.unwrap();
    assert_eq!(cell.periodic(), [true, true, false]);
    assert_eq!(cell.vectors()[2], [1.0, 0.0, 9.0]);
    assert_eq!(samples[0].forces.as_ref().unwrap()[1], [-0.1, -0.2, -0.3]);
    assert_eq!(samples[0].values.len(), 1);
    assert_eq!(samples[0].values[0].unit, "eV");
    // A lone atom without anything is a system.
    assert!(samples[1].forces.is_none() && samples[1].system.cell.is_none());
}

#[test]
fn bad_systems_are_named() {
    let swapped = |from: &str, to: &str| refused("a.xyz", FRAMES.replace(from, to).as_bytes());
    for (from, to, expected) in [
        (
            "O 1.5 0 0",
            "Xx 1.5 0 0",
            "line 4: \"Xx\" is not an element",
        ),
        (
            "O 1.5 0 0",
            "119 1.5 0 0",
            "atom 2: atomic number 119, elements have 1 to 118",
        ),
        (
            "O 1.5 0 0",
            "O 0.1 0 0",
            "atoms 1 and 2 are less than 0.2 Å apart",
        ),
        (
            "O 1.5 0 0",
            "O nan 0 0",
            "atom 2: its position is not finite",
        ),
        ("-0.1 -0.2 -0.3", "-0.1 nan -0.3", "atom 2: its force"),
        (
            "-0.1 -0.2 -0.3",
            "-0.1",
            "line 4: 5 columns where 7 are announced",
        ),
        (
            "energy=-1.5",
            "energy=nan",
            "energy is NaN, not a finite number",
        ),
        ("energy=-1.5", "e=", "forces without an energy"),
        (
            "9 0 0 0 9 0 1 0 9",
            "9 0 0 9 0 0 1 0 9",
            "a cell of no volume",
        ),
        ("9 0 0 0 9 0 1 0 9", "9 0 0", "nine numbers are needed"),
        ("forces:R:3", "forces:R:2", "forces has 2 columns, not 3"),
        (
            "\nH 0 0 0\n",
            "\n",
            "line 6: 1 atoms are announced, but the file ends",
        ),
    ] {
        let error = swapped(from, to);
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    assert!(refused("a.xyz", b"").contains("no systems in it"));
    assert!(refused("a.xyz", b"1\n\xff\n").contains("but the file ends"));
    let mut bound = read_as("a.xyz", FRAMES.as_bytes()).unwrap().remove(0);
    bound.system.bonds = vec![[0, 2]];
    let told = crate::data::systems::check(&bound).unwrap_err().to_string();
    assert!(told.contains("a bond of atoms 1 and 3 of 2"), "{told}");
    let huge = b"18446744073709551615\n\nH 0 0 0\n";
    assert!(refused("a.xyz", huge).contains("but the file ends"));
    let wide = b"1\nProperties=species:S:1:pos:R:3:x:R:18446744073709551615\nH 0 0 0\n";
    assert!(refused("a.xyz", wide).contains("x has 18446744073709551615 columns"));
}

#[test]
fn the_xyz_of_qm9_has_odd_numbers() {
    let text = "2\ngdb 7\t1 2 3 0.5 6.1 -0.2 0.1 0.3 9.5 0.01 -1.5 -1.4 -1.3 -1.6 4.5\n\
        O\t0.0\t0.0\t1.*^-6\t-0.4\nH\t0.0\t0.0\t0.96\t0.4\n100.0\nO\tO\nInChI\tInChI\n";
    let sample = read_as("dsgdb9nsd_000007.xyz", text.as_bytes())
        .unwrap()
        .remove(0);
    assert_eq!(sample.id, "dsgdb9nsd_000007");
    assert_eq!(sample.system.positions[0][2], 1e-6);
    let u0 = sample.values.iter().find(|v| v.name == "u0").unwrap();
    assert_eq!((u0.value, &*u0.unit), (-1.5, "hartree"));
    assert_eq!(sample.values.len(), 12);
    let cut = text.split("H\t").next().unwrap();
    assert!(refused("a.xyz", cut.as_bytes()).contains("truncated"));
}

/// Rock salt, by its space group's centring and one of its inversions.
const SALT: &str = "data_salt\n_cell_length_a 5.64(1)\n_cell_length_b 5.64\n_cell_length_c 5.64\n\
    _cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n\
    loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'x, y+1/2, z+1/2'\n'1/2+x,y,z+1/2'\n\
    'x+0.5,y+0.5,z'\n'-x,-y,-z'\n\
    loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n\
    _atom_site_fract_z\n_atom_site_occupancy\nNa1 Na1+ 0 0 0 1\nCl1 Cl1- 0.5 0.5 0.5(2) 1.0\n";

#[test]
fn crystals_are_expanded() {
    let sample = read_as("salt.cif", SALT.as_bytes()).unwrap().remove(0);
    assert_eq!(sample.system.formula(), "Cl4 Na4");
    // Every sodium has six chlorides at half the cell.
    let edges = crate::data::neighbors::edges(&sample.system, 2.83).unwrap();
    assert_eq!(edges.len(), 8 * 6);
    for (from, to, expected) in [
        ("0.5(2) 1.0", "0.5(2) 0.5", "occupancy 0.5"),
        ("'-x,-y,-z'", "'-x,-q,-z'", "line 14"),
        (
            "_cell_length_a 5.64(1)",
            "_cell_length_a 0",
            "a cell of no volume",
        ),
        ("Na1+", "Qq", "\"Qq\" is not an element"),
        ("Cl1 Cl1- 0.5 0.5", "Cl1 Cl1- 0.5", "truncated or malformed"),
    ] {
        let error = refused("salt.cif", SALT.replace(from, to).as_bytes());
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    let old = format!("\u{feff}{}", SALT.replace("data_", "# M\u{fc}ller\ndata_"));
    let latin: Vec<u8> = old.chars().skip(1).map(|c| c as u8).collect();
    for bytes in [old.as_bytes(), &latin] {
        let read = read_as("salt.cif", bytes).unwrap();
        assert_eq!(read[0].system, sample.system);
    }
    let unknown = SALT.replace("Na1 Na1+", "Na1 ?");
    let read = read_as("salt.cif", unknown.as_bytes()).unwrap();
    assert_eq!(read[0].system, sample.system);
    let many = SALT.replace("'-x,-y,-z'", &"'-x,-y,-z'\n".repeat(192));
    assert!(refused("salt.cif", many.as_bytes()).contains("192 at most"));
    let start = SALT.find("loop_").unwrap();
    let end = start + SALT[start + 5..].find("loop_").unwrap() + 5;
    let unwritten = format!(
        "{}_space_group_IT_number 225\n{}",
        &SALT[..start],
        &SALT[end..]
    );
    assert!(refused("salt.cif", unwritten.as_bytes()).contains("space group 225 without"));
}

#[test]
fn poscars_are_direct_or_cartesian() {
    let direct = "salt\n5.64\n1 0 0\n0 1 0\n0 0 1\nNa_pv Cl\n1 1\nSelective dynamics\nDirect\n\
        0 0 0 T T T\n0.5 0.5 0.5 F F F\n";
    let cartesian =
        "salt\n-179.406144\n1 0 0\n0 1 0\n0 0 1\nNa Cl\n1 1\nCartesian\n0 0 0\n0.5 0.5 0.5\n";
    for text in [direct, cartesian] {
        let sample = read_as("POSCAR", text.as_bytes()).unwrap().remove(0);
        assert_eq!(sample.system.numbers, [11, 17]);
        let apart = sub(sample.system.positions[1], [2.82; 3]);
        assert!(dot(apart, apart) < 1e-12, "{apart:?}");
    }
    let old = direct.replace("Na_pv Cl\n", "");
    assert!(refused("POSCAR", old.as_bytes()).contains("line 6: \"1\" is not an element"));
    let flat = direct.replace("0 1 0\n", "2 0 0\n");
    assert!(refused("a.vasp", flat.as_bytes()).contains("no volume"));
    let short = direct.replace("0.5 0.5 0.5 F F F\n", "");
    assert!(refused("POSCAR", short.as_bytes()).contains("line 11: the file ends"));
}

#[test]
fn sdf_files_have_bonds_and_items() {
    let atom = |symbol: &str, x: f64| format!("{x:10.4}    0.0000    0.0000 {symbol:<3} 0  0\n");
    let molecule = format!(
        "name\n  x\n\n  2  1  0  0  0  0            999 V2000\n{}{}  2  1  2  0\nM  END\n>  <gap>\n1.5\n\n\
         > <note>\nblue\n\n$$$$\n",
        atom("C", 0.0),
        atom("O", 1.2)
    );
    let two = molecule.repeat(2);
    let samples = read_as("m.sdf", two.as_bytes()).unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[1].id, "m:1");
    assert_eq!(
        (&samples[1].system.bonds[..], &samples[1].system.orders[..]),
        (&[[0, 1]][..], &[2][..])
    );
    assert_eq!(samples[1].values.len(), 1);
    let error = refused(
        "m.sdf",
        molecule.replace("  2  1  2  0", "  3  1  2  0").as_bytes(),
    );
    assert!(
        error.contains("line 7: a bond of atoms [3, 1] of 2"),
        "{error}"
    );
    assert!(
        refused("m.sdf", molecule.replace("V2000", "V3000").as_bytes())
            .contains("save it as V2000")
    );
}

#[test]
fn json_comes_from_three_programs() {
    let jarvis = r#"[{"jid": "1", "atoms": {"lattice_mat": [[4,0,0],[0,4,0],[0,0,4]], "cartesian":
        false, "coords": [[0,0,0],[0.5,0.5,0.5]], "elements": ["Cs","Cl"]}, "total_energy": -3.0,
        "forces": [[0,0,1],[0,0,-1]]}]"#;
    let pymatgen = r#"{"structure": {"lattice": {"matrix": [[4,0,0],[0,4,0],[0,0,4]]}, "sites": [
        {"species": [{"element": "Cs", "occu": 1}], "abc": [0,0,0], "xyz": [0,0,0]},
        {"species": [{"element": "Cl-", "occu": 1}], "abc": [0.5,0.5,0.5]}]},
        "outputs": {"energy": -6.0, "forces": [[0,0,1],[0,0,-1]]}}"#;
    let ase = r#"{"1": {"numbers": {"__ndarray__": [[2], "int64", [55, 17]]}, "positions":
        {"__ndarray__": [[2,3], "float64", [0,0,0,2,2,2]]}, "cell": [[4,0,0],[0,4,0],[0,0,4]],
        "pbc": [true,true,true], "energy": -6.0, "forces": [[0,0,1],[0,0,-1]]}, "ids": [1]}"#;
    let read: Vec<Sample> = [jarvis, pymatgen, ase]
        .map(|text| read_as("a.json", text.as_bytes()).unwrap().remove(0))
        .into();
    for sample in &read {
        assert_eq!(sample.system, read[0].system);
        assert_eq!(sample.forces, read[0].forces);
        assert_eq!(sample.values, read[0].values);
    }
    assert_eq!(read[0].system.positions[1], [2.0; 3]);
    for (text, expected) in [
        (
            ase.replace("\"ids\": [1]", "\"ids\": [1,2]"),
            "no row of id 2",
        ),
        ("{\"a\": 1}".into(), "neither an entry of JARVIS"),
        (jarvis[..40].to_string(), "not JSON, or a truncated file"),
        (
            pymatgen.replace(
                "\"occu\": 1}], \"abc\": [0,",
                "\"occu\": 0.5}], \"abc\": [0,",
            ),
            "site 0: occupancy 0.5",
        ),
        (
            jarvis.replace("[0,0,-1]]", "[0,0]]"),
            "forces: rows of three numbers",
        ),
        (
            jarvis.replace("[0,0,-1]]", "[0,0,-1],[1,1,1]]"),
            "3 forces for 2 atoms",
        ),
    ] {
        let error = refused("a.json", text.as_bytes());
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn tables_have_a_system_a_row() {
    let table = "XYZ_file,Elements,XYZ_Ang,Dipole_debye,Polarizability_bohr3,HOMO_au,LUMO_au,\
        HOMO_LUMO_gap_au,R2_bohr2,ZPVE_au,InternalEnergy_0K_au,InternalEnergy_298K_au,\
        Enthalphy_298K_au,GibbsFreeEnergy_298K_au,Heatcapacity_Cv_cal_mol_K\n\
        \"dsgdb9nsd_000001.xyz\",\"['O','H']\",\"[[0.,0.,0.],[0.,0.,0.96]]\",0.,1,2,3,4,5,6,7,8,9,10,11\n";
    let sample = read_as("qm9.csv", table.as_bytes()).unwrap().remove(0);
    assert_eq!(
        (&*sample.id, &sample.system.numbers[..]),
        ("dsgdb9nsd_000001", &[8, 1][..])
    );
    assert_eq!(sample.values[7].name, "u0");
    assert_eq!(sample.values[7].value, 7.0);
    let crystals = format!(",material_id,cif,heat,label\n0,17,\"{SALT}\",1.5,blue\n");
    let sample = read_as("perov_val.csv", crystals.as_bytes())
        .unwrap()
        .remove(0);
    assert_eq!((&*sample.id, sample.system.len()), ("17", 8));
    assert_eq!(sample.values.len(), 1);
    let other = "id,x\n1,2\n";
    assert!(refused("a.csv", other.as_bytes()).contains("neither a column cif nor XYZ_Ang"));
    let wrong = table.replace("'H'", "'Q'");
    assert!(refused("a.csv", wrong.as_bytes()).contains("line 2: \"Q\" is not an element"));
}

#[test]
fn targets_come_from_a_table() {
    let samples = || read_as("a.xyz", FRAMES.as_bytes()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let with = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let mut samples = samples();
        add_targets(&path, &mut samples, &Options::default()).map(|()| samples)
    };
    let added = with("id,gap (meV),n\na:1,250,3\na:0,,4\n").unwrap();
    assert_eq!(
        added[1].values[0],
        crate::data::systems::Value::new("gap", "meV", 250.0)
    );
    assert_eq!(added[0].values.len(), 2);
    for (text, expected) in [
        ("id,gap\nb,1\n", "line 2: id \"b\": no system of this name"),
        ("id,gap (pounds)\na:1,1\n", "unit \"pounds\" is not known"),
        ("id,gap\na:1,x\n", "line 2: gap \"x\" is not a number"),
        ("id,gap\na:1,nan\n", "line 2: gap is NaN"),
        ("id,energy (eV)\na:0,1\n", "has a target energy already"),
    ] {
        let error = with(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}
