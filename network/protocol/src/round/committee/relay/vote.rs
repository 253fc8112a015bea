//! Collecting votes. A vote may bind its holder for good, so there is one list of contributors for
//! all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::attendance::Attendance;
use super::choice::Chosen;
use super::reveal::Revealing;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::Holders;
use crate::round::committee::certificate::Tally;
use crate::round::committee::message::Vote;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::reminder::Reminder;
use crate::round::relay::stage::AttemptProgress;
use crate::round::relay::state::RelayState;
use crate::wire::RelayFrame;

pub(in crate::round) struct Voting {
    holders: Holders,
    attendance: Attendance,
    chosen: Chosen,
    votes: Vec<Signed<Vote>>,
    tally: Tally,
    deadline: Duration,
    reminder: Reminder,
}

impl Voting {
    pub(super) fn begin(
        state: &mut RelayState,
        holders: Holders,
        attendance: Attendance,
        chosen: Chosen,
    ) -> Self {
        let wait = Duration::from_secs(state.manifest.timeouts().shares_s);
        let voting = Self {
            tally: Tally::new(holders.ctx(), chosen.contributors.digest()),
            holders,
            attendance,
            chosen,
            votes: Vec::new(),
            deadline: state.after(wait),
            reminder: Reminder::since(state.now),
        };
        for holder in &voting.chosen.voters {
            state
                .obligations
                .may_have_decided(*holder, voting.chosen.contributors.nodes());
            voting.ask(state, *holder);
        }
        voting
    }

    fn ask(&self, state: &mut RelayState, holder: NodeId) {
        let ballot = RelayFrame::Ballot {
            ctx: self.holders.ctx(),
            entries: self.chosen.contributors.entries().to_vec(),
        };
        state.send(holder, ballot);
    }

    pub(super) fn voted(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        signed: Signed<Vote>,
    ) -> Result<(), Refusal> {
        let vote = signed.verify(&state.manifest, state.unix_s())?;
        if vote.holder != node {
            return Err(Refusal::Stranger(vote.holder));
        }
        if vote.ctx != self.holders.ctx() || self.tally.voters().contains(&node) {
            state.late(node, Kind::Vote);
            return Ok(());
        }
        self.tally
            .count(&vote, |node| self.holders.contains(node))?;
        state.log(Entry::Vote(signed.clone()));
        self.votes.push(signed);
        // That holder joins no other sum on this model, so nobody else is of use to it.
        state.obligations.require(self.chosen.contributors.nodes());
        Ok(())
    }

    /// A node is here, perhaps again.
    pub(super) fn returned(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        holding: Option<Digest>,
    ) {
        if self.attendance.returned(node, holding) && self.is_awaited(node) {
            self.ask(state, node);
        }
    }

    pub(super) fn lost(&mut self, node: NodeId) {
        self.attendance.lost(node);
    }

    /// A node does not go on.
    pub(super) fn refused(&mut self, node: NodeId) {
        self.attendance.gone(node);
    }

    fn is_awaited(&self, holder: NodeId) -> bool {
        self.chosen.voters.contains(&holder) && !self.tally.voters().contains(&holder)
    }

    pub(super) fn advance(mut self, state: &mut RelayState) -> AttemptProgress<Self, Revealing> {
        let complete = self.tally.certify(self.holders.committee()).is_ok();
        let awaited = |node: &NodeId| self.is_awaited(*node) && self.attendance.may_serve(*node);
        let awaited: BTreeSet<_> = self.chosen.voters.iter().copied().filter(awaited).collect();
        if complete {
            let Self {
                holders,
                attendance,
                chosen,
                votes,
                ..
            } = self;
            let revealing = Revealing::begin(state, holders, attendance, chosen, votes);
            return AttemptProgress::Moves(revealing);
        }
        if self.tally.voters().len() + awaited.len() < self.holders.committee().quorum() {
            let committee = self.holders.committee();
            return AttemptProgress::Abandoned(committee.without(self.tally.voters()));
        }
        let late = state.now >= self.deadline;
        if late && self.votes.is_empty() {
            for node in &awaited {
                state.obligations.exclude(*node);
            }
            return AttemptProgress::Abandoned(awaited.into_iter().collect());
        }
        if late
            && self
                .reminder
                .remind(state, awaited.iter().copied().collect(), true)
        {
            // Asked again: the request, or the vote, may have been lost with a former connection.
            for node in awaited.intersection(self.attendance.here()) {
                self.ask(state, *node);
            }
        }
        AttemptProgress::Stays(self)
    }
}
