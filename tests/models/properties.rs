//! The properties.

use crate::case::{Case, Change};
use crate::numbers::values;
use candle_core::{DType, Device, Tensor};
use holosig::comm::{SliceTree, slice_range};
use holosig::models::{Entry, Model};
use holosig::tasks;
use holosig::train::checkpoint::Checkpoint;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

const IDS: [u64; 5] = [3, 4, 7, 8, 12];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

/// Largest difference over the largest value.
fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let (a, b) = (a.concat(), b.concat());
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(&b).all(|v| v.is_finite()));
    let largest = b.iter().fold(0f64, |m, v| m.max(v.abs()));
    let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    apart.fold(0f64, f64::max) / largest
}

pub fn builds_from_its_default_job(case: &impl Case) {
    let job = tasks::parse(Path::new("job.toml"), &case.job()).unwrap();
    let filled = job.to_text().unwrap();
    let again = tasks::parse(Path::new("job.toml"), &filled).unwrap();
    assert_eq!(again.to_text().unwrap(), filled);
    let model = case.model(1, DType::F32);
    let batch = case.batch(&IDS, Change::None, DType::F32);
    let losses = case.losses(&model, &batch);
    assert!(values(&case.objective(&model, &batch))[0].is_finite());
    let statistics = losses.statistics_values().unwrap();
    assert_eq!(statistics.len(), model.parameters().buffers().len());
    for (name, values) in model.metrics(&batch).unwrap() {
        assert_eq!(values.len(), IDS.len(), "{name}");
        assert!(values.iter().all(|v| v.is_finite()), "{name}: {values:?}");
    }
}

