//! A holder's one decision in an attempt.
//!
//! A [`Ballot`] is made with the [`Stance`] of a new attempt, once for each round key, and is spent
//! by value: when the holder votes, or follows the votes of others. What is left of it, [`Voted`],
//! is what a reveal demands.

use std::collections::{BTreeMap, BTreeSet};

use super::certificate::Certificate;
use super::contributors::Contributors;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::difference::SentSums;
use crate::round::refusal::Refusal;

/// A holder's unspent vote in one attempt.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Ballot(());

/// What a holder has decided in one attempt.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) enum Stance {
    /// Nothing yet.
    Open(Ballot),
    /// This, for good.
    Decided(Voted),
}

/// A ballot that was spent on these contributors.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Voted(Contributors);

/// Contributors that this holder may sum up: enough of them, each accepted, and with no other sum
/// on the model.
#[derive(Debug)]
pub(super) struct Endorsed(Contributors);

impl Ballot {
    /// Spends it on these contributors.
    pub(super) fn vote(self, endorsed: Endorsed) -> Voted {
        Voted(endorsed.0)
    }
}

impl Stance {
    /// Undecided.
    pub(super) fn new() -> Self {
        Self::Open(Ballot(()))
    }

    /// For whom it was decided, if it was.
    pub(super) fn voted(&self) -> Option<&Voted> {
        match self {
            Self::Open(_) => None,
            Self::Decided(voted) => Some(voted),
        }
    }
}

impl Voted {
    /// For whom.
    pub(super) fn contributors(&self) -> &Contributors {
        &self.0
    }

    /// Returns whether the certificate is for the same contributors.
    ///
    /// # Errors
    ///
    /// [`Refusal::Voted`] if not.
    pub(super) fn check(&self, certificate: &Certificate) -> Result<(), Refusal> {
        match certificate.contributors() == self.0.digest() {
            true => Ok(()),
            false => Err(Refusal::Voted),
        }
    }
}

impl Endorsed {
    /// Checks contributors as a holder must before it votes for them, on `model`: `accepted` are
    /// the contributions that it has accepted in this attempt, `sent` is whom it has ever voted
    /// for.
    ///
    /// # Errors
    ///
    /// What [`Contributors::check_participants`] refuses; [`Refusal::NotAccepted`],
    /// [`Refusal::Difference`].
    pub(super) fn check(
        contributors: Contributors,
        accepted: &BTreeMap<NodeId, Digest>,
        sent: &SentSums,
        model: Digest,
        manifest: &Manifest,
    ) -> Result<Self, Refusal> {
        contributors.check_participants(manifest)?;
        let unknown = |entry: &&super::message::ContributionId| {
            accepted.get(&entry.node) != Some(&entry.contribution)
        };
        if let Some(entry) = contributors.entries().iter().find(unknown) {
            return Err(Refusal::NotAccepted(entry.node));
        }
        sent.check(model, &contributors.nodes(), &BTreeSet::new())?;
        Ok(Self(contributors))
    }
}
