//! Files of the spherical networks: every group has inputs, parameters, predictions, gradients of
//! the mean squared error of energies, and losses of training; some have a loss of energies and
//! forces too.

use crate::case::{Case, Gradients, Loss, Published, Training, Values};
use crate::file::{parsed, place, read, scalar};
use crate::graphs::{Atoms, Edges};
use crate::{Cases, Family, Golden};
use candle_core::{DType, Device};
use hdf5::{File, Group};
use holosig::models::Model;
use holosig::models::graph::{GraphConfig, GraphModel};
use serde_json::{Value, json};

pub const FAMILY: Family = Family {
    networks: &[
        "nequip",
        "allegro",
        "equiformer",
        "segnn",
        "tfn",
        "se3_transformer",
    ],
    cases,
};

/// The settings of a network in a file.
fn settings(network: &str, c: &Value) -> Value {
    match network {
        "nequip" => json!({
            "width": c["num_features"], "layers": c["num_layers"], "lmax": c["l_max"],
            "radial": c["num_basis"], "radial_width": c["invariant_neurons"],
            "radial_layers": c["invariant_layers"], "cutoff": c["r_max"],
            "envelope": { "polynomial": c["p"] },
        }),
        "allegro" => json!({
            "width": c["mlp_latent_dimensions"][0], "channels": c["env_embed_multiplicity"],
            "layers": c["num_layers"], "lmax": c["l_max"], "radial": c["num_basis"],
            "cutoff": c["r_max"], "envelope": { "polynomial": c["p"] },
        }),
        "equiformer" => json!({
            "width": channels(&c["irreps_node_embedding"]), "layers": c["num_layers"],
            "heads": c["num_heads"], "head_width": channels(&c["irreps_head"]),
            "hidden": channels(&c["irreps_mlp_mid"]),
            "features": channels(&c["irreps_feature"])[0],
            "radial": c["number_of_basis"], "radial_widths": c["fc_neurons"],
            "basis": match c["basis_type"].as_str() {
                Some("exp") => "exponential",
                other => other.unwrap(),
            },
            "nonlinear": c["nonlinear_message"], "cutoff": c["max_radius"],
            "elements": c["node_class"],
        }),
        "segnn" => json!({
            "width": c["hidden_features"], "layers": c["N"], "lmax": c["lmax_h"],
            "lmax_attributes": c["lmax_pos"], "attention": c["edge_inference"] == 1,
            "cutoff": c["radius"], "elements": c["input_features"],
            "head": {
                "of": "graph", "hidden": "full",
                "readout": readout(&c["pool"]),
            },
        }),
        "tfn" | "se3_transformer" => {
            let channels = c["num_channels"].as_u64().unwrap();
            let mut settings = json!({
                "width": channels, "layers": c["num_layers"],
                "lmax": c["num_degrees"].as_u64().unwrap() - 1, "elements": c["one_hot_classes"],
                "head": {
                    "of": "graph", "hidden": "full", "activation": "relu",
                    "readout": readout(&c["pool"]),
                },
            });
            if network == "tfn" {
                settings["norm_layers"] = c["num_nlayers"].clone();
            } else {
                settings["attention_width"] = (channels / c["div"].as_u64().unwrap()).into();
                settings["heads"] = c["n_heads"].clone();
            }
            settings
        }
        other => panic!("no settings for {other}"),
    }
}

/// The readout that the published code calls so.
fn readout(pool: &Value) -> &'static str {
    match pool.as_str() {
        Some("avg" | "mean") => "mean",
        Some("max") => "max",
        _ => "sum",
    }
}

/// Whether edges are bonds, and parameters have the names and shapes of the model here.
fn on_bonds(network: &str) -> bool {
    matches!(network, "tfn" | "se3_transformer")
}

/// Channels by degree of `8x0e+4x1e`.
fn channels(irreps: &Value) -> Vec<usize> {
    let blocks = irreps.as_str().unwrap().split('+');
    let channels = |block: &str| block.split('x').next().unwrap().parse().unwrap();
    blocks.map(channels).collect()
}

fn cases(file: &File, network: &str) -> Cases {
    let groups = file.groups().unwrap();
    let whole = groups.iter().filter(|g| g.attr("config").is_ok());
    let case = |group| -> Box<dyn Golden> { Box::new(case(group, network)) };
    whole.map(case).collect()
}

fn case(group: &Group, network: &str) -> Case {
    let mut config = settings(network, &parsed(group, "config"));
    config["network"] = network.replace('_', "").into();
    config["variant"] = "published".into();
    config["penalties"] = json!({ "energy": "l2", "forces": "l2" });
    let config: GraphConfig = serde_json::from_value(config).unwrap();
    let published = |name: &str| Published {
        double: read(group, &format!("out/{name}")),
        single: Some(read(group, &format!("f32/{name}"))),
    };
    let target = read::<f64>(group, "in/target");
    let mut losses = vec![Loss {
        weights: [1.0, 0.0],
        energy: Some(target.clone()),
        forces: None,
        value: scalar(group, "out/loss"),
        gradients: Gradients::Elements(values(group, network, "grad")),
    }];
    if group.group("force_loss").is_ok() {
        losses.push(Loss {
            weights: [0.05, 0.95],
            energy: Some(target.clone()),
            forces: Some(vec![0.0; read::<f64>(group, "in/pos").len()]),
            value: scalar(group, "force_loss/loss"),
            gradients: Gradients::Elements(values(group, network, "force_loss/grad")),
        });
    }
    let atoms = atoms(group);
    let (edges, bonds) = match on_bonds(network) {
        true => bonds(group),
        false => (edges(group, network, &atoms), Vec::new()),
    };
    Case {
        place: place(group),
        config,
        parameters: values(group, network, "param"),
        edges,
        bonds,
        atoms,
        energy: published("pred"),
        forces: group
            .dataset("out/forces")
            .is_ok()
            .then(|| published("forces")),
        losses,
        training: Some(Training {
            rate: 1e-3,
            energy: target,
            losses: read(group, "adam/losses"),
            energies_after: None,
        }),
    }
}

