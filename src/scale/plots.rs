//! The curves as pictures.

use super::table::{Answer, Row};
use crate::Result;
use crate::draw::{Axes, PALETTE, Series, Size, lines_over_doublings};

const SIZE: Size = Size {
    width: 640,
    height: 340,
};

/// The pictures of one machine, by name: efficiency, speed, and the sum over the ranks by each
/// algorithm. Nothing where there are fewer than two numbers of ranks.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn plots(answers: &[Answer]) -> Result<Vec<(&'static str, String)>> {
    let enough: Vec<&Answer> = answers.iter().filter(|a| a.rows.len() > 1).collect();
    let Some(longest) = enough.iter().max_by_key(|a| a.rows.len()) else {
        return Ok(Vec::new());
    };
    let curves = |value: fn(&Row) -> f64| -> Vec<Series> {
        let series = |(i, a): (usize, &&Answer)| curve(a.title_word(), i, &a.rows, value);
        enough.iter().enumerate().map(series).collect()
    };
    let mut efficiency = curves(|r| r.efficiency);
    efficiency.push(curve("one half", 6, &longest.rows, |_| 0.5));
    let mut speed = curves(|r| r.samples_per_second);
    let per_rank = longest.rows[0].samples_per_second / longest.rows[0].step.ranks as f64;
    speed.push(Series {
        name: "without loss".into(),
        color: PALETTE[6],
        points: points(&longest.rows, |r| per_rank * r.step.ranks as f64),
    });
    // One rank sums with nobody.
    let several: Vec<Row> = longest
        .rows
        .iter()
        .filter(|r| r.step.ranks > 1)
        .cloned()
        .collect();
    let sums = [
        curve("tree", 0, &several, |r| 1e3 * r.sums.tree),
        curve("tree, 16 bit", 1, &several, |r| 1e3 * r.sums.tree_16_bit),
        curve("ring", 2, &several, |r| 1e3 * r.sums.ring),
        curve("hierarchical", 3, &several, |r| 1e3 * r.sums.hierarchical),
    ];
    let draw = |y, series: &[Series], log_y| {
        lines_over_doublings(SIZE, &Axes { x: "ranks", y }, series, log_y)
    };
    let mut drawn = vec![
        ("efficiency", draw("efficiency", &efficiency, false)?),
        ("speed", draw("samples per second", &speed, true)?),
    ];
    if several.len() > 1 {
        drawn.push(("sums", draw("sum over the ranks, ms", &sums, true)?));
    }
    Ok(drawn)
}

impl Answer {
    fn title_word(&self) -> &'static str {
        match self.curve.scaling {
            super::model::Scaling::Strong => "strong scaling",
            super::model::Scaling::Weak => "weak scaling",
        }
    }
}

fn curve(name: &str, color: usize, rows: &[Row], value: impl Fn(&Row) -> f64) -> Series {
    Series {
        name: name.into(),
        color: PALETTE[color],
        points: points(rows, value),
    }
}

fn points(rows: &[Row], value: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
    rows.iter()
        .map(|r| (r.step.ranks as f64, value(r)))
        .collect()
}
