//! Files of one small complex in every form.

use super::common::{holosig, run};
use super::gzip::gzip;
use heed::types::Bytes;
use heed::{Database, EnvFlags, EnvOpenOptions};
use std::path::{Path, PathBuf};

pub type Atom = (&'static str, [f64; 3]);

pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path)
}

/// The published model as a checkpoint in `dir`.
pub fn checkpoint(dir: &Path) -> PathBuf {
    let out = dir.join("ckpt.h5");
    let files =
        ["model.pt", "hparams.json"].map(|f| in_repository("fixtures/published_small").join(f));
    run(holosig().arg("import").args(files).arg("--out").arg(&out)).success();
    out
}

/// Atom records of ubiquitin.
pub fn protein() -> Vec<String> {
    let text = std::fs::read_to_string(in_repository("structures/pdb1ubi.pdb")).unwrap();
    let atoms = text.lines().filter(|l| l.starts_with("ATOM"));
    atoms.map(str::to_string).collect()
}

pub fn position(record: &str) -> [f64; 3] {
    [30, 38, 46].map(|from| record[from..from + 8].trim().parse().unwrap())
}

pub fn alpha_carbons() -> Vec<[f64; 3]> {
    let all = protein();
    let ca = all.iter().filter(|l| &l[12..16] == " CA ");
    ca.map(|l| position(l)).collect()
}

pub fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

/// A small ligand beside lysine 48, at three decimals, one of its atoms a chlorine.
pub fn ligand() -> Vec<Atom> {
    let [x, y, z] = alpha_carbons()[47];
    let at =
        |dx: f64, dy: f64, dz: f64| [x + dx, y + dy, z + dz].map(|v| (v * 1000.0).round() / 1000.0);
    vec![
        ("C", at(4.111, 2.027, 3.333)),
        ("C", at(5.203, 2.641, 4.101)),
        ("N", at(5.904, 3.512, 3.402)),
        ("O", at(3.006, 1.717, 4.224)),
        ("Cl", at(6.617, 1.508, 5.006)),
    ]
}

pub fn sdf(atoms: &[Atom]) -> String {
    let mut text = format!(
        "lig\n  made for a test 3D\n\n{:3}{:3}  0  0  0  0  0  0  0  0999 V2000\n",
        atoms.len() + 1,
        0
    );
    for (symbol, p) in atoms.iter().copied().chain([("H", [0.0; 3])]) {
        text += &format!("{:10.4}{:10.4}{:10.4} {symbol:<3} 0  0\n", p[0], p[1], p[2]);
    }
    text + "M  END\n$$$$\n"
}

pub fn v3000(atoms: &[Atom]) -> String {
    let mut text =
        String::from("lig\n  test\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\n");
    text += &format!("M  V30 COUNTS {} 0 0 0 0\nM  V30 BEGIN ATOM\n", atoms.len());
    for (i, (symbol, p)) in atoms.iter().enumerate() {
        // The last atom goes on in another line.
        let (end, go_on) = if i + 1 == atoms.len() {
            ("-\nM  V30 ", " 0")
        } else {
            ("", " 0")
        };
        text += &format!(
            "M  V30 {} {symbol} {} {} {end}{}{go_on}\n",
            i + 1,
            p[0],
            p[1],
            p[2]
        );
    }
    text + "M  V30 END ATOM\nM  V30 END CTAB\nM  END\n"
}

pub fn mol2(atoms: &[Atom]) -> String {
    let mut text = format!(
        "# test\n@<TRIPOS>MOLECULE\nlig\n{} 0\nSMALL\n\n@<TRIPOS>ATOM\n",
        atoms.len()
    );
    for (i, (symbol, p)) in atoms.iter().enumerate() {
        let kind = if *symbol == "C" { "C.ar" } else { symbol };
        text += &format!(
            "{} {symbol}{i} {} {} {} {kind} 1 LIG 0.0\n",
            i + 1,
            p[0],
            p[1],
            p[2]
        );
    }
    text + "@<TRIPOS>BOND\n"
}

/// PDB records of the ligand, all carbons called `C`, as some programs write them.
pub fn records(atoms: &[Atom], chain: char) -> String {
    let record = |(i, (symbol, p)): (usize, &Atom)| {
        format!(
            "HETATM{:5} {symbol:<4} LIG {chain} 401    {:8.3}{:8.3}{:8.3}  1.00  0.00          {:>2}\n",
            9000 + i,
            p[0],
            p[1],
            p[2],
            symbol.to_uppercase()
        )
    };
    atoms.iter().enumerate().map(record).collect()
}

