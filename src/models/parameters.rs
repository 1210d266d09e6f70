//! All parameters and buffers of a model, in one fixed, named order.
//!
//! Entries carry the published (PyTorch) names and shapes. Consecutive entries can share one
//! candle variable (a *group*): the weights of all degrees of a linear layer are one flat
//! tensor. The reducer, the optimizer and the checkpointer see one contiguous buffer.

use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor, Var, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::RwLock;

/// How an entry starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f32),
    /// Uniform on [-a, a].
    Uniform(f64),
}

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
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct Group {
    var: Var,
    offset: usize,
    len: usize,
}

/// Parameters (differentiated) and buffers (running statistics, not differentiated).
pub struct Parameters {
    entries: Vec<Entry>,
    groups: Vec<Group>,
    len: usize,
    buffer_entries: Vec<Entry>,
    buffers: RwLock<Vec<f32>>,
    /// Weight of new statistics in [`Parameters::update_buffers`].
    momentum: f64,
    dtype: DType,
    device: Device,
}

/// Collects entries, then makes the variables.
#[derive(Default)]
pub struct ParametersBuilder {
    entries: Vec<Entry>,
    groups: Vec<(usize, usize)>,
    len: usize,
    buffers: Vec<Entry>,
    buffer_len: usize,
}

impl ParametersBuilder {
    /// Adds a group of entries that share one flat variable; returns the group's number.
    pub fn group(
        &mut self,
        entries: impl IntoIterator<Item = (String, Vec<usize>, Init)>,
    ) -> usize {
        let start = self.len;
        for (name, shape, init) in entries {
            let entry = Entry {
                name,
                shape,
                offset: self.len,
                init,
            };
            self.len += entry.len();
            self.entries.push(entry);
        }
        self.groups.push((start, self.len - start));
        self.groups.len() - 1
    }

    /// Makes one group of group `first` and all after it; returns its number.
    pub fn merge(&mut self, first: usize) -> usize {
        let start = self.groups[first].0;
        self.groups.truncate(first);
        self.groups.push((start, self.len - start));
        first
    }

    /// Number of groups so far.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Adds a buffer; returns its first element in the flat buffer vector.
    pub fn buffer(&mut self, name: String, len: usize, start: f32) -> usize {
        let offset = self.buffer_len;
        self.buffers.push(Entry {
            name,
            shape: vec![len],
            offset,
            init: Init::Constant(start),
        });
        self.buffer_len += len;
        offset
    }

