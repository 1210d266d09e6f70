//! Rows of channels, some channels at once.

use super::cpu::Real;

/// Channels that are computed at once; a rest of channels is filled up with zeros.
pub(super) const LANES: usize = 16;

pub(super) type Lanes<T> = [T; LANES];

/// The lanes from a channel on, zeros after the last.
#[inline(always)]
pub(super) fn load<T: Real>(channels: &[T], from: usize) -> Lanes<T> {
    match channels[from..].first_chunk::<LANES>() {
        Some(lanes) => *lanes,
        None => {
            let mut lanes = [T::zero(); LANES];
            let rest = &channels[from..];
            lanes[..rest.len()].copy_from_slice(rest);
            lanes
        }
    }
}

/// Adds lanes to the channels from one on.
#[inline(always)]
pub(super) fn add<T: Real>(lanes: &Lanes<T>, channels: &mut [T], from: usize) {
    let channels = &mut channels[from..];
    match channels.first_chunk_mut::<LANES>() {
        Some(chunk) => (0..LANES).for_each(|s| chunk[s] += lanes[s]),
        None => channels.iter_mut().zip(lanes).for_each(|(c, &l)| *c += l),
    }
}

/// The sum of the lanes.
#[inline(always)]
pub(super) fn total<T: Real>(mut lanes: Lanes<T>) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for s in 0..width {
            lanes[s] += lanes[s + width];
        }
        width /= 2;
    }
    lanes[0]
}
