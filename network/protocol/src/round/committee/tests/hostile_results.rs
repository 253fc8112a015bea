//! A relay that publishes a result which the committee did not decide on, or did not open.

use std::collections::BTreeSet;

use super::holder_fixture::{HolderFixture, K, N};
use crate::digest::{ChunkHashes, Digest};
use crate::round::committee::{ClassSet, Decision, Prepared};
use crate::round::node::Pending;
use crate::round::{CheckedOutcome, Evidence, Head, Kind, Outcome, Refusal};
use crate::sim::EPOCH;

/// The honest outcome, in what it rests on.
fn outcome(fixture: &HolderFixture) -> Outcome {
    let all = fixture.contributors(0..N);
    let committee = fixture.holders.committee();
    let everyone = committee.seats(committee.holders());
    let (parts, _) = committee
        .classes()
        .assign(committee.classes().all(), everyone);
    let mut contributions: Vec<_> = (0..N).collect();
    contributions.sort_by_key(|k| fixture.id(*k));
    let contributions = contributions
        .into_iter()
        .map(|k| fixture.sign(k, &fixture.contribution(k, 0)));
    let reveals = parts
        .into_iter()
        .map(|(k, part)| fixture.sign(k, &fixture.reveal(k, &all, part)));
    Outcome {
        ctx: fixture.ctx(),
        bundle: fixture.holders.bundle().to_vec(),
        parts: Evidence::Decision(Decision {
            contributions: contributions.collect(),
            votes: fixture.votes(0..4, &all),
            reveals: reveals.collect(),
        }),
        root: ChunkHashes::of(&[]).root(),
        model: Digest([0; 32]),
    }
}

fn verify(fixture: &HolderFixture, outcome: Outcome) -> Result<CheckedOutcome, Refusal> {
    // Node 6 holds its own contribution.
    let prepared = Prepared {
        holders: fixture.holders.clone(),
        contribution: fixture.sign(6, &fixture.contribution(6, 0)),
        envelope: fixture.envelope(6, 0),
    };
    let own = Pending::Contribution(prepared);
    let manifest = &fixture.consortium.manifest;
    CheckedOutcome::verify(
        outcome,
        Some((fixture.id(6), &own)),
        manifest,
        &Head::start(manifest),
        EPOCH,
        &BTreeSet::new(),
    )
}

fn refusal(change: impl FnOnce(&HolderFixture, &mut Decision)) -> Refusal {
    let fixture = HolderFixture::serving();
    let mut outcome = outcome(&fixture);
    let Evidence::Decision(decision) = &mut outcome.parts else {
        panic!("of the committee scheme")
    };
    change(&fixture, decision);
    verify(&fixture, outcome).unwrap_err()
}

#[test]
fn what_the_committee_decided_and_opened_is_believed() {
    let fixture = HolderFixture::serving();
    let checked = verify(&fixture, outcome(&fixture)).unwrap();
    assert_eq!((checked.ctx(), checked.nodes().len()), (fixture.ctx(), N));
}

