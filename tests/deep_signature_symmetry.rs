//! What the output of Deep Signature depends on, both variants, on random models; and the sizes
//! and settings that the model takes or refuses.

#[path = "common/molecule.rs"]
mod molecule;

use candle_core::{DType, Device, Tensor};
use holosig::models::deep_signature::{
    Clip, Clock, DeepSignature, DeepSignatureConfig, Graph, Method, Objective, RawClip, TERMS,
    Variant,
};
use holosig::models::flat::Piece;
use holosig::models::gradient::Missing;
use holosig::models::{Model, Weights};
use holosig::so3::{rigid, rotation};
use molecule::{Molecule, molecule, order};
use std::sync::Arc;

fn clip(m: &Molecule, config: &DeepSignatureConfig) -> Clip {
    let nodes = m.frames[0].len();
    let raw = RawClip {
        holographic: false,
        id: 0,
        graph: Arc::new(Graph::new(nodes, &m.edges, config.variant).unwrap()),
        features: m.features(3),
        frames: m.frames.len(),
        target: 1.0,
    };
    Clip::new(raw, config, DType::F64).unwrap()
}

fn config(variant: Variant) -> DeepSignatureConfig {
    DeepSignatureConfig {
        variant,
        clusters: 6,
        hidden: 10,
        ..Default::default()
    }
}

