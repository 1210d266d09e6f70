//! Stresses of crystals: the one convention here, and those of files.
//!
//! Here a stress is the derivative of the energy by a strain of atoms and cell over the volume of
//! the cell, so positive where the cell would shrink: symmetric, in the unit of the energy per Å^3.

use super::{Sample, energy_of};
use crate::data::system::Cell;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

pub type Stress = [[f64; 3]; 3];

/// Where six numbers of a symmetric tensor stand in it, such as `xx,yy,zz,yz,xz,xy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Order([[usize; 2]; 6]);

impl Order {
    /// Voigt's, which ASE has: xx yy zz yz xz xy.
    pub const VOIGT: Self = Self([[0, 0], [1, 1], [2, 2], [1, 2], [0, 2], [0, 1]]);
    /// That of VASP: xx yy zz xy yz zx.
    pub const VASP: Self = Self([[0, 0], [1, 1], [2, 2], [0, 1], [1, 2], [0, 2]]);
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let axis = |c: char| "xyz".find(c);
        let place = |word: &str| {
            let axes: Option<Vec<usize>> = word.trim().chars().map(axis).collect();
            let mut axes: [usize; 2] = axes?.try_into().ok()?;
            axes.sort_unstable();
            Some(axes)
        };
        let places: Option<Vec<[usize; 2]>> = text.split(',').map(place).collect();
        let places = places.and_then(|p| <[[usize; 2]; 6]>::try_from(p).ok());
        let whole = |p: &[[usize; 2]; 6]| Self::VOIGT.0.iter().all(|own| p.contains(own));
        places.filter(whole).map(Self).ok_or_else(|| {
            let voigt = Self::VOIGT;
            Error::input(format!(
                "order {text:?}: six different components such as {voigt} are needed"
            ))
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = self
            .0
            .map(|place| place.map(|k| ["x", "y", "z"][k]).concat());
        f.write_str(&names.join(","))
    }
}

impl TryFrom<String> for Order {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Order> for String {
    fn from(order: Order) -> Self {
        order.to_string()
    }
}

/// The tensor of nine numbers, or of six in this order.
///
/// # Errors
/// Another number of them.
pub fn tensor(numbers: &[f64], order: Order) -> std::result::Result<Stress, String> {
    match numbers.len() {
        9 => Ok(std::array::from_fn(|i| {
            std::array::from_fn(|k| numbers[3 * i + k])
        })),
        6 => {
            let mut tensor = [[0.0; 3]; 3];
            for ([i, k], x) in order.0.into_iter().zip(numbers) {
                (tensor[i][k], tensor[k][i]) = (*x, *x);
            }
            Ok(tensor)
        }
        n => Err(format!("{n} numbers of a stress: 6 or 9 are needed")),
    }
}

/// The cell that a stress is of.
///
/// # Errors
/// No cell, or one that does not repeat in all directions.
pub fn cell_of(sample: &Sample) -> std::result::Result<Cell, String> {
    let whole = sample.system.cell.filter(|c| c.periodic() == [true; 3]);
    whole.ok_or_else(|| "a stress needs a cell that repeats in all three directions".into())
}

/// Refuses a stress that cannot be learned from.
///
/// # Errors
/// No such cell ([`cell_of`]), no energy that the stress belongs to, a number that is not finite, a
/// tensor that is not symmetric.
pub fn check(sample: &Sample, stress: &Stress) -> std::result::Result<(), String> {
    cell_of(sample)?;
    if energy_of(&sample.values).is_none() {
        return Err("a stress without an energy".into());
    }
    let flat = stress.as_flattened();
    if let Some(x) = flat.iter().find(|x| !x.is_finite()) {
        return Err(format!("its stress has {x}, not a finite number"));
    }
    // Files round, and sums over the points of a grid are symmetric but for what the grid leaves.
    let largest = flat.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (i, k) in [(0, 1), (0, 2), (1, 2)] {
        let (one, other) = (stress[i][k], stress[k][i]);
        if (one - other).abs() > 1e-3 * largest + 1e-6 {
            let names = ["x", "y", "z"];
            let (i, k) = (names[i], names[k]);
            return Err(format!(
                "its stress is not symmetric: {one} for {i}{k}, {other} for {k}{i}"
            ));
        }
    }
    Ok(())
}

/// The symmetric part, which rounding hides.
pub fn symmetric(stress: Stress) -> Stress {
    std::array::from_fn(|i| std::array::from_fn(|k| 0.5 * (stress[i][k] + stress[k][i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_named_and_read() {
        for order in [Order::VOIGT, Order::VASP] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        let six = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let of = |order: Order| tensor(&six, order).unwrap();
        let voigt = [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]];
        assert_eq!(of(Order::VOIGT), voigt);
        let vasp = [[1.0, 4.0, 6.0], [4.0, 2.0, 5.0], [6.0, 5.0, 3.0]];
        assert_eq!(of("xx, yy, zz, xy, yz, zx".parse().unwrap()), vasp);
        assert_eq!(tensor(vasp.as_flattened(), Order::VOIGT).unwrap(), vasp);
        assert!(tensor(&six[..5], Order::VASP).is_err());
        for bad in [
            "",
            "xx,yy,zz,xy,yz",
            "xx,yy,zz,xy,yz,yz",
            "xx,yy,zz,xy,yz,xw",
        ] {
            let told = bad.parse::<Order>().unwrap_err().to_string();
            assert!(told.contains("xx,yy,zz,yz,xz,xy are needed"), "{told}");
        }
    }
}
