//! How long an update is, in the L2 norm.

use std::iter::zip;

/// Sums that are made side by side, since each addition waits for the one before.
const LANES: usize = 8;

/// Returns the L2 norm of these values.
pub(crate) fn length(values: &[f32]) -> f64 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in whole {
        for (sum, value) in zip(&mut sums, chunk) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let rest = rest.iter().map(|value| f64::from(*value).powi(2));
    (sums.iter().sum::<f64>() + rest.sum::<f64>()).sqrt()
}

/// Returns the L2 norm of the difference between two models of one layout.
pub(crate) fn distance(one: &[f32], other: &[f32]) -> f64 {
    let (ones, rest_of_one) = one.as_chunks::<LANES>();
    let (others, rest_of_other) = other.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (one, other) in zip(ones, others) {
        for (sum, (one, other)) in zip(&mut sums, zip(one, other)) {
            let apart = f64::from(*one) - f64::from(*other);
            *sum += apart * apart;
        }
    }
    let apart =
        zip(rest_of_one, rest_of_other).map(|(one, other)| f64::from(*one) - f64::from(*other));
    (sums.iter().sum::<f64>() + apart.map(|apart| apart * apart).sum::<f64>()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_plain_sum_whatever_the_number_of_values() {
        for count in [0, 1, 7, 8, 9, 64, 1003] {
            let one: Vec<f32> = (0..count).map(|k| k as f32 - 3.5).collect();
            let other: Vec<f32> = (0..count).map(|k| (k % 5) as f32).collect();
            let plain = |values: &mut dyn Iterator<Item = f64>| {
                values.map(|value| value * value).sum::<f64>().sqrt()
            };
            let expected = plain(&mut one.iter().copied().map(f64::from));
            assert!((length(&one) - expected).abs() <= 1e-12 * expected);
            let apart = zip(&one, &other).map(|(one, other)| f64::from(one - other));
            let expected = plain(&mut apart.into_iter());
            assert!((distance(&one, &other) - expected).abs() <= 1e-12 * expected);
        }
        assert!(length(&[f32::MAX; 9]).is_finite());
        assert!(length(&[f32::NAN; 9]).is_nan());
    }
}
