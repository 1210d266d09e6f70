//! Files from outside: what a name stands for is looked at before it is opened.
//!
//! A named pipe makes a reader wait for ever, a device may never end. Every reader opens its files
//! here, and a library that opens a file by itself is given only names that [`check`] has let pass.

use crate::{Error, Result};
use std::collections::HashSet;
use std::fs::{File, FileType, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Opens a regular file for reading.
///
/// # Errors
/// What is missing, may not be read, or is no regular file is the user's input ([`Error::Input`]).
pub fn open(path: &Path) -> Result<File> {
    check(path)?;
    File::open(path).map_err(|e| refused(path, e))
}

/// Makes sure that `path` is a regular file, for libraries that open files by themselves.
///
/// # Errors
/// As [`open`], except that permissions are not looked at.
pub fn check(path: &Path) -> Result<Metadata> {
    let found = std::fs::metadata(path).map_err(|e| refused(path, e))?;
    match found.is_file() {
        true => Ok(found),
        false => {
            let what = describe(found.file_type());
            Err(Error::file(path, format!("{what}, where a file is needed")))
        }
    }
}

/// All bytes of a regular file.
///
/// # Errors
/// As [`open`]; a disk that does not answer.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|e| Error::io(path, e))?;
    Ok(bytes)
}

/// The text of a regular file, without the byte order mark that editors put before it.
///
/// # Errors
/// As [`read`]; bytes that are not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(plain(read(path)?)).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::file(path, format!("not a text file: byte {at} is not UTF-8"))
    })
}

/// The bytes of a text as readers expect them: without its byte order mark, which is no part of it
/// (Unicode standard, section 23.8), in UTF-8 if the mark is one of UTF-16, and with line feeds where
/// only carriage returns end the lines.
pub fn plain(mut bytes: Vec<u8>) -> Vec<u8> {
    let unit: Option<fn([u8; 2]) -> u16> = match bytes[..] {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = unit {
        let (pairs, _) = bytes[2..].as_chunks();
        let units: Vec<u16> = pairs.iter().map(|&pair| unit(pair)).collect();
        bytes = String::from_utf16_lossy(&units).into_bytes();
    } else if bytes.starts_with(UTF_8_MARK) {
        bytes.drain(..UTF_8_MARK.len());
    }
    if !bytes.contains(&b'\n') {
        let ends = bytes.iter_mut().filter(|b| **b == b'\r');
        ends.for_each(|b| *b = b'\n');
    }
    bytes
}

/// The byte order mark of UTF-8.
pub const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a regular file of fixed columns, of which only the ASCII part matters: [`read`],
/// [`plain`], and `?` for every other character.
///
/// # Errors
/// As [`read`]; zero bytes, which no text holds.
pub fn read_columns(path: &Path) -> Result<String> {
    let bytes = plain(read(path)?);
    let ascii = |c: char| if c.is_ascii() { c } else { '?' };
    match bytes.iter().position(|&b| b == 0) {
        None => Ok(lossy_text(bytes).chars().map(ascii).collect()),
        Some(at) => Err(Error::file(
            path,
            format!("not a text file: byte {at} is zero"),
        )),
    }
}

/// Text of which only the ASCII part matters, such as a table of numbers with remarks in another
/// encoding: bytes of what is not UTF-8 become `?`, so that columns stay where they are.
pub fn lossy_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| {
        let ascii = |b: u8| if b.is_ascii() { char::from(b) } else { '?' };
        e.into_bytes().into_iter().map(ascii).collect()
    })
}

/// [`read_text`], and `None` where there is no such file.
///
/// # Errors
/// As [`read_text`], but for a missing file.
pub fn read_text_if_there(path: &Path) -> Result<Option<String>> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        _ => read_text(path).map(Some),
    }
}

/// The files in a folder and in the folders within, in the order of their names. A folder is visited
/// once, however many links lead to it.
///
/// # Errors
/// A folder that cannot be read.
pub fn within(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut seen, mut files) = (HashSet::new(), Vec::new());
    visit(folder, &mut seen, &mut files).map_err(|e| Error::io(folder, e))?;
    Ok(files)
}

