//! Runs a reader over mutated inputs in a process that may die, and tells what came of it.

use super::Target;
use super::mutate::Mutator;
use holosig::error::EXIT_INPUT;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Address space of the reading process: far above what small files need.
const ADDRESS_SPACE_KIB: u64 = 6 << 20;
/// Resident memory that no small input may need.
pub const MOST_MIB: u64 = 1024;
/// Exit code of a reading process whose input took too long.
const HUNG: i32 = 97;
/// Findings after which a campaign ends.
const ENOUGH: usize = 10;

/// Readers whose files a child process reads, first or alone. To start one for every input would take nearly all of the
/// time. So the reading process does a child's work itself and then reads; only an input that ends it is tried
/// again with a child, as in the program, and that must go well.
const WITH_CHILDREN: [&str; 4] = ["hdf5", "mmcif_models", "qm9_hdf5", "xyz"];
/// Inputs after which a process that does a child's work makes room for a fresh one: the library may keep what
/// it could not close.
const MOST_IN_ONE: u64 = 1000;

/// What is tried.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of inputs, unless `seconds` are given.
    pub inputs: u64,
    /// Length of the campaign; 0 for a number of inputs.
    pub seconds: u64,
    /// Seconds that one input may take.
    pub patience: u64,
    /// The same seed gives the same inputs.
    pub seed: u64,
    /// Number of the first input.
    pub from: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            inputs: 1000,
            seconds: 0,
            // Also where many processes share the machine.
            patience: 60,
            seed: 1,
            from: 0,
        }
    }
}

impl Plan {
    /// The plan with the variables HOLOSIG_FUZZ_INPUTS, _SECONDS, _PATIENCE, _SEED and _FROM.
    fn of_environment() -> Self {
        let mut plan = Self::default();
        for (name, value) in plan.variables() {
            if let Ok(text) = std::env::var(name) {
                *value = text
                    .parse()
                    .unwrap_or_else(|_| panic!("{name}={text}: a number is needed"));
            }
        }
        plan
    }

    fn variables(&mut self) -> [(&'static str, &mut u64); 5] {
        [
            ("HOLOSIG_FUZZ_INPUTS", &mut self.inputs),
            ("HOLOSIG_FUZZ_SECONDS", &mut self.seconds),
            ("HOLOSIG_FUZZ_PATIENCE", &mut self.patience),
            ("HOLOSIG_FUZZ_SEED", &mut self.seed),
            ("HOLOSIG_FUZZ_FROM", &mut self.from),
        ]
    }

    /// Whether another input is to be tried.
    fn goes_on(&self, number: u64, start: Instant) -> bool {
        match self.seconds {
            0 => number < self.inputs,
            s => start.elapsed() < Duration::from_secs(s),
        }
    }
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    pub inputs: u64,
    /// Inputs that end a child process, and are refused for it.
    pub deaths: u64,
    /// MiB, of the process that needed most.
    pub memory: u64,
    pub findings: Vec<String>,
}

/// Tries the reader of this name as the environment says, and fails with all findings. Inputs that
/// brought it down stay in the build's folder of temporary files.
pub fn run(name: &str) {
    let manner = match WITH_CHILDREN.contains(&name) {
        true => Manner::AsChild,
        false => Manner::AsProgram,
    };
    let report = try_out(name, manner, &Plan::of_environment());
    println!(
        "{name}: {} inputs, {} deaths of children, {} findings, largest memory {} MiB",
        report.inputs,
        report.deaths,
        report.findings.len(),
        report.memory
    );
    assert!(
        report.findings.is_empty(),
        "{name}:\n{}",
        report.findings.join("\n")
    );
}

/// Starts reading processes, one after the other has died, until the plan is done.
pub fn try_out(name: &str, manner: Manner, plan: &Plan) -> Report {
    let (start, mut report) = (Instant::now(), Report::default());
    let mut next = plan.from;
    while plan.goes_on(next, start) && report.findings.len() < ENOUGH {
        let mut rest = Plan {
            from: next,
            ..plan.clone()
        };
        if plan.seconds > 0 {
            rest.seconds = plan
                .seconds
                .saturating_sub(start.elapsed().as_secs())
                .max(1);
        }
        let (told, mut death) = process(name, manner, &rest);
        report.memory = report.memory.max(told.memory);
        report.findings.extend(told.findings);
        next = told.next;
        if manner == Manner::AsChild && death.is_some() {
            let one = Plan {
                from: next - 1,
                inputs: next,
                seconds: 0,
                ..rest
            };
            let (again, died) = process(name, Manner::AsProgram, &one);
            report.findings.extend(again.findings);
            report.deaths += 1;
            death = died;
        }
        report.findings.extend(death);
    }
    report.inputs = next - plan.from;
    if report.memory > MOST_MIB {
        let what = format!(
            "{} MiB of memory, where {MOST_MIB} are plenty",
            report.memory
        );
        report.findings.push(what);
    }
    report
}

const READER: &str = "HOLOSIG_FUZZ_READER";
const FOLDER: &str = "HOLOSIG_FUZZ_FOLDER";
const MANNER: &str = "HOLOSIG_FUZZ_MANNER";

/// Who does the work of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Children.
    AsProgram,
    /// The reading process, which may therefore die.
    AsChild,
}

