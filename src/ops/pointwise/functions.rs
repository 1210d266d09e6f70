//! What a function of one number is.

use crate::ops::cpu::Real;

/// `count` functions of one number.
pub trait Functions: Send + Sync + 'static {
    /// Their name in messages.
    const NAME: &'static str;
    /// The highest derivative that [`Functions::evaluate`] knows.
    const HIGHEST: usize;

    /// How many they are.
    fn count(&self) -> usize {
        1
    }

    /// Their derivatives of an order at every element of `x`: `out` is `[x.len(), count]`. Order 0
    /// are the functions themselves.
    fn evaluate<T: Real>(&self, order: usize, x: &[T], out: &mut [T]);
}
