//! The stack machine of Python's pickle, without Python: it makes a graph of plain values.
//!
//! Nothing is imported and nothing is called: where Python would call a function, the graph has a
//! [`Value::Call`] that says which one, and a reader of the graph decides what it understands. A
//! value is made once and named by its [`Id`] everywhere else, so a pickle takes memory in
//! proportion to its length, however often it names a value, and no step recurses.
//!
//! The opcodes are those of Python's `pickletools`, protocols 1 to 5.

mod machine;

use crate::Result;
use machine::Machine;
use std::ops::Range;

/// Bytes of a pickle that are read at the most: a tensor takes about 200.
pub(super) const BYTES: usize = 64 << 20;
/// Opcodes of a pickle at the most: a tensor takes about 40.
const OPCODES: usize = 8 << 20;

/// A value of a [`Graph`].
pub(super) type Id = u32;

/// What a pickle holds, as far as it says so without running code.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Place of a text in the pickle; see [`Graph::text`].
    Text(Range<usize>),
    /// A class or function by its name.
    Global(Box<Global>),
    /// A tuple, list or set.
    List(Vec<Id>),
    Map(Vec<Pair>),
    /// What Python would get from calling a function or making an object.
    Call(Box<Call>),
    /// What lies outside of the pickle, and how it is named.
    Outside(Id),
    /// Bytes, fractions and integers beyond 64 bits: no file of tensors needs their values.
    Other,
}

/// Places of the two parts of a name in the pickle.
#[derive(Debug, PartialEq)]
pub(super) struct Global {
    module: Range<usize>,
    name: Range<usize>,
}

/// An entry of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub key: Id,
    pub value: Id,
}

/// A call that is not made.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub function: Id,
    pub arguments: Id,
    /// What is put into the result as into a dictionary.
    pub items: Vec<Pair>,
}

/// The values of a pickle.
pub(super) struct Graph<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    /// The value that the pickle stands for.
    pub root: Id,
    /// Where the pickle ends in the bytes.
    pub end: usize,
}

impl<'a> Graph<'a> {
    /// Reads the pickle that begins at byte `start`.
    ///
    /// # Errors
    /// An unknown or incomplete opcode, a value that is missing or of the wrong kind, a pickle
    /// without an end, one beyond the limits: each with its byte.
    pub fn read(bytes: &'a [u8], start: usize) -> Result<Self> {
        let mut machine = Machine::new(bytes, start);
        for _ in 0..OPCODES {
            if machine.step()? {
                let root = machine.pop()?;
                return Ok(Self {
                    bytes,
                    end: machine.at(),
                    values: machine.values(),
                    root,
                });
            }
        }
        Err(machine.fault(format!("more than {OPCODES} opcodes")))
    }

    pub fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// Everything that lies outside of the pickle.
    pub fn outside(&self) -> impl Iterator<Item = Id> {
        let ids = self.values.iter().enumerate();
        ids.filter(|(_, value)| matches!(value, Value::Outside(_)))
            .map(|(id, _)| id as Id)
    }

    /// A value that is a text in UTF-8.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(place) => std::str::from_utf8(&self.bytes[place.clone()]).ok(),
            _ => None,
        }
    }

    /// `module.name` of a class or function.
    pub fn global(&self, id: Id) -> Option<String> {
        let Value::Global(global) = self.value(id) else {
            return None;
        };
        let text = |place: &Range<usize>| String::from_utf8_lossy(&self.bytes[place.clone()]);
        Some(format!("{}.{}", text(&global.module), text(&global.name)))
    }

    /// The members of a tuple, list or set.
    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::List(members) => Some(members),
            _ => None,
        }
    }

    /// The entries of a dictionary, or of an object that is filled as one.
    pub fn items(&self, id: Id) -> Option<&[Pair]> {
        match self.value(id) {
            Value::Map(items) => Some(items),
            Value::Call(call) if !call.items.is_empty() => Some(&call.items),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
