//! Nodes that do not keep to the protocol, against the honest relay: each gets its refusal, and the
//! rest goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use super::node_fixture::{NodeFixture, TAG_SHARE};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::message::Keys;
use crate::round::peer::message::Sum;
use crate::round::peer::{Participants, SealedShare, TagShare};
use crate::round::relay::{Action, Event, Relay, Report};
use crate::round::{Head, KeyOffer, Kind, Refusal};
use crate::sim;
use crate::sim::{EPOCH, OPEN_BOXES};
use crate::wire::{BodyId, Hello, NodeFrame, RelayFrame};

/// A relay, and the keys of all its nodes to sign anything with.
struct RelayFixture {
    all: NodeFixture,
    relay: Relay,
    now: Duration,
}

impl RelayFixture {
    /// With `n` nodes that have said hello; the first attempt is open.
    fn open(n: usize) -> Self {
        let mut target = Self::empty(n);
        for k in 0..n {
            let hello = target.hello();
            target.frame(k, NodeFrame::Hello(hello));
        }
        target
    }

    fn empty(n: usize) -> Self {
        let all = NodeFixture::idle(n);
        let manifest = all.consortium.manifest.clone();
        let settings = sim::settings(2, 1.0, 3);
        let head = Head::start(&manifest);
        let relay = Relay::new(manifest, settings, head, EPOCH, [0; 32], OPEN_BOXES);
        Self {
            all,
            relay,
            now: Duration::ZERO,
        }
    }

    fn hello(&self) -> Hello {
        let manifest = &self.all.consortium.manifest;
        Hello {
            consortium_id: manifest.consortium_id(),
            head: Head::start(manifest),
            pending: None,
            holding: None,
            voted_for: Vec::new(),
            unix_s: EPOCH,
        }
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.now += Duration::from_millis(1);
        self.relay.handle(self.now, event)
    }

    fn frame(&mut self, k: usize, frame: NodeFrame) -> Vec<Action> {
        let id = self.all.id(k);
        self.event(Event::Frame(id, frame))
    }

    fn offer(&mut self, k: usize, attempt: u32) -> Vec<Action> {
        self.offer_keys(k, &self.all.keys(k, attempt))
    }

    /// Node `k` signs these keys, and sends its round key beside them.
    fn offer_keys(&mut self, k: usize, keys: &Keys) -> Vec<Action> {
        let keys = self.all.sign(k, keys);
        let offer = self.all.consortium.offer(k, keys);
        self.frame(k, NodeFrame::Keys(offer))
    }

    fn share(&mut self, k: usize, participants: &Participants) -> Vec<Action> {
        let receivers = self.all.receivers(k, participants).into_iter();
        let shares = receivers.map(|j| self.all.share(k, j, participants.ctx()));
        let shares = shares.collect();
        self.frame(k, NodeFrame::Shares(shares))
    }

    fn sum(&mut self, k: usize, ctx: Digest) -> Vec<Action> {
        let sum = self.all.sum(k, ctx);
        self.frame(k, NodeFrame::Sum(sum))
    }

    fn tag_share(&mut self, k: usize, ctx: Digest, share: TagShare) -> Vec<Action> {
        self.frame(k, NodeFrame::TagShare { ctx, share })
    }

    /// All offer.
    fn all_offer(&mut self, nodes: &[usize], attempt: u32) -> Participants {
        let actions: Vec<_> = nodes.iter().flat_map(|k| self.offer(*k, attempt)).collect();
        let bundle = actions.into_iter().find_map(|action| match action {
            Action::Send(_, RelayFrame::Keys { bundle, .. }) => Some(bundle),
            _ => None,
        });
        let manifest = &self.all.consortium.manifest;
        let head = Head::start(manifest);
        Participants::verify(bundle.unwrap(), manifest, &head, EPOCH, &BTreeSet::new()).unwrap()
    }

