//! What is transformed.

/// Atoms around a centre.
#[derive(Clone, Copy)]
pub struct Cloud<'a> {
    /// Å, about the centre.
    pub coordinates: &'a [[f32; 3]],
    pub channels: &'a [u8],
    /// Of each atom; empty where all are 1.
    pub weights: &'a [f32],
}
