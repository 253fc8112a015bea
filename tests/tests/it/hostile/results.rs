//! Real nodes under a relay that publishes wrong results, or a model that nobody certified.

use fl_protocol::digest::ChunkHashes;
use fl_protocol::parameters::to_le_bytes;
use fl_protocol::round::message::{ResultAck, Signed};
use fl_protocol::round::{Checkpoint, Head, Kind, Refusal};
use fl_protocol::wire::{BodyId, NodeFrame, RelayFrame};
use fl_tests::federation::memory::sums_of;
use fl_tests::hostile_relay::met::{doubled, invalid, stale};
use fl_tests::hostile_relay::{Flow, Lie, Parcel, Record, VICTIM, consortium, header, lie, result};

use crate::support::lies::{OTHER, by_its_tags, instead, outcome, outcome_of, sum};

/// Words of a header that counts two classes: two, four pairs of them, two sums of four digits, two
/// histograms of 64 bins.
const HEADER_WORDS: usize = 2 + 4 + 2 * 4 + 2 * 64;

fn twice(words: &mut [u32]) {
    words
        .iter_mut()
        .for_each(|word| *word = word.wrapping_mul(2));
}

#[test]
fn a_real_node_refuses_every_sum_but_the_participants_own() {
    let lies = vec![
        sum(by_its_tags, |words| {
            words[HEADER_WORDS] = words[HEADER_WORDS].wrapping_add(1);
        }),
        sum(by_its_tags, |words| {
            let last = words.last_mut().unwrap();
            *last = last.wrapping_sub(1);
        }),
        sum(by_its_tags, |words| words[HEADER_WORDS..].fill(0)),
        sum(
            |refusal| matches!(refusal, Refusal::Counters(_)),
            |words| words.fill(0),
        ),
        // Twice the sum: more examples than the figures of all allow. Twice the coordinates alone
        // are in their bounds.
        sum(|refusal| matches!(refusal, Refusal::Counters(_)), twice),
        sum(by_its_tags, |words| twice(&mut words[HEADER_WORDS..])),
        // Σn.
        sum(by_its_tags, |words| words[0] += 1),
        sum(
            |refusal| matches!(refusal, Refusal::Counters(_)),
            |words| words[0] = u32::MAX,
        ),
        sum(
            |refusal| matches!(refusal, Refusal::OutOfRange { index: 3, .. }),
            |words| words[HEADER_WORDS + 3] = 1 << 31,
        ),
        // The right sum, but not the average of it; other bytes than announced.
        outcome(
            1,
            |refusal| matches!(refusal, Refusal::Averaged { .. }),
            |_, outcome| outcome.model = OTHER,
        ),
        outcome(
            1,
            |refusal| matches!(refusal, Refusal::ResultRoot { .. }),
            |_, outcome| outcome.root = ChunkHashes::of(b"other bytes").root(),
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

#[test]
fn a_real_node_refuses_sums_and_results_of_another_round() {
    let lies = vec![
        // X of the first round under the signatures of the second.
        instead(2, by_its_tags, |record| {
            record.forged(record.results[0].1.to_vec())
        }),
        // The first result as it was.
        instead(
            2,
            |refusal| stale(refusal, Kind::Keys),
            |record| {
                let (outcome, body) = record.results[0].clone();
                result(outcome, body)
            },
        ),
        outcome(
            2,
            |refusal| stale(refusal, Kind::Sum),
            |record, outcome| outcome.parts = record.results[0].0.parts.clone(),
        ),
        outcome(
            2,
            |refusal| doubled(refusal, Kind::Sum),
            |_, outcome| sums_of(outcome)[1] = sums_of(outcome)[0].clone(),
        ),
        outcome(
            2,
            |refusal| matches!(refusal, Refusal::MissingSum(_)),
            |_, outcome| drop(sums_of(outcome).pop()),
        ),
        // The tag share of the first round, and one that was made up.
        outcome(
            2,
            |refusal| invalid(refusal, Kind::TagShare),
            |record, outcome| {
                let mut first = record.results[0].0.clone();
                sums_of(outcome)[0].tag_share = sums_of(&mut first)[0].tag_share;
            },
        ),
        outcome(
            2,
            |refusal| invalid(refusal, Kind::TagShare),
            |_, outcome| sums_of(outcome)[0].tag_share.tag[0] ^= 1,
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 2, lies);
}

#[test]
fn a_real_node_shares_and_sums_no_second_time_once_its_sum_is_signed() {
    let again = |frame: fn(&Record) -> RelayFrame, met| {
        instead(1, met, move |record| vec![Parcel::Frame(frame(record))])
    };
    let lies = vec![
        again(
            |record| RelayFrame::Keys {
                bundle: record.bundles.last().unwrap().clone(),
                round_keys: Vec::new(),
            },
            |refusal| *refusal == Refusal::Unexpected { what: Kind::Keys },
        ),
        again(
            |record| RelayFrame::Shares(vec![record.last_box(true, VICTIM)]),
            |refusal| *refusal == Refusal::Unexpected { what: Kind::Share },
        ),
        again(
            |_| RelayFrame::Collect {
                ctx: OTHER,
                first_chunk: 0,
                sums: Vec::new(),
            },
            |refusal| stale(refusal, Kind::Collect),
        ),
    ];
    lie(&consortium("a,b,c"), "a,b,c", 1, lies);
}

/// Acknowledgements of the state that the relay is in.
fn acks(record: &Record) -> Vec<Signed<ResultAck>> {
    let (outcome, _) = record.results.last().unwrap();
    let acks = record.heard.iter().filter_map(|(_, frame)| match frame {
        NodeFrame::Ack(ack) if record.opened(ack).head.model == outcome.model => Some(ack.clone()),
        _ => None,
    });
    acks.collect()
}

/// The state that an acknowledgement speaks of.
fn acknowledged(record: &Record, ack: &Signed<ResultAck>) -> Head {
    record.opened(ack).head
}

/// A checkpoint with the initial model for a body.
fn checkpoint(record: &Record, head: Head, acks: Vec<Signed<ResultAck>>) -> Vec<Parcel> {
    let header = header(BodyId::model(head.model));
    let body = to_le_bytes(&record.base_model).into();
    let frame = RelayFrame::Checkpoint(Checkpoint { head, acks });
    vec![
        Parcel::Frame(frame),
        Parcel::Body(header, body, Flow::Whole),
    ]
}

#[test]
fn a_real_node_takes_no_model_that_nobody_certified() {
    fn uncertified(refusal: &Refusal) -> bool {
        matches!(
            refusal,
            Refusal::Checkpoint {
                valid: 0 | 1,
                needed: 3,
                ..
            }
        )
    }
    let invented = Head {
        round: 9,
        previous: OTHER,
        model: OTHER,
    };
    // The three others have acknowledged before this is told.
    let certified = |met, parcels: fn(&Record, Vec<Signed<ResultAck>>) -> Vec<Parcel>| {
        Lie::refused(met, move |record, honest| {
            if outcome_of(record, honest, 1).is_none() {
                return false;
            }
            let acks = acks(record);
            let enough = acks.len() == 3;
            *honest = match enough {
                true => parcels(record, acks),
                false => vec![Parcel::Close],
            };
            enough
        })
    };
    let lies = vec![
        instead(1, uncertified, move |record| {
            checkpoint(record, invented, Vec::new())
        }),
        certified(uncertified, |record, acks| {
            let head = acknowledged(record, &acks[0]);
            checkpoint(record, head, vec![acks[0].clone(); 3])
        }),
        certified(uncertified, |record, acks| {
            let head = acknowledged(record, &acks[0]);
            let round = head.round + 1;
            checkpoint(record, Head { round, ..head }, acks)
        }),
        // Certified, but these are not its parameters.
        certified(
            |refusal| matches!(refusal, Refusal::Averaged { .. }),
            |record, acks| checkpoint(record, acknowledged(record, &acks[0]), acks),
        ),
    ];
    lie(&consortium("a,b,c,d"), "a,b,c,d", 1, lies);
}