/// Reads inputs in one process: what it told, and how it died, if it did. What brought it down is kept.
fn process(name: &str, manner: Manner, plan: &Plan) -> (Told, Option<String>) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("fuzz")
        .join(name);
    let folder = tempfile::tempdir().unwrap();
    let output = reading_process(name, manner, folder.path(), plan);
    let mut told = Told::of(&String::from_utf8_lossy(&output.stdout));
    copy(&folder.path().join("found"), &kept);
    if told.next > plan.from {
        let well = output.status.success();
        let badly = || format!("the process ended badly ({})", output.status);
        return (told, (!well).then(badly));
    }
    let Some((number, input)) = unread(folder.path()) else {
        panic!("{name}: no input was read: {output:?}");
    };
    told.next = number + 1;
    let how = match output.status.code() {
        Some(HUNG) => format!("no end after {} s", plan.patience),
        _ => format!("the process died ({})", output.status),
    };
    (told, Some(format!("{how}: {}", keep(&input, &kept))))
}

fn reading_process(name: &str, manner: Manner, folder: &Path, plan: &Plan) -> Output {
    let space = match manner {
        Manner::AsChild => holosig::child::SPACE >> 10,
        Manner::AsProgram => ADDRESS_SPACE_KIB,
    };
    let limits = format!("ulimit -c 0; ulimit -v {space}; exec \"$0\" \"$@\"");
    let mut plan = plan.clone();
    let variables = plan
        .variables()
        .map(|(name, value)| (name, value.to_string()));
    let mut command = Command::new("sh");
    command
        .args(["-c", &limits])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "reading", "--nocapture", "--test-threads=1"])
        .env(READER, name)
        .env(FOLDER, folder)
        .env("RAYON_NUM_THREADS", "1")
        .envs(variables);
    if manner == Manner::AsChild {
        command.env(MANNER, "child");
    }
    command.output().unwrap()
}

/// What a reading process said.
#[derive(Default)]
struct Told {
    /// The input after its last one; 0 if it died.
    next: u64,
    memory: u64,
    findings: Vec<String>,
}

impl Told {
    fn of(text: &str) -> Self {
        let mut told = Self::default();
        for line in text.lines() {
            if let Some(finding) = line.strip_prefix("finding: ") {
                told.findings.push(finding.to_string());
            } else if let Some(rest) = line.strip_prefix("done: ") {
                let mut numbers = rest.split(' ').map(|n| n.parse().unwrap());
                told.next = numbers.next().unwrap_or(0);
                told.memory = numbers.next().unwrap_or(0);
            }
        }
        told
    }
}

/// The input that a process which died was reading, and its number.
fn unread(folder: &Path) -> Option<(u64, PathBuf)> {
    let entries = fs::read_dir(folder.join("input")).ok()?;
    let paths = entries.filter_map(|e| Some(e.ok()?.path()));
    let numbered = paths.filter_map(|path| {
        let number = path
            .file_name()?
            .to_str()?
            .split('.')
            .next()?
            .parse()
            .ok()?;
        Some((number, path))
    });
    numbered.max()
}

fn keep(input: &Path, kept: &Path) -> String {
    fs::create_dir_all(kept).unwrap();
    let to = kept.join(input.file_name().unwrap());
    fs::copy(input, &to).unwrap();
    to.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten() {
        keep(&entry.unwrap().path(), to);
    }
}

/// Number of the input in hand, for the watching thread.
static AT: AtomicU64 = AtomicU64::new(0);
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// In a process that [`try_out`] started: reads the inputs from the asked one on.
pub fn read_if_asked(find: fn(&str) -> Option<&'static Target>) {
    let Ok(name) = std::env::var(READER) else {
        return;
    };
    let (target, plan) = (find(&name).unwrap(), Plan::of_environment());
    let as_child = std::env::var_os(MANNER).is_some();
    if !as_child {
        holosig::child::served_by(Path::new(env!("CARGO_BIN_EXE_holosig")));
    }
    // The line that the test harness has begun ends here.
    println!();
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    std::panic::set_hook(Box::new(|panic| {
        *LAST_PANIC.lock().unwrap_or_else(|e| e.into_inner()) = panic.to_string();
    }));
    let patience = plan.patience;
    std::thread::spawn(move || watch(Duration::from_secs(patience)));
    let mutator = Mutator::new((target.corpus)(), target.words, plan.seed, &name);
    let (start, mut number, mut found) = (Instant::now(), plan.from, 0);
    let last = match as_child {
        true => plan.from + MOST_IN_ONE,
        false => u64::MAX,
    };
    while plan.goes_on(number, start) && found < ENOUGH && number < last {
        AT.store(number, Ordering::Relaxed);
        let place = folder.join("input");
        fs::remove_dir_all(&place).ok();
        fs::create_dir_all(&place).unwrap();
        let input = place.join(format!("{number}{}", target.ending));
        fs::write(&input, mutator.input(number)).unwrap();
        if let Err(what) = attempt(target, &input) {
            if as_child {
                // As a child that panics: whether the program minds is seen when it is tried again.
                std::process::abort();
            }
            found += 1;
            keep(&input, &folder.join("found"));
            println!("finding: {}: input {number}", what.replace('\n', " "));
        }
        number += 1;
    }
    println!("done: {number} {}", largest_memory());
}

/// Reads one input; the error is a finding.
fn attempt(target: &Target, input: &Path) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| (target.read)(input))) {
        // A message is made one plain line of bounded length where it is printed.
        Ok(Err(e)) if e.exit_code() != EXIT_INPUT => {
            Err(format!("exit code {}: {e}", e.exit_code()))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(LAST_PANIC.lock().unwrap_or_else(|e| e.into_inner()).clone()),
    }
}

/// Ends the process when one input takes too long.
fn watch(patience: Duration) {
    let mut last = (u64::MAX, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let at = AT.load(Ordering::Relaxed);
        if at != last.0 {
            last = (at, Instant::now());
        } else if last.1.elapsed() > patience {
            std::process::exit(HUNG);
        }
    }
}

/// MiB that this process had in memory at most; 0 where the system does not tell.
fn largest_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) / 1024
}
