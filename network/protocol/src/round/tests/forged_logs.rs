//! Logs that were made anew, with a chain that holds: what they tell must hold by itself.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::audit::forged;
use super::node_fixture::TAG_SHARE;
use crate::audit::{Entry, Party, Record, Unsound};
use crate::digest::Digest;
use crate::identity::{Identity, NodeId};
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::peer::message::{Share, Sum};
use crate::round::peer::{OpenedSum, Participants};
use crate::round::{Evidence, Head, Outcome, Refusal};
use crate::sim::Consortium;
use crate::sim::EPOCH;
use crate::wire;

fn sums_of(outcome: &mut Outcome) -> &mut Vec<OpenedSum> {
    match &mut outcome.parts {
        Evidence::Sums(sums) => sums,
        Evidence::Decision(_) => panic!("a committee's"),
    }
}

/// Entries of attempts, made with everyone's keys.
struct Forger {
    consortium: Consortium,
    head: Head,
}

impl Forger {
    fn new(n: usize) -> Self {
        let consortium = Consortium::new(n);
        let head = Head::start(&consortium.manifest);
        Self { consortium, head }
    }

    fn identity(&self, node: usize) -> &Identity {
        &self.consortium.identities[node]
    }

    fn bundle(&self, nodes: &[usize], attempt: u32) -> Vec<Signed<Keys>> {
        let keys = nodes.iter().map(|node| {
            let keys = self.consortium.keys(*node, &self.head, attempt);
            self.consortium.sign(*node, &keys)
        });
        keys.collect()
    }

    fn participants(&self, bundle: &[Signed<Keys>]) -> Participants {
        let manifest = &self.consortium.manifest;
        let bundle = bundle.to_vec();
        Participants::of_result(bundle, manifest, &self.head, EPOCH, &BTreeSet::new()).unwrap()
    }

    fn share(&self, ctx: Digest, from: NodeId, to: NodeId, signer: usize) -> Signed<Share> {
        let sealed = Digest([1; 32]);
        let share = Share {
            ctx,
            from,
            to,
            sealed,
        };
        Signed::new(&share, self.identity(signer)).unwrap()
    }

    fn sum(&self, ctx: Digest, node: usize, signer: usize, root: u8) -> Signed<Sum> {
        let node = self.identity(node).node_id();
        let root = Digest([root; 32]);
        Signed::new(
            &Sum {
                ctx,
                node,
                root,
                tag_commitment: TAG_SHARE.commitment(ctx, node),
            },
            self.identity(signer),
        )
        .unwrap()
    }

    /// The relay's start.
    fn started(&self) -> Entry {
        Entry::Started {
            consortium_id: self.consortium.manifest.consortium_id(),
            party: Party::Relay,
            head: self.head,
            dropped: 0,
        }
    }