fn visit(
    folder: &Path,
    seen: &mut HashSet<(u64, u64)>,
    files: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    let here = std::fs::metadata(folder)?;
    if !seen.insert((here.dev(), here.ino())) {
        return Ok(());
    }
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => visit(&path, seen, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// What a name stands for, with its article.
pub fn describe(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ if kind.is_file() => "a file",
        _ => "not a regular file",
    }
}

/// Why a file cannot be opened, in words that a user understands.
fn refused(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::file(path, "no such file"),
        ErrorKind::PermissionDenied => Error::file(path, "no permission to read it"),
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            Error::file(path, "not the name of a file")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Error::file(path, "a symbolic link that leads back to itself")
        }
        _ => Error::io(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to read refuses what is no file, at once and as the user's input.
    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let around = dir.path().join("around");
        std::os::unix::fs::symlink(&around, &around).unwrap();
        for (path, what) in [
            (pipe, "a named pipe, where a file is needed"),
            (link, "a named pipe, where a file is needed"),
            (around, "a symbolic link that leads back to itself"),
            (socket, "a socket, where a file is needed"),
            (
                PathBuf::from("/dev/zero"),
                "a device, where a file is needed",
            ),
            (dir.path().into(), "a folder, where a file is needed"),
            (dir.path().join("none"), "no such file"),
        ] {
            let told = [
                check(&path).err(),
                open(&path).err(),
                read(&path).err(),
                read_text(&path).err(),
            ];
            for error in told {
                let error = error.unwrap();
                assert_eq!(error.exit_code(), 2);
                assert_eq!(error.to_string(), format!("{}: {what}", path.display()));
            }
        }
    }

    /// Links that lead back would otherwise be followed 40 times, and two of them for years.
    #[test]
    fn a_folder_is_visited_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        for name in ["a", "c", "b/d"] {
            std::fs::write(at(name), "").unwrap();
        }
        for name in ["e", "b/f", "b/g"] {
            std::os::unix::fs::symlink(dir.path(), at(name)).unwrap();
        }
        assert_eq!(within(dir.path()).unwrap(), ["a", "b/d", "c"].map(at));
    }

    #[test]
    fn marks_are_no_text_and_columns_stay() {
        let utf16 = |unit: fn(u16) -> [u8; 2]| {
            let units = "\u{feff}Åb\n".encode_utf16();
            units.flat_map(unit).collect::<Vec<u8>>()
        };
        for bytes in [
            "\u{feff}Åb\n".as_bytes().to_vec(),
            "Åb\n".into(),
            "\u{feff}Åb\r".into(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(plain(bytes), "Åb\n".as_bytes());
        }
        assert_eq!(plain(b"a\r\nb\r".to_vec()), b"a\r\nb\r");
        assert_eq!(plain(vec![0xff]), [0xff]);
        assert_eq!(lossy_text(b"\xc5b 1".to_vec()), "?b 1");
        assert_eq!(lossy_text("Åb".into()), "Åb");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        for bytes in [&b"\xef\xbb\xbfa\xe9"[..], "aÅ".as_bytes()] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_columns(&path).unwrap(), "a?");
        }
        std::fs::write(&path, b"a\0").unwrap();
        let told = read_columns(&path).unwrap_err().to_string();
        assert!(told.ends_with("byte 1 is zero"), "{told}");
    }

    #[test]
    fn text_is_utf_8_and_a_missing_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        assert!(read_text_if_there(&path).unwrap().is_none());
        std::fs::write(&path, "Å").unwrap();
        assert_eq!(read_text_if_there(&path).unwrap().as_deref(), Some("Å"));
        std::fs::write(&path, b"ab\xe9").unwrap();
        let told = read_text(&path).unwrap_err().to_string();
        assert!(
            told.ends_with("not a text file: byte 2 is not UTF-8"),
            "{told}"
        );
    }
}
