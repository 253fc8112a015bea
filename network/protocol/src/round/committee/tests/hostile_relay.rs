//! A relay, with the keys of all other nodes, against one honest holder.

use fl_shaders::Tag;

use super::holder_fixture::{HolderFixture, K, N, convene};
use crate::audit::Entry;
use crate::digest::Digest;
use crate::round::committee::ClassSet;
use crate::round::committee::message::Receipt;
use crate::round::node::Action;
use crate::round::{Fault, Head, Kind, Refusal, SentSum, SentSums};
use crate::sim::{EPOCH, OPEN_BOXES};
use crate::wire::{NodeFrame, RelayFrame};

fn receipt(fixture: &HolderFixture, actions: &[Action]) -> Receipt {
    let [Action::Log(_), Action::Send(NodeFrame::Receipt(receipt))] = actions else {
        panic!("{actions:?}")
    };
    receipt.verify(&fixture.consortium.manifest, EPOCH).unwrap()
}

#[test]
fn a_holder_votes_for_one_list_of_contributors_and_says_the_same_when_asked_again() {
    let mut fixture = HolderFixture::accepting();
    let first = fixture.ballot(0..N);
    let once = fixture.send(first.clone()).unwrap();
    let [
        Action::Log(Entry::Ballot { .. }),
        Action::Record(sent),
        Action::Log(Entry::Vote(_)),
        Action::Send(NodeFrame::Vote(vote)),
    ] = &once[..]
    else {
        panic!("{once:?}")
    };
    let all = fixture.contributors(0..N);
    let model = fixture.consortium.manifest.initial_model();
    assert!(
        *sent == SentSum::new(model, all.nodes()),
        "recorded before the vote leaves"
    );
    let vote = vote.verify(&fixture.consortium.manifest, EPOCH).unwrap();
    assert_eq!(vote.contributors, all.digest());

    assert_eq!(
        fixture.send(fixture.ballot(0..N - 1)).unwrap_err(),
        Refusal::Voted
    );
    assert_eq!(
        fixture.send(fixture.ballot(1..N)).unwrap_err(),
        Refusal::Voted
    );
    let again = fixture.send(first).unwrap();
    assert_eq!(format!("{again:?}"), format!("{once:?}"));
}

#[test]
fn a_ballot_that_hides_nobody_is_refused_and_the_vote_is_kept() {
    let mut fixture = HolderFixture::accepting();
    let two = fixture.send(fixture.ballot(0..2)).unwrap_err();
    assert_eq!(
        two,
        Refusal::TooFew {
            found: 2,
            min_nodes: 3
        }
    );
    let mut entries = fixture.entries(0..N);
    entries.swap(1, 2);
    let ctx = fixture.ctx();
    let disorder = fixture
        .send(RelayFrame::Ballot { ctx, entries })
        .unwrap_err();
    assert!(matches!(
        disorder,
        Refusal::Duplicate {
            what: Kind::Ballot,
            ..
        }
    ));
    let mut entries = fixture.entries(0..N);
    entries.insert(1, entries[0]);
    let twice = fixture
        .send(RelayFrame::Ballot { ctx, entries })
        .unwrap_err();
    assert!(matches!(
        twice,
        Refusal::Duplicate {
            what: Kind::Ballot,
            ..
        }
    ));
    let entries = fixture.entries(0..N);
    let other = fixture
        .send(RelayFrame::Ballot {
            ctx: Digest([9; 32]),
            entries,
        })
        .unwrap_err();
    assert!(matches!(
        other,
        Refusal::Stale {
            what: Kind::Ballot,
            ..
        }
    ));
    assert!(fixture.send(fixture.ballot(0..3)).is_ok());
}

