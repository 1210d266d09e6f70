//! The MPI world on one to eight ranks.

mod common;

use common::{again_on, again_with, in_mpi};
use holosig::comm::{Bucket, Rounding, SliceTree, World, buckets, packed, slice_range};
use holosig::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::sync::mpsc::channel;

/// Vector of slice `s`: values of many magnitudes, so that the order of summation shows.
fn slice_values(s: usize, len: usize) -> Vec<f32> {
    let value = |i: usize| {
        let x = ((s * 7919 + i * 104_729) % 10_007) as f32 - 5000.0;
        x * 10f32.powi((s % 5) as i32 - 2)
    };
    (0..len).map(value).collect()
}

fn own_slices(world: &World, slices: usize, len: usize) -> SliceTree {
    let tree = SliceTree::new();
    for s in slice_range(slices, world.rank(), world.size()) {
        tree.insert(s, slice_values(s, len));
    }
    tree
}

/// The tree's sum by its definition.
fn expected(slices: usize, len: usize) -> Vec<f32> {
    let mut level: Vec<Vec<f32>> = (0..slices).map(|s| slice_values(s, len)).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|p| p[0].iter().zip(&p[1]).map(|(a, b)| a + b).collect())
            .collect();
    }
    level.remove(0)
}

#[test]
fn sums_have_the_same_bits_in_every_world() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            for slices in [8, 16] {
                for len in [0, 1, 5, 1000, 4097, 600_001] {
                    let want = expected(slices, len);
                    let got = world.tree_sum(slices, len, own_slices(world, slices, len));
                    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&got), bits(&want), "{slices} slices of {len}");
                    let part = world.part(len);
                    let got = world.tree_sum_part(slices, len, own_slices(world, slices, len));
                    assert_eq!(bits(&got[part.clone()]), bits(&want[part.clone()]));
                    let mut whole = Vec::new();
                    world.collect_parts(len, &got[part], |piece| whole.extend(piece));
                    if world.is_root() {
                        assert_eq!(bits(&whole), bits(&want), "{slices} slices of {len}");
                    }
                    let fast = world.fast_sum(len, own_slices(world, slices, len));
                    for (f, w) in fast.iter().zip(&want) {
                        assert!((f - w).abs() <= 1.0 + 1e-4 * w.abs(), "{f} {w}");
                    }
                    let bytes: Vec<u8> = fast.iter().flat_map(|x| x.to_le_bytes()).collect();
                    assert!(world.all_equal(&bytes), "{slices} slices of {len}");
                }
            }
            Ok(())
        });
        return checked.unwrap();
    }
    for ranks in [1, 2, 3, 4, 5, 8] {
        again_on(ranks, "sums_have_the_same_bits_in_every_world").success();
    }
}

/// A sum whose buckets come one by one, in an order of each rank's own.
#[test]
fn buckets_are_summed_as_they_come() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            for len in [0, 5, 600_001, 1_500_000] {
                let want = expected(8, len);
                let own = own_slices(world, 8, len).into_sum(len);
                let mut coming: Vec<(usize, Range<usize>)> = buckets(len).enumerate().collect();
                if world.rank() % 2 == 0 {
                    coming.reverse();
                }
                let sum_of = |coming: &[(usize, Range<usize>)]| {
                    let (sender, receiver) = channel();
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            for (number, place) in coming {
                                let values = own[place.clone()].to_vec();
                                let number = *number;
                                sender.send(Bucket { number, values }).unwrap();
                            }
                            drop(sender);
                        });
                        world.fast_sum_of(len, &receiver)
                    })
                };
                let sum = sum_of(&coming).unwrap();
                for (f, w) in sum.iter().zip(&want) {
                    assert!((f - w).abs() <= 1.0 + 1e-4 * w.abs(), "{f} {w}");
                }
                // A rank that has not all of its buckets keeps nobody waiting.
                let fails = world.is_root() && len > 5;
                let rest = &coming[usize::from(fails)..];
                assert_eq!(sum_of(rest).is_none(), fails);
            }
            Ok(())
        });
        return checked.unwrap();
    }
    for ranks in [1, 2, 3, 4] {
        again_on(ranks, "buckets_are_summed_as_they_come").success();
    }
}

