//! All parameters and buffers of a model, in one fixed, named order.
//!
//! Entries carry the published (PyTorch) names and shapes. Consecutive entries can share one
//! candle variable (a *group*): the weights of all degrees of a linear layer are one flat
//! tensor. The reducer, the optimizer and the checkpointer see one contiguous buffer.

use super::gradient::leaf;
use super::handle::{Extent, Parameter};
use super::init::Init;
use crate::{Error, Result};
use candle_core::{
    CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor, TensorId, Var, bail,
};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::sync::RwLock;

/// One named tensor inside the flat buffer.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Published name, e.g. `encoder_cg_blocks.0.layers.3.weights.2`.
    pub name: String,
    pub shape: Vec<usize>,
    /// First element in the flat buffer.
    pub offset: usize,
    pub init: Init,
}

impl Entry {
    /// An entry for a builder, which finds its place and completes its name.
    pub fn new(name: impl Display, shape: Vec<usize>, init: Init) -> Self {
        Self {
            name: name.to_string(),
            shape,
            offset: 0,
            init,
        }
    }

    /// Number of values; `usize::MAX` where it is beyond counting.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |len, &d| len.saturating_mul(d))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct Group {
    /// A leaf ([`super::gradient`]), or a variable of its own in a stand-in.
    var: Tensor,
    /// The same as a vector.
    flat: Tensor,
    offset: usize,
    len: usize,
    /// Whether the model says that no loss depends on it.
    unused: bool,
}

/// Parameters (differentiated) and buffers (running statistics, not differentiated).
pub struct Parameters {
    pub(super) entries: Vec<Entry>,
    /// What the leaves come from; none in a stand-in.
    origin: Option<Var>,
    groups: Vec<Group>,
    len: usize,
    pub(super) buffer_entries: Vec<Entry>,
    pub(super) buffers: RwLock<Vec<f32>>,
    /// Weight of new statistics in [`Parameters::update_buffers`].
    pub(super) momentum: f64,
    dtype: DType,
    device: Device,
}

/// The elements of a vector on a device, in one transfer.
pub(crate) fn to_host(vector: &Tensor) -> Result<Vec<f32>> {
    #[cfg(feature = "cuda")]
    if vector.device().is_cuda() {
        return Ok(crate::gpu::to_host(vector)?);
    }
    Ok(vector.to_dtype(DType::F32)?.to_vec1()?)
}

impl Group {
    /// The part of a range of the flat order that lies in this group.
    fn overlap(&self, range: &Range<usize>) -> (usize, usize) {
        let end = (self.offset + self.len).min(range.end);
        (range.start.max(self.offset), end)
    }
}

/// Calls `f` with a tensor's values in row-major order, from the processor's memory without a
/// detour.
pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    {
        return Ok(f(&values[start..end]));
    }
    drop(storage);
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?;
    Ok(f(&values.to_vec1::<f32>()?))
}

/// Changes a variable's values, as f32, where they are.
struct Modify<F>(RefCell<F>);

impl<F: FnMut(&mut [f32])> InplaceOp1 for Modify<F> {
    fn name(&self) -> &'static str {
        "modify"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("variables are contiguous")
        };
        let f = &mut *self.0.borrow_mut();
        match storage {
            CpuStorage::F32(values) => f(&mut values[start..end]),
            CpuStorage::F64(values) => {
                let values = &mut values[start..end];
                let mut single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                f(&mut single);
                for (value, &new) in values.iter_mut().zip(&single) {
                    *value = new.into();
                }
            }
            _ => bail!("variables are f32 or f64"),
        }
        Ok(())
    }
}

impl Parameters {
    /// Parameters of the given extents, all zero.
    pub(super) fn zeros(
        extents: &[Extent],
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Self> {
        let origin = Var::zeros((), dtype, device)?;
        let var = |(number, e): (usize, &Extent)| leaf(&origin, number, &e.shape);
        let vars = extents.iter().enumerate().map(var);
        let vars = vars.collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Self {
            origin: Some(origin),
            ..Self::on(vars, extents, dtype, device)?
        })
    }

