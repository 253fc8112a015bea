//! Sums of real numbers ≥ 0, as whole numbers that add up exactly.

use fl_shaders::DIGIT_BITS;

/// Digits of a number, the lowest first. So are they in a header, where each is a counter, since a
/// word of the ring has no room for the whole.
pub(super) const DIGITS: u32 = 4;

/// Units in 1: a sum is counted in steps of 2⁻²⁰.
const UNITS: f64 = (1_u64 << 20) as f64;

/// Returns the digits of a sum. One that is not finite, or too large, is the largest; one below 0
/// is 0.
pub(super) fn digits(sum: f64) -> [u64; DIGITS as usize] {
    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    let units = match sum.is_nan() {
        true => u64::MAX,
        false => (sum * UNITS).round() as u64,
    };
    let mask = (1 << DIGIT_BITS) - 1;
    std::array::from_fn(|digit| units >> (digit * DIGIT_BITS as usize) & mask)
}

/// Reads the digits of a sum, or sums of the digits of several.
pub(super) fn read(tallies: &mut impl Iterator<Item = u64>) -> f64 {
    let digits = tallies.by_ref().take(DIGITS as usize);
    let units: u128 = (0..)
        .zip(digits)
        .map(|(digit, value)| u128::from(value) << (digit * DIGIT_BITS))
        .sum();
    units as f64 / UNITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(digits: [u64; 4]) -> f64 {
        read(&mut digits.into_iter())
    }

    #[test]
    fn sums_come_back_to_the_millionth_and_add_up() {
        for sum in [0.0, 1e-6, 0.662, 1.0, 41.375, 65_535.999, 1e9, 1.7e13] {
            assert!((back(digits(sum)) - sum).abs() <= 1e-6, "{sum}");
        }
        let (a, b) = (digits(99.95), digits(0.1));
        let both = std::array::from_fn(|digit| a[digit] + b[digit]);
        assert!((back(both) - 100.05).abs() <= 1e-6);
    }

    #[test]
    fn what_has_no_room_is_the_largest() {
        let largest = [(1 << DIGIT_BITS) - 1; 4];
        for sum in [f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(digits(sum), largest);
        }
        for sum in [-1.0, f64::NEG_INFINITY, -0.0] {
            assert_eq!(digits(sum), [0; 4]);
        }
    }
}
