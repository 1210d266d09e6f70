//! PDB files of several models as trajectories.

use super::{Target, md};

pub const TARGET: Target = md::MODELS;
