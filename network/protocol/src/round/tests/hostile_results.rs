//! A relay that publishes a wrong result or a checkpoint that nobody certified.

use std::collections::BTreeSet;

use fl_shaders::{Ring, Tag};

use super::node_fixture::{NodeFixture, TAG_SHARE};
use crate::digest::{ChunkHashes, Digest};
use crate::identity::{Identity, NodeId};
use crate::round::message::{ResultAck, Signed};
use crate::round::node::Action;
use crate::round::peer::message::Sum;
use crate::round::peer::{OpenedSum, TagShare};
use crate::round::{
    Check, CheckedOutcome, Checkpoint, Evidence, Head, Kind, Outcome, Refusal, Verifier,
};
use crate::sim::{EPOCH, HEADER_WORDS, OPEN_BOXES};
use crate::wire::RelayFrame;

/// A node that holds its sum over four, and the honest outcome with its bytes.
fn published(body: impl FnOnce(&NodeFixture) -> Vec<u8>) -> (NodeFixture, Outcome, Vec<u8>) {
    let mut target = NodeFixture::idle(5);
    let (participants, own) = target.holds(1..4, 1, b"masked");
    let sums = (1..4)
        .map(|k| target.sum(k, participants.ctx()))
        .chain([own])
        .collect();
    let body = body(&target);
    let outcome = target.outcome(&participants, sums, &body);
    (target, outcome, body)
}

fn refusal(change: impl FnOnce(&NodeFixture, &mut Outcome)) -> Refusal {
    let (mut target, mut outcome, _) = published(|target| target.result(4));
    change(&target, &mut outcome);
    target.send(RelayFrame::Outcome(outcome)).unwrap_err()
}

fn checked(target: &mut NodeFixture, outcome: Outcome) -> CheckedOutcome {
    let mut actions = target.send(RelayFrame::Outcome(outcome)).unwrap();
    let Some(Action::Average(checked)) = actions.pop() else {
        panic!("{actions:?}")
    };
    checked
}

/// Takes any sum: here it is the other checks that are tried.
struct Credulous;

impl Verifier for Credulous {
    type Check = Self;

    fn begin(&self, _: Digest, _: Ring, _: usize) -> Self {
        Self
    }
}

impl Check for Credulous {
    fn add(&mut self, _: &[u8]) {}

    fn holds(self, _: &BTreeSet<NodeId>, _: Tag) -> bool {
        true
    }
}

/// What the node makes of the bytes, once the signatures hold.
fn averaged(target: &mut NodeFixture, outcome: Outcome, body: &[u8]) -> Result<Head, Refusal> {
    let checked = checked(target, outcome);
    let base = vec![0.0; target.consortium.manifest.parameters()];
    let plan = target.consortium.manifest.fixed_point();
    checked
        .average(body, &base, plan, &Credulous)
        .map(|averaged| averaged.head)
}

#[test]
fn an_honest_result_is_taken_and_acknowledged_even_long_after_its_keys_expired() {
    let (mut target, outcome, body) = published(|target| target.result(4));
    let head = averaged(&mut target, outcome.clone(), &body).unwrap();
    assert_eq!((head.round, head.model), (1, outcome.model));

    let mut late = NodeFixture::idle(5);
    late.consortium = target.consortium;
    let (manifest, identity) = (
        late.consortium.manifest.clone(),
        late.consortium.identities[4].clone(),
    );
    let start = Head::start(&manifest);
    let mut node = crate::round::node::Node::new(
        manifest,
        identity,
        start,
        Default::default(),
        None,
        OPEN_BOXES,
    );
    let a_year_later = crate::sim::EPOCH + 365 * 86_400;
    assert!(
        node.handle(RelayFrame::Outcome(outcome), a_year_later)
            .is_ok()
    );
}

#[test]
fn of_two_results_of_one_context_the_one_that_came_last_counts() {
    let (mut target, first, body) = published(|target| target.result(4));
    let base = vec![0.0; target.consortium.manifest.parameters()];
    let plan = *target.consortium.manifest.fixed_point();
    let average = |checked: &CheckedOutcome, body: &[u8]| {
        let averaged = checked.average(body, &base, &plan, &Credulous);
        averaged.unwrap()
    };
    let late = average(&checked(&mut target, first.clone()), &body);
    // Something that makes the node step back, and then another sum of the same inputs: neither sum
    // nor model is signed.
    target.node.abandon(Refusal::Voted);
    let mut other = target.result(4);
    *other.last_mut().unwrap() ^= 1;
    let (mut second, again) = (first.clone(), first);
    (second.root, second.model) = (ChunkHashes::of(&other).root(), Digest([7; 32]));
    checked(&mut target, second);
    assert!(target.node.averaged(&late).unwrap().is_empty());
    // Negative control: announced again, the first is taken.
    target.node.abandon(Refusal::Voted);
    checked(&mut target, again);
    let taken = target.node.averaged(&late).unwrap();
    assert!(
        taken
            .iter()
            .any(|action| matches!(action, Action::Commit(head) if *head == late.head))
    );
}

