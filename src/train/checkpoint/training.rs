//! The group `training` of a checkpoint: where the run stands.

use super::super::guard::{Guard, LossTrend};
use super::super::watch::{Control, Still};
use super::{Best, Progress};
use crate::Result;
use crate::store::{Node, Storage};

/// Makes the group with everything in it but the moments.
pub(super) fn write(root: &Node, progress: &Progress, adam_steps: u64) -> Result<Node> {
    let training = root.create_group("training")?;
    training.set_attr("step", progress.step)?;
    training.set_attr("epoch", progress.epoch)?;
    training.set_attr("position", progress.position)?;
    training.set_attr("seed", progress.seed)?;
    training.set_attr_text("fingerprint", &progress.fingerprint)?;
    if let Some(best) = &progress.best {
        training.set_attr("best_value", best.value)?;
        training.set_attr("best_step", best.step)?;
        training.set_attr("best_warm", u8::from(best.warm))?;
    }
    write_guard(&training, &progress.guard)?;
    write_control(&training, &progress.control)?;
    training.write_text("job", &progress.job)?;
    training.set_attr("adam_steps", adam_steps)?;
    Ok(training)
}

/// Everything in the group but the moments, and the steps of Adam.
pub(super) fn read(training: &Node) -> Result<(Progress, u64)> {
    let best = if training.has_attr("best_value") {
        Some(Best {
            value: training.attr("best_value")?,
            step: training.attr("best_step")?,
            warm: training.attr::<u8>("best_warm")? != 0,
        })
    } else {
        None
    };
    let progress = Progress {
        step: training.attr("step")?,
        epoch: training.attr("epoch")?,
        position: training.attr("position")?,
        seed: training.attr("seed")?,
        best,
        guard: read_guard(training)?,
        control: read_control(training)?,
        job: training.read_text("job")?,
        fingerprint: training.attr_text("fingerprint")?,
    };
    Ok((progress, training.attr("adam_steps")?))
}

fn write_guard(training: &Node, guard: &Guard) -> Result<()> {
    training.set_attr("skipped", guard.skipped)?;
    training.set_attr("rollbacks", guard.rollbacks)?;
    let losses = &guard.trend.recent;
    training.write("recent_losses", &[losses.len()], losses, Storage::Plain)?;
    let redrawn: Vec<u64> = guard.redrawn.iter().flat_map(|&(s, d)| [s, d]).collect();
    training.write(
        "redrawn",
        &[guard.redrawn.len(), 2],
        &redrawn,
        Storage::Plain,
    )
}

/// Checkpoints of version 0.1.0 have no guard.
fn read_guard(training: &Node) -> Result<Guard> {
    if !training.has_attr("skipped") {
        return Ok(Guard::default());
    }
    let (redrawn, _) = training.read_shaped::<u64>("redrawn", &[None, Some(2)])?;
    Ok(Guard {
        skipped: training.attr("skipped")?,
        rollbacks: training.attr("rollbacks")?,
        redrawn: redrawn.chunks_exact(2).map(|r| (r[0], r[1])).collect(),
        trend: LossTrend {
            recent: training.read("recent_losses")?,
        },
    })
}

fn write_control(training: &Node, control: &Control) -> Result<()> {
    training.set_attr("rate_drops", control.drops)?;
    for (name, still) in [("plateau", &control.plateau), ("early_stop", &control.stop)] {
        training.set_attr(&format!("{name}_waited"), still.waited)?;
        if let Some(best) = still.best {
            training.set_attr(&format!("{name}_best"), best)?;
        }
    }
    Ok(())
}

/// Older checkpoints have no control.
fn read_control(training: &Node) -> Result<Control> {
    if !training.has_attr("rate_drops") {
        return Ok(Control::default());
    }
    let still = |name: &str| -> Result<Still> {
        let best = format!("{name}_best");
        let best = training.has_attr(&best).then(|| training.attr(&best));
        Ok(Still {
            best: best.transpose()?,
            waited: training.attr(&format!("{name}_waited"))?,
        })
    };
    Ok(Control {
        plateau: still("plateau")?,
        drops: training.attr("rate_drops")?,
        stop: still("early_stop")?,
    })
}
