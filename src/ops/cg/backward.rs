//! The Clebsch-Gordan step on the CPU: backward pass. Layouts are those of the forward pass.

use super::forward::{column_sums, gather};
use super::plan::{BLOCK, Common, Degree, LANES, Path, Plan};
use super::product::{TOGETHER, contract, expand, through_norm};
use crate::ops::batch_norm::{BatchNorm, Map, Sums};
use crate::ops::cpu::{Buffer, Matrix, MatrixMut, Real, dot, parts, scratch, tree_sum_into};
use rayon::prelude::*;
use std::ops::Range;

/// What the backward pass is given.
pub(super) struct Saved<'a, T> {
    pub norm: Option<(&'a BatchNorm, &'a Map<T>)>,
    pub x: &'a [T],
    pub parameters: &'a [T],
    pub inverses: &'a [f64],
    pub out: &'a [T],
    pub grad: &'a [T],
}

impl<T: Real> Saved<'_, T> {
    /// Those of some samples.
    fn part(&self, plan: &Plan, samples: Range<usize>) -> Self {
        let of = |dim| samples.start * dim..samples.end * dim;
        Self {
            x: &self.x[of(plan.input.dim())],
            inverses: &self.inverses[samples.clone()],
            out: &self.out[of(plan.output.dim())],
            grad: &self.grad[of(plan.output.dim())],
            ..*self
        }
    }
}

/// Gradients of input and parameters for the whole batch.
///
/// With `g = dL/dout`, `G_l = g_l W_l^T`: `dL/dt_l = w_l G_l / n - t_l q / ((2l+1) n^2)`, where
/// `q = sum_l <g_l, out_l - bias part - skip>` needs no product; `dL/dW_l = w_l U_l` with
/// `U_l = sum_b t_l^T g_l / n`, and `dL/dw_l = <W_l, U_l>`. The batch norm's own derivative needs
/// sums over the batch, so it is a second round over the blocks.
pub(super) fn backward<T: Real>(plan: &Plan, saved: &Saved<T>) -> (Vec<T>, Vec<T>) {
    let di = plan.input.dim();
    let p = plan.split(saved.parameters);
    let shared = Shared {
        sums: column_sums(plan, p.weights),
        transposed: transposed(plan, p.weights),
    };
    let parts = parts(saved.inverses.len(), BLOCK);
    let part_len = parts.first().map_or(1, |p| p.len());
    let mut gx = vec![T::zero(); saved.x.len()];
    let partial = gx
        .par_chunks_mut(part_len * di)
        .zip(parts)
        .map(|(gx, part)| {
            let saved = saved.part(plan, part);
            let mut u = Buffer::new(p.weights.len());
            let blocks = gx.chunks_mut(BLOCK * di).enumerate().map(|(i, gx)| {
                let start = i * BLOCK;
                let block = saved.part(plan, start..start + gx.len() / di);
                backward_block(plan, &shared, &block, gx, (&mut u, i > 0));
                block.norm.map(|(norm, map)| norm.sums(map, block.x, gx))
            });
            let norms: Vec<Sums> = blocks.collect::<Vec<_>>().into_iter().flatten().collect();
            (u, norms)
        });
    let (us, norms): (Vec<Buffer<T>>, Vec<Vec<Sums>>) = partial.collect();
    let mut gradient = vec![T::zero(); saved.parameters.len()];
    finish(plan, saved, &shared.sums, &us, &mut gradient);
    let pull = saved.norm.map(|(norm, map)| {
        let sums = Sums::tree(norms.into_iter().flatten().collect());
        let pull = norm.pull(map, &sums, saved.inverses.len());
        let out = plan.split_mut(&mut gradient);
        out.gain.copy_from_slice(&pull.weight);
        out.shift.copy_from_slice(&pull.bias);
        (norm, pull)
    });
    gx.par_chunks_mut(BLOCK * di)
        .zip(saved.x.par_chunks(BLOCK * di))
        .zip(saved.grad.par_chunks(BLOCK * plan.output.dim()))
        .for_each(|((gx, x), grad)| {
            if let Some((norm, pull)) = &pull {
                norm.pull_back(pull, x, gx);
            }
            add_shared_grad(plan, grad, gx);
        });
    (gx, gradient)
}

/// The skip connection's gradient.
fn add_shared_grad<T: Real>(plan: &Plan, grad: &[T], gx: &mut [T]) {
    let samples = gx.chunks_exact_mut(plan.input.dim());
    for (gx, grad) in samples.zip(grad.chunks_exact(plan.output.dim())) {
        for Common { input, output, len } in plan.common() {
            for (gx, &g) in gx[input..][..len].iter_mut().zip(&grad[output..][..len]) {
                *gx += g;
            }
        }
    }
}

