//! Clusters, and how they agree with classes.

use super::labels::Classes;
use crate::ops::distances::squared_distances;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use smartcore::cluster::kmeans::{KMeans, KMeansParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

/// How k-means with as many clusters as there are classes agrees with the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    /// Share of rows in a cluster whose most frequent class is theirs.
    pub purity: f64,
    /// Harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg 2007).
    pub v_measure: f64,
}

/// The best of `restarts` runs of k-means by the distance of rows to their cluster's mean.
pub fn k_means(
    x: &[f64],
    dim: usize,
    classes: &Classes,
    restarts: usize,
    seed: u64,
) -> Result<Clustering> {
    let k = classes.names.len();
    let matrix =
        DenseMatrix::new(classes.of.len(), dim, x.to_vec(), false).map_err(Error::internal)?;
    let runs: Result<Vec<(f64, Vec<u32>)>> = (0..restarts.max(1) as u64)
        .into_par_iter()
        .map(|run| {
            let settings = KMeansParameters {
                k,
                seed: Some(seed.wrapping_add(run)),
                ..KMeansParameters::default()
            };
            let model: KMeans<f64, u32, DenseMatrix<f64>, Vec<u32>> =
                KMeans::fit(&matrix, settings).map_err(Error::internal)?;
            let clusters = model.predict(&matrix).map_err(Error::internal)?;
            Ok((spread(x, dim, &clusters, k), clusters))
        })
        .collect();
    let best = runs?.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let (_, clusters) = best.ok_or_else(|| Error::internal("k-means made no run"))?;
    let table = Contingency::new(&classes.of, &clusters, k);
    Ok(Clustering {
        purity: table.purity(),
        v_measure: table.v_measure(),
    })
}

/// Sum of squared distances to the cluster's mean.
fn spread(x: &[f64], dim: usize, clusters: &[u32], k: usize) -> f64 {
    let (mut sums, mut squares) = (vec![0.0; k * dim], 0.0);
    let mut counts = vec![0.0; k];
    for (row, &c) in x.chunks_exact(dim).zip(clusters) {
        counts[c as usize] += 1.0;
        for (s, v) in sums[c as usize * dim..].iter_mut().zip(row) {
            *s += v;
            squares += v * v;
        }
    }
    let of_means: f64 = sums
        .chunks_exact(dim)
        .zip(&counts)
        .filter(|(_, n)| **n > 0.0)
        .map(|(s, n)| s.iter().map(|v| v * v).sum::<f64>() / n)
        .sum();
    squares - of_means
}

/// Rows by cluster and class. (The library's scores sum over a hash map: their last bits vary
/// from call to call.)
struct Contingency {
    k: usize,
    /// `[cluster, class]`
    counts: Vec<usize>,
}

impl Contingency {
    fn new(classes: &[u32], clusters: &[u32], k: usize) -> Self {
        let mut counts = vec![0; k * k];
        for (&class, &cluster) in classes.iter().zip(clusters) {
            counts[cluster as usize * k + class as usize] += 1;
        }
        Self { k, counts }
    }

    fn rows(&self) -> f64 {
        self.counts.iter().sum::<usize>().max(1) as f64
    }

    fn purity(&self) -> f64 {
        let clusters = self.counts.chunks_exact(self.k);
        let largest = clusters.map(|row| row.iter().max().unwrap_or(&0));
        largest.sum::<usize>() as f64 / self.rows()
    }

    fn v_measure(&self) -> f64 {
        let (k, n) = (self.k, self.rows());
        let entropy = |counts: &[usize]| -> f64 {
            let shares = counts.iter().filter(|c| **c > 0).map(|&c| c as f64 / n);
            -shares.map(|p| p * p.ln()).sum::<f64>()
        };
        let of_cluster = |i: usize| self.counts[i * k..(i + 1) * k].iter().sum();
        let of_class = |j: usize| (0..k).map(|i| self.counts[i * k + j]).sum();
        let clusters = entropy(&(0..k).map(of_cluster).collect::<Vec<_>>());
        let classes = entropy(&(0..k).map(of_class).collect::<Vec<_>>());
        let shared = clusters + classes - entropy(&self.counts);
        match clusters + classes > 0.0 {
            // Homogeneity is shared / classes, completeness shared / clusters.
            true => 2.0 * shared / (clusters + classes),
            false => 1.0,
        }
    }
}

