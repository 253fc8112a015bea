//! The holders' decision: Q votes for the same contributors.

use std::collections::BTreeSet;

use super::contributors::Contributors;
use super::holders::Holders;
use super::message::Vote;
use super::schedule::Committee;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::count;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// Votes that were counted for the same contributors of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    ctx: Digest,
    contributors: Digest,
    voters: BTreeSet<NodeId>,
}

/// Proof that the holders of an attempt have decided on these contributors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    contributors: Digest,
}

impl Tally {
    /// No votes yet for the contributors of this digest.
    pub(super) fn new(ctx: Digest, contributors: Digest) -> Self {
        let voters = BTreeSet::new();
        Self {
            ctx,
            contributors,
            voters,
        }
    }

    /// Counts a vote, whose signature holds, of one of `holders`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stale`] for another context, [`Refusal::Stranger`] for a voter that is not a
    /// holder of it, [`Refusal::OtherContributors`], [`Refusal::Duplicate`].
    pub(super) fn count(
        &mut self,
        vote: &Vote,
        is_holder: impl Fn(NodeId) -> bool,
    ) -> Result<(), Refusal> {
        let (what, signer) = (Kind::Vote, vote.holder);
        if vote.ctx != self.ctx {
            return Err(Refusal::Stale { what, signer });
        }
        if !is_holder(signer) {
            return Err(Refusal::Stranger(signer));
        }
        if vote.contributors != self.contributors {
            return Err(Refusal::OtherContributors { what, signer });
        }
        match self.voters.insert(signer) {
            true => Ok(()),
            false => Err(Refusal::Duplicate { what, signer }),
        }
    }

    /// Returns who has voted.
    pub(super) fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// The certificate that these votes are.
    ///
    /// # Errors
    ///
    /// [`Refusal::Votes`] if they are fewer than the committee's quorum.
    pub(super) fn certify(&self, committee: &Committee) -> Result<Certificate, Refusal> {
        self.certify_with(committee.quorum())
    }

    /// [`Tally::certify`] with a quorum of the caller's choice.
    pub(super) fn certify_with(&self, quorum: usize) -> Result<Certificate, Refusal> {
        if self.voters.len() < quorum {
            let (found, needed) = (count(self.voters.len()), count(quorum));
            return Err(Refusal::Votes { found, needed });
        }
        let contributors = self.contributors;
        Ok(Certificate { contributors })
    }
}

impl Certificate {
    /// Checks that enough of `holders` have voted for `contributors`.
    ///
    /// # Errors
    ///
    /// What [`Signed::verify`], [`Tally::count`] and [`Tally::certify`] refuse.
    pub(super) fn verify(
        votes: &[Signed<Vote>],
        contributors: &Contributors,
        holders: &Holders,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<Self, Refusal> {
        let mut tally = Tally::new(holders.ctx(), contributors.digest());
        for signed in votes {
            let vote = signed.verify(manifest, unix_s)?;
            tally.count(&vote, |node| holders.contains(node))?;
        }
        tally.certify(holders.committee())
    }

    /// Digest of the contributors that were decided on.
    pub(super) fn contributors(&self) -> Digest {
        self.contributors
    }
}
