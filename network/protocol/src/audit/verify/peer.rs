//! What the messages of an attempt of the peer scheme must satisfy in a log.

use std::collections::{BTreeMap, BTreeSet};

use super::unsound::Unsound;
use crate::audit::record::Party;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::Signed;
use crate::round::peer::message::{Share, Sum};
use crate::round::peer::{OpenedSum, Participants, SumsCheck};
use crate::round::{Kind, Refusal};

/// An attempt whose participants are fixed.
#[derive(Clone, Debug)]
pub(super) struct LoggedPeerAttempt {
    participants: Participants,
    /// Sender and addressee of each share.
    shares: BTreeSet<(NodeId, NodeId)>,
    sums: BTreeMap<NodeId, Signed<Sum>>,
    bodies: BTreeSet<NodeId>,
}

impl LoggedPeerAttempt {
    pub(super) fn new(participants: Participants) -> Self {
        Self {
            participants,
            shares: BTreeSet::new(),
            sums: BTreeMap::new(),
            bodies: BTreeSet::new(),
        }
    }

    /// Returns the participants' ids.
    pub(super) fn participants(&self) -> BTreeSet<NodeId> {
        self.participants.set()
    }

    /// Notes a share.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`] for one that is not of this attempt, or of others in a node's log;
    /// [`Refusal::Invalid`] for one in the wrong direction; [`Refusal::Duplicate`].
    pub(super) fn share(&mut self, party: Party, share: &Share) -> Result<(), Unsound> {
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
    pub(super) fn sum(
        &mut self,
        party: Party,
        node: NodeId,
        signed: Signed<Sum>,
    ) -> Result<(), Unsound> {
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
    pub(super) fn sums(
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
    pub(super) fn body(&mut self, party: Party, node: NodeId) -> Result<(), Unsound> {
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
    pub(super) fn outcome(&self, party: Party, listed: &[OpenedSum]) -> Result<(), Unsound> {
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
