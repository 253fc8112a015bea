//! The difference rule, as the relay has to reckon with it: who is bound to whom by what was sent
//! or voted for.
//!
//! A node that has sent a sum on a model joins another attempt on it only with the very same
//! participants ([`SentSums`](crate::round::SentSums)). Once the relay has asked for sums, only
//! these participants can try again. What it does not know itself any more, after a restart, the
//! nodes claim.
//!
//! What binds a node, and whether some nodes decide who takes part, differs between the schemes:
//! those are their [`Bonds`]. Where there are such *deciders*, an attempt begins only if enough of
//! them are there that can decide on its participants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bonds::Bonds;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::wire::Hello;

/// Who may take part in the next attempt, whoever is ready.
pub(in crate::round) struct Obligations {
    manifest: Arc<Manifest>,
    bonds: Box<dyn Bonds>,
    /// Nodes that refused to go on in this round, or were too slow.
    excluded: BTreeSet<NodeId>,
    /// Nodes that are proven to have lied. They take no part any more.
    convicted: BTreeSet<NodeId>,
    /// These nodes were asked for their sums, and only they can try again.
    required: Option<BTreeSet<NodeId>>,
    /// To whom these nodes are bound, as they say themselves, or may be by what they were asked.
    claims: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Obligations {
    pub(super) fn new(manifest: Arc<Manifest>, bonds: Box<dyn Bonds>) -> Self {
        Self {
            manifest,
            bonds,
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

    /// A node is back. One that has refused gets another chance.
    pub(super) fn greet(&mut self, node: NodeId, hello: &Hello) {
        self.excluded.remove(&node);
        if let Some(bound_to) = self.bonds.told(hello) {
            self.claims.remove(&node);
            self.claim(node, bound_to);
        }
    }

    /// A node says that it is bound to these participants, and can only go on with them.
    pub(super) fn claim(&mut self, node: NodeId, bound_to: &[NodeId]) {
        let bound_to: BTreeSet<_> = bound_to.iter().copied().collect();
        let set = &bound_to - &self.convicted;
        let known = set.iter().all(|id| self.manifest.roster().contains_key(id));
        let missing = self.manifest.participation().missing(&set, &self.convicted);
        let whole = missing.is_empty();
        let of_it = set.contains(&node) || self.bonds.deciders().contains(&node);
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

    /// A node is asked to decide on these participants: from now on it may have done so.
    pub(in crate::round) fn may_have_decided(
        &mut self,
        decider: NodeId,
        participants: BTreeSet<NodeId>,
    ) {
        self.claims.insert(decider, participants);
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
        // Those that enough can still decide on, claimed by the most.
        let decidable = |set: &BTreeSet<NodeId>| self.can_be_decided(Some(set), |_| true);
        let sets = self.claims.values();
        sets.max_by_key(|set| (decidable(set), claimed(set)))
    }

    /// Returns those of `ready` that can take part, whoever the others are.
    pub(super) fn free(&self, ready: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let binds = self.bonds.binds_participants();
        let free = |node: &&NodeId| !binds || !self.claims.contains_key(node);
        ready.iter().filter(free).copied().collect()
    }

    /// Returns whether a decider, as far as is known, can decide on these participants, or on any.
    pub(in crate::round) fn may_decide(
        &self,
        decider: NodeId,
        participants: Option<&BTreeSet<NodeId>>,
    ) -> bool {
        let claim = self.claims.get(&decider);
        claim.is_none_or(|claim| Some(claim) == participants)
    }

    /// Returns whether enough deciders are `ready` to decide on these participants, or on any.
    pub(super) fn is_quorate(
        &self,
        participants: Option<&BTreeSet<NodeId>>,
        ready: &BTreeSet<NodeId>,
    ) -> bool {
        self.can_be_decided(participants, |node| ready.contains(node))
    }

    /// Returns whether enough of the deciders that are `there` can decide on these participants, or
    /// on any.
    fn can_be_decided(
        &self,
        participants: Option<&BTreeSet<NodeId>>,
        there: impl Fn(&NodeId) -> bool,
    ) -> bool {
        let deciders = self.bonds.deciders().iter();
        let able = deciders.filter(|node| there(node) && self.may_decide(**node, participants));
        able.count() >= self.bonds.quorum()
    }

    /// Returns the nodes without which these participants cannot begin, beside themselves: the
    /// deciders, if too few of them are `ready`.
    pub(super) fn lacking(
        &self,
        participants: &BTreeSet<NodeId>,
        ready: &BTreeSet<NodeId>,
    ) -> &[NodeId] {
        match self.is_quorate(Some(participants), ready) {
            true => &[],
            false => self.bonds.deciders(),
        }
    }
}