#[test]
fn a_holder_votes_for_nothing_that_it_has_not_accepted_itself() {
    let mut fixture = HolderFixture::serving();
    (0..4).for_each(|k| fixture.accept(k));
    let unseen = fixture.send(fixture.ballot(0..5)).unwrap_err();
    assert_eq!(unseen, Refusal::NotAccepted(fixture.id(4)));
    // Another contribution of a node than the one that it has accepted.
    let mut entries = fixture.entries(0..3);
    entries.push(fixture.entry(3, 1));
    entries.sort();
    let ctx = fixture.ctx();
    let other = fixture
        .send(RelayFrame::Ballot { ctx, entries })
        .unwrap_err();
    assert_eq!(other, Refusal::NotAccepted(fixture.id(3)));
    // One whose box does not open.
    let actions = fixture
        .send(RelayFrame::SealedSeeds(fixture.seeds_for(4, 0, 0)))
        .unwrap();
    assert!(matches!(actions[..], [Action::Open(_)]));
    let entry = fixture.entry(4, 0);
    let actions = fixture
        .node
        .opened(ctx, entry, Err(Fault::Commitment))
        .unwrap();
    assert_eq!(receipt(&fixture, &actions).fault, Some(Fault::Commitment));
    let rejected = fixture.send(fixture.ballot(0..5)).unwrap_err();
    assert_eq!(rejected, Refusal::NotAccepted(fixture.id(4)));
    assert!(fixture.send(fixture.ballot(0..4)).is_ok());
}

#[test]
fn a_holder_that_voted_on_this_model_before_joins_the_very_same_contributors_only() {
    let record = |consortium: &crate::sim::Consortium| {
        let mut sent = SentSums::default();
        let nodes = consortium.identities[..6]
            .iter()
            .map(|identity| identity.node_id());
        sent.add(&SentSum::new(
            consortium.manifest.initial_model(),
            nodes.collect(),
        ));
        sent
    };
    let mut fixture = HolderFixture::having_sent(record);
    (0..N).for_each(|k| fixture.accept(k));
    let rerun = fixture.send(fixture.ballot(0..5)).unwrap_err();
    let Refusal::Difference { sent_with } = rerun else {
        panic!("{rerun}")
    };
    assert_eq!(sent_with.len(), 6);
    assert!(fixture.send(fixture.ballot(0..6)).is_ok());
    // Nor does a certificate of the others bring it to another sum.
    let mut fixture = HolderFixture::having_sent(record);
    (0..N).for_each(|k| fixture.accept(k));
    let votes = fixture.votes(1..K, &fixture.contributors(0..N));
    let refusal = fixture.send(fixture.order(N, votes)).unwrap_err();
    assert!(matches!(refusal, Refusal::Difference { .. }));
}