fn sums(outcome: &mut Outcome) -> &mut Vec<OpenedSum> {
    match &mut outcome.parts {
        Evidence::Sums(sums) => sums,
        Evidence::Decision(_) => panic!("of the peer scheme"),
    }
}

fn opened(sum: Signed<Sum>) -> OpenedSum {
    let tag_share = TAG_SHARE;
    OpenedSum { sum, tag_share }
}

#[test]
fn a_tag_share_that_its_sum_does_not_commit_to_is_refused() {
    let modulus = (1 << 61) - 1;
    let changes: [fn(&mut OpenedSum); 4] = [
        |opened| opened.tag_share.tag[0] += 1,
        |opened| opened.tag_share.tag[1] += 1,
        |opened| opened.tag_share.nonce[31] ^= 1,
        |opened| opened.tag_share.tag.swap(0, 1),
    ];
    for (which, change) in changes.into_iter().enumerate() {
        // With two values that differ, so that they can change places.
        let other = TagShare {
            tag: [1, 2],
            ..TAG_SHARE
        };
        let mut signer = None;
        let r = refusal(|target, outcome| {
            let (id, ctx) = (target.id(1), outcome.ctx);
            let sum = Sum {
                ctx,
                node: id,
                root: ctx,
                tag_commitment: other.commitment(ctx, id),
            };
            let (sum, tag_share) = (target.sign(1, &sum), other);
            sums(outcome)[0] = OpenedSum { sum, tag_share };
            change(&mut sums(outcome)[0]);
            signer = Some(id);
        });
        let (what, signer) = (Kind::TagShare, signer.unwrap());
        assert_eq!(r, Refusal::Invalid { what, signer }, "{which}");
    }
    // Another's, and another attempt's, are bound as well.
    let (id, other) = (NodeId(Digest([1; 32])), NodeId(Digest([2; 32])));
    let (ctx, former) = (Digest([3; 32]), Digest([4; 32]));
    let commitment = TAG_SHARE.commitment(ctx, id);
    assert_ne!(TAG_SHARE.commitment(ctx, other), commitment);
    assert_ne!(TAG_SHARE.commitment(former, id), commitment);
    // What is committed to can be no tag at all.
    let beyond = TagShare {
        tag: [modulus, 0],
        ..TAG_SHARE
    };
    let r = refusal(|target, outcome| {
        let (id, ctx) = (target.id(1), outcome.ctx);
        let sum = Sum {
            ctx,
            node: id,
            root: ctx,
            tag_commitment: beyond.commitment(ctx, id),
        };
        let (sum, tag_share) = (target.sign(1, &sum), beyond);
        sums(outcome)[0] = OpenedSum { sum, tag_share };
    });
    assert!(
        matches!(
            r,
            Refusal::Invalid {
                what: Kind::TagShare,
                ..
            }
        ),
        "{r}"
    );
}