    /// The honest nodes get as far as having their sums collected.
    fn completes_with(&mut self, nodes: &[usize], attempt: u32) {
        let participants = self.all_offer(nodes, attempt);
        self.shares_and_sums(nodes, &participants);
    }

    fn all_share(&mut self, nodes: &[usize], participants: &Participants) {
        for k in nodes {
            self.share(*k, participants);
        }
    }

    fn shares_and_sums(&mut self, nodes: &[usize], participants: &Participants) {
        self.all_share(nodes, participants);
        let ctx = participants.ctx();
        let actions: Vec<_> = nodes.iter().flat_map(|k| self.sum(*k, ctx)).collect();
        let collects = actions
            .iter()
            .filter(|action| matches!(action, Action::Collect { .. }));
        assert_eq!(collects.count(), nodes.len());
    }
}

fn turned_away(actions: &[Action]) -> Option<(NodeId, Refusal)> {
    actions.iter().find_map(|action| match action {
        Action::TurnAway(id, refusal) => Some((*id, refusal.clone())),
        _ => None,
    })
}

#[test]
fn wrong_keys_cost_their_sender_the_connection_and_no_one_else_anything() {
    let other = Digest([9; 32]);
    type Change = fn(&mut Keys);
    let changes: [(Change, &str); 5] = [
        (|k| k.round = 2, "Stale"),
        (|k| k.round = u64::MAX, "Stale"),
        (|k| k.attempt = u32::MAX, "Stale"),
        (|k| k.expires_unix_s = EPOCH, "KeyExpired"),
        (|k| k.consortium_id = Digest([9; 32]), "Manifest"),
    ];
    for (change, wanted) in changes {
        let mut target = RelayFixture::open(4);
        let mut keys = target.all.keys(3, 1);
        change(&mut keys);
        let actions = target.offer_keys(3, &keys);
        let (id, refusal) = turned_away(&actions).unwrap();
        assert_eq!(id, target.all.id(3));
        assert!(format!("{refusal:?}").starts_with(wanted), "{refusal}");
        target.completes_with(&[0, 1, 2], 1);
    }
    // In another's name, and signed by another.
    let mut target = RelayFixture::open(4);
    let foreign = target.all.sign(2, &target.all.keys(2, 1));
    let foreign = target.all.consortium.offer(2, foreign);
    let actions = target.frame(3, NodeFrame::Keys(foreign));
    assert_eq!(
        turned_away(&actions).unwrap().1,
        Refusal::Stranger(target.all.id(2))
    );
    let mut target = RelayFixture::open(4);
    let forged = target.all.keys(2, 1);
    let actions = target.offer_keys(3, &forged);
    assert!(matches!(
        turned_away(&actions).unwrap().1,
        Refusal::Invalid {
            what: Kind::Keys,
            ..
        }
    ));
    // Another model, and keys twice.
    let mut target = RelayFixture::open(4);
    let keys = Keys {
        model: other,
        ..target.all.keys(3, 1)
    };
    let actions = target.offer_keys(3, &keys);
    assert!(matches!(
        turned_away(&actions).unwrap().1,
        Refusal::Model { .. }
    ));
    let mut target = RelayFixture::open(4);
    assert!(turned_away(&target.offer(3, 1)).is_none());
    let actions = target.offer(3, 1);
    assert!(matches!(
        turned_away(&actions).unwrap().1,
        Refusal::Duplicate {
            what: Kind::Keys,
            ..
        }
    ));
    target.completes_with(&[0, 1, 2], 1);
}