#[test]
fn a_certificate_with_a_duplicate_foreign_forged_or_missing_vote_reveals_nothing() {
    let mut fixture = HolderFixture::accepting();
    let all = fixture.contributors(0..N);
    let reveal = |fixture: &mut HolderFixture, votes| fixture.send(fixture.order(N, votes));

    let none = reveal(&mut fixture, Vec::new()).unwrap_err();
    assert_eq!(
        none,
        Refusal::Votes {
            found: 0,
            needed: 4
        }
    );
    let votes = fixture.votes(1..4, &all);
    let missing = reveal(&mut fixture, votes).unwrap_err();
    assert_eq!(
        missing,
        Refusal::Votes {
            found: 3,
            needed: 4
        }
    );
    let mut votes = fixture.votes(1..4, &all);
    votes.push(votes[0].clone());
    let doubled = reveal(&mut fixture, votes).unwrap_err();
    assert!(matches!(
        doubled,
        Refusal::Duplicate {
            what: Kind::Vote,
            ..
        }
    ));
    let mut votes = fixture.votes(1..4, &all);
    votes.push(fixture.vote(6, &all));
    let foreign = reveal(&mut fixture, votes).unwrap_err();
    assert_eq!(foreign, Refusal::Stranger(fixture.id(6)));
    let mut votes = fixture.votes(1..4, &all);
    votes.push(fixture.vote(4, &fixture.contributors(0..5)));
    let other = reveal(&mut fixture, votes).unwrap_err();
    assert!(matches!(
        other,
        Refusal::OtherContributors {
            what: Kind::Vote,
            ..
        }
    ));
    let mut votes = fixture.votes(1..4, &all);
    let stale = crate::round::committee::message::Vote {
        ctx: Digest([9; 32]),
        holder: fixture.id(4),
        contributors: all.digest(),
    };
    votes.push(fixture.sign(4, &stale));
    let stale = reveal(&mut fixture, votes).unwrap_err();
    assert!(matches!(
        stale,
        Refusal::Stale {
            what: Kind::Vote,
            ..
        }
    ));
    let mut votes = fixture.votes(1..4, &all);
    let forged = crate::round::committee::message::Vote {
        ctx: fixture.ctx(),
        holder: fixture.id(4),
        contributors: all.digest(),
    };
    votes.push(fixture.sign(6, &forged));
    let forged = reveal(&mut fixture, votes).unwrap_err();
    assert!(matches!(
        forged,
        Refusal::Invalid {
            what: Kind::Vote,
            ..
        }
    ));

    let votes = fixture.votes(1..K, &all);
    let actions = reveal(&mut fixture, votes).unwrap();
    assert!(
        matches!(
            actions[..],
            [
                Action::Log(Entry::Ballot { .. }),
                Action::Record(_),
                Action::Reveal(_)
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn a_certificate_for_others_than_were_voted_for_reveals_nothing() {
    let mut fixture = HolderFixture::accepting();
    fixture.send(fixture.ballot(0..N)).unwrap();
    let votes = fixture.votes(1..K, &fixture.contributors(0..6));
    assert_eq!(
        fixture.send(fixture.order(6, votes)).unwrap_err(),
        Refusal::Voted
    );
    let votes = fixture.votes(1..K, &fixture.contributors(0..N));
    assert!(fixture.send(fixture.order(N, votes)).is_ok());
}

#[test]
fn a_holder_reveals_its_own_classes_only_and_each_request_once() {
    let mut fixture = HolderFixture::accepting();
    let votes = fixture.votes(1..K, &fixture.contributors(0..N));
    let (ctx, entries) = (fixture.ctx(), fixture.entries(0..N));
    let order = |classes| RelayFrame::Reveal {
        ctx,
        entries: entries.clone(),
        votes: votes.clone(),
        classes,
    };
    let (own, all) = (
        fixture.classes_of(0),
        fixture.holders.committee().classes().all(),
    );
    let holder = fixture.id(0);
    for classes in [
        ClassSet::default(),
        all,
        all.without(own),
        ClassSet::of([63]),
    ] {
        assert_eq!(
            fixture.send(order(classes)).unwrap_err(),
            Refusal::Classes { holder }
        );
    }
    let actions = fixture.send(order(own)).unwrap();
    let [
        Action::Log(Entry::Ballot { .. }),
        Action::Record(_),
        Action::Reveal(asked),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((asked.classes(), asked.contributors().len()), (own, N));
    let again = fixture.send(order(own)).unwrap();
    assert!(
        matches!(again[..], [Action::Log(_), Action::Record(_)]),
        "it is at it"
    );
    let root = Digest([3; 32]);
    let collect = RelayFrame::CollectReveal {
        root,
        first_chunk: 0,
    };
    assert!(
        fixture.send(collect.clone()).is_err(),
        "nothing is there yet"
    );
    let actions = fixture
        .node
        .revealed(ctx, own, root, Tag::default())
        .unwrap();
    assert!(matches!(
        actions[..],
        [Action::Log(_), Action::Send(NodeFrame::Reveal(_))]
    ));
    assert!(fixture.send(collect).is_ok());
    let again = fixture.send(order(own)).unwrap();
    assert!(matches!(
        again[..],
        [
            Action::Log(Entry::Ballot { .. }),
            Action::Record(_),
            Action::Log(Entry::Reveal(_)),
            Action::Send(NodeFrame::Reveal(_))
        ]
    ));
}

/// Each takes the memory of a body.
#[test]
fn a_holder_reveals_no_more_sums_than_losses_explain() {
    let mut fixture = HolderFixture::accepting();
    let votes = fixture.votes(1..K, &fixture.contributors(0..N));
    let (ctx, entries) = (fixture.ctx(), fixture.entries(0..N));
    let own: Vec<_> = fixture.classes_of(0).iter().collect();
    let subset = |bits: usize| {
        let chosen = own.iter().enumerate().filter(|(k, _)| bits >> k & 1 == 1);
        ClassSet::of(chosen.map(|(_, class)| *class))
    };
    let mut asks = |bits| {
        fixture.send(RelayFrame::Reveal {
            ctx,
            entries: entries.clone(),
            votes: votes.clone(),
            classes: subset(bits),
        })
    };
    assert!((1..=2 * K).all(|bits| asks(bits).is_ok()));
    let what = Kind::Reveal;
    assert_eq!(asks(2 * K + 1).unwrap_err(), Refusal::Unexpected { what });
    assert!(asks(1).is_ok(), "it is at it");
}

#[test]
fn a_box_for_another_holder_and_altered_commitments_are_refused() {
    let mut fixture = HolderFixture::serving();
    let other = fixture
        .send(RelayFrame::SealedSeeds(fixture.seeds_for(5, 0, 1)))
        .unwrap_err();
    let what = Kind::Contribution;
    let signer = fixture.id(5);
    assert_eq!(other, Refusal::Invalid { what, signer });
    // Swapped, as if it were this holder's.
    let mut seeds_for = fixture.seeds_for(5, 0, 0);
    seeds_for.sealed = fixture.seeds_for(5, 0, 1).sealed;
    assert_eq!(
        fixture
            .send(RelayFrame::SealedSeeds(seeds_for))
            .unwrap_err(),
        Refusal::Invalid { what, signer }
    );
    let mut seeds_for = fixture.seeds_for(5, 0, 0);
    seeds_for.boxes.swap(0, 1);
    assert_eq!(
        fixture
            .send(RelayFrame::SealedSeeds(seeds_for))
            .unwrap_err(),
        Refusal::Invalid { what, signer }
    );
    let mut seeds_for = fixture.seeds_for(5, 0, 0);
    seeds_for.commitments[0] = Digest([9; 32]);
    assert_eq!(
        fixture
            .send(RelayFrame::SealedSeeds(seeds_for))
            .unwrap_err(),
        Refusal::Invalid { what, signer }
    );
    let mut seeds_for = fixture.seeds_for(5, 0, 0);
    seeds_for.commitments.clear();
    assert_eq!(
        fixture
            .send(RelayFrame::SealedSeeds(seeds_for))
            .unwrap_err(),
        Refusal::Invalid { what, signer }
    );
    // Another node's box under this one's name.
    let mut seeds_for = fixture.seeds_for(5, 0, 0);
    seeds_for.sealed = fixture.seeds_for(6, 0, 0).sealed;
    assert_eq!(
        fixture
            .send(RelayFrame::SealedSeeds(seeds_for))
            .unwrap_err(),
        Refusal::Invalid { what, signer }
    );
    fixture.accept(5);
}

#[test]
fn a_contribution_of_another_attempt_is_stale_and_a_second_one_is_rejected() {
    let mut fixture = HolderFixture::serving();
    let mut contribution = fixture.contribution(5, 0);
    contribution.ctx = Digest([9; 32]);
    let signed = fixture.sign(5, &contribution);
    let replayed = fixture.envelope(5, 0).seeds_for(&signed, 0).unwrap();
    let refusal = fixture.send(RelayFrame::SealedSeeds(replayed)).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::Stale {
            what: Kind::Contribution,
            ..
        }
    ));

    fixture.accept(5);
    let actions = fixture
        .send(RelayFrame::SealedSeeds(fixture.seeds_for(5, 1, 0)))
        .unwrap();
    let second = receipt(&fixture, &actions);
    assert_eq!(
        (second.entry, second.fault),
        (fixture.entry(5, 1), Some(Fault::Second))
    );
    let actions = fixture
        .send(RelayFrame::SealedSeeds(fixture.seeds_for(5, 0, 0)))
        .unwrap();
    let first = receipt(&fixture, &actions);
    assert_eq!((first.entry, first.fault), (fixture.entry(5, 0), None));
}

#[test]
fn keys_of_too_few_holders_of_others_or_of_another_attempt_are_refused() {
    let head = |fixture: &HolderFixture| Head::start(&fixture.consortium.manifest);
    let offered = |attempt: u32| {
        let mut fixture = HolderFixture::serving();
        let again = convene(&head(&fixture), attempt);
        fixture.send(again).unwrap();
        let actions = fixture.node.keyed(1, vec![1; 32], EPOCH).unwrap();
        let [Action::Log(_), Action::Send(NodeFrame::Keys(own))] = &actions[..] else {
            panic!("{actions:?}")
        };
        let own = own.keys.clone();
        (fixture, own)
    };
    let bundle = |fixture: &HolderFixture, nodes: std::ops::Range<usize>, attempt| {
        let keys = |k| fixture.sign(k, &fixture.keys(k, attempt));
        nodes.map(keys).collect::<Vec<_>>()
    };
    let (mut fixture, own) = offered(2);
    let mut few = bundle(&fixture, 1..3, 2);
    few.push(own);
    let refusal = fixture.send_keys(few).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Holders {
            found: 3,
            needed: 4
        }
    );

    let (mut fixture, own) = offered(2);
    let mut foreign = bundle(&fixture, 2..6, 2);
    foreign.push(own);
    let refusal = fixture.send_keys(foreign).unwrap_err();
    assert_eq!(refusal, Refusal::Stranger(fixture.id(5)));

    let (mut fixture, own) = offered(2);
    let mut mixed = bundle(&fixture, 1..4, 1);
    mixed.push(own);
    let refusal = fixture.send_keys(mixed).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::Stale {
            what: Kind::Keys,
            ..
        }
    ));

    let (mut fixture, _) = offered(2);
    let others = bundle(&fixture, 0..K, 2);
    assert_eq!(fixture.send_keys(others).unwrap_err(), Refusal::OwnKeys);

    let (mut fixture, own) = offered(2);
    let old = fixture.send(convene(&head(&fixture), 2)).unwrap_err();
    assert!(matches!(old, Refusal::NotNext { joined: 2, .. }));
    let mut good = bundle(&fixture, 1..K, 2);
    good.push(own);
    assert!(fixture.send_keys(good).is_ok());
    // A holder that is not among them was too late. It holds nothing, and nothing is wrong.
    let (mut fixture, _) = offered(2);
    assert!(
        {
            let bundle = bundle(&fixture, 1..K, 2);
            fixture.send_keys(bundle)
        }
        .is_ok()
    );
    let ballot = fixture.send(fixture.ballot(0..N)).unwrap_err();
    assert_eq!(ballot, Refusal::Unexpected { what: Kind::Ballot });
}

#[test]
fn who_is_no_holder_is_not_convened() {
    let fixture = HolderFixture::serving();
    let manifest = fixture.consortium.manifest.clone();
    let head = Head::start(&manifest);
    let identity = fixture.consortium.identities[6].clone();
    let mut node = crate::round::node::Node::new(
        manifest,
        identity,
        head,
        SentSums::default(),
        None,
        OPEN_BOXES,
    );
    let refusal = node.handle(convene(&head, 1), EPOCH).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Unexpected {
            what: Kind::Convene
        }
    );
}
