//! What makes a residue, a model, a chain and an element in files of many programs; what is said of it.

use super::*;

/// A residue of four atoms at `x` and beyond.
fn residue(name: &str, place: &str, x: f32, rest: &str) -> String {
    let atoms = [" N  ", " CA ", " C  ", " O  "].into_iter().zip(0u8..);
    let line = |(atom_name, k)| atom("ATOM", atom_name, ' ', name, place, x + f32::from(k), rest);
    atoms.map(line).collect()
}

fn chain(place: char, x: f32, rest: &str) -> String {
    let residues = ["ALA", "GLY", "SER"].into_iter().zip(1u8..);
    residues
        .map(|(name, n)| {
            residue(
                name,
                &format!("{place}{n:>4} "),
                x + 10.0 * f32::from(n),
                rest,
            )
        })
        .collect()
}

fn with(text: &str, options: &ReadOptions) -> Vec<Structure> {
    read_as("x.pdb", text.as_bytes(), options).unwrap()
}

fn told_of(s: &Structure, part: &str) -> u64 {
    let line = s.notes.lines().find(|l| l.contains(part));
    let count = line
        .as_deref()
        .and_then(|l| l.rsplit(' ').next()?.parse().ok());
    count.unwrap_or(0)
}

const SHARED: &str = "residues that share name, chain and number";

#[test]
fn chains_that_begin_anew_keep_all_atoms() {
    let segment = |name: &str| format!("{:18}{name:<4}", "  1.00  0.00");
    let plain = "  1.00  0.00";
    for (case, text, residues) in [
        (
            "segments",
            chain('A', 0.0, &segment("PROA")) + &chain('A', 50.0, &segment("PROB")),
            6,
        ),
        (
            "TER",
            chain('A', 0.0, plain) + "TER\n" + &chain('A', 50.0, plain) + "TER\n",
            6,
        ),
        (
            "no chain",
            chain(' ', 0.0, plain) + &chain(' ', 50.0, plain),
            6,
        ),
        (
            "no chain, TER",
            chain(' ', 0.0, plain) + "TER\n" + &chain(' ', 50.0, plain),
            6,
        ),
        (
            "same letter",
            chain('A', 0.0, plain) + &chain('A', 50.0, plain),
            6,
        ),
        (
            "one residue again and again",
            (0..3u8)
                .map(|k| residue("GLY", "A   1 ", 20.0 * f32::from(k), plain))
                .collect(),
            3,
        ),
    ] {
        let s = one(&text);
        assert_eq!(s.system.len(), 4 * residues, "{case}");
        assert_eq!(s.system.residues.len(), residues, "{case}");
        assert_eq!(s.centres.len(), residues, "{case}");
        let shared = if case == "segments" || residues == 3 {
            residues / 3
        } else {
            3
        };
        let expected = match case {
            "segments" => 0,
            "one residue again and again" => 2,
            _ => shared as u64,
        };
        assert_eq!(told_of(&s, SHARED), expected, "{case}: {:?}", s.notes);
    }
}

#[test]
fn alternate_locations_away_from_their_residue_are_found() {
    let conformer = |alt, x, occupancy: &str| {
        let n = atom("ATOM", " N  ", alt, "SER", "A  10 ", x, occupancy);
        n + &atom("ATOM", CA, alt, "SER", "A  10 ", x + 1.0, occupancy)
    };
    let other = plain(CA, "GLY", "A  11 ", 9.0);
    let text = conformer('A', 1.0, "  0.40") + &other + &conformer('B', 5.0, "  0.60");
    let s = one(&text);
    assert_eq!(xs(&s), [5.0, 6.0, 9.0]);
    assert_eq!((s.system.residues.len(), told_of(&s, SHARED)), (2, 0));
    // A second molecule with the same names and alternate locations is no alternate of the first.
    let twice = conformer('A', 1.0, "  0.40")
        + &conformer('B', 2.0, "  0.60")
        + &other
        + "TER\n"
        + &conformer('A', 21.0, "  0.70")
        + &conformer('B', 22.0, "  0.30");
    let s = one(&twice);
    assert_eq!(xs(&s), [2.0, 3.0, 9.0, 21.0, 22.0]);
    assert_eq!(told_of(&s, SHARED), 1);
    // Nor are two names in the place of the second chain alternatives to those of the first.
    let named = |name, alt, x, occupancy: &str| atom("ATOM", CA, alt, name, "A  22 ", x, occupancy);
    let both = |x| named("PRO", 'A', x, "  0.60") + &named("SER", 'B', x + 1.0, "  0.40");
    let s = one(&(both(1.0) + "TER\n" + &both(21.0)));
    assert_eq!(xs(&s), [1.0, 21.0]);
    assert_eq!(told_of(&s, "left out for a more occupied name"), 2);
}

