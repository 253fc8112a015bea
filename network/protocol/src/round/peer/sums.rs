//! The signed sums of all participants of an attempt.

use std::collections::BTreeMap;

use fl_shaders::Tag;

use super::message::Sum;
use super::participants::Participants;
use super::tag_share::OpenedSum;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// What the sums of an attempt are checked against.
pub(crate) struct SumsCheck<'a> {
    /// The context that was announced with them.
    pub(crate) announced: Digest,
    pub(crate) participants: &'a Participants,
    /// What the checker has signed in this attempt.
    pub(crate) own: Option<&'a Signed<Sum>>,
    pub(crate) manifest: &'a Manifest,
    pub(crate) unix_s: u64,
}

impl SumsCheck<'_> {
    /// Checks that there is one sum of each participant, and of nobody else. Returns what they say,
    /// in their order.
    ///
    /// # Errors
    ///
    /// What [`Signed::verify`] refuses; [`Refusal::Stale`] for a sum of another context than the
    /// participants' and the one that was announced, [`Refusal::Stranger`], [`Refusal::Duplicate`],
    /// [`Refusal::MissingSum`]; [`Refusal::OwnSum`] for another sum in the checker's name.
    pub(crate) fn signed<'s>(
        &self,
        signed: impl IntoIterator<Item = &'s Signed<Sum>>,
    ) -> Result<Vec<Sum>, Refusal> {
        let (what, ctx) = (Kind::Sum, self.participants.ctx());
        let mut seen = BTreeMap::new();
        let mut sums = Vec::with_capacity(self.participants.len());
        for signed in signed {
            let sum = signed.verify(self.manifest, self.unix_s)?;
            let signer = sum.node;
            if sum.ctx != ctx || sum.ctx != self.announced {
                return Err(Refusal::Stale { what, signer });
            }
            if !self.participants.contains(signer) {
                return Err(Refusal::Stranger(signer));
            }
            if seen.insert(signer, signed).is_some() {
                return Err(Refusal::Duplicate { what, signer });
            }
            sums.push(sum);
        }
        if let Some(missing) = self.participants.ids().find(|id| !seen.contains_key(id)) {
            return Err(Refusal::MissingSum(missing));
        }
        match self
            .own
            .is_some_and(|own| !seen.values().any(|signed| *signed == own))
        {
            true => Err(Refusal::OwnSum),
            false => Ok(sums),
        }
    }

    /// Checks the same of the sums of an outcome, and that each tag share is the one that its sum
    /// commits to. Returns the shares' sum.
    ///
    /// # Errors
    ///
    /// What [`SumsCheck::signed`] refuses; [`Refusal::Invalid`] for a tag share.
    pub(crate) fn opened(&self, opened: &[OpenedSum]) -> Result<Tag, Refusal> {
        let sums = self.signed(opened.iter().map(|opened| &opened.sum))?;
        let tags = opened.iter().zip(&sums);
        let tags = tags.map(|(opened, sum)| opened.tag_share.open(sum));
        tags.sum()
    }
}

/// Returns what tells the sums of an attempt from any others: SHA-256 of `"smpcfl/2 sums"` and the
/// messages without their signatures, in ascending order of their bytes.
///
/// Behind the context, which is the same in all, a message begins with its signer's id, so that
/// this is the order of the ids.
pub fn sums_digest<'a>(sums: impl IntoIterator<Item = &'a Signed<Sum>>) -> Digest {
    let mut parts: Vec<_> = sums.into_iter().map(Signed::bytes).collect();
    parts.sort_unstable();
    parts.insert(0, b"smpcfl/2 sums");
    Digest::sha256(&parts)
}
