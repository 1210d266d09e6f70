//! The two containers of PyTorch: a zip archive (since 1.6), and before it pickles one after
//! another with the numbers behind them.

use super::pickle::{self, Graph, Value};
use super::tensors::{self, State, Storage};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use zip::CompressionMethod;
use zip::ZipArchive;
use zip::read::ZipFile;

/// What the first pickle of an old file holds, as its bytes: `0x1950a86a20f9469cfc6c`.
const MAGIC: [u8; 13] = *b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// How to give such a model to this program.
const ANEW: &str = "save it anew in Python: safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")";

/// Where the numbers of a file are.
pub(super) enum Container {
    Zip(Box<Archive>),
    Legacy(Legacy),
}

/// The zip archive of `torch.save`.
pub(super) struct Archive {
    zip: ZipArchive<File>,
    /// The folder that all entries lie in, with a slash at its end.
    folder: String,
    /// Bytes of the whole file.
    bytes: u64,
}

/// The file of `torch.save` before PyTorch 1.6.
pub(super) struct Legacy {
    file: File,
    /// Where each storage begins, and how many numbers the file says it has.
    storages: HashMap<String, Place>,
}

struct Place {
    at: u64,
    len: u64,
}

/// Understands a file of `torch.save`; the caller names it in errors.
///
/// # Errors
/// A file of another kind (which is named), a damaged one, one without a state dict; each with
/// what to do.
pub(super) fn open(mut file: File) -> Result<Contents> {
    let bytes = file.metadata().map_err(damaged)?.len();
    let mut head = Vec::new();
    let read = file.by_ref().take(512).read_to_end(&mut head);
    read.and_then(|_| file.rewind()).map_err(damaged)?;
    match &head[..] {
        [b'P', b'K', 3, 4, ..] => Archive::open(file, bytes),
        [0x80, 1..=5, ..] => Legacy::open(file),
        _ => Err(Error::input(foreign(&head))),
    }
}

/// A container and the state dict that it describes.
pub(super) struct Contents {
    pub container: Container,
    pub state: State,
}

/// What a file is that `torch.save` did not write, from its first bytes.
fn foreign(head: &[u8]) -> String {
    let what = match head {
        [] => "an empty file",
        [0x1f, 0x8b, ..] => "a gzip file: unpack it first",
        [0x80, ..] => "a pickle of an unknown protocol",
        _ if head.starts_with(b"version https://git-lfs") => {
            "a pointer of Git LFS in place of the file: git lfs pull"
        }
        _ if head.starts_with(b"\x89HDF") => "an HDF5 file",
        _ if head.get(257..262) == Some(b"ustar") => "a tar file, as PyTorch wrote before 0.1.10",
        _ => "of another kind",
    };
    format!(
        "not a PyTorch state dict but {what}; needed is what torch.save(model.state_dict(), PATH) writes, or safetensors"
    )
}

fn found(state: std::result::Result<State, String>) -> Result<State> {
    state.map_err(|what| Error::input(format!("{what}, where a state dict is needed; {ANEW}")))
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::input(format!(
        "not a PyTorch state dict: damaged or cut off ({what})"
    ))
}

/// The folder of a pickle of `torch.save`, with a slash at its end; nothing for another entry.
fn folder(entry: &[u8]) -> Option<String> {
    let folder = std::str::from_utf8(entry).ok()?.strip_suffix("data.pkl")?;
    let whole = folder.is_empty() || folder.ends_with('/');
    whole.then(|| folder.to_string())
}

impl Archive {
    fn open(file: File, bytes: u64) -> Result<Contents> {
        let zip = ZipArchive::new(file).map_err(damaged)?;
        let mut pickles = zip.file_names_raw().filter_map(folder);
        let (Some(folder), None) = (pickles.next(), pickles.next()) else {
            return Err(Error::input(format!(
                "not a PyTorch state dict: a zip archive without one data.pkl; {ANEW}"
            )));
        };
        drop(pickles);
        if zip
            .index_for_name_raw(format!("{folder}constants.pkl").as_bytes())
            .is_some()
        {
            return Err(Error::input(format!(
                "a TorchScript archive, where a state dict is needed; {ANEW}"
            )));
        }
        let mut archive = Self { zip, folder, bytes };
        archive.check_byte_order()?;
        let pickle = archive.entry("data.pkl", pickle::BYTES as u64)?;
        let graph = Graph::read(&pickle, 0)?;
        let state = found(tensors::state(&graph))?;
        Ok(Contents {
            container: Container::Zip(Box::new(archive)),
            state,
        })
    }

    fn check_byte_order(&mut self) -> Result<()> {
        let name = format!("{}byteorder", self.folder);
        if self.zip.index_for_name_raw(name.as_bytes()).is_none() {
            return Ok(()); // before PyTorch 2.1
        }
        let order = self.entry("byteorder", 16)?;
        match &order[..] {
            b"little" => Ok(()),
            _ => Err(big_endian()),
        }
    }

    /// The bytes of an entry, at most `limit`, with their checksum verified.
    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let full = format!("{}{name}", self.folder);
        let index = self.zip.index_for_name_raw(full.as_bytes());
        let index = index.ok_or_else(|| damaged(format!("no entry {full:?}")))?;
        let entry = self.zip.by_index(index);
        let mut entry = entry.map_err(|e| damaged(format!("{full:?}: {e}")))?;
        check_entry(&entry, &full, limit.min(self.bytes))?;
        let mut bytes = room(entry.size())?;
        entry
            .read_to_end(&mut bytes)
            .map_err(|e| damaged(format!("{full:?}: {e}")))?;
        Ok(bytes)
    }
}

