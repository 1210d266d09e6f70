//! Damaged input for every reader: each takes thousands of mutated files in a process of its own,
//! and must read or refuse each of them, in one line, without a panic, a crash, a wait for ever or
//! much memory.
//!
//! An ordinary test run tries a fixed set of inputs; `scripts/fuzz.sh --minutes M` goes on. To add a
//! reader, put a file with its [`Target`] here and its name into the list below.

mod campaign;
mod faulty;
mod md;
mod mutate;
#[path = "../common/gzip.rs"]
mod packed;
mod run;
mod spheres;
mod systems;
#[path = "../common/torch.rs"]
mod written;

use std::path::Path;

/// A reader and what it is fed with.
pub struct Target {
    /// Whole files, made here, that are mutated.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Words of the format, which random bytes would seldom hit.
    pub words: &'static [&'static str],
    /// What the name of an input ends with, point included.
    pub ending: &'static str,
    /// Reads a file. What may happen: success, or an error that is the input's fault. The folder
    /// of the file is the input's own, and may be written to.
    pub read: fn(&Path) -> holosig::Result<()>,
}

/// Names of modules of this folder with a constant `TARGET`; each becomes a test.
macro_rules! readers {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        fn target(name: &str) -> Option<&'static Target> {
            match name {
                $(stringify!($name) => Some(&$name::TARGET),)*
                _ => faulty::target(name),
            }
        }

        $(#[test]
        fn $name() {
            campaign::run(stringify!($name));
        })*
    };
}

readers! {
    cif,
    dcd,
    extxyz,
    gro,
    gzip,
    heartbeat,
    hdf5,
    idx,
    job,
    lmdb,
    mmcif,
    mmcif_models,
    models,
    mol2,
    netcdf,
    npz,
    obj,
    off,
    pdb,
    pdb_topology,
    ply,
    png,
    poscar,
    prmtop,
    proteinnet,
    qm9,
    qm9_hdf5,
    run_lock,
    run_log,
    psf,
    safetensors,
    scores,
    sdf,
    stl,
    structures_json,
    table,
    torch,
    trr,
    xtc,
    xyz,
}

/// Not a test of its own: the process that [`campaign::run`] starts finds itself here.
#[test]
fn reading() {
    campaign::read_if_asked(target);
}
