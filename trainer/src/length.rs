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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_plain_sum_whatever_the_number_of_values() {
        for count in [0, 1, 7, 8, 9, 64, 1003] {
            let one: Vec<f32> = (0..count).map(|k| k as f32 - 3.5).collect();
            let squares = one.iter().map(|value| f64::from(*value).powi(2));
            let expected = squares.sum::<f64>().sqrt();
            assert!((length(&one) - expected).abs() <= 1e-12 * expected);
        }
        assert!(length(&[f32::MAX; 9]).is_finite());
        assert!(length(&[f32::NAN; 9]).is_nan());
    }
}
