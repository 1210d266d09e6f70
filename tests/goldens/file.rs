//! What all files are read with.

use hdf5::types::VarLenUnicode;
use hdf5::{File, Group, H5Type};
use serde_json::Value;
use std::path::Path;

/// The network that a file is about: what a group says, or else the file's name.
pub fn network(file: &File) -> String {
    let groups = file.groups().unwrap();
    let named = groups.iter().find(|group| group.attr("model").is_ok());
    let stem = || {
        let name = file.filename();
        let stem = Path::new(&name).file_stem().unwrap();
        stem.to_str().unwrap().to_string()
    };
    named.map_or_else(stem, |group| text(group, "model"))
}

/// Where a group is, for messages.
pub fn place(group: &Group) -> String {
    let file = group.filename();
    let name = Path::new(&file).file_name().unwrap().to_str().unwrap();
    format!("{name}{}", group.name())
}

pub fn read<T: H5Type>(group: &Group, name: &str) -> Vec<T> {
    let values = group.dataset(name).and_then(|d| d.read_raw());
    values.unwrap_or_else(|e| panic!("{}/{name}: {e}", group.name()))
}

pub fn scalar(group: &Group, name: &str) -> f64 {
    group.dataset(name).unwrap().read_scalar().unwrap()
}

/// An attribute that is text.
pub fn text(group: &Group, name: &str) -> String {
    let value = group
        .attr(name)
        .and_then(|a| a.read_scalar::<VarLenUnicode>());
    let value = value.unwrap_or_else(|e| panic!("{}: {name}: {e}", group.name()));
    value.as_str().to_string()
}

/// An attribute that is JSON.
pub fn parsed(group: &Group, name: &str) -> Value {
    serde_json::from_str(&text(group, name)).unwrap()
}
