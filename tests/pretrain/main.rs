//! Pretraining: what each objective's loss and draws are like, and that its jobs give the same
//! bits on any number of ranks and after a stop.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/numbers.rs"]
mod numbers;

mod losses;
mod molecules;
mod program;

/// Every objective by its name in jobs, with settings of small sizes; `[objective]` as TOML.
pub const OBJECTIVES: [(&str, &str); 20] = [
    ("supervised", ""),
    ("atom-type", ""),
    ("distance", "share = 0.5"),
    ("angle", "share = 0.1"),
    ("infograph", ""),
    ("geossl-rr", ""),
    ("geossl-infonce", ""),
    ("geossl-ebm-nce", "negatives = 2\nview.masking = 0.3"),
    ("geossl-ddm", ""),
    ("geossl-ddm1l", ""),
    ("geossl-ddm1l", "of = \"distances\""),
    ("emgp", ""),
    (
        "emgp",
        "variant = \"published\"\ntarget = \"gaussian\"\nlevels.count = 8",
    ),
    ("graphmvp", "bonds.layers = 2"),
    (
        "graphmvp",
        "bonds.layers = 2\ngeneration = \"ae\"\ncontrast = \"infonce\"",
    ),
    ("infomax", "bonds.layers = 2"),
    (
        "infomax",
        "bonds.layers = 2\nbonds.network = \"pna\"\nprojection = 4",
    ),
    ("infomax", "bonds.layers = 2\nvariant = \"published\""),
    ("moleculesde", "bonds.layers = 2\nhidden = 8"),
    (
        "moleculesde",
        "bonds.layers = 1\nhidden = 8\nvariant = \"published\"\npositions.process = \"vp\"",
    ),
];
