//! Collecting the round keys of the holders, while the contributors train.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::collecting::Collecting;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::committee::Holders;
use crate::round::message::{Keys, Signed};
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::session::Session;
use crate::round::relay::waiting::Waiting;
use crate::round::relay::{Phase, Report};
use crate::wire::RelayFrame;

pub(in crate::round) struct Convening {
    /// Contributors that were asked.
    invited: BTreeSet<NodeId>,
    /// Whether it has to be all of them (the difference rule).
    exact: bool,
    /// Holders that were asked and have not declined.
    asked: BTreeSet<NodeId>,
    keys: BTreeMap<NodeId, Signed<Keys>>,
    /// For the holders' answers.
    deadline: Duration,
    /// For the contributions.
    closes: Duration,
    waiting: Waiting,
}

impl Convening {
    /// Asks all holders that are ready for keys, and `invited`, who begin to train, for contributions until `closes`.
    pub(in crate::round) fn open(
        session: &mut Session,
        invited: BTreeSet<NodeId>,
        exact: bool,
        closes: Duration,
    ) -> Self {
        let asked: BTreeSet<_> = session.ready_holders(exact.then_some(&invited)).collect();
        for holder in &asked {
            convene(session, *holder);
        }
        for node in &invited {
            session.invite(*node, closes);
        }
        let wait = Duration::from_secs(session.manifest.timeouts().keys_s);
        Self {
            invited,
            exact,
            asked,
            keys: BTreeMap::new(),
            deadline: session.after(wait),
            closes,
            waiting: Waiting::since(session.now),
        }
    }

    pub(in crate::round) fn offered(
        &mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Keys>,
    ) -> Result<(), Refusal> {
        match session.checked_offer(node, &signed, self.asked.contains(&node))? {
            None => Ok(()),
            Some(_) if self.keys.contains_key(&node) => {
                let (what, signer) = (Kind::Keys, node);
                Err(Refusal::Duplicate { what, signer })
            }
            Some(_) => {
                self.keys.insert(node, signed);
                Ok(())
            }
        }
    }

    /// A node is here, perhaps again.
    pub(in crate::round) fn returned(mut self, session: &mut Session, node: NodeId) -> Phase {
        if !session.is_ready(node) {
            return Phase::Convening(self);
        }
        let contributors = self.exact.then_some(&self.invited);
        if session
            .ready_holders(contributors)
            .any(|holder| holder == node)
        {
            self.asked.insert(node);
            convene(session, node);
        }
        if session.may_join(node, &self.invited, self.exact) {
            self.invited.insert(node);
            session.invite(node, self.closes);
        }
        Phase::Convening(self)
    }

    /// A node is gone, or does not go on.
    pub(in crate::round) fn without(mut self, node: NodeId) -> Phase {
        self.asked.remove(&node);
        self.keys.remove(&node);
        Phase::Convening(self)
    }

    pub(in crate::round) fn advance(mut self, session: &mut Session) -> Phase {
        let quorum = session.quorum();
        let unanswered = |node: &&NodeId| !self.keys.contains_key(node);
        let missing: Vec<_> = self.asked.iter().filter(unanswered).copied().collect();
        let late = session.now >= self.deadline;
        if self.keys.len() >= quorum && (missing.is_empty() || late) {
            return self.fix(session);
        }
        if late {
            let missing = session.holders_without(&self.keys.keys().copied().collect());
            self.waiting.tell(session, missing, self.exact);
        }
        Phase::Convening(self)
    }

    /// The holders are fixed.
    fn fix(self, session: &mut Session) -> Phase {
        let bundle: Vec<_> = self.keys.into_values().collect();
        let unix_s = session.unix_s();
        let holders = match Holders::verify(bundle, &session.manifest, &session.chain, unix_s) {
            Ok(holders) => holders,
            Err(refusal) => return session.abandon_keys(&refusal, self.exact),
        };
        let all: BTreeSet<_> = self.invited.iter().copied().chain(holders.ids()).collect();
        session.log(Entry::Keys(holders.bundle().to_vec()));
        for node in all {
            session.send(node, RelayFrame::Keys(holders.bundle().to_vec()));
        }
        let (round, nodes) = (holders.round(), holders.ids().collect());
        session.report(Report::Holders { round, nodes });
        Phase::Collecting(Collecting::begin(
            session,
            holders,
            self.invited,
            self.exact,
            self.closes,
        ))
    }
}

fn convene(session: &mut Session, node: NodeId) {
    let frame = RelayFrame::Convene {
        round: session.chain.next_round(),
        attempt: session.attempt,
        previous: session.chain.previous,
        model: session.chain.model,
    };
    session.send(node, frame);
}
