//! The rings in which shares live, Z_{2^32} and Z_{2^64}, and their words.

use std::fmt::{self, Debug};

/// The ring Z_{2^w} of a consortium's shares (the protocol, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// Z_{2^32}: four bytes a coordinate, as much as the plain model. The default.
    U32,
    /// Z_{2^64}: eight bytes a coordinate, for large consortia, wide ranges, or very unequal
    /// example counts.
    U64,
}

/// Fixed-point numbers that suit a ring when nobody knows better (the protocol, section 3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Clipping bound C of one coordinate of an update.
    pub clip: f32,
    /// Fraction bits f.
    pub fraction_bits: u32,
    /// Largest number of nodes N_max in one sum.
    pub nodes_max: u32,
}

impl Ring {
    /// Length of a word, in bytes.
    pub const fn word_bytes(self) -> usize {
        match self {
            Self::U32 => size_of::<u32>(),
            Self::U64 => size_of::<u64>(),
        }
    }

    /// The largest signed value of a word, 2^(w−1) − 1.
    pub const fn signed_max(self) -> u64 {
        match self {
            Self::U32 => i32::MAX.unsigned_abs() as u64,
            Self::U64 => i64::MAX.unsigned_abs(),
        }
    }

    /// The protocol's default numbers for this ring.
    pub const fn defaults(self) -> Defaults {
        match self {
            Self::U32 => Defaults {
                clip: 1.0,
                fraction_bits: 23,
                nodes_max: 128,
            },
            Self::U64 => Defaults {
                clip: 128.0,
                fraction_bits: 32,
                nodes_max: 65_536,
            },
        }
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U32 => "u32",
            Self::U64 => "u64",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// One element of a [`Ring`]: `u32` or `u64`. Signed values are two's complement.
pub trait Word: sealed::Sealed + Copy + Debug + Default + Eq + Send + Sync + 'static {
    /// The ring of which this is an element.
    const RING: Ring;
    /// Length in bytes.
    const BYTES: usize;
    /// Number of 32-bit keystream words that one element of a share takes.
    const KEYSTREAM_WORDS: usize = Self::BYTES / 4;
    /// The little-endian encoding.
    type Bytes: AsRef<[u8]> + AsMut<[u8]> + Copy + Default;

    /// Addition in the ring.
    #[must_use]
    fn wrapping_add(self, other: Self) -> Self;
    /// Subtraction in the ring.
    #[must_use]
    fn wrapping_sub(self, other: Self) -> Self;
    /// The element made of `low` and `high`, two consecutive keystream words; a `u32` is `low`
    /// alone.
    #[must_use]
    fn from_keystream(low: u32, high: u32) -> Self;
    /// The low w bits of a signed value.
    #[must_use]
    fn from_signed(value: i64) -> Self;
    /// The value as a signed integer.
    #[must_use]
    fn to_signed(self) -> i64;
    /// The signed value times `factor`, exact, then rounded once to the nearest `f32`, ties to
    /// even.
    #[must_use]
    fn times_rounded(self, factor: u32) -> f32;
    /// Decodes the little-endian form.
    #[must_use]
    fn from_le_bytes(bytes: Self::Bytes) -> Self;
    /// Encodes the little-endian form.
    #[must_use]
    fn to_le_bytes(self) -> Self::Bytes;

    /// The word that stands in `bytes`, little-endian.
    ///
    /// # Panics
    ///
    /// If `bytes` has another length than a word.
    #[must_use]
    #[inline(always)]
    fn read(bytes: &[u8]) -> Self {
        let mut le = Self::Bytes::default();
        le.as_mut().copy_from_slice(bytes);
        Self::from_le_bytes(le)
    }

    /// Writes the word into `bytes`, little-endian.
    ///
    /// # Panics
    ///
    /// If `bytes` has another length than a word.
    #[inline(always)]
    fn write(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(self.to_le_bytes().as_ref());
    }
}

impl Word for u32 {
    const RING: Ring = Ring::U32;
    const BYTES: usize = 4;
    type Bytes = [u8; 4];

    #[inline(always)]
    fn wrapping_add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn wrapping_sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn from_keystream(low: u32, _high: u32) -> Self {
        low
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "reduction modulo 2^32")]
    fn from_signed(value: i64) -> Self {
        value as u32
    }