#[test]
fn a_result_without_a_certificate_is_refused() {
    let r = refusal(|_, decision| drop(decision.votes.pop()));
    assert_eq!(
        r,
        Refusal::Votes {
            found: 3,
            needed: 4
        }
    );
    let r = refusal(|_, decision| decision.votes[1] = decision.votes[0].clone());
    assert!(
        matches!(
            r,
            Refusal::Duplicate {
                what: Kind::Vote,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|fixture, decision| {
        decision.votes[1] = fixture.vote(6, &fixture.contributors(0..N))
    });
    assert!(matches!(r, Refusal::Stranger(_)), "{r}");
}

#[test]
fn other_contributors_than_were_voted_for_are_refused() {
    let r = refusal(|_, decision| drop(decision.contributions.pop()));
    assert!(
        matches!(
            r,
            Refusal::OtherContributors {
                what: Kind::Vote,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|_, decision| decision.contributions.swap(0, 1));
    assert!(
        matches!(
            r,
            Refusal::Duplicate {
                what: Kind::Contribution,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|_, decision| decision.contributions[1] = decision.contributions[0].clone());
    assert!(
        matches!(
            r,
            Refusal::Duplicate {
                what: Kind::Contribution,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|_, decision| decision.contributions.truncate(2));
    assert_eq!(
        r,
        Refusal::TooFew {
            found: 2,
            min_nodes: 3
        }
    );
    let r = refusal(|fixture, decision| {
        let mut stale = fixture.contribution(5, 0);
        stale.ctx = Digest([9; 32]);
        decision.contributions[0] = fixture.sign(5, &stale);
    });
    assert!(
        matches!(
            r,
            Refusal::Stale {
                what: Kind::Contribution,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|fixture, decision| {
        let others = fixture.sign(6, &fixture.contribution(6, 1));
        let mine = fixture.sign(6, &fixture.contribution(6, 0));
        let place = decision
            .contributions
            .iter()
            .position(|c| c.bytes() == mine.bytes());
        decision.contributions[place.unwrap()] = others;
    });
    assert_eq!(r, Refusal::OwnContribution);
}

#[test]
fn masks_that_are_missing_doubled_or_not_the_holders_are_refused() {
    let r = refusal(|_, decision| drop(decision.reveals.pop()));
    assert_eq!(r, Refusal::NotRevealed { missing: 2 });
    let r = refusal(|_, decision| decision.reveals.push(decision.reveals[0].clone()));
    assert!(
        matches!(
            r,
            Refusal::Duplicate {
                what: Kind::Reveal,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|fixture, decision| {
        let few = fixture.contributors(0..6);
        decision.reveals[0] = fixture.sign(0, &fixture.reveal(0, &few, fixture.classes_of(0)));
    });
    assert!(
        matches!(
            r,
            Refusal::OtherContributors {
                what: Kind::Reveal,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|fixture, decision| {
        let all = fixture.contributors(0..N);
        let classes = ClassSet::of(0..10).without(fixture.classes_of(0));
        decision.reveals[0] = fixture.sign(0, &fixture.reveal(0, &all, classes));
    });
    assert!(matches!(r, Refusal::Classes { .. }), "{r}");
    let r = refusal(|fixture, decision| {
        let all = fixture.contributors(0..N);
        decision.reveals[0] = fixture.sign(6, &fixture.reveal(6, &all, fixture.classes_of(0)));
    });
    assert!(matches!(r, Refusal::Stranger(_)), "{r}");
    let r = refusal(|fixture, decision| {
        let mut stale = fixture.reveal(0, &fixture.contributors(0..N), fixture.classes_of(0));
        stale.ctx = Digest([9; 32]);
        decision.reveals[0] = fixture.sign(0, &stale);
    });
    assert!(
        matches!(
            r,
            Refusal::Stale {
                what: Kind::Reveal,
                ..
            }
        ),
        "{r}"
    );
}

#[test]
fn tags_that_are_none_are_refused() {
    let r = refusal(|fixture, decision| {
        let mut contribution = fixture.contribution(5, 0);
        contribution.tag = [u64::MAX, 0];
        decision.contributions[0] = fixture.sign(5, &contribution);
    });
    assert!(
        matches!(
            r,
            Refusal::Invalid {
                what: Kind::Contribution,
                ..
            }
        ),
        "{r}"
    );
    let r = refusal(|fixture, decision| {
        let mut reveal = fixture.reveal(0, &fixture.contributors(0..N), fixture.classes_of(0));
        reveal.tag = [0, (1 << 61) - 1];
        decision.reveals[0] = fixture.sign(0, &reveal);
    });
    assert!(
        matches!(
            r,
            Refusal::Invalid {
                what: Kind::Reveal,
                ..
            }
        ),
        "{r}"
    );
}

#[test]
fn a_result_of_other_holders_or_of_the_other_scheme_is_refused() {
    let fixture = HolderFixture::serving();
    let mut few = outcome(&fixture);
    few.bundle.truncate(3);
    assert_eq!(
        verify(&fixture, few).unwrap_err(),
        Refusal::Holders {
            found: 3,
            needed: 4
        }
    );
    let mut peers = outcome(&fixture);
    peers.parts = Evidence::Sums(Vec::new());
    assert_eq!(
        verify(&fixture, peers).unwrap_err(),
        Refusal::Unexpected {
            what: Kind::Outcome
        }
    );
    let mut other = outcome(&fixture);
    other.ctx = Digest([9; 32]);
    assert!(matches!(
        verify(&fixture, other).unwrap_err(),
        Refusal::Stale { .. }
    ));
    // One of the holders less is another context, for which nobody has signed anything.
    let mut less = outcome(&fixture);
    less.bundle.truncate(K - 1);
    assert!(matches!(
        verify(&fixture, less).unwrap_err(),
        Refusal::Stale { .. }
    ));
}
