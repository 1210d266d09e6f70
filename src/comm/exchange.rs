//! Values of any type between ranks, and work that the ranks share while rank 0 receives its
//! results in order.
//!
//! Values travel as CBOR. CBOR writes a tag before every number of a list; a field with many
//! numbers travels as one run of bytes when it says `#[serde(with = "crate::comm::packed")]`.

use super::{World, pulse};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;

impl World {
    /// Makes a value on rank 0 and gives it to every rank; collective.
    ///
    /// # Errors
    /// Those of `make`, on every rank; a value that cannot be encoded (a path that is not UTF-8).
    pub fn broadcast_value<T: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if self.size() == 1 {
            return make();
        }
        let made = self.on_root(|| {
            let value = make()?;
            Ok((encode(&value)?, value))
        })?;
        let (bytes, value) = made.map_or((Vec::new(), None), |(b, v)| (b, Some(v)));
        let bytes = self.broadcast(bytes);
        self.agree(value.map_or_else(|| decode(&bytes), Ok))
    }

    /// Shares the work on `items` items out to the ranks in blocks of `block` items, and hands the
    /// results to `sink` on rank 0 in the order of the blocks; collective.
    ///
    /// Every rank works on one block at a time. Rank 0 receives results one by one and holds no
    /// more than one that came from another rank, however many blocks there are. `work` and `sink`
    /// get the range of items; what `work` makes of a range must not depend on the rank.
    ///
    /// # Errors
    /// The first error of `work` or `sink` ends the work on every rank. If several ranks fail at
    /// the same time, the error is that of the lowest, which has the first of their blocks.
    pub fn ordered<T: Serialize + DeserializeOwned>(
        &self,
        items: usize,
        block: usize,
        mut work: impl FnMut(Range<usize>) -> Result<T>,
        mut sink: impl FnMut(Range<usize>, T) -> Result<()>,
    ) -> Result<()> {
        let deal = Deal::new(items, block, &vec![1; self.size()]);
        // An error of the sink is known to all one round later, when they agree on their work:
        // so ranks work on while rank 0 is busy with the results.
        let mut received = Ok(());
        for round in 0..deal.rounds() {
            let mut own = deal.blocks(round, self.rank());
            let made = received.and_then(|()| {
                pulse::tick();
                let made = own.next().map(|number| work(deal.items_of(number)));
                made.transpose()?.map(|v| self.made(v)).transpose()
            });
            let made = self.agree(made)?;
            received = self.hand_over(&deal, round, made, &mut sink);
        }
        self.agree(received)
    }

    /// [`World::ordered`] for work that keeps one thread busy: every thread of every rank works on
    /// a block of its own, and rank 0 hands results to `sink` while its threads work on the next
    /// ones. It holds as many results of its own as it has threads.
    ///
    /// # Errors
    /// As [`World::ordered`].
    pub fn ordered_by_threads<T: Serialize + DeserializeOwned + Send>(
        &self,
        items: usize,
        block: usize,
        work: impl Fn(Range<usize>) -> Result<T> + Sync,
        mut sink: impl FnMut(Range<usize>, T) -> Result<()>,
    ) -> Result<()> {
        let threads = self.all_gather(&[rayon::current_num_threads() as u64]);
        let threads: Vec<usize> = threads.concat().into_iter().map(|n| n as usize).collect();
        let deal = Deal::new(items, block, &threads);
        let root = self.is_root();
        let make = |number| {
            pulse::tick();
            Made::new(root, work(deal.items_of(number))?)
        };
        // What rank 0 has made in the round before.
        let (mut held, mut received) = (None, Ok(()));
        for round in 0..deal.rounds() {
            let own = deal.blocks(round, self.rank());
            let mut made: Result<Vec<Made<T>>> = Ok(Vec::new());
            received = rayon::in_place_scope(|scope| {
                scope.spawn(|_| made = own.into_par_iter().map(make).collect());
                let held = held.take();
                held.map_or(Ok(()), |own| {
                    self.hand_over(&deal, round - 1, own, &mut sink)
                })
            });
            let made = self.agree(received.and(made))?;
            received = Ok(());
            match root {
                true => held = Some(made),
                false => self.hand_over(&deal, round, made, &mut sink)?,
            }
        }
        if let Some(own) = held {
            received = self.hand_over(&deal, deal.rounds() - 1, own, &mut sink);
        }
        self.agree(received)
    }

    fn made<T: Serialize>(&self, value: T) -> Result<Made<T>> {
        Made::new(self.is_root(), value)
    }

    /// Sends what this rank has made in a round to rank 0, which hands the results of all ranks to
    /// `sink` in the order of the blocks. After an error of `sink` the rest is received and thrown
    /// away, so that no rank is left waiting.
    fn hand_over<T: DeserializeOwned>(
        &self,
        deal: &Deal,
        round: usize,
        own: impl IntoIterator<Item = Made<T>>,
        sink: &mut impl FnMut(Range<usize>, T) -> Result<()>,
    ) -> Result<()> {
        let mut own = own.into_iter();
        if !self.is_root() {
            own.for_each(|made| match made {
                Made::Sent(bytes) => self.send_to_root(&bytes),
                Made::Here(_) => unreachable!("only rank 0 keeps what it makes"),
            });
            return Ok(());
        }
        let mut taken = Ok(());
        for rank in 0..self.size() {
            for number in deal.blocks(round, rank) {
                let made = match rank {
                    0 => own.next(),
                    _ => Some(Made::Sent(self.receive_from(rank))),
                };
                if taken.is_ok() {
                    let value = made.ok_or_else(missing).and_then(Made::value);
                    taken = value.and_then(|value| sink(deal.items_of(number), value));
                    pulse::tick();
                }
            }
        }
        taken
    }
}

