//! Zernikegrams back to densities.

use super::{check, number};
use crate::file::read;
use hdf5::{File, Group};
use holosig::ops::zernike::{Binomial, Settings, Transform, Weighting};

/// Channels `[C, coefficients]` in the order l, n, m, to the layout of zernikegrams. Their f32 is what
/// limits the comparison.
fn zernikegram(transform: &Transform, stored: &[f64]) -> Vec<f32> {
    let irreps = transform.irreps();
    let channels = transform.settings().channels.len();
    let per = stored.len() / channels;
    let mut out = Vec::new();
    let mut start = 0;
    for l in 0..=irreps.lmax() {
        let n = irreps.channels(l) / channels * (2 * l + 1);
        for c in 0..channels {
            out.extend(
                stored[c * per + start..c * per + start + n]
                    .iter()
                    .map(|&v| v as f32),
            );
        }
        start += n;
    }
    out
}

pub fn check_cloud(file: &File, group: &Group, what: &str) {
    let text = |name: &str| file.attr(name).unwrap().read_scalar::<f64>().unwrap();
    let settings = |weighting, binomial| Settings {
        lmax: number(file, "lmax"),
        nmax: number(file, "rmax"),
        cutoff: text("rcut"),
        weighting,
        binomial,
        ..Settings::default()
    };
    let points = read::<f64>(file, "points").as_chunks::<3>().0.to_vec();
    // Stored channel by channel.
    let by_channel = |values: Vec<f64>, channels: usize| -> Vec<f64> {
        (0..channels)
            .flat_map(|c| {
                values
                    .iter()
                    .skip(c)
                    .step_by(channels)
                    .copied()
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let square = Transform::new(&settings(Weighting::Square, Binomial::Published)).unwrap();
    let channels = square.settings().channels.len();
    let c = zernikegram(&square, &read::<f64>(group, "coeff_square_floor"));
    let own = by_channel(square.field(&c, &points).unwrap(), channels);
    check(
        &own,
        &read::<f64>(group, "published"),
        2e-6,
        &format!("{what} published"),
    );

    let exact = Transform::new(&settings(Weighting::None, Binomial::Exact)).unwrap();
    let z = zernikegram(&exact, &read::<f64>(group, "coeff_none_true"));
    let volume = exact.settings().cutoff.powi(3);
    let own: Vec<f64> = exact
        .density(&z, &points)
        .unwrap()
        .iter()
        .map(|v| v * volume)
        .collect();
    check(
        &by_channel(own, channels),
        &read::<f64>(group, "proper"),
        2e-6,
        &format!("{what} proper"),
    );

    // The field of each atom's own element, at its place.
    let atoms = read::<f64>(group, "coords").as_chunks::<3>().0.to_vec();
    let field = square.field(&c, &atoms).unwrap();
    let elements = read::<u8>(group, "element");
    let own: Vec<f64> = elements
        .iter()
        .enumerate()
        .map(|(i, &e)| field[i * channels + usize::from(e)])
        .collect();
    check(
        &own,
        &read::<f64>(group, "published_at_atoms"),
        2e-6,
        &format!("{what} at atoms"),
    );
}
