//! The MPI world: who we are, agreement on errors, and sums over ranks.
//!
//! MPI is called from the main thread only (but for the end of a broken job). Under no launcher the world has one rank.

mod beat;
mod compressed;
mod device;
mod exchange;
mod launcher;
mod link;
#[cfg(feature = "nccl")]
pub mod nccl;
mod overlap;
pub mod packed;
mod parts;
pub mod pulse;
mod slices;
mod sum;
mod threads;
pub mod watchdog;

pub use beat::{Beat, Process};
pub use compressed::Rounding;
pub use device::{DeviceKind, Place};
pub use launcher::launched_as;
pub use overlap::{Bucket, buckets};
pub use parts::{most_sent, part_of};
pub use slices::{Addend, SliceTree, slice_range};
pub use threads::Cores;

use crate::error::EXIT_OTHER;
use crate::{Error, Result, trace};
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use mpi::{Rank, Threading};
use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

/// Longest MPI message, in elements: counts are 32-bit in MPI.
const LONGEST: usize = 1 << 30;

/// All ranks of this job.
pub struct World {
    mpi: Option<SimpleCommunicator>,
    rank: usize,
    size: usize,
    local_rank: usize,
    local_size: usize,
    ranks_per_host: Option<usize>,
    host: String,
    quiet: bool,
    /// Set while an error that every rank knows of is on its way out.
    agreed: Cell<bool>,
    /// Dropped last: ends MPI.
    _universe: Option<Universe>,
}

impl World {
    /// Starts MPI, runs `job` on every rank, and ends MPI.
    ///
    /// An error that the ranks agreed on ([`World::agree`]) is logged by the rank that saw it;
    /// only then do the others go on, so that no launcher ends the job before it is logged. Every
    /// rank then gets [`Error::Elsewhere`] with the same exit code. An error that only this rank
    /// knows of is logged and ends the whole job at once (`MPI_Abort`), as does a panic: no rank
    /// is left waiting for one that is gone.
    pub fn run<T>(job: impl FnOnce(&World) -> Result<T>) -> Result<T> {
        let world = World::start()?;
        let result = job(&world);
        watchdog::stop();
        match result {
            Err(e) if world.size > 1 => Err(world.report_error(e)),
            alone => alone,
        }
    }

    fn report_error(&self, error: Error) -> Error {
        let code = error.exit_code();
        if !self.agreed.get() {
            let level = error.level();
            log::log!(level, "rank {} on {}: {error}", self.rank, self.host);
            self.abort(code);
        }
        if !matches!(error, Error::Elsewhere { .. }) {
            log::log!(error.level(), "{error}");
        }
        self.barrier();
        match error {
            Error::Elsewhere { .. } => error,
            told => Error::Elsewhere {
                rank: self.rank,
                message: told.to_string(),
                code,
            },
        }
    }

