//! A relay that lies about who takes part, and hands out what belongs elsewhere. Each test has its
//! honest control.

use std::collections::BTreeSet;

use super::node_fixture::{NodeFixture, TAG_SHARE, collect};
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::Identity;
use crate::round::Opening;
use crate::round::message::{Keys, Signed};
use crate::round::node::{Action, Node};
use crate::round::peer::{Participants, SealedShare};
use crate::round::{Head, Kind, Refusal, SentSum, SentSums};
use crate::sim::{Consortium, EPOCH, OPEN_BOXES};
use crate::wire::{NodeFrame, RelayFrame};

/// What the node says to keys that `change` has been at, from the honest bundle of four on.
fn keys_refusal(change: impl FnOnce(&NodeFixture, &mut Vec<Signed<Keys>>)) -> Refusal {
    let mut target = NodeFixture::idle(5);
    let own = target.offers(2);
    let mut bundle = target.bundle(&own, 1..4, 2);
    assert_eq!(bundle.len(), 4);
    change(&target, &mut bundle);
    let refusal = target.send_keys(bundle).unwrap_err();
    let again = target.open(1, 3);
    assert!(target.send(again).is_ok(), "it lives on");
    refusal
}

fn changed(target: &NodeFixture, k: usize, change: impl FnOnce(&mut Keys)) -> Signed<Keys> {
    let mut keys = target.keys(k, 2);
    change(&mut keys);
    target.sign(k, &keys)
}

#[test]
fn a_bundle_of_keys_is_refused_for_each_thing_wrong_with_it() {
    use Refusal as R;
    let what = Kind::Keys;
    let other = Digest([9; 32]);

    let stranger = Identity::of_test("one");
    let refusal = keys_refusal(|target, bundle| {
        let keys = Keys {
            node: stranger.node_id(),
            ..target.keys(1, 2)
        };
        bundle.push(Signed::new(&keys, &stranger).unwrap());
    });
    assert_eq!(
        refusal,
        R::Stranger(stranger.node_id()),
        "an unknown signer"
    );

    let refusal = keys_refusal(|_, bundle| drop(bundle.drain(..2)));
    assert_eq!(
        refusal,
        R::TooFew {
            found: 2,
            min_nodes: 3
        },
        "a signer too few"
    );

    let refusal = keys_refusal(|_, bundle| bundle.push(bundle[0].clone()));
    assert!(
        matches!(
            refusal,
            R::Duplicate {
                what: Kind::Keys,
                ..
            }
        ),
        "{refusal}"
    );

    let refusal = keys_refusal(|_, bundle| drop(bundle.pop()));
    assert_eq!(refusal, R::OwnKeys, "its own keys are missing");

    let refusal = keys_refusal(|target, bundle| bundle[3] = changed(target, 0, |_| ()));
    assert_eq!(refusal, R::OwnKeys, "its own keys are others");

    let refusal = keys_refusal(|target, bundle| {
        let keys = Keys {
            node: target.id(4),
            ..target.keys(4, 2)
        };
        bundle[0] = Signed::new(&keys, &target.consortium.identities[1]).unwrap();
    });
    assert!(
        matches!(
            refusal,
            R::Invalid {
                what: Kind::Keys,
                ..
            }
        ),
        "signed by another: {refusal}"
    );

    for (change, name) in [
        (
            Box::new(|k: &mut Keys| k.round = 2) as Box<dyn FnOnce(&mut Keys)>,
            "another round",
        ),
        (
            Box::new(|k: &mut Keys| k.round = u64::MAX),
            "the last round",
        ),
        (Box::new(|k: &mut Keys| k.attempt = 1), "another attempt"),
    ] {
        let refusal = keys_refusal(|target, bundle| bundle[0] = changed(target, 1, change));
        let stale = matches!(refusal, R::Stale { what: found, .. } if found == what);
        assert!(stale, "{name}: {refusal}");
    }

    let refusal =
        keys_refusal(|target, bundle| bundle[0] = changed(target, 1, |k| k.model = other));
    assert!(
        matches!(refusal, R::Model { theirs, .. } if theirs == other),
        "{refusal}"
    );
    let refusal =
        keys_refusal(|target, bundle| bundle[0] = changed(target, 1, |k| k.previous = other));
    assert!(
        matches!(refusal, R::Previous { theirs, .. } if theirs == other),
        "{refusal}"
    );
    let refusal =
        keys_refusal(|target, bundle| bundle[0] = changed(target, 1, |k| k.consortium_id = other));
    assert!(
        matches!(refusal, R::Manifest { theirs, .. } if theirs == other),
        "{refusal}"
    );
    let refusal =
        keys_refusal(|target, bundle| bundle[0] = changed(target, 1, |k| k.expires_unix_s = EPOCH));
    assert!(matches!(refusal, R::KeyExpired(_)), "{refusal}");
}

