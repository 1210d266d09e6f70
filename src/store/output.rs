//! Where a command may put its files: the one rule of what may be overwritten.

use super::{Kind, Scratch};
use crate::{Error, Result, files};
use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes at the beginning of a file in which its mark stands.
const HEAD: u64 = 4096;

/// What a command writes, and how a file of that sort is told from everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The sort of file, with its article: `a page of holosig`.
    what: String,
    /// Every file of the sort has this near its beginning, and no other file has.
    mark: String,
    /// Whether it is an HDF5 file.
    hdf5: bool,
}

/// Endings that name formats other than HDF5: readers that go by names would stumble over such a file.
const OTHER_FORMATS: [&str; 24] = [
    "cif",
    "csv",
    "ent",
    "gz",
    "html",
    "json",
    "mol2",
    "npy",
    "npz",
    "parquet",
    "pdb",
    "png",
    "pt",
    "pth",
    "safetensors",
    "sdf",
    "svg",
    "toml",
    "tsv",
    "txt",
    "xlsx",
    "xtc",
    "xyz",
    "zip",
];

impl From<Kind> for Content {
    fn from(kind: Kind) -> Self {
        Self {
            what: kind.phrase(),
            mark: format!("holosig {kind} version="),
            hdf5: true,
        }
    }
}

impl Content {
    /// Files that are no HDF5 files: `what` with its article, and the text that each of them has
    /// in its first lines.
    pub fn marked(what: &str, mark: &str) -> Self {
        Self {
            what: what.into(),
            mark: mark.into(),
            hdf5: false,
        }
    }

    fn is_in(&self, path: &Path) -> Result<bool> {
        let mut head = Vec::new();
        files::open(path)?
            .take(HEAD)
            .read_to_end(&mut head)
            .map_err(|e| Error::io(path, e))?;
        let mark = self.mark.as_bytes();
        Ok(head.windows(mark.len()).any(|w| w == mark))
    }
}

/// A file that a command is going to write.
#[derive(Debug, Clone)]
pub struct Output {
    path: PathBuf,
    content: Content,
    /// The file that tells by its content whether what stands at `path` is of holosig.
    witness: PathBuf,
}

impl Output {
    /// A file at `path`.
    pub fn new(path: impl Into<PathBuf>, content: impl Into<Content>) -> Self {
        let path = path.into();
        Self {
            witness: path.clone(),
            content: content.into(),
            path,
        }
    }

    /// A command that writes several formats looks at the ending itself.
    pub fn of_any_ending(mut self) -> Self {
        self.content.hdf5 = false;
        self
    }

    /// Files of a format without room for a mark are known by the one that is written with them.
    pub fn known_by(self, witness: impl Into<PathBuf>) -> Self {
        Self {
            witness: witness.into(),
            ..self.of_any_ending()
        }
    }

    /// Every file in `folder` with this ending, without its dot: a command writes some of them, of
    /// names that it does not know yet.
    ///
    /// # Errors
    /// `folder` is there and is no folder, or cannot be read.
    pub fn in_folder(folder: &Path, ending: &str, content: &Content) -> Result<Vec<Self>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unwritable(folder, e)),
        };
        let paths = entries.map(|e| e.map(|e| e.path()));
        let paths: Vec<PathBuf> = paths
            .collect::<std::io::Result<_>>()
            .map_err(|e| unwritable(folder, e))?;
        let with_ending = |p: &PathBuf| p.extension().is_some_and(|e| e == ending);
        let paths = paths.into_iter().filter(with_ending);
        Ok(paths.map(|p| Self::new(p, content.clone())).collect())
    }
}

/// Folders made for the outputs of a command or a run; those that stay empty are removed when it is dropped.
#[derive(Debug, Default)]
pub struct Claim {
    made: Vec<PathBuf>,
}

/// Makes sure, before the work, that `outputs` can be written and that nothing of the user's is
/// lost by it, and that no HDF5 file is called otherwise. What stands at the place of an output is
/// replaced only if it is a file of holosig of the same sort and none of `inputs` (whatever their
/// names), or if `force` is set; what is no regular file is never replaced. Missing folders are made.
///
/// # Errors
/// The first output that may not or cannot be written.
pub fn claim(outputs: &[Output], inputs: &[&Path], force: bool) -> Result<Claim> {
    let (mut claim, mut names) = (Claim::default(), HashSet::new());
    for output in outputs {
        if !names.insert(&output.path) {
            return Err(Error::file(
                &output.path,
                "two outputs of this command have this name",
            ));
        }
        check(output, inputs, force)?;
    }
    for output in outputs {
        let folder = output.path.parent().unwrap_or(Path::new(""));
        claim
            .folder(folder)
            .map_err(|e| unwritable(&output.path, e))?;
        Scratch::new(&output.path).map_err(|e| match e {
            Error::Io { source, .. } => unwritable(&output.path, source),
            other => other,
        })?;
    }
    Ok(claim)
}

