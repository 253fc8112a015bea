//! Every interleaving of a small committee's votes and reveals, with the real ballots, tallies,
//! assignment and record of sent sums. The relay and `byzantine` holders do what they like; the
//! others are asked anything, at any time, in two attempts on one model, and may be killed and
//! started again in between.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Checker, Expectation, Model, Property};

use super::consortium;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::committee::ballot::{Endorsed, Stance};
use crate::round::committee::certificate::Tally;
use crate::round::committee::message::{ContributionId, Vote};
use crate::round::committee::{ClassSet, Committee, Contributors};
use crate::round::{Kind, SentSum, SentSums};

/// Attempts on one model.
const ATTEMPTS: usize = 2;

struct Vault {
    manifest: std::sync::Arc<Manifest>,
    committee: Committee,
    /// How many holders, the last ones, keep to nothing.
    byzantine: usize,
    quorum: usize,
    /// Three lists of contributors, in each attempt.
    lists: Vec<Vec<Contributors>>,
    accepted: BTreeMap<NodeId, Digest>,
}

/// What an honest holder has: a ballot in each attempt in which it has a round key, and a disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seat {
    stances: Vec<Option<Stance>>,
    /// The list that is recorded, if there is one.
    recorded: Option<usize>,
}

/// The honest holders, and the votes that they have cast: attempt, holder, list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    seats: Vec<Seat>,
    votes: BTreeSet<(usize, usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The relay asks a holder to vote for a list.
    Ask {
        attempt: usize,
        seat: usize,
        list: usize,
    },
    /// A holder is killed and comes back: its round keys are gone, its disk is not.
    Restart { seat: usize },
}

impl Vault {
    fn new(k: usize, t: u32, byzantine: usize) -> Self {
        let consortium = consortium(5, k, t);
        let manifest = consortium.manifest.clone();
        let committee = manifest.committee().unwrap().clone();
        let mut ids: Vec<_> = manifest.roster().keys().copied().collect();
        ids.sort();
        let accepted: BTreeMap<_, _> = ids.iter().map(|id| (*id, id.0)).collect();
        let entry = |k: &usize| ContributionId {
            node: ids[*k],
            contribution: accepted[&ids[*k]],
        };
        let list = |nodes: &[usize], attempt: usize| {
            let ctx = Digest([u8::try_from(attempt).unwrap(); 32]);
            Contributors::new(ctx, nodes.iter().map(entry).collect(), Kind::Ballot).unwrap()
        };
        let sets: [&[usize]; 3] = [&[0, 1, 2, 3, 4], &[0, 1, 2, 3], &[1, 2, 3]];
        let lists = (0..ATTEMPTS).map(|attempt| sets.map(|set| list(set, attempt)).to_vec());
        Self {
            quorum: committee.quorum(),
            byzantine,
            lists: lists.collect(),
            accepted,
            committee,
            manifest,
        }
    }

    fn honest(&self) -> usize {
        self.committee.holders().len() - self.byzantine
    }

    /// What the holder's disk says.
    fn sent(&self, seat: &Seat) -> SentSums {
        let mut sent = SentSums::default();
        if let Some(list) = seat.recorded {
            sent.add(&SentSum::new(
                self.manifest.initial_model(),
                self.lists[0][list].nodes(),
            ));
        }
        sent
    }

    /// Whether there is a certificate for a list, with all that the Byzantine holders can add.
    fn is_certified(&self, state: &State, attempt: usize, list: usize) -> bool {
        let contributors = &self.lists[attempt][list];
        let ctx = Digest([u8::try_from(attempt).unwrap(); 32]);
        let mut tally = Tally::new(ctx, contributors.digest());
        for (seat, holder) in self.committee.holders().iter().enumerate() {
            if seat >= self.honest() || state.votes.contains(&(attempt, seat, list)) {
                let vote = Vote {
                    ctx,
                    holder: *holder,
                    contributors: contributors.digest(),
                };
                tally
                    .count(&vote, |node| self.committee.contains(node))
                    .unwrap();
            }
        }
        tally.certify_with(self.quorum).is_ok()
    }
}

