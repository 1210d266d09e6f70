//! A group in a file, with reads and writes whose errors name the file and the dataset.

use super::element::describe;
use super::{Element, strings};
use crate::{Error, Result};
use hdf5::plist::dataset_create::{AllocTime, FillTime};
use hdf5::types::{FixedUnicode, FloatSize, TypeDescriptor, VarLenUnicode};
use hdf5::{Container, Dataset, Extent, Group, H5Type, Hyperslab, Selection, SliceOrIndex};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How a dataset lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// One contiguous block.
    Plain,
    /// Chunks of about 1 MiB along the first axis, shuffled and deflated.
    Compressed,
    /// Chunks of this many rows, shuffled and deflated.
    Rows(usize),
    /// Chunks of this many rows and one place of the second axis, shuffled and deflated.
    Columns(usize),
}

const CHUNK_BYTES: usize = 1 << 20;
const DEFLATE: u8 = 4;
/// Bytes from which on data are large.
const LARGE: usize = 1 << 18;

/// A group of an open file.
#[derive(Clone)]
pub struct Node {
    path: PathBuf,
    group: Group,
}

/// An error of the HDF5 library while it reads: the file is damaged, or the system refuses.
pub(super) fn unreadable(path: &Path, doing: &str, e: &hdf5::Error) -> Error {
    match failure(path, doing, e) {
        Error::Internal(_) => Error::file(path, format!("{doing}: {e}")),
        refused => refused,
    }
}