/// Parameters, or their gradients, under the names that they have here.
fn values(group: &Group, network: &str, folder: &str) -> Vec<Values> {
    let folder = group.group(folder).unwrap();
    let value = |name: String| {
        let values = read::<f64>(&folder, &name);
        if on_bonds(network) {
            return Values { name, values };
        }
        match of_head(&name) {
            None => Values {
                name: format!("model.{name}"),
                values,
            },
            Some(own) => Values {
                values: match own.ends_with("weight") {
                    true => transposed(&values, read::<f64>(&folder, HEAD_BIAS).len()),
                    false => values,
                },
                name: own.into(),
            },
        }
    };
    folder
        .member_names()
        .unwrap()
        .into_iter()
        .map(value)
        .collect()
}

/// SEGNN's layers after the readout are those of a head, whose weights are `[to, from]`.
const HEAD_BIAS: &str = "head_post_pool_layer_1.biases.0";

fn of_head(name: &str) -> Option<&'static str> {
    match name {
        "head_post_pool_layer_1.tp.weight" => Some("head.0.weight"),
        HEAD_BIAS => Some("head.0.bias"),
        "head_post_pool_layer_2.tp.weight" => Some("head.2.weight"),
        "head_post_pool_layer_2.biases.0" => Some("head.2.bias"),
        _ => None,
    }
}

/// A matrix of `from` rows as one of `from` columns.
fn transposed(values: &[f64], from: usize) -> Vec<f64> {
    let to = values.len() / from;
    (0..values.len())
        .map(|i| values[i % from * to + i / from])
        .collect()
}

fn atoms(group: &Group) -> Atoms {
    let integers = |name: &str| read::<i64>(group, name);
    Atoms {
        numbers: integers("in/x").iter().map(|&z| z as u8 + 1).collect(),
        positions: read::<f64>(group, "in/pos").as_chunks().0.to_vec(),
        graph_of: integers("in/batch").iter().map(|&g| g as u32).collect(),
    }
}

/// The file's edges, sorted by receiver and sender: all pairs within some distance.
fn edges(group: &Group, network: &str, atoms: &Atoms) -> Edges {
    let all = read::<i64>(group, "in/edge_index");
    let (first, second) = all.split_at(all.len() / 2);
    let (receivers, senders) = match network {
        "nequip" | "allegro" => (first, second),
        _ => (second, first),
    };
    let pairs = receivers.iter().zip(senders);
    let mut pairs: Vec<_> = pairs.map(|(&i, &j)| (i as u32, j as u32)).collect();
    pairs.sort_unstable();
    let cutoff = if network == "segnn" { 2.0 } else { 5.0 };
    let own = atoms.edges(cutoff);
    assert!(own[0].iter().copied().zip(own[1].clone()).eq(pairs));
    own
}

/// The file's edges, sorted by receiver and sender, and the orders of their bonds.
fn bonds(group: &Group) -> (Edges, Vec<u8>) {
    let all = read::<i64>(group, "in/edge_index");
    let (senders, receivers) = all.split_at(all.len() / 2);
    let order = |kind: &i64| match kind {
        0..=3 => *kind as u8 + 1,
        _ => 0,
    };
    let orders: Vec<u8> = read::<i64>(group, "in/edge_type")
        .iter()
        .map(order)
        .collect();
    let ends = receivers.iter().zip(senders).zip(orders);
    let mut rows: Vec<_> = ends.map(|((&i, &j), order)| (i, j, order)).collect();
    rows.sort_unstable();
    let receivers = rows.iter().map(|row| row.0 as u32).collect();
    let senders = rows.iter().map(|row| row.1 as u32).collect();
    ([receivers, senders], rows.iter().map(|row| row.2).collect())
}

#[test]
fn released_sizes_have_the_released_numbers_of_parameters() {
    for (settings, count) in [
        (json!({ "network": "nequip" }), 1_402_024),
        (json!({ "network": "allegro" }), 3_285_512),
        (json!({ "network": "equiformer" }), 3_023_107),
        (
            json!({ "network": "equiformer", "nonlinear": true, "basis": "bessel" }),
            3_546_177,
        ),
        (json!({ "network": "segnn" }), 1_070_081),
        (json!({ "network": "segnn", "width": 300 }), 5_744_353),
        (
            json!({ "network": "segnn", "layers": 2, "lmax": 7 }),
            383_532,
        ),
        (json!({ "network": "tfn" }), 8_660_992 + 16_641),
        (json!({ "network": "se3transformer" }), 10_124_416 + 16_641),
    ] {
        let mut settings = settings;
        settings["variant"] = "published".into();
        let config: GraphConfig = serde_json::from_value(settings.clone()).unwrap();
        let model = GraphModel::new(&config, 0, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(model.parameters().len(), count, "{settings}");
    }
}