/// Files of the complex in every form, and a manifest that lists them.
pub fn every_form(dir: &Path) -> PathBuf {
    let atoms = ligand();
    let protein = protein().join("\n") + "\n";
    let whole = format!("{protein}{}END\n", records(&atoms, 'L'));
    for (name, text) in [
        ("p.pdb", protein.clone()),
        ("whole.pdb", whole),
        ("l.sdf", sdf(&atoms)),
        ("v3.mol", v3000(&atoms)),
        ("l.mol2", mol2(&atoms)),
        ("l.pdb", records(&atoms, 'L')),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    std::fs::write(dir.join("p.pdb.gz"), gzip(protein.as_bytes())).unwrap();
    std::fs::write(dir.join("l.sdf.gz"), gzip(sdf(&atoms).as_bytes())).unwrap();
    let manifest = dir.join("m.csv");
    let rows = [
        "id,protein,ligand,pK,split,source",
        "sdf,p.pdb,l.sdf,5.5,train,a",
        "gz,p.pdb.gz,l.sdf.gz,5.5,train,a",
        "v3000,p.pdb,v3.mol,5.5,train,a",
        "mol2,p.pdb,l.mol2,,val,b",
        "pdb,p.pdb,l.pdb,5.5,test,b",
        "residue,whole.pdb,LIG,5.5,test,b",
        "named,whole.pdb,LIG:L:401,5.5,test,b",
        "both,whole.pdb,l.sdf,5.5,test,b",
    ];
    std::fs::write(&manifest, rows.join("\n") + "\n").unwrap();
    manifest
}

/// PDBbind's layout of the same complex.
pub fn pdbbind(dir: &Path) -> PathBuf {
    let folder = dir.join("pdbbind");
    let home = folder.join("refined-set/1ubi");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::create_dir_all(folder.join("index")).unwrap();
    std::fs::write(home.join("1ubi_protein.pdb"), protein().join("\n")).unwrap();
    std::fs::write(home.join("1ubi_ligand.mol2"), mol2(&ligand())).unwrap();
    let index = "# PDB code, resolution, release year, -logKd/Ki, Kd/Ki, reference, ligand name\n\
                 1ubi  1.80  1987  5.50  Kd=3.2uM  // 1ubi.pdf (LIG)\n";
    std::fs::write(folder.join("index/INDEX_refined_data.2020"), index).unwrap();
    folder
}

pub const COLUMNS: [&str; 12] = [
    "chain",
    "hetero",
    "insertion_code",
    "residue",
    "resname",
    "altloc",
    "occupancy",
    "x",
    "y",
    "z",
    "element",
    "name",
];

pub fn table(rows: Vec<serde_json::Value>) -> serde_json::Value {
    serde_json::json!({ "columns": COLUMNS, "index": [], "data": rows })
}

/// ATOM3D's entry of the complex, its atoms moved by `place`.
pub fn entry(place: impl Fn([f64; 3]) -> [f64; 3]) -> serde_json::Value {
    let atom = |l: &String| {
        let [x, y, z] = place(position(l));
        let number: i64 = l[22..26].trim().parse().unwrap();
        let text = |from: usize, to: usize| l[from..to].trim().to_string();
        serde_json::json!([
            text(21, 22),
            " ",
            " ",
            number,
            text(17, 20),
            " ",
            1.0,
            x,
            y,
            z,
            text(76, 78),
            text(12, 16)
        ])
    };
    let of_ligand = |(symbol, p): &Atom| {
        let [x, y, z] = place(*p);
        serde_json::json!(["L", "H", " ", 1, "LIG", " ", 1.0, x, y, z, symbol, symbol])
    };
    serde_json::json!({
        "atoms_protein": table(protein().iter().map(atom).collect()),
        "atoms_ligand": table(ligand().iter().map(of_ligand).collect()),
        "scores": { "neglog_aff": 5.5 },
    })
}

/// An LMDB as ATOM3D writes them, in the folder `dir`.
pub fn lmdb(dir: &Path, entries: &[(&str, serde_json::Value)]) {
    std::fs::create_dir_all(dir).unwrap();
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 26);
    // SAFETY: the file is new and nobody else's.
    let env = unsafe { options.flags(EnvFlags::NO_LOCK).open(dir).unwrap() };
    let mut writing = env.write_txn().unwrap();
    let database: Database<Bytes, Bytes> = env.create_database(&mut writing, None).unwrap();
    let mut ids = serde_json::Map::new();
    for (i, (id, entry)) in entries.iter().enumerate() {
        let key = i.to_string();
        database
            .put(
                &mut writing,
                key.as_bytes(),
                &gzip(entry.to_string().as_bytes()),
            )
            .unwrap();
        ids.insert(id.to_string(), i.into());
    }
    let ids = serde_json::Value::from(ids).to_string();
    database
        .put(&mut writing, b"id_to_idx", &gzip(ids.as_bytes()))
        .unwrap();
    database
        .put(&mut writing, b"serialization_format", b"json")
        .unwrap();
    writing.commit().unwrap();
}
