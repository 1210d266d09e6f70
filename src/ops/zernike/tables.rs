//! What the CPU transform keeps: tables of the settings, and each thread's working memory.

use super::lanes::{LANES, Lanes};
use super::settings::{Settings, Weighting};
use crate::so3::harmonics::Recurrence;
use crate::so3::irreps::{Irreps, rows};
use crate::so3::radial::Radial;

/// Atoms per tile: the tile's arrays stay in the nearest caches.
pub(super) const TILE: usize = 64;
/// An atom this much beyond the cutoff, relatively, counts as on it: coordinates carry rounding
/// errors.
pub(super) const SLACK: f64 = 1e-6;

/// Everything that depends on the settings alone.
pub struct Tables {
    pub(super) lmax: usize,
    pub(super) cutoff: f64,
    pub(super) square: bool,
    pub(super) channels: usize,
    pub(super) irreps: Irreps,
    pub(super) radial: Radial,
    /// Of [`Recurrence`].
    pub(super) diagonal: Vec<f32>,
    /// `[a_lm, b_lm]` of [`Recurrence`] at `l (l + 1) / 2 + m`.
    pub(super) steps: Vec<[f32; 2]>,
    pub(super) panels: Vec<Panel>,
    pub(super) columns: usize,
    pub(super) arch: pulp::Arch,
}

/// Sixteen radial orders of one degree.
pub(super) struct Panel {
    pub l: usize,
    /// First of its orders, counted from `n = l` in steps of two.
    pub first: usize,
    pub orders: usize,
    /// Its first column in `sums`.
    pub column: usize,
}

impl Tables {
    pub fn new(settings: &Settings) -> Self {
        let lmax = settings.lmax;
        let radial = Radial::new(lmax, settings.nmax, settings.binomial);
        let recurrence = Recurrence::new(lmax);
        let mut panels = Vec::new();
        let mut columns = 0;
        for l in 0..=lmax {
            for first in (0..radial.orders(l)).step_by(LANES) {
                panels.push(Panel {
                    l,
                    first,
                    orders: (radial.orders(l) - first).min(LANES),
                    column: columns,
                });
                columns += 2 * l + 1;
            }
        }
        let steps = (0..=lmax).flat_map(|l| (0..=l).map(move |m| (l, m)));
        Self {
            lmax,
            cutoff: settings.cutoff,
            square: settings.weighting == Weighting::Square,
            channels: settings.channels.len(),
            irreps: settings.irreps(),
            diagonal: (0..=lmax).map(|m| recurrence.diagonal(m) as f32).collect(),
            steps: steps
                .map(|(l, m)| recurrence.step(l, m).map(|c| c as f32))
                .collect(),
            radial,
            panels,
            columns,
            arch: pulp::Arch::new(),
        }
    }

    /// Number of panels of a degree.
    pub(super) fn panels_of(&self, l: usize) -> usize {
        self.radial.orders(l).div_ceil(LANES)
    }

    /// Whether an atom takes part: inside the ball and not at its centre, where it has no
    /// direction.
    pub fn contains(&self, xyz: &[f32; 3]) -> bool {
        let square: f64 = xyz.iter().map(|&c| c as f64 * c as f64).sum();
        let limit = self.cutoff * (1.0 + SLACK);
        square > 0.0 && square <= limit * limit
    }
}

/// Working memory of one thread.
pub struct Scratch {
    pub(super) order: Vec<u32>,
    /// Radial polynomials of one block, rounded, `[panel, order, atom]`.
    pub(super) narrow: Vec<Lanes>,
    pub(super) radial: Vec<Lanes>,
    pub(super) harmonics: Vec<Lanes>,
    pub(super) sums: Vec<Lanes>,
    /// What rounding took from `sums`.
    pub(super) lost: Vec<Lanes>,
}

impl Scratch {
    pub fn new(tables: &Tables) -> Self {
        let panels = tables.panels.len();
        Self {
            order: Vec::new(),
            narrow: vec![Lanes::ZERO; panels * LANES],
            radial: vec![Lanes::ZERO; TILE * panels],
            harmonics: vec![Lanes::ZERO; TILE / LANES * rows(tables.lmax)],
            sums: vec![Lanes::ZERO; tables.channels * tables.columns],
            lost: vec![Lanes::ZERO; tables.channels * tables.columns],
        }
    }
}
