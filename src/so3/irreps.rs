//! Bookkeeping of degrees and multiplicities.

/// Channels per degree: `channels[l]` copies of the irrep of degree `l`, for l = 0..=lmax
/// without holes. The flat layout is that of the published code: `l` ascending, inside `l`
/// channel-major, then `m` ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irreps {
    channels: Vec<usize>,
}

impl Irreps {
    /// `channels[l]` channels of degree `l`.
    pub fn new(channels: Vec<usize>) -> Self {
        assert!(!channels.is_empty(), "irreps need at least degree 0");
        Self { channels }
    }

    /// `channels` copies of every degree up to `lmax`.
    pub fn uniform(lmax: usize, channels: usize) -> Self {
        Self::new(vec![channels; lmax + 1])
    }

    /// Irreps of a zernikegram: `elements` channels times the number of radial orders
    /// n <= nmax with n >= l and n - l even.
    pub fn zernike(lmax: usize, nmax: usize, elements: usize) -> Self {
        Self::new(
            (0..=lmax)
                .map(|l| elements * radial_orders(nmax, l))
                .collect(),
        )
    }

    /// The highest degree.
    pub fn lmax(&self) -> usize {
        self.channels.len() - 1
    }

    /// Number of channels of degree `l`.
    pub fn channels(&self, l: usize) -> usize {
        self.channels[l]
    }

    /// Length of one flat vector.
    pub fn dim(&self) -> usize {
        self.offset(self.channels.len())
    }

    /// Where degree `l` starts in the flat vector.
    pub fn offset(&self, l: usize) -> usize {
        (0..l).map(|k| self.channels[k] * (2 * k + 1)).sum()
    }

    /// `Some(c)` when every degree has `c` channels.
    pub fn equal_channels(&self) -> Option<usize> {
        let c = self.channels[0];
        self.channels.iter().all(|&k| k == c).then_some(c)
    }
}

/// Number of radial orders n <= nmax with n >= l and n - l even.
pub fn radial_orders(nmax: usize, l: usize) -> usize {
    if l > nmax { 0 } else { (nmax - l) / 2 + 1 }
}

/// Rows of a steerable tensor up to `lmax`: (lmax + 1)^2, row `l*l + l + m`.
pub fn rows(lmax: usize) -> usize {
    (lmax + 1) * (lmax + 1)
}
