//! The curves of a run over its steps: one panel per metric.

use super::finished;
use crate::{Error, Result};
use plotters::prelude::*;
use serde_json::Value;

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

/// Draws every metric of a run's records (the lines of `metrics.jsonl`) over the steps, in
/// training and in validation; `None` when there is no metric.
///
/// # Errors
/// A failure of the drawing library.
pub fn curves(records: &[Value]) -> Result<Option<String>> {
    let panels = panels(records);
    if panels.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    draw(&panels, &mut svg).map_err(|e| Error::internal(format!("drawing curves: {e}")))?;
    Ok(Some(finished(&svg)))
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
    use serde_json::json;

    #[test]
    fn draws_every_metric() -> Result<()> {
        assert_eq!(curves(&[json!({"event": "start", "step": 0})])?, None);
        let train = (1..5000).map(|step| {
            let mse = 1.0 / f64::from(step);
            json!({"event": "train", "step": step, "kl": 0.0, "mse": mse})
        });
        let mut records: Vec<Value> = train.collect();
        records.push(json!({"event": "validation", "step": 4999, "mse": 0.01}));
        let svg = curves(&records)?.unwrap_or_default();
        for word in ["<svg", "mse", "kl", "training", "validation"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(svg.len() < 500_000);
        Ok(())
    }
}
