//! That faults are found: in kernels made for it, and in every kernel when one of its barriers is
//! passed over or one of its buffers is too short.

use crate::host::{self, Data, Flavour, Order};
use crate::{address_sanitizer, random};
use holosig::ops::batch_norm::{self, Mode, Normalization};
use holosig::ops::cg::{self, Plan, Size};
use holosig::ops::device::{Arg, Buffer, Kind, Launch, Sequence, adam};
use holosig::ops::linear::{self, Order as Layout, Side};
use holosig::ops::sparse::{self, Sparse};
use holosig::ops::zernike::{self, Settings};
use holosig::ops::{hidden, signature, skip, squared_error};
use holosig::so3::irreps::Irreps;
use holosig::so3::paths::Rule;

/// The sequence of one faulty kernel on 64 numbers.
fn fault(kernel: &'static str) -> Sequence {
    let blocks = if kernel == "fault_blocks" { 2 } else { 1 };
    Sequence {
        buffers: vec![Buffer::Input {
            index: 0,
            kind: Kind::F32,
            len: 64,
        }],
        launches: vec![Launch {
            module: "faults",
            kernel,
            grid: [blocks, 1, 1],
            block: [64, 1, 1],
            shared: 256,
            args: vec![Arg::Buffer(0)],
        }],
    }
}

#[test]
fn faults_are_found() {
    let x = [Data::F32(random(1, 64))];
    let run = |flavour, kernel| host::run(flavour, Order::Forward, &fault(kernel), &x);
    let told = |flavour, kernel, what: &str| match run(flavour, kernel) {
        Ok(_) => panic!("{kernel}: nothing was found ({flavour:?})"),
        Err(said) => assert!(said.contains(what), "{kernel}: {said}"),
    };
    run(Flavour::Watched, "fault_none")
        .map(|_| ())
        .expect("no fault");
    for (kernel, what) in [
        ("fault_read_beyond", "read out of bounds"),
        ("fault_write_before", "write out of bounds"),
        ("fault_dynamic_beyond", "write out of bounds"),
        ("fault_unwritten", "read of memory that nothing wrote"),
        ("fault_no_barrier", "nothing wrote"),
        ("fault_no_second_barrier", "race"),
        ("fault_warps", "race"),
        ("fault_blocks", "race of two writes"),
        ("fault_half_barrier", "barrier divergence"),
        ("fault_two_barriers", "barrier divergence"),
        ("fault_missing_lanes", "warp divergence"),
        ("fault_absent_source", "which takes no part"),
        ("fault_large_block", "compiled for 32"),
    ] {
        told(Flavour::Watched, kernel, what);
    }
    if address_sanitizer() {
        run(Flavour::Address, "fault_none")
            .map(|_| ())
            .expect("no fault");
        for kernel in [
            "fault_read_beyond",
            "fault_write_before",
            "fault_dynamic_beyond",
        ] {
            told(Flavour::Address, kernel, "heap-buffer-overflow");
        }
        told(
            Flavour::Address,
            "fault_shared_beyond",
            "global-buffer-overflow",
        );
    }
}

