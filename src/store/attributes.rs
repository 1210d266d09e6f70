//! Attributes of a group.

use super::node::unreadable;
use super::{Element, Node, strings};
use crate::{Error, Result};
use hdf5::types::VarLenUnicode;

impl Node {
    fn attribute(&self, name: &str) -> Result<hdf5::Attribute> {
        let attribute = self.h5().attr(name).map_err(|_| {
            Error::file(
                self.path(),
                format!("no attribute {name} on {}", self.h5().name()),
            )
        })?;
        let held = self.holds(&attribute);
        held.map_err(|e| self.bad_attribute(name, e))?;
        Ok(attribute)
    }

    fn bad_attribute(&self, name: &str, what: impl std::fmt::Display) -> Error {
        Error::file(
            self.path(),
            format!("attribute {name} on {}: {what}", self.h5().name()),
        )
    }

    /// Names and values of all attributes, as text.
    pub fn attributes(&self) -> Result<Vec<(String, String)>> {
        let names = self
            .h5()
            .attr_names()
            .map_err(|e| unreadable(self.path(), "cannot list", &e))?;
        let joined = |numbers: Vec<String>| numbers.join(", ");
        let value = |name: &str| {
            let integers = |name| {
                self.attr_list::<i64>(name)
                    .map(|v| joined(v.iter().map(i64::to_string).collect()))
            };
            let floats = |name| {
                self.attr_list::<f64>(name)
                    .map(|v| joined(v.iter().map(f64::to_string).collect()))
            };
            self.attr_text(name)
                .or_else(|_| integers(name))
                .or_else(|_| floats(name))
        };
        names
            .into_iter()
            .map(|n| value(&n).map(|v| (n, v)))
            .collect()
    }

    /// Whether there is an attribute of this name.
    pub fn has_attr(&self, name: &str) -> bool {
        self.h5().attr(name).is_ok()
    }

    /// A number.
    pub fn attr<T: Element>(&self, name: &str) -> Result<T> {
        match self.attr_list(name)?[..] {
            [value] => Ok(value),
            ref many => Err(self.bad_attribute(name, format!("{} values, not one", many.len()))),
        }
    }

    /// A list of numbers.
    pub fn attr_list<T: Element>(&self, name: &str) -> Result<Vec<T>> {
        T::read_all(&*self.attribute(name)?).map_err(|e| self.bad_attribute(name, e))
    }

    /// A text.
    pub fn attr_text(&self, name: &str) -> Result<String> {
        let texts =
            strings::read(&*self.attribute(name)?).map_err(|e| self.bad_attribute(name, e))?;
        texts
            .into_iter()
            .next()
            .ok_or_else(|| self.bad_attribute(name, "empty"))
    }

    /// Writes an attribute of one value.
    pub fn set_attr<T: Element>(&self, name: &str, value: T) -> Result<()> {
        self.h5()
            .new_attr::<T>()
            .create(name)
            .and_then(|a| a.write_scalar(&value))
            .map_err(|e| self.failed(name, "cannot write attribute", e))
    }

    /// Writes an attribute of several values.
    pub fn set_attr_list<T: Element>(&self, name: &str, values: &[T]) -> Result<()> {
        self.h5()
            .new_attr::<T>()
            .shape(values.len())
            .create(name)
            .and_then(|a| a.write_raw(values))
            .map_err(|e| self.failed(name, "cannot write attribute", e))
    }

    /// Writes a short text (HDF5 caps attributes at 64 KiB; see [`Node::write_text`]).
    pub fn set_attr_text(&self, name: &str, text: &str) -> Result<()> {
        let encoded: VarLenUnicode =
            strings::encode(text).map_err(|e| self.bad_attribute(name, e))?;
        self.h5()
            .new_attr::<VarLenUnicode>()
            .create(name)
            .and_then(|a| a.write_scalar(&encoded))
            .map_err(|e| self.failed(name, "cannot write attribute", e))
    }
}
