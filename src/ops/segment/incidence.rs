//! Which rows meet along which edge.

use super::place::Place;
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
    pairs: Option<Pairs>,
}

/// Edges that share a row at [`Place::Pair`]: an edge and the edge back, whose
/// lengths are the same.
#[derive(Debug)]
pub struct Pairs {
    /// From the edges (senders) to the pairs (edges) that these are the first of.
    pub firsts: Arc<Incidence>,
    /// The first edge of each pair.
    pub edges: Arc<Incidence>,
    /// From the edges (senders) to their pairs (receivers), in order of pairs.
    members: Arc<Incidence>,
    /// Pair of each edge.
    of_edge: Vec<u32>,
}

impl Incidence {
    /// Incidence from `senders` to `receivers`, which ascend.
    ///
    /// # Errors
    /// Ends of different length, a row that does not exist, receivers out of order.
    pub fn new(receivers: Ends, senders: Ends) -> Result<Arc<Self>> {
        Ok(Arc::new(Self::build(receivers, senders)?))
    }

    fn build(receivers: Ends, senders: Ends) -> Result<Self> {
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
        Ok(Self {
            received: offsets(receivers),
            receivers: receivers.rows.to_vec(),
            senders: senders.rows.to_vec(),
            sent,
            by_sender,
            pairs: None,
        })
    }

    /// [`Incidence::new`] with edges in pairs: `back` has for each edge the number of the edge back,
    /// or its own if there is none.
    ///
    /// # Errors
    /// As [`Incidence::new`]; edges back that are not each other's.
    pub fn in_pairs(receivers: Ends, senders: Ends, back: &[u32]) -> Result<Arc<Self>> {
        let mut all = Self::build(receivers, senders)?;
        let edges = 0..all.len() as u32;
        let mutual = |(edge, &other): (u32, &u32)| back.get(other as usize) == Some(&edge);
        if back.len() != all.len() || !edges.clone().zip(back).all(mutual) {
            bail!("edges back that are not each other's");
        }
        let ends = |rows, count| Ends { rows, count };
        let firsts: Vec<u32> = edges.filter(|&e| e <= back[e as usize]).collect();
        let numbers: Vec<u32> = (0..firsts.len() as u32).collect();
        let mut of_edge = vec![0; all.len()];
        let (mut pairs, mut members) = (Vec::new(), Vec::new());
        for (&pair, &first) in numbers.iter().zip(&firsts) {
            let second = back[first as usize];
            for edge in std::iter::once(first).chain((second > first).then_some(second)) {
                of_edge[edge as usize] = pair;
                pairs.push(pair);
                members.push(edge);
            }
        }
        let at = |rows: &[u32]| -> Vec<u32> { firsts.iter().map(|&e| rows[e as usize]).collect() };
        let [to, from] = [receivers, senders].map(|own| at(own.rows));
        all.pairs = Some(Pairs {
            firsts: Self::new(ends(&numbers, firsts.len()), ends(&firsts, all.len()))?,
            edges: Self::new(ends(&to, receivers.count), ends(&from, senders.count))?,
            members: Self::new(ends(&pairs, firsts.len()), ends(&members, all.len()))?,
            of_edge,
        });
        Ok(Arc::new(all))
    }

    /// The pairs of the edges, if they are in pairs; else every edge is a pair.
    pub fn pairs(&self) -> Option<&Pairs> {
        self.pairs.as_ref()
    }

    /// The row of an edge at a place.
    #[inline(always)]
    pub(in crate::ops) fn row(&self, place: Place, edge: usize) -> usize {
        match (place, &self.pairs) {
            (Place::Receiver, _) => self.receivers[edge] as usize,
            (Place::Sender, _) => self.senders[edge] as usize,
            (Place::Pair, Some(pairs)) => pairs.of_edge[edge] as usize,
            (Place::Edge | Place::Pair, _) => edge,
        }
    }

    /// The edges of a row at a place, ascending.
    #[inline(always)]
    pub(in crate::ops) fn edges_of(&self, place: Place, row: usize) -> impl Iterator<Item = usize> {
        let (places, list) = match (place, &self.pairs) {
            (Place::Receiver, _) => (self.of_receiver(row), None),
            (Place::Sender, _) => (self.sent[row]..self.sent[row + 1], Some(&self.by_sender)),
            (Place::Pair, Some(pairs)) => {
                let members = &pairs.members;
                (members.of_receiver(row), Some(&members.senders))
            }
            (Place::Edge | Place::Pair, _) => (row..row + 1, None),
        };
        places.map(move |i| list.map_or(i, |list| list[i] as usize))
    }

    /// Number of rows at a place.
    pub fn rows(&self, place: Place) -> usize {
        match (place, &self.pairs) {
            (Place::Receiver, _) => self.receiving(),
            (Place::Sender, _) => self.sending(),
            (Place::Pair, Some(pairs)) => pairs.edges.len(),
            (Place::Edge | Place::Pair, _) => self.len(),
        }
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
