//! Which rows meet along which edge.

use candle_core::{Result, bail};
use std::sync::Arc;

/// One end of every edge: the row that it is at, of `count` rows.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    pub rows: &'a [u32],
    pub count: usize,
}

/// Directed edges in order of their receivers, and the order of their senders: compressed rows
/// both ways, so that a sum over the edges of a row, at either end, is one walk in a fixed order.
#[derive(Debug)]
pub struct Incidence {
    receivers: Vec<u32>,
    senders: Vec<u32>,
    /// First edge of each receiver, and the number of edges.
    received: Vec<usize>,
    /// First place of each sender in `by_sender`, and the number of edges.
    sent: Vec<usize>,
    /// Incidence in order of sender, then of edge.
    by_sender: Vec<u32>,
}

impl Incidence {
    /// Incidence from `senders` to `receivers`, which ascend.
    ///
    /// # Errors
    /// Ends of different length, a row that does not exist, receivers out of order.
    pub fn new(receivers: Ends, senders: Ends) -> Result<Arc<Self>> {
        let len = receivers.rows.len();
        if senders.rows.len() != len {
            bail!(
                "{len} receivers of edges, but {} senders",
                senders.rows.len()
            );
        }
        for (ends, name) in [(receivers, "receiver"), (senders, "sender")] {
            if let Some(row) = ends.rows.iter().find(|&&row| row as usize >= ends.count) {
                bail!("an edge's {name} is row {row} of {}", ends.count);
            }
        }
        if !receivers.rows.is_sorted() {
            bail!("edges are not in order of their receivers");
        }
        let sent = offsets(senders);
        let mut next = sent.clone();
        let mut by_sender = vec![0; len];
        for (edge, &sender) in senders.rows.iter().enumerate() {
            by_sender[next[sender as usize]] = edge as u32;
            next[sender as usize] += 1;
        }
        Ok(Arc::new(Self {
            received: offsets(receivers),
            receivers: receivers.rows.to_vec(),
            senders: senders.rows.to_vec(),
            sent,
            by_sender,
        }))
    }

    /// Elements and the groups that they belong to: element `e` is the sender of edge `e` to
    /// group `groups[e]`.
    ///
    /// # Errors
    /// As [`Incidence::new`].
    pub fn groups(groups: Ends) -> Result<Arc<Self>> {
        let elements: Vec<u32> = (0..groups.rows.len() as u32).collect();
        let count = elements.len();
        Self::new(
            groups,
            Ends {
                rows: &elements,
                count,
            },
        )
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.receivers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Row of each edge's receiver, ascending.
    pub fn receivers(&self) -> &[u32] {
        &self.receivers
    }

    /// Row of each edge's sender.
    pub fn senders(&self) -> &[u32] {
        &self.senders
    }

    /// Number of rows that may receive.
    pub fn receiving(&self) -> usize {
        self.received.len() - 1
    }

    /// Number of rows that may send.
    pub fn sending(&self) -> usize {
        self.sent.len() - 1
    }

    /// The edges of a receiver.
    pub fn of_receiver(&self, row: usize) -> std::ops::Range<usize> {
        self.received[row]..self.received[row + 1]
    }

    /// The edges of a sender, ascending.
    pub fn of_sender(&self, row: usize) -> &[u32] {
        &self.by_sender[self.sent[row]..self.sent[row + 1]]
    }
}

/// Number of edges before each row, and of all.
fn offsets(ends: Ends) -> Vec<usize> {
    let mut offsets = vec![0; ends.count + 1];
    for &row in ends.rows {
        offsets[row as usize + 1] += 1;
    }
    for row in 0..ends.count {
        offsets[row + 1] += offsets[row];
    }
    offsets
}
