//! Logs of whole federations: sound as they are, and not after anything was done to them, not even by someone who
//! computes the chain of digests anew.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::federation::{EPOCH, Federation};
use crate::audit::{Entry, Flaw, Log, Party, Record, Taken, Unsound, verify};
use crate::digest::Digest;
use crate::identity::Identity;
use crate::manifest::Manifest;
use crate::round::message::{Keys, ResultAck, Share, Signed, Sum};
use crate::round::{Chain, Kind, Outcome, Participants, Parts, Refusal};
use crate::testing::Consortium;
use crate::wire;

/// The log of a party of a federation that has come to its end.
fn log(federation: &Federation, name: &str) -> Vec<u8> {
    fs::read(federation.logs.path().join(name)).unwrap()
}

fn completed(n: usize, rounds: u64) -> Federation {
    let mut federation = Federation::new(n, rounds, 17);
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
fn chained(sid: Digest, records: &[Record]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (mut log, _) = Log::open(&path, sid).unwrap();
    records
        .iter()
        .for_each(|record| log.append(record).unwrap());
    fs::read(path).unwrap()
}

fn flaw(manifest: &Manifest, log: &[u8]) -> Option<Flaw> {
    verify(manifest, log).unwrap().flaw
}

/// What is found when the forger has chained these records anew.
fn forged(manifest: &Manifest, records: &[Record]) -> Option<(u64, Unsound)> {
    let flaw = flaw(manifest, &chained(manifest.sid(), records))?;
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
        let verdict = verify(manifest, &log(&federation, name)[..]).unwrap();
        assert!(verdict.flaw.is_none());
        let summary = verdict.summary;
        let party = match name.parse() {
            Ok(node) => Party::Node(federation.id(node)),
            Err(_) => Party::Relay,
        };
        assert_eq!(summary.party, Some(party));
        assert_eq!(summary.begins, Some(Chain::start(manifest)));
        assert_eq!(summary.rounds.len(), 2);
        for (round, number) in summary.rounds.iter().zip(1..) {
            assert_eq!((round.round, round.attempts), (number, 1));
            assert_eq!(round.participants, all);
            let chain = federation.chains[&number];
            assert_eq!(round.taken, Some(Taken::Result(chain)));
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
    let mut federation = Federation::new(5, 5, 9);
    federation.crash(4, None);
    let hour = Duration::from_secs(3600);
    assert!(federation.run(hour, |f| f.relay_chain.round == 3));
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
        let verdict = verify(manifest, &log[..length]).unwrap();
        assert_eq!(verdict.summary.records, whole as u64, "{length} bytes");
        assert_eq!(verdict.summary.incomplete, (length - ends[whole]) as u64);
        match whole {
            0 => assert!(matches!(verdict.flaw.unwrap().what, Unsound::NotBegun)),
            _ => assert!(verdict.flaw.is_none(), "{length} bytes"),
        }
    }
    // A file system may have lengthened the file before it wrote to it.
    let zeros = [&log[..], &[0; 100]].concat();
    let verdict = verify(manifest, &zeros[..]).unwrap();
    assert!(verdict.flaw.is_none());
    assert_eq!(verdict.summary.incomplete, 100);
}

#[test]
fn a_node_that_is_cut_off_in_mid_append_goes_on_with_a_sound_log() {
    let mut federation = Federation::new(3, 3, 5);
    let hour = Duration::from_secs(3600);
    assert!(federation.run(hour, |f| f.relay_chain.round == 1));
    federation.crash(1, None);
    let path = federation.logs.path().join("1");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, [&bytes[..], &[200, 0, 0, 0, 1, 2, 3]].concat()).unwrap();
    federation.bring_back(1);
    federation.run_to_the_end();
    let records = records(&fs::read(&path).unwrap());
    let noted = |record: &Record| matches!(record.entry, Entry::Started { dropped: 7, .. });
    assert_eq!(records.iter().filter(|record| noted(record)).count(), 1);
}

