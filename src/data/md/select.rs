//! Which atoms become nodes.

/// A choice of nodes. Water and ions are never nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every heavy atom.
    All,
    /// N, CA, C and O of amino acids.
    Backbone,
    /// CA of amino acids.
    Ca,
    /// One node per residue, at the mean place of its heavy atoms.
    Residue,
    /// Atoms by an expression of chemfiles' selection language, hydrogens included.
    Expression(String),
}

impl std::str::FromStr for Selection {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "all" => Selection::All,
            "backbone" => Selection::Backbone,
            "ca" => Selection::Ca,
            "residue" => Selection::Residue,
            other => Selection::Expression(other.into()),
        })
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Selection::All => "all",
            Selection::Backbone => "backbone",
            Selection::Ca => "ca",
            Selection::Residue => "residue",
            Selection::Expression(text) => text,
        })
    }
}
