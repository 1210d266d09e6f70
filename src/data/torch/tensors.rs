//! Which tensors a pickle of PyTorch describes, and where their numbers lie.

use super::pickle::{Graph, Id, Value};
use super::scalar::Scalar;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;

/// Keys that training programs give the state of a model, beside that of an optimizer.
const STATES: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model",
    "model_state",
    "net",
    "network",
    "weights",
    "params",
];
/// Dictionaries within dictionaries that are looked through.
const DEPTH: usize = 4;
/// Dictionaries that are looked through at the most.
const DICTIONARIES: usize = 100_000;

/// Where numbers lie: a storage of the file, and the type in which it is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Storage {
    pub key: String,
    pub scalar: Scalar,
    /// Numbers of that type.
    pub len: usize,
}

/// The numbers of a storage that views may use: all, or in old files a part.
struct Part {
    storage: Storage,
    range: Range<usize>,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub storage: Storage,
    pub scalar: Scalar,
    /// Of the first number, in numbers of `scalar`.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In numbers of `scalar`, as many as dimensions.
    pub strides: Vec<usize>,
}

/// A tensor of a state dict, or why it cannot be read.
pub(super) type Found = std::result::Result<View, String>;

/// The state dict of a file.
#[derive(Debug)]
pub(super) struct State {
    pub tensors: BTreeMap<String, Found>,
    /// Keys that lead to it, with dots; empty for the whole file.
    pub place: String,
}

/// A dictionary that holds tensors.
struct Candidate {
    id: Id,
    /// The keys that lead to it.
    keys: Vec<String>,
}

impl Candidate {
    /// Place of the last key among the known ones; a file that is a state dict itself comes first.
    fn rank(&self) -> usize {
        let Some(key) = self.keys.last() else {
            return 0;
        };
        let known = STATES.iter().position(|state| state == key);
        1 + known.unwrap_or(STATES.len())
    }
}

/// Finds the state dict of a pickle: the outermost dictionary of tensors, and among several the
/// one with the better known key.
pub(super) fn state(graph: &Graph) -> std::result::Result<State, String> {
    let mut candidates = candidates(graph);
    candidates.sort_by_key(|c| (c.rank(), c.keys.len()));
    let [first, rest @ ..] = &candidates[..] else {
        return Err(without_tensors(graph));
    };
    let same =
        |other: &&Candidate| (other.rank(), other.keys.len()) == (first.rank(), first.keys.len());
    if let Some(other) = rest.iter().find(same) {
        return Err(format!(
            "tensors lie under both {:?} and {:?}",
            first.keys.join("."),
            other.keys.join(".")
        ));
    }
    let mut tensors = BTreeMap::new();
    for pair in graph.items(first.id).unwrap_or_default() {
        let Some(name) = graph.text(pair.key) else {
            continue;
        };
        if is_tensor(graph, pair.value) {
            tensors.insert(name.to_string(), tensor(graph, pair.value));
        }
    }
    Ok(State {
        tensors,
        place: first.keys.join("."),
    })
}

/// The dictionaries with tensors of one depth: the least at which there are any.
fn candidates(graph: &Graph) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut seen = HashSet::from([graph.root]);
    let mut queue = VecDeque::from([Candidate {
        id: graph.root,
        keys: Vec::new(),
    }]);
    while let Some(here) = queue.pop_front() {
        if found
            .first()
            .is_some_and(|f| f.keys.len() < here.keys.len())
        {
            break;
        }
        let items = graph.items(here.id).unwrap_or_default();
        let named = || items.iter().filter(|p| graph.text(p.key).is_some());
        if named().any(|pair| is_tensor(graph, pair.value)) {
            found.push(here);
            continue;
        }
        if here.keys.len() == DEPTH {
            continue;
        }
        for pair in named() {
            if graph.items(pair.value).is_some()
                && seen.len() < DICTIONARIES
                && seen.insert(pair.value)
            {
                let key = graph.text(pair.key).unwrap_or_default();
                let mut keys = here.keys.clone();
                keys.push(short(key));
                queue.push_back(Candidate {
                    id: pair.value,
                    keys,
                });
            }
        }
    }
    found
}

