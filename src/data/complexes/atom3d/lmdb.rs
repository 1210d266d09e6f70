//! Values of an LMDB file, by key.
//!
//! The LMDB library maps the file into memory and believes it: a file that was cut short, or one
//! changed byte, ends the process. What a data set needs of the format is little: two pages that
//! describe the file, of which the one with the newer transaction counts; a B+ tree of pages, whose
//! nodes lead to further pages or hold a key and its value; and long values in runs of pages of
//! their own. So it is read here, with every place compared with the file's length.
//!
//! Numbers are in the byte order and the width of the machine that wrote the file: of 64 bits with
//! the lowest byte first, as all machines in use today.

use crate::{Error, Result, files};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: u32 = 0xbeef_c0de;
const VERSION: u32 = 1;
/// Bytes before the content of a page, and before the key of a node.
const PAGE_HEADER: usize = 16;
const NODE_HEADER: usize = 8;
/// Where the parts of a page that describes the file begin.
const PAGE_SIZE: usize = PAGE_HEADER + 24;
const ROOT: usize = PAGE_SIZE + 48 + 40;
const TRANSACTION: usize = ROOT + 16;
const META: usize = TRANSACTION + 8;
/// Kinds of pages.
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
/// Kinds of values: in pages of their own, or a database of their own.
const LONG: u16 = 1;
const NESTED: u16 = 2 | 4;
/// The root of an empty database.
const NOWHERE: u64 = u64::MAX;
/// Levels that no tree has.
const DEEPEST: usize = 32;

/// An open file.
pub(super) struct Lmdb {
    path: PathBuf,
    file: File,
    length: u64,
    page: u64,
    root: u64,
}

impl Lmdb {
    /// # Errors
    /// A file that is no LMDB, or one that ends before its last page.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let mut lmdb = Self {
            path: path.to_path_buf(),
            file,
            length,
            page: 0,
            root: NOWHERE,
        };
        let first = lmdb.meta(0)?;
        let second = lmdb.meta(u64::from(first.page))?;
        let newer = match second.transaction > first.transaction {
            true => second,
            false => first,
        };
        lmdb.page = u64::from(newer.page);
        lmdb.root = newer.root;
        let pages = newer.last.checked_add(1);
        let needed = pages.and_then(|n| n.checked_mul(lmdb.page));
        if needed.is_none_or(|needed| needed > length) {
            let of = needed.map_or(String::new(), |n| format!(" of {n}"));
            let what = format!("truncated: {length}{of} bytes; copy it again");
            return Err(Error::file(path, what));
        }
        Ok(lmdb)
    }

    fn damaged(&self, at: u64) -> Error {
        let what = format!("not a readable LMDB: damaged at byte {at}; copy it again");
        Error::file(&self.path, what)
    }

    /// `count` bytes from `at` on.
    fn bytes(&self, at: u64, count: u64) -> Result<Vec<u8>> {
        if at.checked_add(count).is_none_or(|end| end > self.length) {
            return Err(self.damaged(at));
        }
        let mut bytes = vec![0; count as usize];
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(|e| Error::io(&self.path, e))?;
        Ok(bytes)
    }

    /// The page at a byte that describes the file.
    fn meta(&self, at: u64) -> Result<Meta> {
        let found = self.bytes(at, META as u64).ok();
        let meta = found.and_then(|bytes| Meta::read(&bytes));
        meta.ok_or_else(|| {
            let what = match at {
                0 => "not an LMDB file of this kind of machine".to_string(),
                _ => format!("not a readable LMDB: damaged at byte {at}; copy it again"),
            };
            Error::file(&self.path, what)
        })
    }

    /// The value under a key; `None` where the database has no such key.
    ///
    /// # Errors
    /// Damaged pages.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut number = self.root;
        if number == NOWHERE {
            return Ok(None);
        }
        for _ in 0..DEEPEST {
            let at = number.checked_mul(self.page);
            let at = at.ok_or_else(|| self.damaged(u64::MAX))?;
            let bytes = self.bytes(at, self.page)?;
            let page = Page { bytes: &bytes };
            let step = page.step(number, key);
            match step.ok_or_else(|| self.damaged(at))? {
                Step::Down(next) => number = next,
                Step::Missing => return Ok(None),
                Step::Value(value) => return Ok(Some(value)),
                Step::Long { page, size } => return self.long(page, size).map(Some),
            }
        }
        Err(self.damaged(number.saturating_mul(self.page)))
    }

    /// A value of `size` bytes in pages of its own.
    fn long(&self, page: u64, size: u64) -> Result<Vec<u8>> {
        let at = page.checked_mul(self.page);
        let at = at.ok_or_else(|| self.damaged(u64::MAX))?;
        let header = self.bytes(at, PAGE_HEADER as u64)?;
        let kind = number(&header, 10).map(u16::from_le_bytes);
        let pages = number(&header, 12).map_or(0, u32::from_le_bytes);
        let room = u64::from(pages) * self.page;
        if kind.is_none_or(|k| k & OVERFLOW == 0) || size.saturating_add(PAGE_HEADER as u64) > room
        {
            return Err(self.damaged(at));
        }
        self.bytes(at + PAGE_HEADER as u64, size)
    }
}

