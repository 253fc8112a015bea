//! Logs of whole federations: sound as they are, and not after anything was done to them, not even
//! by someone who computes the chain of digests anew.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::audit::{Entry, Flaw, Party, Record, Taken, Unsound, verify};
use crate::digest::Digest;
use crate::identity::Identity;
use crate::manifest::Manifest;
use crate::round::message::WHENEVER;
use crate::round::{Head, Kind, Refusal};
use crate::sim::Network;
use crate::sim::{Consortium, MemoryLog, OPEN_BOXES};
use crate::wire;

/// The log of a party of a federation that has come to its end.
fn log(federation: &Network, name: &str) -> Vec<u8> {
    federation.log(name).to_vec()
}

fn completed(n: usize, rounds: u64) -> Network {
    let mut federation = Network::new(n, rounds, 17);
    federation.run_to_the_end();
    federation
}

/// Where the records of a log end.
fn ends(log: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    while let Some(length) = log[ends[ends.len() - 1]..].first_chunk::<4>() {
        ends.push(ends[ends.len() - 1] + 36 + u32::from_le_bytes(*length) as usize);
    }
    ends
}

fn records(log: &[u8]) -> Vec<Record> {
    let payload = |pair: &[usize]| wire::decode(&log[pair[0] + 4..pair[1] - 32]).unwrap();
    ends(log).windows(2).map(payload).collect()
}

/// The log of these records with a chain of digests that holds.
fn chained(consortium_id: Digest, records: &[Record]) -> Vec<u8> {
    let mut log = MemoryLog::new(consortium_id, Party::Relay);
    records.iter().for_each(|record| log.append_raw(record));
    log.bytes().to_vec()
}

fn flaw(manifest: &Manifest, log: &[u8]) -> Option<Flaw> {
    verify(manifest, OPEN_BOXES, log).unwrap().flaw
}

/// What is found when the forger has chained these records anew.
pub(super) fn forged(manifest: &Manifest, records: &[Record]) -> Option<(u64, Unsound)> {
    let flaw = flaw(manifest, &chained(manifest.consortium_id(), records))?;
    Some((flaw.record, flaw.what))
}

/// Index of the first record that is `wanted`.
fn first(records: &[Record], wanted: fn(&Entry) -> bool) -> usize {
    let mut entries = records.iter().map(|record| &record.entry);
    entries.position(wanted).unwrap()
}

#[test]
fn the_logs_of_a_federation_tell_its_rounds() {
    let federation = completed(3, 2);
    let manifest = &federation.consortium.manifest;
    let all: BTreeSet<_> = (0..3).map(|node| federation.id(node)).collect();
    for name in ["relay", "0", "1", "2"] {
        let verdict = verify(manifest, OPEN_BOXES, &log(&federation, name)[..]).unwrap();
        assert!(verdict.flaw.is_none());
        let summary = verdict.summary;
        let party = match name.parse() {
            Ok(node) => Party::Node(federation.id(node)),
            Err(_) => Party::Relay,
        };
        assert_eq!(summary.party, Some(party));
        assert_eq!(summary.begins, Some(Head::start(manifest)));
        assert_eq!(summary.rounds.len(), 2);
        for (round, number) in summary.rounds.iter().zip(1..) {
            assert_eq!((round.round, round.attempts), (number, 1));
            assert_eq!(round.participants, all);
            let head = federation.seen.chains[&number];
            assert_eq!(round.taken, Some(Taken::Result(head)));
            let own = |party| match party {
                Party::Relay => all.clone(),
                Party::Node(own) => BTreeSet::from([own]),
            };
            assert_eq!(round.acknowledged, own(party));
            assert!(round.refusals.is_empty());
        }
    }
}

#[test]
fn a_late_joiner_logs_the_checkpoint_that_it_takes() {
    let mut federation = Network::new(5, 5, 9);
    federation.crash(4, None);
    let hour = Duration::from_secs(3600);
    assert!(federation.run(hour, |f| f.relay.disk.head.round == 3));
    federation.bring_back(4);
    federation.run_to_the_end();
    let manifest = &federation.consortium.manifest;
    let mut records = records(&log(&federation, "4"));
    assert!(forged(manifest, &records).is_none(), "the control");
    let at = first(&records, |entry| matches!(entry, Entry::Adopted(_)));
    if let Entry::Adopted(checkpoint) = &mut records[at].entry {
        checkpoint.acks.truncate(2);
    }
    let (record, what) = forged(manifest, &records).unwrap();
    assert_eq!(record, at as u64 + 1);
    assert!(
        matches!(what, Unsound::Refused(Refusal::Checkpoint { .. })),
        "{what}"
    );
}

