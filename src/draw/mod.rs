//! Charts as SVG text, for files and for pages that must stand alone.

use crate::{Error, Result, print};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

mod curves;
mod heat;
mod rows;

pub use curves::curves;
pub use heat::heat;
pub use rows::{Bar, Strip, bars, strips};

/// Colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

const INK: RGBColor = RGBColor(55, 65, 81);
const GRID: RGBColor = RGBColor(229, 231, 235);
const FONT: &str = "sans-serif";

/// Named points of one colour.
pub struct Series {
    /// Empty: not in the legend.
    pub name: String,
    pub color: RGBColor,
    pub points: Vec<(f64, f64)>,
}

/// What is written beside the axes.
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
}

/// Of a chart, in pixels.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// Values whose distribution is drawn.
pub struct Distribution<'a> {
    pub name: &'a str,
    pub color: RGBColor,
    pub values: &'a [f32],
}

/// Lines through points; a logarithmic y axis when `log_y` (all y must then be positive).
pub fn lines(size: Size, axes: &Axes, series: &[Series], log_y: bool) -> Result<String> {
    let (x, y) = bounds(series, log_y)?;
    if log_y {
        chart(size, axes, x, y.log_scale(), |chart| {
            draw_lines(chart, series, SeriesLabelPosition::UpperRight)
        })
    } else {
        chart(size, axes, x, y, |chart| {
            draw_lines(chart, series, SeriesLabelPosition::UpperRight)
        })
    }
}

/// Lines through points over a logarithmic x axis with ticks at powers of two, and a logarithmic
/// y axis when `log_y` (all x, and then all y, must be positive).
pub fn lines_over_doublings(
    size: Size,
    axes: &Axes,
    series: &[Series],
    log_y: bool,
) -> Result<String> {
    let (x, y) = bounds(series, log_y)?;
    if x.start <= 0.0 {
        return Err(Error::internal("a logarithmic axis of numbers below zero"));
    }
    let x = x.log_scale().base(2.0);
    if log_y {
        chart(size, axes, x, y.log_scale(), |chart| {
            draw_lines(chart, series, SeriesLabelPosition::UpperLeft)
        })
    } else {
        chart(size, axes, x, y, |chart| {
            draw_lines(chart, series, SeriesLabelPosition::LowerLeft)
        })
    }
}

/// One dot per point.
pub fn scatter(size: Size, axes: &Axes, series: &[Series]) -> Result<String> {
    let (x, y) = bounds(series, false)?;
    let air = 0.03 * (x.end - x.start);
    let x = x.start - air..x.end + air;
    chart(size, axes, x, y, |chart| {
        draw_dots(chart, series, SeriesLabelPosition::UpperRight)
    })
}

/// One dot per point, both axes alike, with the line on which x and y agree.
pub fn agreement(size: Size, axes: &Axes, series: &[Series]) -> Result<String> {
    let (x, y) = bounds(series, false)?;
    let both = x.start.min(y.start)..x.end.max(y.end);
    chart(size, axes, both.clone(), both.clone(), |chart| {
        let line = [(both.start, both.start), (both.end, both.end)];
        chart
            .draw_series(LineSeries::new(line, INK.mix(0.5).stroke_width(1)))
            .map_err(drawing)?;
        draw_dots(chart, series, SeriesLabelPosition::UpperLeft)
    })
}

/// Share of the values per bin, one outline per set of values.
pub fn histogram(size: Size, axes: &Axes, sets: &[Distribution], bins: usize) -> Result<String> {
    let all = || {
        sets.iter()
            .flat_map(|s| s.values.iter().map(|&v| f64::from(v)))
    };
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return Err(Error::internal("a histogram of no finite values"));
    }
    let width = ((high - low) / bins as f64).max(1e-9);
    let series: Vec<Series> = sets
        .iter()
        .map(|set| {
            let mut counts = vec![0usize; bins];
            for &v in set.values {
                counts[(((f64::from(v) - low) / width) as usize).min(bins - 1)] += 1;
            }
            let mut points = vec![(low, 0.0)];
            for (i, &count) in counts.iter().enumerate() {
                let share = count as f64 / set.values.len().max(1) as f64;
                points.push((low + i as f64 * width, share));
                points.push((low + (i + 1) as f64 * width, share));
            }
            points.push((low + bins as f64 * width, 0.0));
            Series {
                name: set.name.to_string(),
                color: set.color,
                points,
            }
        })
        .collect();
    let (x, y) = bounds(&series, false)?;
    chart(size, axes, x, y, |chart| {
        for s in &series {
            let area = Polygon::new(s.points.clone(), s.color.mix(0.25).filled());
            chart.draw_series([area]).map_err(drawing)?;
        }
        draw_lines(chart, &series, SeriesLabelPosition::UpperMiddle)
    })
}

