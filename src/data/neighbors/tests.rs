use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Neighbors of one atom by trying every image that can be near.
fn by_force<T: Coordinate>(system: &System<T>, centre: usize, cutoff: f64) -> Vec<Neighbor> {
    let middle = to_f64(system.positions[centre]);
    let mut found = Vec::new();
    for (atom, &position) in (0u32..).zip(&system.positions) {
        let Some(cell) = system.cell else {
            let shift = [0; 3];
            let near = squared_distance(to_f64(position), middle) <= cutoff * cutoff;
            found.extend(near.then_some(Neighbor { atom, shift }));
            continue;
        };
        // As far as the two atoms are apart, and the cutoff, along each direction.
        let apart = cell.fractional(sub(to_f64(position), middle));
        let steps = |k: usize| {
            let most = (apart[k].abs() + cutoff / cell.heights()[k]).ceil() as i32 + 1;
            if cell.periodic()[k] {
                -most..=most
            } else {
                0..=0
            }
        };
        for a in steps(0) {
            for (b, c) in steps(1).flat_map(|b| steps(2).map(move |c| (b, c))) {
                let shift = [a, b, c];
                let image = add(to_f64(position), cell.lattice(shift.map(f64::from)));
                let near = squared_distance(image, middle) <= cutoff * cutoff;
                found.extend(near.then_some(Neighbor { atom, shift }));
            }
        }
    }
    found.sort_by_key(|n| (n.atom, n.shift));
    found
}

fn cloud(rng: &mut ChaCha8Rng, n: usize, side: f64) -> Vec<[f64; 3]> {
    let point = |rng: &mut ChaCha8Rng| std::array::from_fn(|_| rng.random_range(-side..side));
    (0..n).map(|_| point(rng)).collect()
}

/// A cell of any angles, not flat.
fn cell(rng: &mut ChaCha8Rng, size: f64, periodic: [bool; 3]) -> Cell {
    loop {
        let vectors =
            std::array::from_fn(|_| std::array::from_fn(|_| rng.random_range(-size..size)));
        let cell = Cell::partly_periodic(vectors, periodic);
        if let Some(cell) = cell.filter(|c| c.heights().iter().all(|&h| h > size / 4.0)) {
            return cell;
        }
    }
}

fn check<T: Coordinate>(system: &System<T>, cutoff: f64) -> usize {
    let list = CellList::new(&system.positions, system.cell, cutoff);
    let (mut found, mut numbers) = (Vec::new(), Vec::new());
    let mut all = 0;
    for centre in 0..system.positions.len() {
        let expected = by_force(system, centre, cutoff);
        list.around(&system.positions, centre, &mut found);
        assert_eq!(found, expected, "atom {centre} of {:?}", system.cell);
        list.within(&system.positions, centre, &mut numbers);
        assert!(numbers.iter().eq(expected.iter().map(|n| &n.atom)));
        all += found.len();
    }
    all
}

#[test]
fn free_space() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (n, side) in [(400, 30.0), (50, 2.5), (150, 200.0), (1, 1.0)] {
        let mut positions: Vec<[f32; 3]> = cloud(&mut rng, n, side)
            .into_iter()
            .map(|p| p.map(|x| x as f32))
            .collect();
        // Far away, where there must not be a bin for every 10 Å.
        positions.push([9e5, -9e5, 3.0]);
        let system = System {
            positions,
            ..System::default()
        };
        assert!(check(&system, 10.0) > n);
        let list = CellList::new(&system.positions, None, 10.0);
        assert!(list.starts.len() < 100 + 5 * system.positions.len());
    }
    assert!(edges(&System::<f32>::default(), 5.0).unwrap().is_empty());
}

