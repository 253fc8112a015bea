//! Collecting round keys: whoever is ready by the deadline takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::session::Session;
use super::shares::Shares;
use super::waiting::Waiting;
use super::{Phase, Report};
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::message::{Keys, Signed};
use crate::round::participants::Participants;
use crate::round::refusal::{Kind, Refusal};
use crate::wire::RelayFrame;

pub(in crate::round) struct Offers {
    /// Those who were asked to take part.
    invited: BTreeSet<NodeId>,
    /// Those of them who may still answer, or have.
    asked: BTreeSet<NodeId>,
    keys: BTreeMap<NodeId, Signed<Keys>>,
    /// Whether it has to be all of them (the difference rule).
    exact: bool,
    deadline: Duration,
    waiting: Waiting,
}

impl Offers {
    pub(super) fn new(
        invited: BTreeSet<NodeId>,
        exact: bool,
        deadline: Duration,
        now: Duration,
    ) -> Self {
        Self {
            asked: invited.clone(),
            invited,
            keys: BTreeMap::new(),
            exact,
            deadline,
            waiting: Waiting::since(now),
        }
    }

    pub(super) fn offered(
        &mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Keys>,
    ) -> Result<(), Refusal> {
        let asked = self.asked.contains(&node);
        if session.checked_offer(node, &signed, asked)?.is_none() {
            return Ok(());
        }
        if self.keys.contains_key(&node) {
            let (what, signer) = (Kind::Keys, node);
            return Err(Refusal::Duplicate { what, signer });
        }
        self.keys.insert(node, signed);
        Ok(())
    }

    /// A node that was asked has come back in time: it may have forgotten that it was.
    pub(super) fn returned(mut self, session: &mut Session, node: NodeId) -> Phase {
        if self.invited.contains(&node) && session.is_ready(node) && session.now < self.deadline {
            self.asked.insert(node);
            session.invite(node, self.deadline);
        }
        Phase::Offers(self)
    }

    pub(super) fn without(mut self, session: &mut Session, node: NodeId) -> Phase {
        if !self.asked.remove(&node) {
            return Phase::Offers(self);
        }
        self.keys.remove(&node);
        if self.exact || !session.are_enough(self.asked.iter()) {
            return session.abandon(&[node]);
        }
        Phase::Offers(self)
    }

    pub(super) fn advance(mut self, session: &mut Session) -> Phase {
        let late = session.now >= self.deadline;
        let missing: Vec<_> = self
            .asked
            .iter()
            .filter(|node| !self.keys.contains_key(node))
            .copied()
            .collect();
        let enough = !self.exact && session.are_enough(self.keys.keys());
        if missing.is_empty() || (late && enough) {
            return self.fix(session);
        }
        if late && !self.exact && session.suffices_without(&missing) {
            missing.iter().for_each(|node| session.exclude(*node));
            return session.abandon(&missing);
        }
        if late {
            self.waiting.tell(session, missing, self.exact);
        }
        Phase::Offers(self)
    }

    /// The participants are fixed.
    fn fix(self, session: &mut Session) -> Phase {
        let bundle: Vec<_> = self.keys.into_values().collect();
        let unix_s = session.unix_s();
        let participants = Participants::verify(bundle, &session.manifest, &session.chain, unix_s);
        let participants = match participants {
            Ok(participants) => participants,
            Err(refusal) => return session.abandon_keys(&refusal, self.exact),
        };
        session.log(Entry::Keys(participants.bundle().to_vec()));
        for node in participants.set() {
            session.send(node, RelayFrame::Keys(participants.bundle().to_vec()));
        }
        let (round, nodes) = (participants.round(), participants.ids().collect());
        session.report(Report::Participants { round, nodes });
        let wait = Duration::from_secs(session.manifest.timeouts().shares_s);
        Phase::Shares(Shares::new(participants, session.after(wait)))
    }
}
