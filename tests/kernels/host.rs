//! Compiles `kernels/*.cu` for this machine's processor with the system's C++ compiler, and runs
//! device sequences with them (see `kernels/host`).

use holosig::ops::device::{Arg, Buffer, Kind, Sequence};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

/// How the kernels are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Every access checked by `kernels/host/memory.cpp`: races, bounds, unwritten memory.
    Watched,
    /// With the compiler's address sanitizer.
    Address,
}

/// In which order the threads of a block run between two waits.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    Forward,
    Reversed,
    Random,
}

/// Content of a buffer.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

impl Data {
    pub fn kind(&self) -> Kind {
        match self {
            Data::F32(_) => Kind::F32,
            Data::F64(_) => Kind::F64,
            Data::I32(_) => Kind::I32,
            Data::U8(_) => Kind::U8,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Data::F32(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Data::F64(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Data::I32(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Data::U8(x) => x.clone(),
        }
    }

    fn from_bytes(kind: Kind, bytes: &[u8]) -> Self {
        match kind {
            Kind::F32 => Data::F32(words(bytes).map(f32::from_le_bytes).collect()),
            Kind::F64 => Data::F64(words(bytes).map(f64::from_le_bytes).collect()),
            Kind::I32 => Data::I32(words(bytes).map(i32::from_le_bytes).collect()),
            Kind::U8 => Data::U8(bytes.to_vec()),
        }
    }

    /// The numbers in f64.
    pub fn numbers(&self) -> Vec<f64> {
        match self {
            Data::F32(x) => x.iter().map(|&v| v.into()).collect(),
            Data::F64(x) => x.clone(),
            Data::I32(x) => x.iter().map(|&v| v.into()).collect(),
            Data::U8(x) => x.iter().map(|&v| v.into()).collect(),
        }
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// Buffers after the last launch.
pub struct Results {
    pub outputs: Vec<Data>,
    /// As launches left them.
    pub inputs: Vec<Data>,
}

/// Runs a sequence; the error is what the runner said before it gave up.
pub fn run(
    flavour: Flavour,
    order: Order,
    sequence: &Sequence,
    inputs: &[Data],
) -> Result<Results, String> {
    let runner = runner(flavour, &[])?;
    run_with(&runner, order, sequence, inputs)
}

/// As [`run`], by a runner of [`build`].
pub fn run_with(
    runner: &Path,
    order: Order,
    sequence: &Sequence,
    inputs: &[Data],
) -> Result<Results, String> {
    let request = request(order, sequence, inputs);
    let mut child = Command::new(runner)
        // One allocation of a kernel's stack must not be taken for a leak, nor exit code 1 of the
        // sanitizer for a crash of the test.
        .env(
            "ASAN_OPTIONS",
            "detect_leaks=0,detect_stack_use_after_return=0",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", runner.display()))?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    // A runner that refuses the request early closes the pipe: its message says why.
    let writer = std::thread::spawn(move || stdin.write_all(&request).ok());
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    writer.join().map_err(|_| "the writer panicked")?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut rest = &output.stdout[..];
    let mut results = Results {
        outputs: Vec::new(),
        inputs: Vec::new(),
    };
    for buffer in &sequence.buffers {
        let target = match buffer {
            Buffer::Output { .. } => &mut results.outputs,
            Buffer::Input { .. } => &mut results.inputs,
            _ => continue,
        };
        let len = buffer.len() * buffer.kind().bytes();
        let (bytes, after) = rest.split_at_checked(len).ok_or("too short an answer")?;
        target.push(Data::from_bytes(buffer.kind(), bytes));
        rest = after;
    }
    Ok(results)
}

/// The sequence in the form that `kernels/host/main.cpp` reads.
fn request(order: Order, sequence: &Sequence, inputs: &[Data]) -> Vec<u8> {
    let mut out = Vec::new();
    let u32s = |out: &mut Vec<u8>, values: &[u32]| {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    };
    u32s(&mut out, &[order as u32, sequence.buffers.len() as u32]);
    for buffer in &sequence.buffers {
        let content = match buffer {
            Buffer::Input { index, kind, len } => {
                let data = &inputs[*index];
                assert_eq!(data.kind(), *kind, "input {index}");
                assert_eq!(data.numbers().len(), *len, "input {index}");
                Some(data.bytes())
            }
            Buffer::Ints(x) => Some(Data::I32(x.to_vec()).bytes()),
            Buffer::Floats(x) => Some(Data::F32(x.to_vec()).bytes()),
            Buffer::Doubles(x) => Some(Data::F64(x.to_vec()).bytes()),
            Buffer::Output {
                zeroed: true, kind, ..
            } => Some(vec![0; buffer.len() * kind.bytes()]),
            _ => None,
        };
        let wanted = matches!(buffer, Buffer::Input { .. } | Buffer::Output { .. });
        let kind = match buffer.kind() {
            Kind::F32 => b'f',
            Kind::F64 => b'd',
            Kind::I32 => b'i',
            Kind::U8 => b'b',
        };
        out.extend([kind, content.is_some().into(), wanted.into()]);
        out.extend(((buffer.len() * buffer.kind().bytes()) as u64).to_le_bytes());
        out.extend(content.unwrap_or_default());
    }
    u32s(&mut out, &[sequence.launches.len() as u32]);
    for launch in &sequence.launches {
        u32s(&mut out, &[launch.kernel.len() as u32]);
        out.extend(launch.kernel.as_bytes());
        u32s(&mut out, &launch.grid);
        u32s(&mut out, &launch.block);
        u32s(&mut out, &[launch.shared, launch.args.len() as u32]);
        for arg in &launch.args {
            let (tag, mut bits) = match arg {
                Arg::Buffer(i) => (b'B', (*i as u64).to_le_bytes().to_vec()),
                Arg::I32(v) => (b'I', v.to_le_bytes().to_vec()),
                Arg::F32(v) => (b'F', v.to_le_bytes().to_vec()),
                Arg::F64(v) => (b'D', v.to_le_bytes().to_vec()),
            };
            bits.resize(8, 0);
            out.push(tag);
            out.extend(bits);
        }
    }
    out
}

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// The runner of a flavour, built once.
fn runner(flavour: Flavour, defines: &[&str]) -> Result<PathBuf, String> {
    static RUNNERS: [OnceLock<Result<PathBuf, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    RUNNERS[flavour as usize]
        .get_or_init(|| build(flavour, defines, &modules()))
        .clone()
}

/// Names of the kernel files.
pub fn modules() -> Vec<String> {
    let files = fs::read_dir(kernels()).expect("the folder of kernels");
    let mut names: Vec<String> = files
        .filter_map(|f| {
            f.ok()?
                .path()
                .to_str()?
                .strip_suffix(".cu")
                .map(str::to_owned)
        })
        .map(|p| p.rsplit('/').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}

/// Whether the compiler can link its address sanitizer.
pub fn has_address_sanitizer() -> bool {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    fs::create_dir_all(&folder).expect("a folder for kernels");
    let (source, program) = (folder.join("probe.cpp"), folder.join("probe"));
    fs::write(&source, "int main() { return 0; }\n").expect("a source file");
    let built = compiler()
        .args(["-fsanitize=address", "-o"])
        .args([&program, &source])
        .output();
    built.is_ok_and(|o| o.status.success())
}

fn compiler() -> Command {
    Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()))
}

/// Compiles `modules` with `defines` and links them to a runner.
pub fn build(flavour: Flavour, defines: &[&str], modules: &[String]) -> Result<PathBuf, String> {
    let name = format!("{flavour:?}{}", defines.concat()).to_lowercase();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("kernels")
        .join(name);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (host, flags): (_, &[&str]) = match flavour {
        Flavour::Watched => (&["-O2"][..], &["-O1", "-fsanitize=thread"]),
        Flavour::Address => (
            &["-O1", "-fsanitize=address", "-DADDRESS_SANITIZER"],
            &["-O1", "-fsanitize=address"],
        ),
    };
    let mut jobs = Vec::new();
    for part in ["main", "memory", "runtime"] {
        let source = kernels().join("host").join(part).with_extension("cpp");
        jobs.push((source, folder.join(part).with_extension("o"), host));
    }
    for module in modules {
        let source = folder.join(module).with_extension("cpp");
        let text = registered(&kernels().join(module).with_extension("cu"))?;
        if fs::read_to_string(&source).ok().as_deref() != Some(&text) {
            fs::write(&source, text).map_err(|e| format!("{}: {e}", source.display()))?;
        }
        jobs.push((source, folder.join(format!("{module}.cu.o")), flags));
    }
    let newest = newest(&kernels())?;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<(), String> {
        while let Some((source, object, flags)) =
            jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        {
            let built = fs::metadata(object).and_then(|m| m.modified()).ok();
            if built.is_some_and(|t| t > newest) {
                continue;
            }
            let mut command = compiler();
            command
                .args(["-std=c++17", "-g1", "-Wall", "-Wextra", "-Werror"])
                .args(["-Wno-unknown-pragmas"])
                .args(["-ffp-contract=off", "-c"])
                .args(*flags)
                .args(defines)
                .arg("-o")
                .args([object, source]);
            check(&mut command)?;
        }
        Ok(())
    };
    std::thread::scope(|s| {
        let other = s.spawn(work);
        work().and(
            other
                .join()
                .map_err(|_| "a compiler's thread panicked".to_owned())?,
        )
    })?;
    let runner = folder.join("runner");
    let mut link = compiler();
    if flavour == Flavour::Address {
        link.arg("-fsanitize=address");
    }
    link.arg("-o").arg(&runner).args(jobs.iter().map(|j| &j.1));
    check(&mut link)?;
    Ok(runner)
}

fn check(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}\n{}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Last change of any file of the folder.
fn newest(folder: &Path) -> Result<SystemTime, String> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let time = match path.is_dir() {
            true => self::newest(&path)?,
            false => fs::metadata(&path)
                .and_then(|m| m.modified())
                .map_err(|e| e.to_string())?,
        };
        newest = newest.max(time);
    }
    Ok(newest)
}

/// A source that includes a kernel file and registers every kernel in it.
fn registered(file: &Path) -> Result<String, String> {
    const HEAD: &str = "extern \"C\" __global__ void __launch_bounds__(";
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut out = format!("#include \"{}\"\n", file.display());
    for rest in text.split(HEAD).skip(1) {
        let (threads, rest) = rest.split_once(')').ok_or("launch bounds without an end")?;
        let (name, _) = rest.split_once('(').ok_or("a kernel without parameters")?;
        out.push_str(&format!("REGISTER({}, {threads})\n", name.trim()));
    }
    if text.matches("__global__").count() != text.matches(HEAD).count() {
        return Err(format!(
            "{}: a kernel begins with `{HEAD}threads)`",
            file.display()
        ));
    }
    Ok(out)
}
