//! Collecting the masked sums themselves. From here on the participants are fixed: those that have
//! sent a sum join a rerun with the very same participants only (the difference rule).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::message::Signed;
use crate::round::outcome::Evidence;
use crate::round::peer::Participants;
use crate::round::peer::message::Sum;
use crate::round::relay::action::Action;
use crate::round::relay::reminder::Reminder;
use crate::round::relay::stage::{AttemptProgress, Complete};
use crate::round::relay::state::RelayState;
use crate::wire::BodyId;

pub(in crate::round) struct CollectingSums {
    participants: Participants,
    sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    added: BTreeSet<NodeId>,
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
        let all = Some(participants.len());
        state.act(Action::Receive { ctx, all });
        for (node, (_, sum)) in &sums {
            state.collect(*node, ctx, BodyId::sum(ctx), sum.root);
        }
        Self {
            participants,
            sums,
            added: BTreeSet::new(),
            deadline: state.after(state.manifest.transfer_timeout()),
            reminder: Reminder::since(state.now),
        }
    }

    /// Returns the root of a node's body, if that has not been added.
    fn awaited(&self, node: NodeId) -> Option<Digest> {
        let (_, sum) = self.sums.get(&node)?;
        (!self.added.contains(&node)).then_some(sum.root)
    }

    /// A node has come back, and `holds` a masked sum or has lost it.
    pub(super) fn returned(
        self,
        state: &mut RelayState,
        node: NodeId,
        holds: Option<Digest>,
    ) -> AttemptProgress<Self, Complete> {
        let ctx = self.participants.ctx();
        match self.awaited(node) {
            Some(root) if holds == Some(ctx) => {
                state.collect(node, ctx, BodyId::sum(ctx), root);
                AttemptProgress::Stays(self)
            }
            _ => self.withdrawn(state, node),
        }
    }

    /// The masked sum of a node will not come. The same participants may begin again, with fresh
    /// masks.
    pub(super) fn withdrawn(
        self,
        state: &mut RelayState,
        node: NodeId,
    ) -> AttemptProgress<Self, Complete> {
        if self.awaited(node).is_none() {
            return AttemptProgress::Stays(self);
        }
        state.obligations.require(self.participants.set());
        AttemptProgress::Abandoned(vec![node])
    }

    pub(super) fn added(
        mut self,
        state: &mut RelayState,
        node: NodeId,
        body: BodyId,
    ) -> AttemptProgress<Self, Complete> {
        let ctx = self.participants.ctx();
        if body == BodyId::sum(ctx) && self.awaited(node).is_some() {
            self.added.insert(node);
            state.log(Entry::Body { ctx, node });
        }
        match self.added.len() < self.participants.len() {
            true => AttemptProgress::Stays(self),
            false => AttemptProgress::Moves(self.complete()),
        }
    }

    fn complete(self) -> Complete {
        let ctx = self.participants.ctx();
        let bodies = self.participants.ids().map(|node| (node, BodyId::sum(ctx)));
        let sums = self.sums.into_values().map(|(signed, _)| signed);
        Complete {
            ctx,
            bundle: self.participants.bundle().to_vec(),
            nodes: self.participants.set(),
            parts: Evidence::Sums(sums.collect()),
            bodies: bodies.collect(),
        }
    }

    pub(super) fn advance(mut self, state: &mut RelayState) -> AttemptProgress<Self, Complete> {
        if state.now < self.deadline {
            return AttemptProgress::Stays(self);
        }
        let ids = self.participants.ids();
        let missing: Vec<_> = ids.filter(|node| !self.added.contains(node)).collect();
        if self.reminder.remind(state, missing.clone(), true) {
            // Asked again: the request, or what came of it, may have been lost with a former
            // connection.
            let ctx = self.participants.ctx();
            let connected = missing.into_iter();
            let connected: Vec<_> = connected
                .filter(|node| state.presence.is_connected(*node))
                .collect();
            for node in connected {
                if let Some(root) = self.awaited(node) {
                    state.collect(node, ctx, BodyId::sum(ctx), root);
                }
            }
        }
        AttemptProgress::Stays(self)
    }
}