    /// What the relay logs of an attempt up to the last body.
    fn attempt(&self, nodes: &[usize], attempt: u32) -> Vec<Entry> {
        let bundle = self.bundle(nodes, attempt);
        let participants = self.participants(&bundle);
        let ctx = participants.ctx();
        let mut entries = vec![Entry::Keys(bundle)];
        for from in nodes {
            let id = self.identity(*from).node_id();
            let receivers = participants.receivers_from(id);
            let shares = receivers.map(|to| self.share(ctx, id, to, *from));
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
        let ctx = self.participants(&bundle).ctx();
        Outcome {
            ctx,
            bundle,
            parts: Evidence::Sums(
                nodes
                    .iter()
                    .map(|node| OpenedSum {
                        sum: self.sum(ctx, *node, *node, 1),
                        tag_share: TAG_SHARE,
                    })
                    .collect(),
            ),
            root: Digest([2; 32]),
            model: Digest([3; 32]),
        }
    }

    fn ack(&self, node: usize) -> Entry {
        let identity = self.identity(node);
        let ack = ResultAck {
            consortium_id: self.consortium.manifest.consortium_id(),
            node: identity.node_id(),
            head: self.head,
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
fn a_result_is_taken_back_by_the_relay_only_and_only_until_enough_have_acknowledged_it() {
    let mut forger = Forger::new(4);
    let nodes = [0, 1, 2];
    let attempt = |forger: &Forger, attempt: u32| {
        let mut entries = forger.attempt(&nodes, attempt);
        entries.push(Entry::Outcome(forger.outcome(&nodes, attempt)));
        entries
    };
    let taken_back = [
        vec![forger.started()],
        attempt(&forger, 1),
        vec![Entry::RolledBack],
        attempt(&forger, 2),
    ]
    .concat();
    assert!(forger.found(&taken_back).is_none(), "the control");
    let last = taken_back.len();
    let found = |forger: &Forger, change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = taken_back.clone();
        change(&mut entries);
        forger.found(&entries).unwrap()
    };

    // Without it the second attempt is on a model that is history.
    let (record, what) = found(&forger, &|entries| {
        entries.retain(|e| *e != Entry::RolledBack)
    });
    assert_eq!(record, 13, "{what}");
    // The same participants again, as the difference rule has it.
    let others = forger.bundle(&[1, 2, 3], 2);
    let (record, what) = found(&forger, &|entries| {
        entries.truncate(13);
        entries.push(Entry::Keys(others.clone()));
        entries.extend(forger.attempt(&[1, 2, 3], 2).split_off(1));
    });
    let difference = matches!(what, Unsound::Refused(Refusal::Difference { .. }));
    assert!(record > 14 && difference, "{record}: {what}");
    let (record, what) = found(&forger, &|entries| entries.insert(1, Entry::RolledBack));
    assert!(record == 2 && matches!(what, Unsound::RolledBack), "{what}");
    let (record, what) = found(&forger, &|entries| entries.insert(13, Entry::RolledBack));
    assert!(
        record == 14 && matches!(what, Unsound::RolledBack),
        "{what}"
    );
    let outcome = forger.outcome(&nodes, 2);
    forger.head = forger.head.next(outcome.ctx, outcome.root, outcome.model);
    let acknowledged = |acks: &[usize]| {
        let acks = acks.iter().map(|k| forger.ack(*k));
        let entries = taken_back.iter().cloned().chain(acks);
        let entries: Vec<_> = entries.chain([Entry::RolledBack]).collect();
        forger.found(&entries)
    };
    // A lone voice decides nothing, nor does one that is heard three times.
    for few in [&[0][..], &[0, 1], &[0, 0, 0]] {
        assert!(acknowledged(few).is_none(), "{few:?}");
    }
    let (record, what) = acknowledged(&[0, 1, 2]).unwrap();
    assert_eq!(record, last as u64 + 4);
    assert!(matches!(what, Unsound::RolledBack), "{what}");
}

#[test]
fn a_round_with_forged_contents_does_not_pass() {
    let mut forger = Forger::new(4);
    let nodes = [0, 1, 2];
    let mut entries = vec![forger.started()];
    entries.extend(forger.attempt(&nodes, 1));
    let outcome = forger.outcome(&nodes, 1);
    entries.push(Entry::Outcome(outcome.clone()));
    let before = forger.head;
    forger.head = before.next(outcome.ctx, outcome.root, outcome.model);
    entries.push(forger.ack(0));
    entries.extend(forger.attempt(&[1, 2, 3], 1));
    assert!(forger.found(&entries).is_none(), "the control");

    // Records 1: start, 2: keys, 3 to 5: shares, 6 to 8: sums, 9 to 11: bodies, 12: outcome, 13:
    // ack, 14: keys.
    let with = |record: usize, entry: Entry| {
        let mut entries = entries.clone();
        entries[record - 1] = entry;
        let (found, what) = forger.found(&entries).unwrap();
        assert_eq!(found, record as u64, "{what}");
        what
    };
    let base = Forger {
        head: before,
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
    let receiver = base.identity(0).node_id();
    let participants = base.participants(&outcome.bundle);
    let giver = nodes.into_iter().find(|k| {
        let id = base.identity(*k).node_id();
        participants.gives(id, receiver)
    });
    let giver = base.identity(giver.unwrap()).node_id();
    let back = base.share(outcome.ctx, receiver, giver, 0);
    let what = with(3, Entry::Shares(vec![back]));
    assert!(
        matches!(what, Unsound::Refused(Refusal::Invalid { .. })),
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
    sums_of(&mut other)[0].sum = base.sum(outcome.ctx, 0, 0, 9);
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
