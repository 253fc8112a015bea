//! The holder's side of an attempt.
//!
//! The round key lives with the driver, in memory only, from `convene` on. A holder that is
//! restarted is therefore lost for the attempt; one whose connection breaks goes on where it was.

use std::collections::BTreeMap;

use fl_shaders::Tag;

use crate::audit;
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::NodeId;
use crate::round::committee::ballot::{Endorsed, Stance};
use crate::round::committee::certificate::Certificate;
use crate::round::committee::classes::ClassSet;
use crate::round::committee::contributors::Contributors;
use crate::round::committee::envelope::SealedSeeds;
use crate::round::committee::holders::Holders;
use crate::round::committee::message::{ContributionId, Receipt, Reveal, Vote};
use crate::round::committee::reveal_order::RevealOrder;
use crate::round::difference::SentSum;
use crate::round::message::{Keys, Signed};
use crate::round::node::action::Action;
use crate::round::node::core::Core;
use crate::round::opening::Opening;
use crate::round::refusal::{Fault, Kind, Refusal};
use crate::wire::{BodyId, NodeFrame};

/// A node as a holder.
#[derive(Debug, Default)]
pub(in crate::round) struct Holder {
    /// Last attempt of the next round for which keys were signed.
    convened: u32,
    stage: HolderStage,
}

/// What a holder waits for.
#[derive(Debug, Default)]
enum HolderStage {
    /// Nothing.
    #[default]
    Idle,
    /// A round key.
    Convened { attempt: u32 },
    /// The holders' keys, having offered its own.
    Offered { keys: Signed<Keys>, attempt: u32 },
    /// Contributors, who seal to it, and then the relay's requests.
    Serving(Serving),
}

/// A holder with the round key of an attempt.
#[derive(Debug)]
struct Serving {
    holders: Holders,
    /// The first contribution of each contributor, and what was found in its box.
    slips: BTreeMap<NodeId, (Digest, Option<Result<(), Fault>>)>,
    stance: Stance,
    /// Classes whose masks are being summed up.
    revealing: Vec<ClassSet>,
    revealed: Vec<(Reveal, Signed<Reveal>)>,
}

impl Holder {
    /// Returns the context under which it can open boxes.
    pub(in crate::round) fn ctx(&self) -> Option<Digest> {
        match &self.stage {
            HolderStage::Serving(serving) => Some(serving.holders.ctx()),
            _ => None,
        }
    }

    /// Returns for whom the node has voted on the model where it stands. (What a participant is
    /// bound to, the relay learns when it matters: in a refusal.)
    pub(in crate::round) fn voted_for(&self, core: &Core) -> Vec<NodeId> {
        let committee = core.manifest.committee();
        committee.map_or_else(Vec::new, |_| core.sent.sent_with(core.head.model))
    }

    /// Returns the last attempt of the next round for which keys were signed; 0 if there is none.
    pub(in crate::round) fn convened(&self) -> u32 {
        self.convened
    }

    /// The connection is gone: keys that were offered on it are forgotten by the relay.
    pub(in crate::round) fn disconnected(&mut self) {
        self.convened = 0;
        if !matches!(self.stage, HolderStage::Serving(_)) {
            self.stage = HolderStage::Idle;
        }
    }

    /// The relay asks for a holder's keys.
    pub(in crate::round) fn convene(
        &mut self,
        core: &Core,
        opening: &Opening,
    ) -> Result<Vec<Action>, Refusal> {
        let committee = core.manifest.committee();
        if !committee.is_some_and(|committee| committee.contains(core.id())) {
            let what = Kind::Convene;
            return Err(Refusal::Unexpected { what });
        }
        opening.check(&core.head, self.convened)?;
        let Opening { round, attempt, .. } = *opening;
        self.stage = HolderStage::Convened { attempt };
        Ok(vec![Action::DrawHolderKey { round, attempt }])
    }

    /// The round key is drawn. Returns nothing if it came too late.
    pub(in crate::round) fn keyed(
        &mut self,
        core: &Core,
        round_key: Vec<u8>,
        unix_s: u64,
    ) -> Result<Vec<Action>, WireError> {
        let HolderStage::Convened { attempt } = self.stage else {
            return Ok(Vec::new());
        };
        // The key must last until the last body of a reveal: longer than in the peer scheme by one
        // transfer.
        let transfer_s = core.manifest.transfer_timeout().as_secs();
        let offer = core.offer(attempt, round_key, unix_s.saturating_add(transfer_s))?;
        self.convened = attempt;
        let keys = offer.keys.clone();
        self.stage = HolderStage::Offered { keys, attempt };
        let offer = Action::Send(NodeFrame::Keys(offer));
        Ok(vec![core.log_opened(attempt), offer])
    }

