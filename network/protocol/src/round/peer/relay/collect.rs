//! Collecting the masked sums themselves, and the tag shares that their signed roots commit to.
//! From here on the participants are fixed: those that have sent a sum join a rerun with the very
//! same participants only (the difference rule).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::evidence::Evidence;
use crate::round::message::Signed;
use crate::round::peer::message::Sum;
use crate::round::peer::{OpenedSum, Participants, TagShare};
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::action::Action;
use crate::round::relay::reminder::Reminder;
use crate::round::relay::stage::{AttemptProgress, Complete};
use crate::round::relay::state::RelayState;
use crate::wire::BodyId;

pub(in crate::round) struct CollectingSums {
    participants: Participants,
    sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    added: BTreeSet<NodeId>,
    tag_shares: BTreeMap<NodeId, TagShare>,
    deadline: Duration,
    reminder: Reminder,
}

impl CollectingSums {
    pub(super) fn begin(
        state: &mut RelayState,
        participants: Participants,
        sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    ) -> Self {
        let ctx = participants.ctx();
        let all = Some(state.manifest.addends(&participants.set()));
        state.act(Action::Receive { ctx, all });
        let collecting = Self {
            participants,
            sums,
            added: BTreeSet::new(),
            tag_shares: BTreeMap::new(),
            deadline: state.after(state.manifest.transfer_timeout()),
            reminder: Reminder::since(state.now),
        };
        for node in collecting.participants.ids() {
            collecting.ask(state, node);
        }
        collecting
    }

    /// Asks a node for its body and its tag share, and shows it that all have committed to theirs.
    fn ask(&self, state: &mut RelayState, node: NodeId) {
        let Some((_, sum)) = self.sums.get(&node) else {
            return;
        };
        let ctx = self.participants.ctx();
        let sums = self.sums.values().map(|(signed, _)| signed.clone());
        state.act(Action::Collect {
            node,
            ctx,
            body: BodyId::sum(ctx),
            root: sum.root,
            sums: sums.collect(),
        });
    }

    /// Returns whether a node's body or its tag share is not here.
    fn is_awaited(&self, node: NodeId) -> bool {
        let complete = self.added.contains(&node) && self.tag_shares.contains_key(&node);
        self.participants.contains(node) && !complete
    }

    /// A node opens its tag share.
    pub(super) fn opened(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        ctx: Digest,
        share: TagShare,
    ) -> Result<(), Refusal> {
        match self.sums.get(&node) {
            Some((_, sum)) if sum.ctx == ctx => {
                share.open(sum)?;
                self.tag_shares.insert(node, share);
            }
            _ => state.late(node, Kind::TagShare),
        }
        Ok(())
    }

    /// A node has come back, and `holds` a masked sum or has lost it.
    pub(super) fn returned(
        self,
        state: &mut RelayState,
        node: NodeId,
        holds: Option<Digest>,
    ) -> AttemptProgress<Self, Complete> {
        let holds = holds == Some(self.participants.ctx());
        match holds && self.is_awaited(node) {
            true => {
                self.ask(state, node);
                AttemptProgress::Stays(self)
            }
            false => self.withdrawn(state, node),
        }
    }

    /// The masked sum of a node will not come. The same participants may begin again, with fresh
    /// masks.
    pub(super) fn withdrawn(
        self,
        state: &mut RelayState,
        node: NodeId,
    ) -> AttemptProgress<Self, Complete> {
        if !self.is_awaited(node) {
            return AttemptProgress::Stays(self);
        }
        state.obligations.require(self.participants.set());
        AttemptProgress::Abandoned(vec![node])
    }

    /// A node's body is here, whole.
    pub(super) fn added(&mut self, state: &mut RelayState, node: NodeId, body: BodyId) {
        let ctx = self.participants.ctx();
        let expected = body == BodyId::sum(ctx) && self.participants.contains(node);
        if expected && self.added.insert(node) {
            state.log(Entry::Body { ctx, node });
        }
    }

    fn complete(self) -> Complete {
        let ctx = self.participants.ctx();
        let bodies = self.participants.ids().map(|node| (node, BodyId::sum(ctx)));
        // Of each node there are both.
        let both = self.sums.into_values().zip(self.tag_shares.into_values());
        let sums = both.map(|((sum, _), tag_share)| OpenedSum { sum, tag_share });
        Complete {
            ctx,
            bundle: self.participants.bundle().to_vec(),
            nodes: self.participants.set(),
            parts: Evidence::Sums(sums.collect()),
            bodies: bodies.collect(),
        }
    }

    pub(super) fn advance(mut self, state: &mut RelayState) -> AttemptProgress<Self, Complete> {
        let ids = self.participants.ids();
        let missing: Vec<_> = ids.filter(|node| self.is_awaited(*node)).collect();
        if missing.is_empty() {
            return AttemptProgress::Moves(self.complete());
        }
        if state.now < self.deadline {
            return AttemptProgress::Stays(self);
        }
        if self.reminder.remind(state, missing.clone(), true) {
            // Asked again: the request, or what came of it, may have been lost with a former
            // connection.
            let connected = missing.into_iter();
            let connected: Vec<_> = connected
                .filter(|node| state.presence.is_connected(*node))
                .collect();
            for node in connected {
                self.ask(state, node);
            }
        }
        AttemptProgress::Stays(self)
    }
}
