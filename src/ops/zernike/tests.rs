use super::*;
use crate::so3::radial::{Radial, tests::gauss};
use crate::so3::{harmonics::harmonics, rotation, wigner};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Point clouds with random channels, inside a ball of 10 Å.
struct Clouds {
    coordinates: Vec<[f32; 3]>,
    channels: Vec<u8>,
    offsets: Vec<usize>,
}

impl Clouds {
    fn random(seed: u64, sizes: &[usize], channels: u8) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut clouds = Self {
            coordinates: Vec::new(),
            channels: Vec::new(),
            offsets: vec![0],
        };
        for &size in sizes {
            for _ in 0..size {
                let direction = rotation::random(rng.random())[0];
                let r = 10.0 * rng.random_range(0.05f64..1.0).cbrt();
                clouds.coordinates.push(direction.map(|c| (r * c) as f32));
                clouds.channels.push(rng.random_range(0..channels));
            }
            clouds.offsets.push(clouds.coordinates.len());
        }
        clouds
    }

    fn transform(&self, settings: &Settings) -> Vec<f32> {
        let transform = Transform::new(settings).unwrap();
        let mut out = vec![f32::NAN; (self.offsets.len() - 1) * transform.irreps().dim()];
        transform
            .apply(&self.coordinates, &self.channels, &self.offsets, &mut out)
            .unwrap();
        out
    }
}

/// The formula as it stands, in f64.
fn direct(settings: &Settings, coordinates: &[[f32; 3]], channels: &[u8]) -> Vec<f64> {
    let radial = Radial::new(settings.lmax, settings.nmax, settings.binomial);
    let irreps = settings.irreps();
    let mut out = vec![0.0; irreps.dim()];
    for (xyz, &channel) in coordinates.iter().zip(channels) {
        let xyz = xyz.map(|c| c as f64);
        let rho = xyz.iter().map(|c| c * c).sum::<f64>().sqrt() / settings.cutoff;
        let (r, y) = (radial.evaluate(rho), harmonics(settings.lmax, xyz));
        let mut products = Vec::new();
        let mut at = 0;
        for l in 0..=settings.lmax {
            for k in 0..radial.orders(l) {
                for m in 0..2 * l + 1 {
                    let row = channel as usize * radial.orders(l) + k;
                    let index = irreps.offset(l) + row * (2 * l + 1) + m;
                    products.push((index, r[at + k] * y[l * l + m]));
                }
            }
            at += radial.orders(l);
        }
        let weight = match settings.weighting {
            Weighting::None => 1.0,
            Weighting::Square => 1.0 / products.iter().map(|(_, p)| p * p).sum::<f64>(),
        };
        products.iter().for_each(|(i, p)| out[*i] += weight * p);
    }
    out
}

/// Largest difference over the largest reference value.
fn error(ours: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let largest = reference.iter().fold(0.0, |m: f64, c| m.max(c.abs()));
    let worst = ours
        .iter()
        .zip(reference)
        .map(|(&a, b)| (a as f64 - b).abs())
        .fold(0.0, |m: f64, d| if d.is_nan() { d } else { m.max(d) });
    worst / largest
}

fn variants(lmax: usize, nmax: usize) -> impl Iterator<Item = Settings> {
    [Weighting::None, Weighting::Square]
        .into_iter()
        .flat_map(move |weighting| {
            [Binomial::Published, Binomial::Exact].map(|binomial| Settings {
                lmax,
                nmax,
                weighting,
                binomial,
                ..Settings::default()
            })
        })
}

