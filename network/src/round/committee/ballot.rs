//! A holder's one decision in an attempt.
//!
//! A [`Ballot`] exists once for each context in which the holder's round key does, and is spent by value: on a vote,
//! or on a certificate of others. What is left of it, [`Voted`], is what a reveal demands.

use std::collections::BTreeMap;

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
pub struct Ballot(());

/// A ballot that was spent on these contributors.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub struct Voted(Contributors);

/// Contributors that this holder may sum up: enough of them, each accepted, and with no other sum on the model.
#[derive(Debug)]
pub struct Endorsed(Contributors);

impl Ballot {
    /// The ballot of a new attempt. There must be one for a context, as there is one round key.
    pub fn new() -> Self {
        Self(())
    }

    /// Spends it on a vote for these contributors.
    pub fn vote(self, endorsed: Endorsed) -> Voted {
        Voted(endorsed.0)
    }

    /// Spends it on what others have decided.
    ///
    /// # Errors
    /// [`Refusal::Voted`] if they have decided on others; the ballot comes back with it.
    pub fn follow(
        self,
        certificate: &Certificate,
        endorsed: Endorsed,
    ) -> Result<Voted, (Self, Refusal)> {
        match certificate.contributors() == endorsed.0.digest() {
            true => Ok(Voted(endorsed.0)),
            false => Err((self, Refusal::Voted)),
        }
    }
}

impl Voted {
    /// For whom.
    pub fn contributors(&self) -> &Contributors {
        &self.0
    }

    /// Whether the certificate is for the same contributors.
    ///
    /// # Errors
    /// [`Refusal::Voted`] if not.
    pub fn check(&self, certificate: &Certificate) -> Result<(), Refusal> {
        match certificate.contributors() == self.0.digest() {
            true => Ok(()),
            false => Err(Refusal::Voted),
        }
    }
}

impl Endorsed {
    /// Checks contributors as a holder must before it votes for them, on `model`: `accepted` are the contributions
    /// that it has accepted in this attempt, `sent` is whom it has ever voted for.
    ///
    /// # Errors
    /// What [`Contributors::check_minima`] refuses; [`Refusal::NotAccepted`], [`Refusal::Difference`].
    pub fn check(
        contributors: Contributors,
        accepted: &BTreeMap<NodeId, Digest>,
        sent: &SentSums,
        model: Digest,
        manifest: &Manifest,
    ) -> Result<Self, Refusal> {
        contributors.check_minima(manifest)?;
        let unknown =
            |entry: &&super::message::Entry| accepted.get(&entry.node) != Some(&entry.contribution);
        if let Some(entry) = contributors.entries().iter().find(unknown) {
            return Err(Refusal::NotAccepted(entry.node));
        }
        sent.check(model, &contributors.nodes())?;
        Ok(Self(contributors))
    }
}