/// How blocks of items are dealt to the ranks, round after round: a rank gets as many consecutive
/// blocks of each round as its share.
struct Deal {
    items: usize,
    block: usize,
    /// Blocks of a round before each rank's own; last, all of a round.
    before: Vec<usize>,
}

impl Deal {
    fn new(items: usize, block: usize, shares: &[usize]) -> Self {
        let mut before = vec![0];
        before.extend(shares.iter().scan(0, |sum, share| {
            *sum += share;
            Some(*sum)
        }));
        Self {
            items,
            block,
            before,
        }
    }

    fn all_blocks(&self) -> usize {
        self.items.div_ceil(self.block)
    }

    /// Blocks of a round.
    fn per_round(&self) -> usize {
        self.before.last().copied().unwrap_or(0).max(1)
    }

    fn rounds(&self) -> usize {
        self.all_blocks().div_ceil(self.per_round())
    }

    fn blocks(&self, round: usize, rank: usize) -> Range<usize> {
        let number =
            |of: usize| (round * self.per_round() + self.before[of]).min(self.all_blocks());
        number(rank)..number(rank + 1)
    }

    fn items_of(&self, number: usize) -> Range<usize> {
        number * self.block..((number + 1) * self.block).min(self.items)
    }
}

/// What the work on a block has made: rank 0's own, or the bytes that go to it.
enum Made<T> {
    Here(T),
    Sent(Vec<u8>),
}

impl<T> Made<T> {
    fn new(root: bool, value: T) -> Result<Self>
    where
        T: Serialize,
    {
        Ok(match root {
            true => Made::Here(value),
            false => Made::Sent(encode(&value)?),
        })
    }

    fn value(self) -> Result<T>
    where
        T: DeserializeOwned,
    {
        match self {
            Made::Here(value) => Ok(value),
            Made::Sent(bytes) => decode(&bytes),
        }
    }
}

fn missing() -> Error {
    Error::internal("rank 0 has made no result")
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)
        .map_err(|e| Error::input(format!("a value cannot be sent to other ranks: {e}")))?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    ciborium::from_reader(bytes).map_err(Error::internal)
}
