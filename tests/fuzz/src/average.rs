//! Averaging of whatever a relay may send for a sum.

use arbitrary::{Result, Unstructured};
use fl_protocol::digest::{ChunkHashes, Digest, model_hash};
use fl_protocol::metrics::{Metrics, Tally};
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{Head, Refusal};
use fl_shaders::{Addends, Counters, FixedPoint, Parameters, Ring, Word};

use crate::Seed;

/// Sums of any bytes under any plan.
pub(crate) fn average(data: &[u8]) {
    let mut data = Unstructured::new(data);
    // What is too short stands for nothing.
    let Ok((plan, addends)) = setting(&mut data) else {
        return;
    };
    let Ok(plan) = FixedPoint::new(plan) else {
        return;
    };
    match plan.ring() {
        Ring::U32 => averages::<u32>(&plan, addends, data.take_rest()),
        Ring::U64 => averages::<u64>(&plan, addends, data.take_rest()),
    }
}

fn setting(data: &mut Unstructured<'_>) -> Result<(Parameters, Addends)> {
    let plan = Parameters {
        ring: match data.arbitrary::<bool>()? {
            true => Ring::U64,
            false => Ring::U32,
        },
        clip: data.arbitrary()?,
        fraction_bits: data.arbitrary::<u8>()?.into(),
        nodes_max: data.arbitrary::<u16>()?.into(),
        examples_max: data.arbitrary()?,
        tallies: data.arbitrary::<u8>()?.into(),
    };
    let nodes = data.arbitrary::<u16>()?.into();
    // No node has a larger figure than that which is the scale.
    let all = u64::from(nodes) * u64::from(plan.examples_max);
    let addends = Addends {
        nodes,
        examples_max: all.saturating_sub(data.arbitrary::<u16>()?.into()),
    };
    Ok((plan, addends))
}

/// `rest` is a header, then for each coordinate the former parameter and the word of the sum.
fn averages<W: Word>(plan: &FixedPoint, addends: Addends, rest: &[u8]) {
    let Some((header, pairs)) = rest.split_at_checked(plan.header_words() * W::BYTES) else {
        return;
    };
    let mut body = header.to_vec();
    let mut base = Vec::new();
    for pair in pairs.chunks_exact(4 + W::BYTES) {
        let (parameter, word) = pair.split_at(4);
        let parameter =
            f32::from_le_bytes([parameter[0], parameter[1], parameter[2], parameter[3]]);
        base.push(if parameter.is_finite() {
            parameter
        } else {
            0.0
        });
        body.extend_from_slice(word);
    }
    let words = |index: usize| {
        let mut bytes = W::Bytes::default();
        let at = index * W::BYTES;
        bytes.as_mut().copy_from_slice(&body[at..at + W::BYTES]);
        W::from_le_bytes(bytes).to_signed()
    };
    let head = Head {
        round: 7,
        previous: Digest([1; 32]),
        model: model_hash(&base),
    };
    let (ctx, root) = (Digest([2; 32]), ChunkHashes::of(&body).root());
    let averaged =
        |body: &[u8]| fl_protocol::round::training::average(body, &base, plan, addends, head, ctx);
    assert!(matches!(averaged(&body[1..]), Err(Refusal::Counters(_))));
    let averaged = match averaged(&body) {
        Ok(averaged) => averaged,
        Err(Refusal::OutOfRange {
            index,
            value,
            limit,
        }) => {
            let index = usize::try_from(index).expect("an index of this body");
            assert_eq!(words(plan.header_words() + index), value);
            return assert!(value.unsigned_abs() > limit);
        }
        Err(Refusal::Counters(_)) => return,
        Err(refusal) => panic!("another refusal than is documented: {refusal}"),
    };
    assert_eq!(
        averaged.head,
        head.next(ctx, root, model_hash(&averaged.model))
    );
    assert_totals(&averaged, plan, addends);
    assert_eq!(averaged.model.len(), base.len());
    for (index, (base, next)) in base.iter().zip(&*averaged.model).enumerate() {
        let resolution = plan.resolution(averaged.totals.examples);
        let mean = words(plan.header_words() + index) as f64 * resolution;
        // B is C rounded up to a whole number of steps, which for the smallest C is a multiple of
        // it.
        let weight = averaged.totals.examples as f64 / f64::from(plan.examples_max());
        let limit = (plan.bound() as f64 * weight + f64::from(addends.nodes) + 1.0) * resolution;
        assert!(mean.abs() <= limit, "{mean} is beyond {limit}");
        let expected = f64::from(*base) + mean;
        // The mean and the sum are each rounded once, the scale is cut off at 31 bits, and what is
        // too small is 0.
        let error = (mean.abs() + expected.abs()) * f64::from(f32::EPSILON);
        let error = error + 2.0 * f64::from(f32::MIN_POSITIVE);
        let off = (f64::from(*next) - expected).abs();
        assert!(off <= error, "{next} instead of {expected}");
    }
}

fn assert_totals(averaged: &Averaged, plan: &FixedPoint, addends: Addends) {
    let Counters {
        examples,
        clipped,
        tallies,
    } = &averaged.totals;
    assert!(addends.nodes <= plan.nodes_max() && averaged.nodes == addends.nodes);
    assert!((1..=addends.examples_max).contains(examples));
    let limit = u64::from(addends.nodes) * plan.counter_max();
    assert!(*clipped <= limit && tallies.len() == plan.tallies());
    assert!(tallies.iter().all(|tally| *tally <= limit));
    for metrics in [
        Metrics::Answers,
        Metrics::Classes { classes: 3 },
        Metrics::Quantity { deviation: 2.0 },
    ] {
        let figures = Tally::from_tallies(metrics, tallies).figures();
        assert!(
            figures
                .loss
                .is_none_or(|loss| loss.is_finite() && loss >= 0.0)
        );
    }
}

pub(crate) fn averaged() -> Vec<Seed> {
    let wide = [&[1][..], &128f32.to_le_bytes(), &[32, 0, 1]].concat();
    let narrow = [&[0][..], &1f32.to_le_bytes(), &[23, 128, 0]].concat();
    let rest = [&1000u32.to_le_bytes()[..], &[3, 3, 0, 100, 0]].concat();
    let header = [30i64, 0, 12, 9, 100];
    let pairs = [(0.5f32, 1000i64), (-1.0, -70_000), (0.0, 0)];
    let seed = |plan: &[u8], bytes: usize| {
        let mut data = [plan, &rest].concat();
        let word = |word: i64| word.to_le_bytes().into_iter().take(bytes);
        data.extend(header.into_iter().flat_map(word));
        for (parameter, sum) in pairs {
            data.extend(parameter.to_le_bytes());
            data.extend(word(sum));
        }
        data
    };
    vec![
        ("u32".to_owned(), seed(&narrow, 4)),
        ("u64".to_owned(), seed(&wide, 8)),
    ]
}
