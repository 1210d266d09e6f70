//! The transform on a GPU: atoms go there, zernikegrams stay there.

use super::Transform;
use super::launches;
use crate::ops::cache::cached;
use crate::ops::cuda::run_tensors;
use crate::{Error, Result};
use candle_core::{Device, Tensor};

impl Transform {
    /// [`Transform::apply`] times `scale`, as a tensor `[clouds, dim]` on a GPU.
    ///
    /// # Errors
    /// As [`Transform::apply`]; a failure of the device.
    pub fn apply_on(
        &self,
        device: &Device,
        coordinates: &[[f32; 3]],
        channels: &[u8],
        offsets: &[usize],
        scale: f32,
    ) -> Result<Tensor> {
        let (clouds, dim) = (offsets.len().saturating_sub(1), self.irreps.dim());
        super::check(coordinates, channels, offsets, clouds * dim, dim)?;
        let ends: Option<Vec<i32>> = offsets.iter().map(|&o| i32::try_from(o).ok()).collect();
        let ends = ends.ok_or_else(|| Error::internal("a batch of more than 2^31 atoms"))?;
        let atoms = coordinates.len();
        // A batch may be empty of atoms, memory may not.
        let pad = usize::from(atoms == 0);
        let mut xyz = coordinates.as_flattened().to_vec();
        xyz.resize(3 * (atoms + pad), 0.0);
        let mut kinds = channels.to_vec();
        kinds.resize(atoms + pad, super::DROP);
        let arguments = [
            Tensor::from_vec(xyz, 3 * (atoms + pad), device)?,
            Tensor::from_vec(kinds, atoms + pad, device)?,
            Tensor::from_vec(ends, clouds + 1, device)?,
        ];
        let key = format!("zernike {:?}", self.settings);
        let tables = cached(key, || launches::Tables::new(&self.settings));
        let sequence = launches::transform(&tables, clouds, atoms + pad, scale);
        let arguments = arguments.each_ref();
        match run_tensors(&sequence, &arguments)?.pop() {
            Some(out) => Ok(out.reshape((clouds, dim))?),
            None => Err(Error::internal("a transform without a result")),
        }
    }
}