/// Atoms in and far outside of cells that repeat in some directions, with cutoffs below, near and
/// above the cell's size.
#[test]
fn periodic_cells_of_any_shape() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for code in 0..8u8 {
        let periodic = std::array::from_fn(|k| code >> k & 1 == 1);
        for (size, cutoff, n) in [(9.0, 2.0, 30), (4.0, 3.9, 8), (2.0, 5.0, 3)] {
            for _ in 0..4 {
                let system = System::<f64> {
                    positions: cloud(&mut rng, n, 1.3 * size),
                    cell: Some(cell(&mut rng, size, periodic)),
                    ..System::default()
                };
                check(&system, cutoff);
            }
        }
    }
}

/// Copper: the face-centred cubic lattice has 12, 6, 24 and 12 neighbors in its first shells.
#[test]
fn a_crystal_of_one_atom_has_its_shells() {
    const A: f64 = 3.61;
    let h = A / 2.0;
    let crystal = System::<f64> {
        numbers: vec![29],
        positions: vec![[0.3, -7.0, 100.0]],
        cell: Cell::new([[0.0, h, h], [h, 0.0, h], [h, h, 0.0]]),
        ..System::default()
    };
    for (shells, expected) in [(1.0, 12), (2.0, 18), (3.0, 42), (4.0, 54)] {
        // The radius of shell k is a sqrt(k / 2).
        let cutoff = A * f64::sqrt(shells / 2.0) + 1e-6;
        let edges = edges(&crystal, cutoff).unwrap();
        assert_eq!(edges.len(), expected);
        assert!(
            edges
                .senders
                .iter()
                .chain(&edges.receivers)
                .all(|&a| a == 0)
        );
        for vector in edges.vectors(&crystal) {
            let length = squared_distance(vector, [0.0; 3]).sqrt();
            assert!(A / 2f64.sqrt() - 1e-9 < length && length <= cutoff);
        }
    }
}

#[test]
fn edges_come_by_receiver_and_both_ways() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let system = System::<f64> {
        positions: cloud(&mut rng, 12, 5.0),
        cell: Some(cell(&mut rng, 5.0, [true, false, true])),
        ..System::default()
    };
    let edges = edges(&system, 4.0).unwrap();
    let keys: Vec<_> = (0..edges.len())
        .map(|e| (edges.receivers[e], edges.senders[e], edges.shifts[e]))
        .collect();
    assert!(keys.len() > 24 && keys.is_sorted());
    let set: std::collections::HashSet<_> = keys.iter().copied().collect();
    assert_eq!(set.len(), keys.len());
    for &(r, s, shift) in &keys {
        assert!(set.contains(&(s, r, shift.map(|x| -x))));
        assert!(r != s || shift != [0; 3]);
        assert_eq!(shift[1], 0);
    }
    let lengths = edges.vectors(&system);
    assert!(
        lengths
            .iter()
            .all(|&v| squared_distance(v, [0.0; 3]) <= 16.0 + 1e-9)
    );
}

#[test]
fn the_cutoff_is_inclusive() {
    let positions = [[0.5f32, 0.0, 0.0], [10.5, 0.0, 0.0], [10.501, 0.0, 0.0]];
    let mut found = Vec::new();
    CellList::new(&positions, None, 10.0).within(&positions, 0, &mut found);
    assert_eq!(found, [0, 1]);
    assert_eq!(pairs(&positions, 10.0), [[0, 1], [1, 2]]);
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let system = |x: f64, size: f64| System::<f64> {
        positions: vec![[x, 0.0, 0.0]],
        cell: Cell::new([[size, 0.0, 0.0], [0.0, size, 0.0], [0.0, 0.0, size]]),
        ..System::default()
    };
    let refused = |x, size, cutoff, what: &str| {
        let error = edges(&system(x, size), cutoff).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(0.0, 5.0, 0.0, "cutoff 0: must be a positive length");
    refused(0.0, 5.0, f64::NAN, "cutoff NaN");
    refused(
        f64::INFINITY,
        5.0,
        3.0,
        "atom 0: its position is not finite",
    );
    refused(0.0, 1e-4, 5.0, "is the cell right?");
}
