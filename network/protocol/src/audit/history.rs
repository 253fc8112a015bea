//! What the contents of a log must satisfy: the checks that its keeper made, or should have made, made again.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Entry, Party, Record};
use super::sitting::{InContext, Sitting};
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::committee::Holders;
use crate::round::message::{Keys, ResultAck, Share, Signed, Sum};
use crate::round::node::{Pending, PendingSum};
use crate::round::{
    Chain, CheckedOutcome, Checkpoint, Kind, Outcome, Participants, Parts, Refusal, SentSums,
};

/// Why a log is not sound.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    // The file is not as it was written.
    /// A record's length was changed, or something else stands in its place.
    #[error("its length was altered")]
    Length,
    /// A record was changed, or one was added, removed or moved.
    #[error("its digest does not follow from its contents and the record before")]
    Digest,
    /// The log of another consortium.
    #[error("this is the log of another consortium, whose manifest has sid {0}")]
    OtherManifest(Digest),

    // What its keeper wrote is impossible.
    /// Not a record.
    #[error(transparent)]
    Undecodable(WireError),
    /// The first record is missing.
    #[error("the log does not begin with whose log it is")]
    NotBegun,
    /// A record of another party's log.
    #[error("the party whose log this is has changed, or does not belong to the consortium")]
    OtherParty,
    /// The party did not start where it had stopped.
    #[error(
        "the party starts after round {found}, with result {result}, but the log leads to round {round}"
    )]
    Stands {
        /// Round where it starts.
        found: u64,
        /// Result where it starts.
        result: Digest,
        /// Round to which the log leads.
        round: u64,
    },
    /// What the protocol refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A message of an attempt whose participants are not in the log.
    #[error("a {0} message belongs to an attempt whose participants are not in the log")]
    NoAttempt(Kind),
    /// A masked sum without all the shares that it takes.
    #[error("the sum of {0} is signed before all its shares have been exchanged")]
    Shares(NodeId),
    /// A body without its signed sum.
    #[error("the body of {0} travels without a signed sum")]
    Unsigned(NodeId),
    /// A result without the body of a participant.
    #[error("the result does not wait for the body of {0}")]
    Body(NodeId),
    /// A result with another sum than the one in the log.
    #[error("the result has another sum of {0} than the log")]
    OtherSum(NodeId),
    /// A result is taken back that somebody has acknowledged, or none is.
    #[error("what is taken back is no result, or one that somebody has acknowledged")]
    TakenBack,
}

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
    /// The state that the party has taken, if the round is complete.
    pub taken: Option<Taken>,
    /// Who has acknowledged it.
    pub acknowledged: BTreeSet<NodeId>,
}

/// What a party took as the state after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The round's result.
    Result(Chain),
    /// A certified model, having missed results.
    Checkpoint(Chain),
}

/// An attempt whose participants are fixed.
#[derive(Clone, Debug)]
struct Attempt {
    participants: Participants,
    /// Sender and addressee of each share.
    shares: BTreeSet<(NodeId, NodeId)>,
    sums: BTreeMap<NodeId, Signed<Sum>>,
    bodies: BTreeSet<NodeId>,
}

type Attempts = BTreeMap<Digest, Attempt>;
type Sittings = BTreeMap<Digest, Sitting>;

/// The state that the records lead to.
pub(super) struct History<'a> {
    manifest: &'a Manifest,
    party: Option<Party>,
    begins: Option<Chain>,
    chain: Chain,
    attempts: Attempts,
    /// With a committee, the attempts of this round and of the one before, in which a holder may still be at work.
    sittings: Sittings,
    former_sittings: Sittings,
    /// What the last result has replaced, as long as a crash may keep the result from the disk: until someone has
    /// acknowledged it, in a relay's log, and until the node signs its next sum or contribution, in a node's.
    former: Option<(Chain, Attempts)>,
    /// What each node has sent, for the difference rule.
    sent: BTreeMap<NodeId, SentSums>,
    rounds: Vec<Round>,
}

impl<'a> History<'a> {
    pub(super) fn new(manifest: &'a Manifest) -> Self {
        Self {
            manifest,
            party: None,
            begins: None,
            chain: Chain::start(manifest),
            attempts: Attempts::new(),
            sittings: Sittings::new(),
            former_sittings: Sittings::new(),
            former: None,
            sent: BTreeMap::new(),
            rounds: Vec::new(),
        }
    }

    /// Whose log it is, where it begins and ends, and its rounds.
    pub(super) fn told(self) -> (Option<Party>, Option<Chain>, Option<Chain>, Vec<Round>) {
        let stands = self.begins.map(|_| self.chain);
        (self.party, self.begins, stands, self.rounds)
    }