type Context<'a, X, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>;

fn draw_lines<X, Y>(
    chart: &mut Context<X, Y>,
    series: &[Series],
    place: SeriesLabelPosition,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for s in series {
        let stroke = s.color.stroke_width(2);
        if let [only] = s.points[..] {
            // A line of one point has no length.
            let dot = Circle::new(only, 3, s.color.filled());
            chart.draw_series([dot]).map_err(drawing)?;
        }
        let line = chart
            .draw_series(LineSeries::new(s.points.iter().copied(), stroke))
            .map_err(drawing)?;
        if s.name.is_empty() {
            continue;
        }
        line.label(&s.name)
            .legend(move |p| PathElement::new([p, (p.0 + 18, p.1)], stroke));
    }
    legend(chart, series, place)
}

fn draw_dots<X, Y>(
    chart: &mut Context<X, Y>,
    series: &[Series],
    place: SeriesLabelPosition,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for s in series {
        let color = s.color;
        let dots = s
            .points
            .iter()
            .map(|&p| Circle::new(p, 3, color.mix(0.55).filled()));
        chart
            .draw_series(dots)
            .map_err(drawing)?
            .label(&s.name)
            .legend(move |p| Circle::new((p.0 + 9, p.1), 4, color.filled()));
    }
    legend(chart, series, place)
}

/// The first line of every picture that has a file of its own.
pub const PICTURE: &str = "<!-- a picture of holosig -->";

/// A picture as it is written to a file.
pub fn file(svg: &str) -> String {
    format!("{PICTURE}\n{svg}")
}

/// A picture that has been drawn. Names in it come from files of others: characters that would steer
/// a page, most of which no XML may hold, are shown as escapes.
fn finished(svg: &str) -> String {
    print::clean(svg, &['\n', '\t'])
}

fn area(svg: &mut String, size: Size) -> DrawingArea<SVGBackend<'_>, plotters::coord::Shift> {
    SVGBackend::with_string(svg, (size.width, size.height)).into_drawing_area()
}

/// The frame that all charts share: margins, a light grid, axis labels.
fn chart<X, Y>(
    size: Size,
    axes: &Axes,
    x: impl plotters::coord::ranged1d::AsRangedCoord<CoordDescType = X, Value = f64>,
    y: impl plotters::coord::ranged1d::AsRangedCoord<CoordDescType = Y, Value = f64>,
    draw: impl FnOnce(&mut Context<X, Y>) -> Result<()>,
) -> Result<String>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = area(&mut svg, size);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)
            .map_err(drawing)?;
        let text = (FONT, 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK.mix(0.5))
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
        draw(&mut chart)?;
        drop(chart);
        area.present().map_err(drawing)?;
    }
    Ok(finished(&svg))
}

