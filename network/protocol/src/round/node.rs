//! The node's side of a round.
//!
//! The machine decides; its driver acts. Frames of the relay and the results of the driver's work go in, and a list
//! of [`Action`]s comes out, to be carried out in order. Everything secret (seeds, round keys, the update) stays
//! with the driver: shares pass through here sealed.

mod action;
mod pending;

use std::collections::BTreeMap;
use std::sync::Arc;

use fl_shaders::Tag;

use super::average::Averaged;
use super::chain::Chain;
use super::committee::{Contributor, Holder};
use super::difference::SentSums;
use super::message::{Keys, ResultAck, Share, Signed, Sum};
use super::outcome::{CheckedOutcome, Checkpoint, Outcome};
use super::participants::Participants;
use super::refusal::{Kind, Refusal};
use crate::audit::{Entry, Party};
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::{Identity, NodeId};
use crate::manifest::Manifest;
use crate::wire::{BodyId, Hello, NodeFrame, RelayFrame};

pub use action::{Action, Announcement};
pub use pending::{Pending, PendingSum};

/// A share from every participant that gives this node one: what [`Action::Sum`] demands.
#[derive(Debug)]
pub struct CompleteShares {
    ctx: Digest,
    sealed: BTreeMap<NodeId, Vec<u8>>,
}

impl CompleteShares {
    /// Context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// The sealed shares by sender.
    pub fn sealed(&self) -> &BTreeMap<NodeId, Vec<u8>> {
        &self.sealed
    }
}

/// The node's state machine.
pub struct Node {
    pub(super) manifest: Arc<Manifest>,
    pub(super) identity: Identity,
    pub(super) chain: Chain,
    pub(super) sent: SentSums,
    /// Last attempt of the next round for which keys or a contribution were signed.
    pub(super) joined: u32,
    /// Last attempt of the next round for which keys were signed as a holder.
    pub(super) convened: u32,
    pub(super) holder: Holder,
    pub(super) phase: Phase,
}

pub(super) enum Phase {
    Idle,
    Training(Opened),
    /// Trained, and waiting for a round key.
    Keying(Opened),
    Offered(Offered),
    Sealing(Participants),
    Opening(Opening),
    Summing(Participants),
    Contributing(Contributor),
    Holding(Pending),
    Averaging(Box<Averaging>),
    Adopting(Checkpoint),
}

/// An attempt that the relay has opened.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    round: u64,
    attempt: u32,
}

pub(super) struct Offered {
    keys: Signed<Keys>,
    attempt: u32,
}

pub(super) struct Opening {
    participants: Participants,
    sealed: BTreeMap<NodeId, Vec<u8>>,
}

pub(super) struct Averaging {
    /// The state that the result leads to if it holds.
    next: Chain,
    outcome: Outcome,
    /// The sum that is held until the result is accepted.
    pending: Option<Pending>,
}

impl Node {
    /// A node that stands at `chain` and has sent these sums before. `pending` is what its outbox holds; what it
    /// holds of an earlier round is of no use.
    pub fn new(
        manifest: Arc<Manifest>,
        identity: Identity,
        chain: Chain,
        sent: SentSums,
        pending: Option<Pending>,
    ) -> Self {
        let phase = pending
            .filter(|pending| pending.round() == chain.next_round())
            .map_or(Phase::Idle, Phase::Holding);
        Self {
            manifest,
            identity,
            chain,
            sent,
            joined: 0,
            convened: 0,
            holder: Holder::Idle,
            phase,
        }
    }

    /// Where the node stands.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Whether the machine waits for [`Node::trained`].
    pub fn is_training(&self) -> bool {
        match &self.phase {
            Phase::Training(_) => true,
            Phase::Contributing(contributor) => contributor.is_training(),
            _ => false,
        }
    }

    /// Whether the machine has been given a result or a model, and waits for its bytes.
    pub fn is_catching_up(&self) -> bool {
        matches!(self.phase, Phase::Averaging(_) | Phase::Adopting(_))
    }

    /// Whether the machine waits for [`Node::summed`] or [`Node::contributed`] in this context.
    pub fn is_masking(&self, ctx: Digest) -> bool {
        match &self.phase {
            Phase::Summing(participants) => participants.ctx() == ctx,
            Phase::Contributing(contributor) => contributor.is_masking(ctx),
            _ => false,
        }
    }

