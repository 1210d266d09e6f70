//! Which atoms are near which: one cell list, with periodic images.
//!
//! Atoms are sorted into the bins of a grid along the vectors of the system's cell (along x, y, z
//! in free space). A bin is at least as wide as the cutoff where the cell allows it; where the
//! cell is smaller than the cutoff, bins of further images are searched. What counts is the
//! distance of the positions as they are given, in f64; bins only decide who is compared.

mod rule;

pub use rule::Rule;

use super::system::{Cell, Point, System, add, dot, sub};
use crate::{Error, Result};

/// A coordinate: distances are computed in f64.
pub trait Coordinate: Copy + Into<f64> {}

impl Coordinate for f32 {}
impl Coordinate for f64 {}

/// An atom near another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    pub atom: u32,
    /// Steps along the cell's vectors from the atom to the image that is near.
    pub shift: [i32; 3],
}

/// Atoms sorted into bins. It keeps no positions: every call gets those that it was made of.
#[derive(Debug, Clone)]
pub struct CellList {
    cell: Option<Cell>,
    cutoff: f64,
    /// Least coordinates along each direction, in units of the cell's vectors; 0 where periodic.
    origin: [f64; 3],
    /// Width of a bin in these units.
    width: [f64; 3],
    counts: [usize; 3],
    /// Bins to be searched on either side.
    reach: [i64; 3],
    /// Bin `b` holds `order[starts[b]..starts[b + 1]]`.
    starts: Vec<u32>,
    order: Vec<u32>,
    /// Steps from each atom's image inside the cell to the atom; empty in free space.
    outside: Vec<[i32; 3]>,
}

/// How much wider than the cutoff bins are, so that rounding of a place hides no neighbor.
const SLACK: f64 = 1.0 + 1e-6;

/// Largest span, in Å or units of a cell, that is cut into bins; all beyond it is one bin.
const WIDEST: f64 = 1e9;

/// Most bins that [`edges`] searches around an atom: beyond it the cell is no cell of matter.
const MOST_BINS: i64 = 1_000_000;

fn to_f64<T: Coordinate>(position: [T; 3]) -> Point {
    position.map(Into::into)
}

fn squared_distance(a: Point, b: Point) -> f64 {
    let d = sub(a, b);
    dot(d, d)
}

impl CellList {
    /// Sorts atoms at `positions` (Å, finite) for searches up to `cutoff` (Å, positive).
    pub fn new<T: Coordinate>(positions: &[[T; 3]], cell: Option<Cell>, cutoff: f64) -> Self {
        let periodic = cell.map_or([false; 3], |c| c.periodic());
        let heights = cell.map_or([1.0; 3], |c| c.heights());
        let mut list = Self {
            cell,
            cutoff,
            origin: [0.0; 3],
            width: [1.0; 3],
            counts: [1; 3],
            reach: [1; 3],
            starts: Vec::new(),
            order: vec![0; positions.len()],
            outside: Vec::new(),
        };
        let mut span = [1.0; 3];
        let (low, high) = list.bounds(positions);
        for k in (0..3).filter(|&k| !periodic[k]) {
            list.origin[k] = low[k];
            span[k] = (high[k] - low[k]).clamp(0.0, WIDEST);
        }
        let mut widest = (cutoff * SLACK).max(1e-3);
        // Far outliers and large boxes must not make more bins than atoms are worth.
        list.counts = loop {
            let counts = std::array::from_fn(|k| {
                let bins = span[k] * heights[k] / widest;
                match periodic[k] {
                    true => (bins as usize).max(1),
                    false => bins as usize + 1,
                }
            });
            let all: f64 = counts.iter().map(|&c| c as f64).product();
            if all <= 64.0 + 4.0 * positions.len() as f64 {
                break counts;
            }
            widest *= 1.5;
        };
        for k in 0..3 {
            if !periodic[k] {
                list.width[k] = widest / heights[k];
                continue;
            }
            list.width[k] = 1.0 / list.counts[k] as f64;
            // Half of the slack, lest rounding add a bin.
            let bins = cutoff * (0.5 + 0.5 * SLACK) / (list.width[k] * heights[k]);
            list.reach[k] = bins.ceil().max(1.0) as i64;
        }
        list.fill(positions);
        list
    }

    /// Least and largest coordinates along each direction.
    fn bounds<T: Coordinate>(&self, positions: &[[T; 3]]) -> ([f64; 3], [f64; 3]) {
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        for place in positions.iter().map(|&p| self.along(p)) {
            low = std::array::from_fn(|k| place[k].min(low[k]));
            high = std::array::from_fn(|k| place[k].max(high[k]));
        }
        (low, high)
    }

    /// A position in units of the cell's vectors.
    fn along<T: Coordinate>(&self, position: [T; 3]) -> [f64; 3] {
        let position = to_f64(position);
        self.cell.map_or(position, |c| c.fractional(position))
    }