    /// Takes the next record. After one that does not hold, no more may follow.
    pub(super) fn take(&mut self, record: Record) -> Result<(), Unsound> {
        let Record { unix_s, entry } = record;
        if let Entry::Started {
            sid, party, chain, ..
        } = entry
        {
            return self.started(sid, party, chain);
        }
        let party = self.party.ok_or(Unsound::NotBegun)?;
        match entry {
            Entry::Started { .. } => Ok(()),
            Entry::Opened {
                round,
                previous,
                model,
                ..
            } => self.opened(round, previous, model),
            Entry::Keys(bundle) => self.keys(party, bundle, unix_s),
            Entry::Shares(list) => self.shares(party, &list, unix_s),
            Entry::Sum(sum) => self.sum(party, sum, unix_s),
            Entry::Body { ctx, node } => self.body(party, ctx, node),
            Entry::Outcome(outcome) => self.outcome(party, outcome, unix_s),
            Entry::Ack(ack) => self.ack(party, &ack, unix_s),
            Entry::Adopted(checkpoint) => self.adopted(checkpoint, unix_s),
            Entry::Contribution(signed) => {
                let (contribution, sitting) = self.sitting(&signed, unix_s)?;
                sitting.contribution(party, contribution.node, &signed)?;
                if party == Party::Node(contribution.node) {
                    self.former = None;
                }
                Ok(())
            }
            Entry::Receipt(signed) => {
                let (receipt, sitting) = self.sitting(&signed, unix_s)?;
                sitting.receipt(party, &receipt)
            }
            Entry::Vote(signed) => {
                let (vote, sitting) = self.sitting(&signed, unix_s)?;
                sitting.vote(party, &vote)
            }
            Entry::Reveal(signed) => {
                let (reveal, sitting) = self.sitting(&signed, unix_s)?;
                sitting.reveal(party, &reveal)
            }
            Entry::Refused { by, to, refusal } => {
                self.round().refusals.push((by, to, refusal));
                Ok(())
            }
            Entry::TakenBack => match party == Party::Relay && self.go_back() {
                true => Ok(()),
                false => Err(Unsound::TakenBack),
            },
        }
    }

    fn started(&mut self, sid: Digest, party: Party, chain: Chain) -> Result<(), Unsound> {
        if sid != self.manifest.sid() {
            return Err(Unsound::OtherManifest(sid));
        }
        let known = match party {
            Party::Relay => true,
            Party::Node(id) => self.manifest.roster().contains_key(&id),
        };
        if !known || self.party.is_some_and(|former| former != party) {
            return Err(Unsound::OtherParty);
        }
        let fresh = chain.round > 0 || chain == Chain::start(self.manifest);
        if self.party.is_none() && fresh {
            (self.party, self.begins, self.chain) = (Some(party), Some(chain), chain);
            return Ok(());
        }
        if self.party.is_some() && chain == self.chain {
            return Ok(());
        }
        // The log is written first. What it has and the disk has not is taken, or computed, once more.
        if self.former.as_ref().is_some_and(|(base, _)| *base == chain) && self.go_back() {
            return Ok(());
        }
        Err(Unsound::Stands {
            found: chain.round,
            result: chain.previous,
            round: self.chain.round,
        })
    }

    /// Goes back behind the last result, if that can be.
    fn go_back(&mut self) -> bool {
        let Some((base, attempts)) = self.former.take() else {
            return false;
        };
        (self.chain, self.attempts) = (base, attempts);
        self.sittings = std::mem::take(&mut self.former_sittings);
        if let Some(last) = self.rounds.iter().rposition(|round| round.taken.is_some()) {
            self.rounds[last].taken = None;
            // What was refused since is of that round too.
            let since = self
                .rounds
                .drain(last + 1..)
                .flat_map(|round| round.refusals);
            let since: Vec<_> = since.collect();
            self.rounds[last].refusals.extend(since);
        }
        true
    }

