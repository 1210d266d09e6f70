//! The one error type: it tells the user's bad input from everything else.

use std::path::{Path, PathBuf};

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// Exit code when the user's input is at fault (also clap's code for a bad command line).
pub const EXIT_INPUT: i32 = 2;
/// Exit code for everything else: I/O, a lost rank, a bug of ours.
pub const EXIT_OTHER: i32 = 1;
/// Exit code when the work is done but for some inputs that were skipped, each named.
pub const EXIT_PARTIAL: i32 = 3;
/// Exit code of a training run that was asked to stop by a signal, wrote its checkpoint
/// and can be resumed (BSD's `EX_TEMPFAIL`).
pub const EXIT_PREEMPTED: i32 = 75;

/// What went wrong, in one line that names the file, the place and the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's input is at fault: a file, an option, a setting.
    #[error("{0}")]
    Input(String),
    /// The operating system refused: no such file, no permission, disk full.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A library or an invariant of ours failed.
    #[error("{0}")]
    Internal(String),
    /// A rank failed and the reason has been reported.
    #[error("rank {rank} failed: {message}")]
    Elsewhere {
        /// The rank that failed.
        rank: usize,
        /// What it said.
        message: String,
        /// The exit code that its error asks for.
        code: i32,
    },
    /// The work is done but for some inputs that could not be used; each was named.
    #[error("skipped, each named above: {skipped} of {of} inputs; the rest is done")]
    Partial {
        /// Inputs that could not be used.
        skipped: u64,
        /// All inputs.
        of: u64,
    },
    /// A signal asked the work to stop; it can go on from where it stands.
    #[error("stopped by a signal after {done}")]
    Preempted {
        /// What is done, and how to go on.
        done: String,
    },
}

impl Error {
    /// An input error about `path`: `PATH: what`.
    pub fn file(path: impl AsRef<Path>, what: impl std::fmt::Display) -> Self {
        Error::Input(format!("{}: {what}", path.as_ref().display()))
    }

    /// Names the file that an input error is about; other errors stay as they are.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Error::Input(what) => Error::file(path, what),
            other => other,
        }
    }

    /// What was asked for needs a cargo feature that this program was built without.
    pub fn feature(what: impl std::fmt::Display, name: &str) -> Self {
        Error::Input(format!(
            "{what}: this program was built without the feature `{name}`, which is needed; build \
             it with `cargo build --release --features {name}`"
        ))
    }

    /// An input error: `what` is the whole message.
    pub fn input(what: impl std::fmt::Display) -> Self {
        Error::Input(what.to_string())
    }

    /// A failure that is not the user's.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        Error::Internal(what.to_string())
    }

    /// A refusal of the operating system that is about `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io {
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    /// How loud the log tells of it: work that is done but for a part of its inputs, or that can
    /// go on later, has not failed.
    pub fn level(&self) -> log::Level {
        match self {
            Error::Partial { .. } | Error::Preempted { .. } => log::Level::Warn,
            _ => log::Level::Error,
        }
    }

    /// The process exit code that this error asks for.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Input(_) => EXIT_INPUT,
            Error::Io { .. } | Error::Internal(_) => EXIT_OTHER,
            Error::Elsewhere { code, .. } => *code,
            Error::Partial { .. } => EXIT_PARTIAL,
            Error::Preempted { .. } => EXIT_PREEMPTED,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(e: candle_core::Error) -> Self {
        Error::Internal(e.to_string())
    }
}
