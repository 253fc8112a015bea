//! Shares with their intervals.

use serde::Serialize;

/// The quantile of the normal distribution for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// A share with its interval of 95 % by Wilson's formula
/// (<https://doi.org/10.1080/01621459.1927.10502953>).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The share, 0 to 1.
    pub value: f64,
    /// The least plausible one.
    pub low: f64,
    /// The most plausible one.
    pub high: f64,
}

impl Share {
    /// Returns the share of `part` in `whole`, unless that is nothing.
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        let (n, value) = (whole as f64, part as f64 / whole as f64);
        let middle = value + Z * Z / (2.0 * n);
        let half = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Some(Self {
            value,
            low: ((middle - half) / scale).max(0.0),
            high: ((middle + half) / scale).min(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_statsmodels() {
        // proportion_confint(k, n, method="wilson") of statsmodels 0.15.
        for (part, whole, low, high) in [
            (2, 4, 0.150_039, 0.849_961),
            (0, 10, 0.0, 0.277_533),
            (10, 10, 0.722_467, 1.0),
        ] {
            let share = Share::of(part, whole).unwrap();
            assert!((share.low - low).abs() < 1e-6, "{share:?}");
            assert!((share.high - high).abs() < 1e-6, "{share:?}");
        }
        assert_eq!(Share::of(0, 0), None);
    }
}
