//! Weak scaling: the same work per rank, by one rank alone and by all together.

use super::cases::{Group, Sum, Z64_L4};
use super::{Case, Figure, Need, Work, limits};
use crate::Result;
use crate::comm::{Rounding, SliceTree, World};
use crate::models::{Flat, Model, Weights, hvae};
use crate::ops::in_pool;
use crate::train::optimizer::{Adam, AdamSettings};
use candle_core::{DType, Device, Tensor};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Training steps of the z = 64, lmax = 4 model, one slice of 64 neighborhoods on every rank.
pub(super) fn case(sum: Sum) -> Case {
    const BATCH: usize = 64;
    const STEPS: usize = 4;
    let prepare = move |world: &World, device: &Device| -> Result<Work> {
        let (model, x) = Z64_L4.build(BATCH, device)?;
        let noise = Tensor::zeros((BATCH, model.config().latent_dim), DType::F32, device)?;
        let len = model.parameters().len();
        let own = match sum {
            Sum::Sharded => world.part(len),
            _ => 0..len,
        };
        // A rank that is measured alone updates all parameters, whatever it does among others.
        let adam = |own: Range<usize>| {
            let settings = AdamSettings::default();
            Adam::new(settings, model.parameters(), own, None)
        };
        let sharded = own.len() < len;
        let (mut alone, mut together) = (adam(0..len)?, adam(own)?);
        let mut rounding = Rounding::between_hosts(world);
        Ok(Box::new(move |world| {
            let adam = match world.size() {
                1 => &mut alone,
                _ => &mut together,
            };
            for _ in 0..STEPS {
                let gradients = in_pool(|| {
                    let losses = model.pass_with(&x, &noise)?.losses;
                    let objective = losses.objective(&Weights::from(hvae::TERMS))?;
                    model.parameters().gradient(&objective)?.into_host()
                })?;
                let tree = SliceTree::new();
                tree.insert(world.rank(), gradients);
                let sum = sum.over(world, world.size(), len, tree, &mut rounding);
                let model = model.parameters();
                let sum = Flat::from_host(sum, model.device())?;
                adam.step(model, &sum, 1e-5)?;
                if sharded && world.size() > 1 {
                    adam.share(world, model, sum)?;
                }
            }
            Ok(())
        }))
    };
    Case {
        name: format!("weak-scaling-{}-z64-l4-b{BATCH}", sum.name()),
        group: Group::Scaling,
        unit: "neighborhoods/s",
        amount: (BATCH * STEPS) as f64,
        need: Need::Alone,
        prepare: Box::new(prepare),
        part: None,
    }
}

/// Whether the ranks of a world can be the leaves of a tree.
pub(super) fn fits(world: &World) -> bool {
    world.size() > 1 && world.size().is_power_of_two()
}

/// Measures what all ranks do together against what one does alone. Both are tried in turn, and
/// every rank has its turn, so that a machine that changes its speed meanwhile treats both alike.
/// Times are those that a quarter of the repeats stay below: other programs only ever add to
/// them. Collective.
///
/// # Errors
/// A case that cannot be prepared or fails.
pub(super) fn measure(world: &World, device: &Device, case: &Case) -> Result<Figure> {
    /// Repeats go on for this long, but number at least so many for each rank.
    const ENOUGH: Duration = Duration::from_secs(6);
    const LEAST: usize = 4;
    let size = world.size();
    let mut work = world.agree((case.prepare)(world, device))?;
    let lone = World::quiet();
    limits::forget_peak_memory();
    world.agree(work(world))?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for round in 0.. {
        let mut seconds = 0.0;
        let mut done = Ok(());
        if round % size == world.rank() {
            let start = Instant::now();
            done = work(&lone);
            seconds = start.elapsed().as_secs_f64();
        }
        world.wait_for_all();
        world.agree(done)?;
        alone.extend(world.all_gather(&[seconds]).concat().get(round % size));

        world.barrier();
        let start = Instant::now();
        let done = work(world);
        world.barrier();
        together.push(start.elapsed().as_secs_f64());
        world.agree(done)?;
        let enough = round + 1 >= LEAST * size && begun.elapsed() > ENOUGH;
        if world.any(world.is_root() && enough) {
            break;
        }
    }
    let quarter = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 4]
    };
    let amount = case.amount * size as f64;
    let (one, all) = (quarter(&mut alone), quarter(&mut together));
    Ok(Figure {
        case: case.name.clone(),
        ranks: size,
        threads: rayon::current_num_threads(),
        per_second: amount / all,
        slowest: amount / together[together.len() - 1],
        fastest: amount / together[0],
        processor_seconds: None,
        unit: case.unit.into(),
        repeats: together.len(),
        fraction_of_limit: one / all,
        limit: amount / one,
        limited_by: format!("{size} times one rank alone, {:.0}/s", case.amount / one),
        peak_memory_mb: limits::peak_memory_mb(device),
        share_of_part: None,
        part: None,
    })
}
