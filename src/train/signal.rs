//! Signals that ask a run to stop: a scheduler's time limit, a maintenance, Ctrl-C.
//!
//! One rank that hears of it is enough. `srun` hands SIGTERM and SIGUSR1 to the ranks. Open MPI's
//! `mpirun` hands on SIGUSR1; at SIGTERM or SIGINT it tells the ranks, kills them about a second
//! later (`--mca odls_base_sigkill_timeout 60` gives them longer) and exits with a code of its
//! own.

use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Notes SIGTERM, SIGINT and SIGUSR1, so that the run can write its checkpoint first.
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Starts to listen. A second SIGINT (an impatient Ctrl-C) ends the program at once.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let refused = |e| Error::internal(format!("cannot listen for signals: {e}"));
        flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&asked)).map_err(refused)?;
        for signal in [SIGTERM, SIGINT, SIGUSR1] {
            flag::register(signal, Arc::clone(&asked)).map_err(refused)?;
        }
        Ok(Self(asked))
    }

    /// Whether this process was asked to stop.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