fn model(config: &DeepSignatureConfig) -> DeepSignature {
    DeepSignature::new(config, 3, Objective::Binary, 5, DType::F64, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Assignments `[N][K]` and log-signatures of the segments.
fn outputs(m: &Molecule, model: &DeepSignature) -> (Vec<Vec<f64>>, Vec<f64>) {
    let out = model.forward(&[clip(m, model.config())]).unwrap();
    let assignment = out.coarse[0].assignment().unwrap().to_vec2().unwrap();
    (
        assignment,
        flat(&out.summary.segments.unwrap().log_signatures),
    )
}

fn relative(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// The table of what the output depends on. The largest change that the corrected variant may
/// show is that of coordinates rounded to f32; the published one is held to what was measured
/// on the published code.
#[test]
fn symmetries_of_both_variants() {
    let (nodes, frames) = (60, 40);
    let m = molecule(nodes, frames, 3);
    let new = order(nodes);
    let turn = rotation::random(4);
    type Case<'a> = (&'a str, Molecule, bool, bool);
    // Name, changed molecule, whether the corrected and the published output stay.
    let cases: Vec<Case> = vec![
        (
            "numbering, edges with it",
            m.permuted(&new, true),
            true,
            true,
        ),
        (
            "numbering, edges re-derived",
            m.permuted(&new, false),
            true,
            false,
        ),
        (
            "translation of the clip",
            m.map(|_, p| p.map(|x| x + 1.0)),
            true,
            false,
        ),
        (
            "drift from frame to frame",
            m.map(|t, p| [p[0] + 0.05 * t as f64, p[1], p[2]]),
            true,
            false,
        ),
        (
            "rotation of the clip",
            m.map(|_, p| rigid::apply(&turn, p)),
            true,
            false,
        ),
        (
            "rotation of each frame",
            m.map(|t, p| rigid::apply(&rotation::random(t as u64 + 9), p)),
            true,
            false,
        ),
        ("every frame twice", m.repeated(|_| 2), true, true),
        (
            "first half three times slower",
            m.repeated(|t| if t < 20 { 3 } else { 1 }),
            true,
            false,
        ),
        (
            "frames repeated 1 to 4 times",
            m.repeated(|t| if t < 39 { 1 + t % 4 } else { 2 }),
            true,
            false,
        ),
        (
            "mirror image",
            m.map(|_, p| [p[0], p[1], -p[2]]),
            false,
            false,
        ),
        (
            "time reversed",
            Molecule {
                edges: m.edges.clone(),
                frames: m.frames.iter().rev().cloned().collect(),
            },
            false,
            false,
        ),
    ];
    println!(
        "| transformation | corrected: assignments | log-signature | published: assignments | log-signature |"
    );
    println!("|---|---|---|---|---|");
    for (name, changed, corrected_stays, published_stays) in cases {
        let mut line = format!("| {name} |");
        for (variant, stays) in [
            (Variant::Corrected, corrected_stays),
            (Variant::Published, published_stays),
        ] {
            let model = model(&config(variant));
            if variant == Variant::Published && !changed.frames.len().is_multiple_of(4) {
                line += " refused | refused |";
                continue;
            }
            let (agg, log) = outputs(&m, &model);
            let (mut changed_agg, changed_log) = outputs(&changed, &model);
            if name.starts_with("numbering") {
                changed_agg = new.iter().map(|&i| changed_agg[i].clone()).collect();
            }
            let agg = relative(&changed_agg.concat(), &agg.concat());
            let log = relative(&changed_log, &log);
            line += &format!(" {agg:.0e} | {log:.0e} |");
            if stays {
                assert!(
                    agg < 1e-6 && log < 1e-5,
                    "{variant:?} {name}: {agg:e}, {log:e}"
                );
            } else {
                assert!(log > 1e-2, "{variant:?} {name}: {log:e}");
            }
        }
        println!("{line}");
    }
}

#[test]
fn clock_time_is_an_option() {
    let m = molecule(40, 24, 8);
    let config = DeepSignatureConfig {
        clock: Clock::Frames,
        ..config(Variant::Corrected)
    };
    let model = model(&config);
    let reference = outputs(&m, &model).1;
    let slow = outputs(&m.repeated(|t| if t < 12 { 3 } else { 1 }), &model).1;
    assert!(relative(&slow, &reference) > 1e-2);
}

/// Of a large batch some graphs are made again on the way back: the gradient of equal clips is
/// that of one, to the last bit, as their number is a power of two.
#[test]
fn graphs_made_again_have_the_same_gradients() {
    let config = DeepSignatureConfig {
        segments: 1,
        clusters: 2,
        hidden: 3,
        ..Default::default()
    };
    let model = model(&config);
    let clip = clip(&molecule(5_000, 4, 1), &config);
    let gradient = |clips: usize| {
        let batch = vec![clip.clone(); clips];
        // Without the prediction, whose products are of the whole batch.
        let weight = |(name, _)| (name, f64::from(name != "prediction"));
        let weights = Weights::from(TERMS.map(weight));
        let losses = model.losses_with(&batch, None).unwrap();
        let objective = losses.objective(&weights).unwrap();
        let p = model.parameters();
        let whole = Piece::new(0..p.len(), 1.0, p.device()).unwrap();
        let whole = p.backward(&objective, Missing::Zero, whole).unwrap();
        whole.finish().unwrap().0.into_host().unwrap()
    };
    assert!(gradient(1) == gradient(4));
}

#[test]
fn wide_signatures_need_a_projection() {
    let wide = DeepSignatureConfig {
        depth: 3,
        clusters: 50,
        ..Default::default()
    };
    let make = |config: &DeepSignatureConfig, features, objective| {
        DeepSignature::new(config, features, objective, 1, DType::F32, &Device::Cpu)
            .map(|m| m.parameters().len())
            .map_err(|e| e.to_string())
    };
    let told = make(&wide, 3, Objective::Binary).unwrap_err();
    assert!(
        told.contains("has 1136275 terms, the LSTM on it 1163545600 parameters"),
        "{told}"
    );
    let narrow = DeepSignatureConfig {
        projection: Some(24),
        ..wide
    };
    let parameters = make(&narrow, 3, Objective::Binary).unwrap();
    assert!(parameters < 6_000_000, "{parameters}");
    let published = config(Variant::Published);
    // The released code stops here; ours gives the path one channel per bead.
    assert!(make(&published, 1, Objective::Binary).is_ok());
    assert!(
        make(&published, 3, Objective::Regression)
            .unwrap_err()
            .contains("two classes")
    );
    let transformer = DeepSignatureConfig {
        method: Method::GraphTransformer,
        ..config(Variant::Corrected)
    };
    assert!(
        make(&transformer, 3, Objective::Binary)
            .unwrap_err()
            .contains("5 heads")
    );
}

#[test]
fn clips_that_cannot_be_used_are_told() {
    let m = molecule(30, 5, 1);
    let make = |config: &DeepSignatureConfig, change: &dyn Fn(&mut RawClip)| {
        let mut raw = RawClip {
            holographic: false,
            id: 0,
            graph: Arc::new(Graph::new(30, &m.edges, config.variant).unwrap()),
            features: vec![0.5; 30 * 5 * 3],
            frames: 5,
            target: 0.0,
        };
        change(&mut raw);
        match Clip::new(raw, config, DType::F32) {
            Ok(_) => "fine".to_string(),
            Err(e) => e.to_string(),
        }
    };
    let ours = config(Variant::Corrected);
    assert_eq!(make(&ours, &|_| ()), "fine");
    assert!(make(&ours, &|c| c.features[7] = f32::NAN).contains("node 0 is at NaN in frame 2"));
    assert!(make(&ours, &|c| c.frames = 0).contains("without frames"));
    assert!(make(&ours, &|c| c.features.truncate(10)).contains("10 numbers"));
    let many = DeepSignatureConfig {
        segments: 9,
        ..ours
    };
    assert!(make(&many, &|_| ()).contains("5 frames cannot be cut into 9 segments"));
    let published = config(Variant::Published);
    assert!(make(&published, &|_| ()).contains("5 frames cannot be cut into 4 equal segments"));
}
