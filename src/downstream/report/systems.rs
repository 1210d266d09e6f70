//! What a network of atoms predicts, beside what is known: parity, errors by composition and by
//! the strength of forces.

use super::{HALF, html};
use crate::data::system::System;
use crate::draw::{self, Axes, PALETTE, Series};
use crate::models::graph::{FORCES, STRESS};
use crate::store::{self, Kind, Node};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Most dots of a picture; more are thinned out evenly.
const DOTS: usize = 3000;
/// Most rows of a table of compositions.
const ROWS: usize = 20;
/// Groups of forces of equal size.
const BINS: usize = 8;

/// A file of `holosig predict`.
pub struct Predicted {
    values: Vec<Values>,
    formulas: Vec<String>,
    /// `[atoms]`, predicted and measured, if both are known.
    forces: Option<[Vec<[f64; 3]>; 2]>,
    force_unit: String,
    /// Components, predicted and measured, if both are known.
    stresses: Option<[Vec<f64>; 2]>,
    stress_unit: String,
}

/// A target of all systems.
struct Values {
    name: String,
    unit: String,
    predicted: Vec<f64>,
    measured: Vec<f64>,
}

impl Predicted {
    /// # Errors
    /// A file that is none of ours, or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let file = store::open(path, Kind::PredictedSystems)?;
        let known = file.group("measured")?;
        let offsets: Vec<u64> = file.read("offsets")?;
        let numbers: Vec<u8> = file.read("number")?;
        let formula = |w: &[u64]| {
            let own = numbers.get(w[0] as usize..w[1] as usize);
            let numbers = own.unwrap_or_default().to_vec();
            System::<f64> {
                numbers,
                ..System::default()
            }
            .formula()
        };
        let formulas: Vec<String> = offsets.windows(2).map(formula).collect();
        let mut values = Vec::new();
        let names = known.names()?.into_iter();
        for name in names.filter(|n| ![FORCES, STRESS].contains(&n.as_str())) {
            let own = Values {
                unit: file.attr_text(&format!("{name}_unit"))?,
                predicted: file.read(&name)?,
                measured: known.read(&name)?,
                name,
            };
            if own.predicted.len() != formulas.len() || own.measured.len() != formulas.len() {
                return Err(Error::file(path, "its arrays do not fit together"));
            }
            values.push(own);
        }
        let rows = |group: &Node| -> Result<Vec<[f64; 3]>> {
            let (flat, _) = group.read_shaped::<f64>(FORCES, &[Some(numbers.len()), Some(3)])?;
            Ok(flat.as_chunks().0.to_vec())
        };
        let (forces, force_unit) = match file.has(FORCES) && known.has(FORCES) {
            true => (
                Some([rows(&file)?, rows(&known)?]),
                file.attr_text("forces_unit")?,
            ),
            false => (None, String::new()),
        };
        let tensors = |group: &Node| -> Result<Vec<f64>> {
            let shape = [Some(formulas.len()), Some(3), Some(3)];
            Ok(group.read_shaped::<f64>(STRESS, &shape)?.0)
        };
        let (stresses, stress_unit) = match file.has(STRESS) && known.has(STRESS) {
            true => (
                Some([tensors(&file)?, tensors(&known)?]),
                file.attr_text("stress_unit")?,
            ),
            false => (None, String::new()),
        };
        Ok(Self {
            stresses,
            stress_unit: stress_unit.replace("/A", "/Å"),
            values,
            formulas,
            forces,
            force_unit: force_unit.replace("/A", "/Å"),
        })
    }

    /// Sections of a page.
    ///
    /// # Errors
    /// A chart that cannot be drawn.
    pub fn sections(&self) -> Result<String> {
        let mut figures = String::new();
        for v in &self.values {
            figures += &parity(&v.name, &v.unit, v.predicted.iter().zip(&v.measured))?;
        }
        if let Some([own, known]) = &self.forces {
            let pairs = own.as_flattened().iter().zip(known.as_flattened());
            figures += &parity("force component", &self.force_unit, pairs)?;
        }
        if let Some([own, known]) = &self.stresses {
            let pairs = own.iter().zip(known);
            figures += &parity("stress component", &self.stress_unit, pairs)?;
        }
        let mut body = html::section(
            "Predicted against measured",
            "One dot per system or component of a force or stress, thinned out where there are very many; on the \
             line, prediction and measurement agree.",
            &format!("<div class=\"pair\">\n{figures}</div>"),
        );
        body += &self.by_composition();
        body += &self.by_force();
        Ok(body)
    }

    fn by_composition(&self) -> String {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, formula) in self.formulas.iter().enumerate() {
            groups.entry(formula).or_default().push(i);
        }
        if groups.len() < 2 {
            return String::new();
        }
        let all = groups.len();
        let mut groups: Vec<(&str, Vec<usize>)> = groups.into_iter().collect();
        // The most frequent first; the sort is stable, so equals stay in order of their names.
        groups.sort_by_key(|(_, own)| std::cmp::Reverse(own.len()));
        groups.truncate(ROWS);
        let mut head = vec!["composition".to_string(), "systems".into()];
        head.extend(
            self.values
                .iter()
                .map(|v| format!("MAE of {}, {}", v.name, v.unit)),
        );
        let row = |(formula, own): &(&str, Vec<usize>)| {
            let mean = |v: &Values| {
                let errors = own.iter().map(|&i| (v.predicted[i] - v.measured[i]).abs());
                format!("{:.4}", errors.sum::<f64>() / own.len() as f64)
            };
            let mut row = vec![formula.to_string(), own.len().to_string()];
            row.extend(self.values.iter().map(mean));
            row
        };
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        html::section(
            "Error by composition",
            &format!("The most frequent of {all} compositions."),
            &html::table(&head, groups.iter().map(row)),
        )
    }

    fn by_force(&self) -> String {
        let Some([own, known]) = &self.forces else {
            return String::new();
        };
        let length = |f: &[f64; 3]| f.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut atoms: Vec<(f64, f64)> = own
            .iter()
            .zip(known)
            .filter(|(_, k)| k.iter().all(|x| x.is_finite()))
            .map(|(o, k)| {
                let error = o.iter().zip(k).map(|(o, k)| (o - k).abs()).sum::<f64>() / 3.0;
                (length(k), error)
            })
            .collect();
        atoms.sort_by(|a, b| a.0.total_cmp(&b.0));
        if atoms.is_empty() {
            return String::new();
        }
        let rows = atoms.chunks(atoms.len().div_ceil(BINS)).map(|bin| {
            let errors: f64 = bin.iter().map(|a| a.1).sum();
            let (first, last) = (bin[0].0, bin[bin.len() - 1].0);
            vec![
                format!("{first:.3} to {last:.3}"),
                bin.len().to_string(),
                format!("{:.4}", errors / bin.len() as f64),
            ]
        });
        html::section(
            "Error by the strength of the force",
            &format!(
                "Atoms in groups of equal size by the force on them, {}.",
                self.force_unit
            ),
            &html::table(&["force", "atoms", "MAE of a component"], rows),
        )
    }
}

/// One picture of predictions beside measurements.
fn parity<'a>(
    name: &str,
    unit: &str,
    pairs: impl ExactSizeIterator<Item = (&'a f64, &'a f64)>,
) -> Result<String> {
    let every = pairs.len().div_ceil(DOTS).max(1);
    let finite = |(p, m): (&f64, &f64)| (p.is_finite() && m.is_finite()).then_some((*m, *p));
    let points: Vec<(f64, f64)> = pairs.step_by(every).filter_map(finite).collect();
    if points.is_empty() {
        return Ok(String::new());
    }
    let series = Series {
        name: String::new(),
        color: PALETTE[0],
        points,
    };
    let (x, y) = (format!("measured {unit}"), format!("predicted {unit}"));
    let svg = draw::agreement(HALF, &Axes { x: &x, y: &y }, &[series])?;
    Ok(html::figure(&svg, name))
}
