//! Encodes an update as fixed point, with stochastic rounding (the protocol, section 3).
//!
//! The kernel reads the *bits* of each `f32` and uses integers only:
//!
//! 1. A magnitude above C becomes C, and is counted.
//! 2. With the 24-bit mantissa m and exponent E of the magnitude, `|u| = m · 2^E`, and the scale's mantissa W, the exact
//!    product `P = m · W` has at most 56 bits; the encoded magnitude is `P · 2^−s` with `s = shift − E ≥ 1`.
//! 3. The integer part is `P >> s`. The top 32 bits of the fraction, plus a random 32-bit word, carry into it: it is
//!    rounded up with a probability equal to the fraction.
//! 4. The sign is applied in two's complement.

use super::chacha20;
use crate::{InputScale, Word};

const FRACTION_FIELD_BITS: u32 = 23;
const FRACTION_FIELD: u32 = (1 << FRACTION_FIELD_BITS) - 1;
const INFINITY_BITS: u32 = 0x7f80_0000;
/// The exponent field e of a normal number stands for a mantissa times 2^(e − 150).
const EXPONENT_BIAS: i32 = 150;

/// What [`quantize`] met on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantized {
    /// Number of coordinates that were clipped to ±C.
    pub clipped: u64,
    /// The first coordinate that is NaN or infinite, if any. The output is then unusable.
    pub non_finite: Option<u64>,
}

/// Encodes `update`, whose first element is coordinate `first_coordinate` of the whole, into `encoded`.
///
/// Coordinate e is rounded with keystream word e of `rounding_key`, which must be private and fresh. A coordinate that
/// is NaN or infinite is reported and encoded as 0.
///
/// # Panics
///
/// If `update` and `encoded` differ in length.
pub fn quantize<W: Word>(
    update: &[f32],
    first_coordinate: u64,
    scale: &InputScale,
    rounding_key: &[u8; 32],
    encoded: &mut [W],
) -> Quantized {
    assert_eq!(update.len(), encoded.len(), "one word a coordinate");
    let mut met = Quantized::default();
    let random = chacha20::words(rounding_key, first_coordinate);
    for (((coordinate, u), random), encoded) in
        (first_coordinate..).zip(update).zip(random).zip(encoded)
    {
        let negative = u.is_sign_negative();
        let mut bits = u.abs().to_bits();
        if bits >= INFINITY_BITS {
            met.non_finite.get_or_insert(coordinate);
            bits = 0;
        }
        if bits > scale.clip_bits {
            met.clipped += 1;
            bits = scale.clip_bits;
        }
        let magnitude = magnitude(bits, scale, random);
        *encoded = W::from_signed(if negative { -magnitude } else { magnitude });
    }
    met
}

/// The magnitude with the given bits, scaled and rounded; at most B < 2^48.
fn magnitude(bits: u32, scale: &InputScale, random: u32) -> i64 {
    let field = (bits >> FRACTION_FIELD_BITS).cast_signed();
    let fraction = bits & FRACTION_FIELD;
    // A subnormal number has the exponent of field 1 and no implicit bit.
    let mantissa = if field == 0 {
        fraction
    } else {
        fraction | 1 << FRACTION_FIELD_BITS
    };
    let exponent = field.max(1) - EXPONENT_BIAS;

    let product = u64::from(mantissa) * u64::from(scale.mantissa);
    let shift = (scale.shift - exponent).unsigned_abs();
    let integer = product.checked_shr(shift).unwrap_or(0);
    let remainder = product - integer.checked_shl(shift).unwrap_or(0);
    let fraction = if shift <= 32 {
        remainder << (32 - shift)
    } else {
        remainder.checked_shr(shift - 32).unwrap_or(0)
    };
    let carry = (fraction + u64::from(random)) >> 32;
    (integer + carry).cast_signed()
}