    /// The holders of its attempt are fixed. One that is not among them was too late.
    ///
    /// # Errors
    ///
    /// [`Refusal::OwnKeys`] if it is there with other keys than it offered.
    pub(in crate::round) fn fixed(
        &mut self,
        holders: &Holders,
        own: NodeId,
    ) -> Result<(), Refusal> {
        let HolderStage::Offered { keys, attempt } = &self.stage else {
            return Ok(());
        };
        if holders.attempt() != *attempt {
            return Ok(());
        }
        if holders.bundle().contains(keys) {
            self.stage = HolderStage::Serving(Serving::new(holders.clone()));
            return Ok(());
        }
        self.stage = HolderStage::Idle;
        match holders.contains(own) {
            true => Err(Refusal::OwnKeys),
            false => Ok(()),
        }
    }

    /// A contributor's seeds for this holder have arrived.
    pub(in crate::round) fn seeds_for(
        &mut self,
        core: &Core,
        seeds_for: SealedSeeds,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let (own, what) = (core.id(), Kind::Contribution);
        let HolderStage::Serving(serving) = &mut self.stage else {
            return Err(Refusal::Unexpected { what });
        };
        let seeds_for = seeds_for.verify(own, &serving.holders, &core.manifest, unix_s)?;
        let (ctx, entry) = (seeds_for.ctx(), seeds_for.entry());
        let found = match serving.slips.get(&entry.node) {
            None => {
                serving.slips.insert(entry.node, (entry.contribution, None));
                return Ok(vec![Action::Open(seeds_for)]);
            }
            Some((first, _)) if *first != entry.contribution => Err(Fault::Second),
            Some((_, None)) => return Ok(Vec::new()),
            Some((_, Some(found))) => *found,
        };
        receipt(core, ctx, entry, found).map_err(|_| Refusal::Invalid { what, signer: own })
    }

    /// A box was opened, and its seeds compared to what they are committed to as. Returns nothing
    /// if the attempt is over.
    pub(in crate::round) fn opened(
        &mut self,
        core: &Core,
        ctx: Digest,
        entry: ContributionId,
        found: Result<(), Fault>,
    ) -> Result<Vec<Action>, WireError> {
        let HolderStage::Serving(serving) = &mut self.stage else {
            return Ok(Vec::new());
        };
        match serving.slips.get_mut(&entry.node) {
            Some((first, slot)) if serving.holders.ctx() == ctx && *first == entry.contribution => {
                *slot = Some(found);
            }
            _ => return Ok(Vec::new()),
        }
        receipt(core, ctx, entry, found)
    }

    /// The relay asks for a vote. A holder votes once; asked for the same again, it says the same
    /// again.
    pub(in crate::round) fn ballot(
        &mut self,
        core: &mut Core,
        ctx: Digest,
        entries: Vec<ContributionId>,
    ) -> Result<Vec<Action>, Refusal> {
        let (own, what) = (core.id(), Kind::Ballot);
        self.serving(ctx, what, own)?;
        let contributors = Contributors::new(ctx, entries, what)?;
        let vote = Vote {
            ctx,
            holder: own,
            contributors: contributors.digest(),
        };
        let vote = Signed::new(&vote, &core.identity);
        let vote = vote.map_err(|_| Refusal::Invalid { what, signer: own })?;
        let mut actions = self.decide(core, ctx, contributors)?;
        actions.push(Action::Log(audit::Entry::Vote(vote.clone())));
        actions.push(Action::Send(NodeFrame::Vote(vote)));
        Ok(actions)
    }

    /// Spends the ballot on these contributors, unless it was spent on them before. Nothing may
    /// leave before what this returns is logged and on record.
    fn decide(
        &mut self,
        core: &mut Core,
        ctx: Digest,
        contributors: Contributors,
    ) -> Result<Vec<Action>, Refusal> {
        let (model, nodes) = (core.head.model, contributors.nodes());
        let decided = audit::Entry::Ballot {
            ctx,
            contributors: contributors.entries().to_vec(),
        };
        let HolderStage::Serving(serving) = &self.stage else {
            return Err(Refusal::Unexpected { what: Kind::Ballot });
        };
        match serving.stance.voted() {
            Some(voted) if *voted.contributors() == contributors => {}
            Some(_) => return Err(Refusal::Voted),
            None => {
                let accepted = serving.accepted();
                let (sent, manifest) = (&core.sent, &core.manifest);
                let endorsed = Endorsed::check(contributors, &accepted, sent, model, manifest)?;
                self.stage = match std::mem::take(&mut self.stage) {
                    HolderStage::Serving(serving) => HolderStage::Serving(serving.voted(endorsed)),
                    stage => stage,
                };
            }
        }
        let sum = SentSum::new(model, nodes);
        core.sent.add(&sum);
        Ok(vec![Action::Log(decided), Action::Record(sum)])
    }

