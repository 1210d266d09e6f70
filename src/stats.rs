//! Mean, standard deviation and median of a few numbers.

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

/// The median, the upper one of an even number of values; `None` of no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
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
}
