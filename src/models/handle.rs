//! What a layer keeps of its parameters and buffers: typed numbers of their places.

use candle_core::{Result, Shape, Tensor};

/// A group of parameters, one flat variable, and the shape that its layer uses it in.
/// [`super::Parameters::get`] gives its values.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub(super) group: usize,
    pub(super) shape: Shape,
}

impl Parameter {
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }
}

/// A range of the flat vector of buffers.
#[derive(Debug, Clone, Copy)]
pub struct Buffer {
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Buffer {
    /// This buffer's part of all buffers, a vector.
    pub fn of(&self, buffers: &Tensor) -> Result<Tensor> {
        buffers.narrow(0, self.offset, self.len)
    }
}

/// The extent of a group in the flat vector of parameters.
pub(super) struct Extent {
    pub offset: usize,
    pub len: usize,
    /// What its variable looks like; `len` elements.
    pub shape: Shape,
    /// Whether the model says that no loss depends on it.
    pub unused: bool,
}
