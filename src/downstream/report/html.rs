//! Small pieces of HTML.

use crate::print;
use std::fmt::{Display, Write};

/// Text with the characters that mean something in HTML replaced.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in print::clean(text, &['\n', '\t']).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A page that needs no other file. `body` is HTML already.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title),
        include_str!("page.css")
    )
}

/// A titled part of the page with a line of explanation; `body` is HTML already.
pub fn section(title: &str, about: &str, body: &str) -> String {
    format!(
        "<section>\n<h2>{}</h2>\n<p>{}</p>\n{body}\n</section>\n",
        escape(title),
        escape(about)
    )
}

/// A long text to be opened when it is wanted.
pub fn folded(text: &str) -> String {
    let lines = text.lines().count();
    let text = escape(text);
    format!("<details><summary>{lines} lines</summary><pre>{text}</pre></details>")
}

/// A picture with a line under it.
pub fn figure(svg: &str, caption: &str) -> String {
    // A view box lets the picture scale with the page.
    let svg = match (attribute(svg, "width"), attribute(svg, "height")) {
        (Some(w), Some(h)) if !svg.contains("viewBox") => {
            svg.replacen("<svg ", &format!("<svg viewBox=\"0 0 {w} {h}\" "), 1)
        }
        _ => svg.to_string(),
    };
    format!(
        "<figure>{svg}<figcaption>{}</figcaption></figure>\n",
        escape(caption)
    )
}

fn attribute<'a>(svg: &'a str, name: &str) -> Option<&'a str> {
    svg.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// A number with its name, for the row at the top; `strong` ones stand out.
pub struct Tile {
    pub value: String,
    pub name: String,
    pub strong: bool,
}

pub fn tiles(tiles: &[Tile]) -> String {
    let mut out = String::from("<div class=\"tiles\">\n");
    for t in tiles {
        let class = if t.strong { "tile strong" } else { "tile" };
        let (value, name) = (escape(&t.value), escape(&t.name));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<div class=\"{class}\"><b>{value}</b><span>{name}</span></div>"
        );
    }
    out + "</div>\n"
}

pub fn table<C: Display>(head: &[&str], rows: impl IntoIterator<Item = Vec<C>>) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        row.iter()
            .map(|c| format!("<{tag}>{}</{tag}>", escape(c)))
            .collect()
    };
    let head: Vec<String> = head.iter().map(|h| h.to_string()).collect();
    let mut out = format!("<table>\n<tr>{}</tr>\n", cells("th", &head));
    for row in rows {
        let row: Vec<String> = row.iter().map(|c| c.to_string()).collect();
        let _ = writeln!(out, "<tr>{}</tr>", cells("td", &row));
    }
    out + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let t = table(&["<b>"], [vec!["a & \"b\""]]);
        assert!(t.contains("<th>&lt;b&gt;</th>") && t.contains("<td>a &amp; &quot;b&quot;</td>"));
        let t = table(&["id"], [vec!["a\u{1b}[31m\u{202e}b"]]);
        assert!(t.contains("<td>a\\u{1b}[31m\\u{202e}b</td>"), "{t:?}");
    }

    /// What has a rule for the screen whose declarations `wrong` takes, so many at `least`, has one for
    /// paper that `mended` takes.
    fn paper_mends(least: usize, wrong: &dyn Fn(&str) -> bool, mended: &dyn Fn(&str) -> bool) {
        let page = page("", "");
        let (screen, print) = page.split_once("@media print").unwrap();
        let of = |css: &str, has: &dyn Fn(&str) -> bool| -> Vec<String> {
            let rules = css.lines().filter_map(|l| l.split_once('{'));
            let own = rules.filter(|rule| has(rule.1));
            own.flat_map(|r| r.0.split(',').map(|s| s.trim().to_string()))
                .collect()
        };
        let (wrong, mended) = (of(screen, wrong), of(print, mended));
        assert!(wrong.len() >= least, "{wrong:?}");
        assert!(
            wrong.iter().all(|s| mended.contains(s)),
            "{wrong:?} {mended:?}"
        );
    }

    /// On paper there is no ground of colour, under which text could not be read.
    #[test]
    fn every_ground_is_white_in_print() {
        let white = |body: &str| body.contains("background: #fff");
        let colored = |body: &str| body.contains("background:") && !white(body);
        paper_mends(3, &colored, &white);
    }

    /// Nobody can scroll on paper: what is cut off is lost.
    #[test]
    fn nothing_scrolls_in_print() {
        let scrolls = |body: &str| body.contains("overflow-x: auto");
        let whole = |body: &str| body.contains("overflow: visible");
        paper_mends(2, &scrolls, &whole);
    }

    /// Columns of a grid are as wide as they say, whatever the screen: a wide one must give way.
    #[test]
    fn columns_fit_narrow_screens() {
        let page = page("", "");
        let least: Vec<&str> = page
            .split("minmax(")
            .skip(1)
            .map(|rest| rest.split(", 1fr").next().unwrap())
            .collect();
        assert!(least.len() >= 2, "{least:?}");
        for least in least {
            let pixels = least.strip_suffix("px").and_then(|n| n.parse::<u32>().ok());
            // A screen of 400 pixels without the margins of page and section.
            let fits = pixels.is_some_and(|n| n <= 350);
            let gives_way = least.starts_with("min(") && least.ends_with(", 100%)");
            assert!(fits || gives_way, "{least}");
        }
    }

    #[test]
    fn figures_scale() {
        let f = figure("<svg width=\"600\" height=\"300\" xmlns=\"x\"></svg>", "c");
        assert!(f.contains("viewBox=\"0 0 600 300\""), "{f}");
    }
}
