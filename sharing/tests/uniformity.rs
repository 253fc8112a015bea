//! A masked vector looks uniform whatever it hides, and never repeats.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use fl_shaders::{Counters, Ring};
use fl_sharing::{
    Blinding, CpuEngine, Engine, EpochKey, Input, Mask, Plan, RoundingKey, Seed, Sign, masked_len,
};

const COORDINATES: usize = 250_000;
/// χ² with 255 degrees of freedom exceeds this once in 10^9 times, and stays below the other as
/// rarely.
const CHI_SQUARE: std::ops::Range<f64> = 140.0..409.0;

/// Pearson's χ² of the byte values against uniform.
fn chi_square(bytes: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let expected = bytes.len() as f64 / 256.0;
    counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected)
        .sum()
}

/// Largest deviation of a bit position's frequency from 1/2, in standard deviations.
fn bit_deviation(words: &[u8], word_bytes: usize) -> f64 {
    let count = (words.len() / word_bytes) as f64;
    let ones = |bit: usize| {
        let set = |word: &&[u8]| word[bit / 8] >> (bit % 8) & 1 == 1;
        words.chunks_exact(word_bytes).filter(set).count() as f64
    };
    (0..8 * word_bytes)
        .map(|bit| (ones(bit) - count / 2.0).abs() / (count / 4.0).sqrt())
        .fold(0.0, f64::max)
}

fn masked(ring: Ring, update: f32, masks: usize) -> Vec<u8> {
    let format = Plan::new(ring, 3, 100, 0).unwrap().format;
    let update = vec![update; COORDINATES];
    let counters = Counters {
        examples: 100,
        ..Counters::default()
    };
    let input = Input {
        format: &format,
        counters: &counters,
        update: &update,
    };
    let mask = || Mask {
        key: Seed::generate().unwrap().expand(&[0; 32]),
        sign: Sign::Minus,
    };
    let masks: Vec<_> = std::iter::repeat_with(mask).take(masks).collect();
    let mut bytes = vec![0; masked_len(&format, update.len())];
    let rounding = RoundingKey::generate().unwrap();
    let tag_key = EpochKey::generate()
        .unwrap()
        .tag_key(&[0; 32], format.header_words() + COORDINATES);
    let blinding = Blinding {
        rounding: &rounding,
        masks: &masks,
        coefficients: tag_key.coefficients(),
    };
    CpuEngine.mask(&input, &blinding, &mut bytes).unwrap();
    bytes
}

#[test]
fn masked_vectors_are_uniform_whatever_they_hide() {
    for ring in [Ring::U32, Ring::U64] {
        for update in [0.0, f32::MAX, -f32::MAX, 1e-3] {
            for masks in [1, 4] {
                let bytes = masked(ring, update, masks);
                let chi_square = chi_square(&bytes);
                assert!(
                    CHI_SQUARE.contains(&chi_square),
                    "{ring}, {update}: χ² = {chi_square}"
                );
                let deviation = bit_deviation(&bytes, ring.word_bytes());
                assert!(
                    deviation < 7.0,
                    "{ring}, {update}: {deviation} standard deviations"
                );
            }
        }
    }
}

/// Negative control: what must fail, fails.
#[test]
fn unmasked_vectors_and_float_shares_are_not_uniform() {
    for update in [0.0, f32::MAX, 1e-3] {
        let bytes = masked(Ring::U32, update, 0);
        assert!(!CHI_SQUARE.contains(&chi_square(&bytes)));
        assert!(bit_deviation(&bytes, 4) > 7.0);
    }
    // "Shares" drawn as floats from (−1, 1).
    let uniform = masked(Ring::U32, 0.0, 1);
    let floats: Vec<_> = uniform
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|bytes| (i32::from_le_bytes(*bytes) as f32 / 2_f32.powi(31)).to_le_bytes())
        .collect();
    assert!(!CHI_SQUARE.contains(&chi_square(&floats)));
    assert!(bit_deviation(&floats, 4) > 7.0);
}

#[test]
fn the_same_input_never_looks_the_same_twice() {
    let (first, second) = (masked(Ring::U32, 0.25, 2), masked(Ring::U32, 0.25, 2));
    let words = || {
        first
            .as_chunks::<4>()
            .0
            .iter()
            .zip(second.as_chunks::<4>().0)
    };
    // 250,005 words agree by chance 6·10^−5 times.
    assert!(words().filter(|(a, b)| a == b).count() < 5);
    let differences: Vec<_> = words()
        .flat_map(|(a, b)| {
            u32::from_le_bytes(*a)
                .wrapping_sub(u32::from_le_bytes(*b))
                .to_le_bytes()
        })
        .collect();
    assert!(CHI_SQUARE.contains(&chi_square(&differences)));
}
