//! The two scale factors of fixed point, as a 32-bit mantissa and a power of two.
//!
//! The host computes them once a round with exact integer division; the kernels then need nothing
//! but integer products and shifts, which every device does alike.

use crate::FixedPoint;

/// Bits of an `f32` without its sign.
const MAGNITUDE_MASK: u32 = 0x7fff_ffff;

/// What turns an update into fixed point: the factor `(n_i / n_max) · 2^f`, and the clipping bound.
///
/// The factor is `mantissa · 2^−shift`, rounded down, so an encoded coordinate never exceeds B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputScale {
    /// In [2^31, 2^32).
    pub mantissa: u32,
    /// `31 − 63 ≤ shift ≤ 63`.
    pub shift: i32,
    /// C as the bits of an `f32`; without signs, bits order like the numbers that they stand for.
    pub clip_bits: u32,
}

/// What turns a sum into the mean: the factor `2^−f · n_max / Σn`.
///
/// The factor is `mantissa · 2^−shift`, rounded down: a relative error below 2^−31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanScale {
    /// In [2^31, 2^32).
    pub mantissa: u32,
    /// `0 ≤ shift ≤ 127`.
    pub shift: u32,
}

/// Why no scale factor exists for a number of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// One node's examples are zero, or above n_max.
    #[error(
        "{examples} training examples; a node must have between 1 and examples_max = {examples_max}"
    )]
    Examples {
        /// n_i.
        examples: u64,
        /// n_max.
        examples_max: u32,
    },
    /// The examples of a sum are zero, or above `N_max · n_max`.
    #[error("{total_examples} training examples in the sum; it must be between 1 and {limit}")]
    TotalExamples {
        /// Σn.
        total_examples: u64,
        /// `N_max · n_max`.
        limit: u64,
    },
}

impl InputScale {
    /// The scale of a node with `examples` = n_i training examples.
    ///
    /// # Errors
    ///
    /// [`ScaleError::Examples`] unless `1 ≤ examples ≤ n_max`.
    pub fn new(plan: &FixedPoint, examples: u64) -> Result<Self, ScaleError> {
        let examples_max = plan.examples_max();
        if !(1..=u64::from(examples_max)).contains(&examples) {
            return Err(ScaleError::Examples {
                examples,
                examples_max,
            });
        }
        let (mantissa, weight_shift) = ratio(examples, u64::from(examples_max));
        Ok(Self {
            mantissa,
            shift: weight_shift - plan.fraction_bits().cast_signed(),
            clip_bits: plan.clip().to_bits() & MAGNITUDE_MASK,
        })
    }
}

impl MeanScale {
    /// The scale of a sum over `total_examples` = Σn training examples.
    ///
    /// # Errors
    ///
    /// [`ScaleError::TotalExamples`] unless `1 ≤ total_examples ≤ N_max · n_max`.
    pub fn new(plan: &FixedPoint, total_examples: u64) -> Result<Self, ScaleError> {
        let limit = u64::from(plan.nodes_max()) * u64::from(plan.examples_max());
        if !(1..=limit).contains(&total_examples) {
            return Err(ScaleError::TotalExamples {
                total_examples,
                limit,
            });
        }
        let (mantissa, ratio_shift) = ratio(u64::from(plan.examples_max()), total_examples);
        // n_max < 2^32, so the ratio is below 2^32 and its shift is not negative.
        Ok(Self {
            mantissa,
            shift: ratio_shift.unsigned_abs() + plan.fraction_bits(),
        })
    }
}

/// `numerator / denominator` as `mantissa · 2^−shift`, rounded down, with the mantissa in [2^31,
/// 2^32).
///
/// For 0 < numerator < 2^32 and denominator > 0 the shift lies in 0..=95.
fn ratio(numerator: u64, denominator: u64) -> (u32, i32) {
    // 95 places are enough for 32 significant bits of the smallest ratio, 2^−64.
    let quotient = (u128::from(numerator) << 95) / u128::from(denominator);
    let surplus = 96 - quotient.leading_zeros().cast_signed();
    #[expect(clippy::cast_possible_truncation, reason = "the shift leaves 32 bits")]
    let mantissa = (quotient >> surplus) as u32;
    (mantissa, 95 - surplus)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Parameters, Ring};

    fn format(examples_max: u32) -> FixedPoint {
        FixedPoint::new(Parameters {
            ring: Ring::U64,
            clip: 1.0,
            fraction_bits: 20,
            nodes_max: 10,
            examples_max,
            tallies: 0,
        })
        .unwrap()
    }

    #[test]
    fn full_weight_is_a_power_of_two() {
        let clip_bits = 1_f32.to_bits();
        let scale = InputScale::new(&format(1_000), 1_000).unwrap();
        assert_eq!(
            scale,
            InputScale {
                mantissa: 1 << 31,
                shift: 11,
                clip_bits
            }
        );
        let scale = MeanScale::new(&format(1_000), 1_000).unwrap();
        assert_eq!(
            scale,
            MeanScale {
                mantissa: 1 << 31,
                shift: 51
            }
        );
    }

    #[test]
    fn example_counts_out_of_range_are_refused() {
        for examples in [0, 1_001] {
            let error = ScaleError::Examples {
                examples,
                examples_max: 1_000,
            };
            assert_eq!(InputScale::new(&format(1_000), examples), Err(error));
        }
        for total_examples in [0, 10_001] {
            let error = ScaleError::TotalExamples {
                total_examples,
                limit: 10_000,
            };
            assert_eq!(MeanScale::new(&format(1_000), total_examples), Err(error));
        }
    }

    proptest! {
        #[test]
        fn a_ratio_is_normalised_and_rounded_down(
            numerator in 1..=u64::from(u32::MAX),
            denominator in prop_oneof![1_u64..1 << 20, 1..=u64::MAX],
        ) {
            let (mantissa, shift) = ratio(numerator, denominator);
            prop_assert!(mantissa >= 1 << 31);
            prop_assert!((0..=95).contains(&shift));
            // mantissa ≤ numerator · 2^shift / denominator < mantissa + 1
            let scaled = (u128::from(numerator) << shift) / u128::from(denominator);
            prop_assert_eq!(scaled, u128::from(mantissa));
        }
    }
}