    #[inline(always)]
    fn to_signed(self) -> i64 {
        i64::from(self.cast_signed())
    }

    #[inline(always)]
    fn times_rounded(self, factor: u32) -> f32 {
        // |value| ≤ 2^31 and factor < 2^32, so the product fits.
        (self.to_signed() * i64::from(factor)) as f32
    }

    #[inline(always)]
    fn from_le_bytes(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn to_le_bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

impl Word for u64 {
    const RING: Ring = Ring::U64;
    const BYTES: usize = 8;
    type Bytes = [u8; 8];

    #[inline(always)]
    fn wrapping_add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn wrapping_sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn from_keystream(low: u32, high: u32) -> Self {
        u64::from(high) << 32 | u64::from(low)
    }

    #[inline(always)]
    fn from_signed(value: i64) -> Self {
        value.cast_unsigned()
    }

    #[inline(always)]
    fn to_signed(self) -> i64 {
        self.cast_signed()
    }

    #[inline(always)]
    fn times_rounded(self, factor: u32) -> f32 {
        // In halves of the product, because processors have no vectors of 128 bits, and no
        // conversion of them.
        let (value, factor) = (self.to_signed(), u64::from(factor));
        let magnitude = value.unsigned_abs();
        let low = (magnitude & u64::from(u32::MAX)) * factor;
        let high = (magnitude >> 32) * factor + (low >> 32);
        let low = low & u64::from(u32::MAX);
        // What is below a high half of 33 bits and more decides between two `f32` only by being
        // there or not.
        let (kept, unit) = match high >> 32 {
            0 => (high << 32 | low, 1.0),
            _ => (high | u64::from(low != 0), 2_f32.powi(32)),
        };
        let rounded = kept as f32 * unit;
        if value < 0 { 0.0 - rounded } else { rounded }
    }

    #[inline(always)]
    fn from_le_bytes(bytes: [u8; 8]) -> Self {
        Self::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn to_le_bytes(self) -> [u8; 8] {
        self.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signed_values_survive_both_rings() {
        for value in [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)] {
            assert_eq!(<u32 as Word>::from_signed(value).to_signed(), value);
            assert_eq!(<u64 as Word>::from_signed(value).to_signed(), value);
        }
        assert_ne!(<u32 as Word>::from_signed(1 << 32).to_signed(), 1 << 32);
    }

    #[test]
    fn keystream_words_are_little_endian() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        let (low, high) = (0x0403_0201, 0x0807_0605);
        assert_eq!(
            <u32 as Word>::from_keystream(low, high),
            u32::from_le_bytes([1, 2, 3, 4])
        );
        assert_eq!(
            <u64 as Word>::from_keystream(low, high),
            u64::from_le_bytes(bytes)
        );
    }

    #[test]
    fn products_round_once_and_to_even() {
        // 2^24 + 1 is a tie between 2^24 and 2^24 + 2; the even mantissa wins.
        assert_eq!(((1_u32 << 24) + 1).times_rounded(1), 16_777_216.0);
        assert_eq!(((1_u32 << 24) + 3).times_rounded(1), 16_777_220.0);
        assert_eq!(
            <u32 as Word>::from_signed(i64::from(i32::MIN)).times_rounded(u32::MAX),
            -(2_f32.powi(63))
        );
        assert_eq!(
            <u64 as Word>::from_signed(i64::MIN).times_rounded(1 << 31),
            -(2_f32.powi(94))
        );
        assert_eq!(<u64 as Word>::from_signed(-1).times_rounded(0).to_bits(), 0);
    }

    proptest! {
        #[test]
        fn wide_products_are_rounded_as_one_number(
            value in any::<i64>(),
            small in 0_u32..64,
            factor in any::<u32>(),
            ending in 0_u32..64,
        ) {
            // Of every length, and often with many zeros at the end, where ties are.
            let factors = [factor, factor >> (ending / 2), factor << (ending / 2), u32::MAX, 1 << 31];
            for value in [value, value >> small, value >> small << (ending % 32)] {
                for factor in factors {
                    let exact = i128::from(value) * i128::from(factor);
                    let rounded = value.cast_unsigned().times_rounded(factor);
                    prop_assert_eq!(rounded.to_bits(), (exact as f32).to_bits());
                }
            }
        }
    }
}
