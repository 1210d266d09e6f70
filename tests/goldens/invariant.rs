//! Files of the invariant networks and PaiNN: groups `small`, `default` and others with settings
//! of their own, and `degenerate`, a flat molecule with atoms in a line on the network of `small`.
//! Parameters follow a rule, so that they need not be stored.

use crate::case::{Case, Gradients, Loss, Published, Training, Values};
use crate::file::{parsed, place, read, scalar, text};
use crate::graphs::{Atoms, Edges};
use crate::{Cases, Family, Golden};
use candle_core::{DType, Device};
use hdf5::{File, Group};
use holosig::models::graph::{GraphConfig, GraphModel};
use holosig::models::{Entry, Model};
use serde_json::{Value, json};

pub const FAMILY: Family = Family {
    networks: &[
        "schnet",
        "painn",
        "egnn",
        "dimenetpp",
        "spherenet",
        "gemnet",
    ],
    cases,
};

/// What a network has besides width, layers, cutoff and elements.
fn settings(network: &str, c: &Value) -> Value {
    match network {
        "schnet" => json!({ "filters": c["num_filters"], "radial": c["num_gaussians"] }),
        "painn" => json!({ "radial": c["n_rbf"] }),
        "egnn" => json!({}),
        "gemnet" => {
            let messages = if c["emb_edge"].is_null() {
                &c["emb"]
            } else {
                &c["emb_edge"]
            };
            json!({ "messages": messages, "inner": c["emb_size_trip"],
                "radial_basis": c["emb_size_rbf"], "circular_basis": c["emb_size_cbf"],
                "bilinear": c["emb_size_bil_trip"], "degrees": c["num_spherical"],
                "radial": c["num_radial"], "residuals": c["num_atom"] })
        }
        "dimenetpp" | "spherenet" => {
            json!({ "inner": c["int_emb_size"], "basis": c["basis_emb_size"],
            "out": c["out_emb_channels"], "degrees": c["num_spherical"],
            "radial": c["num_radial"] })
        }
        other => panic!("no settings for {other}"),
    }
}

