//! XYZ topologies and trajectories, which a child process reads with a library.

use super::{Target, md};

pub const TARGET: Target = md::XYZ;
