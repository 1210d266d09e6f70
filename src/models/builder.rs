//! How a model names its parameters and buffers.
//!
//! A layer asks its [`Scope`] for parameters by names of its own ("weight"); the scope puts the
//! path of the layer before them, so that the published (PyTorch) name comes out
//! ("encoder.lin.weight"). What it gets is a typed handle, [`Parameter`] or [`Buffer`], which the
//! forward pass exchanges for the values ([`super::Parameters::get`], [`Buffer::of`]).

use super::handle::{Buffer, Extent, Parameter};
use super::init::Init;
use super::parameters::{Entry, Parameters};
use super::sizes::check_room;
use crate::Result;
use candle_core::{DType, Device, Shape};
use std::fmt::Display;
use std::sync::RwLock;

/// Collects entries, then makes the variables.
#[derive(Default)]
pub struct ParametersBuilder {
    entries: Vec<Entry>,
    groups: Vec<Extent>,
    len: usize,
    buffers: Vec<Entry>,
    buffer_len: usize,
}

/// A place in a model, by name, for the layers that are built there.
pub struct Scope<'a> {
    builder: &'a mut ParametersBuilder,
    /// Name of the place with a dot at its end, or nothing.
    prefix: String,
}

impl ParametersBuilder {
    /// The place of the whole model, without a name.
    pub fn root(&mut self) -> Scope<'_> {
        Scope {
            builder: self,
            prefix: String::new(),
        }
    }

    /// Number of values of all parameters so far.
    pub fn size(&self) -> usize {
        self.len
    }

    /// Makes the variables. Each entry is drawn from its own stream of a counter-based
    /// generator keyed by `seed`, so an entry's start does not depend on the others. `momentum`
    /// is the weight of new statistics in [`Parameters::update_buffers`].
    ///
    /// # Errors
    /// A model that is too large ([`super::sizes`]).
    pub fn build(
        self,
        seed: u64,
        dtype: DType,
        device: &Device,
        momentum: f64,
    ) -> Result<Parameters> {
        check_room(self.len.saturating_add(self.buffer_len))?;
        let mut parameters = Parameters::zeros(&self.groups, dtype, device)?;
        // Group by group: no second copy of all values stays in memory.
        let mut entries = self.entries.iter().enumerate().peekable();
        for group in &self.groups {
            let (start, end) = (group.offset, group.offset + group.len);
            let mut values = vec![0f32; group.len];
            while let Some((i, e)) = entries.next_if(|(_, e)| e.offset < end) {
                let range = e.offset - start..e.offset - start + e.len();
                e.init.draw(seed, i as u64, &mut values[range]);
            }
            parameters.set_range(start, &values)?;
        }
        let mut buffers = vec![0f32; self.buffer_len];
        for (i, e) in self.buffers.iter().enumerate() {
            let range = e.offset..e.offset + e.len();
            e.init.draw(seed, i as u64, &mut buffers[range]);
        }
        parameters.entries = self.entries;
        parameters.buffer_entries = self.buffers;
        parameters.buffers = RwLock::new(buffers);
        parameters.momentum = momentum;
        Ok(parameters)
    }
}

impl Scope<'_> {
    /// A place inside this one.
    pub fn scope(&mut self, name: impl Display) -> Scope<'_> {
        Scope {
            prefix: format!("{}{name}.", self.prefix),
            builder: self.builder,
        }
    }

    /// The name of an entry at this place.
    fn name(&self, name: impl Display) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Adds one parameter.
    pub fn parameter(
        &mut self,
        name: impl Display,
        shape: impl Into<Shape>,
        init: Init,
    ) -> Parameter {
        let shape = shape.into();
        let entry = Entry::new(name, shape.dims().to_vec(), init);
        let flat = self.group([entry]);
        self.builder.groups[flat.group].shape = shape.clone();
        Parameter { shape, ..flat }
    }

    /// Adds entries that share one variable, a vector.
    pub fn group(&mut self, entries: impl IntoIterator<Item = Entry>) -> Parameter {
        let offset = self.builder.len;
        for entry in entries {
            let entry = Entry {
                name: self.name(&entry.name),
                offset: self.builder.len,
                ..entry
            };
            self.builder.len = self.builder.len.saturating_add(entry.len());
            self.builder.entries.push(entry);
        }
        self.extent(offset, false)
    }

    /// Makes one group, a vector, of `first` and all groups after it; their handles end.
    pub fn merge(&mut self, first: Parameter) -> Parameter {
        let merged = self.builder.groups.split_off(first.group);
        self.extent(merged[0].offset, merged.iter().all(|g| g.unused))
    }

    /// Everything from `offset` on as one group.
    fn extent(&mut self, offset: usize, unused: bool) -> Parameter {
        let len = self.builder.len - offset;
        self.builder.groups.push(Extent {
            offset,
            len,
            shape: len.into(),
            unused,
        });
        Parameter {
            group: self.builder.groups.len() - 1,
            shape: len.into(),
        }
    }

    /// Says that no loss depends on a parameter, so that it needs no gradient: it is there because
    /// published files hold it.
    pub fn unused(&mut self, parameter: &Parameter) {
        self.builder.groups[parameter.group].unused = true;
    }

    /// Number of groups so far.
    pub fn groups(&self) -> usize {
        self.builder.groups.len()
    }

    /// Adds a buffer, a vector that starts constant.
    pub fn buffer(&mut self, name: impl Display, len: usize, start: f32) -> Buffer {
        let offset = self.builder.buffer_len;
        let entry = Entry {
            offset,
            ..Entry::new(self.name(name), vec![len], Init::Constant(start))
        };
        self.builder.buffers.push(entry);
        self.builder.buffer_len = self.builder.buffer_len.saturating_add(len);
        Buffer { offset, len }
    }
}
