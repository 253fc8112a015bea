//! The difference rule, as the relay has to reckon with it: who is bound to whom by what was sent
//! or voted for.
//!
//! A node that has sent a sum on a model joins another attempt on it only with the very same
//! participants ([`SentSums`](crate::round::SentSums)). Once the relay has asked for sums, only
//! these participants can try again. What it does not know itself any more, after a restart, the
//! nodes claim.
//!
//! With a committee, the holders are bound by their votes. A holder that has voted on a model votes
//! for nobody else on it. If the relay let some holders vote for these contributors and some for
//! those, neither might ever find a quorum. So it asks for votes for a new list only as long as Q
//! holders are free; those that are not are K − Q at the most then, and cannot stand in the way of
//! the new list. This keeps true, whatever is lost: there is always a list for which all but K − Q
//! of the holders can vote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::committee::Committee;

/// Who may take part in the next attempt, whoever is ready.
pub(in crate::round) struct Obligations {
    manifest: Arc<Manifest>,
    /// Nodes that refused to go on in this round, or were too slow.
    excluded: BTreeSet<NodeId>,
    /// Nodes that are proven to have lied. They take no part any more.
    convicted: BTreeSet<NodeId>,
    /// These nodes were asked for their sums, and only they can try again.
    required: Option<BTreeSet<NodeId>>,
    /// With whom these nodes have sent a sum before, as they say themselves, or may have voted for
    /// one.
    claims: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Obligations {
    pub(super) fn new(manifest: Arc<Manifest>) -> Self {
        Self {
            manifest,
            excluded: BTreeSet::new(),
            convicted: BTreeSet::new(),
            required: None,
            claims: BTreeMap::new(),
        }
    }

    /// A node takes no further part in this round.
    pub(in crate::round) fn exclude(&mut self, node: NodeId) {
        self.excluded.insert(node);
    }

    /// Returns whether a node takes no further part in this round.
    pub(super) fn is_excluded(&self, node: NodeId) -> bool {
        self.excluded.contains(&node) || self.convicted.contains(&node)
    }

    /// A node is proven to have lied. Those who are bound to it go on without it, since the honest
    /// participants are the same. Returns whether that is new.
    pub(super) fn convict(&mut self, node: NodeId) -> bool {
        self.claims.remove(&node);
        let sets = self.claims.values_mut().chain(&mut self.required);
        for set in sets {
            set.remove(&node);
        }
        self.convicted.insert(node)
    }

    /// Returns those that are proven to have lied.
    pub(in crate::round) fn convicted(&self) -> &BTreeSet<NodeId> {
        &self.convicted
    }

    /// All nodes that were excluded are asked again.
    pub(super) fn forgive(&mut self) {
        self.excluded.clear();
    }

    /// A node is back, and says for whom it has voted. One that has refused gets another chance.
    pub(super) fn greet(&mut self, node: NodeId, voted_for: &[NodeId]) {
        self.excluded.remove(&node);
        // Only a holder's hello tells; a participant says it when it refuses.
        if self.manifest.committee().is_some() {
            self.claims.remove(&node);
            self.claim(node, voted_for);
        }
    }

    /// A node says that it has sent a sum with these participants, and can only go on with them.
    pub(super) fn claim(&mut self, node: NodeId, sent_with: &[NodeId]) {
        let sent_with: BTreeSet<_> = sent_with.iter().copied().collect();
        let set = &sent_with - &self.convicted;
        let known = set.iter().all(|id| self.manifest.roster().contains_key(id));
        let missing = self.manifest.participation().missing(&set, &self.convicted);
        let whole = missing.is_empty();
        let holds = |committee: &Committee| committee.contains(node);
        let of_it = set.contains(&node) || self.manifest.committee().is_some_and(holds);
        if known && whole && of_it && set.len() >= self.manifest.min_nodes() {
            self.excluded.remove(&node);
            self.claims.insert(node, set);
        }
    }

    /// What a node claims is of a model that is history to it.
    pub(super) fn release(&mut self, node: NodeId) {
        self.claims.remove(&node);
    }

    /// Only these participants can try again on this model.
    pub(in crate::round) fn require(&mut self, participants: BTreeSet<NodeId>) {
        let participants = &participants - &self.convicted;
        self.excluded.retain(|id| !participants.contains(id));
        self.required = Some(participants);
    }

    /// A holder is asked to vote for these contributors: from now on it may have done so.
    pub(in crate::round) fn may_have_voted(
        &mut self,
        holder: NodeId,
        contributors: BTreeSet<NodeId>,
    ) {
        self.claims.insert(holder, contributors);
    }

    /// The round is over: what was said about its model is history, but for claims of nodes that
    /// `remain` on it.
    pub(super) fn begin_anew(&mut self, remain: impl Fn(NodeId) -> bool) {
        self.excluded.clear();
        self.required = None;
        self.claims.retain(|node, _| remain(*node));
    }

    /// Returns the only participants that can try again on this model, after sums were asked for.
    /// `ready` are the nodes that could take part; `enough` says whether some of them would be
    /// enough, whoever the others are.
    ///
    /// That nodes are bound by a sum of which the relay itself knows nothing any more is believed
    /// only if nothing goes on without them, for anyone can claim it.
    pub(super) fn bound(
        &self,
        ready: &BTreeSet<NodeId>,
        enough: impl Fn(&BTreeSet<NodeId>) -> bool,
    ) -> Option<&BTreeSet<NodeId>> {
        if self.required.is_some() {
            return self.required.as_ref();
        }
        let free = self.is_quorate(None, ready) && enough(&self.free(ready));
        if self.claims.is_empty() || free {
            return None;
        }
        let claimed =
            |set: &BTreeSet<NodeId>| self.claims.values().filter(|other| *other == set).count();
        let Some(committee) = self.manifest.committee() else {
            return self.claims.values().max_by_key(|set| claimed(set));
        };
        // Of the contributors that holders have voted for, those that enough holders can still
        // decide on, with the most votes.
        let free = |set: &BTreeSet<NodeId>| {
            let holders = committee.holders().iter();
            holders
                .filter(|node| self.may_vote(**node, Some(set)))
                .count()
        };
        let decidable = |set: &&BTreeSet<NodeId>| (free(set) >= committee.quorum(), claimed(set));
        self.claims.values().max_by_key(decidable)
    }

    /// Returns those of `ready` that can take part, whoever the others are. With a committee, its
    /// holders alone are bound.
    pub(super) fn free(&self, ready: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let binds = self.manifest.committee().is_none();
        let free = |node: &&NodeId| !binds || !self.claims.contains_key(node);
        ready.iter().filter(free).copied().collect()
    }

    /// Returns whether a holder, as far as is known, can vote for these contributors, or for any.
    pub(in crate::round) fn may_vote(
        &self,
        holder: NodeId,
        contributors: Option<&BTreeSet<NodeId>>,
    ) -> bool {
        let claim = self.claims.get(&holder);
        claim.is_none_or(|claim| Some(claim) == contributors)
    }

    /// Returns whether enough holders are `ready` to decide on these contributors, or on any.
    /// Without a committee nobody has to.
    pub(super) fn is_quorate(
        &self,
        contributors: Option<&BTreeSet<NodeId>>,
        ready: &BTreeSet<NodeId>,
    ) -> bool {
        self.manifest.committee().is_none_or(|committee| {
            let holders = committee.holders().iter();
            let able =
                holders.filter(|node| ready.contains(node) && self.may_vote(**node, contributors));
            able.count() >= committee.quorum()
        })
    }

    /// Returns the nodes without which these participants cannot begin, beside themselves: the
    /// holders, if too few of them are `ready`.
    pub(super) fn lacking(
        &self,
        contributors: &BTreeSet<NodeId>,
        ready: &BTreeSet<NodeId>,
    ) -> Vec<NodeId> {
        match self.manifest.committee() {
            Some(committee) if !self.is_quorate(Some(contributors), ready) => {
                committee.holders().to_vec()
            }
            _ => Vec::new(),
        }
    }
}
