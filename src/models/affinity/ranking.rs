//! The loss of ranks: which of two complexes of one group binds better.

use candle_core::{Result, Tensor};

/// Mean over pairs of one group with labels `y_i > y_j` of `ln(1 + exp(p_j - p_i))` (RankNet; Burges
/// et al., ICML 2005): a cross entropy of the pair's order. Zero without such pairs.
///
/// `predicted`, `labels` and `groups` are `[n]`; groups are numbers, equal within a group.
pub fn loss(predicted: &Tensor, labels: &Tensor, groups: &Tensor) -> Result<Tensor> {
    let n = predicted.elem_count();
    let pairs = |x: &Tensor| -> Result<[Tensor; 2]> {
        let square = (n, n);
        Ok([
            x.unsqueeze(1)?.broadcast_as(square)?,
            x.unsqueeze(0)?.broadcast_as(square)?,
        ])
    };
    let [better, worse] = pairs(labels)?;
    let [own, other] = pairs(groups)?;
    let ordered = (better.gt(&worse)? * own.eq(&other)?)?.to_dtype(predicted.dtype())?;
    let count = ordered.sum_all()?;
    let [p, q] = pairs(predicted)?;
    let margin = (p - q)?;
    // The logarithm of 1 + exp(-margin), without an overflow.
    let tail = (margin.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let losses = (margin.neg()?.relu()? + tail)?;
    (losses * ordered)?.sum_all()? / count.maximum(1.0)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn pairs_of_a_group_are_compared() {
        let of = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let labels = of(&[3.0, 1.0, 1.0, 9.0]);
        let groups = of(&[0.0, 0.0, 0.0, 1.0]);
        let value = |predicted: &[f64]| {
            let loss = loss(&of(predicted), &labels, &groups).unwrap();
            loss.to_scalar::<f64>().unwrap()
        };
        let term = |margin: f64| (1.0 + (-margin).exp()).ln();
        let expected = (term(0.5) + term(-1.0)) / 2.0;
        assert!((value(&[1.0, 0.5, 2.0, -7.0]) - expected).abs() < 1e-12);
        assert!((value(&[-1e4, 0.0, 0.0, 0.0]) - 1e4).abs() < 1e-9);
        let alone = loss(&of(&[1.0, 2.0]), &of(&[1.0, 2.0]), &of(&[0.0, 1.0])).unwrap();
        assert_eq!(alone.to_scalar::<f64>().unwrap(), 0.0);
    }
}
