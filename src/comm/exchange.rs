//! Values of any type between ranks, and work that the ranks share while rank 0 receives its
//! results in order.
//!
//! Values travel as CBOR. CBOR writes a tag before every number of a list; a field with many
//! numbers travels as one run of bytes when it says `#[serde(with = "crate::comm::packed")]`.

use super::{World, pulse};
use crate::{Error, Result};
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
        let blocks = items.div_ceil(block);
        let items_of = |number: usize| number * block..((number + 1) * block).min(items);
        // An error of the sink is known to all one round later, when they agree on their work:
        // so ranks work on while rank 0 is busy with the results.
        let mut received = Ok(());
        for first in (0..blocks).step_by(self.size()) {
            let own = Some(first + self.rank()).filter(|&number| number < blocks);
            let made = received.and_then(|()| {
                pulse::tick();
                own.map(|number| work(items_of(number))).transpose()
            });
            let round = first..(first + self.size()).min(blocks);
            received = match self.is_root() {
                true => {
                    let made = self.agree(made)?;
                    let mut own = made.into_iter();
                    self.receive_round(round.len(), |rank, theirs| {
                        let result = match theirs {
                            Some(bytes) => decode(&bytes)?,
                            None => own.next().ok_or_else(missing)?,
                        };
                        sink(items_of(round.start + rank), result)
                    })
                }
                false => {
                    let encoded = made.and_then(|made| made.as_ref().map(encode).transpose());
                    let encoded = self.agree(encoded)?;
                    encoded.iter().for_each(|bytes| self.send_to_root(bytes));
                    Ok(())
                }
            };
        }
        self.agree(received)
    }

    /// Receives the results of one round on rank 0, in rank order, and hands them to `take`: the
    /// bytes of the other ranks, nothing for the own result. After an error of `take` the rest is
    /// received and thrown away, so that no rank is left waiting.
    fn receive_round(
        &self,
        ranks: usize,
        mut take: impl FnMut(usize, Option<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        let mut taken = Ok(());
        for rank in 0..ranks {
            let theirs = (rank > 0).then(|| self.receive_from(rank));
            if taken.is_ok() {
                taken = take(rank, theirs);
                pulse::tick();
            }
        }
        taken
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