#[test]
fn atoms_of_one_name_stay_but_one_record_twice_does_not() {
    let carbon = |x| atom("HETATM", " C  ", ' ', "LIG", "A 401 ", x, "");
    let protein = plain(CA, "GLY", "A   1 ", 50.0);
    let s = one(&(protein + &carbon(1.0) + &carbon(3.0) + &carbon(5.0) + &carbon(3.0)));
    assert_eq!(xs(&s), [50.0, 1.0, 3.0, 5.0, 3.0]);
    assert_eq!(s.system.residues.len(), 2);
    assert_eq!(told_of(&s, "share their name"), 3);
    let line = plain(CA, "GLY", "A   1 ", 1.0);
    let s = one(&(line.clone() + &line));
    assert_eq!((xs(&s), told_of(&s, "twice in one place")), (vec![1.0], 1));
}

#[test]
fn names_of_force_fields_are_their_amino_acids() {
    let names = [
        "HIE", "HID", "HIP", "HSD", "HSE", "HSP", "CYX", "CYM", "ASH", "GLH", "LYN",
    ];
    let residues = names.into_iter().zip(1u8..);
    let text: String = residues
        .map(|(name, n)| plain(CA, name, &format!("A{n:>4} "), f32::from(n)))
        .collect();
    let s = one(&text);
    assert_eq!(s.centres.len(), names.len());
    let parents: Vec<&str> = s.system.residues.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(parents[..6], ["HIS"; 6]);
    assert_eq!(parents[6..], ["CYS", "CYS", "ASP", "GLU", "LYS"]);
    assert_eq!(told_of(&s, "residues HSD, which count as HIS"), 1);

    let modified = |name, x| atom("HETATM", CA, ' ', name, "A  60 ", x, "");
    let text = plain(CA, "GLY", "A   1 ", 0.0) + &modified("MSE", 5.0) + &modified("SEP", 9.0);
    assert_eq!(one(&text).centres, [0]);
    for hetero in [true, false] {
        let options = ReadOptions {
            modified: true,
            hetero,
            ..ReadOptions::default()
        };
        let s = with(&text, &options).remove(0);
        assert_eq!(
            (s.centres.len(), s.system.residues[1].name.as_str()),
            (3, "MET")
        );
        assert_eq!(told_of(&s, "residues MSE, which count as MET"), 1);
    }
}

#[test]
fn atoms_of_low_confidence_are_left_out_when_asked() {
    let line = |n: u8, plddt: &str| {
        let rest = format!("  1.00 {plddt}");
        atom(
            "ATOM",
            CA,
            ' ',
            "GLY",
            &format!("A{n:>4} "),
            f32::from(n),
            &rest,
        )
    };
    let text = line(1, "91.50") + &line(2, "49.99") + &line(3, "50.00");
    let options = ReadOptions {
        min_plddt: Some(50.0),
        ..ReadOptions::default()
    };
    let s = with(&text, &options).remove(0);
    assert_eq!((xs(&s), told_of(&s, "below 50")), (vec![1.0, 3.0], 1));
    assert_eq!(one(&text).system.len(), 3);
}

