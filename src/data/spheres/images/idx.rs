//! The idx format of MNIST: a magic number, sizes as big-endian 32-bit numbers, bytes.

use super::{Images, unpacked};
use crate::{Error, Result, files};
use std::io::Read;
use std::path::Path;

/// Magic numbers of bytes in three axes and in one.
const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
/// The widest image.
const WIDEST: u64 = 4096;

/// Whether a file begins as an idx file or as a gzipped one does; a table of labels begins otherwise.
pub fn is_idx(path: &Path) -> Result<bool> {
    let mut start = [0; 2];
    let read = files::open(path)?
        .read(&mut start)
        .map_err(|e| Error::io(path, e))?;
    let plain = read < 2 || start == [0, 0];
    Ok(plain || (start == [0x1f, 0x8b] && unpacked(path)?.starts_with(&[0, 0])))
}

/// Images of a file; they are named by their numbers, from `first` on.
pub fn images(path: &Path, first: usize) -> Result<Images> {
    let ([count, rows, columns], pixels) = read::<3>(path, IMAGES, "images")?;
    if rows == 0 || columns == 0 || rows.max(columns) > WIDEST {
        let what = format!("images of {rows} x {columns} pixels: 1 to {WIDEST} are needed");
        return Err(Error::file(path, what));
    }
    Ok(Images {
        rows: rows as usize,
        columns: columns as usize,
        pixels,
        ids: (first..first + count as usize)
            .map(|i| i.to_string())
            .collect(),
        labels: Vec::new(),
    })
}

/// Labels of a file.
pub fn labels(path: &Path) -> Result<Vec<String>> {
    let (_, labels) = read::<1>(path, LABELS, "labels")?;
    Ok(labels.iter().map(u8::to_string).collect())
}

/// Sizes and bytes of a file.
fn read<const N: usize>(path: &Path, magic: u32, what: &str) -> Result<([u64; N], Vec<u8>)> {
    let bad = |what: String| Error::file(path, what);
    let mut bytes = unpacked(path)?;
    let word = |i: usize| {
        let bytes = bytes.get(4 * i..4 * i + 4);
        bytes
            .and_then(|b| b.try_into().ok())
            .map(u32::from_be_bytes)
    };
    let start = word(0).ok_or_else(|| bad(format!("{} bytes: no idx file", bytes.len())))?;
    if start != magic {
        return Err(bad(format!(
            "begins with {start:#010x}, where an idx file of {what} begins with {magic:#010x}"
        )));
    }
    let mut sizes = [0; N];
    for (i, size) in sizes.iter_mut().enumerate() {
        *size = word(i + 1)
            .map(u64::from)
            .ok_or_else(|| bad("ends within its header".into()))?;
    }
    let start = 4 * (N + 1);
    let needed = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size));
    let has = (bytes.len() - start) as u64;
    if needed != Some(has) || has == 0 {
        return Err(bad(format!(
            "{has} bytes of {what} behind a header that says {sizes:?}; fetch it again"
        )));
    }
    Ok((sizes, bytes.split_off(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn header(magic: u32, sizes: &[u32]) -> Vec<u8> {
        let words = [&[magic], sizes].concat();
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn images_and_labels_are_read() {
        let good = file(&[header(IMAGES, &[2, 1, 3]), vec![1, 2, 3, 4, 5, 6]].concat());
        let read = images(good.path(), 7).unwrap();
        assert_eq!((read.rows, read.columns, read.ids.len()), (1, 3, 2));
        assert_eq!((read.ids[1].as_str(), read.image(1)), ("8", &[4, 5, 6][..]));
        let good = file(&[header(LABELS, &[2]), vec![9, 0]].concat());
        assert!(is_idx(good.path()).unwrap());
        assert_eq!(labels(good.path()).unwrap(), ["9", "0"]);
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let refused = |bytes: &[u8], words: &str| {
            let file = file(bytes);
            let error = images(file.path(), 0).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{error}");
        };
        refused(&[], "0 bytes: no idx file");
        refused(
            &header(LABELS, &[2]),
            "begins with 0x00000801, where an idx file of images",
        );
        refused(&header(IMAGES, &[2, 1]), "ends within its header");
        refused(
            &[header(IMAGES, &[2, 1, 3]), vec![0; 5]].concat(),
            "5 bytes of images",
        );
        refused(
            &header(IMAGES, &[u32::MAX, u32::MAX, u32::MAX]),
            "0 bytes of images",
        );
        refused(&header(IMAGES, &[0, 28, 28]), "0 bytes of images");
    }
}
