//! Collecting votes. A vote may bind its holder for good, so there is one list of contributors for all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::attendance::Attendance;
use super::collecting::Chosen;
use super::revealing::Revealing;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::Holders;
use crate::round::committee::certificate::Tally;
use crate::round::committee::message::Vote;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::Phase;
use crate::round::relay::session::Session;
use crate::round::relay::waiting::Waiting;
use crate::wire::RelayFrame;

pub(in crate::round) struct Voting {
    pub(super) holders: Holders,
    pub(super) attendance: Attendance,
    pub(super) chosen: Chosen,
    pub(super) votes: Vec<Signed<Vote>>,
    tally: Tally,
    deadline: Duration,
    waiting: Waiting,
}

impl Voting {
    pub(super) fn begin(
        session: &mut Session,
        holders: Holders,
        attendance: Attendance,
        chosen: Chosen,
    ) -> Self {
        let wait = Duration::from_secs(session.manifest.timeouts().shares_s);
        let voting = Self {
            tally: Tally::new(holders.ctx(), chosen.contributors.digest()),
            holders,
            attendance,
            chosen,
            votes: Vec::new(),
            deadline: session.after(wait),
            waiting: Waiting::since(session.now),
        };
        for holder in &voting.chosen.voters {
            session.may_have_voted(*holder, voting.chosen.contributors.nodes());
            voting.ask(session, *holder);
        }
        voting
    }

    fn ask(&self, session: &mut Session, holder: NodeId) {
        let ballot = RelayFrame::Ballot {
            ctx: self.holders.ctx(),
            entries: self.chosen.contributors.entries().to_vec(),
        };
        session.send(holder, ballot);
    }

    pub(in crate::round) fn voted(
        &mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Vote>,
    ) -> Result<(), Refusal> {
        let vote = signed.verify(&session.manifest, session.unix_s())?;
        if vote.holder != node {
            return Err(Refusal::Stranger(vote.holder));
        }
        if vote.ctx != self.holders.ctx() || self.tally.voters().contains(&node) {
            session.late(node, Kind::Vote);
            return Ok(());
        }
        self.tally
            .count(&vote, |node| self.holders.contains(node))?;
        session.log(Entry::Vote(signed.clone()));
        self.votes.push(signed);
        // That holder joins no other sum on this model, so nobody else is of use to it.
        session.require(self.chosen.contributors.nodes());
        Ok(())
    }

    /// A node is here, perhaps again.
    pub(in crate::round) fn returned(
        mut self,
        session: &mut Session,
        node: NodeId,
        holding: Option<Digest>,
    ) -> Phase {
        if self.attendance.returned(node, holding) && self.is_awaited(node) {
            self.ask(session, node);
        }
        Phase::Voting(self)
    }

    pub(in crate::round) fn lost(mut self, node: NodeId) -> Phase {
        self.attendance.lost(node);
        Phase::Voting(self)
    }

    /// A node does not go on.
    pub(in crate::round) fn refused(mut self, node: NodeId) -> Phase {
        self.attendance.gone(node);
        Phase::Voting(self)
    }

    fn is_awaited(&self, holder: NodeId) -> bool {
        self.chosen.voters.contains(&holder) && !self.tally.voters().contains(&holder)
    }

    pub(in crate::round) fn advance(mut self, session: &mut Session) -> Phase {
        let complete = self.tally.certify(self.holders.committee()).is_ok();
        let awaited = |node: &NodeId| self.is_awaited(*node) && self.attendance.may_serve(*node);
        let awaited: BTreeSet<_> = self.chosen.voters.iter().copied().filter(awaited).collect();
        if complete {
            return Phase::Revealing(Revealing::begin(session, self));
        }
        if self.tally.voters().len() + awaited.len() < session.quorum() {
            return session.abandon(&session.holders_without(self.tally.voters()));
        }
        let late = session.now >= self.deadline;
        if late && self.votes.is_empty() {
            awaited.iter().for_each(|node| session.exclude(*node));
            return session.abandon(&awaited.into_iter().collect::<Vec<_>>());
        }
        if late
            && self
                .waiting
                .tell(session, awaited.iter().copied().collect(), true)
        {
            // Asked again: the request, or the vote, may have been lost with a former connection.
            for node in awaited.intersection(self.attendance.here()) {
                self.ask(session, *node);
            }
        }
        Phase::Voting(self)
    }
}
