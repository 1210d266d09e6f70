//! Mean, standard deviation and median of a few numbers; correlations; areas under curves.

/// The mean; NaN of no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation of a sample, with n − 1; 0 of one value or none.
pub fn sample_deviation(values: &[f64]) -> f64 {
    (squares(values) / (values.len() as f64 - 1.0).max(1.0)).sqrt()
}

/// The standard deviation of a whole population, with n; NaN of no values.
pub fn population_deviation(values: &[f64]) -> f64 {
    (squares(values) / values.len() as f64).sqrt()
}

/// Sum of squared distances from the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum()
}

/// Brings the columns of rows `width` long to mean 0 and standard deviation 1 in `train`, those that are
/// constant there to 0, and the columns of `test` alike.
pub fn standardise(train: &mut [f64], test: &mut [f64], width: usize) {
    for feature in 0..width {
        let column: Vec<f64> = train.iter().skip(feature).step_by(width).copied().collect();
        let mean = mean(&column);
        let scale = match population_deviation(&column) {
            deviation if deviation > 0.0 => deviation,
            _ => 1.0,
        };
        for part in [&mut *train, &mut *test] {
            let column = part.iter_mut().skip(feature).step_by(width);
            column.for_each(|value| *value = (*value - mean) / scale);
        }
    }
}

/// The median, the upper one of an even number of values; `None` of no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Pearson's correlation; `None` if either side is constant.
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    // What rounding leaves of a constant is not a spread.
    let tiny = |spread: f64, mean: f64| spread <= n * (1e-12 * (1.0 + mean.abs())).powi(2);
    match tiny(aa, mean_a) || tiny(bb, mean_b) {
        true => None,
        false => Some((ab / (aa * bb).sqrt()).clamp(-1.0, 1.0)),
    }
}

/// Ranks from 1; equal values share the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    for tie in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let first = ranks_before(&order, tie);
        let mean = first as f64 + (tie.len() as f64 + 1.0) / 2.0;
        tie.iter().for_each(|&i| ranks[i] = mean);
    }
    ranks
}

/// How many entries of `order` lie before its part `tie`.
fn ranks_before(order: &[usize], tie: &[usize]) -> usize {
    (tie.as_ptr() as usize - order.as_ptr() as usize) / size_of::<usize>()
}

/// Probability that a positive sample scores above a negative one, ties counting half; `None`
/// without samples of both kinds.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Sum of the positives' ranks, ties sharing their mean rank.
    let (mut sum, mut from) = (0.0, 0);
    while from < order.len() {
        let same = |i: &&usize| scores[**i] == scores[order[from]];
        let count = order[from..].iter().take_while(same).count();
        let rank = from as f64 + (count as f64 + 1.0) / 2.0;
        let tied = &order[from..from + count];
        sum += rank * tied.iter().filter(|&&i| positive[i]).count() as f64;
        from += count;
    }
    let p = positives as f64;
    Some((sum - p * (p + 1.0) / 2.0) / (p * negatives as f64))
}

/// Average precision: the mean over positive samples of the share of positive ones among those that
/// score as high or higher; `None` without samples of both kinds.
pub fn auprc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = positive.iter().filter(|p| **p).count();
    if positives == 0 || positives == positive.len() {
        return None;
    }
    let (mut seen, mut found, mut sum) = (0, 0, 0.0);
    for tie in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = tie.iter().filter(|&&i| positive[i]).count();
        seen += tie.len();
        found += hits;
        sum += hits as f64 * found as f64 / seen as f64;
    }
    Some(sum / positives as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let values = [2.0, 4.0, 9.0];
        assert_eq!(mean(&values), 5.0);
        assert_eq!(sample_deviation(&values), 13f64.sqrt());
        assert_eq!(population_deviation(&values), (26.0f64 / 3.0).sqrt());
        assert_eq!(sample_deviation(&[7.0]), 0.0);
        assert_eq!(median([9.0, 2.0, 4.0]), Some(4.0));
        assert_eq!(median([9.0, 2.0, 4.0, 1.0]), Some(4.0));
        assert_eq!(median([]), None);
        assert!(mean(&[]).is_nan());
        assert_eq!(sample_deviation(&[]), 0.0);
    }

    #[test]
    fn area_counts_ordered_pairs() {
        let positive = [false, true, false, true];
        assert_eq!(auroc(&[0.1, 0.4, 0.35, 0.8], &positive), Some(1.0));
        assert_eq!(auroc(&[0.1, 0.3, 0.35, 0.8], &positive), Some(0.75));
        assert_eq!(auroc(&[0.5; 4], &positive), Some(0.5));
        assert_eq!(auroc(&[0.1, 0.2], &[true, true]), None);
    }

    #[test]
    fn precision_is_averaged_over_positives() {
        let positive = [true, false, true, false];
        assert_eq!(
            auprc(&[0.9, 0.8, 0.7, 0.1], &positive),
            Some((1.0 + 2.0 / 3.0) / 2.0)
        );
        assert_eq!(auprc(&[0.5; 4], &positive), Some(0.5));
        assert_eq!(auprc(&[0.1, 0.2], &[true, true]), None);
    }
}
