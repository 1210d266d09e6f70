//! How much a residue's surroundings move: numbers of one path of invariants.

use serde::{Deserialize, Serialize};

/// What is done to a path before anything is made of it, against thermal jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditioning {
    /// Width of the moving average in frames; 1 leaves the path as it is.
    pub smooth: usize,
    /// Every how many frames one is kept.
    pub lag: usize,
}

impl Conditioning {
    /// A path `[frames, dimensions]` smoothed and thinned out.
    pub fn apply(&self, path: &[f32], dimensions: usize) -> Vec<f64> {
        let frames = path.len() / dimensions;
        // Row t holds the sums of all rows before t.
        let mut sums = vec![0.0; (frames + 1) * dimensions];
        for (i, &x) in path.iter().enumerate() {
            sums[i + dimensions] = sums[i] + f64::from(x);
        }
        let (before, after) = ((self.smooth - 1) / 2, self.smooth / 2);
        let row = |t: usize| {
            let (from, to) = (t.saturating_sub(before), (t + after + 1).min(frames));
            let n = (to - from) as f64;
            let sums = &sums;
            (0..dimensions).map(move |k| match to - from {
                1 => f64::from(path[t * dimensions + k]),
                _ => (sums[to * dimensions + k] - sums[from * dimensions + k]) / n,
            })
        };
        (0..frames).step_by(self.lag).flat_map(row).collect()
    }
}

/// Steps at which the squared displacement is told.
pub fn lags(frames: usize) -> Vec<usize> {
    let doublings = std::iter::successors(Some(1), |&k| Some(2 * k));
    doublings
        .take_while(|&k| k == 1 || 4 * k <= frames)
        .collect()
}

/// Mean squared displacement `<|z(t + lag) - z(t)|^2>_t` of a path `[frames, dimensions]`, all
/// start times alike; 0 where the path is shorter than the lag.
pub fn displacement(path: &[f32], dimensions: usize, lag: usize) -> f64 {
    let rows = path.chunks_exact(dimensions);
    let later = path.chunks_exact(dimensions).skip(lag);
    let (mut sum, mut n) = (0.0, 0usize);
    for (a, b) in rows.zip(later) {
        sum += squared(a, b);
        n += 1;
    }
    sum / n.max(1) as f64
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum()
}

/// The share of the quadratic variation that is jitter: noise which has forgotten itself in the
/// next frame. A path of slow motion and of such noise has D(k) = a k + n for small lags k, D being
/// [`displacement`], so n = 2 D(1) - D(2): the two-scales estimator of Zhang, Mykland and
/// Ait-Sahalia (J. Am. Stat. Assoc. 100, 1394, 2005) at its two finest scales.
pub fn jitter(first: f64, second: f64) -> f64 {
    match first > 0.0 {
        true => ((2.0 * first - second) / first).clamp(0.0, 1.0),
        false => 0.0,
    }
}

/// Length and quadratic variation of a path `[points, dimensions]`: sums of the steps and of their
/// squares.
pub fn length(path: &[f64], dimensions: usize) -> [f64; 2] {
    let mut out = [0.0; 2];
    for step in steps(path, dimensions) {
        out[0] += step;
        out[1] += step * step;
    }
    out
}

/// Length of each step of a path.
fn steps(path: &[f64], dimensions: usize) -> impl Iterator<Item = f64> {
    let later = path.chunks_exact(dimensions).skip(1);
    path.chunks_exact(dimensions).zip(later).map(|(a, b)| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt()
    })
}

/// Mean step in each of `bins` parts of a path's time.
pub fn activity(path: &[f64], dimensions: usize, bins: usize) -> Vec<f64> {
    let steps: Vec<f64> = steps(path, dimensions).collect();
    let part = |i: usize| {
        let (from, to) = (i * steps.len() / bins, (i + 1) * steps.len() / bins);
        let part = &steps[from..to.max(from + 1).min(steps.len())];
        part.iter().sum::<f64>() / part.len().max(1) as f64
    };
    (0..bins).map(part).collect()
}

