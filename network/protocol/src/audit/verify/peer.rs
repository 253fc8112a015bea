//! What a log of the peer scheme must satisfy.

use std::collections::{BTreeMap, BTreeSet};

use super::attempts::Attempts;
use super::schemes::{SchemeLog, Standing};
use super::unsound::Unsound;
use crate::audit::record::Party;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::{Keys, Signed};
use crate::round::peer::message::{Share, Sum};
use crate::round::peer::{OpenedSum, Participants, SumsCheck};
use crate::round::{Evidence, Kind, Outcome, Refusal, SentSum, SentSums};

/// What a log tells of the peer scheme.
pub(super) struct PeerLog {
    attempts: Attempts<LoggedPeerAttempt>,
    /// What each node has sent, for the difference rule.
    sent: BTreeMap<NodeId, SentSums>,
}

/// An attempt whose participants are fixed.
#[derive(Clone, Debug)]
struct LoggedPeerAttempt {
    participants: Participants,
    /// Sender and addressee of each share.
    shares: BTreeSet<(NodeId, NodeId)>,
    sums: BTreeMap<NodeId, Signed<Sum>>,
    bodies: BTreeSet<NodeId>,
}

impl PeerLog {
    pub(super) fn none_yet() -> Self {
        Self {
            attempts: Attempts::none(),
            sent: BTreeMap::new(),
        }
    }

    /// Returns the attempt that a message belongs to.
    fn attempt(&mut self, ctx: Digest, what: Kind) -> Result<&mut LoggedPeerAttempt, Unsound> {
        let attempt = self.attempts.current_mut(ctx);
        attempt.ok_or(Unsound::NoAttempt(what))
    }

    pub(super) fn shares(
        &mut self,
        at: &Standing<'_>,
        list: &[Signed<Share>],
    ) -> Result<(), Unsound> {
        for signed in list {
            let share = signed.verify(at.manifest, at.unix_s)?;
            let attempt = self.attempt(share.ctx, Kind::Share)?;
            attempt.share(at.party, &share)?;
        }
        Ok(())
    }

    /// Notes a signed sum. Returns who has signed it.
    pub(super) fn sum(
        &mut self,
        at: &Standing<'_>,
        signed: Signed<Sum>,
    ) -> Result<NodeId, Unsound> {
        let Sum { ctx, node, .. } = signed.verify(at.manifest, at.unix_s)?;
        let attempt = self.attempt(ctx, Kind::Sum)?;
        attempt.sum(at.party, node, signed)?;
        let participants = attempt.participants();
        self.check_difference(at, node, &participants)?;
        Ok(node)
    }

    /// Notes the signed sums of all participants, in a node's log.
    pub(super) fn sums(
        &mut self,
        at: &Standing<'_>,
        list: Vec<Signed<Sum>>,
    ) -> Result<(), Unsound> {
        let what = Kind::Sum;
        let Party::Node(own) = at.party else {
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        };
        let first = list.first().ok_or(Unsound::NoAttempt(what))?;
        let ctx = first.verify(at.manifest, at.unix_s)?.ctx;
        let attempt = self.attempt(ctx, what)?;
        attempt.sums(own, list, at.manifest, at.unix_s)
    }

    pub(super) fn body(
        &mut self,
        at: &Standing<'_>,
        ctx: Digest,
        node: NodeId,
    ) -> Result<(), Unsound> {
        let attempt = self.attempt(ctx, Kind::Collect)?;
        attempt.body(at.party, node)?;
        let participants = attempt.participants();
        self.sends(at, node, &participants)
    }

    fn check_difference(
        &self,
        at: &Standing<'_>,
        node: NodeId,
        participants: &BTreeSet<NodeId>,
    ) -> Result<(), Unsound> {
        match self.sent.get(&node) {
            Some(sent) => Ok(sent.check(at.head.model, participants, at.convicted)?),
            None => Ok(()),
        }
    }

    /// Notes that the body of `node` has been sent, if it may be.
    fn sends(
        &mut self,
        at: &Standing<'_>,
        node: NodeId,
        participants: &BTreeSet<NodeId>,
    ) -> Result<(), Unsound> {
        self.check_difference(at, node, participants)?;
        let sent = self.sent.entry(node).or_default();
        sent.add(&SentSum::new(at.head.model, participants.clone()));
        Ok(())
    }
}

impl SchemeLog for PeerLog {
    fn keys(
        &mut self,
        at: &Standing<'_>,
        bundle: Vec<Signed<Keys>>,
    ) -> Result<Option<BTreeSet<NodeId>>, Unsound> {
        let participants =
            Participants::of_result(bundle, at.manifest, &at.head, at.unix_s, at.convicted)?;
        let set = participants.set();
        if let Party::Node(own) = at.party {
            if !participants.contains(own) {
                return Err(Unsound::Refused(Refusal::OwnKeys));
            }
            self.check_difference(at, own, &set)?;
        }
        let ctx = participants.ctx();
        self.attempts.add(ctx, LoggedPeerAttempt::new(participants));
        Ok(Some(set))
    }

    fn outcome(
        &mut self,
        at: &Standing<'_>,
        outcome: Outcome,
    ) -> Result<BTreeSet<NodeId>, Unsound> {
        let what = Kind::Outcome;
        let Evidence::Sums(listed) = &outcome.parts else {
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        };
        match self.attempts.current(outcome.ctx) {
            Some(attempt) => attempt.outcome(at.party, listed)?,
            None if at.party == Party::Relay => return Err(Unsound::NoAttempt(what)),
            None => {}
        }
        let participants = at.check(outcome)?.nodes().clone();
        for node in &participants {
            self.sends(at, *node, &participants)?;
        }
        Ok(participants)
    }

