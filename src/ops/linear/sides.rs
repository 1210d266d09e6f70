//! The layouts that a linear map connects.

use crate::so3::irreps::Irreps;

/// How channels and orders are arranged inside a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Order-major, channels innermost: a steerable tensor.
    Steerable,
    /// Channel-major, orders innermost: a zernikegram in the published layout.
    Published,
}

/// One side of the map.
#[derive(Debug, Clone)]
pub struct Side {
    pub irreps: Irreps,
    pub order: Order,
}

/// Where a degree is in a sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub start: usize,
    /// From an order to the next.
    pub orders: usize,
    /// From a channel to the next.
    pub channels: usize,
}

impl Side {
    pub(super) fn place(&self, l: usize) -> Place {
        let (orders, channels) = match self.order {
            Order::Steerable => (self.irreps.channels(l), 1),
            Order::Published => (1, 2 * l + 1),
        };
        Place {
            start: self.irreps.offset(l),
            orders,
            channels,
        }
    }
}

/// Shapes `(in, out)` of the weights of each degree.
pub fn weight_shapes(from: &Irreps, to: &Irreps) -> Vec<(usize, usize)> {
    (0..=from.lmax().min(to.lmax()))
        .map(|l| (from.channels(l), to.channels(l)))
        .collect()
}