    fn opened(&mut self, round: u64, previous: Digest, model: Digest) -> Result<(), Unsound> {
        if round != self.chain.next_round() {
            let (attempt, done, joined) = (0, self.chain.round, 0);
            return Err(Unsound::Refused(Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            }));
        }
        self.chain.check_base(round, previous, model)?;
        let round = self.round();
        round.attempts = round.attempts.saturating_add(1);
        Ok(())
    }

    /// What a committee's message says, and the attempt that it belongs to.
    fn sitting<T: InContext>(
        &mut self,
        signed: &Signed<T>,
        unix_s: u64,
    ) -> Result<(T, &mut Sitting), Unsound> {
        let message = signed.verify(self.manifest, unix_s)?;
        let ctx = message.ctx();
        let sitting = match self.sittings.get_mut(&ctx) {
            None => self.former_sittings.get_mut(&ctx),
            sitting => sitting,
        };
        Ok((message, sitting.ok_or(Unsound::NoAttempt(T::KIND))?))
    }

    fn keys(
        &mut self,
        party: Party,
        bundle: Vec<Signed<Keys>>,
        unix_s: u64,
    ) -> Result<(), Unsound> {
        if self.manifest.committee().is_some() {
            let holders = Holders::of_result(bundle, self.manifest, &self.chain, unix_s)?;
            let sitting = self.sittings.entry(holders.ctx());
            sitting.or_insert_with(|| Sitting::new(holders));
            return Ok(());
        }
        let participants = Participants::of_result(bundle, self.manifest, &self.chain, unix_s)?;
        if let Party::Node(own) = party {
            if !participants.contains(own) {
                return Err(Unsound::Refused(Refusal::OwnKeys));
            }
            self.check_difference(own, &participants.set())?;
        }
        self.round().participants = participants.set();
        let attempt = Attempt {
            participants,
            shares: BTreeSet::new(),
            sums: BTreeMap::new(),
            bodies: BTreeSet::new(),
        };
        self.attempts
            .entry(attempt.participants.ctx())
            .or_insert(attempt);
        Ok(())
    }

    fn shares(&mut self, party: Party, list: &[Signed<Share>], unix_s: u64) -> Result<(), Unsound> {
        for signed in list {
            let Share { ctx, from, to, .. } = Share::verify(signed, self.manifest, unix_s)?;
            let attempt = self.attempts.get_mut(&ctx);
            let attempt = attempt.ok_or(Unsound::NoAttempt(Kind::Share))?;
            let ours = match party {
                Party::Relay => true,
                Party::Node(own) => own == from || own == to,
            };
            let taking_part = |id| attempt.participants.contains(id);
            if !ours || !taking_part(from) || !taking_part(to) {
                return Err(Unsound::Refused(Refusal::Stranger(to)));
            }
            if !attempt.participants.gives(from, to) {
                let (what, signer) = (Kind::Share, from);
                return Err(Unsound::Refused(Refusal::Invalid { what, signer }));
            }
            if !attempt.shares.insert((from, to)) {
                let (what, signer) = (Kind::Share, from);
                return Err(Unsound::Refused(Refusal::Duplicate { what, signer }));
            }
        }
        Ok(())
    }

    fn sum(&mut self, party: Party, signed: Signed<Sum>, unix_s: u64) -> Result<(), Unsound> {
        let Sum { ctx, node, .. } = signed.verify(self.manifest, unix_s)?;
        let attempt = self.attempts.get_mut(&ctx);
        let attempt = attempt.ok_or(Unsound::NoAttempt(Kind::Sum))?;
        let ours = party == Party::Relay || party == Party::Node(node);
        if !ours || !attempt.participants.contains(node) {
            return Err(Unsound::Refused(Refusal::Stranger(node)));
        }
        let exchanged = |peer: NodeId| {
            attempt.shares.contains(&(node, peer)) || attempt.shares.contains(&(peer, node))
        };
        if !attempt
            .participants
            .ids()
            .all(|peer| peer == node || exchanged(peer))
        {
            return Err(Unsound::Shares(node));
        }
        if party == Party::Node(node) {
            self.former = None;
        }
        if attempt.sums.get(&node).is_some_and(|sum| *sum != signed) {
            let (what, signer) = (Kind::Sum, node);
            return Err(Unsound::Refused(Refusal::Duplicate { what, signer }));
        }
        attempt.sums.insert(node, signed);
        let participants = attempt.participants.set();
        self.check_difference(node, &participants)
    }

    fn body(&mut self, party: Party, ctx: Digest, node: NodeId) -> Result<(), Unsound> {
        let attempt = self.attempts.get_mut(&ctx);
        let attempt = attempt.ok_or(Unsound::NoAttempt(Kind::Collect))?;
        if matches!(party, Party::Node(own) if own != node) {
            return Err(Unsound::Refused(Refusal::Stranger(node)));
        }
        if !attempt.sums.contains_key(&node) {
            return Err(Unsound::Unsigned(node));
        }
        attempt.bodies.insert(node);
        let participants = attempt.participants.set();
        self.sends(node, &participants)
    }

    fn outcome(&mut self, party: Party, outcome: Outcome, unix_s: u64) -> Result<(), Unsound> {
        let (ctx, root, model) = (outcome.ctx, outcome.root, outcome.model);
        let attempt = self.attempts.get(&ctx);
        let own = match party {
            Party::Relay => None,
            Party::Node(own) => attempt
                .and_then(|attempt| attempt.pending(own))
                .map(|pending| (own, pending)),
        };
        if let (Some(attempt), Parts::Sums(listed)) = (attempt, &outcome.parts) {
            let mut sums = attempt.sums.iter();
            if let Some((node, _)) = sums.find(|(_, sum)| !listed.contains(sum)) {
                return Err(Unsound::OtherSum(*node));
            }
        }
        if party == Party::Relay && self.manifest.committee().is_none() {
            let attempt = attempt.ok_or(Unsound::NoAttempt(Kind::Outcome))?;
            let mut ids = attempt.participants.ids();
            if let Some(missing) = ids.find(|id| !attempt.bodies.contains(id)) {
                return Err(Unsound::Body(missing));
            }
        }
        let decision = match &outcome.parts {
            Parts::Sums(_) => None,
            Parts::Decision(decision) => Some(decision.clone()),
        };
        let checked = CheckedOutcome::verify(
            outcome,
            own.as_ref().map(|(node, pending)| (*node, pending)),
            self.manifest,
            &self.chain,
            unix_s,
        )?;
        let participants = checked.nodes().clone();
        match (decision, self.sittings.get(&ctx)) {
            (Some(decision), Some(sitting)) => sitting.outcome(party, &participants, &decision)?,
            (Some(_), None) if party == Party::Relay => {
                return Err(Unsound::NoAttempt(Kind::Outcome));
            }
            _ => {}
        }
        // With a committee it is the holders who answer for the difference rule; that only one list is decided on
        // follows from the certificate.
        if self.manifest.committee().is_none() {
            for node in &participants {
                self.sends(*node, &participants)?;
            }
        }
        let next = self.chain.next(ctx, root, model);
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
        if ack.sid != self.manifest.sid() {
            return Err(Unsound::OtherManifest(ack.sid));
        }
        if matches!(party, Party::Node(own) if own != ack.node) {
            return Err(Unsound::Refused(Refusal::Stranger(ack.node)));
        }
        if Chain::from_ack(&ack) != self.chain {
            let (what, signer) = (Kind::Ack, ack.node);
            return Err(Unsound::Refused(Refusal::Stale { what, signer }));
        }
        if party == Party::Relay {
            self.former = None;
        }
        if let Some(round) = self.rounds.iter_mut().rfind(|round| round.taken.is_some()) {
            round.acknowledged.insert(ack.node);
        }
        Ok(())
    }

    fn adopted(&mut self, checkpoint: Checkpoint, unix_s: u64) -> Result<(), Unsound> {
        if checkpoint.chain.round <= self.chain.round {
            let what = Kind::Checkpoint;
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        }
        let next = checkpoint.verify(self.manifest, unix_s)?.chain();
        self.round().round = next.round;
        self.advance(next, Taken::Checkpoint(next));
        Ok(())
    }

    fn advance(&mut self, next: Chain, taken: Taken) {
        self.round().taken = Some(taken);
        let base = std::mem::replace(&mut self.chain, next);
        self.former = Some((base, std::mem::take(&mut self.attempts)));
        self.former_sittings = std::mem::take(&mut self.sittings);
    }

    /// The round under way.
    fn round(&mut self) -> &mut Round {
        if self.rounds.last().is_none_or(|round| round.taken.is_some()) {
            self.rounds.push(Round {
                round: self.chain.next_round(),
                attempts: 0,
                participants: BTreeSet::new(),
                refusals: Vec::new(),
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
            Some(sent) => Ok(sent.check(self.chain.model, participants)?),
            None => Ok(()),
        }
    }

    /// Notes that the body of `node` has been sent, if it may be.
    fn sends(&mut self, node: NodeId, participants: &BTreeSet<NodeId>) -> Result<(), Unsound> {
        self.check_difference(node, participants)?;
        let sent = self.sent.entry(node).or_default();
        sent.record(self.chain.model, participants.clone());
        Ok(())
    }
}

impl Attempt {
    /// What `own` has signed in it.
    fn pending(&self, own: NodeId) -> Option<Pending> {
        let sum = self.sums.get(&own)?.clone();
        let participants = self.participants.clone();
        Some(Pending::Sum(PendingSum { participants, sum }))
    }
}
