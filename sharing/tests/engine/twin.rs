//! What an engine must write: what the plain kernels do.

use fl_shaders::{Counters, FixedPoint, InputScale, Parameters, Ring, Word, cpu};
use fl_sharing::{Input, Mask, Masked, Sign, masked_len};

use crate::engines::{TestEngine, engines};
use crate::inputs::{Mix, ROUNDING, blinding, counters, format, keys, tag_key};

pub(crate) const SENTINEL: u8 = 0xc3;

/// The masked vector by the plain kernels, with the number of clipped coordinates and the tag.
pub(crate) fn twin<W: Word>(input: &Input<'_>, masks: &[Mask]) -> (Vec<u8>, Masked) {
    let scale = InputScale::new(input.format, input.counters.examples).unwrap();
    let mut vector = vec![W::default(); input.format.header_words() + input.update.len()];
    let coordinates = &mut vector[input.format.header_words()..];
    let quantized = cpu::quantize(input.update, 0, &scale, &ROUNDING, coordinates);
    assert_eq!(quantized.non_finite, None);
    let counters = Counters {
        clipped: quantized.clipped,
        ..input.counters.clone()
    };
    let header = counters.to_header::<W>(input.format);
    vector[..header.len()].copy_from_slice(&header);
    let tag = cpu::tag(&vector, 0, tag_key().coefficients());
    cpu::split(&mut vector, 0, &keys(masks, Sign::Minus));
    cpu::sum(&mut vector, 0, &keys(masks, Sign::Plus));
    let bytes = vector
        .iter()
        .flat_map(|word| word.to_le_bytes().as_ref().to_vec())
        .collect();
    let clipped = quantized.clipped;
    (bytes, Masked { clipped, tag })
}

/// The masked vector by an engine, over a sentinel.
pub(crate) fn masked(engine: &TestEngine, input: &Input<'_>, masks: &[Mask]) -> (Vec<u8>, Masked) {
    let mut bytes = vec![SENTINEL; masked_len(input.format, input.update.len())];
    let met = engine.mask(input, &blinding(masks), &mut bytes).unwrap();
    (bytes, met)
}

/// One random comparison, of every engine.
pub(crate) fn assert_equals_twin(ring: Ring, len: usize, masks: usize) {
    let mut mix = Mix(len as u64 ^ (masks as u64) << 32);
    let (update, masks) = (mix.update(len), mix.masks(masks));
    let counters = counters(1 + mix.next() % 1_000);
    assert_input_equals_twin(&format(ring), &counters, &update, &masks);
}

/// The same with a header of this length.
pub(crate) fn assert_header_equals_twin(ring: Ring, tallies: u32, len: usize) {
    let mut mix = Mix(u64::from(tallies));
    let (update, masks) = (mix.update(len), mix.masks(2));
    let format = FixedPoint::new(Parameters {
        ring,
        clip: 1.0,
        fraction_bits: 20,
        nodes_max: 3,
        examples_max: 1_000,
        tallies,
    });
    let counters = Counters {
        examples: 77,
        clipped: 0,
        tallies: (0..tallies).map(|_| mix.next() % 1_000).collect(),
    };
    assert_input_equals_twin(&format.unwrap(), &counters, &update, &masks);
}

fn assert_input_equals_twin(
    format: &FixedPoint,
    counters: &Counters,
    update: &[f32],
    masks: &[Mask],
) {
    let (ring, len) = (format.ring(), update.len());
    let input = Input {
        format,
        counters,
        update,
    };
    let expected = match ring {
        Ring::U32 => twin::<u32>(&input, masks),
        Ring::U64 => twin::<u64>(&input, masks),
    };
    for engine in engines() {
        let case = format!(
            "{engine:?}, {ring}, {} tallies, {len} coordinates, {} masks",
            counters.tallies.len(),
            masks.len()
        );
        let got = masked(engine, &input, masks);
        assert_same(&got.0, &expected.0, &case);
        assert_eq!(got.1, expected.1, "{case}");
    }
}

/// Fails where two vectors differ first, instead of printing millions of bytes.
pub(crate) fn assert_same(got: &[u8], expected: &[u8], case: &str) {
    assert_eq!(got.len(), expected.len(), "{case}");
    let differs = got.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{case}");
}