/// What a file holds instead of a state dict.
fn without_tensors(graph: &Graph) -> String {
    let what = match graph.value(graph.root) {
        Value::Map(items) if items.is_empty() => "an empty dictionary".to_string(),
        Value::Map(items) => {
            let keys = items.iter().filter_map(|p| graph.text(p.key)).take(5);
            let keys: Vec<String> = keys.map(|k| format!("{:?}", short(k))).collect();
            format!("a dictionary without tensors (keys {})", keys.join(", "))
        }
        Value::List(_) => "a list".to_string(),
        Value::Call(call) => match graph.global(call.function) {
            Some(class) => format!("an object of the class {}", short(&class)),
            None => "an object".to_string(),
        },
        _ => "a single value".to_string(),
    };
    format!("holds {what}")
}

/// The beginning of a text from the file, for messages.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// The function that makes a value, and its arguments.
struct Made<'g> {
    by: String,
    arguments: &'g [Id],
}

fn made<'g>(graph: &'g Graph, id: Id) -> Option<Made<'g>> {
    let Value::Call(call) = graph.value(id) else {
        return None;
    };
    Some(Made {
        by: graph.global(call.function)?,
        arguments: graph.list(call.arguments)?,
    })
}

/// Whether PyTorch would make a tensor of this value; not every kind of tensor can be read here.
fn is_tensor(graph: &Graph, id: Id) -> bool {
    made(graph, id).is_some_and(|m| {
        m.by.starts_with("torch._utils._rebuild_") || m.by.starts_with("torch._tensor._rebuild_")
    })
}

/// A tensor through what may be wrapped around it: parameters, and tensors with attributes.
fn tensor(graph: &Graph, mut id: Id) -> Found {
    for _ in 0..DEPTH {
        let made = made(graph, id).ok_or("is not made as a tensor is")?;
        let argument = |i: usize| {
            let argument = made.arguments.get(i).copied();
            argument.ok_or_else(|| format!("{} has too few arguments", made.by))
        };
        match made.by.as_str() {
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                id = argument(0)?;
            }
            "torch._tensor._rebuild_from_type_v2" => {
                let (function, arguments) = (argument(0)?, argument(2)?);
                let known = graph.global(function).as_deref() == Some(REBUILD_2);
                let arguments = graph.list(arguments).filter(|_| known);
                return view(
                    graph,
                    arguments.ok_or("is of a kind that is not read")?,
                    None,
                );
            }
            "torch._utils._rebuild_tensor" | REBUILD_2 => {
                return view(graph, made.arguments, None);
            }
            "torch._utils._rebuild_tensor_v3" => {
                let name = graph.global(argument(6)?).unwrap_or_default();
                return view(graph, made.arguments, Some(scalar(&name)?));
            }
            other => return Err(format!("is made by {}, which is not read", short(other))),
        }
    }
    Err("is wrapped too often".into())
}

const REBUILD_2: &str = "torch._utils._rebuild_tensor_v2";

fn scalar(class: &str) -> std::result::Result<Scalar, String> {
    let name = class.rsplit_once('.').map_or(class, |(_, name)| name);
    let unknown = || format!("has numbers of type {}, which is not read", short(name));
    Scalar::of_torch(name).ok_or_else(unknown)
}

