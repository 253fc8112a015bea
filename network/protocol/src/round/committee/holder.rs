//! The holder's side of an attempt.
//!
//! The round key lives with the driver, in memory only, from `convene` on. A holder that is restarted is therefore lost
//! for the attempt; one whose connection breaks goes on where it was.

use std::collections::BTreeMap;

use fl_shaders::Tag;

use super::ballot::{Endorsed, Stance, Voted};
use super::certificate::Certificate;
use super::classes::{ClassSet, Seats};
use super::contributors::Contributors;
use super::envelope::Slip;
use super::holders::Holders;
use super::message::{Entry, Receipt, Reveal, Vote};
use crate::audit;
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::NodeId;
use crate::round::message::{Keys, Signed};
use crate::round::node::{Action, Node};
use crate::round::refusal::{Fault, Kind, Refusal};
use crate::wire::{BodyId, NodeFrame};

/// What a node is at as a holder.
#[derive(Debug)]
pub(in crate::round) enum Holder {
    /// Nothing.
    Idle,
    /// A round key is being drawn.
    Convened { attempt: u32 },
    /// It was offered.
    Offered { keys: Signed<Keys>, attempt: u32 },
    /// Contributors seal to it.
    Serving(Serving),
}

/// A holder with the round key of an attempt.
#[derive(Debug)]
pub(in crate::round) struct Serving {
    pub(super) holders: Holders,
    /// The first contribution of each contributor, and what was found in its box.
    slips: BTreeMap<NodeId, (Digest, Option<Result<(), Fault>>)>,
    stance: Stance,
    /// Classes whose masks are being summed up.
    revealing: Vec<ClassSet>,
    revealed: Vec<(Reveal, Signed<Reveal>)>,
}

/// The masks that a certificate asks for: what [`Action::Reveal`] demands.
#[derive(Clone, Debug)]
pub struct RevealOrder {
    ctx: Digest,
    contributors: Vec<NodeId>,
    classes: ClassSet,
    excluded: Vec<Seats>,
}

impl RevealOrder {
    /// What `own` is to reveal of these classes, now that it has voted and that the others have decided.
    ///
    /// # Errors
    /// [`Refusal::Voted`] if they have decided on others than it has voted for; [`Refusal::Classes`] for none, or for
    /// classes that it does not hold.
    fn new(
        own: NodeId,
        voted: &Voted,
        certificate: &Certificate,
        classes: ClassSet,
        holders: &Holders,
    ) -> Result<Self, Refusal> {
        voted.check(certificate)?;
        let committee = holders.committee();
        committee.check_held(classes, own)?;
        let excluded = classes
            .iter()
            .map(|class| committee.classes().excluded(class));
        Ok(Self {
            ctx: holders.ctx(),
            contributors: voted.contributors().nodes().into_iter().collect(),
            classes,
            excluded: excluded.collect(),
        })
    }

    /// Context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Whose masks are to be summed up.
    pub fn contributors(&self) -> &[NodeId] {
        &self.contributors
    }

    /// Of which classes.
    pub fn classes(&self) -> ClassSet {
        self.classes
    }

    /// T of each of these classes, in their order.
    pub fn excluded(&self) -> &[Seats] {
        &self.excluded
    }
}

impl Holder {
    /// The holder that was begun under `ctx`, or the refusal of a message that finds none.
    fn serving(
        &mut self,
        ctx: Digest,
        what: Kind,
        signer: NodeId,
    ) -> Result<&mut Serving, Refusal> {
        match self {
            Self::Serving(serving) if serving.holders.ctx() == ctx => Ok(serving),
            Self::Serving(_) => Err(Refusal::Stale { what, signer }),
            _ => Err(Refusal::Unexpected { what }),
        }
    }

    /// The context under which it can open boxes.
    pub(in crate::round) fn ctx(&self) -> Option<Digest> {
        match self {
            Self::Serving(serving) => Some(serving.holders.ctx()),
            _ => None,
        }
    }