/// The path `[points, dimensions]` doubled to lead and lag (Gyurko, Lyons, Kontkowski and Field,
/// arXiv 1307.7244): `[2 points - 1, 2 dimensions]`. First the leading half steps, then the other
/// follows; the areas between the two are the quadratic variation.
pub fn lead_lag(path: &[f64], dimensions: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = path.chunks_exact(dimensions).collect();
    let mut out = Vec::with_capacity(4 * path.len());
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(row);
            out.extend_from_slice(rows[i - 1]);
        }
        out.extend_from_slice(row);
        out.extend_from_slice(row);
    }
    out
}

/// The path with one more channel, which grows by `1 / frames` with every frame; points are `lag`
/// frames apart.
pub fn with_time(path: &[f64], dimensions: usize, lag: usize, frames: f64) -> Vec<f64> {
    let rows = path.chunks_exact(dimensions).enumerate();
    let time = |i: usize| (i * lag) as f64 / frames;
    rows.flat_map(|(i, row)| row.iter().copied().chain([time(i)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::signature::{Basis, log_signature};
    use candle_core::{Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn jitter_is_told_from_diffusion() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        for noise in [0.0, 0.5, 2.0] {
            let mut place = [0.0; 3];
            let path: Vec<f32> = (0..40_000)
                .flat_map(|_| {
                    place.iter_mut().for_each(|x| *x += normal());
                    place.map(|x| (x + noise * normal()) as f32)
                })
                .collect();
            let [one, two] = [1, 2].map(|lag| displacement(&path, 3, lag));
            // Per dimension 1 of diffusion and 2 noise^2 of jitter in every step.
            let expected = 2.0 * noise * noise / (1.0 + 2.0 * noise * noise);
            assert!((one / 3.0 - 1.0 - 2.0 * noise * noise).abs() < 0.02 * one);
            assert!((jitter(one, two) - expected).abs() < 0.03, "{noise}");
        }
        assert_eq!(jitter(0.0, 0.0), 0.0);
    }

    #[test]
    fn conditioning_averages_and_thins_out() {
        let path: Vec<f32> = (0..6)
            .flat_map(|t| [t as f32, 10.0 * (t % 2) as f32])
            .collect();
        let same = Conditioning { smooth: 1, lag: 1 }.apply(&path, 2);
        assert!(same.iter().zip(&path).all(|(a, b)| *a == f64::from(*b)));
        let thin = Conditioning { smooth: 1, lag: 3 }.apply(&path, 2);
        assert_eq!(thin, [0.0, 0.0, 3.0, 10.0]);
        let smooth = Conditioning { smooth: 2, lag: 2 }.apply(&path, 2);
        assert_eq!(smooth, [0.5, 5.0, 2.5, 5.0, 4.5, 5.0]);
        assert_eq!(lags(20), [1, 2, 4]);
        assert_eq!(lags(3), [1]);
    }

    #[test]
    fn lengths_do_not_see_repeated_frames() {
        let path = [0.0, 0.0, 3.0, 4.0, 3.0, 4.0, 3.0, 3.0];
        assert_eq!(length(&path, 2), [6.0, 26.0]);
        let without = [0.0, 0.0, 3.0, 4.0, 3.0, 3.0];
        assert_eq!(length(&without, 2), length(&path, 2));
        assert_eq!(activity(&path, 2, 3), [5.0, 0.0, 1.0]);
        assert_eq!(activity(&path[..2], 2, 2), [0.0, 0.0]);
    }

    #[test]
    fn the_area_of_lead_and_lag_is_the_quadratic_variation() {
        let path = [0.0, 1.5, -0.5, 2.0, 2.5];
        let doubled = lead_lag(&path, 1);
        assert_eq!(doubled[..8], [0.0, 0.0, 1.5, 0.0, 1.5, 1.5, -0.5, 1.5]);
        let tensor = Tensor::from_vec(doubled, (1, 9, 2), &Device::Cpu).unwrap();
        let log = log_signature(&tensor, 2, Basis::Words).unwrap();
        let log = log.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let [_, variation] = length(&path, 1);
        assert!(
            (log[2].abs() - 0.5 * variation).abs() < 1e-12,
            "{log:?} {variation}"
        );
        assert_eq!(with_time(&path, 1, 3, 6.0)[2..4], [1.5, 0.5]);
    }
}
