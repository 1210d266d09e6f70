//! The latent space of an embedding file in pictures.

use super::html;
use crate::downstream::pca;
use crate::draw::{self, Axes, PALETTE, Series, Size};
use crate::{Error, Result, store};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the report needs of an embedding file.
pub struct Embedding {
    /// `[n, dim]`
    pub invariants: Vec<f32>,
    pub dim: usize,
    /// Residue names, `[n]`; empty when the file has none.
    pub names: Vec<String>,
    /// Other labels of the residues, by name; empty texts where a residue has none.
    pub labels: Vec<(String, Vec<String>)>,
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

const WIDE: Size = Size {
    width: 1000,
    height: 560,
};

/// More dots than this make the page slow and the picture black.
const MOST_DOTS: usize = 6000;

impl Embedding {
    /// # Errors
    /// A file that is not one of embeddings, or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let file = store::open(path, store::Kind::Embeddings)?;
        if !file.has("invariants") && file.has("prediction") {
            return Err(Error::input(format!(
                "{}: embeddings of trajectories, where those of residues are needed",
                path.display()
            )));
        }
        let (invariants, shape) = file.read_shaped::<f32>("invariants", &[None, None])?;
        let names = if file.has("residues") {
            file.group("residues")?.read_strings("name")?
        } else {
            Vec::new()
        };
        let labels = match file.has("labels") {
            true => {
                let group = file.group("labels")?;
                let read = |name: String| Ok((name.clone(), group.read_strings(&name)?));
                group
                    .names()?
                    .into_iter()
                    .map(read)
                    .collect::<Result<_>>()?
            }
            false => Vec::new(),
        };
        let cosine_loss = match file.has("cosine_loss") {
            true => Some(file.read::<f32>("cosine_loss")?),
            false => None,
        };
        Ok(Self {
            invariants,
            dim: shape[1],
            names,
            labels,
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
    let groups: Vec<&str> = match e.names.is_empty() {
        true => vec!["residues"; e.len()],
        false => e.names.iter().map(|n| side_chain(n)).collect(),
    };
    Projection::pca(e).draw(WIDE, &groups)
}

/// Pictures of the latent space, one per projection and kind of label: the latent space itself
/// or its principal components, and t-SNE where it has more than two dimensions.
pub fn pictures(e: &Embedding) -> Result<String> {
    let mut projections = vec![Projection::pca(e)];
    if e.dim > 2 && e.len() >= FEWEST_NEIGHBORED {
        projections.push(Projection::tsne(e));
    }
    let mut sets = Vec::new();
    for (name, texts) in &e.labels {
        let kinds: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
        let group = |text: &String| -> Option<String> {
            match (text.as_str(), name.as_str()) {
                ("", _) => None,
                (name, "residue") => Some(side_chain(name).into()),
                _ if kinds.len() <= PALETTE.len() + 1 => Some(text.clone()),
                _ => None,
            }
        };
        let groups: Vec<Option<String>> = texts.iter().map(group).collect();
        if groups.iter().any(Option::is_some) {
            sets.push(groups);
        }
    }
    let size = match sets.len() * projections.len() {
        1 => WIDE,
        _ => Size {
            width: 560,
            height: 420,
        },
    };
    let mut out = String::new();
    for groups in &sets {
        let groups: Vec<&str> = groups.iter().map(|g| g.as_deref().unwrap_or("")).collect();
        for projection in &projections {
            out += &projection.draw(size, &groups)?;
        }
    }
    if sets.len() * projections.len() == 1 {
        return Ok(out);
    }
    Ok(format!("<div class=\"pair\">\n{out}</div>"))
}

/// Below this t-SNE has too few neighbours to look at.
const FEWEST_NEIGHBORED: usize = 200;

/// Residues at places on a page.
struct Projection {
    axes: [String; 2],
    about: &'static str,
    /// Number of the residue, place.
    points: Vec<(usize, [f64; 2])>,
    of: usize,
}

impl Projection {
    fn pca(e: &Embedding) -> Self {
        let projection = pca::project(&e.invariants, e.dim);
        let stride = e.len().div_ceil(MOST_DOTS).max(1);
        let axis = |k: usize| {
            let percent = 100.0 * projection.explained[k];
            format!("component {} ({percent:.0} % of the variance)", k + 1)
        };
        let points = projection.points.iter().copied().enumerate();
        Self {
            axes: [axis(0), axis(1)],
            about: "Principal components",
            points: points.step_by(stride).collect(),
            of: e.len(),
        }
    }

    /// t-SNE (van der Maaten 2014) from the principal components on.
    fn tsne(e: &Embedding) -> Self {
        const MOST: usize = 2000;
        const PERPLEXITY: f32 = 30.0;
        let stride = e.len().div_ceil(MOST).max(1);
        let chosen: Vec<usize> = (0..e.len()).step_by(stride).collect();
        let row = |&i: &usize| &e.invariants[i * e.dim..(i + 1) * e.dim];
        let rows: Vec<&[f32]> = chosen.iter().map(row).collect();
        let start = pca::project(&rows.concat(), e.dim).points;
        let largest = start.iter().map(|p| p[0].abs()).fold(1e-12, f64::max);
        let start: Vec<f32> = start
            .iter()
            .flat_map(|p| p.map(|c| (1e-2 * c / largest) as f32))
            .collect();
        let mut tsne: bhtsne::tSNE<f32, &[f32]> = bhtsne::tSNE::new(&rows);
        let distance = |a: &&[f32], b: &&[f32]| {
            let pairs = a.iter().zip(b.iter());
            pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
        };
        tsne.perplexity(PERPLEXITY)
            .initial_embedding(start)
            .barnes_hut(0.5, distance);
        let places = tsne.embedding();
        let (places, _) = places.as_chunks::<2>();
        Self {
            axes: ["t-SNE 1".into(), "t-SNE 2".into()],
            about: "t-SNE, perplexity 30",
            points: chosen
                .into_iter()
                .zip(places.iter().map(|p| p.map(f64::from)))
                .collect(),
            of: e.len(),
        }
    }

    /// `groups`: one name per residue; those without a name are left out.
    fn draw(&self, size: Size, groups: &[&str]) -> Result<String> {
        let mut members: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for (i, p) in self.points.iter().filter(|p| !groups[p.0].is_empty()) {
            members.entry(groups[*i]).or_default().push((p[0], p[1]));
        }
        let shown: usize = members.values().map(Vec::len).sum();
        let chemistry = members
            .keys()
            .any(|name| CLASSES.iter().any(|c| c.0 == *name));
        let series = members
            .into_iter()
            .enumerate()
            .map(|(i, (name, points))| Series {
                name: name.into(),
                color: match chemistry {
                    true => color(name),
                    false => PALETTE[i % PALETTE.len()],
                },
                points,
            });
        let axes = Axes {
            x: &self.axes[0],
            y: &self.axes[1],
        };
        let svg = draw::scatter(size, &axes, &series.collect::<Vec<_>>())?;
        let caption = format!("{}; {shown} of {} residues", self.about, self.of);
        Ok(html::figure(&svg, &caption))
    }
}

fn side_chain(residue: &str) -> &'static str {
    let class = CLASSES
        .iter()
        .find(|(_, members)| members.contains(&residue));
    class.map_or("other", |(class, _)| class)
}

fn color(class: &str) -> plotters::style::RGBColor {
    let place = CLASSES.iter().position(|(name, _)| *name == class);
    PALETTE[place.unwrap_or(PALETTE.len() - 1)]
}

/// The losses of a type of residue.
#[derive(Debug, PartialEq)]
pub struct OfResidue {
    pub name: String,
    /// Number of residues.
    pub count: usize,
    /// Mean cosine loss.
    pub mean: f64,
}

/// Mean cosine loss per residue type, best first.
pub fn by_residue(e: &Embedding) -> Vec<OfResidue> {
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
        .map(|(name, (count, sum))| OfResidue {
            name: name.to_string(),
            count,
            mean: sum / count as f64,
        })
        .collect();
    rows.sort_by(|a, b| a.mean.total_cmp(&b.mean));
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
            labels: Vec::new(),
            cosine_loss: Some(vec![0.5, 0.25, 0.75]),
        };
        let of = |name: &str, count, mean| OfResidue {
            name: name.into(),
            count,
            mean,
        };
        assert_eq!(by_residue(&e), [of("ALA", 1, 0.25), of("GLY", 2, 0.625)]);
        assert_eq!(e.mean_cosine_loss(), Some(0.5));
        let svg = scatter(&e).unwrap();
        assert!(svg.contains("aliphatic") && svg.contains("Cys, Gly, Pro"));
        assert!(!svg.contains("aromatic"));
    }
}
