//! A table of numbers as colours.

use super::{Axes, FONT, INK, Size, area, drawing, finished, number};
use crate::{Error, Result};
use plotters::prelude::*;

/// Most cells along an axis; more are averaged.
const CELLS: usize = 160;

/// The values `rows[y][x]` as colours from white to dark blue, row 0 at the bottom; the axes count
/// from `from.0` and `from.1` in steps of `step.0` and `step.1`.
///
/// # Errors
/// No values, rows of unequal lengths, values that are not finite.
pub fn heat(
    size: Size,
    axes: &Axes,
    rows: &[Vec<f64>],
    from: (f64, f64),
    step: (f64, f64),
) -> Result<String> {
    let (height, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    let all = || rows.iter().flatten().copied();
    if width == 0 || rows.iter().any(|r| r.len() != width) || !all().all(f64::is_finite) {
        return Err(Error::internal(
            "a picture of no table, or of values that are not finite",
        ));
    }
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
        (a.min(v), b.max(v))
    });
    let mut svg = String::new();
    {
        let area = area(&mut svg, size);
        let text = (FONT, 14).into_font().color(&INK);
        let (x1, y1) = (
            from.0 + step.0 * width as f64,
            from.1 + step.1 * height as f64,
        );
        let caption = format!("white {}, dark {}", number(low), number(high));
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(18)
            .caption(caption, text.clone())
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(from.0..x1, from.1..y1)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(8)
            .y_labels(7)
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_label_formatter(&|v| number(*v))
            .y_label_formatter(&|v| number(*v))
            .x_desc(axes.x)
            .y_desc(axes.y)
            .draw()
            .map_err(drawing)?;
        let (columns, lines) = (width.min(CELLS), height.min(CELLS));
        let range = |i: usize, n: usize, of: usize| (i * n / of, (i + 1) * n / of);
        let cells = (0..lines).flat_map(|j| (0..columns).map(move |i| (i, j)));
        let cells = cells.map(|(i, j)| {
            let ((xa, xb), (ya, yb)) = (range(i, width, columns), range(j, height, lines));
            let here = rows[ya..yb].iter().flat_map(|r| &r[xa..xb]);
            let mean = here.sum::<f64>() / ((xb - xa) * (yb - ya)) as f64;
            let place =
                |x: usize, y: usize| (from.0 + step.0 * x as f64, from.1 + step.1 * y as f64);
            let share = if high > low {
                (mean - low) / (high - low)
            } else {
                0.0
            };
            Rectangle::new([place(xa, ya), place(xb, yb)], shade(share).filled())
        });
        chart.draw_series(cells).map_err(drawing)?;
        area.present().map_err(drawing)?;
    }
    Ok(finished(&svg))
}

/// White at 0, dark blue at 1.
fn shade(share: f64) -> RGBColor {
    let mix = |dark: u8| (255.0 + (f64::from(dark) - 255.0) * share).round() as u8;
    RGBColor(mix(8), mix(48), mix(107))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_are_averaged() {
        let size = Size {
            width: 600,
            height: 300,
        };
        let axes = Axes {
            x: "time",
            y: "residue",
        };
        let rows = vec![vec![0.0, 1.0], vec![0.5, 0.5]];
        let svg = heat(size, &axes, &rows, (0.0, 1.0), (1.0, 1.0)).unwrap();
        for text in ["time", "residue", "#FFFFFF", "#08306B"] {
            assert!(svg.contains(text), "{text}");
        }
        let rows = vec![vec![1.0; 2000]; 3];
        let svg = heat(size, &axes, &rows, (0.0, 1.0), (1.0, 1.0)).unwrap();
        assert!(svg.matches("<rect").count() <= 3 * CELLS + 2);
        assert!(heat(size, &axes, &[], (0.0, 0.0), (1.0, 1.0)).is_err());
        assert!(heat(size, &axes, &[vec![f64::NAN]], (0.0, 0.0), (1.0, 1.0)).is_err());
    }
}
