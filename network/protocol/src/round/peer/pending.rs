//! What a participant holds until a result accounts for it.

use serde::{Deserialize, Serialize};

use super::message::Sum;
use super::participants::Participants;
use super::sums::{SumsCheck, sums_digest};
use super::tag_share::TagShare;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::difference::SentSum;
use crate::round::head::Head;
use crate::round::message::{Keys, Signed, WHENEVER};
use crate::round::node::action::Action;
use crate::round::node::core::Core;
use crate::round::refusal::Refusal;
use crate::wire::NodeFrame;

/// A masked sum that was computed and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub struct PendingSum {
    /// Who takes part.
    pub participants: Participants,
    /// The signed root of the sum.
    pub sum: Signed<Sum>,
    /// The share of the tags' sum that it commits to.
    pub tag_share: TagShare,
}

/// A [`PendingSum`] as it is kept on disk.
#[derive(Serialize, Deserialize)]
pub struct StoredSum {
    /// The keys of the participants.
    pub bundle: Vec<Signed<Keys>>,
    /// The signed root.
    pub sum: Signed<Sum>,
    /// The share that it commits to.
    pub tag_share: TagShare,
}

impl PendingSum {
    /// Returns what announces it to the relay.
    pub(in crate::round) fn frame(&self) -> NodeFrame {
        NodeFrame::Sum(self.sum.clone())
    }

    /// Returns it as it is kept on disk.
    pub(in crate::round) fn stored(&self) -> StoredSum {
        StoredSum {
            bundle: self.participants.bundle().to_vec(),
            sum: self.sum.clone(),
            tag_share: self.tag_share,
        }
    }

    /// Opens the share of the tags' sum to the relay, which shows the signed sums of all
    /// participants. Nothing may leave before these are logged and on record: from then on the node
    /// takes no result that rests on others.
    ///
    /// # Errors
    ///
    /// What [`SumsCheck::signed`] refuses; [`Refusal::OtherSums`] if others were shown before;
    /// [`Refusal::Difference`].
    pub(in crate::round) fn open(
        &self,
        core: &mut Core,
        sums: Vec<Signed<Sum>>,
        unix_s: u64,
    ) -> Result<Vec<Action>, Refusal> {
        let (node, ctx) = (core.id(), self.participants.ctx());
        let check = SumsCheck {
            announced: ctx,
            participants: &self.participants,
            own: Some(&self.sum),
            manifest: &core.manifest,
            unix_s,
        };
        check.signed(&sums)?;
        let (model, participants) = (core.head.model, self.participants.set());
        let digest = sums_digest(&sums);
        core.sent.check_sums(ctx, digest)?;
        // Checked again: the outbox may be older than a sum on the same model.
        core.sent.check(model, &participants, &core.convicted)?;
        let sum = SentSum::new(model, participants).signed(ctx, digest);
        core.sent.add(&sum);
        Ok(vec![
            Action::Log(Entry::Sums(sums)),
            Action::Record(sum),
            Action::Log(Entry::Body { ctx, node }),
            Action::Send(NodeFrame::TagShare {
                ctx,
                share: self.tag_share,
            }),
        ])
    }
}

impl StoredSum {
    /// Verifies it as a participant does that stands at `head`. Returns it with the root of its
    /// body.
    ///
    /// # Errors
    ///
    /// What the keys and signatures meet; [`Refusal::MissingSum`] or [`Refusal::Invalid`] if its
    /// parts do not belong together.
    pub fn verify(self, manifest: &Manifest, head: &Head) -> Result<(PendingSum, Digest), Refusal> {
        let Self {
            bundle,
            sum,
            tag_share,
        } = self;
        let participants = Participants::of_outbox(bundle, manifest, head)?;
        let message = sum.verify(manifest, WHENEVER)?;
        if message.ctx != participants.ctx() {
            return Err(Refusal::MissingSum(message.node));
        }
        tag_share.open(&message)?;
        let pending = PendingSum {
            participants,
            sum,
            tag_share,
        };
        Ok((pending, message.root))
    }
}