#[test]
fn agrees_with_the_published_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/b_zft.h5");
    let file = hdf5::File::open(path).unwrap();
    let dataset = |name: &str| file.dataset(name).unwrap();
    let coordinates: Vec<f32> = dataset("coords").read_raw().unwrap();
    let clouds = Clouds {
        coordinates: coordinates.chunks(3).map(|c| [c[0], c[1], c[2]]).collect(),
        channels: dataset("element").read_raw().unwrap(),
        offsets: dataset("ptr")
            .read_raw::<i32>()
            .unwrap()
            .iter()
            .map(|&p| p as usize)
            .collect(),
    };
    for lmax in [3, 4, 6] {
        for settings in variants(lmax, 20) {
            let weighting = match settings.weighting {
                Weighting::None => "none",
                Weighting::Square => "square",
            };
            let name = match settings.binomial {
                Binomial::Published => "coeff_f64",
                Binomial::Exact => "coeff_f64_correct_binomial",
            };
            let name = format!("lmax{lmax}/{weighting}/{name}");
            let reference: Vec<f64> = dataset(&name).read_raw().unwrap();
            let error = error(&clouds.transform(&settings), &reference);
            println!("{name}: {error:.1e}");
            assert!(error < 1e-6, "{name}: {error:.1e}");
        }
    }
}

#[test]
fn agrees_with_the_formula_up_to_the_largest_settings() {
    let clouds = Clouds::random(1, &[0, 1, 63, 64, 65, 150], 4);
    for (lmax, nmax) in [
        (0, 0),
        (0, 7),
        (1, 1),
        (6, 20),
        (8, 20),
        (14, 14),
        (14, 40),
        (2, 33),
    ] {
        for settings in variants(lmax, nmax) {
            let ours = clouds.transform(&settings);
            let reference: Vec<f64> = clouds
                .offsets
                .windows(2)
                .flat_map(|c| {
                    direct(
                        &settings,
                        &clouds.coordinates[c[0]..c[1]],
                        &clouds.channels[c[0]..c[1]],
                    )
                })
                .collect();
            let error = error(&ours, &reference);
            println!("{lmax} {nmax} {error:.1e}");
            assert!(error < 2e-6, "{settings:?}: {error:.1e}");
        }
    }
}

#[test]
fn a_large_cloud_loses_no_digits() {
    let clouds = Clouds::random(2, &[100_000], 1);
    let settings = Settings {
        channels: vec![Channel::OTHER],
        weighting: Weighting::None,
        ..Settings::default()
    };
    let reference = direct(&settings, &clouds.coordinates, &clouds.channels);
    let error = error(&clouds.transform(&settings), &reference);
    assert!(error < 2e-6, "{error:.1e}");
}

#[test]
fn rotates_with_the_wigner_matrices() {
    for (seed, settings) in variants(6, 20).enumerate() {
        let clouds = Clouds::random(seed as u64, &[90], 4);
        let r = rotation::random(seed as u64 + 40);
        let turned = Clouds {
            coordinates: clouds
                .coordinates
                .iter()
                .map(|xyz| rotation::rotate(&r, xyz.map(f64::from)).map(|c| c as f32))
                .collect(),
            channels: clouds.channels.clone(),
            offsets: clouds.offsets.clone(),
        };
        let (fixed, turned) = (clouds.transform(&settings), turned.transform(&settings));
        let irreps = settings.irreps();
        let mut expected = Vec::new();
        for (l, d) in wigner::d_matrices(settings.lmax, &r).iter().enumerate() {
            let width = 2 * l + 1;
            for row in fixed[irreps.offset(l)..irreps.offset(l + 1)].chunks(width) {
                let dot = |d: &[f64]| d.iter().zip(row).map(|(d, &z)| d * z as f64).sum::<f64>();
                expected.extend(d.chunks(width).map(dot));
            }
        }
        let error = error(&turned, &expected);
        assert!(error < 3e-6, "{settings:?}: {error:.1e}");
    }
}

