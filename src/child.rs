//! Work in a child process that may die.
//!
//! Libraries in C and C++ end the whole process when a damaged file leads them astray. So such a
//! file is read by a child, which is this program once more with other arguments: it sends what
//! it reads through a pipe, and if it dies, one file is refused and everything else goes on.
//!
//! A program that is to have such children calls [`serve`] first thing in `main`.

use crate::{Error, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// First argument of a child.
const FLAG: &str = "--child-reader";
/// Address space in bytes that any child may use beyond what the program has at its start.
pub const SPACE: u64 = 1 << 30;
/// How much more it may use for each byte of the file. A chunk of compressed numbers is unpacked as a whole.
const SPACE_PER_BYTE: u64 = 64;
/// Processor time in seconds from one message to the next.
const SECONDS: u64 = 30;

/// Whether this program answers to [`FLAG`].
static SERVES: AtomicBool = AtomicBool::new(false);

/// The program of which children are processes, where it is not this one.
static SERVER: OnceLock<PathBuf> = OnceLock::new();

/// What a child can do: it gets the file, its further arguments, and the pipe for its messages.
pub type Task = fn(&Path, &[String], &mut Pipe) -> Result<()>;

/// Turns this process into a child if its arguments say so, and does not return then. Otherwise
/// the process may have children of its own from now on.
pub fn serve(tasks: &[(&str, Task)]) {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(FLAG)) {
        SERVES.store(true, Ordering::Relaxed);
        return;
    }
    let code = match answer(tasks, &arguments.collect::<Vec<_>>()) {
        Ok(()) => 0,
        Err(e) => e.exit_code(),
    };
    std::process::exit(code);
}

/// Lets this process have children of another program, which calls [`serve`]. This is for tests: their
/// programs do not begin with a `main` of their own.
pub fn served_by(program: &Path) {
    SERVER.get_or_init(|| program.to_path_buf());
    SERVES.store(true, Ordering::Relaxed);
}

/// Whether [`serve`] or [`served_by`] has been called: then [`Child::start`] works.
pub fn is_served() -> bool {
    SERVES.load(Ordering::Relaxed)
}

/// Does a child's work in this process, and drops what it sends. This is for tests, whose processes may
/// die of it.
///
/// # Errors
/// What the task reports.
pub fn work_here(task: Task, path: &Path, arguments: &[String]) -> Result<()> {
    const NOWHERE: &str = "/dev/null";
    let out = File::options().write(true).open(NOWHERE);
    let out = BufWriter::new(out.map_err(|e| Error::io(NOWHERE, e))?);
    task(path, arguments, &mut Pipe { out })
}

fn answer(tasks: &[(&str, Task)], arguments: &[OsString]) -> Result<()> {
    let missing = || Error::input("a child needs a task and a file");
    let [task, path, rest @ ..] = arguments else {
        return Err(missing());
    };
    let named = tasks.iter().find(|(name, _)| *name == task);
    let (_, task) = named.ok_or_else(missing)?;
    let path = Path::new(path);
    let rest: Vec<String> = rest
        .iter()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    limit(path);
    let mut pipe = Pipe::take_standard_output()?;
    let done = task(path, &rest, &mut pipe);
    pipe.close(done)
}

/// Bounds what a reader that went astray can do to the machine. Where the system refuses a
/// limit, the child works without it.
fn limit(path: &Path) {
    let length = std::fs::metadata(path).map_or(0, |m| m.len());
    let space = SPACE.saturating_add(length.saturating_mul(SPACE_PER_BYTE));
    lower(Resource::As, space.saturating_add(mapped()));
    lower(Resource::Core, 0);
    lower(Resource::Cpu, SECONDS);
}

/// Address space of this process in bytes, of which the allocator has set much aside.
fn mapped() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|l| l.strip_prefix("VmSize:"));
    let kib = size.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    // Where the system does not tell: more than was ever seen.
    kib.map_or(4 << 30, |kib| kib << 10)
}

/// Sets a limit, which the one above it (`ulimit -H`) may keep lower.
fn lower(resource: Resource, to: u64) {
    let maximum = getrlimit(resource).maximum;
    let current = Some(maximum.map_or(to, |m| m.min(to)));
    // A limit that cannot be set is one line of defence less, and no reason not to read.
    let _ = setrlimit(resource, Rlimit { current, maximum });
}

/// Kinds of messages.
const MESSAGE: u8 = b'M';
const INPUT_ERROR: u8 = b'I';
const OTHER_ERROR: u8 = b'O';
const END: u8 = b'.';

/// Where a child's messages go.
pub struct Pipe {
    out: BufWriter<File>,
}

