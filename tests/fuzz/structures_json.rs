//! JSON of JARVIS, pymatgen and ASE.

use super::Target;
use super::systems::READER;

pub const TARGET: Target = Target {
    corpus: || vec![JARVIS.into(), PYMATGEN.into(), ASE.into()],
    words: &["\"atoms\"", "\"sites\"", "\"lattice\"", "\"__ndarray__\"", "null", "[[", "]]", "{", "}", "1e308"],
    ending: ".json",
    ..READER
};

const JARVIS: &str = r#"[{"jid": "a", "atoms": {"lattice_mat": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
    "coords": [[0, 0, 0], [0.5, 0.5, 0.5]], "elements": ["Cu", "Cu"], "cartesian": false},
    "total_energy": -3.5, "forces": [[0, 0, 0.1], [0, 0, -0.1]], "stresses": [1, 2, 3, 0, 0, 0]}]"#;
const PYMATGEN: &str = r#"{"structure": {"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]},
    "sites": [{"species": [{"element": "Si", "occu": 1}], "abc": [0, 0, 0], "xyz": [0, 0, 0]}]},
    "outputs": {"energy": -5.0, "forces": [[0, 0, 0]]}}"#;
const ASE: &str = r#"{"1": {"numbers": {"__ndarray__": [[1], "int64", [8]]}, "positions": [[0, 0, 0]],
    "cell": [[5, 0, 0], [0, 5, 0], [0, 0, 5]], "pbc": [true, true, false], "energy": 1.0}, "ids": [1]}"#;
