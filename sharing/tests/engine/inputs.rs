//! Inputs, the same in every run.

use std::sync::LazyLock;

use fl_shaders::{Counters, FixedPoint, Ring};
use fl_sharing::{Blinding, EpochKey, Mask, Plan, RoundingKey, Seed, Sign, TagKey};

pub(crate) const CTX: [u8; 32] = [0x11; 32];
/// Longest vector, header included, that [`tag_key`] reaches.
const ELEMENTS_MAX: usize = 6_000_000;
pub(crate) const ROUNDING: [u8; 32] = [0x77; 32];

/// A generator for test inputs; SplitMix64.
pub(crate) struct Mix(pub(crate) u64);

impl Mix {
    /// Any word.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Finite numbers of every exponent, with many zeros, subnormals and values around the clip.
    pub(crate) fn update(&mut self, len: usize) -> Vec<f32> {
        let coordinate = || {
            let word = self.next();
            let bits = (word >> 32) as u32;
            match word % 8 {
                0 => f32::from_bits(bits & 0x8000_0000),
                1 => f32::from_bits(bits & 0x807f_ffff),
                2 => f32::from_bits(bits & 0x80ff_ffff | 0x3f00_0000),
                3 => Some(f32::from_bits(bits))
                    .filter(|u| u.is_finite())
                    .unwrap_or(f32::MAX),
                _ => f32::from_bits(bits & 0x83ff_ffff | 0x3c00_0000),
            }
        };
        std::iter::repeat_with(coordinate).take(len).collect()
    }

    pub(crate) fn masks(&mut self, len: usize) -> Vec<Mask> {
        let mask = || {
            let seed = Seed::from_bytes(std::array::from_fn(|_| self.next() as u8));
            let sign = if self.next().is_multiple_of(2) {
                Sign::Plus
            } else {
                Sign::Minus
            };
            Mask {
                key: seed.expand(&CTX),
                sign,
            }
        };
        std::iter::repeat_with(mask).take(len).collect()
    }
}

/// Tallies of the tests' formats.
pub(crate) const TALLIES: u32 = 3;

pub(crate) fn format(ring: Ring) -> FixedPoint {
    Plan::new(ring, 3, 1_000, TALLIES).unwrap().format
}

pub(crate) fn counters(examples: u64) -> Counters {
    Counters {
        examples,
        clipped: 0,
        tallies: vec![50, 20, 31],
    }
}

pub(crate) fn tag_key() -> &'static TagKey {
    static KEY: LazyLock<TagKey> =
        LazyLock::new(|| EpochKey::from_bytes([0x99; 32]).tag_key(&CTX, ELEMENTS_MAX));
    &KEY
}

pub(crate) fn rounding() -> &'static RoundingKey {
    static KEY: LazyLock<RoundingKey> = LazyLock::new(|| RoundingKey::from_bytes(ROUNDING));
    &KEY
}

/// What the tests mask with.
pub(crate) fn blinding(masks: &[Mask]) -> Blinding<'_> {
    Blinding {
        rounding: rounding(),
        masks,
        coefficients: tag_key().coefficients(),
    }
}

pub(crate) fn keys(masks: &[Mask], sign: Sign) -> Vec<[u8; 32]> {
    masks
        .iter()
        .filter(|mask| mask.sign == sign)
        .map(|mask| *mask.key.expose())
        .collect()
}
