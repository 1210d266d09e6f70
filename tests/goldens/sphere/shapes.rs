//! Files of shapes.

use super::{check, check_transform, grid, matrices};
use crate::file::read;
use hdf5::{File, Group};
use holosig::data::spheres::mesh::{Mesh, channels, standardise};
use holosig::so3::sphere::Grid;

/// Weights of other grids that the file names: `ring_weight_bB_lmaxL_SOFT`.
pub fn check_named_weights(file: &File, name: &str) {
    let stored = file.group("grid").unwrap();
    for dataset in stored.member_names().unwrap() {
        let Some(words) = dataset.strip_prefix("ring_weight_b") else {
            continue;
        };
        let mut words = words.split('_');
        let mut next = |prefix: &str| -> usize {
            words
                .next()
                .unwrap()
                .strip_prefix(prefix)
                .unwrap()
                .parse()
                .unwrap()
        };
        let (bandwidth, lmax) = (next(""), next("lmax"));
        let grid = Grid {
            bandwidth,
            ..grid(file).0
        };
        let what = format!("{name} {dataset}");
        check(
            &grid.weights(lmax),
            &read::<f64>(&stored, &dataset),
            1e-11,
            &what,
        );
    }
}

pub fn check_shape(file: &File, group: &Group, what: &str) {
    let (grid, _) = grid(file);
    let rows = |name| read::<f64>(group, name).as_chunks::<3>().0.to_vec();
    let faces = |name| -> Vec<[u32; 3]> {
        let flat: Vec<u32> = read::<i32>(group, name)
            .into_iter()
            .map(|i| i as u32)
            .collect();
        flat.as_chunks().0.to_vec()
    };
    let mesh = Mesh::new(rows("vertices"), faces("faces")).unwrap();
    let centroid = read::<f64>(group, "area_centroid");
    let far = mesh
        .centroid()
        .iter()
        .zip(&centroid)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(
        far < 1e-12
            * mesh
                .vertices
                .iter()
                .flatten()
                .fold(1.0, |m: f64, v| m.max(v.abs()))
    );
    let rotations = matrices(&read::<f64>(group, "rotation"));
    let (raw, standard) = (
        read::<f64>(group, "channels_raw"),
        read::<f64>(group, "channels_standardised"),
    );
    let coefficients = read::<f64>(group, "coeff");
    let (per, dim) = (6 * grid.len(), coefficients.len() / rotations.len());
    let mut signals = Vec::new();
    for (k, rotation) in rotations.iter().enumerate() {
        let placed = mesh.placed(rotation, &[0.0; 3]);
        let mut seen = channels(&placed, &grid);
        seen.extend(channels(&placed.hull().unwrap(), &grid));
        check(
            &seen,
            &raw[k * per..(k + 1) * per],
            1e-9,
            &format!("{what} rotation {k} channels"),
        );
        standardise(&mut seen, grid.len());
        check(
            &seen,
            &standard[k * per..(k + 1) * per],
            1e-9,
            &format!("{what} standardised"),
        );
        signals.extend(seen);
    }
    // The stored coefficients are channel by channel.
    let n = dim / 6;
    let lmax = n.isqrt() - 1;
    let mut flat = Vec::new();
    for stored in coefficients.chunks(dim) {
        for l in 0..=lmax {
            (0..6).for_each(|c| flat.extend(&stored[c * n + l * l..c * n + (l + 1) * (l + 1)]));
        }
    }
    check_transform(file, 6, &signals, &flat, &format!("{what} coefficients"));
}
