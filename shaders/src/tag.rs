//! Tags, by which a sum that was opened is known to be the sum that was agreed on (the protocol,
//! section 8).
//!
//! A tag is an element of the field Z_p with p = 2^61 − 1, twice, with independent randomness. It
//! is linear in the vector that it belongs to: the tags of several vectors add up to the tag of
//! their sum, as long as the sum does not wrap in the ring.

mod beta;

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use zeroize::DefaultIsZeroes;

pub use beta::Beta;

/// The prime p = 2^61 − 1.
const MODULUS: u64 = (1 << MODULUS_BITS) - 1;
const MODULUS_BITS: u32 = 61;
/// Keystream bytes that one element of the field takes.
const ELEMENT_BYTES: usize = 16;

/// Number of vector elements that share one coefficient [`Coefficients::alpha`].
pub const TAG_BLOCK: usize = 1 << 16;

/// Two elements of Z_p, p = 2^61 − 1, each less than p.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag([u64; 2]);

impl DefaultIsZeroes for Tag {}

/// The secret coefficients of a tag: element e of a vector counts `alpha[e / TAG_BLOCK] · beta[e %
/// TAG_BLOCK]` times.
#[derive(Clone, Copy)]
pub struct Coefficients<'a> {
    /// One for each block of [`TAG_BLOCK`] elements.
    pub alpha: &'a [Tag],
    /// One for each element of a block, as many as the longest block has.
    pub beta: &'a Beta,
}

impl Tag {
    /// Keystream bytes that a tag takes.
    pub const KEYSTREAM_BYTES: usize = 2 * ELEMENT_BYTES;

    /// The tag with these values; `None` if one of them is not less than p.
    pub fn new(values: [u64; 2]) -> Option<Self> {
        values
            .iter()
            .all(|value| *value < MODULUS)
            .then_some(Self(values))
    }

    /// Both values.
    pub fn values(self) -> [u64; 2] {
        self.0
    }

    /// The tag of 32 keystream bytes: two little-endian numbers of 16 bytes, modulo p.
    pub fn from_keystream(bytes: [u8; Self::KEYSTREAM_BYTES]) -> Self {
        let (numbers, _) = bytes.as_chunks::<ELEMENT_BYTES>();
        Self([numbers[0], numbers[1]].map(|number| reduce(u128::from_le_bytes(number))))
    }

    /// The tag whose values are congruent to these.
    pub fn from_integers(values: [i128; 2]) -> Self {
        Self(values.map(|value| {
            let magnitude = reduce(value.unsigned_abs());
            match value < 0 {
                true => negate(magnitude),
                false => magnitude,
            }
        }))
    }
}

/// Returns a number modulo p.
fn reduce(value: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^61")]
    let low = |value: u128| value as u64 & MODULUS;
    // 2^61 is 1 modulo p, so the parts add up: to less than 2^63.
    let folded = low(value) + low(value >> MODULUS_BITS) + low(value >> (2 * MODULUS_BITS));
    let folded = (folded & MODULUS) + (folded >> MODULUS_BITS);
    match folded >= MODULUS {
        true => folded - MODULUS,
        false => folded,
    }
}

fn negate(value: u64) -> u64 {
    match value {
        0 => 0,
        value => MODULUS - value,
    }
}

impl Add for Tag {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self([0, 1].map(|i| reduce(u128::from(self.0[i]) + u128::from(other.0[i]))))
    }
}

impl Neg for Tag {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.map(negate))
    }
}

impl Sub for Tag {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Tag {
    type Output = Self;

    /// Each value times the other's of the same place.
    fn mul(self, other: Self) -> Self {
        Self([0, 1].map(|i| reduce(u128::from(self.0[i]) * u128::from(other.0[i]))))
    }
}

impl AddAssign for Tag {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Tag {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Tag {
    fn sum<I: Iterator<Item = Self>>(tags: I) -> Self {
        tags.fold(Self::default(), Self::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_tag() -> impl Strategy<Value = Tag> {
        let value = prop_oneof![0..MODULUS, 0..3_u64, MODULUS - 3..MODULUS];
        [value.clone(), value].prop_map(Tag)
    }

    #[test]
    fn values_are_below_the_modulus() {
        assert_eq!(Tag::new([MODULUS, 0]), None);
        assert_eq!(Tag::new([0, u64::MAX]), None);
        assert!(Tag::new([MODULUS - 1, 0]).is_some());
        assert_eq!(
            Tag::from_keystream([0xff; 32]).values(),
            [u64::try_from(u128::MAX % u128::from(MODULUS)).unwrap(); 2]
        );
    }

    #[test]
    fn extreme_integers_are_reduced() {
        for value in [0, 1, -1, i128::MIN, i128::MAX, MODULUS.into()] {
            let expected = u64::try_from(value.rem_euclid(MODULUS.into())).unwrap();
            assert_eq!(Tag::from_integers([value, 0]).values(), [expected, 0]);
        }
    }

    proptest! {
        #[test]
        fn it_is_a_field(a in any_tag(), b in any_tag(), c in any_tag()) {
            prop_assert_eq!(a + b, b + a);
            prop_assert_eq!(a * b, b * a);
            prop_assert_eq!((a + b) * c, a * c + b * c);
            prop_assert_eq!((a * b) * c, a * (b * c));
            prop_assert_eq!(a - a, Tag::default());
            prop_assert_eq!(a - b + b, a);
        }

        #[test]
        fn integers_map_homomorphically(x in any::<[i64; 2]>(), y in any::<[i64; 2]>()) {
            let tag = |x: [i64; 2]| Tag::from_integers(x.map(i128::from));
            let both = |f: fn(i128, i128) -> i128| {
                Tag::from_integers([0, 1].map(|i| f(x[i].into(), y[i].into())))
            };
            prop_assert_eq!(tag(x) + tag(y), both(|x, y| x + y));
            prop_assert_eq!(tag(x) * tag(y), both(|x, y| x * y));
        }

        #[test]
        fn numbers_are_reduced(number in any::<u128>()) {
            prop_assert_eq!(u128::from(reduce(number)), number % u128::from(MODULUS));
        }
    }
}
