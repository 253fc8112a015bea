//! What a node's machine rests on in every phase, and what it signs with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::action::Action;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::{Identity, NodeId};
use crate::manifest::Manifest;
use crate::round::clock::KEY_ALLOWANCE_S;
use crate::round::difference::SentSums;
use crate::round::head::Head;
use crate::round::key_offer::KeyOffer;
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::opening::Opening;
use crate::round::peer::{BoxOpener, Proof};
use crate::round::refusal::Refusal;
use crate::wire::NodeFrame;

/// Who a node is, where it stands, and what it has sent.
pub(in crate::round) struct Core {
    pub(in crate::round) manifest: Arc<Manifest>,
    pub(in crate::round) identity: Identity,
    pub(in crate::round) head: Head,
    pub(in crate::round) sent: SentSums,
    /// Those that are proven to have lied. Everybody else goes on without them.
    pub(in crate::round) convicted: BTreeSet<NodeId>,
    /// What proves it, in the order in which it was proven.
    pub(in crate::round) proofs: Vec<Proof>,
    /// What the proofs are checked with.
    pub(in crate::round) opener: BoxOpener,
    /// Last attempt of the next round for which keys or a contribution were signed.
    pub(in crate::round) joined: u32,
}

/// What a stage `S` of an attempt makes of a frame.
pub(in crate::round) enum Heard<S> {
    /// It goes on, and this is to be done.
    GoesOn(S, Vec<Action>),
    /// It stays: the frame has no place in it.
    Unexpected(S),
    /// It is over.
    Refused(Refusal),
}

impl<S> From<Result<(S, Vec<Action>), Refusal>> for Heard<S> {
    fn from(heard: Result<(S, Vec<Action>), Refusal>) -> Self {
        match heard {
            Ok((stage, actions)) => Self::GoesOn(stage, actions),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

impl Core {
    /// Returns the node's id.
    pub(in crate::round) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Offers this public round key for an attempt of the next round, good for all timeouts that
    /// lie ahead at `unix_s`, by the clock of any other node.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub(in crate::round) fn offer(
        &self,
        attempt: u32,
        round_key: Vec<u8>,
        unix_s: u64,
    ) -> Result<KeyOffer, WireError> {
        let timeouts = self.manifest.timeouts();
        let lifetime_s = timeouts
            .training_s
            .saturating_add(timeouts.keys_s)
            .saturating_add(timeouts.shares_s)
            .saturating_add(self.manifest.transfer_timeout().as_secs())
            .saturating_add(KEY_ALLOWANCE_S);
        let keys = Keys {
            consortium_id: self.manifest.consortium_id(),
            node: self.id(),
            round: self.head.next_round(),
            attempt,
            previous: self.head.previous,
            model: self.head.model,
            round_key: Digest::sha256(&[&round_key]),
            expires_unix_s: unix_s.saturating_add(lifetime_s),
        };
        let keys = Signed::new(&keys, &self.identity)?;
        Ok(KeyOffer { keys, round_key })
    }

    /// Takes in who is proven to have lied, unless that is known.
    ///
    /// # Errors
    ///
    /// What [`Proof::judge`] refuses.
    pub(super) fn convict(&mut self, proof: Proof) -> Result<Vec<Action>, Refusal> {
        let conviction = proof.judge(&self.manifest, self.opener, &self.convicted)?;
        if !self.convicted.insert(conviction.liar) {
            return Ok(Vec::new());
        }
        self.proofs.push(proof.clone());
        Ok(vec![
            Action::Log(Entry::Convicted(proof)),
            Action::Convicted(conviction),
        ])
    }

    /// Logs that this node answers an attempt of the next round.
    pub(in crate::round) fn log_opened(&self, attempt: u32) -> Action {
        Action::Log(Entry::Opened(Opening::after(&self.head, attempt)))
    }

    /// Acknowledges the state where the node stands.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub(super) fn ack(&self) -> Result<[Action; 2], WireError> {
        let ack = ResultAck {
            consortium_id: self.manifest.consortium_id(),
            node: self.id(),
            head: self.head,
        };
        let ack = Signed::new(&ack, &self.identity)?;
        Ok([
            Action::Log(Entry::Ack(ack.clone())),
            Action::Send(NodeFrame::Ack(ack)),
        ])
    }
}
