//! Launchers that stay behind: `mpirun` can wait for ever although its job has ended.
//!
//! Open MPI's waits for hosts that are cut off until TCP gives up, and sometimes (4.1.4, a rank
//! killed while MPI starts) for nothing at all. A process that outlives the ranks sees to its end:
//! a few lines of shell, as nothing of ours may be needed by then.

use super::beat::born;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Time that a launcher gets to end by itself.
const LINGER: Duration = Duration::from_secs(30);

/// The least that it gets where the limit for stalls is shorter: machines may be busy.
const SHORTEST: Duration = Duration::from_secs(10);

/// Number of this process among those that the launcher started, as far as its variables tell:
/// for commands that need no MPI. A process that was started alone is the first.
pub fn launched_as() -> usize {
    number(&["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"]).unwrap_or(0)
}

/// The first of these variables that holds a number.
pub(super) fn number(names: &[&str]) -> Option<usize> {
    names
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// What started this process as one of several ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launcher {
    OpenMpi,
    Slurm,
    /// MPICH, Intel MPI.
    Hydra,
}

impl Launcher {
    /// By the variables that it sets; none for a process that was started alone.
    pub fn of_this_process() -> Option<Self> {
        let set = |name| std::env::var_os(name).is_some();
        // `mpirun` within a Slurm job binds by itself, `srun` sets no variable of Open MPI's.
        match () {
            () if set("OMPI_COMM_WORLD_RANK") => Some(Launcher::OpenMpi),
            () if set("SLURM_PROCID") && set("SLURM_STEP_NUM_TASKS") => Some(Launcher::Slurm),
            () if set("PMI_RANK") => Some(Launcher::Hydra),
            () => None,
        }
    }
}

/// Number of cores that the launcher has on this host: those that Slurm gives the job, or that the
/// process that started this one may run on, before it bound the ranks.
pub(super) fn launcher_cores() -> Option<usize> {
    Launcher::of_this_process()?;
    number(&["SLURM_CPUS_ON_NODE"]).or_else(|| {
        let parent = std::os::unix::process::parent_id();
        let status = std::fs::read_to_string(format!("/proc/{parent}/status")).ok()?;
        let mask = status
            .lines()
            .find_map(|l| l.strip_prefix("Cpus_allowed:"))?;
        Some(ones(mask))
    })
}

/// Number of ones in a mask of cores as Linux writes it: `ff,ffffffff`.
fn ones(mask: &str) -> usize {
    let digits = mask.chars().filter_map(|c| c.to_digit(16));
    digits.map(|digit| digit.count_ones() as usize).sum()
}

/// The launcher that started this process on this very host: its process id and
/// [`born`].
fn launcher() -> Option<(u32, u64)> {
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
    let known = ["mpirun", "mpiexec", "orterun", "prterun"];
    known
        .contains(&name.trim())
        .then(|| Some((parent, born(parent)?)))?
}

/// The job has been ended: the launcher is killed if it is still there after [`LINGER`].
pub(super) fn outlive() {
    if let Some((pid, born)) = launcher() {
        guard(pid, born, &format!("sleep {}", LINGER.as_secs()));
    }
}

/// Watches over Open MPI's launcher from now on, from the first rank of its host: it is killed when
/// none of the processes that it started has run for a while. Call it before MPI starts, whose
/// connections the watching process would hold open otherwise.
pub(super) fn watch(timeout: Duration) {
    let first = std::env::var("OMPI_COMM_WORLD_LOCAL_RANK").is_ok_and(|rank| rank == "0");
    let Some((pid, born)) = launcher().filter(|_| first) else {
        return;
    };
    let linger = timeout.clamp(SHORTEST, LINGER).as_secs();
    let rank = std::process::id();
    // Seconds since a child was seen running; a zombie has ended. Ends with the launcher. Reading
    // its children fails when one of its threads has just ended: that second does not count. Where
    // the system does not tell children at all, nothing is killed.
    let wait = format!(
        "idle=0; while [ $idle -lt {linger} ]; do sleep 1; alive || exit 0; idle=$((idle + 1)); \
         children=$(cat /proc/{pid}/task/*/children) || idle=0; \
         for child in {rank} $children; do \
         grep -q '^State:.[^ZX]' /proc/$child/status && idle=0; done; done"
    );
    guard(pid, born, &wait);
}

/// Kills the process `pid` when the shell commands `wait` have ended, if it is still there.
fn guard(pid: u32, born: u64, wait: &str) {
    let script = format!(
        "alive() {{ [ \"$(cut -d' ' -f22 /proc/{pid}/stat)\" = {born} ]; }}; \
         {wait}; alive && kill -KILL {pid}"
    );
    // Without it a launcher that stays behind ends when the scheduler's time limit ends it.
    let _ = Command::new("sh")
        .args(["-c", &script])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

#[cfg(test)]
mod tests {
    use super::ones;

    #[test]
    fn cores_of_a_mask_are_counted() {
        assert_eq!(ones("\t3\n"), 2);
        assert_eq!(ones("ff,ffffffff"), 40);
        assert_eq!(ones("00000000,00010001"), 2);
    }
}