fn config(group: &Group, network: &str) -> GraphConfig {
    let c = parsed(group, "config");
    let mut config = json!({
        "network": network,
        "width": c["emb"],
        "layers": c["layers"],
        "cutoff": c["cutoff"],
        "elements": c["node_class"],
    });
    let more = settings(network, &c);
    // GemNet has nothing that was to be mended.
    if network != "gemnet" {
        config["variant"] = "published".into();
    }
    let all = config.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn cases(file: &File, network: &str) -> Cases {
    let groups = file.groups().unwrap();
    let whole = groups.iter().filter(|g| g.attr("config").is_ok());
    let mut cases: Vec<_> = whole.map(|group| whole_case(group, network)).collect();
    cases.extend(
        groups
            .iter()
            .filter_map(|group| full_forces(group, network)),
    );
    if let Ok(group) = file.group("degenerate") {
        cases.push(degenerate(&group, &file.group("small").unwrap(), network));
    }
    let boxed = |case| -> Box<dyn Golden> { Box::new(case) };
    cases.into_iter().map(boxed).collect()
}

fn whole_case(group: &Group, network: &str) -> Case {
    let config = config(group, network);
    let parameters = parameters(group, &config);
    let input = group.group("input").unwrap();
    let atoms = atoms(&input);
    let edges = edges(group, &atoms);
    let published = |name: &str| Published {
        double: read(group, &format!("out/{name}")),
        single: Some(read(group, &format!("out/{name}_f32"))),
    };
    let energy = read::<f64>(&input, "y");
    Case {
        place: place(group),
        energy: published("energy"),
        forces: Some(published("force")),
        losses: vec![Loss {
            weights: [1.0; 2],
            energy: Some(energy.clone()),
            forces: Some(read(&input, "force_target")),
            value: scalar(group, "out/loss_ef"),
            gradients: gradients(group, &parameters),
        }],
        training: Some(Training {
            rate: 5e-4,
            energy,
            losses: read(group, "adam/loss"),
            energies_after: Some(read(group, "adam/energy_after")),
        }),
        config,
        parameters,
        atoms,
        edges,
        bonds: Vec::new(),
    }
}

/// The forces that are the gradient of the energy, where those of the released code are not: the
/// mended network has them.
fn full_forces(group: &Group, network: &str) -> Option<Case> {
    group.dataset("out/force_full").ok()?;
    let mut case = whole_case(group, network);
    let mut config = serde_json::to_value(&case.config).unwrap();
    config["variant"] = "mended".into();
    Some(Case {
        place: format!("{} mended", case.place),
        config: serde_json::from_value(config).unwrap(),
        forces: case.forces.take().map(|forces| Published {
            double: read(group, "out/force_full"),
            single: forces.single.map(|single| {
                // The errors of the released forces in single precision.
                let full = read::<f64>(group, "out/force_full");
                let errors = single.iter().zip(&forces.double).map(|(a, b)| a - b);
                full.iter().zip(errors).map(|(f, e)| f + e).collect()
            }),
        }),
        losses: Vec::new(),
        training: None,
        ..case
    })
}

fn degenerate(group: &Group, small: &Group, network: &str) -> Case {
    let config = config(small, network);
    let atoms = atoms(group);
    let published = |name: &str| Published {
        double: read(group, name),
        single: None,
    };
    Case {
        place: place(group),
        parameters: parameters(small, &config),
        edges: atoms.edges(cutoff(small)),
        bonds: Vec::new(),
        config,
        atoms,
        energy: published("energy"),
        forces: Some(published("force")),
        losses: Vec::new(),
        training: None,
    }
}

fn atoms(group: &Group) -> Atoms {
    let species = read::<i32>(group, "z");
    let graph_of = match group.dataset("batch") {
        Ok(batch) => batch.read_raw::<i32>().unwrap(),
        Err(_) => vec![0; species.len()],
    };
    Atoms {
        numbers: species.iter().map(|&z| z as u8 + 1).collect(),
        positions: read::<f64>(group, "pos").as_chunks().0.to_vec(),
        graph_of: graph_of.iter().map(|&g| g as u32).collect(),
    }
}

/// Å; without end where all atoms of a molecule are neighbors.
fn cutoff(group: &Group) -> f64 {
    let config = parsed(group, "config");
    match config["graph"] == "full" {
        true => f64::INFINITY,
        false => config["cutoff"].as_f64().unwrap(),
    }
}

/// All pairs within the cutoff, which are the file's.
fn edges(group: &Group, atoms: &Atoms) -> Edges {
    let edges = atoms.edges(cutoff(group));
    let pairs = |receivers: &[i32], senders: &[i32]| {
        let pairs = receivers
            .iter()
            .zip(senders)
            .map(|(&i, &j)| (i as u32, j as u32));
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable();
        pairs
    };
    let published = match group.dataset("index/edge_index") {
        Ok(edges) => {
            let edges = edges.read_raw::<i32>().unwrap();
            let (first, second) = edges.split_at(edges.len() / 2);
            pairs(second, first)
        }
        Err(_) => pairs(&read(group, "index/id_a"), &read(group, "index/id_c")),
    };
    let own: Vec<_> = edges[0].iter().copied().zip(edges[1].clone()).collect();
    assert_eq!(own, published, "{}: edges", place(group));
    edges
}

/// The uniform number in [-1, 1) of an element of a tensor.
fn uniform(seed: u64, tensor: u64, element: u64) -> f64 {
    let key = (seed << 48)
        .wrapping_add(tensor << 32)
        .wrapping_add(element);
    let mut z = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    2.0 * (z >> 11) as f64 * 2f64.powi(-53) - 1.0
}

fn seed(group: &Group) -> u64 {
    group.attr("seed").unwrap().read_scalar::<i64>().unwrap() as u64
}

/// The parameters by the files' rule; shapes are those of the network with these settings.
fn parameters(group: &Group, config: &GraphConfig) -> Vec<Values> {
    let model = GraphModel::new(config, 0, DType::F64, &Device::Cpu).unwrap();
    let entries = model.parameters().entries();
    let order: Vec<String> = serde_json::from_value(parsed(group, "param_order")).unwrap();
    let gain = parsed(group, "config")["gain"].as_f64().unwrap_or(1.0);
    let elements = model.encoder().elements();
    let painn = text(group, "model") == "painn";
    let drawn = |(t, name): (u64, String)| {
        let entry = entries.iter().find(|entry| entry.name == name);
        let entry = entry.unwrap_or_else(|| panic!("{}: no parameter {name}", place(group)));
        let u = |i: usize| uniform(seed(group), t, i as u64);
        let mut values: Vec<_> = (0..entry.len())
            .map(|i| value(entry, i, u(i), gain, elements))
            .collect();
        if painn && name == "model.embedding.weight" {
            values[..entry.shape[1]].fill(0.0);
        }
        if let Ok(stored) = group.dataset(&format!("param/{name}")) {
            let stored = stored.read_raw::<f64>().unwrap();
            let differences = values.iter().zip(&stored).map(|(a, b)| (a - b).abs());
            assert!(differences.fold(0.0, f64::max) < 1e-14, "{name}");
            values = stored;
        }
        Values { name, values }
    };
    (0..).zip(order).map(drawn).collect()
}

/// Element `i` of a parameter, of the uniform number `u`.
fn value(entry: &Entry, i: usize, u: f64, gain: f64, elements: usize) -> f64 {
    let last = |ends: &[&str]| ends.iter().any(|end| entry.name.ends_with(end));
    if last(&[".freq", ".frequencies"]) {
        return (i + 1) as f64 * std::f64::consts::PI * (1.0 + 0.01 * u);
    }
    if last(&[".scale_factor"]) {
        return 1.0 + 0.3 * u;
    }
    match *entry.shape {
        [rows, _] if rows == elements && entry.name.contains("emb") => 3f64.sqrt() * u,
        [_] => 0.1 * u,
        [_, inputs] => gain * u * (3.0 / inputs as f64).sqrt(),
        [a, b, _] => u * (3.0 / (a * b) as f64).sqrt(),
        ref shape => panic!("{}: no rule for a shape {shape:?}", entry.name),
    }
}

fn gradients(group: &Group, parameters: &[Values]) -> Gradients {
    if group.group("grad").is_err() {
        let key = seed(group) + 77;
        return Gradients::Products {
            norms: read(group, "out/grad_norm"),
            dots: read(group, "out/grad_dot"),
            rule: Box::new(move |t, i| uniform(key, t, i)),
        };
    }
    let of = |p: &Values| Values {
        name: p.name.clone(),
        values: read(group, &format!("grad/{}", p.name)),
    };
    Gradients::Elements(parameters.iter().map(of).collect())
}