/// From the `U` of all parts to the gradients of weights, norm weights and bias.
fn finish<T: Real>(
    plan: &Plan,
    saved: &Saved<T>,
    sums: &[T],
    us: &[Buffer<T>],
    gradient: &mut [T],
) {
    let co = plan.out_channels;
    let p = plan.split(saved.parameters);
    let out = plan.split_mut(gradient);
    let mut work: Vec<(&Degree, &Path, &mut [T])> = Vec::new();
    let (mut rest, mut at) = (&mut *out.weights, 0);
    for d in &plan.degrees {
        for path in &d.paths {
            let range = plan.weights_of(d, path);
            let (gradient, next) = rest[range.start - at..].split_at_mut(range.len());
            (rest, at) = (next, range.end);
            work.push((d, path, gradient));
        }
    }
    let dots = work.into_par_iter().map(|(d, path, gradient)| {
        let range = plan.weights_of(d, path);
        let us: Vec<&[T]> = us.iter().map(|u| &u[range.clone()]).collect();
        tree_sum_into(&us, gradient);
        let dot = dot(&p.weights[range], gradient);
        gradient.iter_mut().for_each(|g| *g *= p.norm[d.l]);
        (d.l, dot)
    });
    let mut of_norm = vec![0f64; plan.degrees.len()];
    for (l, dot) in dots.collect::<Vec<_>>() {
        of_norm[l] += dot;
    }
    // The bias reaches every row of W_0 alike.
    let mut column = vec![0f64; co];
    for sample in saved.grad.chunks_exact(plan.output.dim()) {
        for (c, &g) in column.iter_mut().zip(&sample[..co]) {
            *c += g.to_f64();
        }
    }
    of_norm.push(column.iter().zip(sums).map(|(&c, &s)| c * s.to_f64()).sum());
    for (out, value) in out.norm.iter_mut().zip(of_norm) {
        *out = T::from_f64(value);
    }
    let bias = p.norm[plan.degrees.len()];
    let rows = plan.degrees[0].pairs * plan.channels;
    for row in out.weights[..rows * co].chunks_exact_mut(co) {
        for (g, &c) in row.iter_mut().zip(&column) {
            *g += bias * T::from_f64(c);
        }
    }
}

/// The weights of every degree, transposed: `[output channel][pair, channel]`. The gradient of
/// the product needs its rows together.
fn transposed<T: Real>(plan: &Plan, weights: &[T]) -> Buffer<T> {
    let co = plan.out_channels;
    let mut out = Buffer::new(weights.len());
    let mut rest = &mut out[..];
    let mut degrees = Vec::new();
    for d in &plan.degrees {
        let (part, next) = rest.split_at_mut(d.pairs * plan.channels * co);
        rest = next;
        degrees.push((part, &weights[d.weights..]));
    }
    degrees.into_par_iter().for_each(|(out, weights)| {
        let rows = out.len() / co;
        for (first, block) in weights[..out.len()].chunks(LANES * co).enumerate() {
            for j in 0..co {
                let out = &mut out[j * rows + first * LANES..];
                for (out, row) in out.iter_mut().zip(block.chunks_exact(co)) {
                    *out = row[j];
                }
            }
        }
    });
    out
}

/// What is the same for all blocks of the backward pass.
struct Shared<T> {
    /// [`column_sums`].
    sums: Vec<T>,
    /// [`transposed`].
    transposed: Buffer<T>,
}

