//! A participant's side of an attempt: train, offer a key, give shares, take the others', sum.

use std::collections::BTreeMap;

use super::accusation::Proof;
use super::message::{Accusation, Sum};
use super::participants::Participants;
use super::pending::PendingSum;
use super::sealed_share::SealedShare;
use super::shares::CompleteShares;
use super::tag_share::TagShare;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::NodeId;
use crate::round::message::{Keys, Signed};
use crate::round::node::action::Action;
use crate::round::node::core::{Core, Heard};
use crate::round::refusal::{Kind, Refusal};
use crate::wire::NodeFrame;

/// What a participant waits for.
pub(in crate::round) enum ParticipantStage {
    /// Its update.
    Training { attempt: u32 },
    /// Its round key.
    Keying { attempt: u32 },
    /// The others' keys.
    Offered(Offered),
    /// Its seeds, sealed.
    Sealing(Participants),
    /// The others' shares.
    Receiving(Receiving),
    /// Its masked sum.
    Summing(Summing),
}

pub(in crate::round) struct Offered {
    keys: Signed<Keys>,
    attempt: u32,
}

pub(in crate::round) struct Receiving {
    participants: Participants,
    shares: BTreeMap<NodeId, SealedShare>,
}

pub(in crate::round) struct Summing {
    participants: Participants,
    /// Each proves what its sender has sealed, if it does not open.
    shares: BTreeMap<NodeId, SealedShare>,
}

impl ParticipantStage {
    /// Begins an attempt that the relay has opened.
    pub(in crate::round) fn open(attempt: u32) -> Self {
        Self::Training { attempt }
    }

    /// Returns the attempt, as long as the node has said nothing in it.
    pub(in crate::round) fn unanswered(&self) -> Option<u32> {
        match self {
            Self::Training { attempt } | Self::Keying { attempt } => Some(*attempt),
            _ => None,
        }
    }

    /// Returns whether it waits for its update.
    pub(in crate::round) fn is_training(&self) -> bool {
        matches!(self, Self::Training { .. })
    }

    /// Returns whether it waits for its masked sum in this context.
    pub(in crate::round) fn is_masking(&self, ctx: Digest) -> bool {
        matches!(self, Self::Summing(summing) if summing.participants.ctx() == ctx)
    }

    /// The update is ready.
    pub(in crate::round) fn trained(self, core: &Core) -> (Self, Vec<Action>) {
        match self {
            Self::Training { attempt } => {
                let round = core.head.next_round();
                let draw = Action::DrawRoundKey { round, attempt };
                (Self::Keying { attempt }, vec![draw])
            }
            other => (other, Vec::new()),
        }
    }

    /// The round key is drawn.
    pub(in crate::round) fn keyed(
        self,
        core: &mut Core,
        round_key: Vec<u8>,
        unix_s: u64,
    ) -> Result<(Self, Vec<Action>), WireError> {
        let Self::Keying { attempt } = self else {
            return Ok((self, Vec::new()));
        };
        let offer = core.offer(attempt, round_key, unix_s)?;
        core.joined = attempt;
        let keys = offer.keys.clone();
        let actions = vec![
            core.log_opened(attempt),
            Action::Send(NodeFrame::Keys(offer)),
        ];
        Ok((Self::Offered(Offered { keys, attempt }), actions))
    }

    /// The keys of all participants have arrived.
    pub(in crate::round) fn keys(
        self,
        core: &Core,
        bundle: Vec<Signed<Keys>>,
        round_keys: Vec<Vec<u8>>,
        unix_s: u64,
    ) -> Heard<Self> {
        let Self::Offered(offered) = self else {
            return Heard::Unexpected(self);
        };
        offered.join(core, bundle, round_keys, unix_s).into()
    }

    /// The seeds are sealed, one to each receiver.
    pub(in crate::round) fn sealed(
        self,
        core: &Core,
        ctx: Digest,
        sealed: Vec<(NodeId, Vec<u8>)>,
    ) -> Result<(Self, Vec<Action>), WireError> {
        let participants = match self {
            Self::Sealing(participants) if participants.ctx() == ctx => participants,
            other => return Ok((other, Vec::new())),
        };
        let from = core.id();
        let sign = |(to, sealed)| SealedShare::new(ctx, (from, to), sealed, &core.identity);
        let shares: Vec<_> = sealed.into_iter().map(sign).collect::<Result<_, _>>()?;
        let receiving = Receiving {
            participants,
            shares: BTreeMap::new(),
        };
        let actions = vec![
            Action::Log(Entry::shares(&shares)),
            Action::Send(NodeFrame::Shares(shares)),
        ];
        Ok((Self::Receiving(receiving), actions))
    }

    /// Shares for this node have arrived.
    pub(in crate::round) fn shares(
        self,
        core: &Core,
        shares: Vec<SealedShare>,
        unix_s: u64,
    ) -> Heard<Self> {
        let Self::Receiving(receiving) = self else {
            return Heard::Unexpected(self);
        };
        receiving.take(core, shares, unix_s).into()
    }