#[test]
fn an_expired_member_does_not_take_part() {
    let consortium = Consortium::with(4, |file| file.nodes[3].expires_unix_s = EPOCH);
    let head = Head::start(&consortium.manifest);
    let (manifest, identity) = (
        consortium.manifest.clone(),
        consortium.identities[0].clone(),
    );
    let node = Node::new(
        manifest,
        identity,
        head,
        SentSums::default(),
        None,
        OPEN_BOXES,
    );
    let mut target = NodeFixture { consortium, node };
    let own = target.offers(1);
    let bundle = target.bundle(&own, 1..4, 1);
    let refusal = target.send_keys(bundle).unwrap_err();
    assert_eq!(refusal, Refusal::Expired(target.id(3)));
    let own = target.offers(2);
    let bundle = target.bundle(&own, 1..3, 2);
    assert!(target.send_keys(bundle).is_ok());
}

#[test]
fn a_round_key_that_its_node_has_not_signed_is_sealed_nothing() {
    let what = Kind::Keys;
    // Of five participants, node 0 gives two a share.
    let refusal = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut target = NodeFixture::idle(5);
        let own = target.offers(1);
        let bundle = target.bundle(&own, 1..5, 1);
        let head = target.node.head();
        let mut frame = target.consortium.keys_frame(0, &head, bundle.clone());
        let RelayFrame::Keys { round_keys, .. } = &mut frame else {
            panic!("{frame:?}")
        };
        assert_eq!(round_keys.len(), 2);
        change(round_keys);
        let manifest = &target.consortium.manifest;
        let participants =
            Participants::of_result(bundle, manifest, &head, EPOCH, &BTreeSet::new()).unwrap();
        let receivers: Vec<_> = participants.receivers_from(target.id(0)).collect();
        (target.send(frame), receivers)
    };
    let (sent, _) = refusal(&|_| ());
    assert!(sent.is_ok(), "the control");
    let (sent, to) = refusal(&|round_keys| round_keys[1] = vec![9; 32]);
    let signer = to[1];
    assert_eq!(sent.unwrap_err(), Refusal::Invalid { what, signer });
    let (sent, to) = refusal(&|round_keys| round_keys.swap(0, 1));
    let signer = to[0];
    assert_eq!(sent.unwrap_err(), Refusal::Invalid { what, signer });
    let (sent, to) = refusal(&|round_keys| drop(round_keys.pop()));
    let signer = to[1];
    assert_eq!(sent.unwrap_err(), Refusal::Invalid { what, signer });
    let (sent, _) = refusal(&|round_keys| round_keys.push(vec![9; 32]));
    assert_eq!(sent.unwrap_err(), Refusal::Unexpected { what });
}

#[test]
fn nothing_is_sealed_to_a_round_key_that_is_none() {
    let mut target = NodeFixture::idle(3);
    let own = target.offers(1);
    let bundle = target.bundle(&own, 1..3, 1);
    let (manifest, head) = (&target.consortium.manifest, target.node.head());
    let participants = Participants::of_result(bundle, manifest, &head, EPOCH, &BTreeSet::new());
    // Of three, each gives one a share.
    let receiver = target.receivers(0, &participants.unwrap())[0];
    let none = vec![0; 32];
    let keys = Keys {
        round_key: Digest::sha256(&[&none]),
        ..target.keys(receiver, 1)
    };
    let bundle = vec![
        own,
        target.sign(receiver, &keys),
        target.sign(3 - receiver, &target.keys(3 - receiver, 1)),
    ];
    let round_keys = vec![none];
    let sent = target.send(RelayFrame::Keys { bundle, round_keys });
    let (what, signer) = (Kind::Keys, target.id(receiver));
    assert_eq!(sent.unwrap_err(), Refusal::Invalid { what, signer });
}