fn legend<X, Y>(
    chart: &mut Context<X, Y>,
    series: &[Series],
    place: SeriesLabelPosition,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    if series.len() < 2 {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(place)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font((FONT, 14).into_font().color(&INK))
        .draw()
        .map_err(drawing)
}

type Bounds = (std::ops::Range<f64>, std::ops::Range<f64>);

/// Ranges that hold all points, with a little air in y.
fn bounds(series: &[Series], log_y: bool) -> Result<Bounds> {
    let points = || series.iter().flat_map(|s| s.points.iter());
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let low = points().map(pick).fold(f64::INFINITY, f64::min);
        let high = points().map(pick).fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    let (x0, x1) = range(|p| p.0);
    let (y0, y1) = range(|p| p.1);
    if ![x0, x1, y0, y1].iter().all(|v| v.is_finite()) || (log_y && y0 <= 0.0) {
        return Err(Error::internal(
            "a chart of no points, or of points that are not finite",
        ));
    }
    let x = x0..if x1 > x0 { x1 } else { x0 + 1.0 };
    let y = if log_y {
        y0 / 1.1..y1 * 1.1
    } else {
        let air = if y1 > y0 { 0.06 * (y1 - y0) } else { 0.5 };
        // A quantity that is never negative keeps zero as its floor.
        let floor = if y0 >= 0.0 {
            (y0 - air).max(0.0)
        } else {
            y0 - air
        };
        floor..y1 + air
    };
    Ok((x, y))
}

/// A short decimal form for axis labels.
fn number(v: f64) -> String {
    let size = v.abs();
    if size < 1e-9 {
        // Also what rounding leaves of a zero tick.
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{v:.0e}")
    } else if size >= 100.0 {
        format!("{v:.0}")
    } else {
        let digits = if size < 0.1 { 4 } else { 3 };
        let text = format!("{v:.digits$}");
        text.trim_end_matches('0').trim_end_matches('.').into()
    }
}

fn drawing<E: std::error::Error + Send + Sync>(e: DrawingAreaErrorKind<E>) -> Error {
    Error::internal(format!("drawing a chart: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 600,
        height: 300,
    };

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.05, "0.05"),
            (0.0015, "0.0015"),
            (2.5, "2.5"),
            (12000.0, "12000"),
            (1e-5, "1e-5"),
        ];
        for (v, text) in cases {
            assert_eq!(number(v), text);
        }
    }

    #[test]
    fn a_chart_holds_its_labels_and_every_series() {
        let series = ["training", "validation"].map(|name| Series {
            name: name.into(),
            color: PALETTE[0],
            points: vec![(0.0, 1.0), (10.0, 0.1)],
        });
        for log_y in [false, true] {
            let axes = Axes {
                x: "step",
                y: "loss",
            };
            let svg = lines(SIZE, &axes, &series, log_y).unwrap();
            for text in ["step", "loss", "training", "validation"] {
                assert!(svg.contains(text), "{text}");
            }
            assert!(svg.matches("<polyline").count() >= 2);
        }
    }

    #[test]
    fn doublings_are_equally_far_apart() {
        let series = [Series {
            name: "speed".into(),
            color: PALETTE[0],
            points: [1.0, 2.0, 4.0, 8.0].map(|p| (p, p)).to_vec(),
        }];
        let axes = Axes {
            x: "ranks",
            y: "speed",
        };
        for log_y in [false, true] {
            let svg = lines_over_doublings(SIZE, &axes, &series, log_y).unwrap();
            for tick in [">1<", ">2<", ">4<", ">8<"] {
                let tick = svg
                    .split("<text")
                    .any(|t| t.replace('\n', "").contains(tick));
                assert!(tick, "{svg}");
            }
        }
        let mut zero = series;
        zero[0].points[0].0 = 0.0;
        assert!(lines_over_doublings(SIZE, &axes, &zero, false).is_err());
    }

    #[test]
    fn names_are_shown_and_steer_no_page() {
        let name = "a\u{1b}[31m\u{202e}b";
        let axes = Axes { x: name, y: "y" };
        let series = ["x", name].map(|name| Series {
            name: name.into(),
            color: PALETTE[0],
            points: vec![(0.0, 1.0), (1.0, 2.0)],
        });
        let bar = Bar {
            name: name.into(),
            value: 1.0,
        };
        let strip = Strip {
            name: name.into(),
            values: vec![1.0, 2.0],
        };
        let record = serde_json::json!({"event": "train", "step": 1, name: 0.5});
        let pictures = [
            lines(SIZE, &axes, &series, false).unwrap(),
            scatter(SIZE, &axes, &series).unwrap(),
            heat(SIZE, &axes, &[vec![0.0, 1.0]], (0.0, 0.0), (1.0, 1.0)).unwrap(),
            bars(SIZE, "x", &[bar]).unwrap(),
            strips(SIZE, "x", &[strip]).unwrap(),
            curves(&[record]).unwrap().unwrap(),
        ];
        for svg in pictures {
            assert!(svg.contains("a\\u{1b}[31m\\u{202e}b"), "{svg:?}");
            let obeyed = |c: char| c != '\n' && print::steers(c);
            assert!(!svg.contains(obeyed), "{svg:?}");
        }
    }

    #[test]
    fn nothing_to_draw_is_an_error_not_a_panic() {
        let axes = Axes { x: "x", y: "y" };
        assert!(lines(SIZE, &axes, &[], false).is_err());
        let empty = Distribution {
            name: "a",
            color: PALETTE[0],
            values: &[],
        };
        assert!(histogram(SIZE, &axes, &[empty], 10).is_err());
        let one = Series {
            name: "a".into(),
            color: PALETTE[0],
            points: vec![(1.0, f64::NAN)],
        };
        assert!(scatter(SIZE, &axes, &[one]).is_err());
    }
}
