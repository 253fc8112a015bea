//! Collecting the masked sums themselves, and averaging them. From here on the participants are fixed: those that
//! have sent a sum do not join a rerun that differs by too few (the difference rule).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::acks::Acks;
use super::session::Session;
use super::{Action, Completed, Phase, Report};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::average::Averaged;
use crate::round::difference::organisations;
use crate::round::message::{Signed, Sum};
use crate::round::participants::Participants;
use crate::round::refusal::Refusal;
use crate::wire::RelayFrame;

/// How often the operator is told that a sum is missing.
const REMIND_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Bodies {
    participants: Participants,
    sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    added: BTreeSet<NodeId>,
    deadline: Duration,
    since: Duration,
    reminded: Duration,
}

/// All sums are added up, and the average is being computed.
pub(super) struct AveragingSum {
    participants: Participants,
    sums: Vec<Signed<Sum>>,
}

impl Bodies {
    pub(super) fn new(
        participants: Participants,
        sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
        deadline: Duration,
        now: Duration,
    ) -> Self {
        let added = BTreeSet::new();
        Self {
            participants,
            sums,
            added,
            deadline,
            since: now,
            reminded: now,
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
            session.actions.push(Action::Collect {
                node,
                ctx,
                root: sum.root,
            });
            return Phase::Bodies(self);
        }
        // Its outbox is gone. The same participants may begin again, with fresh masks.
        let all: Vec<_> = self.participants.ids().collect();
        session.require(&all);
        session.abandon(&[node])
    }

    pub(super) fn added(mut self, session: &mut Session, node: NodeId) -> Phase {
        self.added.insert(node);
        if self.added.len() < self.participants.len() {
            return Phase::Bodies(self);
        }
        session.actions.push(Action::Average {
            chain: session.chain,
            ctx: self.participants.ctx(),
            nodes: self.participants.len(),
        });
        let sums = self.sums.into_values().map(|(signed, _)| signed).collect();
        Phase::Averaging(AveragingSum {
            participants: self.participants,
            sums,
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
        let rest = session
            .available()
            .difference(&missing.iter().copied().collect())
            .count();
        let differ = organisations(&session.manifest, missing.iter());
        if differ >= session.manifest.collusion() + 2 && rest >= session.settings.min_nodes {
            missing.iter().for_each(|node| session.exclude(*node));
            return session.abandon(&missing);
        }
        if session.now.saturating_sub(self.reminded) >= REMIND_EVERY {
            self.reminded = session.now;
            let since = session.now.saturating_sub(self.since);
            for node in session.here() {
                let for_s = since.as_secs();
                session.send(
                    node,
                    RelayFrame::Waiting {
                        missing: missing.clone(),
                        for_s,
                    },
                );
            }
            session.report(Report::Waiting {
                missing,
                since,
                same_participants: true,
            });
        }
        Phase::Bodies(self)
    }
}

impl AveragingSum {
    pub(super) fn averaged(self, session: &mut Session, averaged: Averaged, root: Digest) -> Phase {
        let Self { participants, sums } = self;
        let attempts = session.attempt;
        session.complete(
            averaged.chain,
            participants.bundle().to_vec(),
            sums,
            participants.ctx(),
            root,
            &participants.set(),
        );
        session.report(Report::Completed(Box::new(Completed {
            round: averaged.chain.round,
            attempts,
            nodes: averaged.nodes,
            totals: averaged.totals,
            model: averaged.chain.model,
        })));
        let wait = Duration::from_secs(session.manifest.timeouts().result_s)
            + session.manifest.transfer_timeout();
        Phase::Acks(Acks::new(session.now + wait))
    }

    /// The sum is impossible: the same participants have to begin again.
    pub(super) fn impossible(self, session: &mut Session, refusal: &Refusal) -> Phase {
        let all: Vec<_> = self.participants.ids().collect();
        for node in &all {
            session.report(Report::Refused(*node, refusal.clone()));
        }
        session.require(&all);
        session.abandon(&all)
    }
}