/// Sums with 16 bits: the same on every rank, as exact as bf16 in one step, and exact in the mean
/// over many, because what is rounded away comes later.
#[test]
fn compressed_sums_lose_nothing_in_the_long_run() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            const STEPS: usize = 64;
            for len in [0, 1, 5, 1003] {
                let want = expected(8, len);
                let mut scale = vec![0.0f32; len];
                for values in (0..8).map(|s| slice_values(s, len)) {
                    let sums = scale.iter_mut().zip(values);
                    sums.for_each(|(sum, value)| *sum += value.abs());
                }
                // On four ranks as if they were on two hosts.
                let group = if world.size() == 4 { 2 } else { 1 };
                let (mut whole, mut part) = (Rounding::between(group), Rounding::between(group));
                let mut total = vec![0.0f64; len];
                for _ in 0..STEPS {
                    let sum = world.compressed_sum(len, own_slices(world, 8, len), &mut whole);
                    let bytes: Vec<u8> = sum.iter().flat_map(|x| x.to_le_bytes()).collect();
                    assert!(world.all_equal(&bytes));
                    let own = world.part(len);
                    let tree = own_slices(world, 8, len);
                    let scattered = world.compressed_sum_part(len, tree, &mut part);
                    for i in 0..len {
                        let off = (sum[i] - want[i]).abs();
                        assert!(off <= 0.02 * scale[i], "{i}: {} {}", sum[i], want[i]);
                        total[i] += f64::from(sum[i]) / STEPS as f64;
                    }
                    for i in own {
                        let off = (scattered[i] - want[i]).abs();
                        assert!(off <= 0.02 * scale[i], "{i}: {} {}", scattered[i], want[i]);
                    }
                }
                for i in 0..len {
                    let off = (total[i] - f64::from(want[i])).abs();
                    assert!(off <= 1e-3 * f64::from(scale[i]), "{i}: {off}");
                }
            }
            Ok(())
        });
        return checked.unwrap();
    }
    for ranks in [1, 2, 3, 4] {
        again_on(ranks, "compressed_sums_lose_nothing_in_the_long_run").success();
    }
}

#[test]
fn values_travel_in_rank_order() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            let (rank, size) = (world.rank(), world.size());
            let mine: Vec<u64> = vec![rank as u64; rank + 1];
            let all: Vec<Vec<u64>> = (0..size).map(|r| vec![r as u64; r + 1]).collect();
            assert_eq!(world.all_gather(&mine), all);
            let gathered = world.gather(&mine);
            assert_eq!(gathered, if rank == 0 { all } else { Vec::new() });
            let text = if rank == 0 {
                b"hello".to_vec()
            } else {
                Vec::new()
            };
            assert_eq!(world.broadcast(text), b"hello");
            assert!(world.any(rank == size - 1));
            assert!(!world.any(false));
            assert!(world.all_equal(b"x"));
            assert_eq!(world.all_equal(&[rank as u8]), size == 1);
            assert!(world.local_rank() < world.local_size());
            Ok(())
        });
        return checked.unwrap();
    }
    for ranks in [1, 3, 4] {
        again_on(ranks, "values_travel_in_rank_order").success();
    }
}

#[test]
fn an_error_on_one_rank_is_an_error_on_all() {
    if in_mpi() {
        env_logger::init();
        let result = World::run(|world| {
            let failed = world.rank() > 0;
            let here = if failed {
                Err(Error::input("rank one's trouble"))
            } else {
                Ok(())
            };
            assert!(world.agree(Ok(())).is_ok());
            world.agree(here)
        });
        let error = result.expect_err("all ranks fail");
        assert_eq!(error.exit_code(), 2);
        assert!(matches!(error, Error::Elsewhere { rank: 1, .. }), "{error}");
        std::process::exit(error.exit_code());
    }
    let outcome = again_on(3, "an_error_on_one_rank_is_an_error_on_all");
    outcome.failure(2, "rank one's trouble");
}

#[test]
fn a_lone_error_ends_the_job() {
    if in_mpi() {
        env_logger::init();
        let _: Result<()> = World::run(|world| {
            if world.rank() == 1 {
                return Err(Error::input("only rank one knows"));
            }
            world.barrier();
            Ok(())
        });
        unreachable!("the job is over");
    }
    again_on(3, "a_lone_error_ends_the_job").failure(2, "only rank one knows");
}