/// One block: writes into `gx` the gradient of the (normalised) input, and its share of `u`, added
/// to what is there or as the first.
fn backward_block<T: Real>(
    plan: &Plan,
    shared: &Shared<T>,
    saved: &Saved<T>,
    gx: &mut [T],
    (u, add): (&mut [T], bool),
) {
    let norm = plan.split(saved.parameters).norm;
    let (samples, product) = (saved.inverses.len(), plan.longest_product());
    let (input, padded) = (plan.padded_len(), plan.longest_padded_product());
    let len = padded * TOGETHER + (2 * input + 2 * product + plan.longest_out()) * samples;
    scratch::<T, _>(len, |memory| {
        let (h, rest) = memory.split_at_mut(input * samples);
        let (gh, rest) = rest.split_at_mut(input * samples);
        let (some, rest) = rest.split_at_mut(padded * TOGETHER);
        let (t, rest) = rest.split_at_mut(product * samples);
        let (gt, gout) = rest.split_at_mut(product * samples);
        gather(plan, saved.norm.map(|n| n.1), saved.x, h);
        gh.fill(T::zero());
        let pull = norm_pull(plan, saved, &shared.sums);
        for d in &plan.degrees {
            let gout = &mut gout[..plan.out_len(d) * samples];
            divide_by_norm(plan, d, saved, gout);
            for run in &d.runs {
                let len = plan.product_len(d, run);
                let (t, gt) = (&mut t[..len * samples], &mut gt[..len * samples]);
                for (h, t) in h.chunks(TOGETHER * input).zip(t.chunks_mut(TOGETHER * len)) {
                    let mut unused = [[T::zero(); LANES]; TOGETHER];
                    expand(plan, d, run, h, t, &mut unused[..h.len() / input]);
                }
                let u = (&mut u[plan.run_weights(d, run)], add);
                unmap(plan, d, run, t, &shared.transposed, gout, gt, u);
                let row = plan.padded_product_len(d, run);
                let products = t.chunks(TOGETHER * len).zip(gt.chunks(TOGETHER * len));
                let inputs = h
                    .chunks(TOGETHER * input)
                    .zip(gh.chunks_mut(TOGETHER * input));
                for (i, ((t, gt), (h, gh))) in products.zip(inputs).enumerate() {
                    let together = h.len() / input;
                    let some = &mut some[..row * together];
                    for (j, out) in some.chunks_exact_mut(row).enumerate() {
                        let share = pull[i * TOGETHER + j] / d.orders() as f64;
                        let (t, gt) = (&t[j * len..][..len], &gt[j * len..][..len]);
                        let norm = (norm[d.l], T::from_f64(share));
                        through_norm(plan, d, run, norm, t, gt, out);
                    }
                    contract(plan, d, run, together, h, some, gh);
                }
            }
        }
        let rows = gh.chunks_exact(plan.padded());
        for (gx, gh) in gx.chunks_exact_mut(plan.channels).zip(rows) {
            gx.copy_from_slice(&gh[..plan.channels]);
        }
    });
}

/// `grad / n` of one degree.
fn divide_by_norm<T: Real>(plan: &Plan, d: &Degree, saved: &Saved<T>, gout: &mut [T]) {
    let grads = saved
        .grad
        .chunks_exact(plan.output.dim())
        .zip(saved.inverses);
    for (gout, (grad, &inverse)) in gout.chunks_exact_mut(plan.out_len(d)).zip(grads) {
        let inverse = T::from_f64(inverse);
        for (out, &g) in gout.iter_mut().zip(&grad[plan.out_range(d)]) {
            *out = g * inverse;
        }
    }
}

/// `q / n^2` per sample.
fn norm_pull<T: Real>(plan: &Plan, saved: &Saved<T>, sums: &[T]) -> [f64; BLOCK] {
    let (di, dout, co) = (plan.input.dim(), plan.output.dim(), plan.out_channels);
    let bias = plan.split(saved.parameters).norm[plan.degrees.len()].to_f64();
    let samples = saved
        .out
        .chunks_exact(dout)
        .zip(saved.grad.chunks_exact(dout));
    let mut pull = [0f64; BLOCK];
    for (i, ((out, grad), x)) in samples.zip(saved.x.chunks_exact(di)).enumerate() {
        let skipped = plan
            .common()
            .map(|c| dot(&grad[c.output..][..c.len], &x[c.input..][..c.len]));
        let q = dot(out, grad) - bias * dot(sums, &grad[..co]) - skipped.sum::<f64>();
        pull[i] = q * saved.inverses[i] * saved.inverses[i];
    }
    pull
}

/// `u = t^T gout`, added or not, and `gt = gout W^T` for one run of a degree.
#[allow(clippy::too_many_arguments)]
fn unmap<T: Real>(
    plan: &Plan,
    d: &Degree,
    run: &Range<usize>,
    t: &[T],
    transposed: &[T],
    gout: &[T],
    gt: &mut [T],
    (u, add): (&mut [T], bool),
) {
    let (co, stride) = (plan.out_channels, plan.stride(run));
    let weights = plan.run_weights(d, run);
    let (len, samples) = (weights.len() / co, gout.len() / co);
    let first = d.weights + (weights.start - d.weights) / co;
    let all = d.pairs * plan.channels;
    let (t, gout) = (Matrix::turned(t, stride), Matrix::rows(gout, co));
    MatrixMut::rows(u, co).write([len, co, samples], t, gout, add);
    let w = Matrix::rows(&transposed[first..], all);
    MatrixMut::rows(gt, stride).set([samples, len, co], gout, w);
}