    /// Counting sort, so that a bin's atoms are in file order.
    fn fill<T: Coordinate>(&mut self, positions: &[[T; 3]]) {
        let places: Vec<Place> = positions.iter().map(|&p| self.place(p)).collect();
        let mut starts = vec![0u32; self.counts.iter().product::<usize>() + 1];
        for place in &places {
            starts[self.index(place.bin) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        for (atom, place) in (0u32..).zip(&places) {
            let bin = self.index(place.bin);
            self.order[next[bin] as usize] = atom;
            next[bin] += 1;
        }
        self.starts = starts;
        if self.cell.is_some() {
            self.outside = places.into_iter().map(|p| p.outside).collect();
        }
    }

    fn place<T: Coordinate>(&self, position: [T; 3]) -> Place {
        let along = self.along(position);
        let periodic = self.cell.map_or([false; 3], |c| c.periodic());
        let mut place = Place {
            bin: [0; 3],
            outside: [0; 3],
        };
        for k in 0..3 {
            let steps = if periodic[k] { along[k].floor() } else { 0.0 };
            place.outside[k] = steps as i32;
            let bin = ((along[k] - steps - self.origin[k]) / self.width[k]) as usize;
            place.bin[k] = bin.min(self.counts[k] - 1);
        }
        place
    }

    fn index(&self, [x, y, z]: [usize; 3]) -> usize {
        (x * self.counts[1] + y) * self.counts[2] + z
    }

    /// Bins in reach of bin `bin` along direction `k`: for each image of the cell its number and
    /// the first and last bin.
    fn runs(&self, k: usize, bin: usize) -> impl Iterator<Item = Run> + use<> {
        let count = self.counts[k] as i64;
        let (low, high) = (bin as i64 - self.reach[k], bin as i64 + self.reach[k]);
        let images = match self.cell.is_some_and(|c| c.periodic()[k]) {
            true => low.div_euclid(count)..=high.div_euclid(count),
            false => 0..=0,
        };
        images.map(move |image| Run {
            image: image as i32,
            first: (low - image * count).max(0) as usize,
            last: (high - image * count).min(count - 1) as usize,
        })
    }

    /// Hands to `take` every atom within the cutoff (inclusive) of atom `centre`, the centre
    /// itself included, in no particular order.
    fn visit<T: Coordinate>(
        &self,
        positions: &[[T; 3]],
        centre: usize,
        mut take: impl FnMut(Neighbor),
    ) {
        let middle = to_f64(positions[centre]);
        let home = self.place(positions[centre]);
        let limit = self.cutoff * self.cutoff;
        for (atoms, image) in self.bins(home.bin) {
            let Some(cell) = &self.cell else {
                let shift = [0; 3];
                for &atom in atoms {
                    let place = to_f64(positions[atom as usize]);
                    if squared_distance(place, middle) <= limit {
                        take(Neighbor { atom, shift });
                    }
                }
                continue;
            };
            // Most atoms lie inside the cell: what moves them is the same for the whole lot.
            let from_inside = std::array::from_fn(|k| image[k] + home.outside[k]);
            let common = Image::new(cell, from_inside);
            for &atom in atoms {
                let image = match self.outside[atom as usize] {
                    [0, 0, 0] => common,
                    own => Image::new(cell, std::array::from_fn(|k| from_inside[k] - own[k])),
                };
                let place = add(to_f64(positions[atom as usize]), image.vector);
                if squared_distance(place, middle) <= limit {
                    let shift = image.shift;
                    take(Neighbor { atom, shift });
                }
            }
        }
    }

    /// The atoms of the bins in reach of a bin, and the image of the cell that each lot is in.
    fn bins(&self, home: [usize; 3]) -> impl Iterator<Item = (&[u32], [i32; 3])> {
        let along = move |k: usize| self.runs(k, home[k]);
        let plane = along(0).flat_map(move |x| along(1).map(move |y| (x, y)));
        plane.flat_map(move |(x, y)| {
            let columns =
                (x.first..=x.last).flat_map(move |i| (y.first..=y.last).map(move |j| (i, j)));
            columns.flat_map(move |(i, j)| {
                along(2).map(move |z| {
                    // Bins along the last direction are neighbours in memory.
                    let from = self.starts[self.index([i, j, z.first])] as usize;
                    let to = self.starts[self.index([i, j, z.last]) + 1] as usize;
                    (&self.order[from..to], [x.image, y.image, z.image])
                })
            })
        })
    }

    /// Atoms within the cutoff (inclusive) of atom `centre`, itself and images of it included:
    /// by atom, then by shift.
    pub fn around<T: Coordinate>(
        &self,
        positions: &[[T; 3]],
        centre: usize,
        found: &mut Vec<Neighbor>,
    ) {
        found.clear();
        self.visit(positions, centre, |n| found.push(n));
        found.sort_unstable_by_key(|n| (n.atom, n.shift));
    }

    /// Numbers of the atoms within the cutoff (inclusive) of atom `centre`, ascending, itself
    /// included; an atom as often as images of it are near.
    pub fn within<T: Coordinate>(&self, positions: &[[T; 3]], centre: usize, found: &mut Vec<u32>) {
        found.clear();
        self.visit(positions, centre, |n| found.push(n.atom));
        found.sort_unstable();
    }
}

/// Where an atom is: the bin of its image inside the cell, and the steps from there to the atom.
struct Place {
    bin: [usize; 3],
    outside: [i32; 3],
}

/// A step on the lattice.
#[derive(Clone, Copy)]
struct Image {
    shift: [i32; 3],
    /// Å.
    vector: Point,
}

impl Image {
    fn new(cell: &Cell, shift: [i32; 3]) -> Self {
        Self {
            shift,
            vector: cell.lattice(shift.map(f64::from)),
        }
    }
}

/// Consecutive bins of one image of the cell.
#[derive(Clone, Copy)]
struct Run {
    image: i32,
    first: usize,
    last: usize,
}

/// Pairs i < j of atoms within `cutoff` of each other (inclusive, no images), ascending.
pub fn pairs<T: Coordinate>(positions: &[[T; 3]], cutoff: f64) -> Vec<[u32; 2]> {
    let list = CellList::new(positions, None, cutoff);
    let mut found = Vec::new();
    let mut pairs = Vec::new();
    for i in 0..positions.len() {
        list.within(positions, i, &mut found);
        let later = found.iter().filter(|&&j| j as usize > i);
        pairs.extend(later.map(|&j| [i as u32, j]));
    }
    pairs
}

/// Directed edges of a graph: one entry of each list for each edge.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edges {
    pub senders: Vec<u32>,
    /// Ascending.
    pub receivers: Vec<u32>,
    /// Steps along the cell's vectors from the sender to its image beside the receiver; zeros in
    /// free space.
    pub shifts: Vec<[i32; 3]>,
}

impl Edges {
    pub fn len(&self) -> usize {
        self.senders.len()
    }