#[test]
fn keys_of_a_former_attempt_are_not_taken_for_this_one() {
    let mut target = NodeFixture::idle(4);
    let former = target.offers(1);
    let replay = target.bundle(&former, 1..4, 1);
    target.offers(2);
    assert_eq!(target.send_keys(replay).unwrap_err(), Refusal::OwnKeys);
}

#[test]
fn an_opening_that_does_not_follow_the_nodes_own_chain_is_refused() {
    let mut target = NodeFixture::idle(3);
    let other = Digest([9; 32]);
    for (round, attempt) in [(0, 1), (2, 1), (u64::MAX, 1), (1, 0)] {
        let open = target.open(round, attempt);
        assert!(
            matches!(target.send(open), Err(Refusal::NotNext { .. })),
            "{round}, {attempt}"
        );
    }
    for (changes_model, wanted) in [(true, "Model"), (false, "Previous")] {
        let mut open = target.open(1, 1);
        if let RelayFrame::Open { opening, .. } = &mut open {
            let Opening {
                previous, model, ..
            } = opening;
            *if changes_model { model } else { previous } = other;
        }
        let refusal = target.send(open).unwrap_err();
        assert!(format!("{refusal:?}").starts_with(wanted), "{refusal}");
    }
    target.offers(3);
    let again = target.open(1, 3);
    assert!(matches!(
        target.send(again),
        Err(Refusal::NotNext { joined: 3, .. })
    ));
    target.offers(u32::MAX);
    let next = target.open(1, 1);
    assert!(target.send(next).is_err());
    target.node.disconnected();
    target.offers(1);
}

#[test]
fn shares_of_another_context_signer_or_addressee_are_refused() {
    let what = Kind::Share;
    let other = Digest([9; 32]);
    // Of six participants, two or three give node 0 a share, who are named.
    let refusal = |shares: &dyn Fn(&NodeFixture, Digest, &[usize]) -> Vec<_>| {
        let mut target = NodeFixture::idle(7);
        let participants = target.shares_with(1..6, 1);
        let givers = target.givers(0, &participants);
        let shares = shares(&target, participants.ctx(), &givers);
        let refusal = target.send(RelayFrame::Shares(shares)).unwrap_err();
        (refusal, target, givers)
    };
    // Another bundle, and so another context, at the node that shared.
    let (r, target, from) =
        refusal(&|v, ctx, from| vec![v.share(from[0], 0, ctx), v.share(from[1], 0, other)]);
    assert_eq!(
        r,
        Refusal::Stale {
            what,
            signer: target.id(from[1])
        }
    );
    let receiver = |from: &[usize]| (1..6).find(|k| !from.contains(k)).unwrap();
    let (r, target, from) =
        refusal(&|v, ctx, from| vec![v.share(from[0], 0, ctx), v.share(receiver(from), 0, ctx)]);
    assert_eq!(
        r,
        Refusal::Invalid {
            what,
            signer: target.id(receiver(&from))
        },
        "of a node to which this one gives"
    );
    let (r, target, _) = refusal(&|v, ctx, _| vec![v.share(1, 2, ctx)]);
    assert_eq!(
        r,
        Refusal::Stranger(target.id(2)),
        "a box that is for another"
    );
    let (r, target, from) =
        refusal(&|v, ctx, from| vec![v.share(from[0], 0, ctx), v.share(from[0], 0, ctx)]);
    assert_eq!(
        r,
        Refusal::Duplicate {
            what,
            signer: target.id(from[0])
        },
        "one box for two"
    );
    let (r, target, _) = refusal(&|v, ctx, _| vec![v.share(6, 0, ctx)]);
    assert_eq!(r, Refusal::Stranger(target.id(6)), "not of this attempt");
    let (r, target, _) = refusal(&|v, ctx, _| vec![v.share(0, 0, ctx)]);
    let signer = target.id(0);
    assert_eq!(r, Refusal::Invalid { what, signer }, "its own");
    let (r, target, _) = refusal(&|v, ctx, _| {
        let (from_to, identity) = ((v.id(2), v.id(0)), &v.consortium.identities[1]);
        vec![SealedShare::new(ctx, from_to, vec![1; 80], identity).unwrap()]
    });
    assert_eq!(
        r,
        Refusal::Invalid {
            what,
            signer: target.id(2)
        },
        "in another's name"
    );
    let (r, target, from) = refusal(&|v, ctx, from| {
        let mut share = v.share(from[0], 0, ctx);
        share.sealed[0] ^= 1;
        vec![share]
    });
    let signer = target.id(from[0]);
    assert_eq!(r, Refusal::Invalid { what, signer }, "with another box");

    let mut target = NodeFixture::idle(7);
    let participants = target.shares_with(1..6, 1);
    let givers = target.givers(0, &participants).into_iter();
    let mut shares: Vec<_> = givers
        .map(|k| target.share(k, 0, participants.ctx()))
        .collect();
    let last = vec![shares.pop().unwrap()];
    let actions = target.send(RelayFrame::Shares(shares)).unwrap();
    assert!(matches!(actions[..], [Action::Log(_)]), "not all are here");
    let actions = target.send(RelayFrame::Shares(last)).unwrap();
    assert!(matches!(actions[..], [Action::Log(_), Action::Sum(_)]));
}

