//! The CPU transform: one cloud to one zernikegram.
//!
//! Atoms are sorted by channel and taken in tiles of [`super::tables::TILE`]. In a tile, radial polynomials and
//! harmonics come from their recurrences, sixteen atoms side by side, and serve all channels. Then
//! each channel's run of atoms is summed, per degree, as a small matrix product
//! `[orders, atoms] [atoms, 2l + 1]`: sixteen orders side by side for each `m`.
//!
//! | name | shape |
//! |---|---|
//! | `radial` | `[atom, panel]` of sixteen orders; a panel is a degree's next sixteen orders |
//! | `harmonics` | `[block, (lmax + 1)^2]` of sixteen atoms, already times the atoms' weights |
//! | `sums` | `[channel, column]` of sixteen orders; a column is a (panel, m) |

use super::cloud::Cloud;
use super::kernel::Kernel;
use super::lanes::Lanes;
use super::settings::DROP;
use super::tables::{Scratch, Tables};

/// Writes the zernikegram of a cloud to `out`.
///
/// The sums run over atoms in an order that depends on the cloud alone.
pub fn transform(tables: &Tables, scratch: &mut Scratch, cloud: Cloud, out: &mut [f32]) {
    let mut order = std::mem::take(&mut scratch.order);
    let ends = sort(tables, cloud.coordinates, cloud.channels, &mut order);
    scratch.sums.fill(Lanes::ZERO);
    scratch.lost.fill(Lanes::ZERO);
    let ends = &ends[..tables.channels];
    tables.arch.dispatch(Kernel {
        tables,
        scratch,
        cloud,
        order: &order,
        ends,
    });
    scratch.order = order;
    store(tables, &scratch.sums, out);
}

/// Sorts the atoms inside the ball by channel, stably: `order` lists them, and channel `c` ends
/// before place `c` of the result.
fn sort(
    tables: &Tables,
    coordinates: &[[f32; 3]],
    channels: &[u8],
    order: &mut Vec<u32>,
) -> [usize; DROP as usize] {
    let taken =
        |i: &usize| (channels[*i] as usize) < tables.channels && tables.contains(&coordinates[*i]);
    let mut ends = [0; DROP as usize];
    let mut starts = ends;
    for i in (0..coordinates.len()).filter(taken) {
        ends[channels[i] as usize] += 1;
    }
    let mut total = 0;
    for (start, end) in starts.iter_mut().zip(&mut ends) {
        *start = total;
        total += *end;
        *end = total;
    }
    order.resize(total, 0);
    for i in (0..coordinates.len()).filter(taken) {
        let start = &mut starts[channels[i] as usize];
        order[*start] = i as u32;
        *start += 1;
    }
    ends
}

/// Brings the sums to the flat layout: degree, channel, order, `m`.
fn store(tables: &Tables, sums: &[Lanes], out: &mut [f32]) {
    for (channel, sums) in sums.chunks_exact(tables.columns).enumerate() {
        for panel in &tables.panels {
            let width = 2 * panel.l + 1;
            let columns = &sums[panel.column..][..width];
            let row = channel * tables.radial.orders(panel.l) + panel.first;
            let at = tables.irreps.offset(panel.l) + row * width;
            let rows = out[at..][..panel.orders * width].chunks_exact_mut(width);
            for (order, row) in rows.enumerate() {
                for (value, column) in row.iter_mut().zip(columns) {
                    *value = column.0[order];
                }
            }
        }
    }
}