/// A sequence of every kernel, sizes such that every barrier matters, with random inputs.
fn every_kernel() -> Vec<(&'static str, Sequence, Vec<Data>)> {
    let irreps = Irreps::new(vec![34, 3]);
    let side = |order| Side {
        irreps: irreps.clone(),
        order,
    };
    let (batch, component) = (9, Normalization::Component);
    let norm = batch_norm::launches::Tables::new(&irreps);
    let linear = linear::launches::Tables::new(&side(Layout::Steerable), &side(Layout::Published));
    let skip = skip::launches::Tables::new(&irreps, &Irreps::new(vec![2, 3]));
    let plan = Plan::new(Rule::Efficient, true, Size::new(2, 35), Size::new(2, 66));
    let cg = cg::launches::Tables::new(&plan);
    let one = Size::new(1, 1);
    let few = cg::launches::Tables::new(&Plan::new(Rule::Efficient, true, one, one));
    let entries = [(0, 1, 2.0), (2, 0, -1.0), (2, 3, 0.5)];
    let sparse = sparse::launches::Tables::new(&Sparse::new(3, 4, &entries));
    let sizes = hidden::Sizes {
        nodes: 7,
        frames: 5,
        features: 3,
        width: 34,
    };
    let number = 0.5;
    let adam = adam::Step {
        step_size: number,
        root_correction: number,
        new1: number,
        keep2: number,
        new2: number,
        epsilon: number,
        decay: number,
        shrink: number,
        scale: number,
    };
    use batch_norm::launches as bn;
    use signature::launches as sig;
    let small = "a sequence that fits";
    let (single, double) = (Kind::F32, Kind::F64);
    let choice = sig::Choice::new(&[0, 2], 3);
    let mut all: Vec<(&'static str, Sequence, Vec<Data>)> = [
        (
            "lyndon back, depth 2",
            sig::lyndon_backward(1, 9, 40, 2).expect(small),
        ),
        (
            "logarithm back, depth 1",
            sig::logarithm_backward(single, 2, 3, 1).expect(small),
        ),
        (
            "signature back, depth 5",
            sig::backward(single, 1, 3, 2, 5).expect(small),
        ),
        (
            "signature, depth 2",
            sig::forward(single, 1, 40, 3, 2).expect(small),
        ),
        ("adam", adam::step(&adam, 1027, true)),
        ("statistics", bn::statistics(&norm, component, batch)),
        ("batch norm", bn::forward(&norm, batch)),
        (
            "batch norm back",
            bn::backward(&norm, component, Mode::Train, batch),
        ),
        ("linear", linear::launches::forward(&linear, batch)),
        (
            "linear back",
            linear::launches::backward_input(&linear, batch),
        ),
        (
            "linear weights",
            linear::launches::backward_weights(&linear, 17),
        ),
        ("skip", skip::launches::forward(&skip, batch)),
        ("skip back", skip::launches::backward(&skip, batch)),
        (
            "squared error",
            squared_error::launches::forward(batch, 300),
        ),
        (
            "squared error back",
            squared_error::launches::backward(batch, 300),
        ),
        ("cg", cg::launches::forward(&cg, batch)),
        ("cg back", cg::launches::backward(&cg, batch).expect(small)),
        (
            "cg back, one split",
            cg::launches::backward(&few, 1024).expect(small),
        ),
        ("sparse", sparse::launches::apply(&sparse, false, 3)),
        ("average", hidden::launches::average(&sizes)),
        (
            "average back",
            hidden::launches::average_backward(&sizes, true),
        ),
        ("project", hidden::launches::project(&sizes, 2, 6)),
        (
            "project back",
            hidden::launches::project_backward(&sizes, 2, 6, true),
        ),
        ("signature", sig::forward(single, 2, 40, 3, 4).expect(small)),
        (
            "signature back",
            sig::backward(single, 1, 40, 3, 4).expect(small),
        ),
        (
            "signature f64",
            sig::forward(double, 2, 40, 3, 4).expect(small),
        ),
        (
            "signature f64 back",
            sig::backward(double, 2, 4, 3, 4).expect(small),
        ),
        ("logarithm", sig::logarithm(single, 2, 3, 3).expect(small)),
        (
            "logarithm back",
            sig::logarithm_backward(single, 2, 3, 4).expect(small),
        ),
        (
            "logarithm f64",
            sig::logarithm(double, 2, 3, 3).expect(small),
        ),
        (
            "logarithm f64 back",
            sig::logarithm_backward(double, 2, 3, 3).expect(small),
        ),
        ("words", sig::choose(single, &choice, false, 2)),
        ("words f64", sig::choose(double, &choice, true, 2)),
        ("lyndon", sig::lyndon(2, 400, 37, 3).expect(small)),
        (
            "lyndon back",
            sig::lyndon_backward(300, 2, 3, 3).expect(small),
        ),
        (
            "lyndon back, chunks",
            sig::lyndon_backward(1, 200, 37, 3).expect(small),
        ),
    ]
    .map(|(name, sequence)| {
        let inputs = inputs(&sequence);
        (name, sequence, inputs)
    })
    .into();
    let zernike = zernike::launches::Tables::new(&Settings::default());
    let clouds = Data::I32(vec![0, 70, 75]);
    let channels = (0..75).map(|i| i % 4).collect();
    let places = random(1, 225).iter().map(|x| 5.0 * x).collect();
    let inputs = vec![Data::F32(places), Data::U8(channels), clouds];
    all.push((
        "zernike",
        zernike::launches::transform(&zernike, 2, 75, 1.0),
        inputs,
    ));
    all
}

