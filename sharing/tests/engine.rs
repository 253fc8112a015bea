//! Every engine writes the bytes that the plain kernels define.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

use fl_shaders::{
    Counters, FixedPoint, HEADER_WORDS, InputScale, Parameters, Ring, ScaleError, Word, cpu,
};
use fl_sharing::{
    CpuEngine, Engine, EngineError, Input, Mask, MaskKey, Needs, Plan, RoundingKey, Seed, Sign,
    masked_len,
};
use proptest::prelude::*;

const SENTINEL: u8 = 0xc3;
const CTX: [u8; 32] = [0x11; 32];
const ROUNDING: [u8; 32] = [0x77; 32];

/// A generator for test inputs; SplitMix64.
struct Mix(u64);

impl Mix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Finite numbers of every exponent, with many zeros, subnormals and values around the clip.
    fn update(&mut self, len: usize) -> Vec<f32> {
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

    fn masks(&mut self, len: usize) -> Vec<Mask> {
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

fn format(ring: Ring) -> FixedPoint {
    Plan::new(&Needs::new(ring, 3, 1_000)).unwrap().format
}

fn counters(examples: u64) -> Counters {
    Counters {
        examples,
        test_examples: 50,
        correct: 20,
        loss: 31.25,
        clipped: 0,
    }
}

fn keys(masks: &[Mask], sign: Sign) -> Vec<[u8; 32]> {
    masks
        .iter()
        .filter(|mask| mask.sign == sign)
        .map(|mask| *mask.key.expose())
        .collect()
}

/// The masked vector by the plain kernels, and the number of clipped coordinates.
fn twin<W: Word>(input: &Input<'_>, masks: &[Mask]) -> (Vec<u8>, u64) {
    let scale = InputScale::new(input.format, input.counters.examples).unwrap();
    let mut vector = vec![W::default(); HEADER_WORDS + input.update.len()];
    let coordinates = &mut vector[HEADER_WORDS..];
    let quantized = cpu::quantize(input.update, 0, &scale, &ROUNDING, coordinates);
    assert_eq!(quantized.non_finite, None);
    let counters = Counters {
        clipped: quantized.clipped,
        ..input.counters
    };
    vector[..HEADER_WORDS].copy_from_slice(&counters.to_header::<W>(input.format));
    cpu::split(&mut vector, 0, &keys(masks, Sign::Minus));
    cpu::sum(&mut vector, 0, &keys(masks, Sign::Plus));
    let bytes = vector
        .iter()
        .flat_map(|word| word.to_le_bytes().as_ref().to_vec())
        .collect();
    (bytes, quantized.clipped)
}

fn masked(engine: &dyn Engine, input: &Input<'_>, masks: &[Mask]) -> (Vec<u8>, u64) {
    let mut bytes = vec![SENTINEL; masked_len(input.format, input.update.len())];
    let rounding = RoundingKey::from_bytes(ROUNDING);
    let outcome = engine.mask(input, &rounding, masks, &mut bytes).unwrap();
    (bytes, outcome.clipped)
}

fn assert_equals_twin(engine: &dyn Engine, ring: Ring, len: usize, masks: usize) {
    let mut mix = Mix(len as u64 ^ (masks as u64) << 32);
    let (update, masks) = (mix.update(len), mix.masks(masks));
    let format = format(ring);
    let input = Input {
        format: &format,
        counters: counters(1 + mix.next() % 1_000),
        update: &update,
    };
    let expected = match ring {
        Ring::U32 => twin::<u32>(&input, &masks),
        Ring::U64 => twin::<u64>(&input, &masks),
    };
    let got = masked(engine, &input, &masks);
    assert_eq!(got.1, expected.1, "clipped, {len} coordinates");
    let differs = got.0.iter().zip(&expected.0).position(|(a, b)| a != b);
    assert_eq!(
        differs,
        None,
        "{ring}, {len} coordinates, {} masks",
        masks.len()
    );
    assert_eq!(got.0.len(), expected.0.len());
}

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
            assert_equals_twin(&CpuEngine, ring, len, 2);
        }
    }
}

#[test]
fn equals_the_twin_for_any_number_of_masks() {
    for masks in 0..=20 {
        for ring in [Ring::U32, Ring::U64] {
            assert_equals_twin(&CpuEngine, ring, 3_000 + masks, masks);
        }
    }
}