/// Names and shapes are those of the file, one entry a line.
pub fn names_and_shapes_are_stable(case: &impl Case, name: &str) {
    let model = case.model(1, DType::F32);
    let p = model.parameters();
    let line = |kind: &str, e: &Entry| format!("{kind} {} {:?}\n", e.name, e.shape);
    let parameters = p.entries().iter().map(|e| line("parameter", e));
    let buffers = p.buffer_entries().iter().map(|e| line("buffer", e));
    let ours: String = parameters.chain(buffers).collect();
    let path = fixture(&format!("names/{name}.txt"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(ours == expected, "{} is not\n{ours}", path.display());
    let mut next = 0;
    for e in p.entries() {
        assert_eq!(e.offset, next, "{}", e.name);
        next += e.len();
    }
    assert_eq!(next, p.len());
}

pub fn the_seed_decides_the_start(case: &impl Case) {
    let start = |seed, dtype| case.model(seed, dtype).parameters().flat().unwrap();
    assert_eq!(start(1, DType::F32), start(1, DType::F32));
    assert_eq!(start(1, DType::F32), start(1, DType::F64));
    assert_ne!(start(1, DType::F32), start(2, DType::F32));
}

pub fn a_batch_equals_its_members(case: &impl Case) {
    let model = case.model(1, DType::F64);
    let predict = |ids: &[u64]| case.predict(&model, &case.batch(ids, Change::None, DType::F64));
    let together = predict(&IDS);
    assert_eq!(together.len(), IDS.len());
    for (id, expected) in IDS.into_iter().zip(together) {
        let alone = predict(&[id]);
        let e = difference(&alone, &[expected]);
        assert!(e < 1e-11, "sample {id}: {e:e}");
    }
}

/// Changes that must not matter change less than a share of what another sample does.
pub fn symmetries_hold(case: &impl Case) {
    let model = case.model(1, DType::F64);
    let of = |id: u64| case.predict(&model, &case.batch(&[id], Change::None, DType::F64));
    let apart = IDS[1..].iter().map(|&id| difference(&of(id), &of(IDS[0])));
    let spread = apart.fold(0f64, f64::max);
    assert!(spread > 1e-5, "all samples are predicted alike: {spread:e}");
    for (change, wide, single) in case.symmetries() {
        for (dtype, tolerance) in [(DType::F64, wide), (DType::F32, single)] {
            let model = case.model(1, dtype);
            let predict = |change| case.predict(&model, &case.batch(&IDS, change, dtype));
            let e = difference(&predict(change), &predict(Change::None)) / spread;
            println!("{change:?} {dtype:?}: {e:.1e}");
            assert!(e < tolerance, "{change:?} {dtype:?}: {e:e} of {spread:e}");
        }
    }
}

/// Some gradients of every entry against central differences. A parameter that the model declares
/// unused changes nothing.
pub fn gradients_equal_finite_differences(case: &impl Case) {
    const STEP: f64 = 1e-5;
    let model = case.model(1, DType::F64);
    let batch = case.batch(&IDS, Change::None, DType::F64);
    let objective = || case.objective(&model, &batch);
    let p = model.parameters();
    let gradient = p.exact_gradient(&objective()).unwrap();
    let largest = gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
    let mut offset = 0;
    let mut not_zero = 0;
    for variable in p.variables() {
        let start = values(variable);
        let put = |values: &[f64]| {
            let values = Tensor::new(values, &Device::Cpu).unwrap();
            variable.slice_set(&values, 0, 0).unwrap();
        };
        let shifted = |i: usize, by: f64| {
            let mut moved = start.clone();
            moved[i] += by;
            put(&moved);
            values(&objective())[0]
        };
        let range = offset..offset + start.len();
        for e in p.entries().iter().filter(|e| range.contains(&e.offset)) {
            for at in [e.offset, e.offset + e.len() / 2] {
                let i = at - offset;
                let slope = (shifted(i, STEP) - shifted(i, -STEP)) / (2.0 * STEP);
                let error = (gradient[at] - slope).abs();
                assert!(
                    error < 1e-6 * largest.max(1.0),
                    "{} {}: {} against {slope}",
                    e.name,
                    at - e.offset,
                    gradient[at]
                );
                not_zero += usize::from(slope.abs() > 1e-7 * largest);
                assert!(
                    slope == 0.0 || p.unused().all(|name| name != e.name),
                    "{}",
                    e.name
                );
            }
        }
        put(&start);
        offset += start.len();
    }
    let entries = p.entries().len();
    assert!(not_zero > entries / 2, "{not_zero} of {entries} entries");
}

/// The sum of four slices' gradients on 1, 2 and 4 ranks of 1, 2 and 4 threads.
pub fn bits_depend_on_neither_threads_nor_ranks<C: Case + Sync>(case: &C) {
    const SLICES: usize = 4;
    let model = case.model(1, DType::F32);
    let slice = |i: usize| -> Vec<f32> {
        let ids = [3 * i as u64, 3 * i as u64 + 1, 40 - i as u64];
        let objective = case.objective(&model, &case.batch(&ids, Change::None, DType::F32));
        let gradient = model.parameters().exact_gradient(&objective).unwrap();
        gradient.into_iter().map(|g| g as f32).collect()
    };
    let len = model.parameters().len();
    let sum = |ranks: usize| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(ranks);
        let pool = pool.build().unwrap();
        let all = SliceTree::new();
        for rank in 0..ranks {
            let own = SliceTree::new();
            let slices = slice_range(SLICES, rank, ranks);
            pool.install(|| slices.into_par_iter().for_each(|i| own.insert(i, slice(i))));
            all.insert(rank, own.into_sum(len));
        }
        all.into_sum(len).into_iter().map(f32::to_bits).collect()
    };
    let one = sum(1);
    for ranks in [2, 4] {
        assert!(sum(ranks) == one, "{ranks} ranks of {ranks} threads");
    }
}

pub fn a_saved_model_is_the_same<C: Case>(case: &C) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    let model = case.model(1, DType::F32);
    let statistics: Vec<f32> = (0..model.parameters().buffers().len())
        .map(|i| 0.5 + 0.3 * (i as f32).sin())
        .collect();
    model.parameters().set_buffers(&statistics).unwrap();
    let saved = Checkpoint::of_model(C::TASK, case.description(), model.parameters()).unwrap();
    saved.write(&path).unwrap();

    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(read.hash(), saved.hash());
    let again = case.build(&read.description, 2, DType::F32).unwrap();
    read.load_into(&path, again.parameters()).unwrap();
    let batch = case.batch(&IDS, Change::None, DType::F32);
    assert_eq!(case.predict(&again, &batch), case.predict(&model, &batch));
}

/// Checkpoints of `commit` and their hashes lie in a folder of its name.
pub fn an_earlier_checkpoint_loads<C: Case>(case: &C, name: &str, commit: &str) {
    let path = fixture(&format!("written-by-{commit}/{name}.h5"));
    let hashes = std::fs::read_to_string(path.with_file_name("hashes.txt")).unwrap();
    let hash = hashes
        .lines()
        .find_map(|l| l.strip_suffix(&format!("  {name}.h5")));
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert_eq!(checkpoint.task, C::TASK);
    let model = case.build(&checkpoint.description, 1, DType::F32).unwrap();
    checkpoint.load_into(&path, model.parameters()).unwrap();
    let loaded = Checkpoint::of_model(C::TASK, checkpoint.description, model.parameters()).unwrap();
    assert_eq!(Some(&*loaded.hash().to_string()), hash);
}
