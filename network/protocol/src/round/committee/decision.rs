//! What a result of the committee scheme rests on.

use std::collections::BTreeSet;

use fl_shaders::Tag;
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::classes::ClassSet;
use super::contributors::Contributors;
use super::holders::Holders;
use super::message::{Contribution, ContributionId, Reveal, Vote};
use super::prepared::Prepared;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::count;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// Who contributed, that the holders decided on them, and that their masks were taken off, each
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The contributions, in ascending order of node id.
    pub contributions: Vec<Signed<Contribution>>,
    /// Votes for just these.
    pub votes: Vec<Signed<Vote>>,
    /// Sums of masks, of every class once.
    pub reveals: Vec<Signed<Reveal>>,
}

impl Decision {
    /// Checks it, as what was announced under `announced`, and gives the contributors, and the
    /// sum of the tag's shares.
    ///
    /// `own` is the checker, with the contribution that it holds, if any. That it is not among the
    /// others' is no fault: it may have come too late.
    ///
    /// # Errors
    ///
    /// What [`Signed::verify`], [`Contributors::new`], [`Contributors::check_participants`] and
    /// `Certificate::verify` refuse; [`Refusal::Stale`] for a message of another context,
    /// [`Refusal::OwnContribution`]; [`Refusal::Stranger`], [`Refusal::OtherContributors`],
    /// [`Refusal::Classes`], [`Refusal::Duplicate`] and [`Refusal::NotRevealed`] for reveals.
    pub fn verify(
        &self,
        announced: Digest,
        holders: &Holders,
        own: Option<(NodeId, &Prepared)>,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<(BTreeSet<NodeId>, Tag), Refusal> {
        let ctx = holders.ctx();
        let mut entries = Vec::with_capacity(self.contributions.len());
        let mut tag = Tag::default();
        for signed in &self.contributions {
            let (contribution, residue) = signed.verify_tagged(manifest, unix_s)?;
            let (what, signer) = (Kind::Contribution, contribution.node);
            if contribution.ctx != ctx || ctx != announced {
                return Err(Refusal::Stale { what, signer });
            }
            let own = own.filter(|(node, own)| *node == signer && own.holders.ctx() == ctx);
            if own.is_some_and(|(_, own)| own.contribution.bytes() != signed.bytes()) {
                return Err(Refusal::OwnContribution);
            }
            entries.push(ContributionId::of(signer, signed));
            tag += residue;
        }
        let contributors = Contributors::new(ctx, entries, Kind::Contribution)?;
        contributors.check_participants(manifest)?;
        Certificate::verify(&self.votes, &contributors, holders, manifest, unix_s)?;
        tag += self.check_reveals(&contributors, holders, manifest, unix_s)?;
        Ok((contributors.nodes(), tag))
    }

    /// Checks that each class was revealed once. Returns the sum of the tags' masks.
    fn check_reveals(
        &self,
        contributors: &Contributors,
        holders: &Holders,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<Tag, Refusal> {
        let mut covered = ClassSet::default();
        let mut tag = Tag::default();
        for signed in &self.reveals {
            let (reveal, masks) = signed.verify_tagged(manifest, unix_s)?;
            check_reveal(&reveal, contributors, holders)?;
            if !reveal.classes.intersection(covered).is_empty() {
                let (what, signer) = (Kind::Reveal, reveal.holder);
                return Err(Refusal::Duplicate { what, signer });
            }
            covered = covered.union(reveal.classes);
            tag += masks;
        }
        let missing = holders.committee().classes().all().without(covered);
        match missing.is_empty() {
            true => Ok(tag),
            false => Err(Refusal::NotRevealed {
                missing: count(missing.len()),
            }),
        }
    }
}

/// Checks that a reveal is one of a holder of this attempt, for these contributors, of classes that
/// it holds.
///
/// # Errors
///
/// [`Refusal::Stale`], [`Refusal::Stranger`], [`Refusal::OtherContributors`], [`Refusal::Classes`].
pub(super) fn check_reveal(
    reveal: &Reveal,
    contributors: &Contributors,
    holders: &Holders,
) -> Result<(), Refusal> {
    let (what, signer) = (Kind::Reveal, reveal.holder);
    if reveal.ctx != holders.ctx() {
        return Err(Refusal::Stale { what, signer });
    }
    if !holders.contains(signer) {
        return Err(Refusal::Stranger(signer));
    }
    if reveal.contributors != contributors.digest() {
        return Err(Refusal::OtherContributors { what, signer });
    }
    holders.committee().check_held(reveal.classes, signer)
}