#[test]
fn work_of_a_former_attempt_is_not_signed_for_this_one() {
    let mut target = NodeFixture::idle(4);
    let former = target.shares_with(1..4, 1).ctx();
    let own = target.offers(2);
    let bundle = target.bundle(&own, 1..4, 2);
    target.send_keys(bundle).unwrap();
    assert!(target.node.sealed(former, Vec::new()).unwrap().is_empty());
    assert!(
        target
            .node
            .summed(former, former, TAG_SHARE)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_sum_is_sent_for_the_context_that_is_held_and_no_other() {
    let mut target = NodeFixture::idle(4);
    let other = Digest([9; 32]);
    let none_for = |ctx| collect(ctx, Vec::new());
    let what = Kind::Collect;
    assert_eq!(
        target.send(none_for(other)).unwrap_err(),
        Refusal::Unexpected { what }
    );
    let ctx = target.shares_with(1..4, 1).ctx();
    assert_eq!(
        target.send(none_for(ctx)).unwrap_err(),
        Refusal::Unexpected { what }
    );
    let (held, own) = target.holds(1..4, 2, b"body");
    let refusal = target.send(none_for(ctx)).unwrap_err();
    assert!(
        matches!(
            refusal,
            Refusal::Stale {
                what: Kind::Collect,
                ..
            }
        ),
        "{refusal}"
    );
    let collect = collect(held.ctx(), target.sums(&own, 1..4, held.ctx()));
    for _ in 0..2 {
        let actions = target.send(collect.clone()).unwrap();
        assert!(
            matches!(
                actions[..],
                [
                    Action::Log(Entry::Sums(_)),
                    Action::Record(_),
                    Action::Log(Entry::Body { .. }),
                    Action::Send(NodeFrame::TagShare { .. }),
                    Action::Upload { .. }
                ]
            ),
            "the record comes before the bytes, every time: {actions:?}"
        );
    }
}

#[test]
fn a_rerun_without_one_node_after_its_sum_is_refused_and_one_with_the_same_is_not() {
    let mut target = NodeFixture::idle(6);
    let (held, own) = target.holds(1..6, 1, b"body");
    let sums = target.sums(&own, 1..6, held.ctx());
    target.send(collect(held.ctx(), sums)).unwrap();

    let own = target.offers(2);
    let without_one = target.bundle(&own, 1..5, 2);
    let refusal = target.send_keys(without_one).unwrap_err();
    let Refusal::Difference { sent_with } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!(BTreeSet::from_iter(sent_with), held.set());

    target.holds(1..6, 3, b"other masks, same participants");
    let own = target.offers(4);
    let far_apart = target.bundle(&own, 1..3, 4);
    let refusal = target.send_keys(far_apart).unwrap_err();
    assert!(matches!(refusal, Refusal::Difference { .. }), "{refusal}");
}

#[test]
fn the_record_of_sent_sums_outlives_the_process() {
    let mut target = NodeFixture::having_sent(5, |consortium| {
        let mut sent = SentSums::default();
        let all = consortium
            .identities
            .iter()
            .map(Identity::node_id)
            .collect();
        sent.add(&SentSum::new(consortium.manifest.initial_model(), all));
        sent
    });
    let own = target.offers(1);
    let bundle = target.bundle(&own, 1..4, 1);
    let refusal = target.send_keys(bundle).unwrap_err();
    assert!(matches!(refusal, Refusal::Difference { .. }), "{refusal}");
}