#[test]
fn column_21_belongs_to_long_chains_or_long_names() {
    let line = |name: &str, residue4: &str, chain: char, x| {
        let text = plain(name, "GLY", "A   1 ", x);
        format!("{}{residue4}{chain}{}", &text[..17], &text[22..])
    };
    let text = [
        line(CA, "GLY ", 'A', 1.0),
        line(CA, "GLYA", 'A', 2.0),
        line(CA, "HISE", 'B', 3.0),
        line(" P  ", " DAA", 'A', 4.0),
        line(" C1 ", "LIGA", 'A', 5.0),
        line(" C1 ", "POPC", 'L', 6.0),
        line(" OH2", "TIP3", 'W', 7.0),
    ]
    .concat();
    let s = one(&text);
    let named = |r: &crate::data::system::Residue| format!("{}:{}", r.name, r.chain);
    let names: Vec<String> = s.system.residues.iter().map(named).collect();
    assert_eq!(
        names,
        ["GLY:A", "GLY:AA", "HIS:B", "DA:AA", "LIG:AA", "POPC:L"]
    );
}

#[test]
fn elements_by_columns_unless_the_file_does_not_keep_to_them() {
    let ligand = |name: &str, x| atom("ATOM", name, ' ', "LIG", "B   1 ", x, "");
    let names = [
        "CL1 ", "BR2 ", " C3 ", "FE  ", "HG  ", " CD ", " NA ", "SE1 ",
    ];
    let atoms: String = names
        .into_iter()
        .zip(1u8..)
        .map(|(n, x)| ligand(n, f32::from(x)))
        .collect();
    let s = one(&(plain(CA, "GLY", "A   1 ", 0.0) + &atoms));
    assert_eq!(s.system.numbers, [6, 17, 35, 6, 26, 80, 6, 7, 34]);
    // Left-justified names: column 13 says nothing.
    let left = ["N   ", "CA  ", "C   "].map(|n| atom("ATOM", n, ' ', "GLY", "A   1 ", 0.0, ""));
    let ligand = ["CA1 ", "CD  ", "CL1 ", "NA  "].into_iter().zip(1u8..);
    let ligand: String = ligand
        .map(|(n, x)| atom("ATOM", n, ' ', "LIG", "B   1 ", f32::from(x), ""))
        .collect();
    let s = one(&(left.concat() + &ligand));
    assert_eq!(s.system.numbers, [7, 6, 6, 6, 6, 17, 7]);
}

#[test]
fn models_end_however_programs_end_them() {
    let line = |x| plain(CA, "GLY", "A   1 ", x);
    let all = ReadOptions {
        models: Models::All,
        ..ReadOptions::default()
    };
    for (case, text, numbers) in [
        (
            "no ENDMDL",
            format!("MODEL        1\n{}MODEL        2\n{}", line(1.0), line(2.0)),
            [1, 2],
        ),
        (
            "END and ENDMDL",
            format!(
                "MODEL        1\n{}END\nENDMDL\nMODEL        2\n{}END\nENDMDL\n",
                line(1.0),
                line(2.0)
            ),
            [1, 2],
        ),
        (
            "END only",
            format!("{}END\n{}END\n", line(1.0), line(2.0)),
            [1, 2],
        ),
        (
            "empty frames",
            format!(
                "MODEL        1\nENDMDL\nMODEL        2\n{}ENDMDL\nMODEL 3\nENDMDL\nMODEL        4\n{}ENDMDL\n",
                line(1.0),
                line(2.0)
            ),
            [2, 4],
        ),
        (
            "one number",
            format!(
                "MODEL        1\n{}ENDMDL\nMODEL        1\n{}ENDMDL\n",
                line(1.0),
                line(2.0)
            ),
            [1, 2],
        ),
    ] {
        let models = with(&text, &all);
        let found: Vec<(i32, f32)> = models.iter().map(|s| (s.model, xs(s)[0])).collect();
        assert_eq!(found, [(numbers[0], 1.0), (numbers[1], 2.0)], "{case}");
        let first = one(&text);
        assert_eq!(xs(&first), [1.0], "{case}");
        assert_eq!(told_of(&first, "further models"), 1, "{case}");
    }
}

