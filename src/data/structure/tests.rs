use super::*;
use std::io::Write;

#[path = "identity_tests.rs"]
mod identity;

/// An atom record; `name` is the four-column field.
fn atom(
    record: &str,
    name: &str,
    alt: char,
    residue: &str,
    place: &str,
    x: f32,
    rest: &str,
) -> String {
    // `place` is chain, number and insertion code: columns 22 to 27.
    format!("{record:<6}    1 {name}{alt}{residue:>3} {place}   {x:8.3}   2.000   3.000{rest}\n")
}

fn plain(name: &str, residue: &str, place: &str, x: f32) -> String {
    atom("ATOM", name, ' ', residue, place, x, "  1.00  0.00")
}

fn read_as(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Vec<Structure>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read(&path, options)
}

fn one(text: &str) -> Structure {
    let mut all = read_as("x.pdb", text.as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn told(name: &str, bytes: &[u8]) -> String {
    let error = read_as(name, bytes, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.exit_code(), crate::error::EXIT_INPUT, "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.contains(name), "{text}");
    text
}

fn xs(s: &Structure) -> Vec<f32> {
    s.system.positions.iter().map(|p| p[0]).collect()
}

const CA: &str = " CA ";

#[test]
fn the_highest_occupancy_wins_and_the_first_of_equals() {
    let alternate =
        |name, alt, x, occupancy: &str| atom("ATOM", name, alt, "SER", "A  10 ", x, occupancy);
    let s = one(&[
        plain(" N  ", "SER", "A  10 ", 0.0),
        alternate(CA, 'A', 1.0, "  0.40"),
        alternate(CA, 'B', 2.0, "  0.60"),
        alternate(" CB ", 'A', 3.0, "  0.50"),
        alternate(" CB ", 'B', 4.0, "  0.50"),
        alternate(" OG ", 'A', 5.0, "  0.70"),
        alternate(" OG ", 'B', 6.0, "  0.30"),
        alternate(" OG ", 'C', 7.0, "  0.71"),
    ]
    .concat());
    // Each atom is where it was first named.
    assert_eq!(xs(&s), [0.0, 2.0, 3.0, 7.0]);
    assert_eq!(s.centres, [1]);
    assert_eq!(s.system.residues.len(), 1);
}

#[test]
fn of_two_names_in_one_place_the_more_occupied_stays() {
    let named =
        |residue, alt, x, occupancy: &str| atom("ATOM", CA, alt, residue, "A  22 ", x, occupancy);
    let s = one(&[
        plain(CA, "GLY", "A  21 ", 1.0),
        named("PRO", 'A', 2.0, "  0.60"),
        named("SER", 'B', 3.0, "  0.40"),
        plain(CA, "GLY", "A  23 ", 4.0),
    ]
    .concat());
    assert_eq!(xs(&s), [1.0, 2.0, 4.0]);
    assert_eq!(s.system.residue_of, [0, 1, 2]);
    let s = one(&[
        named("PRO", 'A', 2.0, "  0.40"),
        named("SER", 'B', 3.0, "  0.60"),
    ]
    .concat());
    assert_eq!(s.system.residues[0].name.as_str(), "SER");
}

#[test]
fn what_is_an_atom_and_what_a_centre() {
    let hetero = |name, residue, place, x| atom("HETATM", name, ' ', residue, place, x, "");
    let text = [
        plain(" N  ", "ALA", "A  -1 ", 0.0),
        plain(CA, "ALA", "A  -1 ", 1.0),
        plain("HG11", "ALA", "A  -1 ", 2.0),
        plain(" D  ", "ALA", "A  -1 ", 2.5),
        plain(CA, "VAL", "A  52A", 3.0),
        plain(CA, "VAL", "A  52B", 4.0),
        hetero(CA, "MSE", "A  60 ", 5.0),
        hetero("SE  ", "MSE", "A  60 ", 6.0),
        hetero("CA  ", " CA", "A 301 ", 7.0),
        hetero(" O  ", "HOH", "A 400 ", 8.0),
        plain(" OH2", "TIP3", "A 401 ", 9.0).replace("TIP3 A", "TIP3A"),
    ]
    .concat();
    let s = one(&text);
    assert_eq!(xs(&s), [0.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    assert_eq!(s.system.numbers, [7, 6, 6, 6, 6, 34, 20]);
    // Neither selenomethionine nor calcium.
    assert_eq!(s.centres, [1, 2, 3]);
    let names: Vec<_> = s
        .system
        .residues
        .iter()
        .map(|r| (r.number, r.icode, r.name.as_str()))
        .collect();
    let expected = [
        (-1, b' ', "ALA"),
        (52, b'A', "VAL"),
        (52, b'B', "VAL"),
        (60, b' ', "MSE"),
        (301, b' ', "CA"),
    ];
    assert_eq!(names, expected);

    let with = |options: ReadOptions| {
        read_as("x.pdb", text.as_bytes(), &options)
            .unwrap()
            .remove(0)
    };
    let no_hetero = with(ReadOptions {
        hetero: false,
        ..Default::default()
    });
    assert_eq!(xs(&no_hetero), [0.0, 1.0, 3.0, 4.0]);
    let hydrogens = with(ReadOptions {
        hydrogens: true,
        ..Default::default()
    });
    assert_eq!(hydrogens.system.numbers, [7, 6, 1, 1, 6, 6, 6, 34, 20]);
    let published = with(ReadOptions {
        elements: Elements::FirstLetter,
        ..Default::default()
    });
    assert_eq!(published.system.numbers, [7, 6, 6, 6, 6, 16, 6]);
    assert_eq!(published.centres, [1, 2, 3]);
}

#[test]
fn the_element_columns_come_before_the_name() {
    let rest = format!("{:22}{:>2}", "  1.00  0.00", "ZN");
    let text =
        plain(CA, "GLY", "A   1 ", 0.0) + &atom("HETATM", " X1 ", ' ', "LIG", "A   2 ", 1.0, &rest);
    assert_eq!(one(&text).system.numbers, [6, 30]);
}

#[test]
fn chains_without_a_name_end_at_ter() {
    let chain = |x| plain(CA, "GLY", "    1 ", x);
    let s = one(&format!(
        "{}TER\n{}TER\n{}END\n{}",
        chain(1.0),
        chain(2.0),
        chain(3.0),
        "nothing\n"
    ));
    assert_eq!(xs(&s), [1.0, 2.0, 3.0]);
    assert_eq!(s.system.residues.len(), 3);
    // A segment name stands in for the chain.
    let rest = format!("{:18}PROT", "  1.00  0.00");
    let s = one(&atom("ATOM", CA, ' ', "GLY", "    1 ", 1.0, &rest));
    assert_eq!(s.system.residues[0].chain.as_str(), "PROT");
    // With a name too, TER ends a residue: what comes after it in the chain is another molecule.
    let s = one(&format!(
        "{}TER\n{}",
        plain(CA, "GLY", "A   1 ", 1.0),
        plain(" N  ", "GLY", "A   1 ", 2.0)
    ));
    assert_eq!(xs(&s), [1.0, 2.0]);
    assert_eq!(s.system.residues.len(), 2);
}

#[test]
fn models_the_first_or_all() {
    let model = |n: i32, x| {
        format!(
            "MODEL     {n:>4}\n{}ENDMDL\n",
            plain(CA, "GLY", "A   1 ", x)
        )
    };
    let text = model(3, 1.0) + &model(7, 2.0);
    let first = one(&text);
    assert_eq!(
        (first.id.as_str(), first.model, xs(&first)),
        ("x", 3, vec![1.0])
    );
    let all = ReadOptions {
        models: Models::All,
        ..Default::default()
    };
    let all = read_as("pdb1abc.ent", text.as_bytes(), &all).unwrap();
    let ids: Vec<_> = all
        .iter()
        .map(|s| (s.id.as_str(), s.model, s.system.positions[0][0]))
        .collect();
    assert_eq!(ids, [("1abc:3", 3, 1.0), ("1abc:7", 7, 2.0)]);
    assert_eq!(entry_of("1abc:7"), "1abc");
    assert_eq!(entry_of("T0285:7"), "t0285");
}

const COLUMNS: [&str; 14] = [
    "group_PDB",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "auth_asym_id",
    "auth_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "odd_column",
    "pdbx_PDB_model_num",
];

const ROWS: &str = "ATOM C CA . GLY AA 1 ? 1.5 2 3 1.0 'a b' 1\n\
    ATOM O \"O5'\" . DG AA 2 B -2.5 2 3 1.0 \n;text\n;\n1\n\
    HETATM C CA A MSE AA 3 ? 3.5 2 3 0.4 . 1 HETATM C CA B MSE AA 3 ? 4.5 2 3 0.6 . 1\n\
    ATOM C CA . GLY AA 1 ? 9.5 2 3 1.0 . 2\n";

fn mmcif(columns: &[&str], rows: &str) -> String {
    let header: String = columns
        .iter()
        .map(|c| format!("_atom_site.{c}\n"))
        .collect();
    format!(
        "# comment\ndata_TEST\n_entry.id TEST\n_struct.title\n;loop_ ATOM\n_atom_site.no\n;\n\
         loop_\n_citation.id\n_citation.title\n1 'it's quoted' \nloop_\n{header}{rows}#\n\
         loop_\n_other.x\n1 2 3\n"
    )
}

#[test]
fn mmcif_by_its_grammar() {
    let text = mmcif(&COLUMNS, ROWS);
    let mut all = read_as("named.pdb", text.as_bytes(), &ReadOptions::default()).unwrap();
    let s = all.remove(0);
    assert!(all.is_empty());
    assert_eq!(s.format, "mmcif");
    assert_eq!(xs(&s), [1.5, -2.5, 4.5]);
    assert_eq!(s.system.numbers, [6, 8, 6]);
    assert_eq!(s.centres, [0]);
    assert_eq!(s.system.residues[1].icode, b'B');
    assert!(s.system.residues.iter().all(|r| r.chain.as_str() == "AA"));
    let options = ReadOptions {
        models: Models::All,
        ..Default::default()
    };
    let both = read_as("x.cif", text.as_bytes(), &options).unwrap();
    assert_eq!(both.iter().map(|s| s.model).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(xs(&both[1]), [9.5]);
}

#[test]
fn one_atom_needs_no_loop() {
    let values = [
        "ATOM", "C", "CA", ".", "GLY", "A", "1", "?", "1.5", "2", "3", "1.0", ".", "1",
    ];
    let pairs = COLUMNS.iter().zip(values);
    let text: String = pairs
        .map(|(c, v)| format!("_atom_site.{c} {v}\n"))
        .collect();
    let text = format!("data_X\n{text}");
    let s = read_as("x.cif", text.as_bytes(), &ReadOptions::default())
        .unwrap()
        .remove(0);
    assert_eq!(xs(&s), [1.5]);
    let cut = text.rsplit_once(' ').unwrap().0;
    assert!(told("x.cif", cut.as_bytes()).contains("truncated"));
}

#[test]
fn compression_and_format_are_told_by_content() {
    let text = plain(CA, "GLY", "A   1 ", 1.0);
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zip.write_all(text.as_bytes()).unwrap();
    let zipped = zip.finish().unwrap();
    for (name, bytes) in [
        ("a.pdb", &zipped[..]),
        ("b.gz", &zipped),
        ("c.cif", text.as_bytes()),
    ] {
        let s = read_as(name, bytes, &ReadOptions::default()).unwrap();
        assert_eq!(
            (s[0].format.as_str(), xs(&s[0])),
            ("pdb", vec![1.0]),
            "{name}"
        );
    }
    assert!(told("a.pdb.gz", &zipped[..zipped.len() - 9]).contains("truncated gzip"));
    let mut damaged = zipped.clone();
    let end = damaged.len() - 6;
    damaged[end] ^= 1;
    assert!(told("a.pdb.gz", &damaged).contains("damaged gzip"));
}

#[test]
fn bad_pdb_files_are_told_by_line() {
    let good = plain(CA, "GLY", "A   1 ", 1.0);
    let with = |bad: &str| told("bad.pdb", format!("REMARK\n{good}{bad}\n{good}").as_bytes());
    let bad_x = |x: &str| good.replace("   1.000", x);
    for (bad, part) in [
        (&good[..40], "line 3: atom record of 40 columns"),
        (
            &bad_x("     nan"),
            "line 3: x coordinate \"nan\" is not a finite number",
        ),
        (
            &bad_x("     inf"),
            "line 3: x coordinate \"inf\" is not a finite number",
        ),
        (
            &bad_x("********"),
            "line 3: x coordinate \"********\" is not a number",
        ),
        (
            &bad_x("   1,000"),
            "line 3: x coordinate \"1,000\" is not a number",
        ),
        (&bad_x(" 1234567"), "within 1e6 Å"),
        (
            &good.replace("A   1 ", "A   x "),
            "line 3: residue number \"x\"",
        ),
        ("ATOM     \u{e9}\u{e9}\u{e9}", "line 3: "),
    ] {
        let text = with(bad);
        assert!(text.contains(part), "{part}: {text}");
    }
    for columns in [55, 57, 63, 65] {
        let cut = format!("{good}{}", &good[..columns]);
        let text = told("cut.pdb", cut.as_bytes());
        assert!(
            text.contains("line 2: the file ends inside this atom"),
            "{columns}: {text}"
        );
    }
    // A whole last line without its line end is no cut.
    one(&format!(
        "{good}{}",
        good.trim_end().replace("A   1 ", "A   2 ")
    ));

    assert!(told("e.pdb", b"").contains("empty file"));
    assert!(told("e.pdb", b" \n\n").contains("empty file"));
    assert!(told("t.pdb", b"hello\n").contains("no ATOM record"));
    let noise: Vec<u8> = (0..4000u32)
        .map(|i| (i.wrapping_mul(2654435761) >> 24) as u8)
        .collect();
    assert!(told("n.pdb", &noise).contains("binary data"));
    let ion = atom("HETATM", "CA  ", ' ', " CA", "A   1 ", 1.0, "");
    assert!(told("ion.pdb", ion.as_bytes()).contains("no CA atom"));
}

#[test]
fn bad_mmcif_files_are_told_by_line() {
    for missing in [
        "Cartn_y",
        "label_atom_id",
        "label_comp_id",
        "auth_asym_id",
        "auth_seq_id",
    ] {
        let left: Vec<&str> = COLUMNS.iter().copied().filter(|c| *c != missing).collect();
        let text = told("x.cif", mmcif(&left, ROWS).as_bytes());
        assert!(
            text.contains("missing column _atom_site.") && text.contains(missing),
            "{text}"
        );
    }
    let first = 13 + COLUMNS.len();
    let at = |n: usize, part: &str| format!("line {}: {part}", first + n);
    for (bad, expected) in [
        ("ATOM C CA . GLY A 1 ? 1 2\n", at(0, "an atom of 10 values")),
        (
            "ATOM C CA . GLY A 1 ? 1 ? 3 1 . 1\n",
            at(0, "y coordinate \"?\""),
        ),
        (
            "ATOM C CA . GLY A 1 ? 1 nan 3 1 . 1\n",
            at(0, "y coordinate \"nan\""),
        ),
        (
            "ATOM C CA . GLY A x ? 1 2 3 1 . 1\n",
            at(0, "residue number \"x\""),
        ),
        (
            "ATOM C CA . GLY ABCDEFGHI 1 ? 1 2 3 1 . 1\n",
            at(0, "chain \"ABCDEFGHI\""),
        ),
        ("", "no rows".to_string()),
    ] {
        let text = told("x.cif", mmcif(&COLUMNS, bad).as_bytes());
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    let whole = mmcif(&COLUMNS, ROWS);
    let cut = &whole[..whole.find(";text").unwrap() + 3];
    assert!(told("x.cif", cut.as_bytes()).contains("ends inside this text field"));
    assert!(told("x.cif", b"data_x\n_cell.a 1\n").contains("without atoms"));
}
