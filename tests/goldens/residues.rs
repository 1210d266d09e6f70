//! Files of the networks of residues: every group has chains, parameters, predictions, gradients of
//! the cross entropy of classes, and losses of training; those with batch norms are in evaluation or
//! in training. Groups of GearNet that begin with `ieconv_layer` are that layer alone.

use crate::case::{Adam, Published, Values, check, take};
use crate::file::{parsed, place, read, scalar};
use crate::graphs::gradient;
use crate::numbers::values;
use crate::{Cases, Family, Golden};
use candle_core::{DType, Device, Tensor};
use hdf5::{File, Group};
use holosig::data::chains::Chain;
use holosig::models::layers::{Mode, Pass};
use holosig::models::residues::ieconv::{IeConv, IeConvWidths};
use holosig::models::residues::{Batch, Network, Objective, ResidueModel};
use holosig::models::{Losses, Model, Parameters, ParametersBuilder, StepKey};
use holosig::ops::segment::{Ends, Incidence};
use serde_json::{Value, json};
use std::sync::Arc;

pub const FAMILY: Family = Family {
    networks: &["cdconv", "gearnet", "gvp", "pronet"],
    cases,
};

fn cases(file: &File, network: &str) -> Cases {
    let groups = file.groups().unwrap();
    let whole = groups.iter().filter(|g| g.attr("config").is_ok());
    let case = |group: &Group| -> Box<dyn Golden> {
        match group.group("in").unwrap().dataset("edge_attr") {
            Ok(_) => Box::new(Layer(Shared::new(group))),
            Err(_) => Box::new(Case::new(group, network)),
        }
    };
    whole.map(case).collect()
}

/// The settings of a network in a file.
fn network(name: &str, c: &Value) -> Network {
    let mut settings = match name {
        "gvp" => json!({
            "scalars": c["node_dims"][0], "vectors": c["node_dims"][1],
            "edge_scalars": c["edge_dims"][0], "layers": c["n_layers"], "radial": c["num_rbf"],
            "cutoff": c["cutoff"],
        }),
        "gearnet" => json!({
            "hidden": c["hidden_dims"], "batch_norm": c["batch_norm"], "shortcut": c["short_cut"],
            "concatenate": c["concat_hidden"], "readout": c["readout"],
        }),
        "pronet" => json!({
            "level": c["level"], "width": c["hidden_channels"], "middle": c["mid_emb"],
            "layers": c["num_blocks"], "radial": c["num_radial"], "degrees": c["num_spherical"],
            "cutoff": c["cutoff"], "joint_layers": c["int_emb_layers"],
            "out_layers": c["out_layers"], "positions": c["num_pos_emb"], "variant": "published",
        }),
        "cdconv" => json!({
            "radii": c["geometric_radii"], "channels": c["channels"],
            "steps": c["sequential_kernel_size"], "kernel": c["kernel_channels"],
            "base": c["base_width"], "embedding": c["embedding_dim"],
        }),
        other => panic!("no settings for {other}"),
    };
    // The files' networks drop nothing out, in training either.
    if name != "gearnet" {
        settings["dropout"] = 0.0.into();
    }
    settings["network"] = name.into();
    serde_json::from_value(settings).unwrap()
}

/// What the files have of a network and of a layer alike.
struct Shared {
    place: String,
    config: Value,
    training: bool,
    parameters: Vec<Values>,
    buffers: Vec<Values>,
    gradients: Vec<Values>,
    predicted: Published,
    loss: f64,
    rate: f64,
    losses: Vec<f64>,
    /// The inputs.
    input: Group,
}

/// Datasets of a folder, of numbers that are not counters.
fn folder(group: &Group, name: &str) -> Vec<Values> {
    let Ok(folder) = group.group(name) else {
        return Vec::new();
    };
    let names = folder.member_names().unwrap();
    let own = names
        .into_iter()
        .filter(|n| !n.ends_with("num_batches_tracked"));
    let of = |name: String| Values {
        values: read(&folder, &name),
        name,
    };
    own.map(of).collect()
}