    fn start() -> Result<World> {
        let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Funneled)
        else {
            return Err(Error::internal("MPI was started twice in one process"));
        };
        if threading < Threading::Funneled {
            return Err(Error::internal(
                "the MPI library refuses programs with threads (MPI_THREAD_FUNNELED)",
            ));
        }
        let comm = universe.world();
        let (rank, size) = (comm.rank() as usize, comm.size() as usize);
        refuse_a_launcher_that_mpi_does_not_know(size)?;
        let node = comm.split_shared(rank as Rank);
        let world = World {
            rank,
            size,
            ranks_per_host: ranks_per_host(&comm, &node),
            local_rank: node.rank() as usize,
            local_size: node.size() as usize,
            host: host_name(),
            quiet: false,
            agreed: Cell::new(false),
            mpi: (size > 1).then_some(comm),
            _universe: Some(universe),
        };
        if size > 1 {
            abort_on_panic(rank);
        }
        world.start_threads();
        watchdog::join(&world);
        Ok(world)
    }

    /// A world of one rank without MPI.
    pub fn alone() -> World {
        World {
            mpi: None,
            rank: 0,
            size: 1,
            local_rank: 0,
            local_size: 1,
            ranks_per_host: Some(1),
            host: host_name(),
            quiet: false,
            agreed: Cell::new(false),
            _universe: None,
        }
    }

    /// [`World::alone`] for work that reports to another part of the program, not to the user.
    pub fn quiet() -> World {
        World {
            quiet: true,
            ..World::alone()
        }
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this rank writes the files.
    pub fn is_root(&self) -> bool {
        self.rank == 0
    }

    /// Whether this rank tells the user how the work goes on.
    pub fn reports_progress(&self) -> bool {
        self.is_root() && !self.quiet
    }

    /// Number of this rank among those on the same host.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Number of ranks on this host.
    pub fn local_size(&self) -> usize {
        self.local_size
    }

    /// Number of ranks on each host, where every host has as many, 2^k, with consecutive numbers.
    pub fn ranks_per_host(&self) -> Option<usize> {
        self.ranks_per_host
    }

    /// Name of this rank's host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Ends the whole job at once, from one rank.
    pub fn abort(&self, code: i32) -> ! {
        match &self.mpi {
            Some(comm) => comm.abort(code),
            None => std::process::exit(code),
        }
    }

    // Collective calls: every rank makes them in the same order.

    /// The communicator, for a collective call.
    fn collective(&self) -> Option<Waiting<'_>> {
        self.agreed.set(false);
        let comm = self.mpi.as_ref()?;
        pulse::wait(true);
        Some(Waiting(comm, trace::span("with all ranks")))
    }

    pub fn barrier(&self) {
        if let Some(comm) = self.collective() {
            comm.barrier();
        }
    }

    /// A barrier for ranks that may wait long: they sleep and leave the processor to others.
    pub fn wait_for_all(&self) {
        let Some(comm) = self.collective() else {
            return;
        };
        let mut request = comm.immediate_barrier();
        while let Err(waiting) = request.test() {
            request = waiting;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Turns a result of each rank into one that all share: an error on any rank is an error on
    /// every rank. The lowest failing rank keeps its own error, the others get
    /// [`Error::Elsewhere`], so that it is told once; so does a rank that has got
    /// [`Error::Elsewhere`] before and agrees again.
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        let Some(comm) = self.collective() else {
            return result;
        };
        // An error that comes from another rank is sent as a negative code.
        let code = match &result {
            Ok(_) => 0,
            Err(e @ Error::Elsewhere { .. }) => -e.exit_code(),
            Err(e) => e.exit_code(),
        };
        let mut codes = vec![0i32; self.size];
        comm.all_gather_into(&code, &mut codes[..]);
        let own = codes.iter().position(|&c| c > 0);
        let Some(failed) = own.or_else(|| codes.iter().position(|&c| c < 0)) else {
            return result;
        };
        let told = result.as_ref().err().map(|e| e.to_string());
        let message = self.broadcast_from(failed, told.unwrap_or_default().into_bytes());
        self.agreed.set(true);
        match result {
            Err(e) if self.rank == failed => Err(e),
            _ => Err(Error::Elsewhere {
                rank: failed,
                message: String::from_utf8_lossy(&message).into_owned(),
                code: codes[failed].abs(),
            }),
        }
    }

    /// Runs `work` on rank 0 only and agrees on its result; `None` on the other ranks.
    pub fn on_root<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        let result = if self.is_root() {
            work().map(Some)
        } else {
            Ok(None)
        };
        self.agree(result)
    }

    /// Whether any rank says so.
    pub fn any(&self, here: bool) -> bool {
        self.max(u8::from(here)) != 0
    }

    /// The largest of all ranks' numbers.
    pub fn max(&self, here: u8) -> u8 {
        let Some(comm) = self.collective() else {
            return here;
        };
        reduced(&comm, here, SystemOperation::max())
    }

    /// Whether all ranks hold the same bytes.
    pub fn all_equal(&self, bytes: &[u8]) -> bool {
        let root = self.broadcast(bytes.to_vec());
        !self.any(root != bytes)
    }

    /// The values of rank 0, on every rank.
    pub fn broadcast<T: Equivalence + Default + Clone>(&self, values: Vec<T>) -> Vec<T> {
        self.broadcast_from(0, values)
    }

    fn broadcast_from<T: Equivalence + Default + Clone>(
        &self,
        root: usize,
        mut values: Vec<T>,
    ) -> Vec<T> {
        let Some(comm) = self.collective() else {
            return values;
        };
        let root = comm.process_at_rank(root as Rank);
        let mut len = values.len() as u64;
        root.broadcast_into(&mut len);
        values.resize(len as usize, T::default());
        for part in values.chunks_mut(LONGEST) {
            root.broadcast_into(part);
        }
        values
    }

    /// Every rank's values on rank 0, in rank order; nothing on the other ranks.
    pub fn gather<T: Equivalence + Default + Clone>(&self, values: &[T]) -> Vec<Vec<T>> {
        if !self.is_root() {
            self.send_to_root(values);
            return Vec::new();
        }
        let others = (1..self.size).map(|rank| self.receive_from(rank));
        std::iter::once(values.to_vec()).chain(others).collect()
    }

    /// The other half of [`World::receive_from`].
    fn send_to_root<T: Equivalence>(&self, values: &[T]) {
        let Some(comm) = self.collective() else {
            return;
        };
        let root = comm.process_at_rank(0);
        root.send(&(values.len() as u64));
        for part in values.chunks(LONGEST) {
            root.send(part);
        }
    }

    /// On rank 0 the values that another rank sends.
    fn receive_from<T: Equivalence + Default + Clone>(&self, rank: usize) -> Vec<T> {
        let Some(comm) = self.collective() else {
            return Vec::new();
        };
        let peer = comm.process_at_rank(rank as Rank);
        let (len, _) = peer.receive::<u64>();
        let mut theirs = vec![T::default(); len as usize];
        for part in theirs.chunks_mut(LONGEST) {
            peer.receive_into(part);
        }
        theirs
    }

    /// Every rank's values on every rank, in rank order.
    pub fn all_gather<T: Equivalence + Default + Clone>(&self, values: &[T]) -> Vec<Vec<T>> {
        let Some(comm) = self.collective() else {
            return vec![values.to_vec()];
        };
        let mut lengths = vec![0u64; self.size];
        comm.all_gather_into(&(values.len() as u64), &mut lengths[..]);
        (0..self.size)
            .map(|rank| {
                let mut theirs = if rank == self.rank {
                    values.to_vec()
                } else {
                    vec![T::default(); lengths[rank] as usize]
                };
                let root = comm.process_at_rank(rank as Rank);
                for part in theirs.chunks_mut(LONGEST) {
                    root.broadcast_into(part);
                }
                theirs
            })
            .collect()
    }
}

