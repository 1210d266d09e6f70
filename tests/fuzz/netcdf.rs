//! AMBER NetCDF trajectories, which a library reads.

use super::md::{peptide::Run, run_as};
use super::{Target, program};
use std::path::Path;

pub const TARGET: Target = Target {
    corpus: || run_as("nc"),
    words: &["CDF", "coordinates", "frame", "atom", "spatial"],
    ending: ".nc",
    read,
};

fn read(path: &Path) -> holosig::Result<()> {
    let folder = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    Run::new(1, 1).write_frame(&folder.join("top.pdb"));
    let text = format!("trajectory,topology\n{name},top.pdb\n");
    std::fs::write(folder.join("m.csv"), text).unwrap();
    let command = "prepare trajectories --manifest m.csv --out out.h5 --segments 1x1 --folds 1";
    let _ = std::fs::remove_file(folder.join("out.h5"));
    program::run(&command.split(' ').collect::<Vec<_>>(), folder)
}
