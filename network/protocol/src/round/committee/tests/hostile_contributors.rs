//! Nodes that do not keep to the protocol, against the honest relay.

use std::collections::BTreeSet;
use std::time::Duration;

use super::holder_fixture::{HolderFixture, K, N};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::Opening;
use crate::round::committee::message::{ContributionId, Receipt, Reveal};
use crate::round::committee::{ClassSet, Contributors, Holders};
use crate::round::message::Signed;
use crate::round::relay::{Action, Event, Relay, Report};
use crate::round::{Fault, Head, Kind, Refusal};
use crate::sim;
use crate::sim::{EPOCH, OPEN_BOXES};
use crate::wire::{BodyId, BodyKind, Hello, NodeFrame, RelayFrame};

/// A relay, and the keys of all its nodes.
struct RelayFixture {
    all: HolderFixture,
    relay: Relay,
    now: Duration,
}

impl RelayFixture {
    /// All seven are here, and the five holders are asked for keys.
    fn convening() -> Self {
        let all = HolderFixture::serving();
        let manifest = all.consortium.manifest.clone();
        let settings = sim::settings(1, 1.0, 3);
        let head = Head::start(&manifest);
        let relay = Relay::new(manifest.clone(), settings, head, EPOCH, [0; 32], OPEN_BOXES);
        let mut target = Self {
            all,
            relay,
            now: Duration::ZERO,
        };
        for k in 0..N {
            let hello = Hello {
                consortium_id: manifest.consortium_id(),
                head,
                pending: None,
                holding: None,
                voted_for: Vec::new(),
                unix_s: EPOCH,
            };
            target.frame(k, NodeFrame::Hello(hello));
        }
        target
    }

    /// The holders have offered keys.
    fn collecting() -> Self {
        let mut target = Self::convening();
        let all = &target.all;
        let bundle = (0..K).map(|k| all.sign(k, &all.keys(k, 1)));
        let bundle: Vec<_> = bundle.collect();
        let manifest = &all.consortium.manifest;
        let (offered, head) = (bundle.clone(), Head::start(manifest));
        let holders = Holders::verify(offered, manifest, &head, EPOCH).unwrap();
        target.all.holders = holders;
        for (k, keys) in bundle.into_iter().enumerate() {
            let offer = target.all.consortium.offer(k, keys);
            assert_eq!(turned_away(&target.frame(k, NodeFrame::Keys(offer))), None);
        }
        target
    }

    /// All have contributed, and the holders have accepted; the relay asks for votes.
    fn voting() -> Self {
        let mut target = Self::collecting();
        (0..N).for_each(|k| target.contributes(k));
        let asked: usize = (0..K).map(|holder| target.accepts_all(holder)).sum();
        assert_eq!(asked, K);
        target
    }

    /// All five have voted.
    fn revealing() -> Self {
        let mut target = Self::voting();
        let all = target.all.contributors(0..N);
        for k in 0..K {
            let vote = target.all.vote(k, &all);
            assert_eq!(turned_away(&target.frame(k, NodeFrame::Vote(vote))), None);
        }
        target
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.now += Duration::from_millis(1);
        self.relay.handle(self.now, event)
    }

    fn frame(&mut self, k: usize, frame: NodeFrame) -> Vec<Action> {
        let id = self.all.id(k);
        self.event(Event::Frame(id, frame))
    }

    fn contributes(&mut self, k: usize) {
        let actions = self.contribution(k, k, 0);
        assert!(
            actions
                .iter()
                .any(|action| matches!(action, Action::Collect { .. }))
        );
        let body = BodyId::sum(self.all.ctx());
        let actions = self.event(Event::BodyAdded(self.all.id(k), body));
        let told = |action: &Action| matches!(action, Action::Send(_, RelayFrame::Received { .. }));
        assert!(actions.iter().any(told));
    }

    /// Node `by` sends a contribution of node `k`.
    fn contribution(&mut self, by: usize, k: usize, salt: u8) -> Vec<Action> {
        let contribution = self.all.contribution(k, salt);
        let (signed, envelope) = (self.all.sign(k, &contribution), self.all.envelope(k, salt));
        self.frame(by, NodeFrame::Contribution(signed, envelope))
    }

