//! Pairs of edges that meet in an atom, for networks that see angles.
//!
//! Each list is an [`Incidence`] from edges to edges. A batch makes it when it is first asked for,
//! and keeps it ([`Batch::chains`] and others), so that the passes of a step, and the thread that
//! makes batches, share it.

use super::Batch;
use crate::data::system::{cross, dot};
use crate::ops::segment::{Ends, Incidence};
use crate::{Error, Result};
use std::sync::{Arc, OnceLock};

/// Lists that were made.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    chains: OnceLock<Arc<Incidence>>,
    fans: OnceLock<Arc<Incidence>>,
    reversed: OnceLock<Arc<Incidence>>,
    torsions: OnceLock<Arc<Incidence>>,
}

/// The list in `place`, made if it is not there yet.
fn kept(
    place: &OnceLock<Arc<Incidence>>,
    make: impl FnOnce() -> Result<Arc<Incidence>>,
) -> Result<Arc<Incidence>> {
    match place.get() {
        Some(list) => Ok(list.clone()),
        None => {
            let list = make()?;
            Ok(place.get_or_init(|| list).clone())
        }
    }
}

impl Batch {
    /// Chains `k -> j -> i` of two edges: from the first edge to the second, without those that
    /// come back to where they start.
    ///
    /// # Errors
    /// Those of candle.
    pub fn chains(&self) -> Result<Arc<Incidence>> {
        kept(&self.lists.chains, || {
            let edges = Edges::new(self)?;
            edges.pairs(|second| {
                let joint = self.edges.senders()[second] as usize;
                let others = self.edges.of_receiver(joint);
                others
                    .filter(|&first| !edges.are_reversed(first, second))
                    .collect()
            })
        })
    }

    /// Fans `b -> a <- c`: from each edge `b -> a` to every other edge of the same receiver.
    ///
    /// # Errors
    /// Those of candle.
    pub fn fans(&self) -> Result<Arc<Incidence>> {
        kept(&self.lists.fans, || {
            Edges::new(self)?.pairs(|edge| {
                let joint = self.edges.receivers()[edge] as usize;
                self.edges
                    .of_receiver(joint)
                    .filter(|&other| other != edge)
                    .collect()
            })
        })
    }

    /// From every edge to the edge back.
    ///
    /// # Errors
    /// An edge that has none.
    pub fn reversed(&self) -> Result<Arc<Incidence>> {
        kept(&self.lists.reversed, || {
            let edges = Edges::new(self)?;
            let list = edges.pairs(|edge| {
                let back = self.edges.of_receiver(self.edges.senders()[edge] as usize);
                back.filter(|&other| edges.are_reversed(other, edge))
                    .collect()
            })?;
            let all = (0..self.edges.len() as u32).eq(list.receivers().iter().copied());
            match all {
                true => Ok(list),
                false => Err(Error::input(
                    "a batch of graphs: an edge without the edge back",
                )),
            }
        })
    }

    /// For each of the [`Batch::chains`] `k -> j -> i` the edge `q -> j` that its torsion is
    /// measured from: of the neighbors `q` of `j` without `i`, the one that the plane through `k`
    /// reaches first when it turns about the axis from `j` to `i`; `k` itself after a whole turn,
    /// and of several the first in the order of edges. Chains are the receivers.
    ///
    /// # Errors
    /// Those of candle.
    pub fn torsions(&self) -> Result<Arc<Incidence>> {
        kept(&self.lists.torsions, || {
            let (chains, edges) = (self.chains()?, Edges::new(self)?);
            let vectors: Vec<[f64; 3]> = (self.vectors_f64()?.to_vec2::<f64>()?)
                .into_iter()
                .map(|v| [v[0], v[1], v[2]])
                .collect();
            let reference = |(&second, &first): (&u32, &u32)| {
                let (second, first) = (second as usize, first as usize);
                let joint = self.edges.senders()[second] as usize;
                let others = self.edges.of_receiver(joint);
                let others = others.filter(|&q| !edges.are_reversed(q, second));
                let axis = vectors[second].map(|x| -x);
                let mut least = (f64::INFINITY, first as u32);
                for q in others {
                    // Its own edge is a whole turn away, whatever rounding says.
                    let angle = match q == first {
                        true => 2.0 * std::f64::consts::PI,
                        false => torsion(axis, vectors[first], vectors[q]),
                    };
                    if angle < least.0 {
                        least = (angle, q as u32);
                    }
                }
                least.1
            };
            let ends = chains.receivers().iter().zip(chains.senders());
            let senders: Vec<u32> = ends.map(reference).collect();
            let receivers: Vec<u32> = (0..senders.len() as u32).collect();
            Ok(Incidence::new(
                Ends {
                    rows: &receivers,
                    count: receivers.len(),
                },
                Ends {
                    rows: &senders,
                    count: self.edges.len(),
                },
            )?)
        })
    }
}

/// The angle in (0, 2 pi] from the plane of `axis` and `k` to that of `axis` and `q`.
fn torsion(axis: [f64; 3], k: [f64; 3], q: [f64; 3]) -> f64 {
    let [first, second] = [cross(axis, k), cross(axis, q)];
    let length = dot(axis, axis).sqrt();
    let angle = (dot(cross(first, second), axis) / length).atan2(dot(first, second));
    match angle > 0.0 {
        true => angle,
        false => angle + 2.0 * std::f64::consts::PI,
    }
}

/// The edges of a batch in the processor's memory.
struct Edges<'a> {
    incidence: &'a Incidence,
    shifts: Vec<Vec<f64>>,
}

impl<'a> Edges<'a> {
    fn new(batch: &'a Batch) -> Result<Self> {
        Ok(Self {
            incidence: &batch.edges,
            shifts: batch.shifts.to_vec2()?,
        })
    }

    /// Whether an edge goes from where another ends to where that starts, images told apart.
    fn are_reversed(&self, a: usize, b: usize) -> bool {
        let (receivers, senders) = (self.incidence.receivers(), self.incidence.senders());
        let images = self.shifts[a].iter().zip(&self.shifts[b]);
        senders[a] == receivers[b]
            && senders[b] == receivers[a]
            && images.into_iter().all(|(x, y)| *x == -*y)
    }

    /// From the edges that `of` has for an edge to that edge.
    fn pairs(&self, of: impl Fn(usize) -> Vec<usize>) -> Result<Arc<Incidence>> {
        let count = self.incidence.len();
        let (mut receivers, mut senders) = (Vec::new(), Vec::new());
        for edge in 0..count {
            let others = of(edge);
            receivers.resize(receivers.len() + others.len(), edge as u32);
            senders.extend(others.into_iter().map(|other| other as u32));
        }
        let ends = |rows| Ends { rows, count };
        Ok(Incidence::new(ends(&receivers), ends(&senders))?)
    }
}
