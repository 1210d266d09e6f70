//! What all readers of molecules and crystals have in common.

use super::Target;
use holosig::data::systems::read::{Options, read_each};
use std::path::Path;

/// A reader without words and files.
pub const READER: Target = Target {
    corpus: Vec::new,
    words: &[],
    ending: "",
    read,
};

/// Every system of the file, or what is wrong with it.
fn read(path: &Path) -> holosig::Result<()> {
    let all = read_each(path, "input", &Options::default())?;
    all.into_iter()
        .collect::<holosig::Result<Vec<_>>>()
        .map(drop)
}