    /// The connection is gone: keys that were offered on it are forgotten by the relay.
    pub(in crate::round) fn disconnected(&mut self) {
        if !matches!(self, Self::Serving(_)) {
            *self = Self::Idle;
        }
    }

    /// The holders of its attempt are fixed. One that is not among them was too late.
    ///
    /// # Errors
    /// [`Refusal::OwnKeys`] if it is there with other keys than it offered.
    pub(super) fn fixed(&mut self, holders: &Holders, own: NodeId) -> Result<(), Refusal> {
        let Self::Offered { keys, attempt } = self else {
            return Ok(());
        };
        if holders.attempt() != *attempt {
            return Ok(());
        }
        if holders.bundle().contains(keys) {
            *self = Self::Serving(Serving {
                holders: holders.clone(),
                slips: BTreeMap::new(),
                stance: Stance::new(),
                revealing: Vec::new(),
                revealed: Vec::new(),
            });
            return Ok(());
        }
        *self = Self::Idle;
        match holders.contains(own) {
            true => Err(Refusal::OwnKeys),
            false => Ok(()),
        }
    }
}

impl Serving {
    /// The same holder with its ballot spent.
    fn voted(self, endorsed: Endorsed) -> Self {
        let stance = match self.stance {
            Stance::Open(ballot) => Stance::Decided(ballot.vote(endorsed)),
            decided @ Stance::Decided(_) => decided,
        };
        Self { stance, ..self }
    }

    /// The contributions that this holder can open.
    fn accepted(&self) -> BTreeMap<NodeId, Digest> {
        let accepted = self.slips.iter();
        let accepted = accepted.filter(|(_, (_, found))| *found == Some(Ok(())));
        accepted
            .map(|(node, (digest, _))| (*node, *digest))
            .collect()
    }
}

