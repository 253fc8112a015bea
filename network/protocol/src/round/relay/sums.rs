//! Collecting the signed roots of the masked sums. A root says that its sum is in an outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bodies::Bodies;
use super::session::Session;
use super::{Action, Phase};
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::message::{Signed, Sum};
use crate::round::participants::Participants;
use crate::round::refusal::{Kind, Refusal};
use crate::wire::BodyId;

pub(in crate::round) struct Sums {
    pub(super) participants: Participants,
    sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    deadline: Duration,
}

impl Sums {
    pub(super) fn new(participants: Participants, deadline: Duration) -> Self {
        Self {
            participants,
            sums: BTreeMap::new(),
            deadline,
        }
    }

    pub(super) fn summed(
        &mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Sum>,
    ) -> Result<(), Refusal> {
        if !self.participants.contains(node) {
            session.late(node, Kind::Sum);
            return Ok(());
        }
        let sum = self.check(session, node, &signed)?;
        session.log(Entry::Sum(signed.clone()));
        self.sums.insert(node, (signed, sum));
        Ok(())
    }

    fn check(&self, session: &Session, node: NodeId, signed: &Signed<Sum>) -> Result<Sum, Refusal> {
        let (sum, _) = signed.verify_tagged(&session.manifest, session.unix_s())?;
        if sum.ctx != self.participants.ctx() {
            return Err(Refusal::Stale {
                what: Kind::Sum,
                signer: sum.node,
            });
        }
        if sum.node != node {
            return Err(Refusal::Stranger(sum.node));
        }
        if self.sums.contains_key(&node) {
            return Err(Refusal::Duplicate {
                what: Kind::Sum,
                signer: node,
            });
        }
        Ok(sum)
    }

    pub(super) fn advance(self, session: &mut Session) -> Phase {
        let missing: Vec<_> = self
            .participants
            .ids()
            .filter(|id| !self.sums.contains_key(id))
            .collect();
        if missing.is_empty() {
            let ctx = self.participants.ctx();
            let all = Some(self.participants.len());
            session.actions.push(Action::Receive { ctx, all });
            for (node, (_, sum)) in &self.sums {
                session.collect(*node, ctx, BodyId::sum(ctx), sum.root);
            }
            let wait = session.manifest.transfer_timeout();
            let deadline = session.after(wait);
            let bodies = Bodies::new(self.participants, self.sums, deadline, session.now);
            return Phase::Bodies(bodies);
        }
        if session.now >= self.deadline {
            missing.iter().for_each(|node| session.exclude(*node));
            return session.abandon(&missing);
        }
        Phase::Sums(self)
    }
}