    /// Makes the variables. Each entry is drawn from its own stream of a counter-based
    /// generator keyed by `seed`, so an entry's start does not depend on the others.
    pub fn build(
        self,
        seed: u64,
        dtype: DType,
        device: &Device,
        momentum: f64,
    ) -> Result<Parameters> {
        let mut flat = vec![0f32; self.len];
        for (i, e) in self.entries.iter().enumerate() {
            draw(
                e.init,
                seed,
                i as u64,
                &mut flat[e.offset..e.offset + e.len()],
            );
        }
        let groups = self
            .groups
            .iter()
            .map(|&(offset, len)| {
                let t = Tensor::from_slice(&flat[offset..offset + len], len, device)?
                    .to_dtype(dtype)?;
                Ok(Group {
                    var: Var::from_tensor(&t)?,
                    offset,
                    len,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut buffers = Vec::with_capacity(self.buffer_len);
        for e in &self.buffers {
            let Init::Constant(c) = e.init else {
                unreachable!("buffers start constant")
            };
            buffers.extend(std::iter::repeat_n(c, e.len()));
        }
        Ok(Parameters {
            entries: self.entries,
            groups,
            len: self.len,
            buffer_entries: self.buffers,
            buffers: RwLock::new(buffers),
            momentum,
            dtype,
            device: device.clone(),
        })
    }
}

/// The elements of a vector on a device, in one transfer.
pub(crate) fn to_host(vector: &Tensor) -> Result<Vec<f32>> {
    #[cfg(feature = "cuda")]
    if vector.device().is_cuda() {
        return Ok(crate::gpu::to_host(vector)?);
    }
    Ok(vector.to_dtype(DType::F32)?.to_vec1()?)
}

fn draw(init: Init, seed: u64, stream: u64, out: &mut [f32]) {
    match init {
        Init::Constant(c) => out.fill(c),
        Init::Uniform(a) => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            for x in out {
                *x = ((2.0 * rng.random::<f64>() - 1.0) * a) as f32;
            }
        }
    }
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
fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
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
    /// Variables of their own for the first groups of a model, of `lens` elements each, with the
    /// values of `flat`: a part of the model runs on them, and its graph ends there.
    pub fn stand_in(flat: &Tensor, lens: &[usize]) -> candle_core::Result<Self> {
        let mut groups = Vec::with_capacity(lens.len());
        let mut offset = 0;
        for &len in lens {
            groups.push(Group {
                var: Var::from_tensor(&flat.narrow(0, offset, len)?)?,
                offset,
                len,
            });
            offset += len;
        }
        Ok(Self {
            entries: Vec::new(),
            groups,
            len: offset,
            buffer_entries: Vec::new(),
            buffers: RwLock::default(),
            momentum: 0.0,
            dtype: flat.dtype(),
            device: flat.device().clone(),
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

    /// Where the variables are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The flat variable of a group.
    pub fn var(&self, group: usize) -> &Tensor {
        self.groups[group].var.as_tensor()
    }

    /// All parameters in flat order, as f32.
    pub fn flat(&self) -> Result<Vec<f32>> {
        self.range(0..self.len)
    }

    /// Some of the parameters in flat order, as f32.
    pub fn range(&self, range: Range<usize>) -> Result<Vec<f32>> {
        if !self.device.is_cpu() {
            let all = self.groups.iter().map(|g| g.var.as_tensor().clone());
            let all = Tensor::cat(&all.collect::<Vec<_>>(), 0)?;
            return to_host(&all.narrow(0, range.start, range.len())?);
        }
        let mut out = Vec::with_capacity(range.len());
        for g in &self.groups {
            let (start, end) = g.overlap(&range);
            if start < end {
                let part = g.var.as_tensor().narrow(0, start - g.offset, end - start)?;
                with_values(&part, |values| out.extend_from_slice(values))?;
            }
        }
        Ok(out)
    }

    /// Replaces all parameters by a vector on their device.
    pub fn set_vector(&self, flat: &Tensor) -> Result<()> {
        if flat.dims() != [self.len] {
            return Err(Error::internal(format!(
                "parameter values of shape {:?} for a model of {}",
                flat.dims(),
                self.len
            )));
        }
        self.set_part(0, flat)
    }

    /// Replaces the parameters from `first` on by a vector on their device.
    fn set_part(&self, first: usize, values: &Tensor) -> Result<()> {
        let range = first..first + values.elem_count();
        let values = values.to_dtype(self.dtype)?;
        for g in &self.groups {
            let (start, end) = g.overlap(&range);
            if start < end {
                let part = values.narrow(0, start - first, end - start)?;
                g.var.slice_set(&part, 0, start - g.offset)?;
            }
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
        for g in &self.groups {
            let (start, end) = g.overlap(&range);
            if start < end {
                let part = g.var.narrow(0, start - g.offset, end - start)?;
                let piece = |values: &mut [f32]| f(start - range.start, values);
                part.inplace_op1(&Modify(RefCell::new(piece)))?;
            }
        }
        Ok(())
    }

    /// Gradients in flat order; zero where the loss does not depend on a group.
    pub fn gradients(&self, store: &GradStore) -> Result<Vec<f32>> {
        self.collect(|var| store.get(var).cloned())
    }

    /// [`Parameters::gradients`], freeing each gradient as soon as it is copied.
    pub fn take_gradients(&self, mut store: GradStore) -> Result<Vec<f32>> {
        self.collect(|var| store.remove(var))
    }

    fn collect(&self, mut gradient: impl FnMut(&Tensor) -> Option<Tensor>) -> Result<Vec<f32>> {
        if !self.device.is_cpu() {
            return to_host(&self.join(gradient)?);
        }
        let mut out = Vec::with_capacity(self.len);
        for g in &self.groups {
            match gradient(g.var.as_tensor()) {
                Some(gradient) => with_values(&gradient, |values| out.extend_from_slice(values))?,
                None => out.resize(g.offset + g.len, 0.0),
            }
        }
        Ok(out)
    }

    /// [`Parameters::gradients`] as one f32 vector where the variables are.
    pub fn gradient(&self, store: &GradStore) -> Result<Tensor> {
        self.join(|var| store.get(var).cloned())
    }

    fn join(&self, mut gradient: impl FnMut(&Tensor) -> Option<Tensor>) -> Result<Tensor> {
        let part = |g: &Group| match gradient(g.var.as_tensor()) {
            Some(gradient) => gradient.flatten_all()?.to_dtype(DType::F32),
            None => Tensor::zeros(g.len, DType::F32, &self.device),
        };
        let all = self.groups.iter().map(part);
        Ok(Tensor::cat(
            &all.collect::<candle_core::Result<Vec<_>>>()?,
            0,
        )?)
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
