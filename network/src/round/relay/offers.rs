//! Collecting round keys: whoever is ready by the deadline takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::session::Session;
use super::shares::Shares;
use super::{Phase, Report};
use crate::identity::NodeId;
use crate::round::message::{Keys, Signed};
use crate::round::participants::Participants;
use crate::round::refusal::{Kind, Refusal};
use crate::wire::RelayFrame;

pub(super) struct Offers {
    asked: BTreeSet<NodeId>,
    keys: BTreeMap<NodeId, Signed<Keys>>,
    deadline: Duration,
}

impl Offers {
    pub(super) fn new(asked: BTreeSet<NodeId>, deadline: Duration) -> Self {
        Self {
            asked,
            keys: BTreeMap::new(),
            deadline,
        }
    }

    pub(super) fn offered(
        mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Keys>,
    ) -> Phase {
        if let Err(refusal) = self.check(session, node, &signed) {
            session.exclude(node);
            session.refuse(node, refusal);
            return self.without(session, node);
        }
        self.keys.insert(node, signed);
        Phase::Offers(self)
    }

    fn check(&self, session: &Session, node: NodeId, signed: &Signed<Keys>) -> Result<(), Refusal> {
        let keys = signed.verify(&session.manifest, session.unix_s())?;
        session.chain.check(&session.manifest, &keys)?;
        if keys.node != node || !self.asked.contains(&node) {
            return Err(Refusal::Stranger(keys.node));
        }
        if keys.attempt != session.attempt {
            return Err(Refusal::Stale {
                what: Kind::Keys,
                signer: node,
            });
        }
        if self.keys.contains_key(&node) {
            return Err(Refusal::Duplicate {
                what: Kind::Keys,
                signer: node,
            });
        }
        Ok(())
    }

    pub(super) fn without(mut self, session: &mut Session, node: NodeId) -> Phase {
        self.asked.remove(&node);
        self.keys.remove(&node);
        let enough = self.asked.len() >= session.settings.min_nodes;
        if !enough || session.same_participants() {
            return session.abandon(&[node]);
        }
        Phase::Offers(self)
    }

    pub(super) fn advance(self, session: &mut Session) -> Phase {
        let all = self.keys.len() == self.asked.len();
        let late = session.now >= self.deadline && !session.same_participants();
        if self.keys.len() < session.settings.min_nodes || !(all || late) {
            return Phase::Offers(self);
        }
        let bundle: Vec<_> = self.keys.into_values().collect();
        let unix_s = session.unix_s();
        let participants = Participants::verify(bundle, &session.manifest, &session.chain, unix_s);
        let participants = match participants {
            Ok(participants) => participants,
            // Keys that were good have expired while others were trained.
            Err(refusal) => {
                if let Refusal::KeyExpired(node) = refusal {
                    session.report(Report::Refused(node, refusal));
                }
                return session.abandon(&[]);
            }
        };
        for node in participants.set() {
            session.send(node, RelayFrame::Keys(participants.bundle().to_vec()));
        }
        let (round, nodes) = (participants.round(), participants.ids().collect());
        session.report(Report::Participants { round, nodes });
        let wait = Duration::from_secs(session.manifest.timeouts().shares_s);
        Phase::Shares(Shares::new(participants, session.now + wait))
    }
}