impl Shared {
    fn new(group: &Group) -> Self {
        let config = parsed(group, "config");
        let mode = config["mode"].as_str().unwrap_or("eval");
        Self {
            place: place(group),
            training: mode.starts_with("train") || group.name().ends_with("train"),
            parameters: folder(group, "param"),
            buffers: folder(group, "buffer"),
            gradients: folder(group, "grad"),
            predicted: Published {
                double: read(group, "out/pred"),
                single: Some(read(group, "f32/pred")),
            },
            loss: scalar(group, "out/loss"),
            rate: group.attr("adam_lr").unwrap().read_scalar().unwrap(),
            losses: read(group, "adam/losses"),
            input: group.group("in").unwrap(),
            config,
        }
    }

    fn numbers<T: From<u8> + TryFrom<i64>>(&self, name: &str) -> Vec<T> {
        let all = read::<i64>(&self.input, name).into_iter();
        all.map(|v| T::try_from(v).ok().unwrap()).collect()
    }

    fn points(&self, name: &str) -> Vec<[f64; 3]> {
        read::<f64>(&self.input, name).as_chunks().0.to_vec()
    }

    fn mode(&self, p: &Parameters) -> Mode {
        if self.training {
            return Mode::Train(None);
        }
        let of = |name: &String| {
            let found = self.buffers.iter().find(|b| b.name == *name);
            found
                .unwrap_or_else(|| panic!("{}: no buffer {name}", self.place))
                .values
                .clone()
        };
        let all: Vec<f64> = p
            .buffer_entries()
            .iter()
            .flat_map(|e| of(&e.name))
            .collect();
        assert_eq!(
            all.len(),
            self.buffers.iter().map(|b| b.values.len()).sum::<usize>()
        );
        let len = all.len();
        Mode::Evaluate(Tensor::from_vec(all, len, &Device::Cpu).unwrap())
    }

    /// Predictions, the loss and its gradients of a model that says what it makes of its parameters.
    fn check<M: Model>(&self, model: &M, run: &dyn Fn(&M) -> [Tensor; 2], tolerance: f64) {
        let dtype = model.parameters().dtype();
        let what = |part: &str| format!("{} {dtype:?} {part}", self.place);
        take(model, &self.parameters, &self.place);
        let [predicted, loss] = run(model);
        let tolerance = self.predicted.tolerance(dtype, tolerance);
        check(
            &values(&predicted),
            &self.predicted.double,
            tolerance,
            &what("prediction"),
        );
        check(&values(&loss), &[self.loss], tolerance, &what("loss"));
        let gradients = gradient(model, &loss);
        let entries = model.parameters().entries();
        assert_eq!(entries.len(), self.gradients.len());
        // What cancels exactly in one order of sums leaves rounding in another.
        let largest = self
            .gradients
            .iter()
            .flat_map(|g| &g.values)
            .fold(0f64, |m, v| m.max(v.abs()));
        for (entry, own) in entries.iter().zip(&gradients) {
            let published = self
                .gradients
                .iter()
                .find(|g| g.name == entry.name)
                .unwrap();
            let what = what(&format!("gradient of {}", entry.name));
            let of = published.values.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
            let tolerance = 10.0 * tolerance * (largest / of).clamp(1.0, 100.0);
            check(own, &published.values, tolerance, &what);
        }
    }

    fn check_steps<M: Model>(&self, model: &M, run: &dyn Fn(&M) -> [Tensor; 2]) {
        take(model, &self.parameters, &self.place);
        let mut adam = Adam::new(model, self.rate);
        let mut losses = Vec::new();
        for _ in &self.losses {
            let [_, loss] = run(model);
            losses.extend(values(&loss));
            adam.step(model, &gradient(model, &loss).concat());
        }
        check(
            &losses,
            &self.losses,
            1e-9,
            &format!("{} losses of training", self.place),
        );
    }
}

/// A network.
struct Case {
    shared: Shared,
    network: Network,
    name: String,
    chains: Vec<Chain>,
}

