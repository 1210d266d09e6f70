//! Charts with a named row per item.

use super::{Context, FONT, GRID, INK, PALETTE, Size, area, drawing, finished, number};
use crate::{Error, Result, stats};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// A row of dots.
pub struct Strip {
    pub name: String,
    pub values: Vec<f64>,
}

/// A bar from zero to a value.
pub struct Bar {
    pub name: String,
    pub value: f64,
}

/// One row per strip, the first on top: a dot per value, a line at their mean.
pub fn strips(size: Size, x_name: &str, strips: &[Strip]) -> Result<String> {
    let range = range(strips.iter().flat_map(|s| s.values.iter().copied()))?;
    let names: Vec<&str> = strips.iter().map(|s| s.name.as_str()).collect();
    rows(size, x_name, &names, range, |chart, i, y| {
        let (values, color) = (&strips[i].values, PALETTE[i % PALETTE.len()]);
        let dots = values.iter();
        let dots = dots.map(|&v| Circle::new((v, y), 4, color.mix(0.45).filled()));
        chart.draw_series(dots).map_err(drawing)?;
        if !values.is_empty() {
            let mean = stats::mean(values);
            let ends = [(mean, y - 0.32), (mean, y + 0.32)];
            let line = PathElement::new(ends, color.stroke_width(3));
            chart.draw_series([line]).map_err(drawing)?;
        }
        Ok(())
    })
}

/// One bar per value from zero on, the first on top; those above zero in another colour than
/// those below.
pub fn bars(size: Size, x_name: &str, bars: &[Bar]) -> Result<String> {
    let range = range(bars.iter().map(|b| b.value).chain([0.0]))?;
    let names: Vec<&str> = bars.iter().map(|b| b.name.as_str()).collect();
    rows(size, x_name, &names, range, |chart, i, y| {
        let value = bars[i].value;
        let color = PALETTE[usize::from(value < 0.0)];
        let corners = [(0.0, y - 0.36), (value, y + 0.36)];
        let bar = Rectangle::new(corners, color.mix(0.8).filled());
        chart.draw_series([bar]).map_err(drawing)?;
        Ok(())
    })
}

/// What holds all values, with a little air.
fn range(values: impl Iterator<Item = f64> + Clone) -> Result<Range<f64>> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return Err(Error::internal("a chart of no finite values"));
    }
    let air = (0.05 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    Ok(low - air..high + air)
}

/// The frame: names on the left, values below. `draw` draws row `i` at height `y`.
fn rows(
    size: Size,
    x_name: &str,
    names: &[&str],
    range: Range<f64>,
    draw: impl Fn(&mut Context<RangedCoordf64, RangedCoordf64>, usize, f64) -> Result<()>,
) -> Result<String> {
    let count = names.len() as f64;
    let longest = names.iter().map(|n| n.chars().count()).max();
    let room = (8 * longest.unwrap_or(0) as u32 + 16).min(size.width / 2);
    let mut svg = String::new();
    {
        let area = area(&mut svg, size);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(room)
            .build_cartesian_2d(range.clone(), -0.5..count - 0.5)
            .map_err(drawing)?;
        let text = (FONT, 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK.mix(0.5))
            .x_labels(6)
            .label_style(text.clone())
            .axis_desc_style(text.clone())
            .x_label_formatter(&|v| number(*v))
            .x_desc(x_name)
            .draw()
            .map_err(drawing)?;
        let style = text.pos(Pos::new(HPos::Right, VPos::Center));
        for (i, name) in names.iter().enumerate() {
            // Heights count from the bottom.
            let y = count - 1.0 - i as f64;
            draw(&mut chart, i, y)?;
            let (_, at) = chart.backend_coord(&(range.start, y));
            area.draw_text(name, &style, (room as i32 + 2, at))
                .map_err(drawing)?;
        }
        drop(chart);
        area.present().map_err(drawing)?;
    }
    Ok(finished(&svg))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 400,
        height: 200,
    };

    #[test]
    fn every_row_has_its_name_and_its_values() {
        let strip = |name: &str, values: &[f64]| Strip {
            name: name.into(),
            values: values.to_vec(),
        };
        let all = [strip("one", &[0.5, 0.6, 0.7]), strip("none", &[])];
        let svg = strips(SIZE, "accuracy", &all).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3);
        for text in ["one", "none", "accuracy"] {
            assert!(svg.contains(text), "{text}");
        }
        let bar = |name: &str, value| Bar {
            name: name.into(),
            value,
        };
        let both = [bar("bead 1", 0.5), bar("bead 2", -1.0)];
        let svg = bars(SIZE, "contribution", &both).unwrap();
        assert!(svg.contains("bead 2") && svg.matches("<rect").count() >= 2);
        assert!(strips(SIZE, "x", &[strip("none", &[])]).is_err());
    }
}
