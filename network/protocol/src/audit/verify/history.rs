//! What the contents of a log must satisfy, whatever the scheme: the checks that its keeper made,
//! or should have made, made again.

use std::collections::{BTreeMap, BTreeSet};

use super::attempts::Attempts;
use super::committee::{InContext, LoggedCommitteeAttempt};
use super::peer::LoggedPeerAttempt;
use super::unsound::Unsound;
use crate::audit::record::{Entry, Party, Record};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::committee::message::ContributionId;
use crate::round::committee::{Contributors, Holders};
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::peer::message::{Share, Sum};
use crate::round::peer::{BoxOpener, Conviction, Participants};
use crate::round::{
    CheckedOutcome, Checkpoint, Evidence, Head, Kind, Opening, Outcome, Refusal, SentSum, SentSums,
    check_cohort,
};

/// A round, as its log has it.
#[derive(Clone, Debug)]
pub struct Round {
    /// Round, from 1.
    pub round: u64,
    /// Attempts that were opened, or (in a node's log) answered.
    pub attempts: u32,
    /// Who takes part in the last of them.
    pub participants: BTreeSet<NodeId>,
    /// Who refused whom, and why.
    pub refusals: Vec<(Party, Party, Refusal)>,
    /// Who is proven to have lied about a share.
    pub convicted: Vec<Conviction>,
    /// The state that the party has taken, if the round is complete.
    pub taken: Option<Taken>,
    /// Who has acknowledged it.
    pub acknowledged: BTreeSet<NodeId>,
}

/// What a party took as the state after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The round's result.
    Result(Head),
    /// A certified model, having missed results.
    Checkpoint(Head),
}

/// The state that the records lead to.
pub(super) struct History<'a> {
    manifest: &'a Manifest,
    party: Option<Party>,
    begins: Option<Head>,
    head: Head,
    peer: Attempts<LoggedPeerAttempt>,
    /// In one of the round before, a holder may still be at work.
    committee: Attempts<LoggedCommitteeAttempt>,
    /// The state that the last result has replaced, as long as the party may go back to it: in a
    /// relay's log until enough nodes have acknowledged the result, in a node's until the node
    /// signs its next sum or contribution.
    former: Option<Head>,
    opener: BoxOpener,
    /// Those that are proven to have lied.
    convicted: BTreeSet<NodeId>,
    /// What each node has sent, for the difference rule.
    sent: BTreeMap<NodeId, SentSums>,
    rounds: Vec<Round>,
}

impl<'a> History<'a> {
    pub(super) fn new(manifest: &'a Manifest, opener: BoxOpener) -> Self {
        Self {
            manifest,
            party: None,
            begins: None,
            head: Head::start(manifest),
            peer: Attempts::none(),
            committee: Attempts::none(),
            former: None,
            opener,
            convicted: BTreeSet::new(),
            sent: BTreeMap::new(),
            rounds: Vec::new(),
        }
    }

    /// Returns whose log it is, where it begins and ends, and its rounds.
    pub(super) fn told(self) -> (Option<Party>, Option<Head>, Option<Head>, Vec<Round>) {
        let stands = self.begins.map(|_| self.head);
        (self.party, self.begins, stands, self.rounds)
    }