/// `N` bytes from `at` on.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// What describes a file.
struct Meta {
    page: u32,
    root: u64,
    /// The last page that is used.
    last: u64,
    transaction: u64,
}

impl Meta {
    fn read(bytes: &[u8]) -> Option<Self> {
        let magic = u32::from_le_bytes(number(bytes, PAGE_HEADER)?);
        let version = u32::from_le_bytes(number(bytes, PAGE_HEADER + 4)?);
        let page = u32::from_le_bytes(number(bytes, PAGE_SIZE)?);
        let known = magic == MAGIC && version == VERSION;
        let sizes = 256..=1 << 16;
        (known && page.is_power_of_two() && sizes.contains(&page)).then_some(Self {
            page,
            root: u64::from_le_bytes(number(bytes, ROOT)?),
            last: u64::from_le_bytes(number(bytes, ROOT + 8)?),
            transaction: u64::from_le_bytes(number(bytes, TRANSACTION)?),
        })
    }
}

/// Where a page of the tree leads.
enum Step {
    Down(u64),
    Missing,
    Value(Vec<u8>),
    /// In pages of its own.
    Long {
        page: u64,
        size: u64,
    },
}

struct Page<'a> {
    bytes: &'a [u8],
}

impl Page<'_> {
    /// Looks for a key; `None` where the page is damaged.
    fn step(&self, own: u64, key: &[u8]) -> Option<Step> {
        let (number, kind) = (self.u64(0)?, self.u16(10)?);
        let count = usize::from(self.u16(12)?).checked_sub(PAGE_HEADER)? / 2;
        if number != own {
            return None;
        }
        match kind & (BRANCH | LEAF) {
            BRANCH => {
                // The first node has no key: it leads to all that is smaller than the second.
                let (mut low, mut high) = (1, count);
                while low < high {
                    let middle = low.midpoint(high);
                    match self.key(middle)? <= key {
                        true => low = middle + 1,
                        false => high = middle,
                    }
                }
                let node = self.node(low.checked_sub(1).filter(|_| count > 0)?)?;
                let [a, b, c] = [self.u16(node)?, self.u16(node + 2)?, self.u16(node + 4)?];
                let next = u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32;
                Some(Step::Down(next))
            }
            LEAF => {
                let (mut low, mut high) = (0, count);
                while low < high {
                    let middle = low.midpoint(high);
                    match self.key(middle)? < key {
                        true => low = middle + 1,
                        false => high = middle,
                    }
                }
                match low < count && self.key(low)? == key {
                    true => self.value(low),
                    false => Some(Step::Missing),
                }
            }
            _ => None,
        }
    }

    fn u16(&self, at: usize) -> Option<u16> {
        number(self.bytes, at).map(u16::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        number(self.bytes, at).map(u64::from_le_bytes)
    }

    /// Where node `index` begins.
    fn node(&self, index: usize) -> Option<usize> {
        self.u16(PAGE_HEADER + 2 * index).map(usize::from)
    }

    fn key(&self, index: usize) -> Option<&[u8]> {
        let node = self.node(index)?;
        let length = usize::from(self.u16(node + 6)?);
        self.bytes.get(node + NODE_HEADER..)?.get(..length)
    }

    fn value(&self, index: usize) -> Option<Step> {
        let node = self.node(index)?;
        let size = u64::from(self.u16(node)?) | u64::from(self.u16(node + 2)?) << 16;
        let kind = self.u16(node + 4)?;
        let start = node + NODE_HEADER + usize::from(self.u16(node + 6)?);
        if kind & NESTED != 0 {
            return None;
        }
        if kind & LONG != 0 {
            let page = self.u64(start)?;
            return Some(Step::Long { page, size });
        }
        let value = self.bytes.get(start..)?.get(..size as usize)?;
        Some(Step::Value(value.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heed::types::Bytes;
    use heed::{Database, EnvFlags, EnvOpenOptions};

    /// Values of many lengths, short and long, under keys in no order: a tree of three levels.
    fn value(i: usize) -> Vec<u8> {
        let length = [0, 3, 100, 900, 5000, 30_000][i % 6];
        (0..length).map(|k| (i + k) as u8).collect()
    }

    const ENTRIES: usize = 3000;

    fn sample(path: &Path, entries: usize) {
        let mut options = EnvOpenOptions::new();
        options.map_size(1 << 28);
        // SAFETY: a new file in a folder of its own.
        let env = unsafe { options.flags(EnvFlags::NO_SUB_DIR).open(path) }.unwrap();
        // Several transactions, so that both describing pages are used.
        for part in 0..3 {
            let mut writing = env.write_txn().unwrap();
            let database: Database<Bytes, Bytes> = env.create_database(&mut writing, None).unwrap();
            for i in (part..entries).step_by(3) {
                let key = format!("{}", i * 7919 % 100_003);
                database
                    .put(&mut writing, key.as_bytes(), &value(i))
                    .unwrap();
            }
            writing.commit().unwrap();
        }
    }

    #[test]
    fn every_value_is_found_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.mdb");
        sample(&path, ENTRIES);
        let lmdb = Lmdb::open(&path).unwrap();
        for i in 0..ENTRIES {
            let key = format!("{}", i * 7919 % 100_003);
            assert!(lmdb.get(key.as_bytes()).unwrap() == Some(value(i)), "{key}");
        }
        for key in ["", "0x", "zzz", "100003", "-1"] {
            assert_eq!(lmdb.get(key.as_bytes()).unwrap(), None, "{key}");
        }
    }

    #[test]
    fn a_tree_that_leads_back_to_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.mdb");
        sample(&path, 400);
        let lmdb = Lmdb::open(&path).unwrap();
        let at = (lmdb.root * lmdb.page) as usize;
        let mut bytes = std::fs::read(&path).unwrap();
        let page = Page {
            bytes: &bytes[at..],
        };
        assert_eq!(page.u16(10).unwrap() & (BRANCH | LEAF), BRANCH);
        let count = (usize::from(page.u16(12).unwrap()) - PAGE_HEADER) / 2;
        let nodes: Vec<usize> = (0..count).map(|i| page.node(i).unwrap()).collect();
        for node in nodes {
            bytes[at + node..][..6].copy_from_slice(&lmdb.root.to_le_bytes()[..6]);
        }
        std::fs::write(&path, bytes).unwrap();
        // Elsewhere, so that a search without an end fails this test, and does not hang it.
        let (send, found) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(Lmdb::open(&path).and_then(|lmdb| lmdb.get(b"7919"))));
        let found = found.recv_timeout(std::time::Duration::from_secs(60));
        let told = found.expect("an end").unwrap_err().to_string();
        let place = format!("data.mdb: not a readable LMDB: damaged at byte {at};");
        assert!(told.contains(&place), "{told}");
    }

    #[test]
    fn no_cut_and_no_changed_byte_gives_more_than_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.mdb");
        sample(&path, 40);
        let good = std::fs::read(&path).unwrap();
        let (mut refused, mut read) = (0, 0);
        let mut tried = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let found = Lmdb::open(&path).and_then(|lmdb| {
                (0..40).try_for_each(|i| {
                    let key = format!("{}", i * 7919 % 100_003);
                    lmdb.get(key.as_bytes()).map(drop)
                })
            });
            match found {
                Ok(()) => read += 1,
                Err(e) => {
                    assert!(matches!(e, Error::Input(_)), "{e:?}");
                    assert!(e.to_string().contains("data.mdb: "), "{e}");
                    refused += 1;
                }
            }
        };
        for length in (0..good.len()).step_by(1500) {
            tried(&good[..length]);
        }
        for at in (0..good.len()).step_by(211).chain(0..200).chain(4096..4300) {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                tried(&bad);
            }
        }
        assert!(
            refused > 100 && read > 100,
            "{refused} refused, {read} read"
        );
        std::fs::write(&path, &good[..good.len() - 4096]).unwrap();
        let told = Lmdb::open(&path).map(drop).unwrap_err().to_string();
        assert!(told.contains("truncated"), "{told}");
    }
}
