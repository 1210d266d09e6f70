//! Where the rows of tensors along edges lie.

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Receiver,
    Sender,
    Edge,
    /// An edge and the edge back share a row, where the edges are in pairs
    /// (`Incidence::in_pairs`); elsewhere it is [`Place::Edge`].
    Pair,
}
