//! Losses of pretraining against those of the released code, with its random draws in the place of
//! our own: every group of a file `pretraining`.
//!
//! What a network says is stored too, and is a parameter here, so that gradients by it can be
//! compared with the stored ones.

mod case;

use crate::file::{self, place, read, text};
use crate::numbers::values;
use candle_core::{DType, Device, Tensor};
use hdf5::File;
use holosig::models::graph::Variant;
use holosig::models::layers::{Mode, Pass};
use holosig::models::pretrain as pre;
use holosig::models::pretrain::generative::{Decoder, Measure, Variational};
use holosig::models::pretrain::{Batch, Draws, ObjectiveConfig};
use holosig::models::{ParametersBuilder, Scope};
use std::cell::RefCell;

pub const FILE: &str = "pretraining";

use case::{Case, Made, shape};

/// Compares a group by its name; false for a group of no loss.
fn group(case: &mut Case) -> bool {
    let name = case.group.name().trim_start_matches('/').to_string();
    let normalize = name.ends_with("_normalized");
    let published = Variant::Published;
    match name.trim_end_matches("_normalized") {
        "batch" => return false,
        "atom_type" => {
            let config = pre::AtomTypeConfig {
                variant: published,
                ..Default::default()
            };
            case.objective(
                &config,
                [&["node_repr"], &[]],
                case.draws(&["masked", "target"]),
            );
        }
        "distance" => {
            let draws = case.draws(&["pairs", "distance"]);
            case.objective(
                &pre::DistanceConfig::default(),
                [&["node_repr"], &[]],
                draws,
            );
        }
        "angle" => {
            let (triples, at) = (case.integers("triples").0, case.positions("pos"));
            let count = triples.len() / 3;
            let angle = |t: usize| {
                let atoms = [0, 1, 2].map(|k| at[triples[k * count + t] as usize]);
                pre::angle(atoms, published)
            };
            let own: Vec<f64> = (0..count).map(angle).collect();
            case.compare(&own, &read(&case.group, "angle"), "angles");
            let config = pre::AngleConfig::default();
            case.objective(
                &config,
                [&["node_repr"], &[]],
                case.draws(&["triples", "angle"]),
            );
        }
        "infograph3d" => {
            let config = pre::InfoGraphConfig::default();
            case.objective(&config, [&["node_repr"], &["mol_repr"]], case.draws(&[]));
        }
        "geossl_rr" => {
            let config = pre::RelationConfig {
                normalize,
                ..Default::default()
            };
            case.objective(&config, [&[], &["X", "Y"]], case.draws(&[]));
        }
        "geossl_infonce" => {
            let config = pre::InfoNceConfig {
                normalize,
                ..Default::default()
            };
            case.objective(&config, [&[], &["X", "Y"]], case.draws(&[]));
        }
        "geossl_ebm_nce" => {
            let config = pre::EbmNceConfig {
                normalize,
                ..Default::default()
            };
            case.objective(&config, [&[], &["X", "Y"]], case.draws(&[]));
        }
        other => match other.split('_').next().unwrap() {
            "geossl" => ddm(case, other),
            "ddm" => position_noise(case),
            "emgp" => emgp(case, other),
            "graphmvp" => graphmvp(case, other),
            "infomax3d" => infomax(case),
            "gin" => gin(case),
            "moleculesde" => molecule_sde(case, other),
            _ => panic!("{}: no objective {name}", place(&case.group)),
        },
    }
    true
}

