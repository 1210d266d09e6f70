//! PDB files.

use super::Target;
use holosig::data::structure::{Models, ReadOptions, read};
use std::path::Path;

pub const TARGET: Target = Target {
    corpus: || vec![chains().into_bytes(), models().into_bytes()],
    words: &[
        "ATOM  ", "HETATM", "TER", "MODEL ", "ENDMDL", "END", "CONECT", "REMARK", " CA ", "CA  ",
        "A000", "zzzz", "HOH", "SEGID",
    ],
    ending: ".pdb",
    read: structure,
};

/// All that a structure file can be asked for.
pub fn structure(path: &Path) -> holosig::Result<()> {
    read(path, &ReadOptions::default())?;
    let all = ReadOptions {
        models: Models::All,
        hydrogens: true,
        ..ReadOptions::default()
    };
    read(path, &all).map(drop)
}

/// An atom record of 80 columns.
fn atom(record: &str, number: usize, name: &str, alt: char, residue: &str, place: &str) -> String {
    let [x, y, z] = [1.5, 2.5, -0.7].map(|step| step * number as f64);
    let symbol = name.trim_start_matches(|c: char| !c.is_alphabetic()).get(..1).unwrap_or("");
    format!(
        "{record:<6}{number:>5} {name:<4}{alt}{residue:>3} {place}   {x:8.3}{y:8.3}{z:8.3}  0.50 10.00\
         {:10}{symbol:>2}  \n",
        ""
    )
}

/// Two chains, alternate locations, a modified residue, an ion and water.
pub fn chains() -> String {
    let mut text = String::from("HEADER    TEST\nREMARK   2\n");
    let names = [" N  ", " CA ", " C  ", " O  "];
    for (i, name) in names.iter().enumerate() {
        text += &atom("ATOM", i, name, ' ', "ALA", "A   1 ");
    }
    for (i, alt) in ['A', 'B'].into_iter().enumerate() {
        text += &atom("ATOM", 4 + i, " CA ", alt, "SER", "A   2A");
    }
    text += "TER       6      SER A   2A\n";
    for (i, name) in names.iter().enumerate() {
        text += &atom("ATOM", 7 + i, name, ' ', "GLY", "B9999 ");
    }
    text += &atom("HETATM", 11, "SE  ", ' ', "MSE", "BA000 ");
    text += &atom("HETATM", 12, "CA  ", ' ', " CA", "    1 ");
    text += &atom("HETATM", 13, " O  ", ' ', "HOH", "A 301 ");
    text + "CONECT    1    2\nEND\n"
}

fn models() -> String {
    let model = |n: usize| {
        let atoms = atom("ATOM", n, " CA ", ' ', "GLY", "A   1 ");
        format!("MODEL     {n:>4}\n{atoms}TER\nENDMDL\n")
    };
    model(1) + &model(2) + "END\n"
}