impl Pipe {
    /// Takes standard output for messages; what libraries print there is dropped.
    fn take_standard_output() -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("standard output", e);
        let out = rustix::io::dup(rustix::stdio::stdout()).map_err(|e| failed(e.into()))?;
        let nowhere = File::options().write(true).open("/dev/null");
        let nowhere = nowhere.map_err(failed)?;
        rustix::stdio::dup2_stdout(&nowhere).map_err(|e| failed(e.into()))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 16, File::from(out)),
        })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The parent does not listen any more.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        self.put(MESSAGE, message)?;
        // It is alive and well: the time begins anew.
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        lower(Resource::Cpu, used.tv_sec as u64 + SECONDS);
        Ok(())
    }

    fn put(&mut self, kind: u8, message: &[u8]) -> Result<()> {
        self.out
            .write_all(&[kind])
            .and_then(|()| self.out.write_all(&(message.len() as u64).to_le_bytes()))
            .and_then(|()| self.out.write_all(message))
            .map_err(|e| Error::io("pipe", e))
    }

    fn close(mut self, done: Result<()>) -> Result<()> {
        match done {
            Ok(()) => self.put(END, &[])?,
            Err(Error::Input(what)) => self.put(INPUT_ERROR, what.as_bytes())?,
            Err(other) => self.put(OTHER_ERROR, other.to_string().as_bytes())?,
        }
        self.out.flush().map_err(|e| Error::io("pipe", e))
    }
}

/// A child that reads a file; ended when dropped.
pub struct Child {
    path: PathBuf,
    process: std::process::Child,
    pipe: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a child on a task and a file.
    ///
    /// # Errors
    /// A program that does not call [`serve`]; no further process can be had.
    pub fn start(task: &str, path: &Path, arguments: &[String]) -> Result<Self> {
        if !is_served() {
            return Err(Error::internal(format!(
                "{}: it must be read in a child process, and this program does not call \
                 holosig::serve_children at its start",
                path.display()
            )));
        }
        // The name of the running program, even if its file has been replaced meanwhile.
        const MYSELF: &str = "/proc/self/exe";
        let failed = |e| Error::io(path, e);
        let program = SERVER.get().map_or(Path::new(MYSELF), PathBuf::as_path);
        let mut command = Command::new(program);
        command.arg(FLAG).arg(task).arg(path).args(arguments);
        // A child is no rank.
        let launcher = |name: &OsStr| {
            let name = name.to_string_lossy();
            let prefixes = ["OMPI_", "PMI_", "PMIX_", "PRTE_", "MPI_", "HYDI_", "HYDRA_"];
            prefixes.iter().any(|p| name.starts_with(p))
        };
        let variables = std::env::vars_os().filter(|(name, _)| launcher(name));
        variables.for_each(|(name, _)| {
            command.env_remove(name);
        });
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let pipe = process.stdout.take();
        let pipe = pipe.ok_or_else(|| Error::internal("a child without a pipe"))?;
        Ok(Self {
            path: path.to_path_buf(),
            process,
            pipe: BufReader::with_capacity(1 << 16, pipe),
        })
    }

    /// Reads the next message into `message`; false after the last.
    ///
    /// # Errors
    /// What the child reports; its death.
    pub fn receive(&mut self, message: &mut Vec<u8>) -> Result<bool> {
        message.clear();
        let Some((kind, length)) = self.header() else {
            return Err(self.death());
        };
        // No more room than what arrives needs, whatever the length says.
        let read = (&mut self.pipe).take(length).read_to_end(message);
        if read.is_err() || message.len() as u64 != length {
            return Err(self.death());
        }
        let text = || String::from_utf8_lossy(message).into_owned();
        match kind {
            MESSAGE => Ok(true),
            END => Ok(false),
            INPUT_ERROR => Err(Error::Input(text())),
            OTHER_ERROR => Err(Error::Internal(text())),
            _ => Err(self.death()),
        }
    }

    fn header(&mut self) -> Option<(u8, u64)> {
        let mut header = [0; 9];
        self.pipe.read_exact(&mut header).ok()?;
        let [kind, length @ ..] = header;
        Some((kind, u64::from_le_bytes(length)))
    }

    /// Why the child said no more.
    fn death(&mut self) -> Error {
        // It has closed its pipe, or talks nonsense: in both cases it is to end now.
        let _ = self.process.kill();
        let how = match self.process.wait() {
            Ok(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("was ended by signal {signal}"),
                (_, Some(code)) => format!("ended with code {code}"),
                _ => "ended".to_string(),
            },
            Err(e) => format!("is lost ({e})"),
        };
        Error::file(
            &self.path,
            format!("damaged: the process that read it {how}; copy the file again"),
        )
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended long ago, or be in the middle of a file that nobody wants any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