fn ddm(case: &Case, name: &str) {
    let anneal = name.rsplit("power").next().unwrap().parse().unwrap();
    let mut draws = case.draws(&["pairs"]);
    let (pairs, graph_of) = (case.integers("pairs").0, case.graph_of());
    let (u, v) = pairs.split_at(pairs.len() / 2);
    let graphs: Vec<u32> = u.iter().map(|&i| graph_of[i as usize]).collect();
    draws.put("pair_graph", Tensor::new(&*graphs, &Device::Cpu).unwrap());
    let clean = case.positions("pos");
    let noise = case.positions("position_noise");
    let moved: Vec<[f64; 3]> = clean
        .iter()
        .zip(noise)
        .map(|(r, step)| std::array::from_fn(|k| r[k] + step[k]))
        .collect();
    for (k, positions) in [(1, &moved), (2, &clean)] {
        let sigmas = read::<f64>(&case.group, &format!("net_{k}/sigmas"));
        let levels = case.integers(&format!("level_{k}")).0;
        let chosen: Vec<f64> = levels.iter().map(|&l| sigmas[l as usize]).collect();
        let distance = |(&i, &j): (&u32, &u32)| {
            let (a, b) = (positions[i as usize], positions[j as usize]);
            (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
        };
        let distances: Vec<f64> = u.iter().zip(v).map(distance).collect();
        let own = pre::Levels {
            count: sigmas.len(),
            variant: Variant::Published,
            ..Default::default()
        };
        let levels = own.sigmas();
        let ratios = levels.iter().zip(&sigmas);
        let ratio = ratios.map(|(a, b)| (a / b - 1.0).abs());
        assert!(ratio.fold(0.0, f64::max) < 2e-7);
        let noise = values(&case.wide(&format!("distance_noise_{k}")));
        let names = match k {
            1 => ["sigma_1", "distance_1", "distance_noise_1"],
            _ => ["sigma_2", "distance_2", "distance_noise_2"],
        };
        for (name, column) in names.into_iter().zip([chosen, distances, noise]) {
            let rows = column.len();
            draws.put(name, case.tensor(column, &[rows]));
        }
    }
    let config = pre::DdmConfig {
        anneal,
        ..Default::default()
    };
    case.objective(&config, [&["node_repr", "node_repr_2"], &[]], draws);
}

fn position_noise(case: &Case) {
    const DEVIATION: f64 = 0.04;
    let mut draws = Draws::default();
    draws.put("noise", (case.floats("noise") / DEVIATION).unwrap());
    let config = pre::DdmOneLossConfig {
        noise: DEVIATION,
        ..Default::default()
    };
    let batch = Batch {
        views: Vec::new(),
        draws,
    };
    // The head's predictions are stored: it is built elsewhere.
    let mut elsewhere = ParametersBuilder::default();
    let build = |_: &mut Scope| config.build(&mut elsewhere.root(), 1, 119).unwrap();
    case.check(&["pred"], build, |objective, given, _| {
        let (_, loss) = objective.field().unwrap().loss(&given[0], &batch).unwrap();
        Made {
            losses: vec![("loss_normalized_target", loss.clone())],
            total: loss,
        }
    });
}

fn emgp(case: &Case, name: &str) {
    let target = match name {
        "emgp_gaussian" => pre::Target::Gaussian,
        _ => pre::Target::Riemann,
    };
    let sigmas = read::<f64>(&case.group, "param/sigmas");
    let (levels, graph_of) = (case.integers("level").0, case.graph_of());
    let (clean, moved) = (case.positions("pos"), case.positions("pos_perturbed"));
    let mut own = Vec::new();
    for graph in 0..case.molecules() {
        let of = |all: &[[f64; 3]]| -> Vec<[f64; 3]> {
            let atoms = all
                .iter()
                .zip(&graph_of)
                .filter(|(_, g)| **g as usize == graph);
            atoms.map(|(r, _)| *r).collect()
        };
        own.extend(target.of(&of(&clean), &of(&moved), sigmas[levels[graph] as usize]));
    }
    case.compare(
        &own.into_flattened(),
        &read(&case.group, "target"),
        "targets",
    );
    let width = shape(&case.batch(), "mol_repr")[1];
    let config = pre::EmgpConfig {
        target,
        levels: pre::Levels {
            count: width,
            ..Default::default()
        },
        head: pre::Head::Vector,
        variant: Variant::Published,
    };
    let build = |b: &mut Scope| pre::Emgp::new(b, &config, width).unwrap();
    let batch = Batch {
        views: Vec::new(),
        draws: case.draws(&["level", "target"]),
    };
    let sigma: Vec<f64> = graph_of
        .iter()
        .map(|&g| sigmas[levels[g as usize] as usize])
        .collect();
    let sigma = case.tensor(sigma, &[graph_of.len(), 1]);
    case.check(
        &["pos_noise_pred", "mol_repr"],
        build,
        |emgp, given, pass| {
            let steps = (&given[0] - case.floats("pos_perturbed")).unwrap();
            let predicted = steps.broadcast_div(&sigma).unwrap();
            let (_, position) = emgp.position_loss(&predicted, &batch).unwrap();
            let scale = emgp.scale_loss(&given[1], &batch, pass).unwrap();
            Made {
                total: (&position + (&scale * 0.2).unwrap()).unwrap(),
                losses: vec![("loss_position", position), ("loss_scale", scale)],
            }
        },
    );
}

fn graphmvp(case: &Case, name: &str) {
    let measure = match name.rsplit('_').next().unwrap() {
        "l1" => Measure::L1,
        "cosine" => Measure::Cosine,
        _ => Measure::L2,
    };
    let width = case.floats("X").dims()[1];
    match name.split('_').nth(1).unwrap() {
        "ae" => {
            let build = |b: &mut Scope| Decoder::new(b, width);
            case.check(&["X", "Y"], build, |decoder, given, pass| {
                let made = decoder.forward(&given[0], pass).unwrap();
                measure.of(&made, &given[1]).unwrap().into()
            });
        }
        "vae" => {
            let build = |b: &mut Scope| Variational::new(b, width, 1.0);
            case.check(&["X"], build, |net, given, pass| {
                let parts = [&given[0], &case.floats("Y"), &case.floats("eps")];
                net.loss(parts, measure, pass).unwrap().into()
            });
        }
        kind => {
            let config = pre::GraphMvpConfig {
                contrast: match kind {
                    "infonce" => pre::Contrast::Infonce,
                    _ => pre::Contrast::EbmNce,
                },
                normalize: case.setting("normalize") == "True",
                temperature: case.number("T"),
                negatives: case.number("neg") as usize,
                ..Default::default()
            };
            case.check(
                &["X", "Y"],
                |_| (),
                |(), given, _| {
                    pre::graphmvp_contrast(&config, &given[0], &given[1])
                        .unwrap()
                        .into()
                },
            );
        }
    }
}

fn infomax(case: &mut Case) {
    // The released cosine has 1e-8 in its denominator.
    case.tolerance = 1e-7;
    case.check(
        &["X", "Y"],
        |_| (),
        |(), given, _| {
            let temperature = 0.1;
            pre::contrast::nt_xent(&given[0], &given[1], temperature, false)
                .unwrap()
                .into()
        },
    );
}

fn gin(case: &Case) {
    let mut draws = case.draws(&["atom_features", "bond_features"]);
    draws.put("bond_ends", case.rows("edge_index"));
    let width = shape(&case.group, "node_repr")[1];
    let layers = case.group.group("param").unwrap().member_names().unwrap();
    let layers = layers
        .iter()
        .filter(|n| n.starts_with("gnns.") && n.ends_with(".eps"))
        .count();
    let build = |b: &mut Scope| pre::gin::Gin::new(b, width, layers);
    case.check(&[], build, |gin, _, pass| {
        // A model's own buffers are in single precision.
        let buffers = pass.parameters.buffer_entries().iter();
        let buffers: Vec<f64> = buffers.flat_map(|e| case.value(e)).collect();
        let buffers = Mode::Evaluate(Tensor::new(buffers, &Device::Cpu).unwrap());
        let evaluation = Pass::new(pass.parameters, buffers, &[]);
        let running = gin.forward(&draws, &evaluation).unwrap();
        case.compare(
            &values(&running),
            &read(&case.group, "node_repr_eval"),
            "evaluation",
        );
        let atoms = gin.forward(&draws, pass).unwrap();
        case.compare(&values(&atoms), &read(&case.group, "node_repr"), "training");
        let total = (atoms * case.floats("weight_of_output"))
            .unwrap()
            .sum_all()
            .unwrap();
        Made {
            losses: Vec::new(),
            total,
        }
    });
}

fn sde(case: &Case) -> pre::Sde {
    pre::Sde {
        process: match text(&case.group, "settings").starts_with("VE") {
            true => pre::Process::Ve,
            false => pre::Process::Vp,
        },
        lowest: case.number("min"),
        highest: case.number("max"),
    }
}

/// Factor and deviation of each molecule; the last ones have what is left of 999.
fn levels(case: &Case) -> Vec<[f64; 2]> {
    let drawn = case.integers("time_draw").0;
    let opposite = drawn.iter().map(|t| 999 - t);
    let steps = drawn.iter().copied().chain(opposite).take(case.molecules());
    steps.map(|step| sde(case).at(step as usize)).collect()
}

fn molecule_sde(case: &Case, name: &str) {
    match name.split('_').nth(1).unwrap() {
        "ebm" => case.check(
            &["node_repr", "node_repr_2"],
            |_| (),
            |(), given, _| {
                let orders = [case.rows("permutation_1"), case.rows("permutation_2")];
                let orders = [&orders[0], &orders[1]];
                let temperature = case.number("T");
                // The attribute says `normalize`; the numbers are those of rows as they are.
                pre::atom_contrast([&given[0], &given[1]], orders, temperature)
                    .unwrap()
                    .into()
            },
        ),
        "2d" => positions_of_bonds(case),
        _ => bonds_of_positions(case),
    }
}

fn positions_of_bonds(case: &Case) {
    let (graph_of, levels) = (case.graph_of(), levels(case));
    let (clean, noise) = (case.positions("pos"), case.positions("position_noise"));
    let mut counts = vec![0usize; levels.len()];
    graph_of.iter().for_each(|&g| counts[g as usize] += 1);
    let mut perturbed = Vec::new();
    for ((r, e), &g) in clean.iter().zip(&noise).zip(&graph_of) {
        let [factor, sigma] = levels[g as usize];
        perturbed.extend((0..3).map(|k| factor * r[k] + sigma * e[k]));
    }
    let share = |&g: &u32| 1.0 / (counts[g as usize] * counts.len()) as f64;
    let mut draws = Draws::default();
    draws.put(
        "perturbed",
        Tensor::from_vec(perturbed, (clean.len(), 3), &Device::Cpu).unwrap(),
    );
    draws.put("epsilon", case.floats("position_noise"));
    draws.put("edges", case.rows("edge_index"));
    draws.put(
        "share",
        case.tensor(graph_of.iter().map(share).collect(), &[clean.len()]),
    );
    let width = case.floats("node_repr").dims()[1];
    let hidden = case.number("hidden") as usize;
    let parameters = match case.group.group("param") {
        Ok(own) => own,
        Err(_) => {
            let of = text(&case.group, "parameters");
            let of = of.rsplit(' ').next().unwrap();
            case.file.group(of).unwrap().group("param").unwrap()
        }
    };
    let waves = read::<f64>(&parameters, "coff_gaussian_fourier.W");
    let build =
        |b: &mut Scope| pre::score3d::PositionScore::new(b, width, hidden).with_waves(waves);
    case.check(&["node_repr"], build, |net, given, pass| {
        net.loss(&given[0], &draws, pass).unwrap().into()
    });
}

fn bonds_of_positions(case: &Case) {
    let mut draws = case.draws(&["adj_noise", "x_noise"]);
    let levels = levels(case);
    let molecules = levels.len();
    let column = |k: usize| case.tensor(levels.iter().map(|l| l[k]).collect(), &[molecules]);
    draws.put("bond_mean", column(0));
    draws.put("bond_sigma", column(1));
    let longest = shape(&case.group, "adj_noise")[1];
    let (bonds, graph_of) = (case.integers("bonds").0, case.graph_of());
    let first = |g: u32| graph_of.iter().position(|&other| other == g).unwrap();
    let mut adjacency = vec![0.0; molecules * longest * longest];
    for bond in bonds.as_chunks::<3>().0 {
        let g = graph_of[bond[0] as usize];
        let [i, j] = [bond[0], bond[1]].map(|a| a as usize - first(g));
        for (i, j) in [(i, j), (j, i)] {
            adjacency[(g as usize * longest + i) * longest + j] = f64::from(bond[2]) + 1.0;
        }
    }
    draws.put(
        "adjacency",
        case.tensor(adjacency, &[molecules, longest, longest]),
    );
    let classes: Vec<u32> = case.integers("z").0.iter().map(|z| z - 1).collect();
    draws.put("classes", Tensor::new(&*classes, &Device::Cpu).unwrap());
    let width = case.floats("node_repr").dims()[1];
    let build = |b: &mut Scope| pre::score2d::BondScore::new(b, width, Variant::Published);
    case.check(&["node_repr"], build, |net, given, pass| {
        let [types, pairs] = net.losses(&given[0], &draws, pass).unwrap();
        let total = ((&types + &pairs).unwrap() * 0.5).unwrap();
        Made {
            losses: vec![
                ("loss_x", types),
                ("loss_adj", pairs),
                ("loss", total.clone()),
            ],
            total,
        }
    });
}

fn check(dtype: DType) {
    let (mut compared, mut failures) = (0, Vec::new());
    for path in crate::files() {
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        if file::network(&file) != FILE {
            continue;
        }
        for own in file.groups().unwrap() {
            let mut case = Case {
                file: &file,
                group: own,
                dtype,
                tolerance: 1e-10,
                failures: RefCell::default(),
            };
            compared += usize::from(group(&mut case));
            failures.extend(case.failures.into_inner());
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(compared > 20, "{compared} losses");
}

#[test]
fn pretraining_in_double_precision() {
    check(DType::F64);
}

#[test]
fn pretraining_in_single_precision() {
    check(DType::F32);
}
