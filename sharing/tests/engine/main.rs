//! Every engine writes the bytes that the plain kernels define.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

mod engines;
#[cfg(feature = "gpu")]
mod gpu;
mod inputs;
mod round;
mod twin;

use fl_shaders::{FixedPoint, Parameters, Ring, ScaleError, Word, cpu};
use fl_sharing::{Blinding, EngineError, EpochKey, Input, RoundingKey, Sign, masked_len};

use engines::engines;
use inputs::{CTX, Mix, TALLIES, blinding, counters, format};
use twin::{SENTINEL, assert_equals_twin, assert_header_equals_twin, assert_same, masked, twin};

#[test]
fn equals_the_twin_at_every_kind_of_length() {
    let lengths = [0, 1]
        .into_iter()
        .chain(9..=18)
        .chain([2_042, 2_043, 2_044]);
    for len in lengths
        .chain(4_089..=4_093)
        .chain(32_761..=32_765)
        .chain(65_529..=65_541)
    {
        for ring in [Ring::U32, Ring::U64] {
            assert_equals_twin(ring, len, 2);
        }
    }
}

#[test]
fn equals_the_twin_for_any_number_of_masks() {
    for masks in (0..=20).chain([127, 128, 129, 300]) {
        for ring in [Ring::U32, Ring::U64] {
            assert_equals_twin(ring, 3_000 + masks, masks);
        }
    }
}

#[test]
fn equals_the_twin_over_millions_of_coordinates() {
    assert_equals_twin(Ring::U32, 5_000_001, 3);
    assert_equals_twin(Ring::U64, 3_000_001, 2);
}

#[test]
fn headers_of_all_lengths_equal_the_twin() {
    // Up to one beyond a piece of the CPU's, of 16 KiB.
    for tallies in [0, 1, 2, 3, 5, 62, 4_093, 4_094, 4_095, 8_192] {
        for ring in [Ring::U32, Ring::U64] {
            for len in [1, 2_000] {
                assert_header_equals_twin(ring, tallies, len);
            }
        }
    }
}

#[test]
fn other_tallies_than_the_format_has_are_refused() {
    let format = format(Ring::U32);
    let update = [0.5; 9];
    let mut counters = counters(4);
    counters.tallies.pop();
    let input = Input {
        format: &format,
        counters: &counters,
        update: &update,
    };
    for engine in engines() {
        let mut bytes = vec![SENTINEL; masked_len(&format, update.len())];
        let refused = engine.mask(&input, &blinding(&[]), &mut bytes);
        let (expected, given) = (3, 2);
        assert_eq!(refused, Err(EngineError::Tallies { expected, given }));
    }
}

#[test]
fn equals_the_twin_for_extreme_formats() {
    let formats = [
        (Ring::U32, f32::from_bits(1), 63, 1),
        (Ring::U32, 1.0, 0, 128),
        (Ring::U32, 1.5e9, 0, 1),
        (Ring::U64, f32::from_bits(0x0080_0000), 63, 65_536),
        (Ring::U64, 3.7, 45, 1_000),
        (Ring::U64, 1e14, 0, 1),
    ];
    for (ring, clip, fraction_bits, nodes_max) in formats {
        let parameters = Parameters {
            ring,
            clip,
            fraction_bits,
            nodes_max,
            examples_max: 1_000_003.min((ring.signed_max() / u64::from(nodes_max)) as u32),
            tallies: TALLIES,
        };
        let format = FixedPoint::new(parameters).unwrap();
        let mut mix = Mix(9);
        let update = mix.update(10_000);
        for examples in [1, 2, 12_345, u64::from(format.examples_max())] {
            let input = Input {
                format: &format,
                counters: &counters(examples),
                update: &update,
            };
            let expected = match ring {
                Ring::U32 => twin::<u32>(&input, &[]),
                Ring::U64 => twin::<u64>(&input, &[]),
            };
            for engine in engines() {
                let got = masked(engine, &input, &[]);
                assert!(got == expected, "{engine:?}, {parameters:?}");
            }
        }
    }
}

#[test]
fn rounding_carries_into_the_high_word() {
    // 4/7 of 1.75 is 1, but the weight is cut to 32 bits: the encoded value is 2^32 − 0.5.
    let format = FixedPoint::new(Parameters {
        ring: Ring::U64,
        clip: 128.0,
        fraction_bits: 32,
        nodes_max: 3,
        examples_max: 7,
        tallies: TALLIES,
    })
    .unwrap();
    let update: Vec<f32> = [1.75, -1.75].repeat(50);
    let input = Input {
        format: &format,
        counters: &counters(4),
        update: &update,
    };
    let expected = twin::<u64>(&input, &[]);
    let words = expected.0.as_chunks().0.iter();
    let words: Vec<i64> = words.map(|bytes| i64::from_le_bytes(*bytes)).collect();
    for word in [1 << 32, (1 << 32) - 1, -1 << 32, 1 - (1 << 32)] {
        assert!(words.contains(&word), "{word}");
    }
    for engine in engines() {
        assert_eq!(masked(engine, &input, &[]), expected, "{engine:?}");
    }
}