#[test]
fn equals_the_twin_over_millions_of_coordinates() {
    assert_equals_twin(&CpuEngine, Ring::U32, 3_000_001, 2);
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
            loss_fraction_bits: 0,
        };
        let format = FixedPoint::new(parameters).unwrap();
        let mut mix = Mix(9);
        let update = mix.update(10_000);
        for examples in [1, 2, 12_345, u64::from(format.examples_max())] {
            let input = Input {
                format: &format,
                counters: counters(examples),
                update: &update,
            };
            let expected = match ring {
                Ring::U32 => twin::<u32>(&input, &[]),
                Ring::U64 => twin::<u64>(&input, &[]),
            };
            assert_eq!(masked(&CpuEngine, &input, &[]), expected, "{parameters:?}");
        }
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
        counters: counters(999),
        update: &update,
    };
    let (expected, _) = twin::<u32>(&input, &masks);
    assert_eq!(masked(&CpuEngine, &input, &masks).0, expected);

    let mut rounded = vec![0; expected.len()];
    let rounding = RoundingKey::from_bytes([0; 32]);
    CpuEngine
        .mask(&input, &rounding, &masks, &mut rounded)
        .unwrap();
    assert_ne!(rounded, expected);

    masks[0].sign = if masks[0].sign == Sign::Plus {
        Sign::Minus
    } else {
        Sign::Plus
    };
    assert_ne!(masked(&CpuEngine, &input, &masks).0, expected);
    assert_ne!(masked(&CpuEngine, &input, &mix.masks(1)).0, expected);
}

#[test]
fn refusals_leave_zeros() {
    let format = format(Ring::U32);
    let masks = Mix(2).masks(2);
    let rounding = RoundingKey::from_bytes(ROUNDING);
    let mut update = vec![0.5; 100_000];
    (update[70_001], update[99_999]) = (f32::NEG_INFINITY, f32::NAN);
    let refuse = |examples, update: &[f32], len| {
        let input = Input {
            format: &format,
            counters: counters(examples),
            update,
        };
        let mut bytes = vec![SENTINEL; len];
        let error = CpuEngine
            .mask(&input, &rounding, &masks, &mut bytes)
            .unwrap_err();
        assert!(bytes.iter().all(|&byte| byte == 0));
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

/// One whole round between `nodes` nodes, as the relay sees it: the sum of what they send.
fn round<W: Word>(format: &FixedPoint, inputs: &[(u64, Vec<f32>)]) -> Vec<W> {
    let nodes = inputs.len();
    let seed = |i: usize, j: usize| Seed::from_bytes([(1 + i * nodes + j) as u8; 32]).expand(&CTX);
    let mut total = vec![W::default(); HEADER_WORDS + inputs[0].1.len()];
    for (i, (examples, update)) in inputs.iter().enumerate() {
        let peers = (0..nodes).filter(|&j| j != i);
        let mask = |key: MaskKey, sign| Mask { key, sign };
        let masks: Vec<_> = peers
            .flat_map(|j| [mask(seed(i, j), Sign::Minus), mask(seed(j, i), Sign::Plus)])
            .collect();
        let input = Input {
            format,
            counters: counters(*examples),
            update,
        };
        let (bytes, _) = masked(&CpuEngine, &input, &masks);
        for (total, bytes) in total.iter_mut().zip(bytes.chunks_exact(W::BYTES)) {
            let mut le = W::Bytes::default();
            le.as_mut().copy_from_slice(bytes);
            *total = total.wrapping_add(W::from_le_bytes(le));
        }
    }
    total
}

fn assert_round_gives_the_weighted_mean<W: Word>(inputs: &[(u64, Vec<f32>)]) {
    let format = format(W::RING);
    let nodes = inputs.len() as u32;
    let total = round::<W>(&format, inputs);
    let (header, coordinates) = total.split_at(HEADER_WORDS);
    let header = <[W; HEADER_WORDS]>::try_from(header).unwrap();
    let totals = Counters::from_header(header, &format, nodes).unwrap();
    let examples: u64 = inputs.iter().map(|(examples, _)| examples).sum();
    assert_eq!(totals.examples, examples);
    assert_eq!(totals.loss, 31.25 * f64::from(nodes));

    let scale = fl_shaders::MeanScale::new(&format, totals.examples).unwrap();
    let mut mean = vec![f32::NAN; coordinates.len()];
    cpu::dequantize(coordinates, scale, &mut mean);
    let step = format.resolution(examples);
    for (e, mean) in mean.iter().enumerate() {
        let weighted = |(n, update): &(u64, Vec<f32>)| *n as f64 * f64::from(update[e]);
        let expected = inputs.iter().map(weighted).sum::<f64>() / examples as f64;
        let error = (f64::from(*mean) - expected).abs();
        assert!(
            error <= f64::from(nodes) * step + 1e-7,
            "coordinate {e}: {mean}, not {expected}"
        );
    }
}

proptest! {
    #[test]
    fn a_round_gives_the_mean_weighted_by_examples(
        inputs in (1_usize..40).prop_flat_map(|len| {
            let node = (1_u64..=1_000, prop::collection::vec(-1_f32..=1.0, len));
            prop::collection::vec(node, 3..6)
        })
    ) {
        assert_round_gives_the_weighted_mean::<u32>(&inputs);
        assert_round_gives_the_weighted_mean::<u64>(&inputs);
    }
}
