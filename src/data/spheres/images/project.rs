//! Images onto the sphere by stereographic projection, as Cohen et al. (2018, "Spherical CNNs") and
//! the published H-(V)AE do.

use crate::so3::rotation::{Matrix, rotate};
use crate::so3::sphere::Grid;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How images are brought onto the sphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Projection {
    /// As the published code: the image is blurred (taps two pixels apart), values are cut to whole
    /// numbers, and "not rotated" is a half turn in single precision.
    #[default]
    Published,
    /// Bilinear, not cut, an exact half turn.
    Exact,
}

/// The rotation of the grid for images that are "not rotated" in the published code: a half turn
/// about the image's y axis, with the errors of single precision. They matter: grid points lie exactly
/// on the borders of pixels.
pub const HALF_TURN: Matrix = [[-1.0, 0.0, -TINY], [0.0, 1.0, 0.0], [TINY, 0.0, -1.0]];
/// Sine of the half turn in single precision.
const TINY: f64 = 8.742_277_657_347_586e-8;

/// Where the light comes from on the polar axis, seen from the centre of the sphere that touches the
/// image's plane.
const ORIGIN: f64 = 2.001;

impl Projection {
    /// The rotation of the grid for images that are not rotated.
    pub fn not_rotated(self) -> Matrix {
        match self {
            Projection::Published => HALF_TURN,
            Projection::Exact => HALF_TURN.map(|row| row.map(f64::round)),
        }
    }
}

/// Where each point of a rotated grid looks into an image: up to four pixels and their weights.
pub struct Taps {
    projection: Projection,
    size: [usize; 2],
    /// Per point.
    pixels: Vec<[Option<u32>; 4]>,
    weights: Vec<[f64; 4]>,
}

impl Taps {
    /// Of images of `rows` and `columns` pixels, on the points of `grid` turned by `rotation`.
    pub fn new(
        projection: Projection,
        grid: &Grid,
        rotation: &Matrix,
        rows: usize,
        columns: usize,
    ) -> Self {
        let mut taps = Self {
            projection,
            size: [rows, columns],
            pixels: Vec::with_capacity(grid.len()),
            weights: Vec::with_capacity(grid.len()),
        };
        for point in grid.points() {
            let [x, y, z] = rotate(rotation, point);
            let z = z + 1.0;
            let t = -z / (z - ORIGIN);
            // The square of half side 1.5 about the pole is the image.
            let along = |c: f64, size: usize| (t * c + c + 1.5) / 3.0 * size as f64;
            taps.push(along(x, rows), along(y, columns));
        }
        taps
    }

    fn push(&mut self, r: f64, s: f64) {
        let axis = |at: f64| -> [(f64, f64); 2] {
            match self.projection {
                Projection::Published => {
                    let i = at.trunc();
                    [(i - 1.0, i + 1.0 - at), (i + 1.0, at - (i - 1.0))]
                }
                Projection::Exact => {
                    let i = at.floor();
                    [(i, i + 1.0 - at), (i + 1.0, at - i)]
                }
            }
        };
        let [rows, columns] = self.size;
        let inside = |i: f64, size: usize| i >= 0.0 && i < size as f64;
        let pixel = |i: f64, j: f64| {
            let both = inside(i, rows) && inside(j, columns);
            both.then(|| (i as usize * columns + j as usize) as u32)
        };
        let ([(i0, a0), (i1, a1)], [(j0, b0), (j1, b1)]) = (axis(r), axis(s));
        self.pixels
            .push([pixel(i0, j0), pixel(i1, j0), pixel(i0, j1), pixel(i1, j1)]);
        self.weights.push([a0, a1, b0, b1]);
    }

    /// The image seen from every point, from 0 to 255.
    ///
    /// # Errors
    /// An image that shows nothing: all of its points have one value.
    pub fn project(&self, image: &[u8]) -> Result<Vec<f64>> {
        let value = |pixel: Option<u32>| pixel.map_or(0.0, |p| f64::from(image[p as usize]));
        let points = self.pixels.iter().zip(&self.weights);
        // In the order of operations of the published code, whose rounding decides about values
        // that are cut.
        let mut signal: Vec<f64> = points
            .map(|(p, [a0, a1, b0, b1])| {
                let first = a0 * value(p[0]) + a1 * value(p[1]);
                let second = a0 * value(p[2]) + a1 * value(p[3]);
                b0 * first + b1 * second
            })
            .collect();
        let (low, high) = signal
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| {
                (l.min(v), h.max(v))
            });
        if low == high {
            return Err(Error::input(
                "a blank image: nothing of it can be seen on the sphere",
            ));
        }
        for v in &mut signal {
            *v = (*v - low) / (high - low) * 255.0;
            if self.projection == Projection::Published {
                *v = v.trunc();
            }
        }
        Ok(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so3::sphere::Rings;

    fn grid() -> Grid {
        Grid {
            rings: Rings::DriscollHealy,
            bandwidth: 16,
        }
    }

    #[test]
    fn both_ways_see_nearly_the_same_and_exact_ones_keep_fractions() {
        let image: Vec<u8> = (0..28 * 28)
            .map(|i| {
                let (r, c) = ((i / 28) as f64 - 13.0, (i % 28) as f64 - 15.0);
                (255.0 * (-(r * r + 2.0 * c * c) / 40.0).exp()) as u8
            })
            .collect();
        let seen = |p: Projection| {
            let taps = Taps::new(p, &grid(), &p.not_rotated(), 28, 28);
            taps.project(&image).unwrap()
        };
        let (published, exact) = (seen(Projection::Published), seen(Projection::Exact));
        assert!(published.iter().all(|v| v.fract() == 0.0));
        assert!(exact.iter().any(|v| v.fract() != 0.0));
        let far = published
            .iter()
            .zip(&exact)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(far < 30.0 && far > 0.0, "{far}");
        // Not rotated is the northern half.
        let north: f64 = exact[..exact.len() / 2].iter().sum();
        assert!(north > 0.9 * exact.iter().sum::<f64>());
    }

    #[test]
    fn blank_images_are_refused() {
        let taps = Taps::new(Projection::Published, &grid(), &HALF_TURN, 28, 28);
        let error = taps.project(&[0; 784]).unwrap_err().to_string();
        assert!(error.contains("blank"), "{error}");
    }
}