fn count(graph: &Graph, id: Id) -> Option<usize> {
    match graph.value(id) {
        Value::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn counts(graph: &Graph, id: Id) -> Option<Vec<usize>> {
    let members = graph.list(id)?.iter();
    members.map(|&member| count(graph, member)).collect()
}

/// The arguments (storage, offset, shape, strides, ..) of a tensor; `of` is its type where that is
/// not the storage's. Every number of the tensor lies within the storage.
fn view(graph: &Graph, arguments: &[Id], of: Option<Scalar>) -> Found {
    let [stored, offset, shape, strides, ..] = arguments else {
        return Err("has too few arguments".into());
    };
    let Part { storage, range } = part(graph, *stored)?;
    let bad = |what: &str| format!("has a bad {what}");
    let view = View {
        scalar: of.unwrap_or(storage.scalar),
        offset: count(graph, *offset).ok_or_else(|| bad("offset"))?,
        shape: counts(graph, *shape).ok_or_else(|| bad("shape"))?,
        strides: counts(graph, *strides).ok_or_else(|| bad("stride"))?,
        storage,
    };
    view.placed(&range)
}

impl View {
    /// Numbers of the tensor.
    pub fn len(&self) -> Option<usize> {
        let mut shape = self.shape.iter();
        shape.try_fold(1, |len: usize, &d| len.checked_mul(d))
    }

    /// The view with its offset in the whole storage, if it fits into it.
    fn placed(mut self, part: &Range<usize>) -> Found {
        if self.shape.len() != self.strides.len() {
            return Err("has another number of strides than of dimensions".into());
        }
        let outside = || format!("of shape {:?} goes beyond its storage", self.shape);
        let len = self.len().ok_or_else(outside)?;
        let end = match len {
            0 => Some(0),
            _ => self.last().and_then(|last| last.checked_add(1)),
        };
        let (size, stored) = (self.scalar.size(), self.storage.scalar.size());
        let bytes = part.len().checked_mul(stored);
        let end = end.and_then(|end| end.checked_mul(size));
        let fits = end.zip(bytes).is_some_and(|(end, bytes)| end <= bytes);
        let start = part.start.checked_mul(stored);
        let offset = start.and_then(|start| (start / size).checked_add(self.offset));
        match offset.filter(|_| fits) {
            Some(offset) => {
                self.offset = offset;
                Ok(self)
            }
            None => Err(outside()),
        }
    }

    /// Place of the last number in the storage.
    fn last(&self) -> Option<usize> {
        let mut axes = self.shape.iter().zip(&self.strides);
        axes.try_fold(self.offset, |last, (&d, &stride)| {
            last.checked_add((d - 1).checked_mul(stride)?)
        })
    }
}

/// `("storage", class, key, device, numbers)`, in old files with a part of another storage
/// `(key, start, numbers)` or none at its end.
fn part(graph: &Graph, id: Id) -> std::result::Result<Part, String> {
    let Value::Outside(name) = graph.value(id) else {
        return Err("has no storage".into());
    };
    let bad = || "has a storage that is not described as one".to_string();
    let parts = graph.list(*name).unwrap_or_default();
    let [word, class, key, _device, len, rest @ ..] = parts else {
        return Err(bad());
    };
    if graph.text(*word) != Some("storage") {
        return Err(bad());
    }
    let class = graph.global(*class).ok_or_else(bad)?;
    let len = count(graph, *len).ok_or_else(bad)?;
    let mut range = 0..len;
    if let Some([_key, start, numbers]) = rest.first().and_then(|&r| graph.list(r)) {
        let start = count(graph, *start).ok_or_else(bad)?;
        let end = count(graph, *numbers).and_then(|n| start.checked_add(n));
        range = start..end.filter(|&end| end <= len).ok_or_else(bad)?;
    }
    let storage = Storage {
        key: graph.text(*key).ok_or_else(bad)?.to_string(),
        scalar: scalar(&class)?,
        len,
    };
    Ok(Part { storage, range })
}

/// Every storage that a pickle names, by its key: the bytes of one number.
pub(super) fn storages(graph: &Graph) -> HashMap<String, usize> {
    let parts = graph.outside().filter_map(|id| part(graph, id).ok());
    parts
        .map(|p| (p.storage.key, p.storage.scalar.size()))
        .collect()
}