#[test]
fn order_does_not_matter_and_clouds_add_up() {
    let settings = Settings::default();
    let both = Clouds::random(3, &[100, 60], 4);
    let parts = both.transform(&settings);
    let (a, b) = parts.split_at(settings.irreps().dim());
    let sum: Vec<f64> = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| a as f64 + b as f64)
        .collect();
    let mut order: Vec<usize> = (0..160).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(5));
    let joined = Clouds {
        coordinates: order.iter().map(|&i| both.coordinates[i]).collect(),
        channels: order.iter().map(|&i| both.channels[i]).collect(),
        offsets: vec![0, 160],
    };
    assert!(error(&joined.transform(&settings), &sum) < 1e-6);
}

#[test]
fn atoms_outside_at_the_centre_or_without_channel_are_left_out() {
    let settings = Settings::default();
    let mut clouds = Clouds::random(4, &[50], 4);
    let expected = clouds.transform(&settings);
    for (xyz, channel) in [
        ([0.0; 3], 0),
        ([10.001, 0.0, 0.0], 1),
        ([f32::MAX, 0.0, 0.0], 2),
        ([1.0, 2.0, 3.0], DROP),
        ([1.0, 2.0, 3.0], 4),
    ] {
        clouds.coordinates.push(xyz);
        clouds.channels.push(channel);
    }
    clouds.offsets = vec![0, clouds.coordinates.len()];
    assert_eq!(clouds.transform(&settings), expected);
    let empty = Clouds {
        coordinates: vec![],
        channels: vec![],
        offsets: vec![0, 0],
    };
    assert!(empty.transform(&settings).iter().all(|&z| z == 0.0));
    // On the rim, to rounding: counted.
    let rim = Clouds {
        coordinates: vec![[0.0, 10.000001, 0.0]],
        channels: vec![0],
        offsets: vec![0, 1],
    };
    assert!(rim.transform(&settings)[0] > 0.0);
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let settings = Settings::default();
    let clouds = Clouds::random(6, &[100; 40], 4);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| clouds.transform(&settings))
    };
    let one = with(1);
    assert!([2, 3, 8].into_iter().all(|threads| with(threads) == one));
}

#[test]
fn bad_coordinates_are_named() {
    let transform = Transform::new(&Settings::default()).unwrap();
    let mut clouds = Clouds::random(7, &[10, 10], 4);
    clouds.coordinates[13][1] = f32::NAN;
    let mut out = vec![0.0; 2 * transform.irreps().dim()];
    let told = transform
        .apply(
            &clouds.coordinates,
            &clouds.channels,
            &clouds.offsets,
            &mut out,
        )
        .unwrap_err();
    assert_eq!(told.exit_code(), crate::error::EXIT_INPUT);
    assert!(told.to_string().contains("atom 13 (cloud 1)"), "{told}");
}

/// The density's projections on the basis, by quadrature over the ball, are the zernikegram.
#[test]
fn density_projects_back_to_the_zernikegram() {
    for settings in variants(3, 8) {
        let settings = Settings {
            cutoff: 7.0,
            channels: vec![Channel::element(6), Channel::OTHER],
            ..settings
        };
        let mut clouds = Clouds::random(8, &[30], 2);
        clouds
            .coordinates
            .iter_mut()
            .flatten()
            .for_each(|c| *c *= 0.7);
        let zernikegram = clouds.transform(&settings);
        let transform = Transform::new(&settings).unwrap();
        let (points, weights) = ball(settings.cutoff);
        let density = transform.density(&zernikegram, &points).unwrap();
        let unweighted = Settings {
            weighting: Weighting::None,
            channels: vec![Channel::OTHER],
            ..settings.clone()
        };
        let irreps = settings.irreps();
        let mut projected = vec![0.0; irreps.dim()];
        for ((point, weight), density) in points.iter().zip(&weights).zip(density.chunks(2)) {
            let radial = Radial::new(3, 8, unweighted.binomial);
            let rho = point.iter().map(|c| c * c).sum::<f64>().sqrt() / settings.cutoff;
            let (r, y) = (radial.evaluate(rho), harmonics(3, *point));
            let mut at = 0;
            for l in 0..=3 {
                let (orders, width) = (radial.orders(l), 2 * l + 1);
                for (c, f) in density.iter().enumerate() {
                    for k in 0..orders {
                        for m in 0..width {
                            let index = irreps.offset(l) + (c * orders + k) * width + m;
                            projected[index] += weight * f * r[at + k] * y[l * l + m];
                        }
                    }
                }
                at += orders;
            }
        }
        let error = error(&zernikegram, &projected);
        assert!(error < 1e-6, "{settings:?}: {error:.1e}");
        let beyond = transform
            .density(&zernikegram, &[[0.0, 7.1, 0.0], [0.0; 3]])
            .unwrap();
        assert_eq!(beyond[..2], [0.0, 0.0]);
        assert!(beyond[2..].iter().all(|f| f.is_finite()));
        assert!(transform.density(&zernikegram[1..], &points).is_err());
        assert!(transform.density(&zernikegram, &[[f64::NAN; 3]]).is_err());
    }
}

