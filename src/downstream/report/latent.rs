//! The latent space of an embedding file in pictures.

use super::html;
use crate::downstream::charts::{self, Axes, PALETTE, Series};
use crate::downstream::pca;
use crate::{Result, store};
use std::collections::BTreeMap;
use std::path::Path;

/// What the report needs of an embedding file.
pub struct Embedding {
    /// `[n, dim]`
    pub invariants: Vec<f32>,
    pub dim: usize,
    /// Residue names, `[n]`; empty when the file has none.
    pub names: Vec<String>,
    /// Cosine loss of every reconstruction, when the file has reconstructions.
    pub cosine_loss: Option<Vec<f32>>,
}

/// Side chains by their chemistry: few enough colours to tell apart.
const CLASSES: [(&str, &[&str]); 6] = [
    ("aliphatic", &["ALA", "ILE", "LEU", "MET", "VAL"]),
    ("aromatic", &["PHE", "TRP", "TYR"]),
    ("polar", &["ASN", "GLN", "SER", "THR"]),
    ("negative", &["ASP", "GLU"]),
    ("positive", &["ARG", "HIS", "LYS"]),
    ("Cys, Gly, Pro", &["CYS", "GLY", "PRO"]),
];

/// More dots than this make the page slow and the picture black.
const MOST_DOTS: usize = 6000;

impl Embedding {
    /// # Errors
    /// A file that is not one of embeddings, or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let file = store::open(path, store::Kind::Embeddings)?;
        let (invariants, shape) = file.read_shaped::<f32>("invariants", &[None, None])?;
        let names = if file.has("residues") {
            file.group("residues")?.read_strings("name")?
        } else {
            Vec::new()
        };
        let cosine_loss = match file.has("cosine_loss") {
            true => Some(file.read::<f32>("cosine_loss")?),
            false => None,
        };
        Ok(Self {
            invariants,
            dim: shape[1],
            names,
            cosine_loss,
        })
    }

    pub fn len(&self) -> usize {
        self.invariants.len() / self.dim.max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Mean cosine loss.
    pub fn mean_cosine_loss(&self) -> Option<f64> {
        let losses = self.cosine_loss.as_ref().filter(|l| !l.is_empty())?;
        Some(losses.iter().map(|&x| f64::from(x)).sum::<f64>() / losses.len() as f64)
    }
}

/// Two principal components of the invariants, coloured by side chain.
pub fn scatter(e: &Embedding) -> Result<String> {
    let projection = pca::project(&e.invariants, e.dim);
    let stride = e.len().div_ceil(MOST_DOTS).max(1);
    let class_of = |i: usize| match e.names.get(i) {
        None => "residues",
        Some(name) => CLASSES
            .iter()
            .find(|(_, members)| members.contains(&name.as_str()))
            .map_or("other", |(class, _)| class),
    };
    let mut groups: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for (i, p) in projection.points.iter().enumerate().step_by(stride) {
        groups.entry(class_of(i)).or_default().push((p[0], p[1]));
    }
    let series: Vec<Series> = groups
        .into_iter()
        .map(|(name, points)| Series {
            name: name.into(),
            color: color(name),
            points,
        })
        .collect();
    let axis = |k: usize| {
        let percent = 100.0 * projection.explained[k];
        format!("component {} ({percent:.0} % of the variance)", k + 1)
    };
    let svg = charts::scatter(
        (1000, 560),
        &Axes {
            x: &axis(0),
            y: &axis(1),
        },
        &series,
    )?;
    let shown = e.len().div_ceil(stride);
    Ok(html::figure(
        &svg,
        &format!("{shown} of {} residues", e.len()),
    ))
}

fn color(class: &str) -> plotters::style::RGBColor {
    let place = CLASSES.iter().position(|(name, _)| *name == class);
    PALETTE[place.unwrap_or(PALETTE.len() - 1)]
}

/// Mean cosine loss per residue type, best first: `(type, residues, mean)`.
pub fn by_residue(e: &Embedding) -> Vec<(String, usize, f64)> {
    let Some(losses) = &e.cosine_loss else {
        return Vec::new();
    };
    let mut sums: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (name, &loss) in e.names.iter().zip(losses) {
        let sum = sums.entry(name).or_default();
        sum.0 += 1;
        sum.1 += f64::from(loss);
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|(name, (n, sum))| (name.to_string(), n, sum / n as f64))
        .collect();
    rows.sort_by(|a, b| a.2.total_cmp(&b.2));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_averaged_per_type_and_sorted() {
        let e = Embedding {
            invariants: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            dim: 2,
            names: ["GLY", "ALA", "GLY"].map(String::from).to_vec(),
            cosine_loss: Some(vec![0.5, 0.25, 0.75]),
        };
        assert_eq!(
            by_residue(&e),
            [("ALA".to_string(), 1, 0.25), ("GLY".to_string(), 2, 0.625)]
        );
        assert_eq!(e.mean_cosine_loss(), Some(0.5));
        let svg = scatter(&e).unwrap();
        assert!(svg.contains("aliphatic") && svg.contains("Cys, Gly, Pro"));
        assert!(!svg.contains("aromatic"));
    }
}