#[test]
fn a_round_key_that_was_not_signed_or_is_none_costs_its_sender_the_connection() {
    let keys = |target: &RelayFixture, public: &[u8]| Keys {
        round_key: Digest::sha256(&[public]),
        ..target.all.keys(3, 1)
    };
    // What it signs, and what it sends beside that. Nothing can be sealed to zero.
    let cases: [[&[u8]; 2]; 4] = [
        [&[4; 32], &[5; 32]],
        [&[4; 32], &[]],
        [&[0; 32], &[0; 32]],
        [&[4; 31], &[4; 31]],
    ];
    for [signed, sent] in cases {
        let mut target = RelayFixture::open(4);
        let keys = target.all.sign(3, &keys(&target, signed));
        let round_key = sent.to_vec();
        let actions = target.frame(3, NodeFrame::Keys(KeyOffer { keys, round_key }));
        let (what, signer) = (Kind::Keys, target.all.id(3));
        let refusal = Refusal::Invalid { what, signer };
        assert_eq!(turned_away(&actions), Some((signer, refusal)));
        target.completes_with(&[0, 1, 2], 1);
    }
}

#[test]
fn keys_that_were_under_way_when_the_attempt_ended_cost_nothing() {
    let mut target = RelayFixture::open(4);
    target.all_offer(&[0, 1, 2, 3], 1);
    let refusal = Refusal::OwnKeys;
    target.frame(
        0,
        NodeFrame::Refused {
            round: 1,
            attempt: 1,
            refusal,
        },
    );
    let late = target.offer(1, 1);
    assert!(turned_away(&late).is_none());
    let is_late = |action: &Action| matches!(action, Action::Report(Report::Late(node, Kind::Keys)) if *node == target.all.id(1));
    assert!(late.iter().any(is_late));
    target.completes_with(&[1, 2, 3], 2);
}

#[test]
fn wrong_shares_cost_an_attempt_and_the_rest_goes_on() {
    let all = [0, 1, 2, 3, 4];
    /// Shares of node 3, which gives the third argument one each, and receives from the fourth.
    type Bad = fn(&RelayFixture, Digest, &[usize], &[usize]) -> Vec<SealedShare>;
    let cases: [(Bad, &str); 9] = [
        (|_, _, _, _| Vec::new(), "Invalid"),
        (|t, ctx, to, _| vec![t.all.share(3, to[0], ctx)], "Invalid"),
        (
            |t, ctx, to, from| vec![t.all.share(3, to[0], ctx), t.all.share(3, from[0], ctx)],
            "Invalid",
        ),
        (
            |t, ctx, to, _| vec![t.all.share(3, to[0], ctx), t.all.share(3, to[0], ctx)],
            "Duplicate",
        ),
        (|t, ctx, _, _| vec![t.all.share(3, 5, ctx)], "Stranger"),
        (|t, ctx, _, _| vec![t.all.share(2, 0, ctx)], "Stranger"),
        (
            |t, _, to, _| vec![t.all.share(3, to[0], Digest([9; 32]))],
            "Stale",
        ),
        (
            |t, ctx, to, _| {
                let from_to = (t.all.id(3), t.all.id(to[0]));
                let identity = &t.all.consortium.identities[3];
                vec![SealedShare::new(ctx, from_to, vec![0; 5000], identity).unwrap()]
            },
            "Invalid",
        ),
        // Another box than it has signed.
        (
            |t, ctx, to, _| {
                let mut share = t.all.share(3, to[0], ctx);
                share.sealed[0] ^= 1;
                vec![share]
            },
            "Invalid",
        ),
    ];
    for (bad, wanted) in cases {
        let mut target = RelayFixture::open(6);
        target.event(Event::Lost(target.all.id(5)));
        let participants = target.all_offer(&all, 1);
        let receivers = target.all.receivers(3, &participants);
        let givers = target.all.givers(3, &participants);
        let shares = bad(&target, participants.ctx(), &receivers, &givers);
        let actions = target.frame(3, NodeFrame::Shares(shares));
        let (_, refusal) = turned_away(&actions).unwrap();
        assert!(format!("{refusal:?}").starts_with(wanted), "{refusal}");
        target.completes_with(&[0, 1, 2, 4], 2);
    }
}

