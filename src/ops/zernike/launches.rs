//! The op on a GPU.

use super::settings::{Settings, Weighting};
use crate::ops::device::{Arg, Kind, Sequence};
use crate::so3::harmonics::Recurrence;
use crate::so3::irreps::rows;
use crate::so3::radial::Radial;
use std::sync::Arc;

/// Atoms of a tile, with padding.
const PITCH: usize = 65;

/// What the transform's kernel needs of the settings.
pub struct Tables {
    degrees: Arc<[i32]>,
    radial: Arc<[f64]>,
    harmonics: Arc<[f32]>,
    entries: Arc<[i32]>,
    lmax: usize,
    radial_rows: usize,
    channels: usize,
    dim: usize,
    square: bool,
    cutoff: f64,
}

impl Tables {
    /// `settings` must be valid.
    pub fn new(settings: &Settings) -> Self {
        let (lmax, irreps) = (settings.lmax, settings.irreps());
        let table = Radial::new(lmax, settings.nmax, settings.binomial);
        let recurrence = Recurrence::new(lmax);
        let (mut degrees, mut radial, mut entries) = (vec![], vec![], vec![]);
        let mut row = 0;
        for l in 0..=lmax {
            let (orders, width) = (table.orders(l), 2 * l + 1);
            degrees.extend([orders, radial.len(), row].map(|v| v as i32));
            radial.push(table.first(l));
            radial.extend(table.steps(l).iter().flatten());
            for k in 0..orders {
                for m in 0..width {
                    let place = irreps.offset(l) + k * width + m;
                    entries.extend([row + k, l * l + m, place, orders * width].map(|v| v as i32));
                }
            }
            row += orders;
        }
        let mut harmonics: Vec<f32> = (0..=lmax).map(|m| recurrence.diagonal(m) as f32).collect();
        for l in 0..=lmax {
            harmonics.extend((0..=l).flat_map(|m| recurrence.step(l, m).map(|c| c as f32)));
        }
        Self {
            degrees: degrees.into(),
            radial: radial.into(),
            harmonics: harmonics.into(),
            entries: entries.into(),
            lmax,
            radial_rows: row,
            channels: settings.channels.len(),
            dim: irreps.dim(),
            square: settings.weighting == Weighting::Square,
            cutoff: settings.cutoff,
        }
    }
}

/// Inputs coordinates `[atoms, 3]`, channels (u8) `[atoms]`, offsets (i32) `[clouds + 1]`; output
/// the zernikegrams times `scale`.
pub fn transform(t: &Tables, clouds: usize, atoms: usize, scale: f32) -> Sequence {
    let mut s = Sequence::default();
    let coordinates = s.input(Kind::F32, 3 * atoms);
    let channels = s.input(Kind::U8, atoms);
    let offsets = s.input(Kind::I32, clouds + 1);
    let out = s.output(Kind::F32, clouds * t.dim);
    let mut args = vec![coordinates, channels, offsets, out];
    args.extend([
        s.ints(&t.degrees),
        s.doubles(&t.radial),
        s.floats(&t.harmonics),
        s.ints(&t.entries),
    ]);
    let numbers = [
        t.lmax,
        t.radial_rows,
        t.entries.len() / 4,
        t.channels,
        t.dim,
        usize::from(t.square),
    ];
    args.extend(numbers.map(|v| Arg::I32(v as i32)));
    args.extend([Arg::F64(t.cutoff), Arg::F32(scale)]);
    let shared = 4 * PITCH * (t.radial_rows + rows(t.lmax));
    s.launch(
        "zernike",
        "zernike_transform",
        [clouds, 1, 1],
        [256, 1, 1],
        shared,
        args,
    );
    s
}
