//! Collecting the round keys of the holders, while the contributors train.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::collect::CollectingContributions;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::committee::{Committee, Holders};
use crate::round::key_offer::KeyOffer;
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::reminder::Reminder;
use crate::round::relay::report::Report;
use crate::round::relay::selection::Selection;
use crate::round::relay::stage::AttemptProgress;
use crate::round::relay::state::RelayState;
use crate::wire::RelayFrame;

pub(in crate::round) struct Convening {
    committee: Committee,
    /// Contributors that were asked.
    invited: BTreeSet<NodeId>,
    /// Whether it has to be all of them.
    exact: bool,
    /// Holders that were asked and have not declined.
    asked: BTreeSet<NodeId>,
    keys: BTreeMap<NodeId, KeyOffer>,
    /// For the holders' answers.
    deadline: Duration,
    /// For the contributions.
    closes: Duration,
    reminder: Reminder,
}

impl Convening {
    /// Asks all holders that are ready for keys, and the nodes of this selection, who have `wait`
    /// for training, for contributions.
    pub(super) fn open(
        state: &mut RelayState,
        committee: Committee,
        selection: Selection,
        wait: Duration,
    ) -> Self {
        let Selection { nodes, exact } = selection;
        let closes = state.after(wait.saturating_add(state.manifest.transfer_timeout()));
        let keys_wait = Duration::from_secs(state.manifest.timeouts().keys_s);
        let mut convening = Self {
            committee,
            invited: nodes,
            exact,
            asked: BTreeSet::new(),
            keys: BTreeMap::new(),
            deadline: state.after(keys_wait),
            closes,
            reminder: Reminder::since(state.now),
        };
        let holders = convening.committee.holders().iter();
        let ready = holders.filter(|holder| convening.may_hold(state, **holder));
        convening.asked = ready.copied().collect();
        for holder in &convening.asked {
            convene(state, *holder);
        }
        for node in &convening.invited {
            state.invite(*node, closes);
        }
        convening
    }

    /// Returns whether a holder can take part in an attempt with these contributors.
    fn may_hold(&self, state: &RelayState, holder: NodeId) -> bool {
        let contributors = self.exact.then_some(&self.invited);
        self.committee.contains(holder)
            && state.is_ready(holder)
            && state.obligations.may_decide(holder, contributors)
    }

    pub(super) fn offered(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        offer: KeyOffer,
    ) -> Result<(), Refusal> {
        match state.checked_offer(node, &offer, self.asked.contains(&node))? {
            None => Ok(()),
            Some(_) if self.keys.contains_key(&node) => {
                let (what, signer) = (Kind::Keys, node);
                Err(Refusal::Duplicate { what, signer })
            }
            Some(_) => {
                self.keys.insert(node, offer);
                Ok(())
            }
        }
    }

    /// A node is here, perhaps again.
    pub(super) fn returned(&mut self, state: &mut RelayState, node: NodeId) {
        if !state.is_ready(node) {
            return;
        }
        if self.may_hold(state, node) {
            self.asked.insert(node);
            convene(state, node);
        }
        if state.may_join(node, &self.invited, self.exact) {
            self.invited.insert(node);
            state.invite(node, self.closes);
        }
    }

    /// A node is gone, or does not go on.
    pub(super) fn without(&mut self, node: NodeId) {
        self.asked.remove(&node);
        self.keys.remove(&node);
    }

    pub(super) fn advance(
        mut self,
        state: &mut RelayState,
    ) -> AttemptProgress<Self, CollectingContributions> {
        let quorum = self.committee.quorum();
        let unanswered = |node: &&NodeId| !self.keys.contains_key(node);
        let missing: Vec<_> = self.asked.iter().filter(unanswered).copied().collect();
        let late = state.now >= self.deadline;
        if self.keys.len() >= quorum && (missing.is_empty() || late) {
            return self.fix(state);
        }
        if late {
            let missing = self.committee.without(&self.keys.keys().copied().collect());
            let bound = state.is_bound();
            self.reminder.remind(state, missing, bound);
        }
        AttemptProgress::Stays(self)
    }

    /// The holders are fixed.
    fn fix(self, state: &mut RelayState) -> AttemptProgress<Self, CollectingContributions> {
        let offers = self.keys.into_iter();
        let (bundle, round_keys) = offers
            .map(|(node, KeyOffer { keys, round_key })| (keys, (node, round_key)))
            .unzip();
        let unix_s = state.unix_s();
        let holders = match Holders::verify(bundle, &state.manifest, &state.head, unix_s) {
            Ok(holders) => holders,
            Err(refusal) => {
                return AttemptProgress::Abandoned(state.blame_expired(&refusal, self.exact));
            }
        };
        let all: BTreeSet<_> = self.invited.iter().copied().chain(holders.ids()).collect();
        state.log(Entry::Keys(holders.bundle().to_vec()));
        let frame = holders.to_frame(&round_keys);
        for node in all {
            state.send(node, frame.clone());
        }
        let (round, nodes) = (holders.round(), holders.ids().collect());
        state.report(Report::Holders { round, nodes });
        AttemptProgress::Moves(CollectingContributions::begin(
            state,
            (holders, round_keys),
            self.invited,
            self.exact,
            self.closes,
        ))
    }
}

fn convene(state: &mut RelayState, node: NodeId) {
    let opening = state.opening();
    state.send(node, RelayFrame::Convene(opening));
}
