//! How many threads a rank may use.

use super::World;
use std::thread::available_parallelism;

impl World {
    /// This rank's share of the cores: those it may run on, divided by the number of ranks of
    /// this host that may run on the same ones. Ranks bound to cores of their own divide
    /// nothing. Collective.
    pub fn share_of_cores(&self) -> usize {
        let allowed = format!("{}\n{}", self.host(), allowed_cores());
        let all = self.all_gather(allowed.as_bytes());
        let sharers = all.iter().filter(|a| *a == allowed.as_bytes()).count();
        let cores = available_parallelism().map_or(1, usize::from);
        (cores / sharers.max(1)).max(1)
    }

    /// Gives rayon this rank's share of the cores, unless `RAYON_NUM_THREADS` says otherwise.
    pub(super) fn start_threads(&self) {
        let threads = self.share_of_cores();
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            // Fails only if the pool exists already; then its size stands.
            let _ = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global();
        }
    }
}

/// The set of cores that this process may run on, as Linux writes it; empty elsewhere.
fn allowed_cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("Cpus_allowed_list:"));
    line.unwrap_or_default().to_string()
}
