//! Turns a sum of encoded updates into the mean update.
//!
//! `mean = X · S · 2^−k` with the 32-bit mantissa S and shift k of a [`MeanScale`]. The product is
//! exact and rounded once, to the nearest `f32`, ties to even; a result below the smallest normal
//! `f32` is 0. All of it is on integers, so that CPUs and GPUs agree on every bit of the next
//! model.

use crate::{MeanScale, Word};

/// Bits of the fraction field of an `f32`.
const FRACTION_FIELD_BITS: u32 = 23;
/// Largest value of the exponent field of an `f32`.
const EXPONENT_FIELD: u32 = 0xff;

/// Writes the mean update that `sum` stands for, coordinate by coordinate, in the unit of the
/// update.
///
/// # Panics
///
/// If `sum` and `mean` differ in length.
// Inlined, so that a caller can compile it for the instructions that the CPU has.
#[inline(always)]
pub fn dequantize<W: Word>(sum: &[W], scale: MeanScale, mean: &mut [f32]) {
    assert_eq!(sum.len(), mean.len(), "one mean a coordinate");
    for (mean, word) in mean.iter_mut().zip(sum) {
        *mean = divided(word.times_rounded(scale.mantissa), scale.shift);
    }
}

/// `value · 2^−shift` for a `value` that is 0 or at least 1 in magnitude.
#[inline(always)]
fn divided(value: f32, shift: u32) -> f32 {
    let bits = value.to_bits();
    let exponent = bits >> FRACTION_FIELD_BITS & EXPONENT_FIELD;
    if exponent <= shift {
        return 0.0;
    }
    f32::from_bits(bits - (shift << FRACTION_FIELD_BITS))
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "rounding to `f32` is what is tested"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FixedPoint, Parameters, Ring};

    fn scale(ring: Ring, fraction_bits: u32, examples_max: u32, total: u64) -> MeanScale {
        let format = FixedPoint::new(Parameters {
            ring,
            clip: 0.25,
            fraction_bits,
            nodes_max: 64,
            examples_max,
            tallies: 0,
        });
        MeanScale::new(&format.unwrap(), total).unwrap()
    }

    fn mean<W: Word>(value: i64, scale: MeanScale) -> f32 {
        let mut mean = [f32::NAN];
        dequantize(&[W::from_signed(value)], scale, &mut mean);
        mean[0]
    }

    #[test]
    fn powers_of_two_are_exact() {
        for (value, expected) in [
            (0, 0.0),
            (1 << 20, 0.5),
            (-1 << 20, -0.5),
            (3, 3.0 / 2_097_152.0),
        ] {
            assert_eq!(
                mean::<u32>(value, scale(Ring::U32, 20, 1_000, 2_000)),
                expected
            );
            assert_eq!(
                mean::<u64>(value, scale(Ring::U64, 20, 1_000, 2_000)),
                expected
            );
        }
        assert_eq!(
            mean::<u32>(5, scale(Ring::U32, 20, 1_000, 8_000)),
            5.0 / 8_388_608.0
        );
        assert_eq!(mean::<u32>(0, scale(Ring::U32, 20, 7, 5)).to_bits(), 0);
    }

    #[test]
    fn ties_go_to_even() {
        let scale = scale(Ring::U32, 1, 1, 1);
        assert_eq!(mean::<u32>((1 << 24) + 1, scale), 8_388_608.0);
        assert_eq!(mean::<u32>((1 << 24) + 3, scale), 8_388_610.0);
        assert_eq!(mean::<u32>(-(1 << 24) - 3, scale), -8_388_610.0);
    }

    #[test]
    fn what_no_normal_number_holds_is_zero() {
        let scale = |shift| MeanScale {
            mantissa: 1 << 31,
            shift,
        };
        assert_eq!(mean::<u32>(1, scale(127)), 2_f32.powi(-96));
        assert_eq!(mean::<u32>(-1, scale(127)), -(2_f32.powi(-96)));
        assert_eq!(divided(1.0, 126), f32::MIN_POSITIVE);
        assert_eq!(divided(1.0, 127).to_bits(), 0);
        assert_eq!(divided(-1.0, 127).to_bits(), 0);
    }

    /// Distance between two numbers of the same sign, in units of the last place.
    fn ulps(a: f32, b: f32) -> u32 {
        a.to_bits().abs_diff(b.to_bits())
    }

    proptest! {
        #[test]
        fn agrees_with_floating_point(
            value in any::<i32>(),
            high in any::<i64>(),
            fraction_bits in 0_u32..=26,
            examples_max in 1_u32..30_000_000,
            total in 1_u64..1_000_000_000,
        ) {
            let total = 1 + total % (64 * u64::from(examples_max));
            let factor = f64::from(examples_max) / total as f64 / 2_f64.powi(fraction_bits.cast_signed());
            let narrow = mean::<u32>(i64::from(value), scale(Ring::U32, fraction_bits, examples_max, total));
            prop_assert!(ulps(narrow, (f64::from(value) * factor) as f32) <= 1);
            let high = high >> 8;
            let wide = mean::<u64>(high, scale(Ring::U64, fraction_bits, examples_max, total));
            prop_assert!(ulps(wide, (high as f64 * factor) as f32) <= 1);
        }
    }
}