#[test]
fn a_flipped_bit_is_found_in_its_record_wherever_it_is() {
    let federation = completed(3, 1);
    let manifest = &federation.consortium.manifest;
    for name in ["0", "relay"] {
        let mut log = log(&federation, name);
        let ends = ends(&log);
        assert!(flaw(manifest, &log).is_none(), "the control");
        // In the fields around a payload every bit, in payloads one of each byte.
        for byte in 0..log.len() {
            let at = ends.partition_point(|end| *end <= byte) - 1;
            let inside = (ends[at] + 4..ends[at + 1] - 32).contains(&byte);
            let bits = match inside {
                true => vec![byte % 8],
                false if name == "0" => (0..8).collect(),
                false => vec![byte % 8],
            };
            for bit in bits {
                log[byte] ^= 1 << bit;
                let found = flaw(manifest, &log).unwrap();
                assert_eq!(
                    (found.record, found.offset),
                    (at as u64 + 1, ends[at] as u64),
                    "byte {byte}, bit {bit}: {found}"
                );
                assert!(matches!(found.what, Unsound::Digest | Unsound::Length));
                log[byte] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn records_that_were_removed_swapped_or_doubled_are_found() {
    let federation = completed(3, 1);
    let manifest = &federation.consortium.manifest;
    let log = log(&federation, "relay");
    let ends = ends(&log);
    let pieces: Vec<_> = ends.windows(2).map(|pair| &log[pair[0]..pair[1]]).collect();
    let found = |pieces: &[&[u8]]| flaw(manifest, &pieces.concat()).map(|flaw| flaw.record);
    assert_eq!(found(&pieces), None, "the control");
    for at in 0..pieces.len() - 1 {
        let mut changed = pieces.clone();
        changed.remove(at);
        assert_eq!(found(&changed), Some(at as u64 + 1), "removed {at}");
        let mut changed = pieces.clone();
        changed.swap(at, at + 1);
        assert_eq!(found(&changed), Some(at as u64 + 1), "swapped {at}");
        let mut changed = pieces.clone();
        changed.insert(at, pieces[at]);
        assert_eq!(found(&changed), Some(at as u64 + 2), "doubled {at}");
    }
}

#[test]
fn a_log_that_was_cut_short_is_sound_as_far_as_it_goes() {
    let federation = completed(3, 1);
    let manifest = &federation.consortium.manifest;
    let log = log(&federation, "1");
    let ends = ends(&log);
    for length in 0..log.len() {
        let whole = ends.partition_point(|end| *end <= length) - 1;
        let verdict = verify(manifest, OPEN_BOXES, &log[..length]).unwrap();
        assert_eq!(verdict.summary.records, whole as u64, "{length} bytes");
        assert_eq!(verdict.summary.incomplete, (length - ends[whole]) as u64);
        match whole {
            0 => assert!(matches!(verdict.flaw.unwrap().what, Unsound::NotBegun)),
            _ => assert!(verdict.flaw.is_none(), "{length} bytes"),
        }
    }
    // A file system may have lengthened the file before it wrote to it.
    let zeros = [&log[..], &[0; 100]].concat();
    let verdict = verify(manifest, OPEN_BOXES, &zeros[..]).unwrap();
    assert!(verdict.flaw.is_none());
    assert_eq!(verdict.summary.incomplete, 100);
}

#[test]
fn a_node_that_is_cut_off_in_mid_append_goes_on_with_a_sound_log() {
    let mut federation = Network::new(3, 3, 5);
    let hour = Duration::from_secs(3600);
    assert!(federation.run(hour, |f| f.relay.disk.head.round == 1));
    federation.crash(1, None);
    let log = &mut federation.members[1].host.log;
    log.cut_short(&[200, 0, 0, 0, 1, 2, 3]);
    federation.bring_back(1);
    federation.run_to_the_end();
    let records = records(federation.log("1"));
    let noted = |record: &Record| matches!(record.entry, Entry::Started { dropped: 7, .. });
    assert_eq!(records.iter().filter(|record| noted(record)).count(), 1);
}

#[test]
fn the_log_of_another_consortium_or_of_a_stranger_is_refused() {
    let federation = completed(3, 1);
    let log = log(&federation, "relay");
    let consortium_id = federation.consortium.manifest.consortium_id();
    let other = Consortium::with(3, |file| file.name = "other".to_owned()).manifest;
    let found = flaw(&other, &log).unwrap();
    assert!(
        matches!(found.what, Unsound::OtherManifest(found) if found == consortium_id),
        "{found}"
    );
    let (record, what) = forged(&other, &records(&log)).unwrap();
    assert_eq!(record, 1);
    assert!(matches!(what, Unsound::OtherManifest(_)), "{what}");

    let manifest = &federation.consortium.manifest;
    let mut records = records(&log);
    let stranger = Identity::of_test("one").node_id();
    for party in [Party::Node(stranger), Party::Node(federation.id(0))] {
        let Entry::Started { party: of, .. } = &mut records[0].entry else {
            panic!()
        };
        *of = party;
        assert!(forged(manifest, &records).is_some(), "{party:?}");
    }
    records.remove(0);
    let (_, what) = forged(manifest, &records).unwrap();
    assert!(matches!(what, Unsound::NotBegun), "{what}");
}

#[test]
fn a_record_that_is_left_out_of_a_new_chain_is_missed() {
    let federation = completed(3, 2);
    let manifest = &federation.consortium.manifest;
    let records = records(&log(&federation, "relay"));
    assert!(forged(manifest, &records).is_none(), "the control");
    let without = |wanted: fn(&Entry) -> bool| {
        let mut records = records.clone();
        records.remove(first(&records, wanted));
        forged(manifest, &records).unwrap().1
    };
    let what = without(|entry| matches!(entry, Entry::Keys(_)));
    assert!(matches!(what, Unsound::NoAttempt(Kind::Share)), "{what}");
    let what = without(|entry| matches!(entry, Entry::Shares(_)));
    assert!(matches!(what, Unsound::Shares(_)), "{what}");
    let what = without(|entry| matches!(entry, Entry::Sum(_)));
    assert!(matches!(what, Unsound::Unsigned { .. }), "{what}");
    let what = without(|entry| matches!(entry, Entry::Body { .. }));
    assert!(matches!(what, Unsound::Body(_)), "{what}");
    let what = without(|entry| matches!(entry, Entry::Outcome(_)));
    assert!(
        matches!(what, Unsound::Refused(Refusal::Stale { .. })),
        "{what}"
    );
}

#[test]
fn a_start_from_elsewhere_is_found() {
    let federation = completed(3, 2);
    let manifest = &federation.consortium.manifest;
    let mut records = records(&log(&federation, "2"));
    let start = records[0].clone();
    records.push(start);
    let (record, what) = forged(manifest, &records).unwrap();
    assert_eq!(record, records.len() as u64);
    assert!(
        matches!(
            what,
            Unsound::Stands {
                found: 0,
                round: 2,
                ..
            }
        ),
        "{what}"
    );
    // Unless no sum was signed since the last result: then a crash may have kept that from the
    // disk.
    let at = first(&records, |entry| matches!(entry, Entry::Outcome(_)));
    let next = at + first(&records[at..], |entry| matches!(entry, Entry::Sum(_)));
    let restarted = |entries: usize| {
        let start = records[0].clone();
        let entries = records[..entries].iter().cloned();
        forged(manifest, &entries.chain([start]).collect::<Vec<_>>())
    };
    for entries in at + 1..=next {
        assert!(restarted(entries).is_none(), "{entries}");
    }
    assert!(restarted(next + 1).is_some());
}

#[test]
fn a_round_takes_as_many_bytes_of_a_log_as_the_protocol_says() {
    for n in [3, 10] {
        let bytes = |rounds: u64, name: &str| log(&completed(n, rounds), name).len();
        let round = |name: &str| bytes(2, name) - bytes(1, name);
        assert_eq!(round("relay"), 100 * n * (n - 1) + 1424 * n + 344, "{n}");
        assert_eq!(round("0"), 1152 * n + 928, "{n}");
    }
}

#[test]
fn no_log_has_a_sealed_seed() {
    let federation = completed(4, 1);
    let manifest = &federation.consortium.manifest;
    let logs = ["relay", "0", "1", "2", "3"].map(|name| log(&federation, name));
    let has = |log: &[u8], bytes: &[u8]| log.windows(bytes.len()).any(|window| window == bytes);
    let shares = records(&logs[0])
        .into_iter()
        .filter_map(|record| match record.entry {
            Entry::Shares(list) => Some(list),
            _ => None,
        });
    let shares: Vec<_> = shares.flatten().collect();
    assert_eq!(shares.len(), 4 * 3 / 2);
    for signed in shares {
        let share = signed.verify(manifest, WHENEVER).unwrap();
        let from = federation.consortium.index(share.from).unwrap();
        let ledger = &federation.members[from].host.ledger;
        let sealed = &ledger.share(share.ctx, share.to).unwrap().sealed;
        assert!(logs.iter().all(|log| !has(log, sealed)));
        // The control: the relay's log, the sender's and the receiver's have its hash.
        let hash = logs.iter().filter(|log| has(log, share.sealed.as_bytes()));
        assert_eq!(hash.count(), 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_log(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u32..300) {
        let manifest = Consortium::new(3).manifest;
        prop_assert!(flaw(&manifest, &bytes).is_some());
        let begun = [&length.to_le_bytes()[..], &bytes].concat();
        prop_assert!(flaw(&manifest, &begun).is_some());
    }
}
