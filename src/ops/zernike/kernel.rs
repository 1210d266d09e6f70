//! The vectorised part of the CPU transform, compiled for AVX-512, AVX2 and the plain machine
//! and chosen at run time. No sum runs across lanes, so the width of the registers does not
//! change a bit of the result.

use super::cloud::Cloud;
use super::lanes::{LANES, Lanes, transpose};
use super::tables::{Panel, Scratch, TILE, Tables};
use crate::so3::irreps::rows;
use pulp::{Simd, WithSimd, bytemuck};
use std::ops::Range;

/// Columns of a matrix product held in registers at once.
const COLUMNS: usize = 7;

/// Adds the atoms of one cloud to `scratch.sums`.
pub struct Kernel<'a> {
    pub tables: &'a Tables,
    pub scratch: &'a mut Scratch,
    pub cloud: Cloud<'a>,
    /// The atoms, sorted by channel.
    pub order: &'a [u32],
    /// Where in `order` each channel ends.
    pub ends: &'a [usize],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            tables,
            scratch,
            cloud,
            order,
            ends,
        } = self;
        let panels = tables.panels.len();
        for (tile, atoms) in order.chunks(TILE).enumerate() {
            for (block, atoms) in atoms.chunks(LANES).enumerate() {
                let places = Places::new(simd, tables, cloud.coordinates, atoms);
                let radial = &mut scratch.radial[block * LANES * panels..][..LANES * panels];
                radials(simd, tables, &places, &mut scratch.narrow, radial);
                let mut weight = weights(simd, tables, &scratch.narrow);
                if !cloud.weights.is_empty() {
                    let own = atoms.iter().map(|&atom| cloud.weights[atom as usize]);
                    weight.0.iter_mut().zip(own).for_each(|(w, own)| *w *= own);
                }
                let height = rows(tables.lmax);
                let harmonics = &mut scratch.harmonics[block * height..][..height];
                spherical(simd, tables, &places, &weight, harmonics);
            }
            let first = tile * TILE;
            let mut begin = first;
            for (channel, &end) in ends.iter().enumerate() {
                let end = end.clamp(begin, first + atoms.len());
                if begin < end {
                    product(simd, tables, scratch, channel, begin - first..end - first);
                }
                begin = end;
            }
        }
    }
}

/// Distances over the cutoff and directions of up to sixteen atoms.
struct Places {
    rho: [f64; LANES],
    direction: [Lanes; 3],
}

impl Places {
    #[inline(always)]
    fn new<S: Simd>(simd: S, tables: &Tables, coordinates: &[[f32; 3]], atoms: &[u32]) -> Self {
        // Lanes without an atom hold a harmless place; nobody reads what comes of it.
        let mut axes = [[tables.cutoff / 2.0; LANES]; 3];
        for (lane, &atom) in atoms.iter().enumerate() {
            for (axis, &c) in axes.iter_mut().zip(&coordinates[atom as usize]) {
                axis[lane] = c as f64;
            }
        }
        let mut places = Self {
            rho: [0.0; LANES],
            direction: [Lanes::ZERO; 3],
        };
        places.fill(simd, &axes, tables.cutoff);
        places
    }

    #[inline(always)]
    fn fill<S: Simd>(&mut self, simd: S, axes: &[[f64; LANES]; 3], cutoff: f64) {
        let [x, y, z] = axes.each_ref().map(|axis| S::as_simd_f64s(axis).0);
        let (rho, _) = S::as_mut_simd_f64s(&mut self.rho);
        let [one, cutoff] = [1.0, cutoff].map(|c| simd.splat_f64s(c));
        for (i, rho) in rho.iter_mut().enumerate() {
            let [xx, yy, zz] = [x[i], y[i], z[i]].map(|c| simd.mul_f64s(c, c));
            let r = simd.sqrt_f64s(simd.add_f64s(simd.add_f64s(xx, yy), zz));
            *rho = simd.min_f64s(simd.div_f64s(r, cutoff), one);
            let inverse = simd.div_f64s(one, r);
            for (direction, axis) in self.direction.iter_mut().zip([x[i], y[i], z[i]]) {
                narrow::<S>(simd.mul_f64s(axis, inverse), &mut direction.0, i);
            }
        }
    }
}

