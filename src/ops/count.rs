//! How much arithmetic the products of a computation take, for benchmarks.
//!
//! Every op tells the multiply-adds of its products ([`Op::products`](super::op::Op::products)),
//! of backward passes too, which are ops. What is counted is what the formulas need once: products
//! of matrices, tensor products without their zeros, and products along edges; not functions of one
//! number, sums, copies, or what an op makes a second time so as not to keep it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of the whole process, so that work on other threads counts too.
static PRODUCTS: AtomicU64 = AtomicU64::new(0);

/// Adds some multiply-adds.
pub fn add(products: usize) {
    PRODUCTS.fetch_add(products as u64, Ordering::Relaxed);
}

/// Multiply-adds of this process so far.
pub fn products() -> u64 {
    PRODUCTS.load(Ordering::Relaxed)
}
