//! Loss curves of a run as SVG.

use super::metrics;
use crate::store::write_bytes;
use crate::{Error, Result};
use plotters::prelude::*;
use serde_json::Value;
use std::path::Path;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 260;
/// Points per curve: more would not be seen.
const POINTS: usize = 1000;

/// Fields of a record that are no metrics.
const OTHER: &[&str] = &[
    "step",
    "time",
    "epoch",
    "learning_rate",
    "samples_per_second",
    "stall_seconds",
    "ranks",
    "steps",
];

type Curve = Vec<(f64, f64)>;

/// One panel: a metric over steps, in training and in validation.
struct Panel {
    name: String,
    train: Curve,
    validation: Curve,
}

/// Draws every metric of `metrics.jsonl` over the steps into one SVG.
pub fn plot(metrics_path: &Path, svg_path: &Path) -> Result<()> {
    let panels = panels(&metrics::read(metrics_path)?);
    if panels.is_empty() {
        return Ok(());
    }
    let mut svg = String::new();
    draw(&panels, &mut svg).map_err(|e| Error::internal(format!("plot: {e}")))?;
    write_bytes(svg_path, svg.as_bytes())
}

fn panels(records: &[Value]) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for record in records {
        let validation = match record["event"].as_str() {
            Some("train") => false,
            Some("validation") => true,
            _ => continue,
        };
        let (Some(step), Some(fields)) = (record["step"].as_f64(), record.as_object()) else {
            continue;
        };
        for (name, value) in fields {
            let Some(value) = value.as_f64().filter(|_| !OTHER.contains(&name.as_str())) else {
                continue;
            };
            let i = panels
                .iter()
                .position(|p| p.name == *name)
                .unwrap_or_else(|| {
                    panels.push(Panel {
                        name: name.clone(),
                        train: Vec::new(),
                        validation: Vec::new(),
                    });
                    panels.len() - 1
                });
            let panel = &mut panels[i];
            let curve = if validation {
                &mut panel.validation
            } else {
                &mut panel.train
            };
            curve.push((step, value));
        }
    }
    for panel in &mut panels {
        for curve in [&mut panel.train, &mut panel.validation] {
            let every = curve.len().div_ceil(POINTS).max(1);
            *curve = curve.iter().copied().step_by(every).collect();
        }
    }
    panels
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw(panels: &[Panel], svg: &mut String) -> Drawn {
    let size = (WIDTH, HEIGHT * panels.len() as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, panel) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(area: &DrawingArea<SVGBackend, plotters::coord::Shift>, panel: &Panel) -> Drawn {
    let all = || panel.train.iter().chain(&panel.validation);
    let last = all().map(|p| p.0).fold(1.0, f64::max);
    let low = all().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let high = all().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(&panel.name, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(30)
        .y_label_area_size(64);
    // A macro, as the two charts are of different types.
    macro_rules! chart {
        ($y:expr) => {{
            let mut chart = builder.build_cartesian_2d(0.0..last, $y)?;
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .x_desc("step")
                .x_label_formatter(&|v| format!("{v:.0}"))
                .y_label_formatter(&|v| format!("{v:.2e}"))
                .draw()?;
            let curves = [
                ("training", &panel.train, BLUE),
                ("validation", &panel.validation, RED),
            ];
            for (label, curve, color) in curves {
                if !curve.is_empty() {
                    let points = curve.iter().map(|p| Circle::new(*p, 2, color.filled()));
                    chart.draw_series(LineSeries::new(curve.iter().copied(), color))?;
                    if curve.len() < 50 {
                        chart.draw_series(points)?;
                    }
                    chart
                        .draw_series(std::iter::once(PathElement::new([curve[0]], color)))?
                        .label(label)
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
                }
            }
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK)
                .draw()?;
        }};
    }
    // On fewer decades a logarithmic axis has next to no labels.
    if low > 0.0 && high > 30.0 * low {
        chart!((low * 0.9..high * 1.1).log_scale());
    } else {
        let room = 0.05 * (high - low).max(1e-9);
        chart!(low - room..high + room);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::MetricsLog;
    use serde_json::json;

    #[test]
    fn draws_every_metric() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let (log_path, svg) = (dir.path().join("m.jsonl"), dir.path().join("loss.svg"));
        let log = MetricsLog::create(&log_path)?;
        plot(&log_path, &svg)?;
        assert!(!svg.exists(), "nothing to draw");
        for step in 1..5000u64 {
            let fields = [
                ("kl".to_string(), json!(0.0)),
                ("mse".into(), json!(1.0 / step as f64)),
            ];
            log.append("train", step, fields)?;
        }
        log.append("validation", 4999, [("mse".to_string(), json!(0.01))])?;
        plot(&log_path, &svg)?;
        let text = std::fs::read_to_string(&svg).unwrap();
        for word in ["<svg", "mse", "kl", "training", "validation"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(text.len() < 500_000);
        Ok(())
    }
}