    /// Takes the next record. After one that does not hold, no more may follow.
    pub(super) fn take(&mut self, record: Record) -> Result<(), Unsound> {
        let Record { unix_s, entry } = record;
        if let Entry::Started {
            consortium_id,
            party,
            head,
            ..
        } = entry
        {
            return self.started(consortium_id, party, head);
        }
        let party = self.party.ok_or(Unsound::NotBegun)?;
        match entry {
            Entry::Started { .. } => Ok(()),
            Entry::Opened(opening) => self.opened(&opening),
            Entry::Keys(bundle) => self.keys(party, bundle, unix_s),
            Entry::Shares(list) => self.shares(party, &list, unix_s),
            Entry::Sum(sum) => self.sum(party, sum, unix_s),
            Entry::Sums(sums) => self.sums(party, sums, unix_s),
            Entry::Body { ctx, node } => self.body(party, ctx, node),
            Entry::Outcome(outcome) => self.outcome(party, outcome, unix_s),
            Entry::Ack(ack) => self.ack(party, &ack, unix_s),
            Entry::Adopted(checkpoint) => self.adopted(checkpoint, unix_s),
            Entry::Contribution(signed) => {
                let (contribution, attempt) = self.committee_message(&signed, unix_s)?;
                attempt.contribution(party, contribution.node, &signed)?;
                if party == Party::Node(contribution.node) {
                    self.former = None;
                }
                Ok(())
            }
            Entry::Receipt(signed) => {
                let (receipt, attempt) = self.committee_message(&signed, unix_s)?;
                attempt.receipt(party, &receipt)
            }
            Entry::Vote(signed) => {
                let (vote, attempt) = self.committee_message(&signed, unix_s)?;
                attempt.vote(party, &vote)
            }
            Entry::Reveal(signed) => {
                let (reveal, attempt) = self.committee_message(&signed, unix_s)?;
                attempt.reveal(party, &reveal)
            }
            Entry::Refused { by, to, refusal } => {
                self.round().refusals.push((by, to, refusal));
                Ok(())
            }
            Entry::Convicted(proof) => {
                let conviction = proof.judge(self.manifest, self.opener, &self.convicted)?;
                if self.convicted.insert(conviction.liar) {
                    self.round().convicted.push(conviction);
                }
                Ok(())
            }
            Entry::Ballot { ctx, contributors } => self.ballot(party, ctx, contributors),
            Entry::RolledBack => match party == Party::Relay && self.go_back() {
                true => Ok(()),
                false => Err(Unsound::RolledBack),
            },
        }
    }

    fn started(&mut self, consortium_id: Digest, party: Party, head: Head) -> Result<(), Unsound> {
        if consortium_id != self.manifest.consortium_id() {
            return Err(Unsound::OtherManifest(consortium_id));
        }
        let known = match party {
            Party::Relay => true,
            Party::Node(id) => self.manifest.roster().contains_key(&id),
        };
        if !known || self.party.is_some_and(|former| former != party) {
            return Err(Unsound::OtherParty);
        }
        let fresh = head.round > 0 || head == Head::start(self.manifest);
        if self.party.is_none() && fresh {
            (self.party, self.begins, self.head) = (Some(party), Some(head), head);
            return Ok(());
        }
        if self.party.is_some() && head == self.head {
            return Ok(());
        }
        // The log is written first. What it has and the disk has not is taken, or computed, once
        // more. A relay has the result on its disk before anyone can acknowledge it.
        let is_kept = party == Party::Relay && !self.acknowledged().is_empty();
        if self.former == Some(head) && !is_kept && self.go_back() {
            return Ok(());
        }
        Err(Unsound::Stands {
            found: head.round,
            result: head.previous,
            round: self.head.round,
        })
    }

    /// Goes back behind the last result, if that can be.
    fn go_back(&mut self) -> bool {
        let Some(base) = self.former.take() else {
            return false;
        };
        self.head = base;
        self.peer.go_back();
        self.committee.go_back();
        if let Some(last) = self.rounds.iter().rposition(|round| round.taken.is_some()) {
            self.rounds[last].taken = None;
            self.rounds[last].acknowledged.clear();
            // What was refused since is of that round too.
            let since = self.rounds.split_off(last + 1);
            for round in since {
                self.rounds[last].refusals.extend(round.refusals);
                self.rounds[last].convicted.extend(round.convicted);
            }
        }
        true
    }

