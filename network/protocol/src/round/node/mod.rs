//! The node's side of a round.
//!
//! The machine decides; its driver acts. Frames of the relay and the results of the driver's work
//! go in, and a list of [`Action`]s comes out, to be carried out in order. Everything secret
//! (seeds, round keys, the update) stays with the driver: shares pass through here sealed.
//!
//! What the schemes have in common is here: greeting, results, and what is held until a result
//! accounts for it. What a node does in an attempt is in [`peer`](super::peer) and
//! [`committee`](super::committee).

pub(in crate::round) mod action;
mod catch_up;
pub(in crate::round) mod core;
pub(in crate::round) mod pending;

use std::collections::BTreeSet;
use std::sync::Arc;

use fl_shaders::Tag;

use self::core::{Core, Heard};
use super::checked_outcome::CheckedOutcome;
use super::checkpoint::Checkpoint;
use super::committee::ClassSet;
use super::committee::message::ContributionId;
use super::committee::node::{Contributor, Holder};
use super::committee::{Envelope, Holders, Recipients};
use super::difference::SentSums;
use super::head::Head;
use super::message::{Keys, Signed};
use super::opening::Opening;
use super::outcome::Outcome;
use super::peer::message::Sum;
use super::peer::node::ParticipantStage;
use super::peer::{BoxOpener, Proof, TagShare};
use super::refusal::{Fault, Kind, Refusal};
use super::training::Averaged;
use crate::audit::{Entry, Party};
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::{Identity, NodeId};
use crate::manifest::Manifest;
use crate::wire::{BodyId, Hello, NodeFrame, RelayFrame};
use catch_up::{Awaited, CatchUp};

pub use action::{Action, Announcement};
pub use pending::{Pending, StoredPending};

/// The node's state machine.
pub struct Node {
    core: Core,
    /// What the node is as a holder, whatever it does otherwise.
    holder: Holder,
    phase: Phase,
}

enum Phase {
    /// Nothing is going on.
    Idle,
    /// An attempt of the peer scheme.
    Participating(ParticipantStage),
    /// An attempt with a committee.
    Contributing(Contributor),
    /// A masked vector is held, and a result is waited for.
    Holding(Pending),
    /// The bytes of a result or a model are waited for.
    CatchingUp(CatchUp),
}

impl Node {
    /// Returns a node that stands at `head` and has sent these sums before. `pending` is what its
    /// outbox holds; what it holds of an earlier round is of no use. `opener` opens boxes with
    /// published round keys.
    pub fn new(
        manifest: Arc<Manifest>,
        identity: Identity,
        head: Head,
        sent: SentSums,
        pending: Option<Pending>,
        opener: BoxOpener,
    ) -> Self {
        let phase = pending
            .filter(|pending| pending.round() == head.next_round())
            .map_or(Phase::Idle, Phase::Holding);
        Self {
            core: Core {
                manifest,
                identity,
                head,
                sent,
                convicted: BTreeSet::new(),
                proofs: Vec::new(),
                opener,
                joined: 0,
            },
            holder: Holder::default(),
            phase,
        }
    }

