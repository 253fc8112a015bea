//! Collecting round keys: whoever is ready by the deadline takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::share::ExchangingShares;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::key_offer::KeyOffer;
use crate::round::peer::Participants;
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::reminder::Reminder;
use crate::round::relay::report::Report;
use crate::round::relay::selection::Selection;
use crate::round::relay::stage::AttemptProgress;
use crate::round::relay::state::RelayState;

pub(in crate::round) struct Advertising {
    /// Those who were asked to take part.
    invited: BTreeSet<NodeId>,
    /// Those of them who may still answer, or have.
    asked: BTreeSet<NodeId>,
    keys: BTreeMap<NodeId, KeyOffer>,
    /// Whether it has to be all of them.
    exact: bool,
    deadline: Duration,
    reminder: Reminder,
}

impl Advertising {
    pub(super) fn open(state: &mut RelayState, selection: Selection, wait: Duration) -> Self {
        let Selection { nodes, exact } = selection;
        let deadline = state.after(wait);
        for node in &nodes {
            state.invite(*node, deadline);
        }
        Self {
            asked: nodes.clone(),
            invited: nodes,
            keys: BTreeMap::new(),
            exact,
            deadline,
            reminder: Reminder::since(state.now),
        }
    }

    pub(super) fn offered(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        offer: KeyOffer,
    ) -> Result<(), Refusal> {
        let asked = self.asked.contains(&node);
        if state.checked_offer(node, &offer, asked)?.is_none() {
            return Ok(());
        }
        if self.keys.contains_key(&node) {
            let (what, signer) = (Kind::Keys, node);
            return Err(Refusal::Duplicate { what, signer });
        }
        self.keys.insert(node, offer);
        Ok(())
    }

    /// A node that was asked has come back in time: it may have forgotten that it was.
    pub(super) fn returned(&mut self, state: &mut RelayState, node: NodeId) {
        if self.invited.contains(&node) && state.is_ready(node) && state.now < self.deadline {
            self.asked.insert(node);
            state.invite(node, self.deadline);
        }
    }

    pub(super) fn without(
        mut self,
        state: &RelayState,
        node: NodeId,
    ) -> AttemptProgress<Self, ExchangingShares> {
        if !self.asked.remove(&node) {
            return AttemptProgress::Stays(self);
        }
        self.keys.remove(&node);
        match self.exact || !state.are_enough(self.asked.iter()) {
            true => AttemptProgress::Abandoned(vec![node]),
            false => AttemptProgress::Stays(self),
        }
    }

    pub(super) fn advance(
        mut self,
        state: &mut RelayState,
    ) -> AttemptProgress<Self, ExchangingShares> {
        let late = state.now >= self.deadline;
        let unanswered = |node: &&NodeId| !self.keys.contains_key(node);
        let missing: Vec<_> = self.asked.iter().filter(unanswered).copied().collect();
        let enough = !self.exact && state.are_enough(self.keys.keys());
        if missing.is_empty() || (late && enough) {
            return self.fix(state);
        }
        if late && state.suffices_without(&missing) {
            for node in &missing {
                state.obligations.exclude(*node);
            }
            return AttemptProgress::Abandoned(missing);
        }
        if late {
            let bound = state.is_bound();
            self.reminder.remind(state, missing, bound);
        }
        AttemptProgress::Stays(self)
    }

    /// The participants are fixed.
    fn fix(self, state: &mut RelayState) -> AttemptProgress<Self, ExchangingShares> {
        let offers = self.keys.into_iter();
        let (bundle, round_keys) = offers
            .map(|(node, KeyOffer { keys, round_key })| (keys, (node, round_key)))
            .unzip();
        let unix_s = state.unix_s();
        let participants = Participants::verify(
            bundle,
            &state.manifest,
            &state.head,
            unix_s,
            state.obligations.convicted(),
        );
        let participants = match participants {
            Ok(participants) => participants,
            Err(refusal) => {
                return AttemptProgress::Abandoned(state.blame_expired(&refusal, self.exact));
            }
        };
        state.log(Entry::Keys(participants.bundle().to_vec()));
        for node in participants.ids() {
            state.send(node, participants.frame_for(node, &round_keys));
        }
        let (round, nodes) = (participants.round(), participants.ids().collect());
        state.report(Report::Participants { round, nodes });
        AttemptProgress::Moves(ExchangingShares::begin(state, participants))
    }
}
