//! HDF5 files of ours as tables for other programs: CSV, and the archives of NumPy.

use super::{Content, Kind, Node, Scratch};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Name of the entry of an archive that says what it holds; the first one, so that it is a mark.
const ABOUT: &str = "holosig_kind.npy";

/// The first column of every table.
const ROW: &str = "row";

/// Another format for what stands in a file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line per row of the largest table of the file, tensors flattened to columns.
    Csv,
    /// NumPy's archive: every array under its path in the file.
    Npz,
}

impl Format {
    /// How a file of this format made of one of `kind` is known.
    pub fn content(self, kind: Kind) -> Content {
        let what = format!("{} of holosig", kind.name());
        match self {
            Format::Csv => Content::marked(&format!("a table of {what}"), &format!("{ROW},")),
            Format::Npz => Content::marked(&format!("an archive of {what}"), ABOUT),
        }
    }
}

/// Values of an array in row-major order.
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

struct Array {
    /// Path within the file: `residues/chain`.
    name: String,
    shape: Vec<usize>,
    values: Values,
}

/// Writes the arrays of the file whose root is `root`, one of `kind`, to `out`, which appears
/// whole.
///
/// # Errors
/// An array that cannot be read; a full disk; an array too large for the format.
pub fn convert(root: &Node, kind: Kind, out: &Path, format: Format) -> Result<()> {
    let mut arrays = Vec::new();
    collect(root, "", &mut arrays)?;
    let scratch = Scratch::new(out)?;
    let io = |e| Error::io(out, e);
    let mut file = BufWriter::new(File::create(scratch.path()).map_err(io)?);
    match format {
        Format::Csv => csv(&arrays, &mut file).map_err(|e| Error::file(out, e))?,
        Format::Npz => npz(&arrays, kind, &mut file).map_err(io)?,
    }
    file.flush().map_err(io)?;
    drop(file);
    scratch.commit()
}

fn collect(node: &Node, path: &str, arrays: &mut Vec<Array>) -> Result<()> {
    for name in node.names()? {
        let full = format!("{path}{name}");
        if let Ok(group) = node.group(&name) {
            collect(&group, &format!("{full}/"), arrays)?;
            continue;
        }
        let shape = node.shape(&name)?;
        let any = vec![None; shape.len()];
        let values = match node.is_f32(&name) {
            Ok(true) => Values::F32(node.read_shaped(&name, &any)?.0),
            Ok(false) => Values::F64(node.read_shaped(&name, &any)?.0),
            Err(_) => match node.read_shaped::<i64>(&name, &any) {
                Ok((integers, _)) => Values::Integers(integers),
                Err(_) => Values::Texts(node.read_strings(&name)?),
            },
        };
        arrays.push(Array {
            name: full,
            shape,
            values,
        });
    }
    Ok(())
}

impl Array {
    /// Values of a row.
    fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    fn text(&self, i: usize) -> String {
        match &self.values {
            Values::F32(v) => v[i].to_string(),
            Values::F64(v) => v[i].to_string(),
            Values::Integers(v) => v[i].to_string(),
            Values::Texts(v) => v[i].clone(),
        }
    }
}

/// Names of the columns of an array: `chain` of `residues/chain`, `invariants_0`, `frames_2_1`.
fn columns(array: &Array) -> Vec<String> {
    let name = array.name.rsplit('/').next().unwrap_or(&array.name);
    let mut names = vec![name.to_string()];
    for &extent in array.shape.iter().skip(1) {
        let more = |n: &String| {
            (0..extent)
                .map(move |i| format!("{n}_{i}"))
                .collect::<Vec<_>>()
        };
        names = names.iter().flat_map(more).collect();
    }
    names
}

/// Strings first, then numbers; what has not a row for each row of the largest table is left out.
fn csv(arrays: &[Array], out: &mut impl Write) -> std::result::Result<(), csv::Error> {
    let of_tensors = arrays.iter().filter(|a| a.shape.len() > 1);
    let rows = of_tensors.map(|a| a.shape[0]).max().unwrap_or(0);
    let is_text = |a: &&Array| matches!(a.values, Values::Texts(_));
    let fits = |a: &&Array| a.shape.first() == Some(&rows);
    let (texts, numbers): (Vec<&Array>, Vec<&Array>) =
        arrays.iter().filter(fits).partition(is_text);
    let chosen = [texts, numbers].concat();
    let left_out: Vec<&str> = arrays
        .iter()
        .filter(|a| !fits(a))
        .map(|a| &*a.name)
        .collect();
    if !left_out.is_empty() {
        log::info!("not in the table: {}", left_out.join(", "));
    }
    let mut csv = csv::Writer::from_writer(out);
    let head = chosen.iter().flat_map(|a| columns(a));
    csv.write_record([ROW.to_string()].into_iter().chain(head))?;
    for row in 0..rows {
        let of = |a: &&Array| {
            let (array, width) = (*a, a.width());
            (row * width..(row + 1) * width)
                .map(|i| array.text(i))
                .collect::<Vec<_>>()
        };
        let cells = chosen.iter().flat_map(of);
        csv.write_record([row.to_string()].into_iter().chain(cells))?;
    }
    csv.flush()?;
    Ok(())
}