#[test]
fn a_panic_ends_the_job() {
    if in_mpi() {
        env_logger::init();
        let _: Result<()> = World::run(|world| {
            assert!(world.rank() != 2, "rank two breaks");
            world.barrier();
            Ok(())
        });
        unreachable!("the job is over");
    }
    again_on(3, "a_panic_ends_the_job").failure(1, "rank two breaks");
}

#[test]
fn a_value_of_rank_0_is_on_every_rank() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            let names = BTreeMap::from([
                ("a".to_string(), vec![1.5f64, -2.0]),
                (String::new(), vec![]),
            ]);
            let value = || Ok((names.clone(), Some(7u64)));
            let made = match world.is_root() {
                true => world.broadcast_value(value)?,
                false => world.broadcast_value(|| panic!("only rank 0 makes the value"))?,
            };
            assert_eq!(made, value()?);
            Ok(())
        });
        return checked.unwrap();
    }
    for ranks in [1, 2, 4] {
        again_on(ranks, "a_value_of_rank_0_is_on_every_rank").success();
    }
}

/// What a block of [`results_arrive_in_order`] becomes: the squares of its items.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Squares {
    #[serde(with = "packed")]
    values: Vec<f64>,
}

fn squares(items: Range<usize>) -> Result<Squares> {
    let values = items.map(|i| (i * i) as f64).collect();
    Ok(Squares { values })
}

#[test]
fn results_arrive_in_order() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            for (items, block) in [
                (0, 3),
                (1, 3),
                (3, 3),
                (10, 3),
                (24, 1),
                (25, 7),
                (40_000, 5000),
            ] {
                let (mut own, mut received) = (Vec::new(), Vec::new());
                world.ordered(
                    items,
                    block,
                    |items| {
                        own.push(items.clone());
                        squares(items)
                    },
                    |items, result| {
                        assert!(world.is_root());
                        assert!(items.len() <= block);
                        assert_eq!(result, squares(items.clone())?);
                        received.push(items);
                        Ok(())
                    },
                )?;
                let blocks: Vec<Range<usize>> = (0..items)
                    .step_by(block)
                    .map(|start| start..(start + block).min(items))
                    .collect();
                let dealt = blocks.iter().skip(world.rank()).step_by(world.size());
                assert_eq!(own, dealt.cloned().collect::<Vec<_>>());
                assert_eq!(received, if world.is_root() { blocks } else { Vec::new() });
            }
            Ok(())
        });
        return checked.unwrap();
    }
    for ranks in [1, 2, 3, 4] {
        again_on(ranks, "results_arrive_in_order").success();
    }
}

/// Blocks are dealt to the threads of all ranks; each is worked on once.
#[test]
fn results_of_threads_arrive_in_order() {
    if in_mpi() {
        let checked: Result<()> = World::run(|world| {
            for (items, block) in [(0, 3), (1, 3), (10, 3), (64, 1), (131, 7), (40_000, 5000)] {
                let own = std::sync::Mutex::new(Vec::new());
                let mut received = Vec::new();
                world.ordered_by_threads(
                    items,
                    block,
                    |items| {
                        own.lock().unwrap().push(items.clone());
                        squares(items)
                    },
                    |items, result| {
                        assert!(world.is_root());
                        assert_eq!(result, squares(items.clone())?);
                        received.push(items);
                        Ok(())
                    },
                )?;
                let blocks: Vec<Range<usize>> = (0..items)
                    .step_by(block)
                    .map(|start| start..(start + block).min(items))
                    .collect();
                let own = own.into_inner().unwrap();
                let starts: Vec<u64> = own.iter().map(|items| items.start as u64).collect();
                let mut starts = world.all_gather(&starts).concat();
                starts.sort_unstable();
                let all = blocks.iter().map(|items| items.start as u64);
                assert_eq!(starts, all.collect::<Vec<_>>());
                assert_eq!(received, if world.is_root() { blocks } else { Vec::new() });
            }
            Ok(())
        });
        return checked.unwrap();
    }
    for (ranks, threads) in [(1, "3"), (2, "2"), (3, "1")] {
        let threads = [("RAYON_NUM_THREADS", OsStr::new(threads))];
        again_with(ranks, "results_of_threads_arrive_in_order", &threads).success();
    }
}

