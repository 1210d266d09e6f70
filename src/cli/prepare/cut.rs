//! Options on how trajectories are cut, and the report of what was written.

use crate::data::trajectory::{Cut, Summary};
use crate::print::count;
use crate::{Error, Result};
use std::path::Path;

#[derive(clap::Args)]
pub struct Args {
    /// Cut each trajectory into GROUPSxFOLDS consecutive segments of equal length [default: 5x5,
    /// simulations 1x1]
    #[arg(long, value_name = "GROUPSxFOLDS", value_parser = parse)]
    segments: Option<Cut>,
    /// Cut into segments of this many frames instead
    #[arg(long, value_name = "FRAMES", conflicts_with = "segments")]
    window: Option<usize>,
    /// Frames from the start of one window to the start of the next [default: --window]
    #[arg(long, value_name = "FRAMES", requires = "window")]
    window_step: Option<usize>,
    /// Folds that whole trajectories are dealt to
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

fn parse(text: &str) -> std::result::Result<Cut, String> {
    let number = |n: &str| n.parse::<usize>().ok().filter(|&n| n > 0);
    text.split_once('x')
        .and_then(|(groups, folds)| Some((number(groups)?, number(folds)?)))
        .map(|(groups, folds)| Cut::Segments { groups, folds })
        .ok_or_else(|| "two positive numbers as in 5x5 are needed".into())
}

impl Args {
    /// How to cut; `groups` x `folds` segments where nothing is said.
    pub fn cut(&self, groups: usize, folds: usize) -> Cut {
        match self.window {
            Some(frames) => Cut::Window {
                frames,
                step: self.window_step.unwrap_or(frames),
            },
            None => self.segments.unwrap_or(Cut::Segments { groups, folds }),
        }
    }
}

/// The options as they are kept in the file.
pub fn settings(options: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(options).map_err(Error::internal)
}

/// Says what was written.
pub fn report(out: &Path, summary: &Summary) {
    let (fewest, most) = summary.nodes;
    let nodes = match fewest == most {
        true => count(most, "node"),
        false => format!("{fewest} to {most} nodes"),
    };
    crate::say!(
        "{}: {}, {}, {}, {nodes}, graphs: {}",
        out.display(),
        count(summary.trajectories, "trajectory"),
        count(summary.frames, "frame"),
        count(summary.segments, "segment"),
        summary.graphs
    );
    if !summary.labels.is_empty() {
        let labels: Vec<String> = summary
            .labels
            .iter()
            .map(|(label, count)| format!("{label} ({count})"))
            .collect();
        crate::say!("labels: {}", labels.join(", "));
    }
    if let Some(first) = summary.without_edges.first() {
        log::warn!(
            "graphs without any edge: {}, the first of them that of {first}",
            summary.without_edges.len()
        );
    }
    if let Some(first) = summary.with_isolated.first() {
        log::warn!(
            "graphs with nodes that have no edge: {}, the first of them that of {first}; such \
             nodes are pooled, but hear of no other node",
            summary.with_isolated.len()
        );
    }
    if !summary.lacking_a_class.is_empty() {
        let folds = summary.lacking_a_class.iter().map(u32::to_string);
        log::warn!(
            "a class does not occur in these folds: {}; holosig sweep leaves them out of its means; \
             fewer --folds help",
            folds.collect::<Vec<_>>().join(", ")
        );
    }
    crate::say!("fingerprint: {}", summary.digest);
}