    fn advance(&mut self) {
        self.attempts.advance();
    }

    fn go_back(&mut self) {
        self.attempts.go_back();
    }
}

impl LoggedPeerAttempt {
    fn new(participants: Participants) -> Self {
        Self {
            participants,
            shares: BTreeSet::new(),
            sums: BTreeMap::new(),
            bodies: BTreeSet::new(),
        }
    }

    /// Returns the participants' ids.
    fn participants(&self) -> BTreeSet<NodeId> {
        self.participants.set()
    }

    /// Notes a share.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`] for one that is not of this attempt, or of others in a node's log;
    /// [`Refusal::Invalid`] for one in the wrong direction; [`Refusal::Duplicate`].
    fn share(&mut self, party: Party, share: &Share) -> Result<(), Unsound> {
        let (what, from, to) = (Kind::Share, share.from, share.to);
        let signer = from;
        let ours = match party {
            Party::Relay => true,
            Party::Node(own) => own == from || own == to,
        };
        let taking_part = |id| self.participants.contains(id);
        if !ours || !taking_part(from) || !taking_part(to) {
            return Err(Unsound::Refused(Refusal::Stranger(to)));
        }
        if !self.participants.gives(from, to) {
            return Err(Unsound::Refused(Refusal::Invalid { what, signer }));
        }
        match self.shares.insert((from, to)) {
            true => Ok(()),
            false => Err(Unsound::Refused(Refusal::Duplicate { what, signer })),
        }
    }

    /// Notes a signed sum.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`] for one that is not of this attempt, or of another in a node's log;
    /// [`Unsound::Shares`] if shares are missing; [`Refusal::Duplicate`] for a second one.
    fn sum(&mut self, party: Party, node: NodeId, signed: Signed<Sum>) -> Result<(), Unsound> {
        let ours = party == Party::Relay || party == Party::Node(node);
        if !ours || !self.participants.contains(node) {
            return Err(Unsound::Refused(Refusal::Stranger(node)));
        }
        let exchanged = |peer: &NodeId| {
            self.shares.contains(&(node, *peer)) || self.shares.contains(&(*peer, node))
        };
        let mut peers = self.participants.ids().filter(|peer| *peer != node);
        if !peers.all(|peer| exchanged(&peer)) {
            return Err(Unsound::Shares(node));
        }
        if self.sums.get(&node).is_some_and(|sum| *sum != signed) {
            let (what, signer) = (Kind::Sum, node);
            return Err(Unsound::Refused(Refusal::Duplicate { what, signer }));
        }
        self.sums.insert(node, signed);
        Ok(())
    }

    /// Notes the signed sums of all participants, in the log of the participant `own`.
    ///
    /// # Errors
    ///
    /// What [`SumsCheck::signed`] refuses; [`Unsound::OtherSum`] if one is another than the log
    /// has.
    fn sums(
        &mut self,
        own: NodeId,
        list: Vec<Signed<Sum>>,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<(), Unsound> {
        let check = SumsCheck {
            announced: self.participants.ctx(),
            participants: &self.participants,
            own: self.sums.get(&own),
            manifest,
            unix_s,
        };
        let sums = check.signed(&list)?;
        for (sum, signed) in sums.iter().zip(list) {
            let known = self.sums.entry(sum.node).or_insert(signed.clone());
            if known.bytes() != signed.bytes() {
                return Err(Unsound::OtherSum(sum.node));
            }
        }
        Ok(())
    }

    /// Notes that the body of `node` travels.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`] for another's in a node's log; [`Unsound::Unsigned`] without the
    /// signed sum of a participant.
    fn body(&mut self, party: Party, node: NodeId) -> Result<(), Unsound> {
        if matches!(party, Party::Node(own) if own != node) {
            return Err(Unsound::Refused(Refusal::Stranger(node)));
        }
        if !self.participants.contains(node) {
            return Err(Unsound::Refused(Refusal::Stranger(node)));
        }
        let mut ids = self.participants.ids();
        if let Some(signer) = ids.find(|id| !self.sums.contains_key(id)) {
            return Err(Unsound::Unsigned { node, signer });
        }
        self.bodies.insert(node);
        Ok(())
    }

    /// Checks that a result has the sums of the log, and in the relay's log waits for all bodies.
    ///
    /// # Errors
    ///
    /// [`Unsound::OtherSum`], [`Unsound::Body`].
    fn outcome(&self, party: Party, listed: &[OpenedSum]) -> Result<(), Unsound> {
        let is_listed = |(node, known): (&NodeId, &Signed<Sum>)| {
            let mut listed = listed.iter().map(|opened| &opened.sum);
            listed.any(|sum| match party {
                // Whatever its signature: a dishonest signer can make any number of them.
                Party::Node(own) if own != *node => sum.bytes() == known.bytes(),
                _ => sum == known,
            })
        };
        let mut sums = self.sums.iter();
        if let Some((node, _)) = sums.find(|sum| !is_listed(*sum)) {
            return Err(Unsound::OtherSum(*node));
        }
        let mut ids = self.participants.ids();
        let missing = ids.find(|id| !self.bodies.contains(id));
        match missing.filter(|_| party == Party::Relay) {
            Some(missing) => Err(Unsound::Body(missing)),
            None => Ok(()),
        }
    }
}