/// Room for so many bytes.
fn room(len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reserved = bytes.try_reserve_exact(len as usize);
    reserved.map_err(|e| Error::internal(format!("a storage of {len} bytes: {e}")))?;
    Ok(bytes)
}

/// Whether an entry takes no more memory than the file has bytes, and than `limit`.
fn check_entry(entry: &ZipFile<'_, File>, name: &str, limit: u64) -> Result<()> {
    if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
        return Err(Error::input(format!(
            "entry {name:?} is compressed or encrypted, which torch.save does not do; {ANEW}"
        )));
    }
    match entry.size() == entry.compressed_size() && entry.size() <= limit {
        true => Ok(()),
        false => Err(damaged(format!(
            "entry {name:?} of {} bytes, where {limit} are the most",
            entry.size()
        ))),
    }
}

fn big_endian() -> Error {
    Error::input(format!(
        "written on a big-endian machine, whose byte order is not read; {ANEW}"
    ))
}

impl Legacy {
    fn open(mut file: File) -> Result<Contents> {
        let mut bytes = Vec::new();
        let mut pickles = file.by_ref().take(pickle::BYTES as u64);
        pickles.read_to_end(&mut bytes).map_err(damaged)?;
        let magic = Graph::read(&bytes, 0)?;
        if !bytes[..magic.end].ends_with(&MAGIC) {
            return Err(Error::input(format!(
                "a pickle that torch.save did not write; {ANEW}"
            )));
        }
        let version = Graph::read(&bytes, magic.end)?;
        let machine = Graph::read(&bytes, version.end)?;
        check_machine(&machine)?;
        let graph = Graph::read(&bytes, machine.end)?;
        let state = found(tensors::state(&graph))?;
        let keys = Graph::read(&bytes, graph.end)?;
        let storages = places(&mut file, &keys, &tensors::storages(&graph))?;
        Ok(Contents {
            container: Container::Legacy(Self { file, storages }),
            state,
        })
    }
}

/// Refuses a file of the other byte order.
fn check_machine(graph: &Graph) -> Result<()> {
    let items = graph.items(graph.root).unwrap_or_default();
    let order = items
        .iter()
        .find(|pair| graph.text(pair.key) == Some("little_endian"));
    match order.map(|pair| graph.value(pair.value)) {
        Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => Err(big_endian()),
        _ => Err(damaged("no byte order")),
    }
}

/// Finds the storages: behind the pickles each has its number of numbers (8 bytes) and these, in
/// the order of the last pickle.
fn places(
    file: &mut File,
    keys: &Graph,
    known: &HashMap<String, usize>,
) -> Result<HashMap<String, Place>> {
    let bytes = file.metadata().map_err(damaged)?.len();
    let mut at = keys.end as u64;
    let mut places = HashMap::new();
    for &key in keys.list(keys.root).unwrap_or_default() {
        let key = keys
            .text(key)
            .ok_or_else(|| damaged("a storage without a name"))?;
        let size = known.get(key).copied();
        let size = size.ok_or_else(|| damaged(format!("storage {key:?} belongs to no tensor")))?;
        let mut len = [0; 8];
        let read = file.seek(SeekFrom::Start(at));
        read.and_then(|_| file.read_exact(&mut len))
            .map_err(damaged)?;
        let len = u64::from_le_bytes(len);
        let start = at + 8;
        let end = len
            .checked_mul(size as u64)
            .and_then(|b| b.checked_add(start));
        at = end.filter(|&end| end <= bytes).ok_or_else(|| {
            damaged(format!(
                "storage {key:?} of {len} numbers goes beyond the file"
            ))
        })?;
        places.insert(key.to_string(), Place { at: start, len });
    }
    Ok(places)
}

impl Container {
    /// The bytes of a storage.
    ///
    /// # Errors
    /// One that is not in the file or has another length than its tensors say.
    pub fn read(&mut self, storage: &Storage) -> Result<Vec<u8>> {
        let key = &storage.key;
        let len = storage.len as u64 * storage.scalar.size() as u64;
        match self {
            Self::Zip(archive) => {
                let bytes = archive.entry(&format!("data/{key}"), archive.bytes)?;
                match bytes.len() as u64 == len {
                    true => Ok(bytes),
                    false => Err(damaged(format!(
                        "storage {key:?} has {} bytes, not {len}",
                        bytes.len()
                    ))),
                }
            }
            Self::Legacy(legacy) => {
                let place = legacy.storages.get(key);
                let place = place.filter(|p| p.len == storage.len as u64);
                let place = place.ok_or_else(|| damaged(format!("no storage {key:?}")))?;
                let mut bytes = room(len)?;
                let found = legacy.file.seek(SeekFrom::Start(place.at));
                let read = found.and_then(|_| (&legacy.file).take(len).read_to_end(&mut bytes));
                match read.map_err(damaged)? as u64 == len {
                    true => Ok(bytes),
                    false => Err(damaged(format!("storage {key:?} ends early"))),
                }
            }
        }
    }
}
