//! ATOM3D's databases.

use super::Target;
use heed::types::Bytes;
use heed::{Database, EnvFlags, EnvOpenOptions};
use holosig::data::complexes::atom3d::{Databases, list};
use holosig::data::structure::ReadOptions;
use std::path::Path;

pub const TARGET: Target = Target {
    corpus: || vec![database(2), database(60)],
    words: &["serialization_format", "json", "id_to_idx", "{", "}"],
    ending: ".mdb",
    read,
};

/// A database of so many entries, which are no complexes.
fn database(entries: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.mdb");
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 24);
    // SAFETY: a new file in a folder of its own.
    let env = unsafe { options.flags(EnvFlags::NO_SUB_DIR).open(&path) }.unwrap();
    let mut writing = env.write_txn().unwrap();
    let all: Database<Bytes, Bytes> = env.create_database(&mut writing, None).unwrap();
    let ids: Vec<String> = (0..entries).map(|i| format!("\"id{i}\": {i}")).collect();
    let ids = format!("{{{}}}", ids.join(", "));
    let mut put = |key: &str, value: &str| {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        all.put(&mut writing, key, value).unwrap();
    };
    put("serialization_format", "json");
    put("id_to_idx", &ids);
    for i in 0..entries {
        put(&i.to_string(), &format!("{{\"pad\": \"{}\"}}", "x".repeat(97 * i)));
    }
    writing.commit().unwrap();
    drop(env);
    std::fs::read(path).unwrap()
}

fn read(path: &Path) -> holosig::Result<()> {
    let databases = Databases::default();
    let listing = list(path)?;
    for number in 0..listing.entries.len().min(100) as u64 {
        databases.read(path, number, &ReadOptions::default())?;
    }
    Ok(())
}