    fn receipt(
        &mut self,
        by: usize,
        holder: usize,
        entry: ContributionId,
        fault: Option<Fault>,
    ) -> Vec<Action> {
        let receipt = Receipt {
            ctx: self.all.ctx(),
            holder: self.all.id(holder),
            entry,
            fault,
        };
        let receipt = self.all.sign(holder, &receipt);
        self.frame(by, NodeFrame::Receipt(receipt))
    }

    /// Returns how many holders are then asked to vote.
    fn accepts_all(&mut self, holder: usize) -> usize {
        let entries: Vec<_> = (0..N).map(|k| self.all.entry(k, 0)).collect();
        let actions = entries
            .into_iter()
            .flat_map(|entry| self.receipt(holder, holder, entry, None));
        ballots(&actions.collect::<Vec<_>>()).len()
    }

    fn reveal(&mut self, by: usize, reveal: &Reveal, signer: usize) -> Vec<Action> {
        let signed: Signed<Reveal> = self.all.sign(signer, reveal);
        self.frame(by, NodeFrame::Reveal(signed))
    }

    /// What holder `k` is to reveal as long as all are there.
    fn part(&self, k: usize) -> ClassSet {
        let committee = self.all.holders.committee();
        let everyone = committee.seats(committee.holders());
        let (parts, _) = committee
            .classes()
            .assign(committee.classes().all(), everyone);
        parts.iter().find(|(seat, _)| *seat == k).unwrap().1
    }
}

fn turned_away(actions: &[Action]) -> Option<Refusal> {
    actions.iter().find_map(|action| match action {
        Action::TurnAway(_, refusal) => Some(refusal.clone()),
        _ => None,
    })
}

fn ballots(actions: &[Action]) -> Vec<(NodeId, Vec<ContributionId>)> {
    let ballots = actions.iter().filter_map(|action| match action {
        Action::Send(node, RelayFrame::Ballot { entries, .. }) => Some((*node, entries.clone())),
        _ => None,
    });
    ballots.collect()
}

fn is_late(actions: &[Action], kind: Kind) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Report(Report::Late(_, what)) if *what == kind))
}

#[test]
fn a_holder_whose_key_expires_at_once_is_not_asked_again() {
    let mut target = RelayFixture::convening();
    let mut actions = Vec::new();
    for k in 0..K {
        let all = &target.all;
        let mut keys = all.keys(k, 1);
        if k == 2 {
            keys.expires_unix_s = EPOCH + 1;
        }
        let offer = all.consortium.offer(k, all.sign(k, &keys));
        // The last one takes its time.
        target.now += Duration::from_secs(if k == K - 1 { 2 } else { 0 });
        actions = target.frame(k, NodeFrame::Keys(offer));
        assert_eq!(turned_away(&actions), None);
    }
    let late = target.all.id(2);
    let blamed = |action: &Action| matches!(action, Action::Report(Report::Abandoned { nodes, .. }) if *nodes == [late]);
    assert!(actions.iter().any(blamed), "{actions:?}");
    let convened = actions.iter().filter_map(|action| match action {
        Action::Send(node, RelayFrame::Convene(Opening { attempt: 2, .. })) => Some(*node),
        _ => None,
    });
    let others = (0..K).filter(|k| *k != 2).map(|k| target.all.id(k));
    assert_eq!(
        convened.collect::<BTreeSet<_>>(),
        others.collect::<BTreeSet<_>>()
    );
}

#[test]
fn a_contributor_that_sends_two_headers_is_turned_away_and_its_first_counts() {
    let mut target = RelayFixture::collecting();
    target.contributes(6);
    let again = target.contribution(6, 6, 0);
    assert_eq!(turned_away(&again), None, "the same again is no second");
    let second = turned_away(&target.contribution(6, 6, 1)).unwrap();
    let (what, signer) = (Kind::Contribution, target.all.id(6));
    assert_eq!(second, Refusal::Duplicate { what, signer });
    (0..6).for_each(|k| target.contributes(k));
    let asked: usize = (0..K).map(|holder| target.accepts_all(holder)).sum();
    assert_eq!(asked, K);
}