#[test]
fn last_lines_may_be_shorter() {
    let full = plain(CA, "GLY", "A   1 ", 1.0).trim_end().to_string() + "           C1-";
    for columns in [54, 60, 66, 73, 78, 79] {
        let text = format!("{}\n{}", full, full[..columns].replace("A   1 ", "A   2 "));
        assert_eq!(one(&text).system.len(), 2, "{columns}");
    }
    let zinc = plain("ZN  ", " ZN", "A   2 ", 9.0).trim_end().to_string() + "          Z";
    let text = told("zn.pdb", format!("{full}\n{zinc}").as_bytes());
    assert!(text.contains("ends inside this atom"), "{text}");
}

#[test]
fn marks_before_the_text_are_no_text() {
    let text = plain(CA, "GLY", "A   1 ", 1.0) + &plain(CA, "GLY", "A   2 ", 2.0);
    let marked = format!("\u{feff}{text}");
    assert_eq!(xs(&one(&marked)), [1.0, 2.0]);
    let utf16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        xs(&read_as("x.pdb", &utf16, &ReadOptions::default()).unwrap()[0]),
        [1.0, 2.0]
    );
    let cif = format!("\u{feff}{}", mmcif(&COLUMNS, ROWS));
    let s = read_as("x.cif", cif.as_bytes(), &ReadOptions::default())
        .unwrap()
        .remove(0);
    assert_eq!((s.format.as_str(), xs(&s)), ("mmcif", vec![1.5, -2.5, 4.5]));
}

#[test]
fn nulls_of_mmcif_are_replaced_value_by_value() {
    let columns = [
        "group_PDB",
        "type_symbol",
        "label_atom_id",
        "auth_atom_id",
        "label_comp_id",
        "auth_comp_id",
        "label_asym_id",
        "auth_asym_id",
        "label_seq_id",
        "auth_seq_id",
        "Cartn_x",
        "Cartn_y",
        "Cartn_z",
    ];
    let rows = "ATOM C CA ? GLY ? A ? 1 ? 1 2 3\n\
        ATOM ? . CA . ALA . B . 7 2 2 3\n\
        ATOM C CA CA SER SER C C 3 ? 3 2 3\n\
        HETATM O O O HOH HOH D ? . . 4 2 3\n\
        HETATM ZN ZN ZN ZN ZN E . ? . 5 2 3\n\
        HETATM O . ? HOH ? D ? . . 4 2 3\n\
        HETATM O O O ? HOH D ? . . 4 ? 3\n\
        ATOM C CB CB SER SER C C 3 ? ? . ?\n";
    let read = |text: String| read_as("x.cif", text.as_bytes(), &ReadOptions::default()).unwrap();
    let s = read(mmcif(&columns, rows)).remove(0);
    let named = |r: &crate::data::system::Residue| format!("{}{}{}", r.name, r.chain, r.number);
    let names: Vec<String> = s.system.residues.iter().map(named).collect();
    assert_eq!(names, ["GLYA1", "ALAB7", "SERC3", "ZNE0"]);
    assert_eq!(s.system.numbers, [6, 6, 6, 30]);
    assert_eq!(s.centres, [0, 1, 2]);
    assert_eq!(told_of(&s, "without coordinates"), 2);
}

#[test]
fn crowds_and_bombs_are_refused() {
    let line = plain(CA, "GLY", "A   1 ", 0.0);
    let atoms = (1..100).map(|n| line.replace("A   1 ", &format!("A{n:>4} ")));
    let text = told("zeros.pdb", atoms.collect::<String>().as_bytes());
    assert!(
        text.contains("99 atoms stand within 1 Å of (0, 2, 3)"),
        "{text}"
    );

    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..64 {
        zip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let text = told("bomb.pdb.gz", &zip.finish().unwrap());
    assert!(text.contains("more than 64 times their size"), "{text}");
}
