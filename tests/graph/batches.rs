//! Batches of systems, with periodic images too; what is refused.

use crate::numbers::values;
use candle_core::{DType, Device};
use holosig::data::system::{Cell, System};
use holosig::models::graph::{Batch, GraphConfig, GraphModel, Network, Parts};
use serde_json::{Value, json};

fn config(more: Value) -> Value {
    let mut config = json!({ "network": "painn", "width": 8, "layers": 2, "radial": 6,
        "cutoff": 4.0, "elements": 20 });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

fn model(more: Value) -> holosig::Result<GraphModel> {
    let config: GraphConfig = serde_json::from_value(config(more)).unwrap();
    GraphModel::new(&config, 5, DType::F64, &Device::Cpu)
}

/// A crystal of two atoms in a skewed cell, shorter than the cutoff, `copies` times along its
/// first vector.
fn crystal(copies: usize) -> System<f64> {
    let vectors = [[3.1, 0.2, 0.0], [0.4, 3.6, 0.1], [0.0, 0.3, 5.2]];
    let mut system = System::default();
    for copy in 0..copies {
        for (number, place) in [(11, [0.1, 0.2, 0.3]), (17, [1.6, 2.1, 2.4])] {
            let moved = |k: usize| place[k] + copy as f64 * vectors[0][k];
            system.numbers.push(number);
            system.positions.push(std::array::from_fn(moved));
        }
    }
    let first = vectors[0].map(|x| x * copies as f64);
    system.cell = Some(Cell::new([first, vectors[1], vectors[2]]).unwrap());
    system
}

#[test]
fn a_larger_cell_of_the_same_crystal_has_as_many_times_the_energy() {
    compare_cells(&model(json!({})).unwrap());
}

#[test]
fn pairs_of_edges_in_crystals_tell_images_apart() {
    let more = json!({ "inner": 4, "degrees": 3 });
    for (network, sizes) in [
        ("dimenetpp", json!({ "basis": 4, "out": 6 })),
        ("gemnet", json!({ "messages": 6, "bilinear": 5 })),
    ] {
        let mut config = config(json!({ "network": network }));
        for part in [&more, &sizes] {
            let part = part.as_object().unwrap().clone();
            config.as_object_mut().unwrap().extend(part);
        }
        let config: GraphConfig = serde_json::from_value(config).unwrap();
        compare_cells(&crate::properties::model(&config, DType::F64));
    }
}

/// Three cells have three times the energy of one, and the same forces.
fn compare_cells(model: &GraphModel) {
    let systems = [crystal(1), crystal(3)];
    let batch = Batch::of_systems(&systems, 4.0, DType::F64, &Device::Cpu).unwrap();
    // An atom's own images are among its neighbors.
    assert!(
        batch
            .edges
            .receivers()
            .iter()
            .zip(batch.edges.senders())
            .any(|(i, j)| i == j)
    );
    let prediction = model.predict(&batch).unwrap();
    let energies = values(&prediction.energy);
    assert!((3.0 * energies[0] - energies[1]).abs() < 1e-12 * energies[1].abs());
    let forces = values(&prediction.forces);
    let (small, large) = forces.split_at(6);
    assert!(
        small.iter().any(|f| f.abs() > 1e-3),
        "nothing to test: {small:?}"
    );
    for copy in large.chunks(6) {
        assert!(copy.iter().zip(small).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    let virial = values(&prediction.virial);
    let (small, large) = virial.split_at(9);
    assert!(
        large
            .iter()
            .zip(small)
            .all(|(a, b)| (a - 3.0 * b).abs() < 1e-11)
    );
}

#[test]
fn energies_and_forces_do_not_depend_on_where_atoms_are_in_a_periodic_cell() {
    let model = model(json!({})).unwrap();
    let mut moved = crystal(1);
    // One atom goes to its image in another cell, and everything goes far away.
    moved.positions[1] = std::array::from_fn(|k| moved.positions[1][k] + [3.5, 3.8, 0.1][k]);
    moved.positions.iter_mut().flatten().for_each(|x| *x += 7.0);
    let systems = [crystal(1), moved];
    let batch = Batch::of_systems(&systems, 4.0, DType::F64, &Device::Cpu).unwrap();
    let prediction = model.predict(&batch).unwrap();
    let energies = values(&prediction.energy);
    assert!((energies[0] - energies[1]).abs() < 1e-12);
    let forces = values(&prediction.forces);
    assert!(
        forces[..6]
            .iter()
            .zip(&forces[6..])
            .all(|(a, b)| (a - b).abs() < 1e-12)
    );
}

fn parts() -> Parts<'static> {
    Parts {
        numbers: &[1, 8, 1],
        positions: &[[0.0; 3], [1.0, 0.0, 0.0], [0.0, 9.0, 0.0]],
        receivers: &[0, 1],
        senders: &[1, 0],
        shifts: &[[0.0; 3]; 2],
        bonds: &[2, 2],
        graph_of: &[0, 0, 1],
        graphs: 2,
    }
}

#[track_caller]
fn refused(parts: Parts, text: &str) {
    let told = Batch::new(parts, DType::F32, &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(told.contains(text) && !told.contains('\n'), "{told}");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    assert!(Batch::new(parts(), DType::F32, &Device::Cpu).is_ok());
    refused(
        Parts {
            graph_of: &[0, 0],
            ..parts()
        },
        "2 graph numbers, expected 3",
    );
    refused(
        Parts {
            shifts: &[],
            ..parts()
        },
        "0 shifts, expected 2",
    );
    refused(
        Parts {
            bonds: &[2],
            ..parts()
        },
        "1 orders of bonds, expected 2",
    );
    refused(
        Parts {
            numbers: &[1, 0, 1],
            ..parts()
        },
        "atom 1 has atomic number 0",
    );
    refused(
        Parts {
            senders: &[1, 7],
            ..parts()
        },
        "edge 1 joins atoms 7 and 1 of 3",
    );
    refused(
        Parts {
            senders: &[2, 0],
            ..parts()
        },
        "edge 0 joins graphs 1 and 0",
    );
    refused(
        Parts {
            positions: &[[0.0; 3]; 3],
            ..parts()
        },
        "atoms 1 and 0 are at the same place",
    );
    refused(
        Parts {
            receivers: &[1, 0],
            senders: &[0, 1],
            ..parts()
        },
        "edges are not in order",
    );
    refused(
        Parts {
            graphs: 1,
            ..parts()
        },
        "graph 1 of 1",
    );
}

#[test]
fn settings_that_are_no_network_are_refused() {
    for (more, text) in [
        (json!({ "layers": 0 }), "layers = 0"),
        (json!({ "radial": 1 }), "radial = 1"),
        (json!({ "cutoff": -1.0 }), "cutoff = -1"),
        (json!({ "envelope": { "polynomial": 1 } }), "polynomial 1"),
    ] {
        let told = model(more).err().unwrap().to_string();
        assert!(told.contains(text), "{told}");
    }
    let unknown = serde_json::from_value::<GraphConfig>(config(json!({ "filter": 3 })));
    assert!(unknown.unwrap_err().to_string().contains("filter"));
}

#[test]
fn an_element_that_the_network_does_not_know_is_refused() {
    let model = model(json!({ "elements": 12 })).unwrap();
    let batch = Batch::of_systems(&[crystal(1)], 4.0, DType::F64, &Device::Cpu).unwrap();
    let told = model.energy(&batch).unwrap_err().to_string();
    assert!(
        told.contains("atomic number 17: the network knows elements up to 12"),
        "{told}"
    );
}

#[test]
fn lone_atoms_have_energies_and_gradients_and_no_forces() {
    for config in crate::properties::configs() {
        let model = crate::properties::model(&config, DType::F64);
        let lone = Parts {
            receivers: &[],
            senders: &[],
            shifts: &[],
            bonds: &[],
            ..parts()
        };
        let mut batch = Batch::new(lone, DType::F64, &Device::Cpu).unwrap();
        let prediction = model.predict(&batch).unwrap();
        assert_eq!(values(&prediction.forces), [0.0; 9]);
        assert_eq!(values(&prediction.virial), [0.0; 18]);
        batch.targets.graphs = vec![prediction.energy.affine(1.0, 0.5).unwrap()];
        batch.targets.forces = Some(prediction.forces.ones_like().unwrap());
        let terms = model.terms(&batch).unwrap();
        let losses: Vec<f64> = terms.iter().flat_map(|(_, term)| values(term)).collect();
        assert!(
            (losses[0] - 0.5).abs() < 1e-12 && losses[1] == 1.0,
            "{losses:?}"
        );
        let loss = (&terms[0].1 + &terms[1].1).unwrap();
        let gradient = crate::graphs::gradient(&model, &loss);
        assert!(gradient.iter().flatten().all(|g| g.is_finite()));
        // GemNet has no biases, and Allegro's energies are those of edges: a lone atom's energy is
        // zero for any parameters.
        let constant = matches!(config.network, Network::GemNet(_) | Network::Allegro(_));
        assert!(constant || gradient.iter().flatten().any(|g| g.abs() > 1e-3));
    }
}