#[test]
fn a_wrong_sum_costs_an_attempt_and_the_rest_goes_on() {
    let all = [0, 1, 2, 3];
    for wrong in 0..3 {
        let mut target = RelayFixture::open(4);
        let participants = target.all_offer(&all, 1);
        target.all_share(&all, &participants);
        let (id, ctx) = (target.all.id(2), participants.ctx());
        let sum = match wrong {
            0 => target.all.sum(3, Digest([9; 32])),
            1 => target.all.sum(2, ctx),
            _ => target.all.sign(
                3,
                &Sum {
                    ctx,
                    node: id,
                    root: ctx,
                    tag_commitment: ctx,
                },
            ),
        };
        let actions = target.frame(3, NodeFrame::Sum(sum));
        let (_, refusal) = turned_away(&actions).unwrap();
        match wrong {
            0 => assert!(matches!(
                refusal,
                Refusal::Stale {
                    what: Kind::Sum,
                    ..
                }
            )),
            1 => assert_eq!(refusal, Refusal::Stranger(id)),
            _ => assert!(matches!(
                refusal,
                Refusal::Invalid {
                    what: Kind::Sum,
                    ..
                }
            )),
        }
        target.completes_with(&[0, 1, 2], 2);
    }
}

#[test]
fn a_node_outside_the_attempt_cannot_end_it() {
    let four = [0, 1, 2, 3];
    let mut target = RelayFixture::open(5);
    target.event(Event::Lost(target.all.id(4)));
    let participants = target.all_offer(&four, 1);
    let ctx = participants.ctx();
    let hello = target.hello();
    target.frame(4, NodeFrame::Hello(hello.clone()));
    let share = target.all.share(4, 0, ctx);
    let shared = target.frame(4, NodeFrame::Shares(vec![share]));
    assert!(turned_away(&shared).is_none());
    assert!(turned_away(&target.sum(4, ctx)).is_none());
    let refusal = Refusal::OwnKeys;
    target.frame(
        4,
        NodeFrame::Refused {
            round: 1,
            attempt: 1,
            refusal,
        },
    );
    target.frame(4, NodeFrame::Hello(hello));
    target.event(Event::BodyAdded(target.all.id(4), BodyId::sum(ctx)));
    target.shares_and_sums(&four, &participants);
    target.sum(4, ctx);
    target.event(Event::BodyAdded(target.all.id(4), BodyId::sum(ctx)));
    for k in 0..5 {
        let actions = target.tag_share(k, ctx, TAG_SHARE);
        assert!(turned_away(&actions).is_none(), "{actions:?}");
    }
    for k in [0, 1, 2] {
        let actions = target.event(Event::BodyAdded(target.all.id(k), BodyId::sum(ctx)));
        assert!(matches!(actions[..], [Action::Log(_)]), "{actions:?}");
    }
    let actions = target.event(Event::BodyAdded(target.all.id(3), BodyId::sum(ctx)));
    let [
        Action::Log(_),
        Action::Report(Report::Collected { round: 1 }),
        Action::Average { bodies, .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(bodies.len(), 4);
    // Whatever arrives while the average is computed.
    for k in 0..5 {
        target.offer(k, 1);
        target.share(k, &participants);
        target.sum(k, ctx);
        target.tag_share(k, ctx, TAG_SHARE);
        assert!(
            target
                .event(Event::BodyAdded(target.all.id(k), BodyId::sum(ctx)))
                .is_empty()
        );
    }
}

#[test]
fn a_tag_share_that_its_sum_does_not_commit_to_is_refused_and_no_sum_is_complete_without_all() {
    let all = [0, 1, 2];
    let mut target = RelayFixture::open(3);
    let participants = target.all_offer(&all, 1);
    target.shares_and_sums(&all, &participants);
    let collected = |actions: &[Action]| {
        let mut actions = actions.iter();
        actions.any(|action| matches!(action, Action::Average { .. }))
    };
    let ctx = participants.ctx();
    for k in all {
        let added = target.event(Event::BodyAdded(target.all.id(k), BodyId::sum(ctx)));
        assert!(!collected(&added), "without a tag share");
    }
    for k in [0, 1] {
        assert!(!collected(&target.tag_share(k, ctx, TAG_SHARE)));
    }
    // Of another attempt: it came too late, or too early.
    let other = target.tag_share(2, Digest([9; 32]), TAG_SHARE);
    assert!(turned_away(&other).is_none() && !collected(&other));
    let wrong = TagShare {
        tag: [1, 0],
        ..TAG_SHARE
    };
    let actions = target.tag_share(2, ctx, wrong);
    let (what, signer) = (Kind::TagShare, target.all.id(2));
    let expected = (signer, Refusal::Invalid { what, signer });
    assert_eq!(turned_away(&actions), Some(expected));
    assert!(!collected(&actions));
    // It comes back with its outbox, is asked again, and opens the right one.
    let pending = Some(ctx);
    let hello = Hello {
        pending,
        ..target.hello()
    };
    let actions = target.frame(2, NodeFrame::Hello(hello));
    let asked = |action: &Action| matches!(action, Action::Collect { sums, .. } if sums.len() == 3);
    assert!(actions.iter().any(asked), "{actions:?}");
    assert!(collected(&target.tag_share(2, ctx, TAG_SHARE)));
}

#[test]
fn hellos_that_do_not_belong_here_are_refused() {
    let other = Digest([9; 32]);
    type Change = fn(&mut Hello);
    let cases: [(Change, &str); 3] = [
        (|h| h.consortium_id = Digest([9; 32]), "Manifest"),
        (|h| h.head.model = Digest([9; 32]), "Model"),
        (|h| h.head.previous = Digest([9; 32]), "Previous"),
    ];
    for (change, wanted) in cases {
        let mut target = RelayFixture::empty(4);
        let mut hello = target.hello();
        change(&mut hello);
        let actions = target.frame(0, NodeFrame::Hello(hello));
        let (_, refusal) = turned_away(&actions).unwrap();
        assert!(format!("{refusal:?}").starts_with(wanted), "{refusal}");
    }
    let mut target = RelayFixture::empty(4);
    let hello = target.hello();
    let stranger = NodeId(other);
    let actions = target.event(Event::Frame(stranger, NodeFrame::Hello(hello)));
    assert_eq!(
        turned_away(&actions).unwrap().1,
        Refusal::Stranger(stranger)
    );
    let actions = target.offer(1, 1);
    let what = Kind::Hello;
    assert_eq!(
        turned_away(&actions).unwrap().1,
        Refusal::Unexpected { what },
        "no hello yet"
    );
}

#[test]
fn too_few_who_claim_to_be_ahead_of_the_relay_lead_nobody() {
    let mut target = RelayFixture::empty(5);
    let ahead = Head {
        round: u64::MAX,
        ..Head::start(&target.all.consortium.manifest)
    };
    for k in 0..5 {
        let mut hello = target.hello();
        if k > 2 {
            hello.head = ahead;
        }
        target.frame(k, NodeFrame::Hello(hello));
    }
    for k in [3, 4] {
        let ack = target.all.ack(k, ahead);
        let actions = target.frame(k, NodeFrame::Ack(ack));
        assert!(turned_away(&actions).is_none(), "{actions:?}");
    }
    // In the name of a third.
    let ack = target.all.ack(0, ahead);
    let actions = target.frame(4, NodeFrame::Ack(ack));
    let stranger = Refusal::Stranger(target.all.id(0));
    assert_eq!(turned_away(&actions).unwrap().1, stranger);
    // By one that does not stand there.
    let ack = target.all.ack(2, ahead);
    let actions = target.frame(2, NodeFrame::Ack(ack));
    assert!(turned_away(&actions).is_some());
    let hello = target.hello();
    target.frame(2, NodeFrame::Hello(hello));

    target.now += Duration::from_secs(11);
    let actions = target.event(Event::Tick);
    let opened =
        |action: &Action| matches!(action, Action::Report(Report::Opened { nodes: 3, .. }));
    assert!(actions.iter().any(opened), "{actions:?}");
    target.completes_with(&[0, 1, 2], 1);
}

#[test]
fn one_that_claims_to_be_further_than_the_others_does_not_keep_the_relay_from_their_model() {
    let mut target = RelayFixture::empty(5);
    let ahead = Head {
        round: 5,
        previous: Digest([4; 32]),
        model: Digest([5; 32]),
    };
    let further = Head {
        round: u64::MAX,
        ..ahead
    };
    for (k, head) in [(0, ahead), (1, ahead), (2, ahead), (3, further)] {
        let mut hello = target.hello();
        hello.head = head;
        target.frame(k, NodeFrame::Hello(hello));
        let ack = target.all.ack(k, head);
        target.frame(k, NodeFrame::Ack(ack));
    }
    target.now += Duration::from_secs(11);
    let actions = target.event(Event::Tick);
    let [Action::RequestModel { node, model }] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(model, ahead.model);
    assert!((0..3).any(|k| target.all.id(k) == node));
    // Nobody else was asked.
    let other = target.all.id(3);
    let body = BodyId::model(model);
    assert!(target.event(Event::BodyAdded(other, body)).is_empty());
    let actions = target.event(Event::BodyAdded(node, body));
    let adopted = |action: &Action| matches!(action, Action::Adopt(taken) if taken.head == ahead);
    assert!(actions.iter().any(adopted), "{actions:?}");
}

#[test]
fn a_wrong_acknowledgement_is_refused_and_ends_its_senders_part() {
    let start = Head::start(&NodeFixture::idle(3).consortium.manifest);
    for (head, wanted) in [
        (Head { round: 1, ..start }, "CannotCatchUp"),
        (
            Head {
                round: u64::MAX,
                ..start
            },
            "CannotCatchUp",
        ),
        (
            Head {
                model: Digest([9; 32]),
                ..start
            },
            "Previous",
        ),
    ] {
        let mut target = RelayFixture::open(4);
        target.all_offer(&[0, 1, 2, 3], 1);
        let ack = target.all.ack(3, head);
        let actions = target.frame(3, NodeFrame::Ack(ack));
        let (_, refusal) = turned_away(&actions).unwrap();
        assert!(format!("{refusal:?}").starts_with(wanted), "{refusal}");
        target.completes_with(&[0, 1, 2], 2);
    }
}

#[test]
fn what_one_node_claims_to_have_sent_does_not_stop_the_others() {
    let mut target = RelayFixture::open(5);
    target.all_offer(&[0, 1, 2, 3, 4], 1);
    let sent_with = vec![target.all.id(4), target.all.id(0), target.all.id(1)];
    let refusal = Refusal::Difference { sent_with };
    target.frame(
        4,
        NodeFrame::Refused {
            round: 1,
            attempt: 1,
            refusal,
        },
    );
    target.completes_with(&[0, 1, 2, 3], 2);
}

#[test]
fn a_node_that_says_hello_over_and_over_is_left_out() {
    let mut target = RelayFixture::open(4);
    let four = [0, 1, 2, 3];
    let participants = target.all_offer(&four, 1);
    target.share(0, &participants);
    for _ in 0..5 {
        let hello = target.hello();
        target.frame(3, NodeFrame::Hello(hello));
    }
    target.completes_with(&[0, 1, 2], 2);
}

#[test]
fn a_node_that_never_answers_delays_the_round_until_the_deadline_only() {
    let mut target = RelayFixture::open(4);
    (0..3).for_each(|k| drop(target.offer(k, 1)));
    let timeouts = target.all.consortium.manifest.timeouts();
    target.now += Duration::from_secs(timeouts.training_s + timeouts.keys_s);
    let actions = target.event(Event::Tick);
    let informed = actions
        .iter()
        .filter(|a| matches!(a, Action::Send(_, RelayFrame::Keys { .. })));
    assert_eq!(informed.count(), 3);
}