/// Negative control: a comparison that cannot fail proves nothing.
#[test]
fn another_key_sign_or_rounding_gives_other_bytes() {
    let format = format(Ring::U32);
    let mut mix = Mix(1);
    let (update, mut masks) = (mix.update(100), mix.masks(1));
    let input = Input {
        format: &format,
        counters: &counters(999),
        update: &update,
    };
    let (expected, _) = twin::<u32>(&input, &masks);
    for engine in engines() {
        assert_eq!(masked(engine, &input, &masks).0, expected);
        let mut rounded = vec![0; expected.len()];
        let other = RoundingKey::from_bytes([0; 32]);
        let blinding = Blinding {
            rounding: &other,
            ..blinding(&masks)
        };
        engine.mask(&input, &blinding, &mut rounded).unwrap();
        assert_ne!(rounded, expected);
    }

    let others = mix.masks(1);
    masks[0].sign = match masks[0].sign {
        Sign::Plus => Sign::Minus,
        Sign::Minus => Sign::Plus,
    };
    for engine in engines() {
        assert_ne!(masked(engine, &input, &masks).0, expected);
        assert_ne!(masked(engine, &input, &others).0, expected);
    }
}

#[test]
fn refusals_leave_zeros() {
    let format = format(Ring::U32);
    let masks = Mix(2).masks(2);
    let mut update = vec![0.5; 100_000];
    (update[70_001], update[99_999]) = (f32::NEG_INFINITY, f32::NAN);
    let refuse = |examples, update: &[f32], len| {
        let input = Input {
            format: &format,
            counters: &counters(examples),
            update,
        };
        let mut errors = engines().map(|engine| {
            let mut bytes = vec![SENTINEL; len];
            let error = engine
                .mask(&input, &blinding(&masks), &mut bytes)
                .unwrap_err();
            assert!(bytes.iter().all(|&byte| byte == 0), "{engine:?}");
            error
        });
        let error = errors.next().unwrap();
        assert!(errors.all(|other| other == error));
        error
    };

    let len = masked_len(&format, update.len());
    assert_eq!(
        refuse(1, &update, len),
        EngineError::NonFinite { coordinate: 70_001 }
    );
    let expected = masked_len(&format, 7);
    for given in [0, expected - 1, expected + 1] {
        assert_eq!(
            refuse(1, &[0.0; 7], given),
            EngineError::Length { expected, given }
        );
    }
    for examples in [0, 1_001] {
        let examples_error = ScaleError::Examples {
            examples,
            examples_max: 1_000,
        };
        assert_eq!(refuse(examples, &[0.0; 7], expected), examples_error.into());
    }
}

#[test]
fn coefficients_of_a_shorter_vector_are_refused() {
    let format = format(Ring::U32);
    let update = vec![0.5; 70_000];
    let input = Input {
        format: &format,
        counters: &counters(1),
        update: &update,
    };
    for (elements, fits) in [(70_005, true), (65_536, false), (65_537, true), (5, false)] {
        let tag_key = EpochKey::from_bytes([1; 32]).tag_key(&CTX, elements);
        let blinding = Blinding {
            coefficients: tag_key.coefficients(),
            ..blinding(&[])
        };
        for engine in engines() {
            let mut bytes = vec![SENTINEL; masked_len(&format, update.len())];
            let outcome = engine.mask(&input, &blinding, &mut bytes);
            assert_eq!(outcome.is_ok(), fits, "{engine:?}, {elements}");
            if !fits {
                assert_eq!(outcome, Err(EngineError::Coefficients));
                assert!(bytes.iter().all(|&byte| byte == 0), "{engine:?}");
            }
        }
    }
}

#[test]
fn sums_of_shares_are_those_of_the_twin() {
    fn twin<W: Word>(keys: &[[u8; 32]], len: usize) -> Vec<u8> {
        let mut sum = vec![W::default(); len];
        cpu::sum(&mut sum, 0, keys);
        let bytes = sum
            .iter()
            .flat_map(|word| word.to_le_bytes().as_ref().to_vec());
        bytes.collect()
    }
    for len in [0, 1, 15, 16, 17, 4_097, 65_535, 65_536, 65_537, 200_001] {
        for count in [0, 1, 2, 41] {
            let masks = Mix(len as u64).masks(count);
            let raw: Vec<_> = masks.iter().map(|mask| *mask.key.expose()).collect();
            let keys: Vec<_> = masks.into_iter().map(|mask| mask.key).collect();
            for ring in [Ring::U32, Ring::U64] {
                let expected = match ring {
                    Ring::U32 => twin::<u32>(&raw, len),
                    Ring::U64 => twin::<u64>(&raw, len),
                };
                for engine in engines() {
                    let mut sum = vec![SENTINEL; expected.len()];
                    engine.sum(ring, &keys, &mut sum).unwrap();
                    assert_same(
                        &sum,
                        &expected,
                        &format!("{engine:?}, {ring}, {len}, {count}"),
                    );
                }
            }
        }
    }
}
