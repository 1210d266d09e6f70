use super::*;
use candle_core::{DType, Device, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const AXES: usize = 3;
/// One whole chunk of lanes and a rest.
const CHANNELS: usize = 11;

fn incidence() -> Arc<Incidence> {
    // Receiver 1 has no edge, sender 4 none, and edges 2 and 3 join the same rows. Two edges are in
    // pairs of two, as no other edge is.
    let receivers = Ends {
        rows: &[0, 0, 2, 2, 3, 3, 3],
        count: 4,
    };
    let senders = Ends {
        rows: &[1, 3, 0, 0, 2, 1, 3],
        count: 5,
    };
    Incidence::in_pairs(receivers, senders, &BACK).unwrap()
}

const BACK: [u32; 7] = [0, 2, 1, 6, 4, 5, 3];

fn random(seed: u64, kind: Kind, edges: &Incidence) -> Tensor {
    let mut dims = vec![edges.rows(kind.place)];
    if kind.row.has_axes() {
        dims.push(AXES);
    }
    if kind.row.has_channels() {
        dims.push(CHANNELS);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let len: usize = dims.iter().product();
    let values: Vec<f64> = (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Where element `(edge, a, f)` is in a tensor of this kind.
fn place(edges: &Incidence, kind: Kind, edge: usize, a: usize, f: usize) -> usize {
    let row = match kind.place {
        Place::Receiver => edges.receivers()[edge] as usize,
        Place::Sender => edges.senders()[edge] as usize,
        Place::Edge => edge,
        Place::Pair => [0, 1, 1, 2, 3, 4, 2][edge],
    };
    match (kind.row.has_axes(), kind.row.has_channels()) {
        (false, false) => row,
        (true, false) => row * AXES + a,
        (false, true) => row * CHANNELS + f,
        (true, true) => (row * AXES + a) * CHANNELS + f,
    }
}

/// The definition, term by term; axes and channels that nobody has are one.
fn naive(edges: &Incidence, factors: &[(Kind, Vec<f64>)], out: Kind) -> Vec<f64> {
    let has = |f: fn(Row) -> bool| factors.iter().any(|(kind, _)| f(kind.row));
    let axes = if has(Row::has_axes) { AXES } else { 1 };
    let channels = if has(Row::has_channels) { CHANNELS } else { 1 };
    let mut sum = values(&random(0, out, edges));
    sum.fill(0.0);
    for edge in 0..edges.len() {
        for a in 0..axes {
            for f in 0..channels {
                let value = |(kind, v): &(Kind, Vec<f64>)| v[place(edges, *kind, edge, a, f)];
                sum[place(edges, out, edge, a, f)] += factors.iter().map(value).product::<f64>();
            }
        }
    }
    sum
}

fn close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < tolerance, "{what}: {a} for {b}");
    }
}

const PLACES: [Place; 4] = [Place::Receiver, Place::Sender, Place::Edge, Place::Pair];
const ROWS: [Row; 4] = [Row::Number, Row::Vector, Row::Channels, Row::Vectors];

fn kinds() -> impl Iterator<Item = Kind> + Clone {
    PLACES
        .into_iter()
        .flat_map(|place| ROWS.into_iter().map(move |row| Kind { place, row }))
}

/// Checks a contraction and its gradients, which are contractions too, against the definition.
fn check<const N: usize>(kinds: [Kind; N], out: Kind)
where
    Adapter<Contraction<N>, N>: Apply<N>,
{
    let edges = incidence();
    let wide = |f: fn(Row) -> bool| !f(out.row) || kinds.iter().any(|k| f(k.row));
    if !wide(Row::has_axes) || !wide(Row::has_channels) {
        return;
    }
    let what = format!("{kinds:?} to {out:?}");
    let tensors: [Tensor; N] = std::array::from_fn(|k| random(k as u64, kinds[k], &edges));
    let vars = tensors
        .each_ref()
        .map(|t| Var::from_tensor(t).unwrap().into_inner());
    let factors: [Factor; N] = std::array::from_fn(|k| (kinds[k], &vars[k]));
    let result = contract(&edges, factors, out).unwrap();
    let naive_of = |all: &[(Kind, Vec<f64>)], out| naive(&edges, all, out);
    let all: Vec<_> = kinds
        .iter()
        .copied()
        .zip(tensors.each_ref().map(values))
        .collect();
    close(&values(&result), &naive_of(&all, out), 1e-13, &what);
    let weights = random(9, out, &edges);
    let store = (&result * &weights)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    for k in 0..N {
        let mut all = all.clone();
        all[k] = (out, values(&weights));
        // A row without a factor that has its axes or channels: every element has the sum.
        let gradient = values(store.get(&vars[k]).unwrap());
        let lacks = |f: fn(Row) -> bool| f(kinds[k].row) && !all.iter().any(|a| f(a.0.row));
        if lacks(Row::has_axes) || lacks(Row::has_channels) {
            let ones = random(0, kinds[k], &edges).ones_like().unwrap();
            all.push((kinds[k], values(&ones)));
        }
        close(&gradient, &naive_of(&all, kinds[k]), 1e-13, &what);
    }
}

#[test]
fn every_contraction_of_one_and_two_factors_equals_its_definition() {
    for a in kinds() {
        for out in kinds() {
            check([a], out);
            for b in kinds() {
                check([a, b], out);
            }
        }
    }
}

#[test]
fn contractions_of_three_factors_equal_their_definition() {
    for (a, b) in kinds().flat_map(|a| kinds().map(move |b| (a, b))) {
        for row in ROWS {
            check([a, b, edge(row)], receiver(row));
            check([a, b, sender(row)], edge(Row::Number));
        }
    }
}

#[test]
fn single_precision_and_many_rows() {
    let count = 3000;
    let rows: Vec<u32> = (0..count as u32).flat_map(|i| [i, i]).collect();
    let others: Vec<u32> = rows
        .iter()
        .enumerate()
        .map(|(e, &r)| (r * 7 + e as u32) % 3000)
        .collect();
    let edges = Incidence::new(
        Ends { rows: &rows, count },
        Ends {
            rows: &others,
            count,
        },
    )
    .unwrap();
    let x = random(1, sender(Row::Channels), &edges);
    let w = random(2, edge(Row::Channels), &edges);
    let sum = |dtype| {
        let [x, w] = [&x, &w].map(|t| t.to_dtype(dtype).unwrap());
        let factors = [(sender(Row::Channels), &x), (edge(Row::Channels), &w)];
        values(&contract(&edges, factors, receiver(Row::Channels)).unwrap())
    };
    let all = [
        (sender(Row::Channels), values(&x)),
        (edge(Row::Channels), values(&w)),
    ];
    let expected = naive(&edges, &all, receiver(Row::Channels));
    close(&sum(DType::F64), &expected, 1e-13, "f64");
    close(&sum(DType::F32), &expected, 1e-6, "f32");
}

#[test]
fn sums_on_edges_equal_those_of_gathered_rows() {
    let edges = incidence();
    let part = |k: usize, place| {
        let row = Row::Vectors;
        let kind = Kind { place, row };
        let x = Var::from_tensor(&random(k as u64, kind, &edges)).unwrap();
        (kind, x.into_inner())
    };
    for places in [&PLACES[..1], &PLACES[1..3], &PLACES[1..], &PLACES] {
        let parts: Vec<_> = (0..).zip(places).map(|(k, &p)| part(k, p)).collect();
        let all: Vec<_> = parts.iter().map(|(kind, x)| (kind.place, x)).collect();
        let own = on_edges(&edges, &all).unwrap();
        let gathered = |(kind, x): &(Kind, Tensor)| {
            contract(&edges, [(*kind, x)], edge(Row::Vectors)).unwrap()
        };
        let plain = parts.iter().map(gathered).reduce(|a, b| (a + b).unwrap());
        let weights = random(9, edge(Row::Vectors), &edges);
        let [own, plain] = [own, plain.unwrap()].map(|y| {
            let sum = (&y * &weights).unwrap().sum_all().unwrap();
            let store = sum.backward().unwrap();
            let gradients = parts.iter().map(|(_, x)| values(store.get(x).unwrap()));
            [values(&y)]
                .into_iter()
                .chain(gradients)
                .flatten()
                .collect::<Vec<_>>()
        });
        close(&own, &plain, 1e-13, &format!("{places:?}"));
    }
    let x = random(1, edge(Row::Channels), &edges);
    assert!(on_edges(&edges, &[(Place::Sender, &x)]).is_err());
    assert!(on_edges(&edges, &[]).is_err());
}

#[test]
fn pairs_of_edges() {
    let edges = incidence();
    let pairs = edges.pairs().unwrap();
    assert_eq!(pairs.firsts.senders(), [0, 1, 3, 4, 5]);
    assert_eq!(pairs.edges.receivers(), [0, 0, 2, 3, 3]);
    assert_eq!(pairs.edges.senders(), [1, 3, 0, 2, 1]);
    // Where edges are not in pairs, each is one.
    let alone = Ends {
        rows: &[0, 0],
        count: 1,
    };
    let alone = Incidence::new(alone, alone).unwrap();
    assert!(alone.pairs().is_none() && alone.rows(Place::Pair) == 2);
    let x = random(1, edge(Row::Channels), &alone);
    let same = contract(&alone, [(pair(Row::Channels), &x)], edge(Row::Channels)).unwrap();
    assert_eq!(values(&same), values(&x));
}

#[test]
fn gather_and_segment_sum() {
    let edges = incidence();
    let x = Tensor::arange(0f64, 5.0, &Device::Cpu)
        .unwrap()
        .unsqueeze(1)
        .unwrap();
    let gathered = gather(&edges, &x).unwrap();
    assert_eq!(values(&gathered), [1.0, 3.0, 0.0, 0.0, 2.0, 1.0, 3.0]);
    assert_eq!(
        values(&segment_sum(&edges, &gathered).unwrap()),
        [4.0, 0.0, 0.0, 6.0]
    );
}

#[test]
fn wrong_edges_and_factors_are_refused() {
    let ends = |rows, count| Ends { rows, count };
    let told = |r: Result<Arc<Incidence>>| r.unwrap_err().to_string();
    let edges = Incidence::new(ends(&[0, 1], 2), ends(&[0], 1));
    assert!(told(edges).contains("2 receivers of edges, but 1 senders"));
    let edges = Incidence::new(ends(&[0, 2], 2), ends(&[0, 0], 1));
    assert!(told(edges).contains("receiver is row 2 of 2"));
    let edges = Incidence::new(ends(&[1, 0], 2), ends(&[0, 0], 1));
    assert!(told(edges).contains("not in order"));
    let edges = Incidence::in_pairs(ends(&[0, 1], 2), ends(&[1, 0], 2), &[1, 1]);
    assert!(told(edges).contains("not each other's"));
    let edges = incidence();
    let x = random(1, edge(Row::Channels), &edges);
    let told = |factors, out| contract(&edges, factors, out).unwrap_err().to_string();
    assert!(told([(edge(Row::Number), &x)], edge(Row::Number)).contains("has shape"));
    let at = [(sender(Row::Channels), &x)];
    assert!(told(at, edge(Row::Channels)).contains("has 7 rows, not 5"));
}

#[test]
fn no_edges_and_no_rows() {
    let edges = Incidence::new(
        Ends {
            rows: &[],
            count: 3,
        },
        Ends {
            rows: &[],
            count: 0,
        },
    )
    .unwrap();
    let x = Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(values(&segment_sum(&edges, &x).unwrap()), [0.0; 12]);
    assert_eq!(gather(&edges, &x).unwrap().dims(), [0, 4]);
}
