//! Readers that work in child processes of the program: each input is given to the program itself.

use holosig::{Error, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// The readers that do so, and how many other inputs take the time of one of theirs.
pub const READERS: [&str; 3] = ["hdf5", "netcdf", "qm9_hdf5"];
pub const COST: u64 = 20;

/// Runs the program; success or exit code 2 are right, and all else is a finding.
pub fn run(arguments: &[&str], folder: &Path) -> Result<()> {
    let ran = Command::new(env!("CARGO_BIN_EXE_holosig"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match ran.status.code() {
        Some(0) => Ok(()),
        Some(2) => Err(Error::input("refused")),
        _ => panic!("{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr)),
    }
}