/// A product quadrature of the ball, exact for the polynomials of the test: Gauss-Legendre in the
/// radius and the height, equal steps in the azimuth.
fn ball(radius: f64) -> (Vec<[f64; 3]>, Vec<f64>) {
    let turn = 2.0 * std::f64::consts::PI / 12.0;
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    for (rho, wr) in gauss(12) {
        let r = radius * rho;
        for (t, wu) in gauss(8) {
            let u = 2.0 * t - 1.0;
            let s = (1.0 - u * u).sqrt();
            for i in 0..12 {
                let (sin, cos) = (turn * i as f64).sin_cos();
                points.push([r * s * sin, r * u, r * s * cos]);
                weights.push(radius * wr * 2.0 * wu * turn * r * r);
            }
        }
    }
    (points, weights)
}

/// A ligand's channel is what the same atoms give in a channel of their own, times the weight.
#[test]
fn the_ligand_has_its_own_channels_and_weight() -> Result<()> {
    let channels = ["protein:C", "ligand:C", "N"].map(|c| c.parse().unwrap());
    let settings = |ligand_weight| Settings {
        lmax: 3,
        nmax: 6,
        channels: channels.to_vec(),
        ligand_weight,
        ..Settings::default()
    };
    let atoms = [[1.0, 2.0, 3.0], [-2.0, 0.5, 1.0], [0.3, -4.0, 2.0]];
    let transformed = |settings: &Settings, sides: [Side; 3]| -> Result<Vec<f32>> {
        let transform = Transform::new(settings)?;
        let mut out = vec![0.0; transform.irreps().dim()];
        let of = |i: usize| settings.channel_of([6, 6, 7][i], sides[i]);
        transform.apply(&atoms, &[of(0), of(1), of(2)], &[0, 3], &mut out)?;
        Ok(out)
    };
    let sides = [Side::Protein, Side::Ligand, Side::Ligand];
    let plain = transformed(&settings(1.0), sides)?;
    let weighted = transformed(&settings(3.0), sides)?;
    let turned = transformed(&settings(1.0), [Side::Ligand, Side::Protein, Side::Protein])?;
    let mut at = 0;
    for l in 0..=3 {
        let run = ((6 - l) / 2 + 1) * (2 * l + 1);
        let part = |z: &[f32], c: usize| z[at + c * run..at + (c + 1) * run].to_vec();
        let thrice: Vec<f32> = part(&plain, 1).iter().map(|z| 3.0 * z).collect();
        assert_eq!(part(&weighted, 0), part(&plain, 0));
        assert_eq!(part(&weighted, 1), thrice);
        assert_eq!(part(&weighted, 2), part(&plain, 2));
        assert_ne!(part(&plain, 0), part(&turned, 0));
        assert_eq!(part(&plain, 2), part(&turned, 2));
        at += 3 * run;
    }
    assert_eq!(at, plain.len());
    Ok(())
}