/// Mean silhouette coefficient of the classes (Rousseeuw 1987), Euclidean distances, over at
/// most a few thousand rows chosen by `seed`: its cost grows with their square.
pub fn silhouette(x: &[f64], dim: usize, classes: &Classes, seed: u64) -> f64 {
    const MOST_ROWS: usize = 4000;
    let n = classes.of.len();
    let order = crate::data::sampler::Permutation::new(n as u64, seed);
    let mut rows: Vec<usize> = (0..n.min(MOST_ROWS) as u64)
        .map(|i| order.at(i) as usize)
        .collect();
    rows.sort_unstable();
    let k = classes.names.len();
    let mut counts = vec![0usize; k];
    rows.iter()
        .for_each(|&r| counts[classes.of[r] as usize] += 1);
    let point = |r: usize| &x[r * dim..(r + 1) * dim];
    let points: Vec<f64> = rows.iter().flat_map(|&r| point(r)).copied().collect();
    let of = |&r: &usize| {
        let own = classes.of[r] as usize;
        if counts[own] < 2 {
            return 0.0;
        }
        let mut sums = vec![0.0; k];
        let mut squares = vec![0.0; rows.len()];
        squared_distances(point(r), &points, &mut squares);
        for (&other, square) in rows.iter().zip(squares) {
            sums[classes.of[other] as usize] += square.sqrt();
        }
        let within = sums[own] / (counts[own] - 1) as f64;
        let others = (0..k).filter(|&c| c != own && counts[c] > 0);
        let nearest = others
            .map(|c| sums[c] / counts[c] as f64)
            .fold(f64::INFINITY, f64::min);
        match nearest.is_finite() && within.max(nearest) > 0.0 {
            true => (nearest - within) / within.max(nearest),
            false => 0.0,
        }
    };
    let values: Vec<f64> = rows.par_iter().map(of).collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(of: Vec<u32>) -> Classes {
        let k = of.iter().max().unwrap() + 1;
        let names = (0..k).map(|c| c.to_string()).collect();
        Classes { names, of }
    }

    #[test]
    fn well_parted_classes_are_found_again() {
        let of: Vec<u32> = (0..90).map(|i| i % 3).collect();
        let x: Vec<f64> = of
            .iter()
            .enumerate()
            .flat_map(|(i, &c)| {
                [
                    f64::from(c) * 5.0 + 0.1 * (i as f64).sin(),
                    (i as f64).cos(),
                ]
            })
            .collect();
        let c = classes(of);
        let found = k_means(&x, 2, &c, 10, 1).unwrap();
        assert!(found.purity > 0.99 && found.v_measure > 0.98, "{found:?}");
        assert!(silhouette(&x, 2, &c, 0) > 0.6);
    }

    /// By hand: rows 0, 1 of one class, 3, 7 of the other.
    #[test]
    fn silhouette_and_purity_by_hand() {
        let c = classes(vec![0, 0, 1, 1]);
        let expected = [
            (5.0 - 1.0) / 5.0,
            (4.0 - 1.0) / 4.0,
            (2.5 - 4.0) / 4.0,
            (6.5 - 4.0) / 6.5,
        ];
        let mean = expected.iter().sum::<f64>() / 4.0;
        let found = silhouette(&[0.0, 1.0, 3.0, 7.0], 1, &c, 5);
        assert!((found - mean).abs() < 1e-12, "{found} {mean}");
        assert_eq!(
            Contingency::new(&[0, 0, 1, 1], &[1, 1, 1, 0], 2).purity(),
            0.75
        );
        // Entropies ln 2 and 3/4 ln 4/3 + 1/4 ln 4, joint 1/2 ln 2 + 1/2 ln 4.
        let table = Contingency::new(&[0, 0, 1, 1], &[1, 1, 1, 0], 2);
        let clusters = 0.75 * (4f64 / 3.0).ln() + 0.25 * 4f64.ln();
        let (two, joint) = (2f64.ln(), 1.5 * 2f64.ln());
        let expected = 2.0 * (clusters + two - joint) / (clusters + two);
        assert!((table.v_measure() - expected).abs() < 1e-12);
    }
}
