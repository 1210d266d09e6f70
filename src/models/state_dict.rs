//! Parameters and buffers in the file formats of the PyTorch world.

use crate::data::torch::{Scalar, TorchFile, Wanted};
use crate::models::{Entry, Parameters};
use crate::{Error, Result, files};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names that training programs add to a state dict beside the model's own: the number of models
/// in an average of weights (`torch.optim.swa_utils.AveragedModel`).
const BESIDE: [&str; 1] = ["n_averaged"];
/// Parts of names that wrappers of PyTorch put anywhere: compiled, sharded, recomputed modules.
const WRAPPERS: [&str; 3] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// Tensors under their published names, in a file.
pub struct StateDict {
    path: PathBuf,
    source: Source,
}

enum Source {
    Torch(TorchFile),
    Safetensors(Safetensors),
}

struct Safetensors {
    metadata: Metadata,
    bytes: Vec<u8>,
    /// Where the numbers begin.
    start: usize,
}

impl StateDict {
    /// Opens a PyTorch file (`.pt`, `.pth`, `.ckpt`; [`crate::data::torch`]) or a safetensors file;
    /// the content tells which it is.
    ///
    /// # Errors
    /// A missing file, one of another format, one without tensors.
    pub fn open(path: &Path) -> Result<Self> {
        let source = match is_safetensors(path)? {
            true => Source::Safetensors(Safetensors::open(path)?),
            false => Source::Torch(TorchFile::open(path)?),
        };
        let state = Self {
            path: path.to_path_buf(),
            source,
        };
        match state.names().is_empty() {
            true => Err(Error::file(
                path,
                "holds no tensors: a state dict, as torch.save(model.state_dict(), ...) writes \
                 it, is needed",
            )),
            false => Ok(state),
        }
    }

    /// Names of the tensors in the file.
    pub fn names(&self) -> Vec<String> {
        match &self.source {
            Source::Torch(file) => file.names().map(String::from).collect(),
            Source::Safetensors(file) => file.metadata.tensors().into_keys().collect(),
        }
    }

    /// The shape of a tensor; `None` for one that the file does not have.
    ///
    /// # Errors
    /// A tensor of a kind that is not read; the caller names the file.
    pub fn shape(&self, name: &str) -> Result<Option<&[usize]>> {
        match &self.source {
            Source::Torch(file) => file.shape(name),
            Source::Safetensors(file) => Ok(file.metadata.info(name).map(|t| &t.shape[..])),
        }
    }

    /// Values of tensors in row-major order, as f32.
    ///
    /// # Errors
    /// A tensor that is not there or not read; a damaged file.
    pub fn read(&mut self, wanted: &[Wanted]) -> Result<Vec<Vec<f32>>> {
        match &mut self.source {
            Source::Torch(file) => file.read(wanted),
            Source::Safetensors(file) => {
                let read = |w: &Wanted| file.read(w.name).map_err(|e| e.in_file(&self.path));
                wanted.iter().map(read).collect()
            }
        }
    }

    /// The name in the file of every tensor, by its name in a model: without what wrappers put
    /// into it, and without a beginning that the names of the model's tensors have in common.
    fn named(&self, places: &[&Place]) -> BTreeMap<String, String> {
        let plain: BTreeMap<String, String> = self
            .names()
            .into_iter()
            .filter(|name| !BESIDE.contains(&name.as_str()))
            .map(|name| (unwrapped(&name), name))
            .collect();
        let prefix = prefix(plain.keys(), places);
        if !prefix.is_empty() {
            let file = self.path.display();
            log::info!("{file}: the names of the model's tensors begin with {prefix:?} there");
        }
        let own = |name: String| {
            name.strip_prefix(&prefix)
                .map_or(name.clone(), String::from)
        };
        plain.into_iter().map(|(k, v)| (own(k), v)).collect()
    }
}

impl Safetensors {
    fn open(path: &Path) -> Result<Self> {
        let bytes = files::read(path)?;
        let parsed = SafeTensors::deserialize(&bytes).map(drop);
        let parsed = parsed.and_then(|()| SafeTensors::read_metadata(&bytes));
        let (header, metadata) =
            parsed.map_err(|e| Error::file(path, format!("not a safetensors file: {e}")))?;
        Ok(Self {
            metadata,
            start: 8 + header,
            bytes,
        })
    }

    fn read(&self, name: &str) -> Result<Vec<f32>> {
        let info = self.metadata.info(name);
        let info = info.ok_or_else(|| Error::input(format!("no tensor {name}")))?;
        let unread = || Error::input(format!("tensor {name}: {:?} is not read", info.dtype));
        let scalar = Scalar::of_safetensors(info.dtype).ok_or_else(unread)?;
        let (start, end) = info.data_offsets;
        let numbers = self.bytes[self.start + start..self.start + end].chunks_exact(scalar.size());
        Ok(numbers.map(|bytes| scalar.read(bytes)).collect())
    }
}

/// Whether a file is named or begins as safetensors: the length of its header, and a brace.
fn is_safetensors(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let read = files::open(path)?.take(9).read_to_end(&mut head);
    read.map_err(|e| Error::io(path, e))?;
    let named = path.extension().is_some_and(|e| e == "safetensors");
    Ok(named || head.get(8) == Some(&b'{'))
}

