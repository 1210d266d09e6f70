//! Losses that tell pairs of the same molecule from pairs of different ones. Rows are molecules
//! (or atoms) of a slice, `[B, F]`.

use crate::Result;
use crate::ops::pointwise::{ShiftedSoftplus, values};
use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;
use std::f64::consts::LN_2;
use std::sync::Arc;

/// Rows of length one; a row of zeros stays one.
///
/// # Errors
/// Those of candle.
pub fn unit_rows(x: &Tensor) -> Result<Tensor> {
    let squares = x.sqr()?.sum_keepdim(D::Minus1)?;
    Ok(x.broadcast_div(&(squares + 1e-24)?.sqrt()?)?)
}

/// `log(1 + exp x)` of every element.
///
/// # Errors
/// Those of candle.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((values(&Arc::new(ShiftedSoftplus), x)? + LN_2)?)
}

/// Inner products of rows, `[B]`.
///
/// # Errors
/// Different shapes.
pub fn products(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    Ok((x * y)?.sum(1)?)
}

/// Row `b + k` in the place of row `b`, around the end.
///
/// # Errors
/// Those of candle.
pub fn roll(x: &Tensor, k: usize) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let k = k % rows.max(1);
    match k {
        0 => Ok(x.clone()),
        _ => Ok(Tensor::cat(
            &[x.narrow(0, k, rows - k)?, x.narrow(0, 0, k)?],
            0,
        )?),
    }
}

/// Cross entropies of rows of `logits` `[B, B]` with their own number as class; their mean.
fn diagonal(logits: &Tensor) -> Result<Tensor> {
    let rows = logits.dim(0)?;
    let eye = Tensor::eye(rows, logits.dtype(), logits.device())?;
    let chosen = (log_softmax(logits, D::Minus1)? * eye)?.sum_all()?;
    Ok((chosen * (-1.0 / rows as f64))?)
}

/// InfoNCE (van den Oord et al. 2018) in both directions: `A = X Y^T / T`, half the sum of the
/// cross entropies of rows and of columns with the diagonal.
///
/// # Errors
/// Different shapes.
pub fn info_nce(x: &Tensor, y: &Tensor, temperature: f64) -> Result<Tensor> {
    let logits = (x.matmul(&y.t()?)? / temperature)?;
    let rows = diagonal(&logits)?;
    let columns = diagonal(&logits.t()?.contiguous()?)?;
    Ok(((rows + columns)? * 0.5)?)
}

/// The two parts of EBM-NCE (Liu et al. 2022): means of `softplus(-p)` over pairs of the same row,
/// and of `softplus(n)` over pairs with the rows `negatives` of `y`; nothing for none.
///
/// # Errors
/// Different shapes.
pub fn ebm_nce(
    x: &Tensor,
    y: &Tensor,
    negatives: &[Tensor],
    temperature: f64,
) -> Result<(Tensor, Option<Tensor>)> {
    let score = |y: &Tensor| -> Result<Tensor> { Ok((products(x, y)? / temperature)?) };
    let positive = softplus(&score(y)?.neg()?)?.mean_all()?;
    let mut sum: Option<Tensor> = None;
    for negative in negatives {
        let own = softplus(&score(negative)?)?.mean_all()?;
        sum = Some(match sum {
            Some(sum) => (sum + own)?,
            None => own,
        });
    }
    let mean = sum.map(|sum| sum / negatives.len() as f64).transpose()?;
    Ok((positive, mean))
}

/// The rows of the next `count` molecules around the end; fewer where the slice has not so many
/// others: a molecule is no negative of itself.
///
/// # Errors
/// Those of candle.
pub fn cyclic(y: &Tensor, count: usize) -> Result<Vec<Tensor>> {
    let others = y.dim(0)?.saturating_sub(1);
    (1..=count.min(others)).map(|k| roll(y, k)).collect()
}

/// `-mean_i log(A_ii / (sum_j A_ij - A_ii))` with `A = exp(cos(x_i, y_j) / T)`: the loss of 3D
/// InfoMax, which has the positive not in the denominator. With `whole` it has, as in InfoNCE.
///
/// # Errors
/// Different shapes.
pub fn nt_xent(x: &Tensor, y: &Tensor, temperature: f64, whole: bool) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let logits = (unit_rows(x)?.matmul(&unit_rows(y)?.t()?)? / temperature)?;
    let eye = Tensor::eye(rows, logits.dtype(), logits.device())?;
    let own = (&logits * &eye)?.sum(1)?;
    let others = match whole {
        true => logits,
        // Far below what cosines can be.
        false => (logits - (eye * (1e4 / temperature))?)?,
    };
    let largest = others.max_keepdim(1)?.detach();
    let sum = others.broadcast_sub(&largest)?.exp()?.sum(1)?;
    let log = (sum.log()? + largest.squeeze(1)?)?;
    Ok((log - own)?.mean_all()?)
}