/// Rounds the `i`-th register of a row. One register at a time: a loop over numbers of several rows
/// would be compiled to gathers and scatters.
#[inline(always)]
fn narrow<S: Simd>(wide: S::f64s, row: &mut [f32; LANES], i: usize) {
    let wide: &[f64] = bytemuck::cast_slice(std::slice::from_ref(&wide));
    let row = &mut row[i * S::F64_LANES..][..S::F64_LANES];
    for (narrow, &wide) in row.iter_mut().zip(wide) {
        *narrow = wide as f32;
    }
}

/// Radial polynomials of one block: by recurrence in f64 (near the rim it would lose digits in
/// f32), rounded to `rows`, and transposed to `radial`.
#[inline(always)]
fn radials<S: Simd>(
    simd: S,
    tables: &Tables,
    places: &Places,
    rows: &mut [Lanes],
    radial: &mut [Lanes],
) {
    let (rho, _) = S::as_simd_f64s(&places.rho);
    for (i, &rho) in rho.iter().enumerate() {
        let square = simd.mul_f64s(rho, rho);
        let mut power = simd.splat_f64s(1.0);
        let mut rest = &mut *rows;
        for l in 0..=tables.lmax {
            let (of_degree, next) = rest.split_at_mut(tables.panels_of(l) * LANES);
            rest = next;
            let zero = simd.splat_f64s(0.0);
            let first = simd.mul_f64s(power, simd.splat_f64s(tables.radial.first(l)));
            let (mut before, mut last) = (zero, first);
            let mut steps = tables.radial.steps(l).iter();
            for row in of_degree {
                narrow::<S>(last, &mut row.0, i);
                let Some(&[a, b, c]) = steps.next() else {
                    break;
                };
                let slope = simd.mul_add_e_f64s(square, simd.splat_f64s(a), simd.splat_f64s(b));
                let behind = simd.mul_f64s(before, simd.splat_f64s(-c));
                (before, last) = (last, simd.mul_add_e_f64s(slope, last, behind));
            }
            power = simd.mul_f64s(power, rho);
        }
    }
    let panels = tables.panels.len();
    for (p, panel) in rows.chunks_exact(LANES).enumerate() {
        transpose(panel, &mut radial[p..], panels);
    }
}

/// Weights of one block's atoms. In `sum_nlm P_nlm^2` the harmonics of degree `l` add up to
/// `2l + 1`.
#[inline(always)]
fn weights<S: Simd>(simd: S, tables: &Tables, narrow: &[Lanes]) -> Lanes {
    let mut weight = Lanes([1.0; LANES]);
    if tables.square {
        let (sums, _) = S::as_mut_simd_f32s(&mut weight.0);
        let registers = sums.len();
        let (values, _) = S::as_simd_f32s(Lanes::flat(narrow));
        for (i, total) in sums.iter_mut().enumerate() {
            let mut norm = simd.splat_f32s(0.0);
            for (panel, values) in tables.panels.iter().zip(values.chunks(LANES * registers)) {
                let mut sum = simd.splat_f32s(0.0);
                for &r in values[i..].iter().step_by(registers).take(panel.orders) {
                    sum = simd.mul_add_e_f32s(r, r, sum);
                }
                let count = simd.splat_f32s((2 * panel.l + 1) as f32);
                norm = simd.mul_add_e_f32s(sum, count, norm);
            }
            *total = simd.div_f32s(simd.splat_f32s(1.0), norm);
        }
    }
    weight
}