    /// Variables of their own for the first groups of a model, of `lens` elements each, with the
    /// values of `flat`: a part of the model runs on them, and its graph ends there.
    pub fn stand_in(flat: &Tensor, lens: &[usize]) -> candle_core::Result<Self> {
        let mut end = 0;
        let extent = |&len: &usize| {
            end += len;
            Extent {
                offset: end - len,
                len,
                shape: len.into(),
                unused: false,
            }
        };
        let extents: Vec<Extent> = lens.iter().map(extent).collect();
        let var = |e: &Extent| {
            let values = flat.narrow(0, e.offset, e.len)?;
            Ok(Var::from_tensor(&values)?.into_inner())
        };
        let vars = extents.iter().map(var);
        let vars = vars.collect::<candle_core::Result<Vec<_>>>()?;
        Self::on(vars, &extents, flat.dtype(), flat.device())
    }

    /// The same values as constants, in the same memory: what is computed from them has no gradient
    /// by them. For gradients by something else, which then cost less.
    pub fn constants(&self) -> Self {
        let group = |g: &Group| Group {
            var: g.var.detach(),
            flat: g.flat.detach(),
            ..*g
        };
        Self {
            entries: self.entries.clone(),
            origin: None,
            groups: self.groups.iter().map(group).collect(),
            len: self.len,
            buffer_entries: self.buffer_entries.clone(),
            buffers: RwLock::new(self.buffers()),
            momentum: self.momentum,
            dtype: self.dtype,
            device: self.device.clone(),
        }
    }

