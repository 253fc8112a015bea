//! A whole round gives the weighted mean.

use fl_shaders::{Addends, Counters, FixedPoint, Word, cpu};
use fl_sharing::{Input, Mask, MaskKey, Seed, Sign};
use proptest::prelude::*;

use crate::engines::{TestEngine, engines};
use crate::inputs::{CTX, counters, format};
use crate::twin::masked;

/// One whole round between `nodes` nodes, as the relay sees it: the sum of what they send.
fn round<W: Word>(engine: &TestEngine, format: &FixedPoint, inputs: &[(u64, Vec<f32>)]) -> Vec<W> {
    let nodes = inputs.len();
    let seed = |i: usize, j: usize| Seed::from_bytes([(1 + i * nodes + j) as u8; 32]).expand(&CTX);
    let mut total = vec![W::default(); format.header_words() + inputs[0].1.len()];
    for (i, (examples, update)) in inputs.iter().enumerate() {
        let peers = (0..nodes).filter(|&j| j != i);
        let mask = |key: MaskKey, sign| Mask { key, sign };
        let masks: Vec<_> = peers
            .flat_map(|j| [mask(seed(i, j), Sign::Minus), mask(seed(j, i), Sign::Plus)])
            .collect();
        let input = Input {
            format,
            counters: &counters(*examples),
            update,
        };
        let (bytes, _) = masked(engine, &input, &masks);
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
    let mut totals = engines().map(|engine| round::<W>(engine, &format, inputs));
    let total = totals.next().unwrap();
    assert!(totals.all(|other| other == total));
    let (header, coordinates) = total.split_at(format.header_words());
    let addends = Addends {
        nodes,
        examples_max: u64::from(nodes) * u64::from(format.examples_max()),
    };
    let totals = Counters::from_header(header, &format, addends).unwrap();
    let examples: u64 = inputs.iter().map(|(examples, _)| examples).sum();
    assert_eq!(totals.examples, examples);
    assert_eq!(
        totals.tallies,
        [50, 20, 31].map(|tally| tally * u64::from(nodes))
    );

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