/// Harmonics of one block times the atoms' weights.
#[inline(always)]
fn spherical<S: Simd>(
    simd: S,
    tables: &Tables,
    places: &Places,
    weight: &Lanes,
    harmonics: &mut [Lanes],
) {
    let (weight, _) = S::as_simd_f32s(&weight.0);
    let registers = weight.len();
    let [x, y, z] = places.direction.each_ref().map(|d| S::as_simd_f32s(&d.0).0);
    let (out, _) = S::as_mut_simd_f32s(Lanes::flat_mut(harmonics));
    for i in 0..registers {
        let (x, y, z) = (x[i], y[i], z[i]);
        let zero = simd.splat_f32s(0.0);
        let (mut real, mut imaginary) = (weight[i], zero);
        for m in 0..=tables.lmax {
            let diagonal = simd.splat_f32s(tables.diagonal[m]);
            let mut last = (
                simd.mul_f32s(real, diagonal),
                simd.mul_f32s(imaginary, diagonal),
            );
            let mut before = (zero, zero);
            for l in m..=tables.lmax {
                if l > m {
                    let [a, b] = tables.steps[l * (l + 1) / 2 + m].map(|c| simd.splat_f32s(c));
                    let slope = simd.mul_f32s(y, a);
                    let climb = |last, before| {
                        simd.negate_mul_add_e_f32s(before, b, simd.mul_f32s(slope, last))
                    };
                    let next = (climb(last.0, before.0), climb(last.1, before.1));
                    (before, last) = (last, next);
                }
                let middle = l * l + l;
                out[(middle - m) * registers + i] = last.1;
                out[(middle + m) * registers + i] = last.0;
            }
            (real, imaginary) = (
                simd.negate_mul_add_e_f32s(imaginary, x, simd.mul_f32s(real, z)),
                simd.mul_add_e_f32s(real, x, simd.mul_f32s(imaginary, z)),
            );
        }
    }
}

/// Adds a run of the tile's atoms to the sums of their channel.
#[inline(always)]
fn product<S: Simd>(
    simd: S,
    tables: &Tables,
    scratch: &mut Scratch,
    channel: usize,
    atoms: Range<usize>,
) {
    let columns = channel * tables.columns..(channel + 1) * tables.columns;
    let mut run = Run {
        atoms,
        radial: Lanes::flat(&scratch.radial),
        panels: tables.panels.len(),
        harmonics: &scratch.harmonics,
        height: rows(tables.lmax),
        sums: Lanes::flat_mut(&mut scratch.sums[columns.clone()]),
        lost: Lanes::flat_mut(&mut scratch.lost[columns]),
    };
    for (p, panel) in tables.panels.iter().enumerate() {
        let mut m = 0;
        while m <= 2 * panel.l {
            let count = (2 * panel.l + 1 - m).min(COLUMNS);
            match count {
                1 => run.add::<S, 1>(simd, p, panel, m),
                2 => run.add::<S, 2>(simd, p, panel, m),
                3 => run.add::<S, 3>(simd, p, panel, m),
                4 => run.add::<S, 4>(simd, p, panel, m),
                5 => run.add::<S, 5>(simd, p, panel, m),
                6 => run.add::<S, 6>(simd, p, panel, m),
                _ => run.add::<S, COLUMNS>(simd, p, panel, m),
            }
            m += count;
        }
    }
}

/// A run of atoms of one channel in a tile.
struct Run<'a> {
    atoms: Range<usize>,
    radial: &'a [f32],
    panels: usize,
    harmonics: &'a [Lanes],
    height: usize,
    sums: &'a mut [f32],
    lost: &'a mut [f32],
}

impl Run<'_> {
    /// The matrix product for panel `p` and the harmonics `m, ..., m + N - 1` of its degree.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(&mut self, simd: S, p: usize, panel: &Panel, m: usize) {
        let (radial, _) = S::as_simd_f32s(self.radial);
        let (sums, _) = S::as_mut_simd_f32s(self.sums);
        let (lost, _) = S::as_mut_simd_f32s(self.lost);
        let registers = LANES / S::F32_LANES;
        let first = panel.l * panel.l + m;
        for i in 0..panel.orders.div_ceil(S::F32_LANES) {
            let mut columns = [simd.splat_f32s(0.0); N];
            for atom in self.atoms.clone() {
                let orders = radial[(atom * self.panels + p) * registers + i];
                let block = &self.harmonics[atom / LANES * self.height + first..][..N];
                for (column, harmonic) in columns.iter_mut().zip(block) {
                    let harmonic = simd.splat_f32s(harmonic.0[atom % LANES]);
                    *column = simd.mul_add_e_f32s(orders, harmonic, *column);
                }
            }
            for (n, column) in columns.into_iter().enumerate() {
                // Kahan's sum: a cloud may have any number of tiles.
                let at = (panel.column + m + n) * registers + i;
                let sum = sums[at];
                let column = simd.sub_f32s(column, lost[at]);
                let next = simd.add_f32s(sum, column);
                sums[at] = next;
                lost[at] = simd.sub_f32s(simd.sub_f32s(next, sum), column);
            }
        }
    }
}
