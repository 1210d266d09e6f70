//! The machine: a stack, and what each opcode does to it.

use super::{Call, Global, Id, Pair, Value};
use crate::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;

/// The newest protocol of Python.
const PROTOCOL: u8 = 5;

/// Reads opcode by opcode; what is made of them stays when it is done.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Next byte to read.
    at: usize,
    /// Where the present opcode stands.
    opcode: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    /// At byte `start`.
    pub fn new(bytes: &'a [u8], start: usize) -> Self {
        Self {
            bytes,
            at: start,
            opcode: start,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Next byte to read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The values that were made.
    pub fn values(self) -> Vec<Value> {
        self.values
    }

    pub fn fault(&self, what: impl std::fmt::Display) -> Error {
        Error::input(format!("byte {} of the pickle: {what}", self.opcode))
    }

    fn take(&mut self, len: usize) -> Result<Range<usize>> {
        match self.at.checked_add(len) {
            Some(end) if end <= self.bytes.len() => {
                let place = self.at..end;
                self.at = end;
                Ok(place)
            }
            _ => Err(self.fault("ends within this opcode")),
        }
    }

    /// An unsigned number of `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> Result<usize> {
        let place = self.take(N)?;
        let mut eight = [0; 8];
        eight[..N].copy_from_slice(&self.bytes[place]);
        usize::try_from(u64::from_le_bytes(eight)).map_err(|e| self.fault(e))
    }

    /// What is left of the line.
    fn line(&mut self) -> Result<Range<usize>> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.fault("ends within this opcode"));
        };
        let place = self.take(len)?;
        self.take(1)?;
        Ok(place)
    }

    fn number_of_line(&mut self) -> Result<i64> {
        let place = self.line()?;
        let text = std::str::from_utf8(&self.bytes[place]).unwrap_or_default();
        let text = text.trim().trim_end_matches('L');
        let number = text.parse();
        number.map_err(|_| self.fault(format!("{text:?} is not a number of 64 bits")))
    }

    fn index_of_line(&mut self) -> Result<usize> {
        let number = self.number_of_line()?;
        usize::try_from(number).map_err(|e| self.fault(e))
    }

    fn push(&mut self, value: Value) {
        // Ids fit: there are no more values than opcodes.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    pub fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => Ok(self.stack.swap_remove(self.stack.len() - 1)),
            false => Err(self.fault("takes a value from an empty stack")),
        }
    }

    fn top(&self) -> Result<Id> {
        let top = self.stack.last().copied();
        top.ok_or_else(|| self.fault("needs a value on the stack"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.fault("needs a mark on the stack")),
        }
    }

    fn pop_pairs(&mut self) -> Result<Vec<Pair>> {
        let flat = self.pop_to_mark()?;
        if flat.len() % 2 == 1 {
            return Err(self.fault("a key without a value"));
        }
        let pair = |two: &[Id]| Pair {
            key: two[0],
            value: two[1],
        };
        Ok(flat.chunks_exact(2).map(pair).collect())
    }

    fn list(&mut self, len: usize) -> Result<()> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(len) {
            Some(height) if height >= floor => {
                let members = self.stack.split_off(height);
                self.push(Value::List(members));
                Ok(())
            }
            _ => Err(self.fault("takes a value from an empty stack")),
        }
    }

    /// Members go to a list; a class that is none takes them unseen.
    fn append(&mut self, members: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::List(list) => list.extend(members),
            Value::Call(_) => {}
            _ => return Err(self.fault("appends to what is no list")),
        }
        Ok(())
    }

    fn insert(&mut self, pairs: Vec<Pair>) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Map(items) => items.extend(pairs),
            Value::Call(call) => call.items.extend(pairs),
            _ => return Err(self.fault("puts a key into what is no dictionary")),
        }
        Ok(())
    }

    fn call(&mut self, function: Id, arguments: Id) {
        self.push(Value::Call(Box::new(Call {
            function,
            arguments,
            items: Vec::new(),
        })));
    }

    fn text(&mut self, len: usize) -> Result<()> {
        let place = self.take(len)?;
        self.push(Value::Text(place));
        Ok(())
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.take(len)?;
        self.push(Value::Other);
        Ok(())
    }

    /// An integer in two's complement.
    fn long(&mut self, len: usize) -> Result<()> {
        let place = self.take(len)?;
        let bytes = &self.bytes[place];
        let value = match bytes.last() {
            None => Value::Int(0),
            Some(_) if len > 8 => Value::Other,
            Some(high) => {
                let mut eight = [if high & 0x80 == 0 { 0 } else { 0xff }; 8];
                eight[..len].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(eight))
            }
        };
        self.push(value);
        Ok(())
    }

    fn remember(&mut self, index: usize) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<()> {
        match self.memo.get(&index) {
            Some(&id) => self.stack.push(id),
            None => return Err(self.fault(format!("the memo has no value {index}"))),
        }
        Ok(())
    }

    fn integer(&mut self, value: i64) {
        self.push(Value::Int(value));
    }

    /// One opcode; whether it ended the pickle.
    pub fn step(&mut self) -> Result<bool> {
        self.opcode = self.at;
        let Ok(place) = self.take(1) else {
            return Err(self.fault("no end"));
        };
        match self.bytes[place.start] {
            b'.' => return Ok(true),
            0x80 => self.protocol()?,
            // A frame: how much Python should read ahead.
            0x95 => {
                self.take(8)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            opcode @ (b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j') => self.memo(opcode)?,
            opcode @ (b'N' | 0x88 | 0x89 | b'I' | b'J' | b'K' | b'L' | b'M' | 0x8a | 0x8b
            | b'F' | b'G') => self.scalar(opcode)?,
            opcode @ (b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e
            | 0x96) => self.string(opcode)?,
            opcode @ (b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'i' | b'o' | b'b' | b'Q') => {
                self.object(opcode)?
            }
            opcode => self.collection(opcode)?,
        }
        Ok(false)
    }

    fn protocol(&mut self) -> Result<()> {
        let place = self.take(1)?;
        match self.bytes[place.start] {
            newer if newer > PROTOCOL => Err(self.fault(format!(
                "protocol {newer}; known are 1 to {PROTOCOL}: torch.save(..., pickle_protocol=2)"
            ))),
            _ => Ok(()),
        }
    }

    /// The top value, or a mark that lies above it.
    fn discard(&mut self) -> Result<()> {
        match self.marks.last() == Some(&self.stack.len()) {
            true => drop(self.marks.pop()),
            false => drop(self.pop()?),
        }
        Ok(())
    }

    fn memo(&mut self, opcode: u8) -> Result<()> {
        let index = match opcode {
            b'p' | b'g' => self.index_of_line()?,
            b'q' | b'h' => self.number::<1>()?,
            b'r' | b'j' => self.number::<4>()?,
            _ => self.memo.len(),
        };
        match opcode {
            b'g' | b'h' | b'j' => self.recall(index),
            _ => self.remember(index),
        }
    }

    fn scalar(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' => match &self.bytes[self.at..] {
                [b'0', b'0' | b'1', b'\n', ..] => {
                    let place = self.line()?;
                    let yes = self.bytes[place.start + 1] == b'1';
                    self.push(Value::Bool(yes));
                }
                _ => {
                    let value = self.number_of_line()?;
                    self.integer(value);
                }
            },
            b'L' => {
                let value = self.number_of_line()?;
                self.integer(value);
            }
            b'J' => {
                let value = self.number::<4>()?;
                self.integer(i64::from(value as u32 as i32));
            }
            b'K' => {
                let value = self.number::<1>()?;
                self.integer(value as i64);
            }
            b'M' => {
                let value = self.number::<2>()?;
                self.integer(value as i64);
            }
            0x8a => {
                let len = self.number::<1>()?;
                self.long(len)?;
            }
            0x8b => {
                let len = self.number::<4>()?;
                self.long(len)?;
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other);
            }
            _ => self.skip(8)?,
        }
        Ok(())
    }

    fn string(&mut self, opcode: u8) -> Result<()> {
        let len = match opcode {
            b'S' | b'V' => {
                let mut place = self.line()?;
                // A text of protocol 0 has quotes, as Python's `repr` writes them.
                if opcode == b'S' && place.len() >= 2 {
                    place = place.start + 1..place.end - 1;
                }
                if self.bytes[place.clone()].contains(&b'\\') {
                    return Err(self.fault("an escape in a text of pickle protocol 0"));
                }
                self.push(Value::Text(place));
                return Ok(());
            }
            b'U' | 0x8c | b'C' => self.number::<1>()?,
            b'T' | b'X' | b'B' => self.number::<4>()?,
            _ => self.number::<8>()?,
        };
        match opcode {
            b'B' | b'C' | 0x8e | 0x96 => self.skip(len),
            _ => self.text(len),
        }
    }

    fn object(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(Box::new(Global { module, name })));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (name, module) = (&self.values[name as usize], &self.values[module as usize]);
                let (Value::Text(name), Value::Text(module)) = (name, module) else {
                    return Err(self.fault("the name of a class is no text"));
                };
                let (module, name) = (module.clone(), name.clone());
                self.push(Value::Global(Box::new(Global { module, name })));
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            0x92 => {
                let (_named, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let members = self.pop_to_mark()?;
                self.push(Value::Global(Box::new(Global { module, name })));
                self.push(Value::List(members));
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            b'o' => {
                let mut members = self.pop_to_mark()?;
                if members.is_empty() {
                    return Err(self.fault("an object without a class"));
                }
                let function = members.remove(0);
                self.push(Value::List(members));
                let arguments = self.pop()?;
                self.call(function, arguments);
            }
            // The state of an object that is not made.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            _ => {
                let name = self.pop()?;
                self.push(Value::Outside(name));
            }
        }
        Ok(())
    }

    fn collection(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b']' | b')' | 0x8f => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Map(Vec::new())),
            0x85 => self.list(1)?,
            0x86 => self.list(2)?,
            0x87 => self.list(3)?,
            b't' | b'l' | 0x91 => {
                let members = self.pop_to_mark()?;
                self.push(Value::List(members));
            }
            b'd' => {
                let pairs = self.pop_pairs()?;
                self.push(Value::Map(pairs));
            }
            b'a' => {
                let member = self.pop()?;
                self.append(vec![member])?;
            }
            b'e' | 0x90 => {
                let members = self.pop_to_mark()?;
                self.append(members)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![Pair { key, value }])?;
            }
            b'u' => {
                let pairs = self.pop_pairs()?;
                self.insert(pairs)?;
            }
            other => return Err(self.fault(format!("opcode {other:#04x} is not known"))),
        }
        Ok(())
    }
}
