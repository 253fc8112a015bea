//! Collecting the masked sums themselves, and averaging them. From here on the participants are fixed: those that
//! have sent a sum join a rerun with the very same participants only (the difference rule).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::acks::Acks;
use super::gathering::{Gathering, PAUSE};
use super::session::Session;
use super::waiting::Waiting;
use super::{Action, Completed, Phase, Report};
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::average::Averaged;
use crate::round::message::{Keys, Signed, Sum};
use crate::round::outcome::{Outcome, Parts};
use crate::round::participants::Participants;
use crate::round::refusal::Refusal;
use crate::wire::BodyId;

pub(in crate::round) struct Bodies {
    participants: Participants,
    sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    added: BTreeSet<NodeId>,
    deadline: Duration,
    waiting: Waiting,
}

/// All sums are added up, and the average is being computed.
pub(in crate::round) struct AveragingSum {
    pub(in crate::round) ctx: Digest,
    /// Whose keys the context is made of.
    pub(in crate::round) bundle: Vec<Signed<Keys>>,
    /// Whose inputs are in the sum.
    pub(in crate::round) nodes: BTreeSet<NodeId>,
    pub(in crate::round) parts: Parts,
}

impl Bodies {
    pub(super) fn new(
        participants: Participants,
        sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
        deadline: Duration,
        now: Duration,
    ) -> Self {
        Self {
            participants,
            sums,
            added: BTreeSet::new(),
            deadline,
            waiting: Waiting::since(now),
        }
    }

    /// A node has come back, and `holds` a masked sum or has lost it.
    pub(super) fn returned(
        self,
        session: &mut Session,
        node: NodeId,
        holds: Option<Digest>,
    ) -> Phase {
        let Some((_, sum)) = self.sums.get(&node).filter(|_| !self.added.contains(&node)) else {
            return Phase::Bodies(self);
        };
        let ctx = self.participants.ctx();
        if holds == Some(ctx) {
            session.collect(node, ctx, BodyId::sum(ctx), sum.root);
            return Phase::Bodies(self);
        }
        self.withdrawn(session, node)
    }

    /// The masked sum of a node will not come. The same participants may begin again, with fresh masks.
    pub(super) fn withdrawn(self, session: &mut Session, node: NodeId) -> Phase {
        if !self.sums.contains_key(&node) || self.added.contains(&node) {
            return Phase::Bodies(self);
        }
        session.require(self.participants.set());
        session.abandon(&[node])
    }

    pub(super) fn added(mut self, session: &mut Session, node: NodeId, body: BodyId) -> Phase {
        let ctx = self.participants.ctx();
        let awaited = body == BodyId::sum(ctx) && self.sums.contains_key(&node);
        if awaited && self.added.insert(node) {
            session.log(Entry::Body { ctx, node });
        }
        if self.added.len() < self.participants.len() {
            return Phase::Bodies(self);
        }
        session.forget_last();
        session.report(Report::Collected {
            round: session.chain.next_round(),
        });
        let bodies = self.participants.ids().map(|node| (node, BodyId::sum(ctx)));
        session.actions.push(Action::Average {
            chain: session.chain,
            ctx,
            bodies: bodies.collect(),
        });
        let sums = self.sums.into_values().map(|(signed, _)| signed);
        Phase::Averaging(AveragingSum {
            ctx: self.participants.ctx(),
            bundle: self.participants.bundle().to_vec(),
            nodes: self.participants.set(),
            parts: Parts::Sums(sums.collect()),
        })
    }

    pub(super) fn advance(mut self, session: &mut Session) -> Phase {
        if session.now < self.deadline {
            return Phase::Bodies(self);
        }
        let missing: Vec<_> = self
            .participants
            .ids()
            .filter(|id| !self.added.contains(id))
            .collect();
        if self.waiting.tell(session, missing.clone(), true) {
            // Asked again: the request, or what came of it, may have been lost with a former connection.
            let ctx = self.participants.ctx();
            for (node, (_, sum)) in &self.sums {
                if missing.contains(node) && session.is_here(*node) {
                    session.collect(*node, ctx, BodyId::sum(ctx), sum.root);
                }
            }
        }
        Phase::Bodies(self)
    }
}

impl AveragingSum {
    pub(super) fn averaged(self, session: &mut Session, averaged: Averaged) -> Phase {
        let attempts = session.attempt;
        let outcome = Outcome {
            ctx: self.ctx,
            bundle: self.bundle,
            parts: self.parts,
            root: averaged.root,
            model: averaged.chain.model,
        };
        session.complete(averaged.chain, outcome, self.nodes);
        session.report(Report::Completed(Box::new(Completed {
            round: averaged.chain.round,
            attempts,
            nodes: averaged.nodes,
            totals: averaged.totals,
            model: averaged.chain.model,
        })));
        Phase::Acks(Acks::begin(session))
    }

    /// The sum is impossible: the same participants have to begin again.
    pub(super) fn impossible(self, session: &mut Session, refusal: &Refusal) -> Phase {
        let all: Vec<_> = self.nodes.iter().copied().collect();
        for node in &all {
            session.fault(*node, refusal.clone());
        }
        session.require(self.nodes);
        session.give_up(&all);
        // The same again at once would end the same way; whoever is at fault gets time to be found.
        Phase::Gathering(Gathering::after(session.now, PAUSE))
    }
}