impl Case {
    fn new(group: &Group, name: &str) -> Self {
        let shared = Shared::new(group);
        let chains = match name {
            "gvp" => backbones(&shared),
            _ => residues(&shared, if name == "gearnet" { "aa" } else { "x" }),
        };
        Self {
            network: network(name, &shared.config),
            name: name.into(),
            chains,
            shared,
        }
    }

    fn model(&self, dtype: DType) -> ResidueModel {
        let count = |key: &str| self.shared.config[key].as_u64();
        let classes = ["out_channels", "classes", "num_classes"]
            .into_iter()
            .find_map(count);
        let objective = Objective::Class(classes.unwrap() as usize);
        ResidueModel::new(&self.network, objective, 0, dtype, &Device::Cpu).unwrap()
    }

    fn batch(&self, model: &ResidueModel) -> Batch {
        let mut batch = model.batch(&self.chains).unwrap();
        self.check_edges(&batch);
        let classes = self.shared.numbers::<u32>("target");
        batch.targets = Some(Tensor::new(classes, &Device::Cpu).unwrap());
        batch
    }

    /// The edges are those of the file.
    fn check_edges(&self, batch: &Batch) {
        let edges = &batch.levels[0].edges;
        let mut published: Vec<(u32, u32)> = match self.name.as_str() {
            "gearnet" => {
                let all = self.shared.numbers::<u32>("edge_list");
                let (rows, _) = all.as_chunks::<3>();
                rows.iter()
                    .map(|[from, to, relation]| (7 * to + relation, *from))
                    .collect()
            }
            "cdconv" => return,
            _ => {
                let all = self.shared.numbers::<u32>("edge_index");
                let (senders, receivers) = all.split_at(all.len() / 2);
                receivers
                    .iter()
                    .copied()
                    .zip(senders.iter().copied())
                    .collect()
            }
        };
        published.sort_unstable();
        let own = edges
            .receivers()
            .iter()
            .copied()
            .zip(edges.senders().iter().copied());
        assert!(own.eq(published), "{}: edges", self.shared.place);
    }

    fn run(&self, model: &ResidueModel) -> [Tensor; 2] {
        let batch = self.batch(model);
        let mode = self.shared.mode(model.parameters());
        let logits = model.logits(&batch, mode.clone()).unwrap();
        let losses = model.losses_in(&batch, mode).unwrap();
        [logits, losses.terms[0].1.clone()]
    }
}

/// Number of rows of each chain.
fn sizes(shared: &Shared) -> Vec<usize> {
    let of = shared.numbers::<u32>("batch");
    of.chunk_by(|a, b| a == b).map(<[u32]>::len).collect()
}

/// Chains whose atoms stand one kind after another: CA, N, C.
fn backbones(shared: &Shared) -> Vec<Chain> {
    let mut at = &shared.points("pos")[..];
    let mut chains = Vec::new();
    for size in sizes(shared) {
        let (own, rest) = at.split_at(size);
        at = rest;
        let n = size / 3;
        let backbone = (0..n)
            .map(|k| [own[n + k], own[k], own[2 * n + k]])
            .collect();
        chains.push(Chain::new(vec![0; n], backbone, vec![[0.0; 8]; n]));
    }
    chains
}

/// Chains residue by residue; what a file does not have is at the alpha carbons, or zero.
fn residues(shared: &Shared, kinds: &str) -> Vec<Chain> {
    let has = |name: &str| shared.input.dataset(name).is_ok();
    let carbons = shared.points("pos");
    let or_carbons = |name| {
        if has(name) {
            shared.points(name)
        } else {
            carbons.clone()
        }
    };
    let (nitrogens, ends) = (or_carbons("pos_n"), or_carbons("pos_c"));
    let kinds = shared.numbers::<u8>(kinds);
    let mut first = 0;
    let mut chains = Vec::new();
    for n in sizes(shared) {
        let own = first..first + n;
        first = own.end;
        let backbone = own
            .clone()
            .map(|k| [nitrogens[k], carbons[k], ends[k]])
            .collect();
        let side = match has("side") {
            true => read::<f64>(&shared.input, "side").as_chunks().0[own.clone()].to_vec(),
            false => vec![[0.0; 8]; n],
        };
        let chain = Chain::new(kinds[own.clone()].to_vec(), backbone, side);
        if has("bb") {
            let published = read::<f64>(&shared.input, "bb");
            let published = &published.as_chunks::<6>().0[own];
            let torsions = chain.torsions.as_flattened();
            check(
                torsions,
                published.as_flattened(),
                1e-12,
                &format!("{} torsions", shared.place),
            );
        }
        chains.push(chain);
    }
    chains
}

