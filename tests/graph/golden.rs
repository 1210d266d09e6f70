//! Golden files of the released networks: settings, parameters and batches.
//!
//! A file is a network with a group for each of several sizes; everything is f64, settings are
//! attributes. Parameters follow a rule, so that they need not be stored.

use crate::numbers::values;
use candle_core::{DType, Device, Tensor};
use hdf5::types::VarLenUnicode;
use hdf5::{File, Group, H5Type};
use holosig::models::graph::{Batch, GraphConfig, GraphModel, Parts};
use holosig::models::{Entry, Model};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The networks that there are files of.
pub const NETWORKS: [&str; 2] = ["schnet", "painn"];

/// Files of a network: the small one of the repository, and the full one where the environment
/// says where it is.
pub fn files(network: &str) -> Vec<File> {
    let own = format!(
        "{}/tests/fixtures/graph_{network}.h5",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut paths = vec![PathBuf::from(own)];
    if let Some(folder) = std::env::var_os("HOLOSIG_GOLDEN") {
        let folder = PathBuf::from(folder);
        let name = format!("{network}.h5");
        paths.extend([folder.join("geom3d").join(&name), folder.join(&name)]);
        paths.retain(|path| path.exists());
    }
    let open = |path: &PathBuf| File::open(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    paths.iter().map(open).collect()
}

/// A group that has settings of its own.
pub fn groups(file: &File) -> Vec<Group> {
    let groups = file.groups().unwrap();
    groups
        .into_iter()
        .filter(|g| g.attr("config").is_ok())
        .collect()
}

pub fn read<T: H5Type>(group: &Group, name: &str) -> Vec<T> {
    let dataset = group.dataset(name);
    let values = dataset.and_then(|d| d.read_raw());
    values.unwrap_or_else(|e| panic!("{}/{name}: {e}", group.name()))
}

pub fn tensor(group: &Group, name: &str, dtype: DType) -> Tensor {
    let shape = group.dataset(name).unwrap().shape();
    let values = read::<f64>(group, name);
    Tensor::from_vec(values, shape, &Device::Cpu)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

fn text(group: &Group, name: &str) -> String {
    let value = group.attr(name).unwrap().read_scalar::<VarLenUnicode>();
    value.unwrap().as_str().to_string()
}

fn parsed(group: &Group, name: &str) -> Value {
    serde_json::from_str(&text(group, name)).unwrap()
}

/// Names of the parameters in the file's order.
pub fn order(group: &Group) -> Vec<String> {
    serde_json::from_value(parsed(group, "param_order")).unwrap()
}

/// The released network with the settings of a group.
pub fn config(group: &Group) -> GraphConfig {
    let c = parsed(group, "config");
    let network = text(group, "model");
    let mut config = json!({
        "network": network,
        "width": c["emb"],
        "layers": c["layers"],
        "cutoff": c["cutoff"],
        "elements": c["node_class"],
    });
    let more = match network.as_str() {
        "schnet" => json!({
            "filters": c["num_filters"],
            "radial": c["num_gaussians"],
            "head": { "readout": "mean", "of": "graph" },
        }),
        "painn" => json!({
            "radial": c["n_rbf"],
            "hydrogen_is_padding": true,
            "head": { "readout": "sum", "of": "graph", "hidden": true },
        }),
        other => panic!("no settings for {other}"),
    };
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// The uniform number in [-1, 1) of an element of a tensor.
pub fn uniform(seed: u64, tensor: u64, element: u64) -> f64 {
    let key = (seed << 48)
        .wrapping_add(tensor << 32)
        .wrapping_add(element);
    let mut z = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    2.0 * (z >> 11) as f64 * 2f64.powi(-53) - 1.0
}

pub fn seed(group: &Group) -> u64 {
    group.attr("seed").unwrap().read_scalar::<i64>().unwrap() as u64
}

/// The group's model with the file's parameters.
pub fn model(group: &Group, dtype: DType) -> GraphModel {
    let model = GraphModel::new(&config(group), 0, dtype, &Device::Cpu).unwrap();
    let gain = parsed(group, "config")["gain"].as_f64().unwrap_or(1.0);
    let painn = text(group, "model") == "painn";
    let seed = seed(group);
    let mut flat = Vec::new();
    for (t, entry) in model.parameters().entries().iter().enumerate() {
        let width = entry.shape.last().copied().unwrap_or(1);
        for i in 0..entry.len() {
            let u = uniform(seed, t as u64, i as u64);
            flat.push(match entry.shape.len() {
                _ if entry.name == "model.embedding.weight" => match painn && i < width {
                    true => 0.0,
                    false => 3f64.sqrt() * u,
                },
                1 => 0.1 * u,
                _ => gain * u * (3.0 / width as f64).sqrt(),
            });
        }
        if let Ok(stored) = group.dataset(&format!("param/{}", entry.name)) {
            let stored = stored.read_raw::<f64>().unwrap();
            let own = &flat[flat.len() - stored.len()..];
            let largest = own.iter().zip(&stored).map(|(a, b)| (a - b).abs());
            assert!(largest.fold(0.0, f64::max) < 1e-15, "{}", entry.name);
        }
    }
    set_parameters(&model, &flat);
    model
}

/// The gradient of a scalar by each parameter, in f64.
pub fn gradient(model: &GraphModel, scalar: &Tensor) -> Vec<Vec<f64>> {
    let p = model.parameters();
    let flat = p.exact_gradient(scalar).unwrap();
    let of = |e: &Entry| flat[e.offset..e.offset + e.len()].to_vec();
    p.entries().iter().map(of).collect()
}

/// All parameters in flat order.
pub fn parameters(model: &GraphModel) -> Vec<f64> {
    model.parameters().variables().flat_map(values).collect()
}

/// Replaces all parameters.
pub fn set_parameters(model: &GraphModel, flat: &[f64]) {
    let mut rest = flat;
    for variable in model.parameters().variables() {
        let (own, others) = rest.split_at(variable.elem_count());
        let own = Tensor::new(own, &Device::Cpu).unwrap();
        let own = own.to_dtype(variable.dtype()).unwrap();
        variable.slice_set(&own, 0, 0).unwrap();
        rest = others;
    }
    assert!(rest.is_empty());
}

/// Atoms and edges of a batch.
pub struct Atoms {
    pub numbers: Vec<u8>,
    pub positions: Vec<[f64; 3]>,
    pub graph_of: Vec<u32>,
}

impl Atoms {
    pub fn new(species: &[i32], positions: &[f64], graph_of: &[i32]) -> Self {
        Self {
            numbers: species.iter().map(|&z| z as u8 + 1).collect(),
            positions: positions.as_chunks().0.to_vec(),
            graph_of: graph_of.iter().map(|&g| g as u32).collect(),
        }
    }

    /// Of a golden group, or of a part of one.
    pub fn of(group: &Group) -> Self {
        let read_f64 = |name| read::<f64>(group, name);
        Self::new(
            &read::<i32>(group, "z"),
            &read_f64("pos"),
            &match group.dataset("batch") {
                Ok(batch) => batch.read_raw::<i32>().unwrap(),
                Err(_) => vec![0; group.dataset("z").unwrap().size()],
            },
        )
    }

    /// All pairs within a cutoff, by comparing everybody with everybody.
    pub fn edges(&self, cutoff: f64) -> [Vec<u32>; 2] {
        let mut edges = [Vec::new(), Vec::new()];
        for i in 0..self.numbers.len() {
            for j in 0..self.numbers.len() {
                let squares = (0..3).map(|k| (self.positions[i][k] - self.positions[j][k]).powi(2));
                let near = squares.sum::<f64>() < cutoff * cutoff;
                if i != j && near && self.graph_of[i] == self.graph_of[j] {
                    edges[0].push(i as u32);
                    edges[1].push(j as u32);
                }
            }
        }
        edges
    }

    pub fn batch(&self, cutoff: f64, dtype: DType) -> Batch {
        let [receivers, senders] = self.edges(cutoff);
        let parts = Parts {
            numbers: &self.numbers,
            positions: &self.positions,
            receivers: &receivers,
            senders: &senders,
            shifts: &vec![[0.0; 3]; receivers.len()],
            graph_of: &self.graph_of,
            graphs: self.graph_of.iter().max().map_or(0, |&g| g as usize + 1),
        };
        Batch::new(parts, dtype, &Device::Cpu).unwrap()
    }
}