fn check(output: &Output, inputs: &[&Path], force: bool) -> Result<()> {
    let path = &output.path;
    let refused = |what: &str| Err(Error::file(path, what));
    let fitting = || {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        match output.content.hdf5 && OTHER_FORMATS.iter().any(|e| ending == *e) {
            true => refused("the ending must be .h5: it is an HDF5 file that is written"),
            false => Ok(()),
        }
    };
    let there = match fs::metadata(replaceable(path)?) {
        Ok(there) if !force => there,
        _ => return fitting(),
    };
    let same = |input: &&Path| {
        fs::metadata(input).is_ok_and(|m| (m.dev(), m.ino()) == (there.dev(), there.ino()))
    };
    if inputs.iter().any(same) {
        return refused(
            "is an input of this very command, which would overwrite it; choose another name \
             (--force overwrites it)",
        );
    }
    match output.witness.exists() && output.content.is_in(&output.witness)? {
        true => fitting(),
        false => refused(&format!(
            "is there already and is not {}; choose another name (--force overwrites it)",
            output.content.what
        )),
    }
}

/// Where a file that is written to `path` will stand: what a symbolic link leads to is replaced,
/// not the link.
///
/// # Errors
/// What is there is no regular file, or `path` can be no file's name.
pub(super) fn replaceable(path: &Path) -> Result<PathBuf> {
    if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Error::file(path, "not the name of a file"));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_file() => match path.is_symlink() {
            true => fs::canonicalize(path).map_err(|e| unwritable(path, e)),
            false => Ok(path.to_path_buf()),
        },
        Ok(found) => {
            let what = files::describe(found.file_type());
            Err(Error::file(
                path,
                format!("{what}, which is not replaced; name a file to write"),
            ))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => Err(Error::file(path, "a symbolic link to nothing")),
            Err(_) => Ok(path.to_path_buf()),
        },
        Err(e) => Err(unwritable(path, e)),
    }
}

/// A place that takes no file: the user's choice of it is at fault, a full disk is not.
pub(super) fn unwritable(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::Interrupted => {
            Error::io(path, error)
        }
        _ => Error::file(path, format!("cannot be written: {error}")),
    }
}

impl Claim {
    /// Makes a folder and those that it lies in, as far as they are missing.
    ///
    /// # Errors
    /// A folder that cannot be made; a file in its place.
    pub fn folder(&mut self, path: &Path) -> std::io::Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.is_dir())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => self.made.push(folder.to_path_buf()),
                Err(_) if folder.is_dir() => {}
                Err(_) if folder.exists() => return Err(rustix::io::Errno::NOTDIR.into()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // A folder with something in it stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outputs: &[Output], inputs: &[&Path], force: bool) -> std::result::Result<(), String> {
        match claim(outputs, inputs, force) {
            Ok(_) => Ok(()),
            Err(e) => {
                assert_eq!(e.exit_code(), 2);
                Err(e.to_string())
            }
        }
    }

    #[test]
    fn only_files_of_the_same_sort_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.h5");
        let output = [Output::new(&path, Kind::Embeddings)];
        assert_eq!(told(&output, &[], false), Ok(()));
        assert!(!path.exists());
        super::super::write(&path, Kind::Embeddings, |_| Ok(())).unwrap();
        assert_eq!(told(&output, &[], false), Ok(()));
        // Damage inside does not make it somebody else's.
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(600);
        fs::write(&path, bytes).unwrap();
        assert_eq!(told(&output, &[], false), Ok(()));
        for other in ["", "id,chain\n", "holosig"] {
            fs::write(&path, other).unwrap();
            let words = told(&output, &[], false).unwrap_err();
            assert!(words.contains("is not a file of embeddings"), "{words}");
            assert_eq!(told(&output, &[], true), Ok(()));
        }
        super::super::write(&path, Kind::Dataset, |_| Ok(())).unwrap();
        assert!(told(&output, &[], false).is_err());
    }

    #[test]
    fn an_input_is_known_by_any_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        super::super::write(&at("x.h5"), Kind::Dataset, |_| Ok(())).unwrap();
        std::os::unix::fs::symlink(at("x.h5"), at("link.h5")).unwrap();
        fs::hard_link(at("x.h5"), at("hard.h5")).unwrap();
        for name in ["x.h5", "link.h5", "hard.h5", "./x.h5"] {
            let output = [Output::new(at(name), Kind::Dataset)];
            let words = told(&output, &[&at("x.h5")], false).unwrap_err();
            assert!(words.contains("an input of this very command"), "{words}");
            assert_eq!(told(&output, &[], false), Ok(()));
        }
        let twice = [
            Output::new(at("new"), Kind::Dataset),
            Output::new(at("new"), Kind::Dataset),
        ];
        assert!(told(&twice, &[], true).is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let nothing = dir.path().join("nothing");
        std::os::unix::fs::symlink(dir.path().join("absent"), &nothing).unwrap();
        let below = dir.path().join("file/below");
        fs::write(dir.path().join("file"), "x").unwrap();
        let places = [
            pipe,
            PathBuf::from("/dev/null"),
            PathBuf::from("/dev/null/x"),
            dir.path().into(),
            dir.path().join("new/"),
            nothing,
            below,
            PathBuf::from("/proc/out.h5"),
            PathBuf::from(".."),
        ];
        for place in places {
            for force in [false, true] {
                let output = [Output::new(&place, Kind::Dataset)];
                assert!(told(&output, &[], force).is_err(), "{}", place.display());
            }
        }
    }

    #[test]
    fn folders_are_made_and_empty_ones_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/x.h5");
        let output = [Output::new(&path, Kind::Dataset)];
        drop(claim(&output, &[], false).unwrap());
        assert!(!dir.path().join("a").exists());
        let claimed = claim(&output, &[], false).unwrap();
        super::super::write(&path, Kind::Dataset, |_| Ok(())).unwrap();
        drop(claimed);
        assert!(path.exists());
    }
}