impl Golden for Case {
    fn check(&self, dtype: DType, tolerance: f64) {
        let run = |model: &ResidueModel| self.run(model);
        self.shared.check(&self.model(dtype), &run, tolerance);
    }

    fn check_training(&self) {
        let run = |model: &ResidueModel| self.run(model);
        self.shared.check_steps(&self.model(DType::F64), &run);
    }
}

/// The layer of IEConv, with a squared error.
struct Layer(Shared);

/// The layer and its parameters.
struct LayerModel {
    layer: IeConv,
    parameters: Parameters,
}

impl Model for LayerModel {
    type Batch = ();

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, (): &(), _: StepKey) -> holosig::Result<Losses> {
        unreachable!("the test has a loss of its own")
    }

    fn metrics(&self, (): &()) -> holosig::Result<Vec<(&'static str, Vec<f64>)>> {
        unreachable!("the test has a loss of its own")
    }
}

impl Layer {
    fn model(&self, dtype: DType) -> LayerModel {
        let size = |key: &str| self.0.config[key].as_u64().unwrap() as usize;
        let widths = IeConvWidths {
            input: size("input_dim"),
            hidden: size("hidden_dim"),
            output: size("output_dim"),
            edges: size("edge_input_dim"),
            kernel: size("kernel_hidden_dim"),
        };
        let mut builder = ParametersBuilder::default();
        let layer = IeConv::new(&mut builder.root().scope("layer"), widths, 0.0);
        LayerModel {
            layer,
            parameters: builder.build(0, dtype, &Device::Cpu, 0.1).unwrap(),
        }
    }

    fn run(&self, model: &LayerModel) -> [Tensor; 2] {
        let p = &model.parameters;
        let matrix = |name: &str| {
            let shape = self.0.input.dataset(name).unwrap().shape();
            let values = read::<f64>(&self.0.input, name);
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            tensor.to_dtype(p.dtype()).unwrap()
        };
        let (x, all) = (matrix("x"), self.0.numbers::<u32>("edge_list"));
        let rows = x.dim(0).unwrap();
        let (edges, _) = all.as_chunks::<3>();
        let mut order: Vec<usize> = (0..edges.len()).collect();
        order.sort_by_key(|&e| edges[e][1]);
        let end = |k: usize| order.iter().map(|&e| edges[e][k]).collect::<Vec<u32>>();
        let ends = |rows_of, count| Ends {
            rows: rows_of,
            count,
        };
        let (receivers, senders) = (end(1), end(0));
        let incidence = Incidence::new(ends(&receivers, rows), ends(&senders, rows)).unwrap();
        let order: Vec<u32> = order.iter().map(|&e| e as u32).collect();
        let order = Tensor::new(order, &Device::Cpu).unwrap();
        let features = matrix("edge_attr").index_select(&order, 0).unwrap();
        let nodes: Arc<Incidence> = Incidence::groups(ends(&vec![0; rows], 1)).unwrap();
        let pass = Pass::new(p, self.0.mode(p), &[0]);
        let out = model
            .layer
            .forward(&x, &incidence, &features, &nodes, &pass)
            .unwrap();
        let loss = (&out - matrix("target"))
            .unwrap()
            .sqr()
            .unwrap()
            .mean_all()
            .unwrap();
        [out, loss]
    }
}

impl Golden for Layer {
    fn check(&self, dtype: DType, tolerance: f64) {
        let run = |model: &LayerModel| self.run(model);
        self.0.check(&self.model(dtype), &run, tolerance);
    }

    fn check_training(&self) {
        let run = |model: &LayerModel| self.run(model);
        self.0.check_steps(&self.model(DType::F64), &run);
    }
}
