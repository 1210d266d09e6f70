//! Vectors and angles of chains, in f64.

use crate::data::system::{Point, cross, dot, sub};

pub fn norm(a: Point) -> f64 {
    dot(a, a).sqrt()
}

/// The vector of length 1 along `a`; zero for zero.
pub fn unit(a: Point) -> Point {
    let length = norm(a);
    match length > 0.0 {
        true => a.map(|x| x / length),
        false => [0.0; 3],
    }
}

/// The angle in (-pi, pi] about `axis` from the plane of `axis` and `a` to that of `axis` and `b`;
/// 0 where a plane is not determined.
pub fn about(axis: Point, a: Point, b: Point) -> f64 {
    let (n, m) = (cross(a, axis), cross(b, axis));
    let length = norm(axis);
    match length > 0.0 {
        true => f64::atan2(dot(cross(n, m), axis) / length, dot(n, m)),
        false => 0.0,
    }
}

/// The dihedral angle of three vectors that follow each other, in (-pi, pi] (IUPAC's sign).
pub fn dihedral([a, b, c]: [Point; 3]) -> f64 {
    let (n, m) = (cross(a, b), cross(b, c));
    let length = norm(b);
    match length > 0.0 {
        true => f64::atan2(dot(cross(n, m), b) / length, dot(n, m)),
        false => 0.0,
    }
}

/// A right-handed frame at each place of a curve, from its directions before and after it: rows
/// `b`, `n`, `b x n` with `b` along the difference of the directions and `n` along their cross
/// product. The ends have their neighbors' frames; a curve of fewer than three places has zeros.
pub fn frames(places: &[Point]) -> Vec<[Point; 3]> {
    let steps: Vec<Point> = places.windows(2).map(|p| unit(sub(p[1], p[0]))).collect();
    let frame = |u: &[Point]| {
        let (b, n) = (unit(sub(u[0], u[1])), unit(cross(u[0], u[1])));
        [b, n, unit(cross(b, n))]
    };
    let mut frames: Vec<[Point; 3]> = steps.windows(2).map(frame).collect();
    match (frames.first().copied(), frames.last().copied()) {
        (Some(first), Some(last)) => {
            frames.insert(0, first);
            frames.push(last);
            frames
        }
        _ => vec![[[0.0; 3]; 3]; places.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn angles_have_their_sign() {
        let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        let quarter = dihedral([x, y, z]);
        assert!((quarter.abs() - PI / 2.0).abs() < 1e-15);
        assert_eq!(dihedral([x, y, [0.0, 0.0, -1.0]]), -quarter);
        // cis is 0, trans is pi.
        assert!(dihedral([x, y, [-1.0, 0.0, 0.0]]).abs() < 1e-15);
        assert!((dihedral([x, y, x]).abs() - PI).abs() < 1e-15);
        assert_eq!(dihedral([x, [0.0; 3], y]), 0.0);
        assert!((about(z, x, y) - PI / 2.0).abs() < 1e-15);
    }

    #[test]
    fn frames_are_orthonormal_and_right_handed() {
        let helix: Vec<Point> = (0..6)
            .map(|i| {
                let t = 1.7 * f64::from(i);
                [2.3 * t.cos(), 2.3 * t.sin(), 1.5 * f64::from(i)]
            })
            .collect();
        let frames = frames(&helix);
        assert_eq!((frames.len(), frames[0]), (6, frames[1]));
        for [b, n, o] in frames {
            assert!((dot(cross(b, n), o) - 1.0).abs() < 1e-14);
            assert!(dot(b, n).abs() < 1e-14);
        }
        assert_eq!(super::frames(&helix[..2]), [[[0.0; 3]; 3]; 2]);
    }
}