    /// The connection is up: says where the node stands, and what it had to say before.
    ///
    /// # Errors
    /// [`WireError`] if a message cannot be encoded.
    pub fn connected(&mut self) -> Result<Vec<Action>, WireError> {
        let pending = match &self.phase {
            Phase::Holding(pending) => Some(pending),
            _ => None,
        };
        let voted_for = match self.manifest.committee() {
            None => Vec::new(),
            Some(_) => self.sent.sent_with(self.chain.model),
        };
        let hello = Hello {
            sid: self.manifest.sid(),
            round: self.chain.round,
            previous: self.chain.previous,
            model: self.chain.model,
            pending: pending.map(Pending::ctx),
            holding: self.holder.ctx(),
            voted_for,
        };
        let mut actions = vec![Action::Send(NodeFrame::Hello(hello))];
        if let Some(pending) = pending {
            actions.push(Action::Send(pending.frame()));
        }
        if self.chain.round > 0 {
            actions.extend(self.ack()?);
        }
        Ok(actions)
    }

    /// The connection is lost. A round key is worth nothing without it, a masked sum stays.
    pub fn disconnected(&mut self) {
        self.joined = 0;
        self.convened = 0;
        self.holder.disconnected();
        self.step_back();
    }

    /// Leaves what was going on, but not a masked sum that is held: it may still be asked for.
    fn step_back(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Holding(pending) => Phase::Holding(pending),
            Phase::Averaging(averaging) => averaging.pending.map_or(Phase::Idle, Phase::Holding),
            _ => Phase::Idle,
        };
    }

    /// A frame of the relay has arrived.
    ///
    /// # Errors
    /// The [`Refusal`] that this frame meets. The machine is then where it was, or out of the attempt.
    pub fn handle(&mut self, frame: RelayFrame, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        match frame {
            RelayFrame::Open {
                round,
                attempt,
                previous,
                model,
                deadline_ms,
            } => self.open(round, attempt, previous, model, deadline_ms),
            RelayFrame::Keys(bundle) if self.manifest.committee().is_some() => {
                self.holder_keys(bundle, unix_s)
            }
            RelayFrame::Keys(bundle) => self.keys(bundle, unix_s),
            RelayFrame::Shares(shares) => self.shares(shares, unix_s),
            RelayFrame::Collect { ctx, first_chunk } => self.collect(ctx, first_chunk),
            RelayFrame::Outcome(outcome) => self.outcome(outcome, unix_s),
            RelayFrame::Checkpoint(checkpoint) => self.checkpoint(checkpoint, unix_s),
            RelayFrame::Waiting { missing, for_s } => Ok(vec![Action::Waiting { missing, for_s }]),
            RelayFrame::Refused(refusal) => Ok(self.turned_away(refusal)),
            RelayFrame::Finished { rounds } => Ok(vec![Action::Finish { rounds }]),
            RelayFrame::Convene {
                round,
                attempt,
                previous,
                model,
            } => self.convene(round, attempt, previous, model),
            RelayFrame::Slip(slip) => self.slip(slip, unix_s),
            RelayFrame::Received { ctx } => Ok(vec![Action::Received { ctx }]),
            RelayFrame::Ballot { ctx, entries } => self.ballot(ctx, entries),
            RelayFrame::Reveal {
                ctx,
                entries,
                votes,
                classes,
            } => self.certified(ctx, entries, &votes, classes, unix_s),
            RelayFrame::CollectReveal { root, first_chunk } => {
                self.collect_reveal(root, first_chunk)
            }
            // It is no secret, and the relay has had it.
            RelayFrame::Lend { model } if model == self.chain.model => Ok(vec![Action::Upload {
                body: BodyId::model(model),
                first_chunk: 0,
            }]),
            RelayFrame::Lend { .. } => Err(Refusal::Unexpected { what: Kind::Lend }),
        }
    }

    fn open(
        &mut self,
        round: u64,
        attempt: u32,
        previous: Digest,
        model: Digest,
        deadline_ms: u64,
    ) -> Result<Vec<Action>, Refusal> {
        if self.is_catching_up() {
            return Err(Refusal::Unexpected { what: Kind::Open });
        }
        if round != self.chain.next_round() || attempt <= self.joined {
            let (done, joined) = (self.chain.round, self.joined);
            return Err(Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            });
        }
        self.chain.check_base(round, previous, model)?;
        self.phase = match self.manifest.committee() {
            None => Phase::Training(Opened { round, attempt }),
            Some(_) => Phase::Contributing(Contributor::new(round, attempt)),
        };
        Ok(vec![Action::Train {
            round,
            attempt,
            deadline_ms,
        }])
    }

    /// The update for `round` is ready. Returns nothing if it came too late.
    pub fn trained(&mut self, round: u64) -> Vec<Action> {
        match &mut self.phase {
            Phase::Training(opened) if opened.round == round => {
                let opened @ Opened { round, attempt } = *opened;
                self.phase = Phase::Keying(opened);
                vec![Action::DrawRoundKey { round, attempt }]
            }
            Phase::Contributing(_) => self.ready(round),
            _ => Vec::new(),
        }
    }

    /// The fresh round key for `round` that [`Action::DrawRoundKey`] asked for. Returns nothing if it came too late.
    ///
    /// # Errors
    /// [`WireError`] if the message cannot be encoded.
    pub fn keyed(
        &mut self,
        round: u64,
        round_key: [u8; 32],
        unix_s: u64,
    ) -> Result<Vec<Action>, WireError> {
        if self.manifest.committee().is_some() {
            return self.convened(round, round_key, unix_s);
        }
        let Phase::Keying(Opened { round: of, attempt }) = self.phase else {
            return Ok(Vec::new());
        };
        if of != round {
            return Ok(Vec::new());
        }
        let keys = self.offer(attempt, round_key, unix_s)?;
        self.joined = attempt;
        self.phase = Phase::Offered(Offered {
            keys: keys.clone(),
            attempt,
        });
        Ok(vec![
            self.log_opened(attempt),
            Action::Send(NodeFrame::Keys(keys)),
        ])
    }

    /// Logs that this node answers an attempt of the next round.
    pub(super) fn log_opened(&self, attempt: u32) -> Action {
        Action::Log(Entry::Opened {
            round: self.chain.next_round(),
            attempt,
            previous: self.chain.previous,
            model: self.chain.model,
        })
    }

    /// Keys for an attempt of the next round, good for all timeouts that lie ahead at `unix_s`.
    pub(super) fn offer(
        &self,
        attempt: u32,
        round_key: [u8; 32],
        unix_s: u64,
    ) -> Result<Signed<Keys>, WireError> {
        let timeouts = self.manifest.timeouts();
        let lifetime_s = timeouts
            .training_s
            .saturating_add(timeouts.keys_s)
            .saturating_add(timeouts.shares_s)
            .saturating_add(self.manifest.transfer_timeout().as_secs());
        let keys = Keys {
            sid: self.manifest.sid(),
            node: self.identity.node_id(),
            round: self.chain.next_round(),
            attempt,
            previous: self.chain.previous,
            model: self.chain.model,
            round_key,
            expires_unix_s: unix_s.saturating_add(lifetime_s),
        };
        Signed::new(&keys, &self.identity)
    }

    fn keys(&mut self, bundle: Vec<Signed<Keys>>, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let Phase::Offered(Offered { keys, attempt }) = phase else {
            self.phase = phase;
            return Err(Refusal::Unexpected { what: Kind::Keys });
        };
        let participants = Participants::verify(bundle, &self.manifest, &self.chain, unix_s)?;
        if participants.attempt() != attempt || !participants.bundle().contains(&keys) {
            return Err(Refusal::OwnKeys);
        }
        self.sent.check(self.chain.model, &participants.set())?;
        let ctx = participants.ctx();
        let receivers = participants.receivers_from(self.identity.node_id());
        let accepted = Entry::Keys(participants.bundle().to_vec());
        self.phase = Phase::Sealing(participants);
        Ok(vec![Action::Log(accepted), Action::Seal { ctx, receivers }])
    }

    /// The seeds are sealed, one to each receiver. Returns nothing if the attempt is over.
    ///
    /// # Errors
    /// [`WireError`] if a message cannot be encoded.
    pub fn sealed(
        &mut self,
        ctx: Digest,
        sealed: Vec<(NodeId, Vec<u8>)>,
    ) -> Result<Vec<Action>, WireError> {
        let from = self.identity.node_id();
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let participants = match phase {
            Phase::Sealing(participants) if participants.ctx() == ctx => participants,
            phase => {
                self.phase = phase;
                return Ok(Vec::new());
            }
        };
        let shares: Result<Vec<_>, _> = sealed
            .into_iter()
            .map(|(to, sealed)| {
                Signed::new(
                    &Share {
                        ctx,
                        from,
                        to,
                        sealed,
                    },
                    &self.identity,
                )
            })
            .collect();
        self.phase = Phase::Opening(Opening {
            participants,
            sealed: BTreeMap::new(),
        });
        let shares = shares?;
        Ok(vec![
            Action::Log(Entry::Shares(shares.clone())),
            Action::Send(NodeFrame::Shares(shares)),
        ])
    }

    fn shares(&mut self, shares: Vec<Signed<Share>>, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let Phase::Opening(mut opening) = phase else {
            self.phase = phase;
            return Err(Refusal::Unexpected { what: Kind::Share });
        };
        let own = self.identity.node_id();
        for signed in &shares {
            let share = Share::verify(signed, &self.manifest, unix_s)?;
            let signer = share.from;
            if share.ctx != opening.participants.ctx() {
                return Err(Refusal::Stale {
                    what: Kind::Share,
                    signer,
                });
            }
            if share.to != own || !opening.participants.contains(signer) {
                return Err(Refusal::Stranger(if share.to == own {
                    signer
                } else {
                    share.to
                }));
            }
            if !opening.participants.gives(signer, own) {
                return Err(Refusal::Invalid {
                    what: Kind::Share,
                    signer,
                });
            }
            if opening.sealed.insert(signer, share.sealed).is_some() {
                return Err(Refusal::Duplicate {
                    what: Kind::Share,
                    signer,
                });
            }
        }
        let mut actions = vec![Action::Log(Entry::Shares(shares))];
        if opening.sealed.len() < opening.participants.shares_due_to(own) {
            self.phase = Phase::Opening(opening);
            return Ok(actions);
        }
        let complete = CompleteShares {
            ctx: opening.participants.ctx(),
            sealed: opening.sealed,
        };
        self.phase = Phase::Summing(opening.participants);
        actions.push(Action::Sum(complete));
        Ok(actions)
    }

    /// The masked sum is computed; `root` is its chunk root, `tag` the node's share of the tags' sum. Returns nothing if
    /// the attempt is over.
    ///
    /// # Errors
    /// [`WireError`] if the message cannot be encoded.
    pub fn summed(
        &mut self,
        ctx: Digest,
        root: Digest,
        tag: Tag,
    ) -> Result<Option<Announcement>, WireError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let participants = match phase {
            Phase::Summing(participants) if participants.ctx() == ctx => participants,
            phase => {
                self.phase = phase;
                return Ok(None);
            }
        };
        let sum = Sum {
            ctx,
            node: self.identity.node_id(),
            root,
            tag: tag.values(),
        };
        let sum = Signed::new(&sum, &self.identity)?;
        let entry = Entry::Sum(sum.clone());
        Ok(Some(self.hold(
            entry,
            Pending::Sum(PendingSum { participants, sum }),
        )))
    }

    /// Holds a masked vector from now on.
    pub(super) fn hold(&mut self, entry: Entry, pending: Pending) -> Announcement {
        self.phase = Phase::Holding(pending.clone());
        Announcement {
            entry,
            frame: pending.frame(),
            pending,
        }
    }

    fn collect(&mut self, ctx: Digest, first_chunk: u32) -> Result<Vec<Action>, Refusal> {
        let Phase::Holding(pending) = &self.phase else {
            return Err(Refusal::Unexpected {
                what: Kind::Collect,
            });
        };
        if pending.ctx() != ctx {
            let signer = self.identity.node_id();
            return Err(Refusal::Stale {
                what: Kind::Collect,
                signer,
            });
        }
        let body = BodyId::sum(ctx);
        let upload = Action::Upload { body, first_chunk };
        // A contribution opens only in a sum that holders vote for, and the record is theirs to make. It follows its
        // signature at once, so that alone is logged.
        let Pending::Sum(pending) = pending else {
            return Ok(vec![upload]);
        };
        let participants = pending.participants.set();
        // Checked again: the outbox may be older than a sum on the same model.
        self.sent.check(self.chain.model, &participants)?;
        self.sent.record(self.chain.model, participants);
        let node = self.identity.node_id();
        Ok(vec![
            Action::Record(self.sent.clone()),
            Action::Log(Entry::Body { ctx, node }),
            upload,
        ])
    }

    fn outcome(&mut self, outcome: Outcome, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        if self.is_catching_up() {
            return Err(Refusal::Unexpected {
                what: Kind::Outcome,
            });
        }
        let own = match &self.phase {
            Phase::Holding(pending) => Some(pending),
            _ => None,
        };
        let own = own.map(|own| (self.identity.node_id(), own));
        let checked =
            CheckedOutcome::verify(outcome.clone(), own, &self.manifest, &self.chain, unix_s)?;
        let pending = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Holding(pending) => Some(pending),
            _ => None,
        };
        self.phase = Phase::Averaging(Box::new(Averaging {
            next: checked.leads_to(),
            outcome,
            pending,
        }));
        Ok(vec![Action::Average(checked)])
    }

    /// A result was checked and averaged. Returns nothing if it is not the one that is waited for.
    ///
    /// # Errors
    /// [`WireError`] if the acknowledgement cannot be encoded.
    pub fn averaged(&mut self, averaged: &Averaged) -> Result<Vec<Action>, WireError> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            // A relay may have announced two sums of one context.
            Phase::Averaging(averaging) if averaging.next == averaged.chain => {
                self.advance(averaging.next, Entry::Outcome(averaging.outcome))
            }
            phase => {
                self.phase = phase;
                Ok(Vec::new())
            }
        }
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        if self.is_catching_up() || checkpoint.chain.round <= self.chain.round {
            return Err(Refusal::Unexpected {
                what: Kind::Checkpoint,
            });
        }
        let checked = checkpoint.clone().verify(&self.manifest, unix_s)?;
        self.phase = Phase::Adopting(checkpoint);
        Ok(vec![Action::Adopt(checked)])
    }

    /// The certified model of this state has arrived and holds. Returns nothing if it is not the one that is waited for.
    ///
    /// # Errors
    /// [`WireError`] if the acknowledgement cannot be encoded.
    pub fn adopted(&mut self, chain: Chain) -> Result<Vec<Action>, WireError> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Adopting(checkpoint) if checkpoint.chain == chain => {
                self.advance(chain, Entry::Adopted(checkpoint))
            }
            phase => {
                self.phase = phase;
                Ok(Vec::new())
            }
        }
    }

    /// Takes the state that `entry` leads to.
    fn advance(&mut self, chain: Chain, entry: Entry) -> Result<Vec<Action>, WireError> {
        self.chain = chain;
        self.joined = 0;
        self.convened = 0;
        self.holder = Holder::Idle;
        self.phase = Phase::Idle;
        let mut actions = vec![Action::Log(entry), Action::Commit(chain)];
        actions.extend(self.ack()?);
        Ok(actions)
    }

    fn ack(&self) -> Result<[Action; 2], WireError> {
        let ack = ResultAck {
            sid: self.manifest.sid(),
            node: self.identity.node_id(),
            round: self.chain.round,
            result: self.chain.previous,
            model: self.chain.model,
        };
        let ack = Signed::new(&ack, &self.identity)?;
        Ok([
            Action::Log(Entry::Ack(ack.clone())),
            Action::Send(NodeFrame::Ack(ack)),
        ])
    }

    fn turned_away(&self, refusal: Refusal) -> Vec<Action> {
        let entry = Entry::Refused {
            by: Party::Relay,
            to: Party::Node(self.identity.node_id()),
            refusal: refusal.clone(),
        };
        vec![Action::Log(entry), Action::TurnedAway(refusal)]
    }

    /// The masked sum could not be written to the outbox: it is forgotten, nothing was announced.
    pub fn not_kept(&mut self, refusal: Refusal) -> Vec<Action> {
        let actions = self.abandon(refusal);
        self.phase = Phase::Idle;
        actions
    }

    /// The driver could not do what the machine asked for: the node leaves the attempt, and tells the relay why.
    ///
    /// A masked sum that is already held is kept: it may still be asked for.
    pub fn abandon(&mut self, refusal: Refusal) -> Vec<Action> {
        let (round, attempt) = match &self.phase {
            Phase::Training(opened) | Phase::Keying(opened) => (opened.round, opened.attempt),
            Phase::Contributing(contributor) => (contributor.round, contributor.attempt),
            Phase::Holding(pending) => (pending.round(), pending.attempt()),
            _ => (self.chain.next_round(), self.joined),
        };
        // A holder may refuse in an attempt to which it does not contribute.
        let attempt = attempt.max(self.convened);
        self.step_back();
        let entry = Entry::Refused {
            by: Party::Node(self.identity.node_id()),
            to: Party::Relay,
            refusal: refusal.clone(),
        };
        let refused = NodeFrame::Refused {
            round,
            attempt,
            refusal,
        };
        vec![Action::Log(entry), Action::Send(refused)]
    }
}