    fn on(
        vars: Vec<Tensor>,
        extents: &[Extent],
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Self> {
        let group = |(var, e): (Tensor, &Extent)| -> candle_core::Result<Group> {
            Ok(Group {
                flat: var.flatten_all()?,
                var,
                offset: e.offset,
                len: e.len,
                unused: e.unused,
            })
        };
        let groups = vars.into_iter().zip(extents).map(group);
        Ok(Self {
            entries: Vec::new(),
            origin: None,
            groups: groups.collect::<candle_core::Result<_>>()?,
            len: extents.iter().map(|e| e.len).sum(),
            buffer_entries: Vec::new(),
            buffers: RwLock::default(),
            momentum: 0.0,
            dtype,
            device: device.clone(),
        })
    }

    /// Entries in flat order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of scalars.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Type of the variables.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the variables are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The values of a parameter in its shape, for a forward pass.
    pub fn get(&self, parameter: &Parameter) -> candle_core::Result<Tensor> {
        let var = &self.groups[parameter.group].var;
        match var.shape() == &parameter.shape {
            true => Ok(var.clone()),
            false => var.reshape(&parameter.shape),
        }
    }

    /// The flat variables of all groups in flat order.
    pub fn variables(&self) -> impl Iterator<Item = &Tensor> {
        self.groups.iter().map(|g| &g.flat)
    }

    /// Names of the entries that the model declares unused.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let unused = |e: &&Entry| {
            let mut groups = self.groups.iter();
            groups.any(|g| g.unused && (g.offset..g.offset + g.len).contains(&e.offset))
        };
        self.entries.iter().filter(unused).map(|e| &*e.name)
    }

    /// All parameters in flat order, as f32.
    pub fn flat(&self) -> Result<Vec<f32>> {
        self.range(0..self.len)
    }

    /// Some of the parameters in flat order, as f32.
    pub fn range(&self, range: Range<usize>) -> Result<Vec<f32>> {
        let parts = self.parts(range.clone())?;
        if !self.device.is_cpu() {
            // One transfer for all groups.
            let parts: Vec<Tensor> = parts.into_iter().map(|part| part.1).collect();
            return match parts.is_empty() {
                true => Ok(Vec::new()),
                false => to_host(&Tensor::cat(&parts, 0)?),
            };
        }
        let mut out = Vec::with_capacity(range.len());
        for (_, part) in parts {
            with_values(&part, |values| out.extend_from_slice(values))?;
        }
        Ok(out)
    }

    /// Some of the parameters where they are, in pieces that follow each other: where in the range
    /// a piece starts, and the piece of a variable.
    pub fn parts(&self, range: Range<usize>) -> Result<Vec<(usize, Tensor)>> {
        let mut parts = Vec::new();
        for g in &self.groups {
            let (start, end) = g.overlap(&range);
            if start < end {
                let part = g.flat.narrow(0, start - g.offset, end - start)?;
                parts.push((start - range.start, part));
            }
        }
        Ok(parts)
    }

    /// Replaces the parameters from `first` on by a vector on their device.
    fn set_part(&self, first: usize, values: &Tensor) -> Result<()> {
        let values = values.to_dtype(self.dtype)?;
        for (at, part) in self.parts(first..first + values.elem_count())? {
            let new = values.narrow(0, at, part.elem_count())?;
            part.slice_set(&new, 0, 0)?;
        }
        Ok(())
    }

    /// Replaces all parameters.
    pub fn set_flat(&self, flat: &[f32]) -> Result<()> {
        if flat.len() != self.len {
            return Err(Error::internal(format!(
                "{} parameter values for a model of {}",
                flat.len(),
                self.len
            )));
        }
        self.set_range(0, flat)
    }

    /// Replaces the parameters from `first` on, in place.
    pub fn set_range(&self, first: usize, values: &[f32]) -> Result<()> {
        if !self.device.is_cpu() {
            // One transfer for all groups.
            let all = Tensor::from_slice(values, values.len(), &self.device)?;
            return self.set_part(first, &all);
        }
        self.modify(first..first + values.len(), |at, out| {
            out.copy_from_slice(&values[at..][..out.len()]);
        })
    }

    /// Lends some of the parameters of a model on the processor to `f`, in pieces that follow each
    /// other: where in the range a piece starts, and its values.
    ///
    /// # Errors
    /// A model that is not in the processor's memory.
    pub fn modify(&self, range: Range<usize>, mut f: impl FnMut(usize, &mut [f32])) -> Result<()> {
        for (at, part) in self.parts(range)? {
            let piece = |values: &mut [f32]| f(at, values);
            part.inplace_op1(&Modify(RefCell::new(piece)))?;
        }
        Ok(())
    }

    /// Where each group lies in the flat order.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        self.groups.iter().map(|g| g.offset..g.offset + g.len)
    }

    /// Names of a group's entries.
    pub(super) fn names(&self, group: usize) -> String {
        let Group { offset, len, .. } = self.groups[group];
        let here = |e: &&Entry| (offset..offset + len).contains(&e.offset);
        let names: Vec<&str> = self.entries.iter().filter(here).map(|e| &*e.name).collect();
        names.join(", ")
    }

    pub(super) fn is_unused(&self, group: usize) -> bool {
        self.groups[group].unused
    }

    /// What the leaves come from.
    pub(super) fn origin(&self) -> Result<TensorId> {
        match &self.origin {
            Some(origin) => Ok(origin.id()),
            None => Err(Error::internal("a stand-in keeps its gradients to itself")),
        }
    }

    /// Zero, as a function of all parameters. candle leaves operands without elements out of sums
    /// and products, and with them the layers on edges where there are none: their gradients are
    /// zero, and not missing.
    ///
    /// # Errors
    /// Those of candle.
    pub(super) fn nothing(&self) -> Result<Tensor> {
        let zero = Tensor::zeros((), self.dtype, &self.device)?;
        let mut sum = zero.clone();
        for variable in self.variables() {
            sum = (sum + variable.sum_all()?)?;
        }
        // A factor that is a number would be left out of the graph too.
        Ok((sum * zero)?)
    }

    /// Named buffers in flat order.
    pub fn buffer_entries(&self) -> &[Entry] {
        &self.buffer_entries
    }

    /// A copy of all buffers in flat order.
    pub fn buffers(&self) -> Vec<f32> {
        self.buffers
            .read()
            .unwrap_or_else(|e| e.into_inner())
            .clone()
    }

    /// Replaces all buffers.
    pub fn set_buffers(&self, values: &[f32]) -> Result<()> {
        let mut b = self.buffers.write().unwrap_or_else(|e| e.into_inner());
        if values.len() != b.len() {
            return Err(Error::internal(format!(
                "{} buffer values for a model of {}",
                values.len(),
                b.len()
            )));
        }
        b.copy_from_slice(values);
        Ok(())
    }

    /// Running averages: buffer = (1 - momentum) buffer + momentum statistic.
    pub fn update_buffers(&self, statistics: &[f32]) -> Result<()> {
        let m = self.momentum as f32;
        let new: Vec<f32> = self
            .buffers()
            .iter()
            .zip(statistics)
            .map(|(&b, &s)| (1.0 - m) * b + m * s)
            .collect();
        self.set_buffers(&new)
    }
}
