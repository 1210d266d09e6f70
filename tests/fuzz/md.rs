//! Trajectories and topologies of molecular dynamics.

#[path = "../common/peptide.rs"]
#[allow(dead_code)]
pub mod peptide;

use super::Target;
use holosig::child::{is_served, work_here};
use holosig::data::md::formats::{self, Frame};
use holosig::data::md::{Ensemble, Selection, Settings, TASKS, manifest};
use holosig::data::trajectory::Source;
use peptide::{ATOMS, Run};
use std::path::Path;

/// Three frames of a peptide in a file of a format.
pub fn run_as(ending: &str) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("run.{ending}"));
    Run::new(3, 1).write(&path, 0..3);
    vec![std::fs::read(path).unwrap()]
}

/// Reads all frames, which must have the atoms of the topology.
pub fn frames(path: &Path) -> holosig::Result<()> {
    let mut frames = formats::open(path, ATOMS, 1)?;
    let (mut frame, mut count) = (Frame::default(), 0);
    while frames.read(count, &mut frame)? {
        assert_eq!(frame.positions.len(), ATOMS);
        count += 1;
    }
    Ok(())
}

/// Reads a topology, with a trajectory that fits it when it is whole.
pub fn topology(path: &Path) -> holosig::Result<()> {
    let folder = path.parent().unwrap();
    // Beside the folders of all inputs: it is written once.
    let run = folder.with_file_name("run.dcd");
    if !run.exists() {
        Run::new(1, 1).write(&run, 0..1);
    }
    let table = folder.join("m.csv");
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = format!("trajectory,topology\n../run.dcd,{name}\n");
    std::fs::write(&table, text).unwrap();
    let settings = Settings {
        selection: Selection::All,
        stride: 1,
        cutoff: 8.0,
    };
    let rows = manifest::read(&table, "label", &[])?;
    Ensemble::new(rows, settings)?
        .produce(0, &mut |_| Ok(()))
        .map(drop)
}

/// Reads a file of those that children read with a library, as a topology and frame by frame; without
/// children the part that is theirs.
fn foreign(path: &Path) -> holosig::Result<()> {
    if is_served() {
        topology(path)?;
        return frames(path);
    }
    // The first frame, and the stride.
    let arguments = ["0", "1"].map(String::from);
    let mut tasks = TASKS.into_iter();
    tasks.try_for_each(|(_, task)| work_here(task, path, &arguments))
}

const fn trajectory(corpus: fn() -> Vec<Vec<u8>>, ending: &'static str) -> Target {
    Target {
        corpus,
        words: &[
            "\u{7}\u{cb}",
            "\u{7}\u{c9}",
            "CORD",
            "GMX_trn_file",
            "MODEL ",
            "END",
        ],
        ending,
        read: frames,
    }
}

pub const XTC: Target = trajectory(|| run_as("xtc"), ".xtc");
pub const TRR: Target = trajectory(|| run_as("trr"), ".trr");
pub const DCD: Target = trajectory(|| run_as("dcd"), ".dcd");
pub const MODELS: Target = trajectory(|| run_as("pdb"), ".pdb");

pub const XYZ: Target = Target {
    corpus: || run_as("xyz"),
    words: &[
        "Properties=species:S:1:pos:R:3",
        ":mass:R:1",
        ":name:S:1",
        "Lattice=\"",
        "=\"",
        "58\n",
        "18446744073709551615",
        "1e999",
        "nan",
    ],
    ending: ".xyz",
    read: foreign,
};
pub const MMCIF: Target = Target {
    corpus: || run_as("mmcif"),
    words: &[
        "loop_",
        "data_",
        "_atom_site.",
        "_atom_site.pdbx_PDB_model_num",
        "_cell.length_a",
        "ATOM",
        "HETATM",
        "\n;",
        "'",
        "?",
        "#",
    ],
    ending: ".mmcif",
    read: foreign,
};