/// An HDF5 failure on `path`: the operating system's reason when there is one.
pub(super) fn failure(path: &Path, doing: &str, e: &hdf5::Error) -> Error {
    let text = match e {
        hdf5::Error::HDF5(stack) => stack
            .clone()
            .expand()
            .map(|s| {
                s.iter()
                    .map(|f| f.detail().unwrap_or_default())
                    .collect::<Vec<_>>()
                    .join("; ")
            })
            .unwrap_or_default(),
        hdf5::Error::Internal(text) => text.clone(),
    };
    let errno = text
        .split("errno = ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|n| n.parse().ok());
    match errno {
        Some(n) => Error::io(path, std::io::Error::from_raw_os_error(n)),
        None => Error::internal(format!("{}: {doing}: {e}", path.display())),
    }
}

impl Node {
    pub(super) fn new(path: PathBuf, group: Group) -> Self {
        Self { path, group }
    }

    /// The file's path, for error messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The HDF5 group itself, for what the helpers here do not cover.
    pub fn h5(&self) -> &Group {
        &self.group
    }

    fn full(&self, name: &str) -> String {
        format!("{}/{name}", self.group.name().trim_end_matches('/'))
    }

    fn bad(&self, name: &str, what: impl std::fmt::Display) -> Error {
        Error::file(&self.path, format!("dataset {}: {what}", self.full(name)))
    }

    pub(super) fn failed(&self, name: &str, doing: &str, e: hdf5::Error) -> Error {
        failure(&self.path, &format!("{doing} {}", self.full(name)), &e)
    }

    // Groups

    /// Names of the datasets and groups in this group, in name order.
    pub fn names(&self) -> Result<Vec<String>> {
        self.group
            .member_names()
            .map_err(|e| unreadable(&self.path, "cannot list", &e))
    }

    /// Whether there is a group or dataset of this name.
    pub fn has(&self, name: &str) -> bool {
        self.group.link_exists(name)
    }

    /// An existing group.
    pub fn group(&self, name: &str) -> Result<Node> {
        let group = self
            .group
            .group(name)
            .map_err(|_| Error::file(&self.path, format!("no group {}", self.full(name))))?;
        Ok(Node::new(self.path.clone(), group))
    }

    /// Makes a group in this one.
    pub fn create_group(&self, name: &str) -> Result<Node> {
        let group = self
            .group
            .create_group_builder()
            .obj_track_times(false)
            .create(name)
            .map_err(|e| self.failed(name, "cannot create", e))?;
        Ok(Node::new(self.path.clone(), group))
    }

    // Reading

    fn dataset(&self, name: &str) -> Result<Dataset> {
        if !self.has(name) {
            return Err(Error::file(
                &self.path,
                format!("no dataset {}", self.full(name)),
            ));
        }
        self.group
            .dataset(name)
            .map_err(|_| self.bad(name, "not a dataset"))
    }

    /// A dataset to read from: one that the file can hold.
    fn readable(&self, name: &str) -> Result<Dataset> {
        let dataset = self.dataset(name)?;
        self.holds(&dataset).map_err(|e| self.bad(name, e))?;
        Ok(dataset)
    }

    /// Refuses what claims to have more values than the file can hold: memory is asked for by
    /// such claims.
    pub(super) fn holds(&self, values: &Container) -> std::result::Result<(), String> {
        /// The algorithm of deflate packs a byte to no less than a thousandth.
        const DENSEST: u64 = 1 << 10;
        /// Bytes that a small file may leave to be filled with one value.
        const SMALL: u64 = 1 << 22;
        let file = std::fs::metadata(self.group.filename()).map_or(0, |m| m.len());
        let most = file.saturating_mul(DENSEST).saturating_add(SMALL);
        let width = values.dtype().map(|t| t.size()).unwrap_or(0) as u64;
        let shape = values.shape();
        let mut sizes = shape.iter().map(|&n| n as u64);
        let bytes = sizes.try_fold(width, u64::checked_mul);
        match bytes.is_some_and(|bytes| bytes <= most) {
            true => Ok(()),
            false => Err(format!(
                "shape {shape:?} is more than a file of {file} bytes can hold: damaged"
            )),
        }
    }

    /// The shape of a dataset.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.dataset(name)?.shape())
    }

    /// Whether a dataset of floats is f32 (or narrower), not f64.
    ///
    /// # Errors
    /// A missing dataset, other data than floats.
    pub fn is_f32(&self, name: &str) -> Result<bool> {
        let kind = self.dataset(name)?.dtype().and_then(|t| t.to_descriptor());
        let unread = |e| unreadable(&self.path, &format!("cannot read {}", self.full(name)), &e);
        match kind.map_err(unread)? {
            TypeDescriptor::Float(size) => Ok(size != FloatSize::U8),
            other => Err(self.bad(
                name,
                format!("holds {}, where floats are needed", describe(&other)),
            )),
        }
    }

    /// All elements of a one-dimensional dataset.
    ///
    /// # Errors
    /// A missing dataset, another rank, another class of numbers, values out of range.
    pub fn read<T: Element>(&self, name: &str) -> Result<Vec<T>> {
        Ok(self.read_shaped(name, &[None])?.0)
    }

    /// All elements in row-major order, and the shape, which must match `shape` where that
    /// says `Some`.
    pub fn read_shaped<T: Element>(
        &self,
        name: &str,
        shape: &[Option<usize>],
    ) -> Result<(Vec<T>, Vec<usize>)> {
        let dataset = self.readable(name)?;
        let has = dataset.shape();
        let matches = has.len() == shape.len()
            && has
                .iter()
                .zip(shape)
                .all(|(h, s)| s.is_none_or(|s| s == *h));
        if !matches {
            let wanted: Vec<String> = shape
                .iter()
                .map(|s| s.map_or("any".into(), |n| n.to_string()))
                .collect();
            let wanted = wanted.join(", ");
            return Err(self.bad(name, format!("shape {has:?}, where [{wanted}] is needed")));
        }
        let data = T::read_all(&dataset).map_err(|e| self.bad(name, e))?;
        Ok((data, has))
    }

    /// Rows (first axis) of a dataset of any rank, in row-major order. Integers beyond the range
    /// of `T` are clamped, as HDF5 does: ask for a type that is wide enough.
    pub fn read_rows<T: Element>(&self, name: &str, rows: Range<usize>) -> Result<Vec<T>> {
        let dataset = self.readable(name)?;
        let shape = dataset.shape();
        if shape.first().is_none_or(|&n| rows.end > n) {
            return Err(self.bad(name, format!("shape {shape:?} has no rows {rows:?}")));
        }
        T::check(&dataset).map_err(|e| self.bad(name, e))?;
        let array = dataset
            .read_slice::<T, _, ndarray::IxDyn>(select(rows, shape.len()))
            .map_err(|e| self.bad(name, e))?;
        Ok(array.into_raw_vec_and_offset().0)
    }

    /// One place of the second axis in some rows of a dataset of rank two or more, in row-major
    /// order.
    ///
    /// # Errors
    /// As [`Node::read_rows`]; a place that is not there.
    pub fn read_column<T: Element>(
        &self,
        name: &str,
        rows: Range<usize>,
        column: usize,
    ) -> Result<Vec<T>> {
        let dataset = self.readable(name)?;
        let shape = dataset.shape();
        if shape.len() < 2 || rows.end > shape[0] || column >= shape[1] {
            let what = format!("shape {shape:?} has no place {column} in rows {rows:?}");
            return Err(self.bad(name, what));
        }
        T::check(&dataset).map_err(|e| self.bad(name, e))?;
        let mut axes = vec![SliceOrIndex::from(rows), (column..column + 1).into()];
        axes.resize(shape.len(), SliceOrIndex::from(..));
        let array = dataset
            .read_slice::<T, _, ndarray::IxDyn>(Selection::from(Hyperslab::new(axes)))
            .map_err(|e| self.bad(name, e))?;
        Ok(array.into_raw_vec_and_offset().0)
    }

    /// All strings of a one-dimensional dataset.
    pub fn read_strings(&self, name: &str) -> Result<Vec<String>> {
        strings::read(&*self.readable(name)?).map_err(|e| self.bad(name, e))
    }

    /// One text of any length.
    pub fn read_text(&self, name: &str) -> Result<String> {
        let texts = self.read_strings(name)?;
        let [text] = <[String; 1]>::try_from(texts)
            .map_err(|t| self.bad(name, format!("{} texts, where one is needed", t.len())))?;
        Ok(text)
    }

    // Writing

    /// Writes a dataset of `shape` from row-major `data`.
    pub fn write<T: Element>(
        &self,
        name: &str,
        shape: &[usize],
        data: &[T],
        storage: Storage,
    ) -> Result<()> {
        let dataset = self.create_as::<T>(name, shape, storage)?;
        match dataset.offset() {
            Some(place) if is_large(data) && data.len() == dataset.size() => {
                self.write_past_hdf5(place, data)
            }
            _ => self.written(name, &dataset, dataset.write_raw(data)),
        }
    }

    /// HDF5 lets one thread in at a time, and keeps the others out while it writes. So it makes
    /// room for large data and says where; the data go there without it, and a thread that reads
    /// another file meanwhile does not wait for the disk.
    fn write_past_hdf5<T: Element>(&self, place: u64, data: &[T]) -> Result<()> {
        // SAFETY: elements are primitive numbers: every byte of them is initialised.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) };
        std::fs::OpenOptions::new()
            .write(true)
            .open(self.group.filename())
            .and_then(|file| file.write_all_at(bytes, place))
            .map_err(|e| Error::io(&self.path, e))
    }

    /// Closing a dataset writes its cached chunks and swallows errors: a full disk must be
    /// noticed before that.
    fn written(&self, name: &str, dataset: &Dataset, result: hdf5::Result<()>) -> Result<()> {
        result
            .and_then(|()| dataset.flush())
            .map_err(|e| self.failed(name, "cannot write", e))
    }

    /// Makes a dataset of zeros, to be filled with [`Node::write_rows`].
    pub fn create<T: Element>(&self, name: &str, shape: &[usize], storage: Storage) -> Result<()> {
        self.create_as::<T>(name, shape, storage).map(drop)
    }

    /// Writes rows from `start` on into a dataset made with [`Node::create`].
    pub fn write_rows<T: Element>(&self, name: &str, start: usize, data: &[T]) -> Result<()> {
        let dataset = self.dataset(name)?;
        let mut shape = dataset.shape();
        let row: usize = shape.iter().skip(1).product();
        let rows = data.len() / row.max(1);
        if shape.first().is_none_or(|&n| start + rows > n) || rows * row != data.len() {
            return Err(Error::internal(format!(
                "{} values do not fit dataset {} of shape {shape:?} from row {start}",
                data.len(),
                self.full(name)
            )));
        }
        shape[0] = rows;
        if let Some(place) = dataset.offset().filter(|_| is_large(data))
            && stores::<T>(&dataset)
        {
            return self.write_past_hdf5(place + (start * row * size_of::<T>()) as u64, data);
        }
        let view = ndarray::ArrayView::from_shape(shape.as_slice(), data)
            .map_err(|e| Error::internal(format!("{}: {e}", self.full(name))))?;
        let selection = select(start..start + rows, shape.len());
        self.written(name, &dataset, dataset.write_slice(view, selection))
    }

    /// Makes a dataset without rows, of rows of shape `row`, that [`Node::append_rows`] lets
    /// grow; `chunk` rows lie together in the file.
    pub fn create_growing<T: Element>(
        &self,
        name: &str,
        row: &[usize],
        chunk: usize,
    ) -> Result<()> {
        let fixed = |n: &usize| Extent::from(*n);
        let extents: Vec<Extent> = std::iter::once(Extent::resizable(0))
            .chain(row.iter().map(fixed))
            .collect();
        self.group
            .new_dataset::<T>()
            .shape(extents)
            .chunk([&[chunk.max(1)], row].concat())
            .shuffle()
            .deflate(DEFLATE)
            .obj_track_times(false)
            .create(name)
            .map(drop)
            .map_err(|e| self.failed(name, "cannot create", e))
    }

    /// Writes rows behind the last one of a dataset made with [`Node::create_growing`].
    pub fn append_rows<T: Element>(&self, name: &str, data: &[T]) -> Result<()> {
        let dataset = self.dataset(name)?;
        let mut shape = dataset.shape();
        let start = shape[0];
        let row: usize = shape.iter().skip(1).product();
        shape[0] += data.len() / row.max(1);
        dataset
            .resize(shape)
            .map_err(|e| self.failed(name, "cannot enlarge", e))?;
        self.write_rows(name, start, data)
    }

    /// Writes a one-dimensional dataset of strings.
    pub fn write_strings<S: AsRef<str>>(&self, name: &str, strings: &[S]) -> Result<()> {
        let widest = strings.iter().map(|s| s.as_ref().len()).max().unwrap_or(0);
        match widest {
            0..=4 => self.write_encoded::<FixedUnicode<4>, S>(name, strings),
            5..=8 => self.write_encoded::<FixedUnicode<8>, S>(name, strings),
            9..=16 => self.write_encoded::<FixedUnicode<16>, S>(name, strings),
            _ => self.write_encoded::<VarLenUnicode, S>(name, strings),
        }
    }

    fn write_encoded<T: H5Type + FromStr, S: AsRef<str>>(
        &self,
        name: &str,
        strings: &[S],
    ) -> Result<()> {
        let encoded = strings
            .iter()
            .map(|s| strings::encode::<T>(s.as_ref()))
            .collect::<std::result::Result<Vec<T>, _>>()
            .map_err(|e| self.bad(name, e))?;
        let dataset = self.create_as::<T>(name, &[strings.len()], Storage::Compressed)?;
        self.written(name, &dataset, dataset.write_raw(&encoded))
    }

    /// Writes one text of any length as a scalar string.
    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        let encoded: VarLenUnicode = strings::encode(text).map_err(|e| self.bad(name, e))?;
        let dataset = self.create_as::<VarLenUnicode>(name, &[], Storage::Plain)?;
        self.written(name, &dataset, dataset.write_scalar(&encoded))
    }

    fn create_as<T: H5Type>(
        &self,
        name: &str,
        shape: &[usize],
        storage: Storage,
    ) -> Result<Dataset> {
        let mut builder = self
            .group
            .new_dataset::<T>()
            .shape(shape)
            .obj_track_times(false);
        let row: usize = shape.iter().skip(1).product();
        let empty = shape.contains(&0);
        let rows = match storage {
            Storage::Plain => None,
            Storage::Compressed => Some(CHUNK_BYTES / (row * size_of::<T>()).max(1)),
            Storage::Rows(rows) | Storage::Columns(rows) => Some(rows),
        };
        if let Some(rows) = rows
            && !shape.is_empty()
            && !empty
        {
            let mut chunk = shape.to_vec();
            chunk[0] = rows.clamp(1, shape[0]);
            if let (Storage::Columns(_), Some(second)) = (storage, chunk.get_mut(1)) {
                *second = 1;
            }
            builder = builder.chunk(chunk).shuffle().deflate(DEFLATE);
        }
        let bytes = shape.iter().product::<usize>() * size_of::<T>();
        if storage == Storage::Plain && bytes > LARGE {
            // Room at once, at a place that HDF5 can tell, and no zeros written to it.
            builder = builder
                .alloc_time(Some(AllocTime::Early))
                .fill_time(FillTime::Never);
        }
        builder
            .create(name)
            .map_err(|e| self.failed(name, "cannot create", e))
    }
}

fn is_large<T>(data: &[T]) -> bool {
    size_of_val(data) > LARGE
}

/// Whether the elements of a dataset lie in the file as in memory.
fn stores<T: Element>(dataset: &Dataset) -> bool {
    let stored = dataset.dtype().and_then(|t| t.to_descriptor());
    stored.is_ok_and(|stored| stored == T::type_descriptor())
}

/// `rows` of a dataset of rank `rank`, every other axis whole.
fn select(rows: Range<usize>, rank: usize) -> Selection {
    let mut axes = vec![SliceOrIndex::from(rows)];
    axes.resize(rank, SliceOrIndex::from(..));
    Selection::from(Hyperslab::new(axes))
}