/// The communicator for as long as this rank waits for others.
struct Waiting<'a>(&'a SimpleCommunicator, #[expect(dead_code)] trace::Span);

impl Deref for Waiting<'_> {
    type Target = SimpleCommunicator;

    fn deref(&self) -> &SimpleCommunicator {
        self.0
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        pulse::wait(false);
    }
}

/// All ranks' numbers as one. The binding lets the two sides of a reduction differ in type, and
/// MPI then writes beyond the smaller one; here they cannot.
fn reduced<T: Equivalence + Default>(
    comm: &SimpleCommunicator,
    here: T,
    operation: SystemOperation,
) -> T {
    let mut all = T::default();
    comm.all_reduce_into(&here, &mut all, operation);
    all
}

/// See [`World::ranks_per_host`]; collective.
fn ranks_per_host(comm: &SimpleCommunicator, node: &SimpleCommunicator) -> Option<usize> {
    let here = node.size() as usize;
    let regular = here.is_power_of_two() && comm.rank() % node.size() == node.rank();
    let regular = if regular { here as u64 } else { 0 };
    let least = reduced(comm, regular, SystemOperation::min());
    let most = reduced(comm, regular, SystemOperation::max());
    (least == most && most > 0).then_some(here)
}

fn host_name() -> String {
    hostname::get()
        .map(|h| h.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown-host".into())
}

/// A panic on one rank would leave the others waiting for it.
fn abort_on_panic(rank: usize) {
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("panic");
        let place = info.location().map(|l| l.to_string()).unwrap_or_default();
        log::error!("rank {rank}: a bug in holosig, please report it: {text} ({place})");
        abort_job();
        std::process::abort();
    }));
}

/// Ends all ranks, from any thread.
fn abort_job() {
    // SAFETY: MPI is initialised; MPI_Abort does not return to the broken program.
    unsafe { mpi::ffi::MPI_Abort(mpi::ffi::RSMPI_COMM_WORLD, EXIT_OTHER) };
}

/// `srun` without MPI support starts N worlds of one rank, which would overwrite each other.
fn refuse_a_launcher_that_mpi_does_not_know(size: usize) -> Result<()> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let tasks = number("SLURM_STEP_NUM_TASKS").unwrap_or(1);
    if size == 1 && tasks > 1 && number("SLURM_PROCID").is_some() {
        return Err(Error::input(format!(
            "srun started {tasks} tasks, but each of them sees an MPI world of one rank; \
             use `srun --mpi=pmix` (Open MPI), `srun --mpi=pmi2` (MPICH) or mpirun"
        )));
    }
    Ok(())
}
