//! Memory that is kept for the next use.

use super::Real;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Memory in whole cache lines, so that vectors never straddle two.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _values: [f64; 8],
}

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` elements of scratch memory that this thread keeps between calls, from the start
/// of a cache line on. The content is whatever the last user left. `f` must not call back into
/// rayon or into `scratch`.
pub fn scratch<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with(|cell| {
        let mut memory = cell.borrow_mut();
        let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        if memory.len() < lines {
            memory.resize(lines, Line { _values: [0.0; 8] });
        }
        f(elements(&mut memory, len))
    })
}

/// The elements of a buffer of lines.
///
/// # Panics
/// Fewer lines than `len` elements need.
fn elements<T: Real>(lines: &mut [Line], len: usize) -> &mut [T] {
    assert!(len * size_of::<T>() <= size_of_val(lines));
    // SAFETY: f32 and f64 (the only `Real`s) accept any bits and need at most a line's alignment;
    // the lines hold at least `len` of them.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<T>(), len) }
}

/// Buffers that wait for their next use.
static SPARE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Memory that one thread fills and another reads, and that is kept for the next use when it is
/// dropped, so that nobody zeroes it. The content is whatever the last user left.
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    kind: PhantomData<T>,
}

impl<T: Real> Buffer<T> {
    pub fn new(len: usize) -> Self {
        let needed = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut spare = SPARE.lock().unwrap_or_else(|e| e.into_inner());
        // In order of length. One that is too short gives way, so that there are never more than
        // were in use at a time.
        let fitting = spare.partition_point(|lines| lines.len() < needed);
        let found = match fitting < spare.len() {
            true => Some(spare.remove(fitting)),
            false => {
                spare.pop();
                None
            }
        };
        drop(spare);
        Self {
            lines: found.unwrap_or_else(|| vec![Line { _values: [0.0; 8] }; needed]),
            len,
            kind: PhantomData,
        }
    }
}

impl<T: Real> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        assert!(self.len * size_of::<T>() <= size_of_val(&self.lines[..]));
        // SAFETY: as in `elements`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<T>(), self.len) }
    }
}

impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        elements(&mut self.lines, self.len)
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        /// Longer ones, in bytes, go back to the allocator: they would add to the peak.
        const LARGEST: usize = 16 << 20;
        let lines = std::mem::take(&mut self.lines);
        if size_of_val(&lines[..]) <= LARGEST {
            let mut spare = SPARE.lock().unwrap_or_else(|e| e.into_inner());
            let at = spare.partition_point(|other| other.len() < lines.len());
            spare.insert(at, lines);
        }
    }
}
