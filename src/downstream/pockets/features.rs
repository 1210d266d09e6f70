//! Kinds of features of a pocket file: embeddings, and the baselines that they are judged by.

use crate::Result;
use crate::data::zernikegrams::read_settings;
use crate::store::{Element, Node};

/// Numbers of each complex.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    pub name: String,
    /// Row-major `[n, width]`.
    pub rows: Vec<f64>,
    pub width: usize,
}

/// Forms of the learned embedding: with the ligand; what the ligand changes; all of it. Validation
/// chooses one of them.
pub const LEARNED: [&str; 3] = ["pocket", "pocket_difference", "pocket_all"];

/// The learned embedding together with a baseline, and the baseline.
pub const TOGETHER: [(&str, &str); 2] = [
    ("pocket_and_elements", "ligand_elements"),
    ("pocket_and_contacts", "contacts"),
];

/// A kind of features in words.
pub fn title(features: &str) -> &str {
    match features {
        "pocket" => "learned embedding",
        "pocket_difference" => "learned, difference",
        "pocket_all" => "learned, all",
        "pocket_without" => "learned, without ligand",
        "pocket_and_elements" => "learned + ligand elements",
        "pocket_and_contacts" => "learned + contacts",
        "pocket_untrained" => "untrained encoder",
        "untrained_difference" => "untrained, difference",
        "untrained_all" => "untrained, all",
        "zernike_invariants" => "Zernike invariants",
        "zernike_invariants_l0" => "Zernike invariants, l = 0",
        "pocket_size" => "pocket size",
        "ligand_size" => "ligand size",
        "ligand_elements" => "ligand elements",
        "mean" => "mean predictor",
        other => other,
    }
}

/// All kinds of features of the file's `n` pockets. A file of an earlier version has fewer.
pub(super) fn read(root: &Node, n: usize) -> Result<Vec<Features>> {
    let mut all = Vec::new();
    for (encoder, short) in [("pocket", "pocket"), ("pocket_untrained", "untrained")] {
        if !root.has(encoder) {
            continue;
        }
        let with = matrix::<f32>(root, encoder, encoder, n)?;
        if !root.has(&format!("{encoder}_difference")) {
            all.push(with);
            continue;
        }
        let part = |name: &str| {
            let dataset = format!("{encoder}_{name}");
            matrix::<f32>(root, &dataset, &dataset, n)
        };
        let (difference, products) = (part("difference")?, part("products")?);
        let changes = joined(format!("{short}_difference"), &[&difference, &products]);
        let whole = joined(format!("{short}_all"), &[&with, &difference, &products]);
        all.push(with);
        if encoder == "pocket" {
            all.push(part("without")?);
        }
        all.extend([changes, whole]);
    }
    let zernike = matrix::<f32>(root, "zernike_invariants", "zernike_invariants", n)?;
    // The zernikegram's degree 0 alone: the paper's baseline.
    let scalars = read_settings(root)?.irreps().channels(0);
    let rows = zernike.rows.chunks_exact(zernike.width.max(1));
    let l0 = Features {
        name: "zernike_invariants_l0".into(),
        rows: rows
            .flat_map(|r| &r[..scalars.min(r.len())])
            .copied()
            .collect(),
        width: scalars,
    };
    all.extend([zernike, l0]);
    let (counts, ligand) = (root.group("counts")?, root.group("ligand")?);
    // Files of an earlier version have the number of centres only.
    let residues = match counts.has("pocket_residues") {
        true => "pocket_residues",
        false => "residues",
    };
    for (name, group, dataset) in [
        ("pocket_size", &counts, residues),
        ("ligand_size", &ligand, "heavy_atoms"),
    ] {
        let rows: Vec<i32> = group.read(dataset)?;
        all.push(Features {
            name: name.into(),
            rows: rows.into_iter().map(f64::from).collect(),
            width: 1,
        });
    }
    if ligand.has("elements") {
        all.push(matrix::<i32>(&ligand, "elements", "ligand_elements", n)?);
    }
    if root.has("contacts") {
        all.push(matrix::<i32>(root, "contacts", "contacts", n)?);
    }
    for (name, baseline) in TOGETHER {
        let find = |name: &str| all.iter().find(|f| f.name == name);
        if let (Some(learned), Some(baseline)) = (find("pocket_all"), find(baseline)) {
            let both = joined(name.into(), &[learned, baseline]);
            all.push(both);
        }
    }
    Ok(all)
}

fn matrix<T: Element + Into<f64>>(
    root: &Node,
    dataset: &str,
    name: &str,
    n: usize,
) -> Result<Features> {
    let (rows, shape) = root.read_shaped::<T>(dataset, &[Some(n), None])?;
    Ok(Features {
        name: name.into(),
        rows: rows.into_iter().map(Into::into).collect(),
        width: shape[1],
    })
}

/// Features side by side.
fn joined(name: String, parts: &[&Features]) -> Features {
    let n = parts[0].rows.len() / parts[0].width.max(1);
    let row = |i: usize| {
        let of = move |f: &&Features| f.rows[i * f.width..(i + 1) * f.width].to_vec();
        parts.iter().flat_map(of).collect::<Vec<f64>>()
    };
    Features {
        name,
        rows: (0..n).flat_map(row).collect(),
        width: parts.iter().map(|f| f.width).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_joined_row_by_row() {
        let features = |rows: &[f64], width| Features {
            name: "f".into(),
            rows: rows.to_vec(),
            width,
        };
        let (a, b) = (features(&[1.0, 2.0, 3.0, 4.0], 2), features(&[5.0, 6.0], 1));
        let both = joined("both".into(), &[&a, &b]);
        assert_eq!(
            (both.rows, both.width),
            (vec![1.0, 2.0, 5.0, 3.0, 4.0, 6.0], 3)
        );
    }
}
