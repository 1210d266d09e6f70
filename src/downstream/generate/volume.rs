//! Densities on a regular grid, as files that viewers of molecules open.

use crate::{Error, Result};
use std::fmt::Write;

/// A density on a cube of `side^3` points about the centre, x slowest.
pub struct Volume {
    side: usize,
    /// From the centre to a face, Å.
    half: f64,
    values: Vec<f32>,
}

impl Volume {
    /// Points of a cube of half the edge `half` (Å), x slowest.
    pub fn points(side: usize, half: f64) -> Vec<[f64; 3]> {
        let at = |i: usize| half * (2.0 * i as f64 / (side - 1) as f64 - 1.0);
        let cube = side * side * side;
        (0..cube)
            .map(|i| [at(i / (side * side)), at(i / side % side), at(i % side)])
            .collect()
    }

    /// # Errors
    /// Another number of values than points; fewer than two points along an edge.
    pub fn new(side: usize, half: f64, values: Vec<f32>) -> Result<Self> {
        match side >= 2 && values.len() == side * side * side {
            true => Ok(Self { side, half, values }),
            false => Err(Error::input(format!(
                "{} values for {side}^3 points",
                values.len()
            ))),
        }
    }

    fn spacing(&self) -> f64 {
        2.0 * self.half / (self.side - 1) as f64
    }

    /// The CCP4/MRC format of 2014 (Cheng et al. 2015): a header of 1,024 bytes, values with x
    /// fastest, the origin in Å.
    pub fn to_ccp4(&self, label: &str) -> Vec<u8> {
        let n = self.side as i32;
        let count = self.values.len() as f64;
        let mean = self.values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let square = |&v: &f32| (f64::from(v) - mean).powi(2);
        let deviation = (self.values.iter().map(square).sum::<f64>() / count).sqrt();
        let bounds = |(low, high): (f32, f32), &v: &f32| (low.min(v), high.max(v));
        let (low, high) = self
            .values
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), bounds);
        let edge = (self.spacing() * f64::from(n)) as f32;
        let mut header = vec![0u8; 1024];
        let mut put =
            |word: usize, bytes: [u8; 4]| header[4 * (word - 1)..4 * word].copy_from_slice(&bytes);
        // Size, mode 2 (32-bit reals), start, intervals.
        let integers = [n, n, n, 2, 0, 0, 0, n, n, n];
        integers
            .iter()
            .zip(1..)
            .for_each(|(v, word)| put(word, v.to_le_bytes()));
        // Cell edges and angles.
        let reals = [edge, edge, edge, 90.0, 90.0, 90.0];
        reals
            .iter()
            .zip(11..)
            .for_each(|(v, word)| put(word, v.to_le_bytes()));
        // Axes of columns, rows and sections.
        [1i32, 2, 3]
            .iter()
            .zip(17..)
            .for_each(|(v, word)| put(word, v.to_le_bytes()));
        let statistics = [low, high, mean as f32];
        statistics
            .iter()
            .zip(20..)
            .for_each(|(v, word)| put(word, v.to_le_bytes()));
        put(23, 1i32.to_le_bytes()); // Space group: none but the identity.
        put(28, 20140i32.to_le_bytes()); // Version of the format.
        (50..53).for_each(|word| put(word, (-self.half as f32).to_le_bytes()));
        put(53, *b"MAP ");
        put(54, [0x44, 0x44, 0, 0]); // Little endian.
        put(55, (deviation as f32).to_le_bytes());
        put(56, 1i32.to_le_bytes());
        let label: Vec<u8> = label
            .bytes()
            .filter(u8::is_ascii_graphic)
            .take(80)
            .collect();
        header[224..224 + label.len()].copy_from_slice(&label);
        let s = self.side;
        let order = (0..s * s * s).map(|i| (i % s) * s * s + (i / s % s) * s + i / (s * s));
        header.extend(order.flat_map(|i| self.values[i].to_le_bytes()));
        header
    }

    /// The format of OpenDX (APBS): text, z fastest, the origin in Å.
    pub fn to_dx(&self, label: &str) -> String {
        let (n, h, o) = (self.side, self.spacing(), -self.half);
        let mut out = format!(
            "# {}\nobject 1 class gridpositions counts {n} {n} {n}\norigin {o:.6} {o:.6} {o:.6}\n\
             delta {h:.6} 0 0\ndelta 0 {h:.6} 0\ndelta 0 0 {h:.6}\n\
             object 2 class gridconnections counts {n} {n} {n}\n\
             object 3 class array type double rank 0 items {} data follows\n",
            label.replace(['\n', '\r'], " "),
            self.values.len()
        );
        for three in self.values.chunks(3) {
            let words: Vec<String> = three.iter().map(|v| format!("{v:.6e}")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}", words.join(" "));
        }
        out + "attribute \"dep\" string \"positions\"\nobject \"density\" class field\n\
               component \"positions\" value 1\ncomponent \"connections\" value 2\n\
               component \"data\" value 3\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_hold_the_values_where_they_are() {
        let side = 3;
        let points = Volume::points(side, 2.0);
        assert_eq!(
            (points[0], points[1], points[9]),
            ([-2.0; 3], [-2.0, -2.0, 0.0], [0.0, -2.0, -2.0])
        );
        let values: Vec<f32> = (0..27).map(|i| i as f32).collect();
        let volume = Volume::new(side, 2.0, values).unwrap();
        let map = volume.to_ccp4("a label");
        assert_eq!(map.len(), 1024 + 4 * 27);
        let real = |at: usize| f32::from_le_bytes(map[at..at + 4].try_into().unwrap());
        // x is the fastest: the second value is the one after nine.
        assert_eq!(
            [real(1024), real(1028), real(1024 + 4 * 3)],
            [0.0, 9.0, 3.0]
        );
        assert_eq!(
            (real(40), real(196), &map[208..212]),
            (6.0, -2.0, &b"MAP "[..])
        );
        assert_eq!([real(76), real(80), real(84)], [0.0, 26.0, 13.0]);
        let dx = volume.to_dx("a label");
        assert!(dx.contains("counts 3 3 3") && dx.contains("delta 2.000000 0 0"));
        assert!(dx.contains("\n0.000000e0 1.000000e0 2.000000e0\n"));
        assert!(Volume::new(1, 2.0, vec![0.0]).is_err());
    }
}
