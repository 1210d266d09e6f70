//! [`crate::train`]'s Adam on a device.

use super::{Arg, Kind, Sequence};

/// Threads per block, and blocks at most: each thread takes several groups of four elements.
const THREADS: usize = 256;
const BLOCKS: usize = 2048;

/// What [`step`] needs of Adam's settings, rounded as the CPU rounds it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// `rate / (1 - beta1^t)`
    pub step_size: f32,
    /// `sqrt(1 - beta2^t)`
    pub root_correction: f32,
    /// `1 - beta1`
    pub new1: f32,
    /// `beta2`
    pub keep2: f32,
    /// `1 - beta2`
    pub new2: f32,
    pub epsilon: f32,
    /// Of the L2 penalty.
    pub decay: f32,
    /// Factor on the parameter: what decoupled decay leaves of it.
    pub shrink: f32,
    /// Factor on the gradient.
    pub scale: f32,
}

/// One update in place of parameters and moments: inputs p, g, m, v, `len` elements each; `wide`
/// where all of them are aligned to 16 bytes.
pub fn step(step: &Step, len: usize, wide: bool) -> Sequence {
    let mut s = Sequence::default();
    let mut args: Vec<Arg> = (0..4).map(|_| s.input(Kind::F32, len)).collect();
    args.extend([len as i32, i32::from(wide)].map(Arg::I32));
    let numbers = [
        step.decay,
        step.new1,
        step.keep2,
        step.new2,
        step.root_correction,
        step.epsilon,
        step.step_size,
        step.shrink,
        step.scale,
    ];
    args.extend(numbers.map(Arg::F32));
    let blocks = len.div_ceil(4 * THREADS).min(BLOCKS);
    s.launch(
        "adam",
        "adam_step",
        [blocks, 1, 1],
        [THREADS, 1, 1],
        0,
        args,
    );
    s
}