/// An array as NumPy stores it.
fn npy(array: &Array) -> Vec<u8> {
    let (kind, data): (String, Vec<u8>) = match &array.values {
        Values::F32(v) => (
            "<f4".into(),
            v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        Values::F64(v) => (
            "<f8".into(),
            v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        Values::Integers(v) => (
            "<i8".into(),
            v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        Values::Texts(v) => {
            let widest = v
                .iter()
                .map(|t| t.chars().count())
                .max()
                .unwrap_or(0)
                .max(1);
            let padded = |t: &String| {
                let letters = t.chars().map(|c| c as u32);
                letters
                    .chain(std::iter::repeat(0))
                    .take(widest)
                    .collect::<Vec<_>>()
            };
            let data = v.iter().flat_map(padded).flat_map(u32::to_le_bytes);
            (format!("<U{widest}"), data.collect())
        }
    };
    let shape: String = array.shape.iter().map(|n| format!("{n}, ")).collect();
    let head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take ten bytes; the data begin at a multiple of 64.
    let length = (10 + head.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{head:<width$}\n", width = length - 1).as_bytes());
    bytes.extend(data);
    bytes
}

/// An uncompressed ZIP archive of arrays.
fn npz(arrays: &[Array], kind: Kind, out: &mut impl Write) -> std::io::Result<()> {
    let about = Array {
        name: ABOUT.trim_end_matches(".npy").into(),
        shape: Vec::new(),
        values: Values::Texts(vec![kind.name().into()]),
    };
    let mut directory = Vec::new();
    let mut at = 0u64;
    for array in [&about].into_iter().chain(arrays) {
        let (name, data) = (format!("{}.npy", array.name), npy(array));
        let too_large = || std::io::Error::other("too large for an archive of NumPy; write .h5");
        let place = u32::try_from(at).map_err(|_| too_large())?;
        let length = u32::try_from(data.len()).map_err(|_| too_large())?;
        let mut sum = flate2::Crc::new();
        sum.update(&data);
        // Version 2.0, names in UTF-8, stored, 1 January 1980: the same bytes every time.
        let mut common = vec![20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
        common.extend(sum.sum().to_le_bytes());
        common.extend(length.to_le_bytes().repeat(2));
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let local = [b"PK\x03\x04", &common[..], name.as_bytes()].concat();
        out.write_all(&local)?;
        out.write_all(&data)?;
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]); // comment, disk, attributes
        directory.extend(place.to_le_bytes());
        directory.extend(name.as_bytes());
        at += local.len() as u64 + u64::from(length);
    }
    out.write_all(&directory)?;
    let count = (arrays.len() as u16 + 1).to_le_bytes();
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([count, count].concat());
    end.extend((directory.len() as u32).to_le_bytes());
    end.extend((at as u32).to_le_bytes());
    end.extend([0, 0]);
    out.write_all(&end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Storage, open, write};

    fn sample(path: &Path) {
        write(path, Kind::Embeddings, |root| {
            root.write(
                "invariants",
                &[2, 2],
                &[1.5f32, -2.0, 0.1, 4.0],
                Storage::Plain,
            )?;
            root.write("clusters", &[3], &[1u32, 2, 3], Storage::Plain)?;
            let group = root.create_group("residues")?;
            group.write("number", &[2], &[7i32, -3], Storage::Plain)?;
            group.write_strings("chain", &["A", "Å,b"])
        })
        .unwrap();
    }

    #[test]
    fn a_table_has_a_line_per_row() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("e.h5"), dir.path().join("e.csv"));
        sample(&from);
        let root = open(&from, Kind::Embeddings).unwrap();
        convert(&root, Kind::Embeddings, &to, Format::Csv).unwrap();
        assert_eq!(
            std::fs::read_to_string(&to).unwrap(),
            "row,chain,invariants_0,invariants_1,number\n0,A,1.5,-2,7\n1,\"Å,b\",0.1,4,-3\n"
        );
    }

    #[test]
    fn an_archive_is_what_numpy_reads() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("e.h5"), dir.path().join("e.npz"));
        sample(&from);
        let root = open(&from, Kind::Embeddings).unwrap();
        convert(&root, Kind::Embeddings, &to, Format::Npz).unwrap();
        let bytes = std::fs::read(&to).unwrap();
        let entries = bytes.windows(4).filter(|w| w == b"PK\x01\x02").count();
        assert_eq!(entries, 5);
        // The directory is where the end of the file says it is.
        let end = bytes.len() - 22;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(&bytes[end..end + 4], b"PK\x05\x06");
        assert_eq!(word(end + 12) + word(end + 16), end);
        assert_eq!(&bytes[word(end + 16)..][..4], b"PK\x01\x02");
        let head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, ), }";
        let at = bytes.windows(head.len()).position(|w| w == head).unwrap();
        let length = u16::from_le_bytes([bytes[at - 2], bytes[at - 1]]) as usize;
        assert_eq!((length + 10) % 64, 0);
        let values = &bytes[at + length..][..16];
        let values: Vec<f32> = values
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(values, [1.5, -2.0, 0.1, 4.0]);
        // numpy itself, where it is there.
        let script = "import sys, numpy; f = numpy.load(sys.argv[1]); \
                      print(f['residues/chain'][1], f['residues/number'][1], f['holosig_kind'])";
        let python = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&to)
            .output();
        match python {
            Ok(out) if out.status.success() => {
                assert_eq!(String::from_utf8_lossy(&out.stdout), "Å,b -3 embeddings\n");
            }
            _ => eprintln!("not tested with numpy: it is not installed here"),
        }
    }
}
