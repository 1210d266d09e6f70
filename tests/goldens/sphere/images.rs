//! Files of projected images.

use super::{check, check_transform, grid, matrices};
use crate::file::read;
use candle_core::{DType, Device, Tensor};
use hdf5::File;
use holosig::data::spheres::images::{HALF_TURN, Projection, Taps};
use holosig::ops::sphere::SphereTransform;
use holosig::so3::rotation::{Matrix, arvo};
use holosig::so3::sphere::in_harmonic_axes;
use holosig::so3::wigner::d_matrices;

fn rotations(file: &File) -> Vec<Matrix> {
    matrices(&read::<f64>(file, "rotation"))
}

/// Every pixel of every projected image, but for those within rounding of a whole number.
pub fn check_projection(file: &File, name: &str) {
    let (grid, _) = grid(file);
    let shape = file.dataset("image").unwrap().shape();
    let (rows, columns) = (shape[1], shape[2]);
    let images = read::<u8>(file, "image");
    let signals = read::<u8>(file, "signal");
    let rotations = rotations(file);
    let mut different = 0;
    for (i, image) in images.chunks(rows * columns).enumerate() {
        for (k, rotation) in rotations.iter().enumerate() {
            let taps = Taps::new(Projection::Published, &grid, rotation, rows, columns);
            let own = taps.project(image).unwrap();
            let start = (i * rotations.len() + k) * grid.len();
            let stored = &signals[start..start + grid.len()];
            for (a, &b) in own.iter().zip(stored) {
                assert!(
                    (a - f64::from(b)).abs() <= 1.0,
                    "{name} image {i} rotation {k}"
                );
                different += usize::from(*a != f64::from(b));
            }
        }
    }
    println!(
        "{name}: {different} of {} pixels differ by 1",
        signals.len()
    );
    assert!(different * 100_000 <= signals.len());
    assert!(
        rotations.contains(&HALF_TURN),
        "{name}: the published half turn"
    );
}

pub fn check_coefficients(file: &File, name: &str) {
    let signals: Vec<f64> = read::<u8>(file, "signal")
        .into_iter()
        .map(f64::from)
        .collect();
    let coefficients = read::<f64>(file, "coeff");
    check_transform(
        file,
        1,
        &signals,
        &coefficients,
        &format!("{name} coefficients"),
    );
    let (grid, lmax) = grid(file);
    let dim = (lmax + 1) * (lmax + 1);
    let inverse = read::<f64>(file, "inverse");
    let n = inverse.len() / grid.len();
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-6)] {
        let t = SphereTransform::new(grid, lmax, 1, dtype, &Device::Cpu).unwrap();
        let c = Tensor::from_slice(&coefficients[..n * dim], (n, dim), &Device::Cpu).unwrap();
        let own = t.inverse(&c.to_dtype(dtype).unwrap()).unwrap();
        let own = crate::numbers::values(&own);
        check(
            &own,
            &inverse,
            tolerance,
            &format!("{name} inverse {dtype:?}"),
        );
    }
    let irreps = holosig::so3::irreps::Irreps::uniform(lmax, 1);
    let sizes: Vec<f64> = coefficients
        .chunks(dim)
        .map(|c| {
            let c: Vec<f32> = c.iter().map(|&v| v as f32).collect();
            holosig::data::spheres::size(&irreps, &c)
        })
        .collect();
    check(
        &sizes,
        &read::<f64>(file, "sqrt_power"),
        1e-6,
        &format!("{name} sizes"),
    );
}

/// Random rotations, and what a rotation of the grid does to coefficients.
pub fn check_rotations(file: &File, name: &str) {
    let rotations = rotations(file);
    let numbers = read::<f64>(file, "rotation_randnums");
    for numbers in numbers.as_chunks::<3>().0 {
        let own = arvo(*numbers);
        let near = |r: &Matrix| {
            let pairs = r.as_flattened().iter().zip(own.as_flattened());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 1e-14
        };
        assert!(
            rotations.iter().any(near),
            "{name}: rotation of {numbers:?}"
        );
    }
    let (_, lmax) = grid(file);
    let dim = (lmax + 1) * (lmax + 1);
    let coefficients = read::<f64>(file, "coeff");
    let mut own = Vec::new();
    for image in coefficients.chunks(rotations.len() * dim) {
        for r in &rotations {
            let inverse = std::array::from_fn(|i| std::array::from_fn(|j| r[j][i]));
            let d = d_matrices(lmax, &in_harmonic_axes(&inverse));
            for (l, d) in d.iter().enumerate() {
                let x = &image[l * l..(l + 1) * (l + 1)];
                own.extend(
                    d.chunks(x.len())
                        .map(|row| row.iter().zip(x).map(|(d, x)| d * x).sum::<f64>()),
                );
            }
        }
    }
    let stored = read::<f64>(file, "coeff_rotated_from_identity");
    // The stored half turn is not quite a rotation: its errors are those of single precision.
    check(&own, &stored, 1e-6, &format!("{name} rotated coefficients"));
}