impl Model for Vault {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let seat = Seat {
            stances: (0..ATTEMPTS).map(|_| Some(Stance::new())).collect(),
            recorded: None,
        };
        vec![State {
            seats: vec![seat; self.honest()],
            votes: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for seat in 0..self.honest() {
            for attempt in 0..ATTEMPTS {
                if matches!(state.seats[seat].stances[attempt], Some(Stance::Open(_))) {
                    let asks = (0..3).map(|list| Step::Ask {
                        attempt,
                        seat,
                        list,
                    });
                    steps.extend(asks);
                }
            }
            // In between: the first attempt's key is lost, the second's is drawn after it.
            if state.seats[seat].stances[0].is_some() {
                steps.push(Step::Restart { seat });
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut state = state.clone();
        match step {
            Step::Restart { seat } => state.seats[seat].stances[0] = None,
            Step::Ask {
                attempt,
                seat,
                list,
            } => {
                let model = self.manifest.initial_model();
                let sent = self.sent(&state.seats[seat]);
                let contributors = self.lists[attempt][list].clone();
                let endorsed =
                    Endorsed::check(contributors, &self.accepted, &sent, model, &self.manifest)
                        .ok()?;
                let place = &mut state.seats[seat];
                let Some(Stance::Open(ballot)) = place.stances[attempt].take() else {
                    return None;
                };
                place.stances[attempt] = Some(Stance::Decided(ballot.vote(endorsed)));
                place.recorded = Some(list);
                state.votes.insert((attempt, seat, list));
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "one list of contributors is certified",
                |vault: &Self, state| {
                    let certified = |list: &usize| {
                        (0..ATTEMPTS).any(|attempt| vault.is_certified(state, attempt, *list))
                    };
                    (0..3).filter(certified).count() <= 1
                },
            ),
            Property::sometimes("some list is certified", |vault: &Self, state| {
                (0..3).any(|list| vault.is_certified(state, 0, list))
            }),
        ]
    }
}

fn violated(vault: Vault) -> Vec<&'static str> {
    let checker = vault.checker().threads(2).spawn_bfs().join();
    assert!(checker.is_done() && checker.unique_state_count() > 10);
    let always = |name: &&str| {
        let properties = checker.model().properties();
        properties
            .iter()
            .any(|p| p.name == *name && matches!(p.expectation, Expectation::Always))
    };
    let found = checker.discoveries();
    assert!(
        found.contains_key("some list is certified"),
        "not for want of any"
    );
    found.into_keys().filter(always).collect()
}

#[test]
fn no_two_lists_are_certified_on_one_model_whatever_t_holders_and_the_relay_do() {
    for (k, t) in [(3, 1), (3, 2), (4, 1), (4, 2), (5, 2)] {
        let vault = Vault::new(k, t, t as usize);
        assert!(violated(vault).is_empty(), "{k}, {t}");
    }
}

#[test]
fn one_vote_less_or_one_liar_more_would_break_it() {
    for (k, t) in [(3, 1), (4, 1), (4, 2), (5, 2)] {
        let mut vault = Vault::new(k, t, t as usize);
        vault.quorum -= 1;
        assert!(!violated(vault).is_empty(), "{k}, {t}: Q - 1");
    }
    // With K + t odd, t is the very limit; else Q has one vote to spare.
    for (k, t) in [(4, 1), (5, 2)] {
        assert!(
            !violated(Vault::new(k, t, t as usize + 1)).is_empty(),
            "{k}, {t}: t + 1"
        );
    }
}

/// An honest relay, and holders that are lost at any time.
struct Recovery {
    committee: Committee,
    lost: usize,
    /// Whether they may be lost before they have voted, too.
    any_time: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Progress {
    present: BTreeSet<usize>,
    voted: BTreeSet<usize>,
    /// Who was asked for what, and what has come.
    asked: BTreeMap<usize, ClassSet>,
    revealed: ClassSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Votes(usize),
    Lost(usize),
    Distributes,
    Reveals(usize),
}

impl Recovery {
    fn is_certified(&self, state: &Progress) -> bool {
        state.voted.len() >= self.committee.quorum()
    }
}

impl Model for Recovery {
    type State = Progress;
    type Action = Event;

    fn init_states(&self) -> Vec<Progress> {
        vec![Progress {
            present: (0..self.committee.holders().len()).collect(),
            voted: BTreeSet::new(),
            asked: BTreeMap::new(),
            revealed: ClassSet::default(),
        }]
    }

    fn actions(&self, state: &Progress, events: &mut Vec<Event>) {
        let k = self.committee.holders().len();
        let everyone_voted = state.voted.len() == k;
        if k - state.present.len() < self.lost && (self.any_time || everyone_voted) {
            events.extend(state.present.iter().map(|seat| Event::Lost(*seat)));
        }
        events.extend(
            state
                .present
                .difference(&state.voted)
                .map(|seat| Event::Votes(*seat)),
        );
        let open = self.committee.classes().all().without(state.revealed);
        let asked = state
            .asked
            .values()
            .fold(ClassSet::default(), |set, part| set.union(*part));
        if self.is_certified(state) && !open.is_subset(asked) {
            events.push(Event::Distributes);
        }
        events.extend(state.asked.keys().map(|seat| Event::Reveals(*seat)));
    }

    fn next_state(&self, state: &Progress, event: Event) -> Option<Progress> {
        let mut state = state.clone();
        match event {
            Event::Votes(seat) => drop(state.voted.insert(seat)),
            Event::Lost(seat) => {
                state.present.remove(&seat);
                state.asked.remove(&seat);
            }
            Event::Distributes => {
                let asked = state
                    .asked
                    .values()
                    .fold(state.revealed, |set, part| set.union(*part));
                let open = self.committee.classes().all().without(asked);
                let present = crate::round::committee::Seats::of(state.present.iter().copied());
                let (parts, _) = self.committee.classes().assign(open, present);
                if parts.is_empty() {
                    return None;
                }
                for (seat, part) in parts {
                    let asked = state.asked.entry(seat).or_default();
                    *asked = asked.union(part);
                }
            }
            Event::Reveals(seat) => {
                let part = state.asked.remove(&seat)?;
                assert!(part.intersection(state.revealed).is_empty(), "once");
                state.revealed = state.revealed.union(part);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // Nothing here repeats itself, so what cannot end otherwise ends.
        vec![Property::always(
            "it ends with all revealed",
            |recovery: &Self, state: &Progress| {
                state.revealed == recovery.committee.classes().all()
                    || !recovery.next_steps(state).is_empty()
            },
        )]
    }
}

fn always_ends(k: usize, t: u32, lost: usize, any_time: bool) -> bool {
    let committee = consortium(5, k, t).manifest.committee().unwrap().clone();
    let recovery = Recovery {
        committee,
        lost,
        any_time,
    };
    let checker = recovery.checker().threads(2).spawn_dfs().join();
    checker.discoveries().is_empty()
}

#[test]
fn the_attempt_ends_with_as_many_lost_as_are_tolerated_and_not_with_one_more() {
    for (k, t, before, after) in [(3, 2, 0, 0), (4, 1, 1, 2), (4, 2, 0, 1), (5, 2, 1, 2)] {
        assert!(always_ends(k, t, before, true), "{k}, {t}: {before} before");
        assert!(
            !always_ends(k, t, before + 1, true),
            "{k}, {t}: one more before"
        );
        assert!(always_ends(k, t, after, false), "{k}, {t}: {after} after");
        assert!(
            !always_ends(k, t, after + 1, false),
            "{k}, {t}: one more after"
        );
    }
}