/// Random content for all inputs.
fn inputs(sequence: &Sequence) -> Vec<Data> {
    let mut inputs = Vec::new();
    for buffer in &sequence.buffers {
        if let Buffer::Input { index, kind, len } = buffer {
            let numbers = random(*index as u64, *len);
            inputs.push(match kind {
                Kind::F64 => Data::F64(numbers.iter().map(|x| f64::from(x.abs())).collect()),
                _ => Data::F32(numbers),
            });
        }
    }
    inputs
}

/// Each barrier of each kernel, passed over, is missed: a race is found, or the threads part.
#[test]
fn every_barrier_is_missed() {
    let cases = every_kernel();
    let mut idle = Vec::new();
    for barrier in host::barriers().expect("kernel files") {
        let missed = cases.iter().any(|(name, sequence, inputs)| {
            let file = barrier.split('.').next().unwrap_or_default();
            let shared = barrier.contains(".cuh");
            if !shared && !sequence.launches.iter().any(|l| l.module == file) {
                return false;
            }
            let run = host::run_seeded(
                Flavour::Watched,
                Order::Random,
                sequence,
                inputs,
                Some(&barrier),
            );
            let Err(said) = run.map(|_| ()) else {
                return false;
            };
            let found = ["race", "nothing wrote", "divergence"]
                .iter()
                .any(|w| said.contains(w));
            assert!(found, "{name} without the barrier {barrier}: {said}");
            true
        });
        if !missed {
            idle.push(barrier);
        }
    }
    assert!(
        idle.is_empty(),
        "barriers that nothing needs, or that no test reaches: {idle:?}"
    );
}

/// Inputs whose end a gradient does not depend on: the last level of a signature, which is in no
/// other.
fn unread(name: &str, buffer: usize) -> bool {
    let starts = |with| name.starts_with(with) && name.contains("back");
    let path = starts("signature") || starts("lyndon");
    (path && buffer == 1) || (starts("logarithm") && buffer == 0)
}

/// Each buffer that is not a table, declared one element too short, is found to be; so is shared
/// memory.
#[test]
fn every_short_buffer_is_found() {
    for (name, sequence, inputs) in every_kernel() {
        for i in 0..sequence.buffers.len() {
            if unread(name, i) || sequence.buffers[i].is_empty() {
                continue;
            }
            let mut short = sequence.clone();
            let mut inputs = inputs.clone();
            match &mut short.buffers[i] {
                Buffer::Input { index, len, .. } => {
                    *len -= 1;
                    match &mut inputs[*index] {
                        Data::F32(x) => x.truncate(*len),
                        Data::F64(x) => x.truncate(*len),
                        Data::I32(x) => x.truncate(*len),
                        Data::U8(x) => x.truncate(*len),
                    }
                }
                Buffer::Output { len, .. } | Buffer::Scratch { len, .. } => *len -= 1,
                // Other kernels may need more of a table.
                Buffer::Ints(_) | Buffer::Floats(_) | Buffer::Doubles(_) => continue,
            }
            let run = host::run(Flavour::Watched, Order::Forward, &short, &inputs);
            let said = run
                .map(|_| ())
                .expect_err(&format!("{name}: buffer {i} too short"));
            assert!(said.contains("out of bounds"), "{name}, buffer {i}: {said}");
        }
        for i in 0..sequence.launches.len() {
            let mut short = sequence.clone();
            if short.launches[i].shared == 0 {
                continue;
            }
            // The last word may be padding.
            short.launches[i].shared -= 8;
            let run = host::run(Flavour::Watched, Order::Forward, &short, &inputs);
            let said = run
                .map(|_| ())
                .expect_err(&format!("{name}: launch {i}, shared memory"));
            assert!(said.contains("out of bounds"), "{name}, launch {i}: {said}");
        }
    }
}