    pub fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    /// Å: the way from each edge's receiver to its sender's image, `[edges]`.
    pub fn vectors<T: Coordinate>(&self, system: &System<T>) -> Vec<[f64; 3]> {
        let offsets = self.offsets(system);
        let ends = self.senders.iter().zip(&self.receivers).zip(offsets);
        ends.map(|((&s, &r), offset)| {
            let s = to_f64(system.positions[s as usize]);
            let r = to_f64(system.positions[r as usize]);
            sub(add(s, offset), r)
        })
        .collect()
    }

    /// Å: the shifts as vectors, `[edges]`.
    pub fn offsets<T>(&self, system: &System<T>) -> Vec<[f64; 3]> {
        let vector = |&steps: &[i32; 3]| match &system.cell {
            Some(cell) => cell.lattice(steps.map(f64::from)),
            None => [0.0; 3],
        };
        self.shifts.iter().map(vector).collect()
    }
}

/// All edges between atoms, or images of atoms, within `cutoff` Å of each other (inclusive), in
/// both directions, sorted by receiver, then sender, then shift. An atom has edges to images of
/// itself, none to itself.
///
/// # Errors
/// A cutoff that is no positive length or that spans very many images of the cell; a position that
/// is not finite.
pub fn edges<T: Coordinate>(system: &System<T>, cutoff: f64) -> Result<Edges> {
    if !(cutoff.is_finite() && cutoff > 0.0) {
        return Err(Error::input(format!(
            "cutoff {cutoff}: must be a positive length in Å"
        )));
    }
    let finite = |p: &[T; 3]| to_f64(*p).iter().all(|x| x.is_finite());
    if let Some(atom) = system.positions.iter().position(|p| !finite(p)) {
        return Err(Error::input(format!(
            "atom {atom}: its position is not finite"
        )));
    }
    let list = CellList::new(&system.positions, system.cell, cutoff);
    let searched = list.reach.map(|r| (2 * r.min(MOST_BINS) + 1) as f64);
    if searched.iter().product::<f64>() > MOST_BINS as f64 {
        let heights = system.cell.map_or([0.0; 3], |c| c.heights());
        return Err(Error::input(format!(
            "a cutoff of {cutoff} Å in a cell {heights:.3?} Å high: it spans too many images; is \
             the cell right?"
        )));
    }
    let mut edges = Edges::default();
    let mut found = Vec::new();
    for receiver in 0..system.positions.len() {
        list.around(&system.positions, receiver, &mut found);
        let own = |n: &&Neighbor| n.atom as usize == receiver && n.shift == [0; 3];
        for neighbor in found.iter().filter(|n| !own(n)) {
            edges.senders.push(neighbor.atom);
            edges.receivers.push(receiver as u32);
            edges.shifts.push(neighbor.shift);
        }
    }
    Ok(edges)
}

#[cfg(test)]
mod tests;