    /// The relay shows a certificate, and asks for the masks of some classes.
    pub(in crate::round) fn certified(
        &mut self,
        core: &mut Core,
        ctx: Digest,
        entries: Vec<ContributionId>,
        votes: &[Signed<Vote>],
        classes: ClassSet,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let (own, what) = (core.id(), Kind::Reveal);
        let holders = self.serving(ctx, what, own)?.holders.clone();
        let contributors = Contributors::new(ctx, entries, what)?;
        let certificate =
            Certificate::verify(votes, &contributors, &holders, &core.manifest, unix_s)?;
        // If others have decided without this holder, it follows, but only where it would have
        // voted itself.
        let mut actions = self.decide(core, ctx, contributors)?;
        let serving = self.serving(ctx, what, own)?;
        let voted = serving.stance.voted().ok_or(Refusal::Voted)?;
        let order = RevealOrder::new(own, voted, &certificate, classes, &holders)?;
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

    /// The masks of `classes` are summed up. Returns nothing if the attempt is over.
    pub(in crate::round) fn revealed(
        &mut self,
        core: &Core,
        ctx: Digest,
        classes: ClassSet,
        root: Digest,
        tag: Tag,
    ) -> Result<Vec<Action>, WireError> {
        let HolderStage::Serving(serving) = &mut self.stage else {
            return Ok(Vec::new());
        };
        let Some(voted) = serving.stance.voted() else {
            return Ok(Vec::new());
        };
        if serving.holders.ctx() != ctx || !serving.revealing.contains(&classes) {
            return Ok(Vec::new());
        }
        let contributors = voted.contributors().digest();
        serving.revealing.retain(|revealing| *revealing != classes);
        let reveal = Reveal {
            ctx,
            holder: core.id(),
            contributors,
            classes,
            root,
            tag: tag.values(),
        };
        let signed = Signed::new(&reveal, &core.identity)?;
        serving.revealed.push((reveal, signed.clone()));
        Ok(vec![
            Action::Log(audit::Entry::Reveal(signed.clone())),
            Action::Send(NodeFrame::Reveal(signed)),
        ])
    }

    /// The masks of these classes could not be summed up. Returns whether they were waited for.
    pub(in crate::round) fn not_revealed(&mut self, ctx: Digest, classes: ClassSet) -> bool {
        let HolderStage::Serving(serving) = &mut self.stage else {
            return false;
        };
        if serving.holders.ctx() != ctx {
            return false;
        }
        let before = serving.revealing.len();
        serving.revealing.retain(|revealing| *revealing != classes);
        serving.revealing.len() < before
    }

    /// The relay asks for the bytes of a reveal.
    pub(in crate::round) fn collect(
        &self,
        root: Digest,
        first_chunk: u32,
    ) -> Result<Vec<Action>, Refusal> {
        let revealed = match &self.stage {
            HolderStage::Serving(serving) => &serving.revealed[..],
            _ => &[],
        };
        let (body, what) = (BodyId::reveal(root), Kind::Reveal);
        match revealed.iter().any(|(reveal, _)| reveal.root == root) {
            true => Ok(vec![Action::Upload { body, first_chunk }]),
            false => Err(Refusal::Unexpected { what }),
        }
    }

    /// Returns the holder that was begun under `ctx`, or the refusal of a message that finds none.
    fn serving(
        &mut self,
        ctx: Digest,
        what: Kind,
        signer: NodeId,
    ) -> Result<&mut Serving, Refusal> {
        match &mut self.stage {
            HolderStage::Serving(serving) if serving.holders.ctx() == ctx => Ok(serving),
            HolderStage::Serving(_) => Err(Refusal::Stale { what, signer }),
            _ => Err(Refusal::Unexpected { what }),
        }
    }
}

impl Serving {
    fn new(holders: Holders) -> Self {
        Self {
            holders,
            slips: BTreeMap::new(),
            stance: Stance::new(),
            revealing: Vec::new(),
            revealed: Vec::new(),
        }
    }

    /// Returns the same holder with its ballot spent.
    fn voted(self, endorsed: Endorsed) -> Self {
        let stance = match self.stance {
            Stance::Open(ballot) => Stance::Decided(ballot.vote(endorsed)),
            decided @ Stance::Decided(_) => decided,
        };
        Self { stance, ..self }
    }

    /// Returns the contributions that this holder can open.
    fn accepted(&self) -> BTreeMap<NodeId, Digest> {
        let accepted = self.slips.iter();
        let accepted = accepted.filter(|(_, (_, found))| *found == Some(Ok(())));
        accepted
            .map(|(node, (digest, _))| (*node, *digest))
            .collect()
    }
}

/// Signs what was found in the box of a contribution.
fn receipt(
    core: &Core,
    ctx: Digest,
    entry: ContributionId,
    found: Result<(), Fault>,
) -> Result<Vec<Action>, WireError> {
    let receipt = Receipt {
        ctx,
        holder: core.id(),
        entry,
        fault: found.err(),
    };
    let receipt = Signed::new(&receipt, &core.identity)?;
    Ok(vec![
        Action::Log(audit::Entry::Receipt(receipt.clone())),
        Action::Send(NodeFrame::Receipt(receipt)),
    ])
}