/// Squares of 100 items by blocks of 5, until `work` fails at one item or `sink` at another.
fn fails_at(world: &World, work: usize, sink: usize) -> Result<()> {
    world.ordered(
        100,
        5,
        |items| match items.contains(&work) {
            true => Err(Error::input(format!("item {work} cannot be worked on"))),
            false => squares(items),
        },
        |items, _| match items.contains(&sink) {
            true => Err(Error::input(format!("item {sink} cannot be kept"))),
            false => Ok(()),
        },
    )
}

/// The same by threads.
fn fails_on_a_thread_at(world: &World, work: usize, sink: usize) -> Result<()> {
    world.ordered_by_threads(
        100,
        5,
        |items| match items.contains(&work) {
            true => Err(Error::input(format!("item {work} cannot be worked on"))),
            false => squares(items),
        },
        |items, _| match items.contains(&sink) {
            true => Err(Error::input(format!("item {sink} cannot be kept"))),
            false => Ok(()),
        },
    )
}

#[test]
fn a_failing_block_of_a_thread_ends_the_work_on_all_ranks() {
    if in_mpi() {
        end_with(|world| fails_on_a_thread_at(world, 57, 1000));
    }
    for ranks in [2, 3] {
        let outcome = again_on(
            ranks,
            "a_failing_block_of_a_thread_ends_the_work_on_all_ranks",
        );
        outcome.failure(2, "item 57 cannot be worked on");
    }
}

/// At the last block, when there is no work left to agree on, and before it.
#[test]
fn a_sink_that_fails_beside_threads_ends_all_ranks() {
    if in_mpi() {
        end_with(|world| fails_on_a_thread_at(world, 1000, 99));
    }
    for ranks in [2, 3] {
        let outcome = again_on(ranks, "a_sink_that_fails_beside_threads_ends_all_ranks");
        outcome.failure(2, "item 99 cannot be kept");
    }
    let text = |result: Result<()>| result.unwrap_err().to_string();
    for sink in [3, 99] {
        let failed = fails_on_a_thread_at(&World::alone(), 1000, sink);
        assert_eq!(text(failed), format!("item {sink} cannot be kept"));
    }
}

/// The end of a job that fails: the message, and no rank left waiting.
fn end_with(job: impl FnOnce(&World) -> Result<()>) -> ! {
    env_logger::init();
    let error = World::run(job).expect_err("the job fails");
    std::process::exit(error.exit_code());
}

#[test]
fn a_failing_block_ends_the_work_on_all_ranks() {
    if in_mpi() {
        // An error that was agreed on and is agreed on again is still told by its own rank.
        end_with(|world| world.agree(fails_at(world, 57, 1000)));
    }
    for ranks in [2, 4] {
        let outcome = again_on(ranks, "a_failing_block_ends_the_work_on_all_ranks");
        outcome.failure(2, "item 57 cannot be worked on");
    }
}

#[test]
fn a_failing_sink_ends_the_work_on_all_ranks() {
    if in_mpi() {
        end_with(|world| fails_at(world, 1000, 57));
    }
    for ranks in [2, 4] {
        let outcome = again_on(ranks, "a_failing_sink_ends_the_work_on_all_ranks");
        outcome.failure(2, "item 57 cannot be kept");
    }
}

/// The sink fails at the last block: there is no work left to agree on.
#[test]
fn a_sink_that_fails_at_the_end_ends_all_ranks() {
    if in_mpi() {
        end_with(|world| fails_at(world, 1000, 99));
    }
    for ranks in [2, 3] {
        let outcome = again_on(ranks, "a_sink_that_fails_at_the_end_ends_all_ranks");
        outcome.failure(2, "item 99 cannot be kept");
    }
}

#[test]
fn a_lone_rank_fails_as_many_do() {
    let world = World::alone();
    let text = |result: Result<()>| result.unwrap_err().to_string();
    assert_eq!(
        text(fails_at(&world, 57, 1000)),
        "item 57 cannot be worked on"
    );
    assert_eq!(text(fails_at(&world, 1000, 57)), "item 57 cannot be kept");
}
