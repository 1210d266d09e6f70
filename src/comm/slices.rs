//! Slices of a global batch and the fixed tree that sums over them.
//!
//! A global batch is cut into S slices, S a power of two. Sums run over the perfect binary tree
//! with S leaves, node (level, i) = node (level-1, 2i) + node (level-1, 2i+1). The tree depends
//! on S alone, and IEEE addition is commutative, so the sum has the same bits wherever its
//! slices were computed.

use crate::Result;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

/// The contiguous slices of a rank, for any world of at most `slices` ranks.
pub fn slice_range(slices: usize, rank: usize, size: usize) -> Range<usize> {
    slices * rank / size..slices * (rank + 1) / size
}

/// A node of the tree: (level, index).
pub(super) type NodeId = (u32, usize);

/// What a tree sums: a vector, wherever it is.
pub trait Addend {
    /// Adds another one of the same length.
    fn add(&mut self, other: Self);
}

impl Addend for Vec<f32> {
    fn add(&mut self, other: Self) {
        add(self, &other);
    }
}

/// The part of the tree that one rank can sum by itself. Slices may arrive from several threads
/// in any order; a node is summed as soon as both of its children are there, so at most
/// log2(S) + threads vectors live at once.
pub struct SliceTree<V = Vec<f32>> {
    nodes: Mutex<HashMap<NodeId, V>>,
}

impl<V> Default for SliceTree<V> {
    fn default() -> Self {
        Self {
            nodes: Mutex::default(),
        }
    }
}

impl<V: Addend> SliceTree<V> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the vector of one slice.
    pub fn insert(&self, slice: usize, values: V) {
        self.insert_node((0, slice), values);
    }

    pub(super) fn insert_node(&self, mut node: NodeId, mut values: V) {
        loop {
            let sibling = {
                let mut nodes = self.nodes.lock().unwrap_or_else(|e| e.into_inner());
                match nodes.remove(&(node.0, node.1 ^ 1)) {
                    Some(sibling) => sibling,
                    None => {
                        nodes.insert(node, values);
                        return;
                    }
                }
            };
            values.add(sibling);
            node = (node.0 + 1, node.1 / 2);
        }
    }

    /// Takes all nodes that are left, if there are any, as their sum.
    pub fn take_total(&self) -> Option<V> {
        let mut nodes: Vec<_> = self.take_nodes().into_iter().collect();
        nodes.sort_by_key(|(id, _)| *id);
        let nodes = nodes.into_iter().map(|(_, values)| values);
        nodes.reduce(|mut sum, values| {
            sum.add(values);
            sum
        })
    }

    /// Takes the nodes that are left.
    pub(super) fn take_nodes(&self) -> HashMap<NodeId, V> {
        std::mem::take(&mut *self.nodes.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Takes the nodes that are left, each as something else.
    ///
    /// # Errors
    /// The first of `change`.
    pub fn take_as<U>(&self, mut change: impl FnMut(V) -> Result<U>) -> Result<SliceTree<U>> {
        let nodes = self.take_nodes().into_iter();
        let nodes = nodes.map(|(id, values)| Ok((id, change(values)?)));
        Ok(SliceTree {
            nodes: Mutex::new(nodes.collect::<Result<_>>()?),
        })
    }
}

impl SliceTree {
    /// The sum over all nodes that are left, of vectors of `len` values.
    pub fn into_sum(self, len: usize) -> Vec<f32> {
        self.take_total().unwrap_or_else(|| vec![0.0; len])
    }
}

pub(super) fn add(into: &mut [f32], other: &[f32]) {
    for (a, b) in into.iter_mut().zip(other) {
        *a += b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slice_has_one_owner() {
        for slices in [1, 2, 4, 8, 64] {
            for size in 1..=slices {
                let mut next = 0;
                for rank in 0..size {
                    let range = slice_range(slices, rank, size);
                    assert_eq!(range.start, next);
                    assert!(!range.is_empty());
                    next = range.end;
                }
                assert_eq!(next, slices);
            }
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let leaf = |s: usize| vec![1.0 / (s as f32 + 0.3), (s as f32).exp()];
        let sum = |order: &[usize]| {
            let tree = SliceTree::new();
            order.iter().for_each(|&s| tree.insert(s, leaf(s)));
            let nodes = tree.take_nodes();
            assert_eq!(nodes.len(), 1);
            nodes[&(3, 0)].clone()
        };
        let forward = sum(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(forward, sum(&[7, 2, 4, 0, 5, 3, 6, 1]));
        let l: Vec<f32> = (0..8).map(|s| leaf(s)[0]).collect();
        let by_hand = ((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7]));
        assert_eq!(forward[0], by_hand);
    }
}