impl Node {
    /// The relay asks for a holder's keys.
    pub(in crate::round) fn convene(
        &mut self,
        round: u64,
        attempt: u32,
        previous: Digest,
        model: Digest,
    ) -> Result<Vec<Action>, Refusal> {
        let is_holder = |committee: &super::Committee| committee.contains(self.identity.node_id());
        if !self.manifest.committee().is_some_and(is_holder) || self.is_catching_up() {
            let what = Kind::Convene;
            return Err(Refusal::Unexpected { what });
        }
        let (done, joined) = (self.chain.round, self.convened);
        if round != self.chain.next_round() || attempt <= joined {
            return Err(Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            });
        }
        self.chain.check_base(round, previous, model)?;
        self.holder = Holder::Convened { attempt };
        Ok(vec![Action::DrawRoundKey { round, attempt }])
    }

    /// A fresh round key is drawn for a holder. Returns nothing if it came too late.
    pub(in crate::round) fn convened(
        &mut self,
        round: u64,
        round_key: [u8; 32],
        unix_s: u64,
    ) -> Result<Vec<Action>, WireError> {
        let Holder::Convened { attempt } = self.holder else {
            return Ok(Vec::new());
        };
        if round != self.chain.next_round() {
            return Ok(Vec::new());
        }
        // The key must last until the last body of a reveal: longer than in the peer scheme by one transfer.
        let transfer_s = self.manifest.transfer_timeout().as_secs();
        let keys = self.offer(attempt, round_key, unix_s.saturating_add(transfer_s))?;
        self.convened = attempt;
        self.holder = Holder::Offered {
            keys: keys.clone(),
            attempt,
        };
        Ok(vec![
            self.log_opened(attempt),
            Action::Send(NodeFrame::Keys(keys)),
        ])
    }

    /// A contributor's seeds for this holder.
    pub(in crate::round) fn slip(
        &mut self,
        slip: Slip,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let own = self.identity.node_id();
        let what = Kind::Contribution;
        let Holder::Serving(serving) = &mut self.holder else {
            return Err(Refusal::Unexpected { what });
        };
        let slip = slip.verify(own, &serving.holders, &self.manifest, unix_s)?;
        let (ctx, entry) = (slip.ctx(), slip.entry());
        let first = serving.slips.get(&entry.node);
        let found = match first {
            None => {
                serving.slips.insert(entry.node, (entry.contribution, None));
                return Ok(vec![Action::Open(slip)]);
            }
            Some((first, _)) if *first != entry.contribution => Err(Fault::Second),
            Some((_, None)) => return Ok(Vec::new()),
            Some((_, Some(found))) => *found,
        };
        self.receipt(ctx, entry, found)
            .map_err(|_| Refusal::Invalid { what, signer: own })
    }

    /// The box of a slip was opened, and its seeds compared to what they are committed to as. Returns nothing if the
    /// attempt is over.
    ///
    /// # Errors
    /// [`WireError`] if the receipt cannot be encoded.
    pub fn opened(
        &mut self,
        ctx: Digest,
        entry: Entry,
        found: Result<(), Fault>,
    ) -> Result<Vec<Action>, WireError> {
        let Holder::Serving(serving) = &mut self.holder else {
            return Ok(Vec::new());
        };
        match serving.slips.get_mut(&entry.node) {
            Some((first, slot)) if serving.holders.ctx() == ctx && *first == entry.contribution => {
                *slot = Some(found);
            }
            _ => return Ok(Vec::new()),
        }
        self.receipt(ctx, entry, found)
    }

    fn receipt(
        &self,
        ctx: Digest,
        entry: Entry,
        found: Result<(), Fault>,
    ) -> Result<Vec<Action>, WireError> {
        let receipt = Receipt {
            ctx,
            holder: self.identity.node_id(),
            entry,
            fault: found.err(),
        };
        let receipt = Signed::new(&receipt, &self.identity)?;
        Ok(vec![
            Action::Log(audit::Entry::Receipt(receipt.clone())),
            Action::Send(NodeFrame::Receipt(receipt)),
        ])
    }

    /// The relay asks for a vote. A holder votes once; asked for the same again, it says the same again.
    pub(in crate::round) fn ballot(
        &mut self,
        ctx: Digest,
        entries: Vec<Entry>,
    ) -> Result<Vec<Action>, Refusal> {
        let (own, what) = (self.identity.node_id(), Kind::Ballot);
        self.holder.serving(ctx, what, own)?;
        let contributors = Contributors::new(ctx, entries, what)?;
        let vote = Vote {
            ctx,
            holder: own,
            contributors: contributors.digest(),
        };
        let vote = Signed::new(&vote, &self.identity);
        let vote = vote.map_err(|_| Refusal::Invalid { what, signer: own })?;
        let record = self.decide(contributors)?;
        Ok(vec![
            record,
            Action::Log(audit::Entry::Vote(vote.clone())),
            Action::Send(NodeFrame::Vote(vote)),
        ])
    }

    /// Spends the ballot on these contributors, unless it was spent on them before. Nothing may leave before the record
    /// that this gives is durable.
    fn decide(&mut self, contributors: Contributors) -> Result<Action, Refusal> {
        let (model, nodes) = (self.chain.model, contributors.nodes());
        let Holder::Serving(serving) = &self.holder else {
            return Err(Refusal::Unexpected { what: Kind::Ballot });
        };
        match serving.stance.voted() {
            Some(voted) if *voted.contributors() == contributors => {}
            Some(_) => return Err(Refusal::Voted),
            None => {
                let accepted = serving.accepted();
                let endorsed =
                    Endorsed::check(contributors, &accepted, &self.sent, model, &self.manifest)?;
                self.holder = match std::mem::replace(&mut self.holder, Holder::Idle) {
                    Holder::Serving(serving) => Holder::Serving(serving.voted(endorsed)),
                    holder => holder,
                };
            }
        }
        self.sent.record(model, nodes);
        Ok(Action::Record(self.sent.clone()))
    }

    /// The relay shows a certificate, and asks for the masks of some classes.
    pub(in crate::round) fn certified(
        &mut self,
        ctx: Digest,
        entries: Vec<Entry>,
        votes: &[Signed<Vote>],
        classes: ClassSet,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let (own, what) = (self.identity.node_id(), Kind::Reveal);
        let holders = self.holder.serving(ctx, what, own)?.holders.clone();
        let contributors = Contributors::new(ctx, entries, what)?;
        let certificate =
            Certificate::verify(votes, &contributors, &holders, &self.manifest, unix_s)?;
        // If others have decided without this holder, it follows, but only where it would have voted itself.
        let record = self.decide(contributors)?;
        let serving = self.holder.serving(ctx, what, own)?;
        let voted = serving.stance.voted().ok_or(Refusal::Voted)?;
        let order = RevealOrder::new(own, voted, &certificate, classes, &holders)?;
        let mut actions = vec![record];
        let done = serving
            .revealed
            .iter()
            .find(|(reveal, _)| reveal.classes == classes);
        if let Some((_, signed)) = done {
            actions.push(Action::Log(audit::Entry::Reveal(signed.clone())));
            actions.push(Action::Send(NodeFrame::Reveal(signed.clone())));
        } else if !serving.revealing.contains(&classes) {
            // Each is a vector in memory. A relay asks for others only when it has lost a holder.
            if serving.revealed.len() + serving.revealing.len() >= 2 * holders.len() {
                return Err(Refusal::Unexpected { what });
            }
            serving.revealing.push(classes);
            actions.push(Action::Reveal(order));
        }
        Ok(actions)
    }

    /// The masks of `classes` are summed up; `root` is the chunk root of their sum, `tag` that of their tags. Returns
    /// nothing if the attempt is over.
    ///
    /// # Errors
    /// [`WireError`] if the message cannot be encoded.
    pub fn revealed(
        &mut self,
        ctx: Digest,
        classes: ClassSet,
        root: Digest,
        tag: Tag,
    ) -> Result<Vec<Action>, WireError> {
        let holder = self.identity.node_id();
        let Holder::Serving(serving) = &mut self.holder else {
            return Ok(Vec::new());
        };
        let Some(voted) = serving.stance.voted() else {
            return Ok(Vec::new());
        };
        if serving.holders.ctx() != ctx || !serving.revealing.contains(&classes) {
            return Ok(Vec::new());
        }
        serving.revealing.retain(|revealing| *revealing != classes);
        let reveal = Reveal {
            ctx,
            holder,
            contributors: voted.contributors().digest(),
            classes,
            root,
            tag: tag.values(),
        };
        let signed = Signed::new(&reveal, &self.identity)?;
        serving.revealed.push((reveal, signed.clone()));
        Ok(vec![
            Action::Log(audit::Entry::Reveal(signed.clone())),
            Action::Send(NodeFrame::Reveal(signed)),
        ])
    }

    /// The masks of these classes could not be summed up. The relay may ask again. Gives whether they were waited for.
    pub fn not_revealed(&mut self, ctx: Digest, classes: ClassSet) -> bool {
        let holder = self.identity.node_id();
        let Ok(serving) = self.holder.serving(ctx, Kind::Reveal, holder) else {
            return false;
        };
        let before = serving.revealing.len();
        serving.revealing.retain(|revealing| *revealing != classes);
        serving.revealing.len() < before
    }

    /// The relay asks for the bytes of a reveal.
    pub(in crate::round) fn collect_reveal(
        &self,
        root: Digest,
        first_chunk: u32,
    ) -> Result<Vec<Action>, Refusal> {
        let what = Kind::Reveal;
        match &self.holder {
            Holder::Serving(serving)
                if serving
                    .revealed
                    .iter()
                    .any(|(reveal, _)| reveal.root == root) =>
            {
                let body = BodyId::reveal(root);
                Ok(vec![Action::Upload { body, first_chunk }])
            }
            _ => Err(Refusal::Unexpected { what }),
        }
    }
}