    /// Takes up what its log proves of others, in the order of the log. What proves nothing is
    /// ignored.
    pub fn resume_convictions<'a>(&mut self, proofs: impl IntoIterator<Item = &'a Proof>) {
        for proof in proofs {
            // The log has it.
            let _ = self.core.convict(proof.clone());
        }
    }

    /// Returns where the node stands.
    pub fn head(&self) -> Head {
        self.core.head
    }

    /// Returns whether the machine waits for [`Node::trained`].
    pub fn is_training(&self) -> bool {
        match &self.phase {
            Phase::Participating(participant) => participant.is_training(),
            Phase::Contributing(contributor) => contributor.is_training(),
            _ => false,
        }
    }

    /// Returns whether the machine has been given a result or a model, and waits for its bytes.
    pub fn is_catching_up(&self) -> bool {
        matches!(self.phase, Phase::CatchingUp(_))
    }

    /// Returns whether the machine waits for [`Node::summed`] or [`Node::contributed`] in this
    /// context.
    pub fn is_masking(&self, ctx: Digest) -> bool {
        match &self.phase {
            Phase::Participating(participant) => participant.is_masking(ctx),
            Phase::Contributing(contributor) => contributor.is_masking(ctx),
            _ => false,
        }
    }

    /// The connection is up at `unix_s`, in seconds of Unix time: says where the node stands, what
    /// it can prove of others, and what it had to say before.
    ///
    /// # Errors
    ///
    /// [`WireError`] if a message cannot be encoded.
    pub fn connected(&mut self, unix_s: u64) -> Result<Vec<Action>, WireError> {
        let core = &self.core;
        let pending = self.held();
        let hello = Hello {
            consortium_id: core.manifest.consortium_id(),
            head: core.head,
            pending: pending.map(Pending::ctx),
            holding: self.holder.ctx(),
            voted_for: self.holder.voted_for(core),
            unix_s,
        };
        let mut actions = vec![Action::Send(NodeFrame::Hello(hello))];
        let proofs = core.proofs.iter().cloned();
        actions.extend(proofs.map(|proof| Action::Send(NodeFrame::Accusation(proof))));
        if let Some(pending) = pending {
            actions.push(Action::Send(pending.frame()));
        }
        if core.head.round > 0 {
            actions.extend(core.ack()?);
        }
        Ok(actions)
    }

    /// The connection is lost. A round key is worth nothing without it, a masked vector stays.
    pub fn disconnected(&mut self) {
        self.core.joined = 0;
        self.holder.disconnected();
        self.step_back();
    }

    /// A frame of the relay has arrived.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] that this frame meets. The machine is then where it was, or out of the
    /// attempt.
    pub fn handle(&mut self, frame: RelayFrame, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        let core = &mut self.core;
        match frame {
            RelayFrame::Open {
                opening,
                deadline_ms,
            } => self.open(&opening, deadline_ms),
            RelayFrame::Keys { bundle, round_keys } => self.keys(bundle, round_keys, unix_s),
            RelayFrame::Shares(shares) => {
                self.participant(Kind::Share, |own, core| own.shares(core, shares, unix_s))
            }
            RelayFrame::Collect {
                ctx,
                first_chunk,
                sums,
            } => self.collect(ctx, first_chunk, sums, unix_s),
            RelayFrame::Outcome(outcome) => self.outcome(outcome, unix_s),
            RelayFrame::Checkpoint(checkpoint) => self.checkpoint(checkpoint, unix_s),
            RelayFrame::Convicted(proof) => Ok(core.convict(proof)?),
            RelayFrame::Waiting { missing, for_s } => Ok(vec![Action::Waiting { missing, for_s }]),
            RelayFrame::Refused(refusal) => Ok(self.turned_away(refusal)),
            RelayFrame::Finished { rounds } => Ok(vec![Action::Finish { rounds }]),
            RelayFrame::Convene(opening) => match &self.phase {
                Phase::CatchingUp(_) => Err(Refusal::Unexpected {
                    what: Kind::Convene,
                }),
                _ => self.holder.convene(core, &opening),
            },
            RelayFrame::SealedSeeds(seeds_for) => self.holder.seeds_for(core, seeds_for, unix_s),
            RelayFrame::Received { ctx } => Ok(vec![Action::Received { ctx }]),
            RelayFrame::Ballot { ctx, entries } => self.holder.ballot(core, ctx, entries),
            RelayFrame::Reveal {
                ctx,
                entries,
                votes,
                classes,
            } => self
                .holder
                .certified(core, ctx, entries, &votes, classes, unix_s),
            RelayFrame::CollectReveal { root, first_chunk } => {
                self.holder.collect(root, first_chunk)
            }
            // It is no secret, and the relay has had it.
            RelayFrame::SendModel { model } if model == core.head.model => {
                Ok(vec![Action::Upload {
                    body: BodyId::model(model),
                    first_chunk: 0,
                }])
            }
            RelayFrame::SendModel { .. } => Err(Refusal::Unexpected {
                what: Kind::SendModel,
            }),
        }
    }

    fn open(&mut self, opening: &Opening, deadline_ms: u64) -> Result<Vec<Action>, Refusal> {
        if self.is_catching_up() {
            return Err(Refusal::Unexpected { what: Kind::Open });
        }
        opening.check(&self.core.head, self.core.joined)?;
        let Opening { round, attempt, .. } = *opening;
        self.phase = match self.core.manifest.committee() {
            None => Phase::Participating(ParticipantStage::open(attempt)),
            Some(_) => Phase::Contributing(Contributor::open(attempt)),
        };
        Ok(vec![Action::Train {
            round,
            attempt,
            deadline_ms,
        }])
    }

    /// The update for `round` is ready. Returns nothing if it came too late.
    pub fn trained(&mut self, round: u64) -> Vec<Action> {
        if round != self.core.head.next_round() {
            return Vec::new();
        }
        let (phase, actions) = match self.take_phase() {
            Phase::Participating(participant) => {
                let (participant, actions) = participant.trained(&self.core);
                (Phase::Participating(participant), actions)
            }
            Phase::Contributing(contributor) => {
                let (contributor, actions) = contributor.trained(&self.core);
                (Phase::Contributing(contributor), actions)
            }
            phase => (phase, Vec::new()),
        };
        self.phase = phase;
        actions
    }

    /// The public half of the fresh round key for `round` that [`Action::DrawRoundKey`] or
    /// [`Action::DrawHolderKey`] asked for. Returns nothing if it came too late.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub fn keyed(
        &mut self,
        round: u64,
        round_key: Vec<u8>,
        unix_s: u64,
    ) -> Result<Vec<Action>, WireError> {
        if round != self.core.head.next_round() {
            return Ok(Vec::new());
        }
        match self.phase {
            Phase::Participating(_) => {
                self.participant_work(|own, core| own.keyed(core, round_key, unix_s))
            }
            _ => self.holder.keyed(&self.core, round_key, unix_s),
        }
    }

    /// The seeds are sealed, one to each receiver. Returns nothing if the attempt is over.
    ///
    /// # Errors
    ///
    /// [`WireError`] if a message cannot be encoded.
    pub fn sealed(
        &mut self,
        ctx: Digest,
        sealed: Vec<(NodeId, Vec<u8>)>,
    ) -> Result<Vec<Action>, WireError> {
        self.participant_work(|own, core| own.sealed(core, ctx, sealed))
    }

    /// The masked sum is computed; `root` is its chunk root, `tag_share` the node's share of the
    /// tags' sum. Returns nothing if the attempt is over.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub fn summed(
        &mut self,
        ctx: Digest,
        root: Digest,
        tag_share: TagShare,
    ) -> Result<Option<Announcement>, WireError> {
        let participant = match self.take_phase() {
            Phase::Participating(participant) => participant,
            phase => {
                self.phase = phase;
                return Ok(None);
            }
        };
        match participant.summed(&self.core, ctx, root, tag_share)? {
            Ok((entry, sum)) => Ok(Some(self.hold(entry, sum.into()))),
            Err(participant) => {
                self.phase = Phase::Participating(participant);
                Ok(None)
            }
        }
    }

    /// The update is masked and the seeds are sealed. `root` is the chunk root of the masked
    /// update, `tag` what is left of its tag. Returns nothing if the attempt is over.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub fn contributed(
        &mut self,
        ctx: Digest,
        root: Digest,
        tag: Tag,
        envelope: Envelope,
    ) -> Result<Option<Announcement>, WireError> {
        let contributor = match self.take_phase() {
            Phase::Contributing(contributor) => contributor,
            phase => {
                self.phase = phase;
                return Ok(None);
            }
        };
        match contributor.contributed(&mut self.core, ctx, root, tag, envelope)? {
            Ok((entry, prepared)) => Ok(Some(self.hold(entry, prepared.into()))),
            Err(contributor) => {
                self.phase = Phase::Contributing(contributor);
                Ok(None)
            }
        }
    }

    /// Holds a masked vector from now on.
    fn hold(&mut self, entry: Entry, pending: Pending) -> Announcement {
        self.phase = Phase::Holding(pending.clone());
        Announcement {
            entry,
            frame: pending.frame(),
            pending,
        }
    }

    /// A contributor's box was opened, and its seeds compared to what they are committed to as.
    /// Returns nothing if the attempt is over.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the receipt cannot be encoded.
    pub fn opened(
        &mut self,
        ctx: Digest,
        entry: ContributionId,
        found: Result<(), Fault>,
    ) -> Result<Vec<Action>, WireError> {
        self.holder.opened(&self.core, ctx, entry, found)
    }

    /// The masks of `classes` are summed up; `root` is the chunk root of their sum, `tag` that of
    /// their tags. Returns nothing if the attempt is over.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub fn revealed(
        &mut self,
        ctx: Digest,
        classes: ClassSet,
        root: Digest,
        tag: Tag,
    ) -> Result<Vec<Action>, WireError> {
        self.holder.revealed(&self.core, ctx, classes, root, tag)
    }

    /// The masks of these classes could not be summed up. The relay may ask again. Returns whether
    /// they were waited for.
    pub fn not_revealed(&mut self, ctx: Digest, classes: ClassSet) -> bool {
        self.holder.not_revealed(ctx, classes)
    }

    /// The keys of all participants, or of the holders, and the round keys of those to whom this
    /// node is to seal. A node may wait for these as a holder, as a contributor, or as both.
    fn keys(
        &mut self,
        bundle: Vec<Signed<Keys>>,
        round_keys: Vec<Vec<u8>>,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        if let Phase::Participating(_) = self.phase {
            return self.participant(Kind::Keys, |own, core| {
                own.keys(core, bundle, round_keys, unix_s)
            });
        }
        let core = &self.core;
        let holders = Holders::verify(bundle, &core.manifest, &core.head, unix_s)?;
        let recipients = Recipients::new(holders, round_keys, core.opener)?;
        self.holder.fixed(&recipients, core.id())?;
        let mut actions = vec![Action::Log(Entry::Keys(recipients.bundle().to_vec()))];
        self.phase = match self.take_phase() {
            Phase::Contributing(contributor) => {
                let (contributor, contributes) = contributor.fixed(&self.core, recipients);
                actions.extend(contributes);
                Phase::Contributing(contributor)
            }
            phase => phase,
        };
        Ok(actions)
    }

    /// Lets the participant hear a frame of this kind.
    fn participant(
        &mut self,
        what: Kind,
        hear: impl FnOnce(ParticipantStage, &Core) -> Heard<ParticipantStage>,
    ) -> Result<Vec<Action>, Refusal> {
        let participant = match self.take_phase() {
            Phase::Participating(participant) => participant,
            phase => {
                self.phase = phase;
                return Err(Refusal::Unexpected { what });
            }
        };
        match hear(participant, &self.core) {
            Heard::GoesOn(participant, actions) => {
                self.phase = Phase::Participating(participant);
                Ok(actions)
            }
            Heard::Unexpected(participant) => {
                self.phase = Phase::Participating(participant);
                Err(Refusal::Unexpected { what })
            }
            Heard::Refused(refusal) => Err(refusal),
        }
    }

    /// Tells the participant what came of its work.
    fn participant_work(
        &mut self,
        work: impl FnOnce(
            ParticipantStage,
            &mut Core,
        ) -> Result<(ParticipantStage, Vec<Action>), WireError>,
    ) -> Result<Vec<Action>, WireError> {
        let participant = match self.take_phase() {
            Phase::Participating(participant) => participant,
            phase => {
                self.phase = phase;
                return Ok(Vec::new());
            }
        };
        let (participant, actions) = work(participant, &mut self.core)?;
        self.phase = Phase::Participating(participant);
        Ok(actions)
    }

    /// The relay asks for the masked vector.
    fn collect(
        &mut self,
        ctx: Digest,
        first_chunk: u32,
        sums: Vec<Signed<Sum>>,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let (what, node) = (Kind::Collect, self.core.id());
        let Phase::Holding(pending) = &self.phase else {
            return Err(Refusal::Unexpected { what });
        };
        if pending.ctx() != ctx {
            return Err(Refusal::Stale { what, signer: node });
        }
        let mut actions = pending.open(&mut self.core, sums, unix_s)?;
        let body = BodyId::sum(ctx);
        actions.push(Action::Upload { body, first_chunk });
        Ok(actions)
    }

    fn outcome(&mut self, outcome: Outcome, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        if self.is_catching_up() {
            let what = Kind::Outcome;
            return Err(Refusal::Unexpected { what });
        }
        let (core, own) = (&self.core, self.held());
        let own = own.map(|own| (core.id(), own));
        let checked = CheckedOutcome::verify(
            outcome.clone(),
            own,
            &core.manifest,
            &core.head,
            unix_s,
            &core.convicted,
        )?;
        let account = outcome.parts.account();
        account.check_sent(checked.ctx(), &core.sent)?;
        let pending = match self.take_phase() {
            Phase::Holding(pending) => Some(pending),
            _ => None,
        };
        self.phase = Phase::CatchingUp(CatchUp::Result(Box::new(Awaited {
            next: checked.leads_to(),
            outcome,
            pending,
        })));
        Ok(vec![Action::Average(checked)])
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint, unix_s: u64) -> Result<Vec<Action>, Refusal> {
        let core = &self.core;
        if self.is_catching_up() || checkpoint.head.round <= core.head.round {
            let what = Kind::Checkpoint;
            return Err(Refusal::Unexpected { what });
        }
        let checked = checkpoint.clone().verify(&core.manifest, unix_s)?;
        self.phase = Phase::CatchingUp(CatchUp::Checkpoint(checkpoint));
        Ok(vec![Action::Adopt(checked)])
    }

    /// A result was checked and averaged. Returns nothing if it is not the one that is waited for.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the acknowledgement cannot be encoded.
    pub fn averaged(&mut self, averaged: &Averaged) -> Result<Vec<Action>, WireError> {
        self.advance(averaged.head)
    }

    /// The certified model of this state has arrived and holds. Returns nothing if it is not the
    /// one that is waited for.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the acknowledgement cannot be encoded.
    pub fn adopted(&mut self, head: Head) -> Result<Vec<Action>, WireError> {
        self.advance(head)
    }

    /// Takes this state, if it is the one that is waited for: a relay may have announced two sums
    /// of one context.
    fn advance(&mut self, head: Head) -> Result<Vec<Action>, WireError> {
        let caught_up = match self.take_phase() {
            Phase::CatchingUp(caught_up) if caught_up.leads_to() == head => caught_up,
            phase => {
                self.phase = phase;
                return Ok(Vec::new());
            }
        };
        self.core.head = head;
        self.core.joined = 0;
        self.holder = Holder::default();
        let mut actions = vec![Action::Log(caught_up.into_entry()), Action::Commit(head)];
        actions.extend(self.core.ack()?);
        Ok(actions)
    }

    fn turned_away(&self, refusal: Refusal) -> Vec<Action> {
        let entry = Entry::Refused {
            by: Party::Relay,
            to: Party::Node(self.core.id()),
            refusal: refusal.clone(),
        };
        vec![Action::Log(entry), Action::TurnedAway(refusal)]
    }

    /// The masked vector could not be written to the outbox: it is forgotten, nothing was
    /// announced.
    pub fn not_kept(&mut self, refusal: Refusal) -> Vec<Action> {
        let actions = self.abandon(refusal);
        self.phase = Phase::Idle;
        actions
    }

    /// The share that `from` has given in this attempt does not open with `round_key`. The node
    /// leaves the attempt, and publishes the key as the proof, if it is one.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the accusation cannot be encoded.
    pub fn accuse(
        &mut self,
        ctx: Digest,
        from: NodeId,
        round_key: [u8; 32],
    ) -> Result<Vec<Action>, WireError> {
        let proof = match &self.phase {
            Phase::Participating(participant) => {
                participant.accuse(&self.core, ctx, from, round_key)?
            }
            _ => None,
        };
        let Some(proof) = proof else {
            return Ok(self.abandon(Refusal::Share { from }));
        };
        self.step_back();
        let mut actions = self.core.convict(proof.clone()).unwrap_or_default();
        actions.push(Action::Send(NodeFrame::Accusation(proof)));
        Ok(actions)
    }

    /// The driver could not do what the machine asked for: the node leaves the attempt, and tells
    /// the relay why.
    ///
    /// A masked vector that is already held is kept: it may still be asked for.
    pub fn abandon(&mut self, refusal: Refusal) -> Vec<Action> {
        let round = self.core.head.next_round();
        let attempt = match &self.phase {
            Phase::Participating(participant) => participant.unanswered(),
            Phase::Contributing(contributor) => Some(contributor.attempt()),
            Phase::Holding(pending) => Some(pending.attempt()),
            Phase::Idle | Phase::CatchingUp(_) => None,
        };
        // A holder may refuse in an attempt to which it does not contribute.
        let attempt = attempt
            .unwrap_or(self.core.joined)
            .max(self.holder.convened());
        self.step_back();
        let entry = Entry::Refused {
            by: Party::Node(self.core.id()),
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

    /// Leaves what was going on, but not a masked vector that is held: it may still be asked for.
    fn step_back(&mut self) {
        let pending = match self.take_phase() {
            Phase::Holding(pending) => Some(pending),
            Phase::CatchingUp(catch_up) => catch_up.into_pending(),
            _ => None,
        };
        self.phase = pending.map_or(Phase::Idle, Phase::Holding);
    }

    /// Returns the masked vector that is held, if there is one.
    fn held(&self) -> Option<&Pending> {
        match &self.phase {
            Phase::Holding(pending) => Some(pending),
            _ => None,
        }
    }

    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Idle)
    }
}
