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
    }

    /// On paper there is no ground of colour, under which text could not be read.
    #[test]
    fn every_ground_is_white_in_print() {
        let (screen, print) = include_str!("page.css").split_once("@media print").unwrap();
        let grounds = |css: &str, white: bool| -> Vec<String> {
            let rules = css.lines().filter_map(|l| l.split_once('{'));
            let ground = |body: &str| body.contains("background: #fff");
            let own = rules.filter(|r| r.1.contains("background:") && ground(r.1) == white);
            own.flat_map(|r| r.0.split(',').map(|s| s.trim().to_string()))
                .collect()
        };
        let (colored, white) = (grounds(screen, false), grounds(print, true));
        assert!(colored.len() >= 3, "{colored:?}");
        assert!(
            colored.iter().all(|s| white.contains(s)),
            "{colored:?} {white:?}"
        );
    }

    #[test]
    fn figures_scale() {
        let f = figure("<svg width=\"600\" height=\"300\" xmlns=\"x\"></svg>", "c");
        assert!(f.contains("viewBox=\"0 0 600 300\""), "{f}");
    }
}