    /// The share of `from` does not open with this round key. Returns what proves it, if anything
    /// does.
    pub(in crate::round) fn accuse(
        &self,
        core: &Core,
        ctx: Digest,
        from: NodeId,
        round_key: [u8; 32],
    ) -> Result<Option<Proof>, WireError> {
        match self {
            Self::Summing(summing) if summing.participants.ctx() == ctx => {
                summing.accuse(core, from, round_key)
            }
            _ => Ok(None),
        }
    }

    /// The masked sum is computed. Returns what is held from now on and how it is logged, or the
    /// participant, if it does not wait for that sum.
    pub(in crate::round) fn summed(
        self,
        core: &Core,
        ctx: Digest,
        root: Digest,
        tag_share: TagShare,
    ) -> Result<Result<(Entry, PendingSum), Self>, WireError> {
        let participants = match self {
            Self::Summing(summing) if summing.participants.ctx() == ctx => summing.participants,
            other => return Ok(Err(other)),
        };
        let node = core.id();
        let sum = Sum {
            ctx,
            node,
            root,
            tag_commitment: tag_share.commitment(ctx, node),
        };
        let sum = Signed::new(&sum, &core.identity)?;
        let entry = Entry::Sum(sum.clone());
        let pending = PendingSum {
            participants,
            sum,
            tag_share,
        };
        Ok(Ok((entry, pending)))
    }
}

impl Summing {
    /// Accuses `from` of a share that does not open, by giving the round key away. Returns nothing
    /// if the share opens with it, or is not there: there is nothing to prove then.
    fn accuse(
        &self,
        core: &Core,
        from: NodeId,
        round_key: [u8; 32],
    ) -> Result<Option<Proof>, WireError> {
        let Some(SealedShare { share, sealed }) = self.shares.get(&from) else {
            return Ok(None);
        };
        let accusation = Accusation {
            ctx: self.participants.ctx(),
            accuser: core.id(),
            share: share.clone(),
            round_key,
        };
        let (participants, manifest) = (&self.participants, &core.manifest);
        let conviction = accusation.judge(sealed, participants, manifest, core.opener);
        if !conviction.is_ok_and(|conviction| conviction.liar == from) {
            return Ok(None);
        }
        Ok(Some(Proof {
            bundle: participants.bundle().to_vec(),
            accusation: Signed::new(&accusation, &core.identity)?,
            sealed: sealed.clone(),
        }))
    }
}

impl Offered {
    /// Joins these participants, if they are ones with which this node may send a sum.
    fn join(
        self,
        core: &Core,
        bundle: Vec<Signed<Keys>>,
        round_keys: Vec<Vec<u8>>,
        unix_s: u64,
    ) -> Result<(ParticipantStage, Vec<Action>), Refusal> {
        let participants =
            Participants::verify(bundle, &core.manifest, &core.head, unix_s, &core.convicted)?;
        if participants.attempt() != self.attempt || !participants.bundle().contains(&self.keys) {
            return Err(Refusal::OwnKeys);
        }
        core.sent
            .check(core.head.model, &participants.set(), &core.convicted)?;
        let receivers = participants.receivers_from(core.id());
        let receivers = participants.addressed(receivers, round_keys, core.opener)?;
        let actions = vec![
            Action::Log(Entry::Keys(participants.bundle().to_vec())),
            Action::Seal {
                ctx: participants.ctx(),
                receivers,
            },
        ];
        Ok((ParticipantStage::Sealing(participants), actions))
    }
}

impl Receiving {
    /// Takes shares, and sums when all are there.
    fn take(
        mut self,
        core: &Core,
        shares: Vec<SealedShare>,
        unix_s: u64,
    ) -> Result<(ParticipantStage, Vec<Action>), Refusal> {
        let (own, what) = (core.id(), Kind::Share);
        let log = Action::Log(Entry::shares(&shares));
        for sealed in shares {
            let share = sealed.verify(&core.manifest, unix_s)?;
            let signer = share.from;
            if share.ctx != self.participants.ctx() {
                return Err(Refusal::Stale { what, signer });
            }
            if share.to != own {
                return Err(Refusal::Stranger(share.to));
            }
            if !self.participants.contains(signer) {
                return Err(Refusal::Stranger(signer));
            }
            if !self.participants.gives(signer, own) {
                return Err(Refusal::Invalid { what, signer });
            }
            if self.shares.insert(signer, sealed).is_some() {
                return Err(Refusal::Duplicate { what, signer });
            }
        }
        let mut actions = vec![log];
        if self.shares.len() < self.participants.shares_due_to(own) {
            return Ok((ParticipantStage::Receiving(self), actions));
        }
        let Self {
            participants,
            shares,
        } = self;
        let boxes = shares.iter();
        let boxes = boxes.map(|(from, share)| (*from, share.sealed.clone()));
        let complete = CompleteShares::new(participants.ctx(), boxes.collect());
        actions.push(Action::Sum(complete));
        let summing = Summing {
            participants,
            shares,
        };
        Ok((ParticipantStage::Summing(summing), actions))
    }
}
