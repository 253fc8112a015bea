//! What a log tells of attempts, by scheme.

use std::collections::BTreeSet;

use super::committee::CommitteeLog;
use super::peer::PeerLog;
use super::unsound::Unsound;
use crate::audit::record::Party;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::{Keys, Signed};
use crate::round::{CheckedOutcome, Head, Outcome, Refusal};

/// What an entry is checked against.
pub(super) struct Standing<'a> {
    pub(super) manifest: &'a Manifest,
    /// Whose log it is.
    pub(super) party: Party,
    /// Where the party stands.
    pub(super) head: Head,
    /// Those that are proven to have lied.
    pub(super) convicted: &'a BTreeSet<NodeId>,
    /// When the entry was written.
    pub(super) unix_s: u64,
}

/// The entries that each scheme has, with contents of its own.
pub(super) trait SchemeLog {
    /// The keys of an attempt. Returns who takes part in it, if they say so.
    fn keys(
        &mut self,
        at: &Standing<'_>,
        bundle: Vec<Signed<Keys>>,
    ) -> Result<Option<BTreeSet<NodeId>>, Unsound>;

    /// The result of a round. Returns whose inputs are in it.
    fn outcome(&mut self, at: &Standing<'_>, outcome: Outcome)
    -> Result<BTreeSet<NodeId>, Unsound>;

    /// The round under way is complete.
    fn advance(&mut self);

    /// The party goes back behind the last result.
    fn go_back(&mut self);
}

/// The attempts of either scheme. A log that is sound has those of one.
pub(super) struct Schemes {
    pub(super) peer: PeerLog,
    pub(super) committee: CommitteeLog,
}

impl Standing<'_> {
    /// Checks an outcome as a party does that holds nothing itself.
    pub(super) fn check(&self, outcome: Outcome) -> Result<CheckedOutcome, Refusal> {
        let (manifest, head, unix_s) = (self.manifest, &self.head, self.unix_s);
        CheckedOutcome::verify(outcome, None, manifest, head, unix_s, self.convicted)
    }
}

impl Schemes {
    pub(super) fn none_yet() -> Self {
        Self {
            peer: PeerLog::none_yet(),
            committee: CommitteeLog::none_yet(),
        }
    }

    /// Returns the attempts of the scheme of this manifest.
    pub(super) fn of(&mut self, manifest: &Manifest) -> &mut dyn SchemeLog {
        match manifest.committee() {
            None => &mut self.peer,
            Some(_) => &mut self.committee,
        }
    }
}
