//! Turns a sum of encoded updates into the mean update.
//!
//! `mean = X · S · 2^−k` with the 32-bit mantissa S and shift k of a [`MeanScale`]. The product is exact and rounded
//! once, to the nearest `f32`, ties to even; a result below the smallest normal `f32` is 0. The protocol's "f64 in a
//! fixed order" is thereby replaced by integers, so that CPUs and GPUs agree on every bit of the next model.

use crate::{MeanScale, Word};

/// Bits of the fraction field of an `f32`.
const FRACTION_FIELD_BITS: u32 = 23;
/// Largest value of the exponent field of an `f32`.
const EXPONENT_FIELD: u32 = 0xff;

/// Writes the mean update that `sum` stands for, coordinate by coordinate, in the unit of the update.
///
/// # Panics
///
/// If `sum` and `mean` differ in length.
pub fn dequantize<W: Word>(sum: &[W], scale: MeanScale, mean: &mut [f32]) {
    assert_eq!(sum.len(), mean.len(), "one mean a coordinate");
    for (mean, word) in mean.iter_mut().zip(sum) {
        *mean = divided(word.times_rounded(scale.mantissa), scale.shift);
    }
}

/// `value · 2^−shift` for a `value` that is 0 or at least 1 in magnitude.
fn divided(value: f32, shift: u32) -> f32 {
    let bits = value.to_bits();
    let exponent = bits >> FRACTION_FIELD_BITS & EXPONENT_FIELD;
    if exponent <= shift {
        return 0.0;
    }
    f32::from_bits(bits - (shift << FRACTION_FIELD_BITS))
}
