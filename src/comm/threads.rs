//! How many threads a rank may use, and launchers that bind it to fewer cores than its share.

use super::World;
use super::launcher::{Launcher, launcher_cores};
use std::thread::available_parallelism;

/// Cores of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// Those that the launcher lets it run on.
    pub allowed: usize,
    /// Those that its host has for the job.
    pub of_host: usize,
    /// Threads that the user asks for (`RAYON_NUM_THREADS`).
    asked: Option<usize>,
}

impl World {
    /// This rank's share of the cores: those it may run on, divided by the number of ranks of
    /// this host that may run on the same ones. Ranks bound to cores of their own divide
    /// nothing. Collective.
    pub fn share_of_cores(&self) -> usize {
        let allowed = format!("{}\n{}", self.host(), allowed_cores());
        let all = self.all_gather(allowed.as_bytes());
        let sharers = all.iter().filter(|a| *a == allowed.as_bytes()).count();
        (self.cores().allowed / sharers.max(1)).max(1)
    }

    /// The cores of this rank and of its host. Not collective.
    pub fn cores(&self) -> Cores {
        let allowed = available_parallelism().map_or(1, usize::from);
        Cores {
            allowed,
            of_host: launcher_cores().unwrap_or(allowed).max(allowed),
            asked: asked_threads(),
        }
    }

    /// Gives rayon this rank's share of the cores, unless `RAYON_NUM_THREADS` says otherwise, and
    /// warns of a launcher that keeps this rank from its share of the host. Collective.
    pub(super) fn start_threads(&self) {
        let threads = self.share_of_cores();
        if let Some(advice) = advice(self.cores(), self.local_size(), Launcher::of_this_process()) {
            // Other hosts and ranks are bound alike: one line tells it.
            if self.is_root() {
                log::warn!("rank 0 on {}: {advice}", self.host());
            }
        }
        if asked_threads().is_none() {
            // Fails only if the pool exists already; then its size stands.
            let _ = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global();
        }
    }
}

fn asked_threads() -> Option<usize> {
    let asked = std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok()?;
    (asked > 0).then_some(asked)
}

/// What to tell of a rank that may run on fewer cores than it would use: the threads asked for, or
/// else its share of the host's cores.
fn advice(cores: Cores, ranks: usize, launcher: Option<Launcher>) -> Option<String> {
    let share = cores.of_host / ranks.max(1);
    let wanted = cores.asked.unwrap_or(share).min(share);
    if cores.allowed >= wanted {
        return None;
    }
    let remedy = match launcher? {
        Launcher::OpenMpi => {
            format!("`mpirun --bind-to none`, or `--map-by slot:PE={wanted}` for cores of its own")
        }
        Launcher::Slurm => format!("`srun --cpus-per-task={wanted}`, or `--cpu-bind=none`"),
        Launcher::Hydra => format!("`mpiexec -bind-to none`, or `-bind-to core:{wanted}`"),
    };
    Some(format!(
        "the launcher binds it to {} of the {} cores here, where its share is {wanted}: the others \
         stay idle; start it with {remedy}",
        cores.allowed, cores.of_host
    ))
}

/// The set of cores that this process may run on, as Linux writes it; empty elsewhere.
fn allowed_cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("Cpus_allowed_list:"));
    line.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(allowed: usize, of_host: usize, asked: Option<usize>) -> Cores {
        Cores {
            allowed,
            of_host,
            asked,
        }
    }

    #[test]
    fn a_rank_bound_to_less_than_its_share_is_told_with_the_remedy_of_its_launcher() {
        let told = |cores, ranks, launcher| advice(cores, ranks, Some(launcher));
        let of_mpirun = told(cores(1, 8, None), 2, Launcher::OpenMpi).unwrap();
        assert!(of_mpirun.contains("1 of the 8 cores"), "{of_mpirun}");
        assert!(of_mpirun.contains("PE=4"), "{of_mpirun}");
        let of_slurm = told(cores(1, 64, Some(16)), 2, Launcher::Slurm).unwrap();
        assert!(of_slurm.contains("--cpus-per-task=16"), "{of_slurm}");
        let of_hydra = told(cores(2, 6, None), 2, Launcher::Hydra).unwrap();
        assert!(of_hydra.contains("core:3"), "{of_hydra}");
        // Its share, as many as it asks for, more ranks than cores, or nobody who binds.
        assert_eq!(told(cores(4, 8, None), 2, Launcher::OpenMpi), None);
        assert_eq!(told(cores(1, 8, Some(1)), 2, Launcher::OpenMpi), None);
        assert_eq!(told(cores(2, 2, Some(8)), 1, Launcher::OpenMpi), None);
        assert_eq!(told(cores(1, 2, None), 4, Launcher::OpenMpi), None);
        assert_eq!(advice(cores(1, 8, None), 1, None), None);
    }
}
