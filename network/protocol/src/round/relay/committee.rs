//! What outlives the phases of an attempt with a committee: which of its holders can still decide what.
//!
//! A holder that has voted on a model votes for nobody else on it. If the relay let some holders vote for these
//! contributors and some for those, neither might ever find a quorum. So it asks for votes for a new list only as long as
//! Q holders are free; those that are not are K − Q at the most then, and cannot stand in the way of the new list. This
//! keeps true, whatever is lost: there is always a list for which all but K − Q of the holders can vote.

use std::collections::BTreeSet;

use super::session::Session;
use crate::identity::NodeId;
use crate::round::committee::Committee;

impl Session {
    /// Least number of holders for an attempt: none in the peer scheme.
    pub(in crate::round) fn quorum(&self) -> usize {
        self.manifest.committee().map_or(0, Committee::quorum)
    }

    fn holders(&self) -> impl Iterator<Item = NodeId> + '_ {
        let holders = self.manifest.committee().map(Committee::holders);
        holders.into_iter().flatten().copied()
    }

    /// All holders but these.
    pub(in crate::round) fn holders_without(&self, these: &BTreeSet<NodeId>) -> Vec<NodeId> {
        self.holders()
            .filter(|node| !these.contains(node))
            .collect()
    }

    /// Holders that can take part in an attempt with these contributors, or with any.
    pub(in crate::round) fn ready_holders<'a>(
        &'a self,
        contributors: Option<&'a BTreeSet<NodeId>>,
    ) -> impl Iterator<Item = NodeId> + 'a {
        let ready = move |node: &NodeId| self.is_ready(*node) && self.may_vote(*node, contributors);
        self.holders().filter(ready)
    }

    /// Whether a holder, as far as is known, can vote for these contributors, or for any.
    pub(in crate::round) fn may_vote(
        &self,
        holder: NodeId,
        contributors: Option<&BTreeSet<NodeId>>,
    ) -> bool {
        let claim = self.claims.get(&holder);
        claim.is_none_or(|claim| Some(claim) == contributors)
    }

    /// Whether enough holders are ready to decide on these contributors, or on any.
    pub(super) fn is_quorate(&self, contributors: Option<&BTreeSet<NodeId>>) -> bool {
        self.ready_holders(contributors).count() >= self.quorum()
    }

    /// Of the contributors that holders have voted for, those that enough holders can still decide on, with the most votes.
    pub(super) fn decidable(&self) -> Option<&BTreeSet<NodeId>> {
        let free = |set: &BTreeSet<NodeId>| {
            self.holders()
                .filter(|node| self.may_vote(*node, Some(set)))
                .count()
        };
        let votes =
            |set: &BTreeSet<NodeId>| self.claims.values().filter(|other| *other == set).count();
        let decidable = |set: &&BTreeSet<NodeId>| (free(set) >= self.quorum(), votes(set));
        self.claims.values().max_by_key(decidable)
    }

    /// A holder is asked to vote for these contributors: from now on it may have done so.
    pub(in crate::round) fn may_have_voted(
        &mut self,
        holder: NodeId,
        contributors: BTreeSet<NodeId>,
    ) {
        self.claims.insert(holder, contributors);
    }

    /// Whether a node that comes while an attempt is under way can still contribute to it.
    pub(in crate::round) fn may_join(
        &self,
        node: NodeId,
        invited: &BTreeSet<NodeId>,
        exact: bool,
    ) -> bool {
        invited.contains(&node) || (!exact && self.settings.fraction_fit >= 1.0)
    }
}