#[test]
fn an_outcome_with_a_missing_foreign_doubled_or_other_sum_is_refused() {
    let what = Kind::Sum;
    let r = refusal(|_, outcome| drop(sums(outcome).remove(0)));
    assert!(matches!(r, Refusal::MissingSum(_)), "{r}");
    let r = refusal(|target, outcome| {
        let sum = target.sum(4, outcome.ctx);
        sums(outcome).push(opened(sum));
    });
    assert!(matches!(r, Refusal::Stranger(_)), "{r}");
    let r = refusal(|_, outcome| {
        let again = sums(outcome)[0].clone();
        sums(outcome).push(again);
    });
    assert!(
        matches!(
            r,
            Refusal::Duplicate {
                what: Kind::Sum,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|target, outcome| sums(outcome)[0].sum = target.sum(1, Digest([9; 32])));
    assert!(
        matches!(r, Refusal::Stale { what: found, .. } if found == what),
        "{r}"
    );
    let r = refusal(|target, outcome| sums(outcome)[3].sum = target.sum(0, outcome.ctx));
    assert_eq!(r, Refusal::OwnSum);
    let r = refusal(|_, outcome| outcome.ctx = Digest([9; 32]));
    assert!(matches!(r, Refusal::Stale { .. }), "{r}");
    let r = refusal(|_, outcome| drop(outcome.bundle.drain(..2)));
    assert!(matches!(r, Refusal::TooFew { found: 2, .. }), "{r}");
}

#[test]
fn a_changed_word_of_the_result_is_noticed_and_so_is_another_model() {
    let (mut target, outcome, mut body) = published(|target| target.result(4));
    body[4 * HEADER_WORDS + 4] ^= 1;
    let found = ChunkHashes::of(&body).root();
    let announced = outcome.root;
    let r = averaged(&mut target, outcome.clone(), &body).unwrap_err();
    assert_eq!(r, Refusal::ResultRoot { announced, found });

    // The relay's root fits the changed bytes, its model does not.
    let (mut target, mut outcome, mut body) = published(|target| target.result(4));
    body[4 * HEADER_WORDS + 4] ^= 1;
    outcome.root = ChunkHashes::of(&body).root();
    let r = averaged(&mut target, outcome, &body).unwrap_err();
    assert!(matches!(r, Refusal::Averaged { .. }), "{r}");
}

/// The honest result with one word replaced, and a root and model to go with it.
fn with_word(index: usize, word: i32) -> Refusal {
    let (mut target, outcome, body) = published(|target| {
        let mut body = target.result(4);
        body[4 * index..4 * index + 4].copy_from_slice(&word.to_le_bytes());
        body
    });
    averaged(&mut target, outcome, &body).unwrap_err()
}

#[test]
fn an_impossible_sum_is_refused_whatever_root_and_model_are_announced() {
    // ⌈2^23 · Σn / n_max⌉ + |V| with Σn = 400 and n_max = 1000.
    let limit = 3_355_448;
    let beyond = i32::try_from(limit + 1).unwrap();
    for (value, index) in [(beyond, 0), (-beyond, 5)] {
        let refusal = with_word(HEADER_WORDS + index, value);
        let (index, value) = (index as u64, i64::from(value));
        assert_eq!(
            refusal,
            Refusal::OutOfRange {
                index,
                value,
                limit
            }
        );
    }
    // No examples, too many, a negative counter.
    for (index, word) in [
        (0, 0),
        (0, 4001),
        (0, -1),
        (1, -1),
        (2, -11),
        (3, -5),
        (4, i32::MIN),
    ] {
        assert!(
            matches!(with_word(index, word), Refusal::Counters(_)),
            "{index}: {word}"
        );
    }
}

#[test]
fn a_truncated_or_longer_result_is_refused() {
    for change in [-4isize, 4] {
        let (mut target, outcome, body) = published(|target| {
            let mut body = target.result(4);
            body.resize(body.len().checked_add_signed(change).unwrap(), 0);
            body
        });
        let r = averaged(&mut target, outcome, &body).unwrap_err();
        assert!(matches!(r, Refusal::Counters(_)), "{r}");
    }
}

#[test]
fn a_second_result_is_not_begun_while_one_is_averaged() {
    let (mut target, outcome, _) = published(|target| target.result(4));
    checked(&mut target, outcome.clone());
    let r = target.send(RelayFrame::Outcome(outcome)).unwrap_err();
    assert_eq!(
        r,
        Refusal::Unexpected {
            what: Kind::Outcome
        }
    );
}

#[test]
fn a_checkpoint_needs_the_acknowledgements_of_enough_different_members() {
    let mut target = NodeFixture::idle(5);
    let head = Head {
        round: 7,
        previous: Digest([1; 32]),
        model: Digest([2; 32]),
    };
    let ack = |k: usize| target.ack(k, head);
    let stranger = Identity::of_test("one");
    let foreign = ResultAck {
        consortium_id: target.consortium.manifest.consortium_id(),
        node: stranger.node_id(),
        head,
    };
    let foreign = Signed::new(&foreign, &stranger).unwrap();
    let elsewhere = target.ack(3, Head { round: 6, ..head });
    let forged = [
        vec![],
        vec![ack(1), ack(2)],
        vec![ack(1), ack(2), ack(2)],
        vec![ack(1), ack(2), foreign],
        vec![ack(1), ack(2), elsewhere],
    ];
    let honest = vec![ack(1), ack(2), ack(3)];
    for acks in forged {
        let valid = u32::try_from(acks.len().min(2)).unwrap();
        let r = target
            .send(RelayFrame::Checkpoint(Checkpoint { head, acks }))
            .unwrap_err();
        assert_eq!(
            r,
            Refusal::Checkpoint {
                round: 7,
                valid,
                needed: 3
            }
        );
    }
    let checkpoint = Checkpoint { head, acks: honest };
    let actions = target
        .send(RelayFrame::Checkpoint(checkpoint.clone()))
        .unwrap();
    let [Action::Adopt(adopt)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(matches!(
        adopt.check_model(&[0.5; 6]),
        Err(Refusal::Averaged { .. })
    ));
    target.node.adopted(head).unwrap();
    assert_eq!(target.node.head(), head);
    let r = target.send(RelayFrame::Checkpoint(checkpoint)).unwrap_err();
    assert_eq!(
        r,
        Refusal::Unexpected {
            what: Kind::Checkpoint
        },
        "never backwards"
    );
}

#[test]
fn a_checkpoint_of_the_last_round_there_can_be_overflows_nothing() {
    let mut target = NodeFixture::idle(4);
    let head = Head {
        round: u64::MAX,
        previous: Digest([1; 32]),
        model: Digest([2; 32]),
    };
    let acks = (1..4).map(|k| target.ack(k, head)).collect();
    target
        .send(RelayFrame::Checkpoint(Checkpoint { head, acks }))
        .unwrap();
    target.node.adopted(head).unwrap();
    target.node.connected(EPOCH).unwrap();
    let open = target.open(1, 1);
    assert!(target.send(open).is_err());
    target.node.abandon(Refusal::OwnKeys);
}