#[test]
fn a_contribution_for_another_or_with_another_envelope_is_turned_away() {
    let mut target = RelayFixture::collecting();
    let foreign = turned_away(&target.contribution(5, 6, 0)).unwrap();
    assert_eq!(foreign, Refusal::Stranger(target.all.id(6)));

    type Change = fn(&mut crate::round::committee::Envelope);
    let changes: [Change; 4] = [
        |envelope| drop(envelope.boxes.pop()),
        |envelope| envelope.boxes.swap(0, 1),
        |envelope| envelope.commitments[3] = Digest([9; 32]),
        |envelope| envelope.boxes[0] = vec![0; 5000],
    ];
    for change in changes {
        let mut target = RelayFixture::collecting();
        let mut envelope = target.all.envelope(6, 0);
        change(&mut envelope);
        let signed = target.all.sign(6, &target.all.contribution(6, 0));
        let refusal = turned_away(&target.frame(6, NodeFrame::Contribution(signed, envelope)));
        let (what, signer) = (Kind::Contribution, target.all.id(6));
        assert_eq!(refusal, Some(Refusal::Invalid { what, signer }));
    }
    // Signed as it is, but with too few boxes or commitments.
    for change in [changes[0], |envelope| envelope.commitments.clear()] {
        let mut target = RelayFixture::collecting();
        let mut envelope = target.all.envelope(6, 0);
        change(&mut envelope);
        let mut contribution = target.all.contribution(6, 0);
        contribution.envelope = envelope.digest();
        let signed = target.all.sign(6, &contribution);
        let refusal = turned_away(&target.frame(6, NodeFrame::Contribution(signed, envelope)));
        assert!(matches!(refusal, Some(Refusal::Invalid { .. })));
    }
    // Of another attempt: late, not hostile.
    let mut target = RelayFixture::collecting();
    let mut contribution = target.all.contribution(6, 0);
    contribution.ctx = Digest([9; 32]);
    let (signed, envelope) = (target.all.sign(6, &contribution), target.all.envelope(6, 0));
    let actions = target.frame(6, NodeFrame::Contribution(signed, envelope));
    assert!(turned_away(&actions).is_none() && is_late(&actions, Kind::Contribution));
}

#[test]
fn a_contributor_whose_seeds_fail_at_two_holders_is_left_out() {
    let mut target = RelayFixture::collecting();
    (0..N).for_each(|k| target.contributes(k));
    let bad = target.all.entry(6, 0);
    let mut asked = Vec::new();
    for holder in 0..K {
        for k in 0..N {
            let entry = target.all.entry(k, 0);
            let fault = (entry == bad && holder < 2).then_some(Fault::Commitment);
            asked.extend(ballots(&target.receipt(holder, holder, entry, fault)));
        }
    }
    assert_eq!(asked.len(), K);
    assert!(
        asked
            .iter()
            .all(|(_, entries)| *entries == target.all.entries(0..6))
    );
}

#[test]
fn receipts_for_others_or_for_what_is_not_there_are_turned_away() {
    let mut target = RelayFixture::collecting();
    target.contributes(5);
    let entry = target.all.entry(5, 0);
    let foreign = turned_away(&target.receipt(1, 0, entry, None)).unwrap();
    assert_eq!(foreign, Refusal::Stranger(target.all.id(0)));
    let mut target = RelayFixture::collecting();
    target.contributes(5);
    let unknown = target.all.entry(5, 1);
    let refusal = turned_away(&target.receipt(0, 0, unknown, None)).unwrap();
    assert!(matches!(
        refusal,
        Refusal::Stale {
            what: Kind::Receipt,
            ..
        }
    ));
    // From a node that is no holder of the attempt: it has no say.
    let actions = target.receipt(6, 6, entry, Some(Fault::Box));
    assert!(turned_away(&actions).is_none() && is_late(&actions, Kind::Receipt));
}

