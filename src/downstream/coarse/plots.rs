//! Pictures of what a model makes of single segments: the coarse path, and which beads carry
//! the decision.
//!
//! For each class the segment that the model is surest of (of those with that label), for
//! regression those with the lowest and the highest prediction. Three files each:
//! `NAME-path.svg`, the path of every bead (its value over time, or its way in the plane of the
//! two directions of most movement), and `NAME-beads.svg`, gradient times input of every bead, as shares of all;
//! `NAME-nodes.svg`, the same shared out to the nodes, those with the largest shares.

use super::CoarseGrainer;
use crate::data::trajectory::Dataset;
use crate::downstream::pca;
use crate::draw::{self, Axes, Bar, PALETTE, Series, Size};
use crate::models::deep_signature::{Decision, Graph, Objective, clip};
use crate::store::write_bytes;
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Size of the picture of a path.
const PATH: Size = Size {
    width: 760,
    height: 460,
};

/// Beads that have a colour of their own.
const COLOURED: usize = 6;

/// A segment to draw.
struct Chosen {
    /// First part of its files' names.
    name: String,
    id: u32,
    class: usize,
}

/// Draws the chosen segments into `folder`; `predictions` are those of all segments.
pub(super) fn write(
    grainer: &CoarseGrainer,
    dataset: &Dataset,
    graphs: &[Arc<Graph>],
    predictions: &[Vec<f32>],
    folder: &Path,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for chosen in choose(grainer, dataset, predictions) {
        let clip = clip(dataset, graphs, &grainer.description, chosen.id, 0.0)?;
        let decision = grainer.model.decision(&clip, chosen.class)?;
        let put = |what: &str, svg: String| {
            let path = folder.join(format!("{}-{what}.svg", chosen.name));
            write_bytes(&path, draw::file(&svg).as_bytes())
        };
        put("path", path(&decision)?)?;
        put("beads", beads(&decision)?)?;
        put("nodes", nodes(dataset, chosen.id, &decision)?)?;
    }
    Ok(())
}

fn choose(grainer: &CoarseGrainer, dataset: &Dataset, predictions: &[Vec<f32>]) -> Vec<Chosen> {
    let ids = || 0..predictions.len() as u32;
    let best = |score: &dyn Fn(u32) -> Option<f32>| {
        let scored = ids().filter_map(|id| Some((id, score(id)?)));
        // The first of equals.
        scored.rev().max_by(|a, b| a.1.total_cmp(&b.1)).map(|s| s.0)
    };
    let of = |id: u32| &predictions[id as usize];
    let description = &grainer.description;
    if description.objective == Objective::Regression {
        let ends = [
            ("lowest", best(&|id| Some(-of(id)[0]))),
            ("highest", best(&|id| Some(of(id)[0]))),
        ];
        let chosen = ends.into_iter().filter_map(|(name, id)| {
            Some(Chosen {
                name: format!("{name}-segment-{}", id?),
                id: id?,
                class: 0,
            })
        });
        return chosen.collect();
    }
    let probability = |id: u32, class: usize| match (description.objective, class) {
        (Objective::Binary, 0) => 1.0 - of(id)[0],
        (Objective::Binary, _) => of(id)[0],
        _ => of(id)[class],
    };
    let labelled = |id: u32, name: &str| {
        let label = dataset.trajectory_of(id).label.as_deref();
        label.is_none_or(|l| l == name)
    };
    let classes = description.classes.iter().enumerate();
    let chosen = classes.filter_map(|(class, name)| {
        let id = best(&|id| labelled(id, name).then(|| probability(id, class)))?;
        let safe = |c: char| if c.is_alphanumeric() { c } else { '-' };
        let plain: String = name.chars().map(safe).collect();
        Some(Chosen {
            name: format!("class-{class}-{plain}-segment-{id}"),
            id,
            class,
        })
    });
    chosen.collect()
}

/// Beads by the size of their contribution, largest first.
fn order(decision: &Decision) -> Vec<usize> {
    let mut order: Vec<usize> = (0..decision.beads).collect();
    let size = |k: usize| decision.contributions[k].abs();
    order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
    order
}

/// The ways of all beads, those of the largest contributions in colour.
fn path(decision: &Decision) -> Result<String> {
    let Decision { frames, beads, .. } = *decision;
    let d = decision.path.len() / (frames * beads);
    let projected = (d > 1).then(|| pca::project(&decision.path, d));
    let point = |t: usize, k: usize| match &projected {
        None => (t as f64, f64::from(decision.path[t * beads + k])),
        Some(plane) => (
            plane.points[t * beads + k][0],
            plane.points[t * beads + k][1],
        ),
    };
    let axes = match projected {
        None => Axes {
            x: "frame",
            y: "value of the bead",
        },
        Some(_) => Axes {
            x: "first direction of most movement",
            y: "second direction",
        },
    };
    let order = order(decision);
    let (first, rest) = order.split_at(order.len().min(COLOURED));
    let way = |k: usize| (0..frames).map(|t| point(t, k)).collect();
    // Grey ones first: they lie below the others.
    let grey = |&k: &usize| Series {
        name: format!("bead {k}"),
        color: plotters::style::RGBColor(205, 208, 213),
        points: way(k),
    };
    let mut below: Vec<Series> = rest.iter().map(grey).collect();
    if let Some((last, others)) = below.split_last_mut() {
        last.name = "others".into();
        others.iter_mut().for_each(|s| s.name.clear());
    }
    let above = first.iter().enumerate().map(|(i, &k)| Series {
        name: format!("bead {k}"),
        color: PALETTE[i],
        points: way(k),
    });
    below.extend(above);
    draw::lines(PATH, &axes, &below, false)
}

/// The contributions of all beads as shares of the sum of their sizes, largest first.
fn beads(decision: &Decision) -> Result<String> {
    let order = order(decision);
    shares(&order, &decision.contributions, |k| format!("bead {k}"))
}

/// Nodes with the largest shares, by name.
const NODES: usize = 30;

/// The contributions of the nodes that carry most of the decision.
fn nodes(dataset: &Dataset, id: u32, decision: &Decision) -> Result<String> {
    let mut order: Vec<usize> = (0..decision.nodes.len()).collect();
    let size = |n: usize| decision.nodes[n].abs();
    order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
    order.truncate(NODES);
    let atoms = dataset.graph_of(id).atoms.as_ref();
    shares(&order, &decision.nodes, |n| match atoms {
        None => format!("node {n}"),
        Some(atoms) => {
            let residue = atoms.residue(n as u32);
            format!("{} {} {}", residue.name, residue.number, atoms.names[n])
        }
    })
}

/// Bars of some contributions as shares of the sum of the sizes of all.
fn shares(
    order: &[usize],
    contributions: &[f64],
    name: impl Fn(usize) -> String,
) -> Result<String> {
    let total: f64 = contributions.iter().map(|c| c.abs()).sum();
    let share = |k: usize| match total > 0.0 {
        true => contributions[k] / total,
        false => 0.0,
    };
    let bars: Vec<Bar> = order
        .iter()
        .map(|&k| Bar {
            name: name(k),
            value: share(k),
        })
        .collect();
    let size = Size {
        height: 70 + 20 * bars.len() as u32,
        ..PATH
    };
    draw::bars(size, "share of the decision (gradient x input)", &bars)
}
