//! XTC trajectories.

use super::{Target, md};

pub const TARGET: Target = md::XTC;