#[test]
fn votes_for_others_by_others_and_twice_do_not_count() {
    let mut target = RelayFixture::voting();
    let all = target.all.contributors(0..N);
    let vote = target.all.vote(6, &all);
    let stranger = turned_away(&target.frame(6, NodeFrame::Vote(vote))).unwrap();
    assert_eq!(stranger, Refusal::Stranger(target.all.id(6)));
    let vote = target.all.vote(0, &all);
    let foreign = turned_away(&target.frame(5, NodeFrame::Vote(vote))).unwrap();
    assert_eq!(foreign, Refusal::Stranger(target.all.id(0)));
    let vote = target.all.vote(0, &target.all.contributors(0..6));
    let other = turned_away(&target.frame(0, NodeFrame::Vote(vote))).unwrap();
    assert!(matches!(
        other,
        Refusal::OtherContributors {
            what: Kind::Vote,
            ..
        }
    ));
    let orders = |actions: &[Action]| {
        let orders = actions
            .iter()
            .filter(|action| matches!(action, Action::Send(_, RelayFrame::Reveal { .. })));
        orders.count()
    };
    for k in [1, 1, 2, 2, 3] {
        let vote = target.all.vote(k, &all);
        assert_eq!(orders(&target.frame(k, NodeFrame::Vote(vote))), 0);
    }
    let vote = target.all.vote(4, &all);
    assert_eq!(
        orders(&target.frame(4, NodeFrame::Vote(vote))),
        4,
        "holder 0 was turned away"
    );
}

#[test]
fn reveals_of_others_of_other_classes_and_of_two_kinds_are_not_added() {
    let mut target = RelayFixture::revealing();
    let all = target.all.contributors(0..N);
    let collected = |actions: &[Action]| {
        actions
            .iter()
            .any(|a| matches!(a, Action::Collect { body, .. } if body.kind == BodyKind::Reveal))
    };
    let good = target.all.reveal(0, &all, target.part(0));

    let foreign = target.reveal(1, &good, 0);
    assert_eq!(
        turned_away(&foreign),
        Some(Refusal::Stranger(target.all.id(0)))
    );
    assert!(!collected(&foreign));
    let others = Reveal {
        classes: target.part(1),
        ..good.clone()
    };
    let actions = target.reveal(0, &others, 0);
    assert!(!collected(&actions), "{actions:?}");
    let mut target = RelayFixture::revealing();
    let committee_has = target.all.holders.committee().classes().all();
    let not_held = Reveal {
        classes: committee_has.without(target.all.classes_of(0)),
        ..target.all.reveal(0, &all_of(&target), ClassSet::default())
    };
    let holder = target.all.id(0);
    assert_eq!(
        turned_away(&target.reveal(0, &not_held, 0)),
        Some(Refusal::Classes { holder })
    );

    let mut target = RelayFixture::revealing();
    let few = target.all.contributors(0..6);
    let of_few = target.all.reveal(0, &few, target.part(0));
    let refusal = turned_away(&target.reveal(0, &of_few, 0)).unwrap();
    assert!(matches!(
        refusal,
        Refusal::OtherContributors {
            what: Kind::Reveal,
            ..
        }
    ));

    let mut target = RelayFixture::revealing();
    let good = target.all.reveal(0, &all_of(&target), target.part(0));
    assert!(collected(&target.reveal(0, &good, 0)));
    assert!(collected(&target.reveal(0, &good, 0)), "the same again");
    let other = Reveal {
        root: Digest([99; 32]),
        ..good
    };
    let refusal = turned_away(&target.reveal(0, &other, 0)).unwrap();
    assert!(matches!(
        refusal,
        Refusal::Duplicate {
            what: Kind::Reveal,
            ..
        }
    ));
}

#[test]
fn honest_reveals_are_added_up_each_class_once() {
    let mut target = RelayFixture::revealing();
    let all = all_of(&target);
    for k in 0..K {
        let reveal = target.all.reveal(k, &all, target.part(k));
        target.reveal(k, &reveal, k);
        let body = BodyId::reveal(reveal.root);
        let actions = target.event(Event::BodyAdded(target.all.id(k), body));
        let sum = actions.iter().find_map(|action| match action {
            Action::Average { bodies, .. } => {
                let of = |kind| bodies.iter().filter(|(_, body)| body.kind == kind).count();
                Some((of(BodyKind::Sum), of(BodyKind::Reveal)))
            }
            _ => None,
        });
        assert_eq!(sum, (k == K - 1).then_some((N, K)));
    }
}

fn all_of(target: &RelayFixture) -> Contributors {
    target.all.contributors(0..N)
}