    fn opened(&mut self, opening: &Opening) -> Result<(), Unsound> {
        let Opening {
            round,
            previous,
            model,
            ..
        } = *opening;
        if round != self.head.next_round() {
            let (attempt, done, joined) = (0, self.head.round, 0);
            return Err(Unsound::Refused(Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            }));
        }
        self.head.check_base(round, previous, model)?;
        let round = self.round();
        round.attempts = round.attempts.saturating_add(1);
        Ok(())
    }

    /// Returns what a committee's message says, and the attempt that it belongs to.
    fn committee_message<T: InContext>(
        &mut self,
        signed: &Signed<T>,
        unix_s: u64,
    ) -> Result<(T, &mut LoggedCommitteeAttempt), Unsound> {
        let message = signed.verify(self.manifest, unix_s)?;
        let attempt = self.committee.any_mut(message.ctx());
        Ok((message, attempt.ok_or(Unsound::NoAttempt(T::KIND))?))
    }

    /// Returns the attempt of the peer scheme that a message belongs to.
    fn peer_attempt(&mut self, ctx: Digest, what: Kind) -> Result<&mut LoggedPeerAttempt, Unsound> {
        let attempt = self.peer.current_mut(ctx);
        attempt.ok_or(Unsound::NoAttempt(what))
    }

    fn keys(
        &mut self,
        party: Party,
        bundle: Vec<Signed<Keys>>,
        unix_s: u64,
    ) -> Result<(), Unsound> {
        if self.manifest.committee().is_some() {
            let holders = Holders::of_result(bundle, self.manifest, &self.head, unix_s)?;
            let ctx = holders.ctx();
            self.committee
                .add(ctx, LoggedCommitteeAttempt::new(holders));
            return Ok(());
        }
        let participants =
            Participants::of_result(bundle, self.manifest, &self.head, unix_s, &self.convicted)?;
        if let Party::Node(own) = party {
            if !participants.contains(own) {
                return Err(Unsound::Refused(Refusal::OwnKeys));
            }
            self.check_difference(own, &participants.set())?;
        }
        self.round().participants = participants.set();
        let ctx = participants.ctx();
        self.peer.add(ctx, LoggedPeerAttempt::new(participants));
        Ok(())
    }

    fn shares(&mut self, party: Party, list: &[Signed<Share>], unix_s: u64) -> Result<(), Unsound> {
        for signed in list {
            let share = Share::verify(signed, self.manifest, unix_s)?;
            let attempt = self.peer_attempt(share.ctx, Kind::Share)?;
            attempt.share(party, &share)?;
        }
        Ok(())
    }

    fn sum(&mut self, party: Party, signed: Signed<Sum>, unix_s: u64) -> Result<(), Unsound> {
        let Sum { ctx, node, .. } = signed.verify(self.manifest, unix_s)?;
        let attempt = self.peer_attempt(ctx, Kind::Sum)?;
        attempt.sum(party, node, signed)?;
        let participants = attempt.participants();
        if party == Party::Node(node) {
            self.former = None;
        }
        self.check_difference(node, &participants)
    }

    fn sums(&mut self, party: Party, list: Vec<Signed<Sum>>, unix_s: u64) -> Result<(), Unsound> {
        let what = Kind::Sum;
        let Party::Node(own) = party else {
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        };
        let first = list.first().ok_or(Unsound::NoAttempt(what))?;
        let ctx = first.verify(self.manifest, unix_s)?.ctx;
        let manifest = self.manifest;
        let attempt = self.peer_attempt(ctx, what)?;
        attempt.sums(own, list, manifest, unix_s)
    }

    fn body(&mut self, party: Party, ctx: Digest, node: NodeId) -> Result<(), Unsound> {
        let attempt = self.peer_attempt(ctx, Kind::Collect)?;
        attempt.body(party, node)?;
        let participants = attempt.participants();
        self.sends(node, &participants)
    }

    fn ballot(
        &mut self,
        party: Party,
        ctx: Digest,
        contributors: Vec<ContributionId>,
    ) -> Result<(), Unsound> {
        let what = Kind::Ballot;
        let contributors = Contributors::new(ctx, contributors, what)?;
        contributors.check_participants(self.manifest)?;
        let attempt = self.committee.current_mut(ctx);
        let attempt = attempt.ok_or(Unsound::NoAttempt(what))?;
        let holder = attempt.ballot(party, contributors.digest())?;
        self.sends(holder, &contributors.nodes())
    }

    fn outcome(&mut self, party: Party, outcome: Outcome, unix_s: u64) -> Result<(), Unsound> {
        let (ctx, root, model) = (outcome.ctx, outcome.root, outcome.model);
        let verify = |outcome| {
            let (manifest, head) = (self.manifest, &self.head);
            CheckedOutcome::verify(outcome, None, manifest, head, unix_s, &self.convicted)
        };
        let participants = match outcome.parts.clone() {
            Evidence::Sums(listed) => {
                match self.peer.current(ctx) {
                    Some(attempt) => attempt.outcome(party, &listed)?,
                    None if party == Party::Relay => return Err(Unsound::NoAttempt(Kind::Outcome)),
                    None => {}
                }
                let participants = verify(outcome)?.nodes().clone();
                for node in &participants {
                    self.sends(*node, &participants)?;
                }
                participants
            }
            // It is the holders who answer for the difference rule; that only one list is decided
            // on follows from the certificate.
            Evidence::Decision(decision) => {
                let participants = verify(outcome)?.nodes().clone();
                match self.committee.current(ctx) {
                    Some(attempt) => attempt.outcome(party, &participants, &decision)?,
                    None if party == Party::Relay => return Err(Unsound::NoAttempt(Kind::Outcome)),
                    None => {}
                }
                participants
            }
        };
        let next = self.head.next(ctx, root, model);
        self.round().participants = participants;
        self.advance(next, Taken::Result(next));
        Ok(())
    }

    fn ack(
        &mut self,
        party: Party,
        signed: &Signed<ResultAck>,
        unix_s: u64,
    ) -> Result<(), Unsound> {
        let ack = signed.verify(self.manifest, unix_s)?;
        if ack.consortium_id != self.manifest.consortium_id() {
            return Err(Unsound::OtherManifest(ack.consortium_id));
        }
        if matches!(party, Party::Node(own) if own != ack.node) {
            return Err(Unsound::Refused(Refusal::Stranger(ack.node)));
        }
        if ack.head != self.head {
            let (what, signer) = (Kind::Ack, ack.node);
            return Err(Unsound::Refused(Refusal::Stale { what, signer }));
        }
        if let Some(round) = self.rounds.iter_mut().rfind(|round| round.taken.is_some()) {
            round.acknowledged.insert(ack.node);
        }
        let enough = check_cohort(self.manifest, self.acknowledged().iter()).is_ok();
        if party == Party::Relay && enough {
            self.former = None;
        }
        Ok(())
    }

    /// Returns who has acknowledged the state where the party stands.
    fn acknowledged(&self) -> BTreeSet<NodeId> {
        let last = self.rounds.iter().rfind(|round| round.taken.is_some());
        last.map_or_else(BTreeSet::new, |round| round.acknowledged.clone())
    }

    fn adopted(&mut self, checkpoint: Checkpoint, unix_s: u64) -> Result<(), Unsound> {
        if checkpoint.head.round <= self.head.round {
            let what = Kind::Checkpoint;
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        }
        let next = checkpoint.verify(self.manifest, unix_s)?.head();
        self.round().round = next.round;
        self.advance(next, Taken::Checkpoint(next));
        Ok(())
    }

    fn advance(&mut self, next: Head, taken: Taken) {
        self.round().taken = Some(taken);
        self.former = Some(std::mem::replace(&mut self.head, next));
        self.peer.advance();
        self.committee.advance();
    }

    /// The round under way.
    fn round(&mut self) -> &mut Round {
        if self.rounds.last().is_none_or(|round| round.taken.is_some()) {
            self.rounds.push(Round {
                round: self.head.next_round(),
                attempts: 0,
                participants: BTreeSet::new(),
                refusals: Vec::new(),
                convicted: Vec::new(),
                taken: None,
                acknowledged: BTreeSet::new(),
            });
        }
        let last = self.rounds.len() - 1;
        &mut self.rounds[last]
    }

    fn check_difference(
        &self,
        node: NodeId,
        participants: &BTreeSet<NodeId>,
    ) -> Result<(), Unsound> {
        match self.sent.get(&node) {
            Some(sent) => Ok(sent.check(self.head.model, participants, &self.convicted)?),
            None => Ok(()),
        }
    }

    /// Notes that the body of `node` has been sent, if it may be.
    fn sends(&mut self, node: NodeId, participants: &BTreeSet<NodeId>) -> Result<(), Unsound> {
        self.check_difference(node, participants)?;
        let sent = self.sent.entry(node).or_default();
        sent.add(&SentSum::new(self.head.model, participants.clone()));
        Ok(())
    }
}
