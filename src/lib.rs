//! holosig: distributed representation learning on 3D molecular data.
//!
//! The modules stand on floors; a module uses lower floors only (`tests/floors` checks the imports
//! against this table).
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 9 | [`cli`] | one file per command |
//! | 8 | [`scale`] | what a step would take on other machines |
//! | 7 | [`mod@bench`], [`downstream`] | what is measured; what a trained model is used for |
//! | 6 | [`tasks`] | a model, its data and its test behind one name; jobs, sweeps |
//! | 5 | [`train`] | the training loop, optimizer, checkpoints |
//! | 4 | [`models`] | networks: a batch in, losses out, named parameters |
//! | 3 | [`data`] | sources, datasets, samplers, loaders |
//! | 2 | [`ops`], [`comm`] | differentiable operations; the MPI world and its watchdog |
//! | 1 | [`so3`], [`words`], [`store`], [`draw`], `gpu` | rotation-group numbers in f64; words of signatures; HDF5 files; charts; the rank's GPU (with the feature `cuda`) |
//! | 0 | [`error`], [`files`], [`child`], [`print`](mod@print), [`trace`], [`elements`], [`stats`] | the one error type; how files are opened; processes that may die; what is printed; what ran when; symbols and radii of the chemical elements; means, deviations and medians |

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
// Commands print by `print` alone.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod bench;
#[warn(missing_docs)]
pub mod child;
pub mod cli;
pub mod comm;
pub mod data;
pub mod downstream;
pub mod draw;
pub mod elements;
#[warn(missing_docs)]
pub mod error;
#[warn(missing_docs)]
pub mod files;
#[cfg(feature = "cuda")]
pub mod gpu;
pub mod models;
pub mod ops;
#[warn(missing_docs)]
pub mod print;
pub mod scale;
#[warn(missing_docs)]
pub mod so3;
#[warn(missing_docs)]
pub mod stats;
#[warn(missing_docs)]
pub mod store;
pub mod tasks;
#[warn(missing_docs)]
pub mod trace;
pub mod train;
#[warn(missing_docs)]
pub mod words;

pub use error::{Error, Result};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets this program read files in child processes of its own ([`child`]), as datasets in HDF5 and
/// the formats of the chemfiles library are. Call it first thing in `main`: in a child it does not
/// return.
pub fn serve_children() {
    child::serve(&[&data::md::TASKS[..], &store::TASKS].concat());
}

/// Leaves threads to rayon. Candle's own pool for element-wise operations serves one caller at a
/// time and makes the others wait, but slices and clips are computed side by side. Call it once,
/// first of all; `CANDLE_NUM_THREADS` in the environment overrides it.
pub fn leave_threads_to_rayon() {
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread exists yet.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}

/// Keeps freed memory in the process. A training step allocates and frees the same large
/// tensors over and over; giving each back to the kernel and faulting its pages in again costs
/// a fifth of the step. Call it once at the start.
pub fn keep_freed_memory() {
    /// Number of `mi_option_purge_delay` in mimalloc's header, which the crate does not name.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets an integer option of the allocator; -1 means never to purge.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}
