//! Motion as an encoder sees it: invariants of residue neighborhoods along trajectories, and what is
//! made of their paths. No frame is superposed on another: invariants do not turn.

mod centres;
mod descriptors;
mod measures;
mod paths;
mod structures;

pub use descriptors::{Settings, write};
pub use measures::Conditioning;
pub use paths::{Summary, write as write_paths};
pub use structures::{STRUCTURE, write as write_structures};