fn unwrapped(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// What stands before the names of most of a model's tensors in a file: `module.` of parallel
/// training, the name of the model in a larger module; mostly nothing.
fn prefix<'a>(names: impl Iterator<Item = &'a String>, places: &[&Place]) -> String {
    let known: BTreeSet<&str> = places.iter().map(|place| place.name).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        let dots = name.match_indices('.').map(|(at, _)| at + 1).take(20);
        for at in std::iter::once(0).chain(dots) {
            if known.contains(&name[at..]) {
                *votes.entry(&name[..at]).or_default() += 1;
            }
        }
    }
    // Of equals the shortest.
    let best = votes.into_iter().rev().max_by_key(|&(_, votes)| votes);
    best.map_or(String::new(), |(prefix, _)| prefix.to_string())
}

/// A tensor of a model, and its name in files.
struct Place<'a> {
    name: &'a str,
    entry: &'a Entry,
}

/// Puts the tensors of a file into a model. Names and shapes must be the model's own, no more and
/// no fewer, but for a beginning that all names of the file have in common (`module.`).
///
/// # Errors
/// The first tensor that is missing, has another shape, is not the model's or holds a number that
/// is not finite, by name.
pub fn assign(parameters: &Parameters, state: &mut StateDict) -> Result<()> {
    assign_part(parameters, "", &|_| false, state)
}

/// [`assign`] to a part of a model: the tensors whose names begin with `part`, by their names without
/// that beginning. Those that are `drawn` stay as they are, whether the file has them or not.
///
/// # Errors
/// As [`assign`].
pub fn assign_part(
    parameters: &Parameters,
    part: &str,
    drawn: &dyn Fn(&str) -> bool,
    state: &mut StateDict,
) -> Result<()> {
    let places = |entries| places(entries, part, drawn);
    let (own, buffers) = (
        places(parameters.entries()),
        places(parameters.buffer_entries()),
    );
    let all = || own.iter().chain(&buffers);
    let left_out = |name: &str| drawn(&format!("{part}{name}"));
    let names = fit(state, &all().collect::<Vec<_>>(), &left_out);
    let names = names.map_err(|e| e.in_file(&state.path))?;
    let wanted = names.iter().zip(all()).map(|(name, place)| Wanted {
        name,
        shape: &place.entry.shape,
    });
    let values = state.read(&wanted.collect::<Vec<_>>())?;
    for (place, values) in all().zip(&values) {
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            let what = format!("tensor {}: element {i} is {}", place.name, values[i]);
            return Err(Error::file(&state.path, what));
        }
    }
    let (of_parameters, of_buffers) = values.split_at(own.len());
    for (Place { entry, .. }, values) in own.iter().zip(of_parameters) {
        parameters.set_range(entry.offset, values)?;
    }
    let mut kept = parameters.buffers();
    for (Place { entry, .. }, values) in buffers.iter().zip(of_buffers) {
        kept[entry.offset..][..values.len()].copy_from_slice(values);
    }
    parameters.set_buffers(&kept)
}

fn places<'a>(entries: &'a [Entry], part: &str, drawn: &dyn Fn(&str) -> bool) -> Vec<Place<'a>> {
    let taken = entries.iter().filter(|entry| !drawn(&entry.name));
    let places = taken.filter_map(|entry| {
        let name = entry.name.strip_prefix(part)?;
        Some(Place { name, entry })
    });
    places.collect()
}

/// The name in the file of each tensor, if the file holds exactly these, and what is `left_out`.
fn fit(
    state: &StateDict,
    places: &[&Place],
    left_out: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let mut named = state.named(places);
    let mut names = Vec::new();
    for Place { name, entry } in places {
        let shape = &entry.shape;
        let missing = || Error::input(format!("missing tensor {name} {shape:?}"));
        let full = named.remove(*name).ok_or_else(missing)?;
        let has = state.shape(&full)?.ok_or_else(missing)?;
        if has != shape {
            return Err(Error::input(format!(
                "tensor {name} has shape {has:?}, where the hyper-parameters need {shape:?}"
            )));
        }
        names.push(full);
    }
    match named.keys().find(|name| !left_out(name)) {
        None => Ok(names),
        Some(extra) => Err(Error::input(format!(
            "extra tensor {}: the model of these hyper-parameters has none of that name",
            extra.escape_debug().take(200).collect::<String>()
        ))),
    }
}

/// Text in the first lines of every file that [`write()`] writes.
pub const MARK: &str = "\"writer\":\"holosig\"";

/// Writes parameters and buffers under their published names as safetensors (f32): those whose
/// names begin with `part`, without that beginning.
///
/// # Errors
/// A file that cannot be written.
pub fn write(parameters: &Parameters, part: &str, path: &Path) -> Result<()> {
    let flat = parameters.flat()?;
    let buffers = parameters.buffers();
    let parts = [
        (parameters.entries(), &flat),
        (parameters.buffer_entries(), &buffers),
    ];
    let mut bytes: Vec<(&str, &Entry, Vec<u8>)> = Vec::new();
    for (entries, values) in parts {
        for e in entries {
            let Some(name) = e.name.strip_prefix(part) else {
                continue;
            };
            let values = &values[e.offset..e.offset + e.len()];
            bytes.push((
                name,
                e,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ));
        }
    }
    let views = bytes
        .iter()
        .map(|(name, e, data)| Ok((name, TensorView::new(Dtype::F32, e.shape.clone(), data)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(Error::internal)?;
    let about = HashMap::from([("writer".to_string(), "holosig".to_string())]);
    let file = safetensors::serialize(views, Some(about)).map_err(Error::internal)?;
    std::fs::write(path, file).map_err(|e| Error::io(path, e))
}