#[test]
fn the_log_of_another_consortium_or_of_a_stranger_is_refused() {
    let federation = completed(3, 1);
    let log = log(&federation, "relay");
    let sid = federation.consortium.manifest.sid();
    let other = Consortium::new(3).manifest;
    let found = flaw(&other, &log).unwrap();
    assert!(
        matches!(found.what, Unsound::OtherManifest(found) if found == sid),
        "{found}"
    );
    let (record, what) = forged(&other, &records(&log)).unwrap();
    assert_eq!(record, 1);
    assert!(matches!(what, Unsound::OtherManifest(_)), "{what}");

    let manifest = &federation.consortium.manifest;
    let mut records = records(&log);
    let stranger = Identity::generate().unwrap().node_id();
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
    assert!(matches!(what, Unsound::Unsigned(_)), "{what}");
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
    // Unless no sum was signed since the last result: then a crash may have kept that from the disk.
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

fn sums_of(outcome: &mut Outcome) -> &mut Vec<Signed<Sum>> {
    match &mut outcome.parts {
        Parts::Sums(sums) => sums,
        Parts::Decision(_) => panic!("a committee's"),
    }
}

/// Entries of attempts, made with everyone's keys.
struct Forger {
    consortium: Consortium,
    chain: Chain,
}

impl Forger {
    fn new(n: usize) -> Self {
        let consortium = Consortium::new(n);
        let chain = Chain::start(&consortium.manifest);
        Self { consortium, chain }
    }

    fn identity(&self, node: usize) -> &Identity {
        &self.consortium.identities[node]
    }

    fn bundle(&self, nodes: &[usize], attempt: u32) -> Vec<Signed<Keys>> {
        let keys = nodes.iter().map(|node| {
            let identity = self.identity(*node);
            let keys = Keys {
                sid: self.consortium.manifest.sid(),
                node: identity.node_id(),
                round: self.chain.next_round(),
                attempt,
                previous: self.chain.previous,
                model: self.chain.model,
                round_key: [7; 32],
                expires_unix_s: EPOCH + 60,
            };
            Signed::new(&keys, identity).unwrap()
        });
        keys.collect()
    }

    fn ctx(&self, bundle: &[Signed<Keys>]) -> Digest {
        let manifest = &self.consortium.manifest;
        let bundle = bundle.to_vec();
        let participants = Participants::of_result(bundle, manifest, &self.chain, EPOCH);
        participants.unwrap().ctx()
    }

    fn sum(&self, ctx: Digest, node: usize, signer: usize, root: u8) -> Signed<Sum> {
        let node = self.identity(node).node_id();
        let root = Digest([root; 32]);
        Signed::new(
            &Sum {
                ctx,
                node,
                root,
                tag: [0; 2],
            },
            self.identity(signer),
        )
        .unwrap()
    }

    /// The relay's start.
    fn started(&self) -> Entry {
        Entry::Started {
            sid: self.consortium.manifest.sid(),
            party: Party::Relay,
            chain: self.chain,
            dropped: 0,
        }
    }

    /// What the relay logs of an attempt up to the last body.
    fn attempt(&self, nodes: &[usize], attempt: u32) -> Vec<Entry> {
        let bundle = self.bundle(nodes, attempt);
        let ctx = self.ctx(&bundle);
        let mut entries = vec![Entry::Keys(bundle)];
        for from in nodes {
            let others = nodes.iter().filter(|to| *to != from);
            let shares = others.map(|to| {
                let share = Share {
                    ctx,
                    from: self.identity(*from).node_id(),
                    to: self.identity(*to).node_id(),
                    sealed: vec![1; 80],
                };
                Signed::new(&share, self.identity(*from)).unwrap()
            });
            entries.push(Entry::Shares(shares.collect()));
        }
        let sums = nodes
            .iter()
            .map(|node| Entry::Sum(self.sum(ctx, *node, *node, 1)));
        entries.extend(sums);
        let bodies = nodes.iter().map(|node| Entry::Body {
            ctx,
            node: self.identity(*node).node_id(),
        });
        entries.extend(bodies);
        entries
    }

    fn outcome(&self, nodes: &[usize], attempt: u32) -> Outcome {
        let bundle = self.bundle(nodes, attempt);
        let ctx = self.ctx(&bundle);
        Outcome {
            ctx,
            bundle,
            parts: Parts::Sums(
                nodes
                    .iter()
                    .map(|node| self.sum(ctx, *node, *node, 1))
                    .collect(),
            ),
            root: Digest([2; 32]),
            model: Digest([3; 32]),
        }
    }

    fn ack(&self, node: usize) -> Entry {
        let identity = self.identity(node);
        let ack = ResultAck {
            sid: self.consortium.manifest.sid(),
            node: identity.node_id(),
            round: self.chain.round,
            result: self.chain.previous,
            model: self.chain.model,
        };
        Entry::Ack(Signed::new(&ack, identity).unwrap())
    }

    /// What is found in a log of these entries.
    fn found(&self, entries: &[Entry]) -> Option<(u64, Unsound)> {
        let record = |entry: &Entry| Record {
            unix_s: EPOCH,
            entry: entry.clone(),
        };
        let records: Vec<_> = entries.iter().map(record).collect();
        forged(&self.consortium.manifest, &records)
    }
}

#[test]
fn a_round_with_forged_contents_does_not_pass() {
    let mut forger = Forger::new(4);
    let nodes = [0, 1, 2];
    let mut entries = vec![forger.started()];
    entries.extend(forger.attempt(&nodes, 1));
    let outcome = forger.outcome(&nodes, 1);
    entries.push(Entry::Outcome(outcome.clone()));
    let before = forger.chain;
    forger.chain = before.next(outcome.ctx, outcome.root, outcome.model);
    entries.push(forger.ack(0));
    entries.extend(forger.attempt(&[1, 2, 3], 1));
    assert!(forger.found(&entries).is_none(), "the control");

    // Records 1: start, 2: keys, 3 to 5: shares, 6 to 8: sums, 9 to 11: bodies, 12: outcome, 13: ack, 14: keys.
    let with = |record: usize, entry: Entry| {
        let mut entries = entries.clone();
        entries[record - 1] = entry;
        let (found, what) = forger.found(&entries).unwrap();
        assert_eq!(found, record as u64, "{what}");
        what
    };
    let base = Forger {
        chain: before,
        consortium: Consortium {
            identities: forger.consortium.identities.clone(),
            manifest: forger.consortium.manifest.clone(),
        },
    };

    let what = with(2, Entry::Keys(base.bundle(&[0, 1], 1)));
    assert!(
        matches!(what, Unsound::Refused(Refusal::TooFew { .. })),
        "{what}"
    );
    let what = with(2, Entry::Keys(forger.bundle(&nodes, 1)));
    assert!(
        matches!(what, Unsound::Refused(Refusal::Stale { .. })),
        "{what}"
    );
    let forged = Entry::Sum(base.sum(outcome.ctx, 0, 3, 1));
    let what = with(6, forged);
    assert!(
        matches!(what, Unsound::Refused(Refusal::Invalid { .. })),
        "{what}"
    );
    let what = with(7, Entry::Sum(base.sum(outcome.ctx, 0, 0, 9)));
    assert!(
        matches!(what, Unsound::Refused(Refusal::Duplicate { .. })),
        "{what}"
    );

    let changed = |change: fn(&mut Outcome)| {
        let mut outcome = outcome.clone();
        change(&mut outcome);
        Entry::Outcome(outcome)
    };
    let what = with(12, changed(|outcome| drop(sums_of(outcome).pop())));
    assert!(matches!(what, Unsound::OtherSum(_)), "{what}");
    let mut other = outcome.clone();
    sums_of(&mut other)[0] = base.sum(outcome.ctx, 0, 0, 9);
    let what = with(12, Entry::Outcome(other));
    assert!(matches!(what, Unsound::OtherSum(_)), "{what}");
    // A result or a model that is not the one that was acknowledged, and built upon.
    let mut entries = entries.clone();
    for change in [
        |o: &mut Outcome| o.root.0[0] ^= 1,
        |o: &mut Outcome| o.model.0[0] ^= 1,
    ] {
        entries[11] = changed(change);
        let (record, what) = forger.found(&entries).unwrap();
        assert_eq!(record, 13);
        assert!(
            matches!(what, Unsound::Refused(Refusal::Stale { .. })),
            "{what}"
        );
        let mut unacknowledged = entries.clone();
        unacknowledged.remove(12);
        let (record, what) = forger.found(&unacknowledged).unwrap();
        assert_eq!(record, 13);
        assert!(
            matches!(what, Unsound::Refused(Refusal::Previous { .. })),
            "{what}"
        );
    }
}

#[test]
fn a_rerun_with_others_after_the_bodies_breaks_the_difference_rule() {
    let forger = Forger::new(5);
    let mut entries = vec![forger.started()];
    entries.extend(forger.attempt(&[0, 1, 2], 1));
    let first = entries.len();
    let rerun = |nodes: &[usize]| [&entries[..], &forger.attempt(nodes, 2)].concat();
    assert!(
        forger.found(&rerun(&[0, 1, 2])).is_none(),
        "the same participants"
    );
    let (record, what) = forger.found(&rerun(&[2, 3, 4])).unwrap();
    assert!(
        record > first as u64 + 4,
        "the relay asks in vain until a sum is signed"
    );
    assert!(
        matches!(what, Unsound::Refused(Refusal::Difference { .. })),
        "{what}"
    );
    // As long as no body has arrived, nothing can be subtracted.
    let begun = &entries[..entries.len() - 3];
    let rerun = [begun, &forger.attempt(&[2, 3, 4], 2)].concat();
    assert!(forger.found(&rerun).is_none());
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

    #[test]
    fn perturbed_records_in_a_new_chain_never_panic(at in any::<prop::sample::Index>(), by in 1u8..) {
        let forger = Forger::new(3);
        let mut entries = vec![forger.started()];
        entries.extend(forger.attempt(&[0, 1, 2], 1));
        entries.push(Entry::Outcome(forger.outcome(&[0, 1, 2], 1)));
        for entry in &mut entries {
            let record = Record { unix_s: EPOCH, entry: entry.clone() };
            let mut bytes = wire::encode(&record).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            if let Ok(record) = wire::decode::<Record>(&bytes) {
                *entry = record.entry;
            }
        }
        let _ = forger.found(&entries);
    }
}
