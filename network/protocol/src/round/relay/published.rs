//! What the relay has published: the last result, who has taken it, and who has acknowledged where
//! the relay stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rollback::Provisional;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::checkpoint::Checkpoint;
use crate::round::cohort_minimum::check_cohort;
use crate::round::head::Head;
use crate::round::message::{ResultAck, Signed};
use crate::round::outcome::Outcome;

/// The last result, for nodes that have not taken it yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastResult {
    /// Where a node must stand to take it.
    pub base: Head,
    /// What it is sent.
    pub outcome: Outcome,
}

/// What a node is sent that stands behind the relay.
pub(super) enum Delivery {
    Result(Outcome),
    Checkpoint(Checkpoint),
}

/// What the relay has published.
#[derive(Default)]
pub(in crate::round) struct Published {
    last: Option<LastResult>,
    /// The way back behind the last result, as long as too few nodes are known to have taken it.
    provisional: Option<Provisional>,
    /// Participants of the last result that have not acknowledged it.
    unserved: BTreeSet<NodeId>,
    /// Acknowledgements of the state where the relay stands.
    acks: BTreeMap<NodeId, Signed<ResultAck>>,
}

impl Published {
    /// Returns the last result, if it is still at hand.
    pub(super) fn last(&self) -> Option<&LastResult> {
        self.last.as_ref()
    }

    /// Returns the participants of the last result that have not acknowledged it.
    pub(super) fn unserved(&self) -> &BTreeSet<NodeId> {
        &self.unserved
    }

    /// Publishes a result that came of this `attempt`, with these `participants`. All who are sent
    /// it have time to check it until `heard_by`.
    pub(super) fn publish(
        &mut self,
        last: LastResult,
        attempt: u32,
        participants: BTreeSet<NodeId>,
        heard_by: Duration,
    ) {
        let acks = std::mem::take(&mut self.acks);
        self.provisional = Some(Provisional::new(attempt, acks, heard_by));
        self.unserved = participants;
        self.last = Some(last);
    }

    /// Takes the last result up again. `taken` is whether enough nodes have taken it; where they
    /// have not, all have time to say so until `heard_by`.
    pub(super) fn resume(
        &mut self,
        last: LastResult,
        taken: bool,
        manifest: &Manifest,
        heard_by: Duration,
    ) {
        self.unserved = last.outcome.parts.nodes(manifest);
        self.last = Some(last);
        self.provisional = (!taken).then(|| Provisional::resumed(self.unserved.clone(), heard_by));
    }

    /// Takes acknowledgements of the relay's state up again. Returns whether they are enough for a
    /// checkpoint.
    pub(super) fn resume_acks(
        &mut self,
        acks: BTreeMap<NodeId, Signed<ResultAck>>,
        manifest: &Manifest,
    ) -> bool {
        self.unserved.retain(|node| !acks.contains_key(node));
        self.acks = acks;
        self.is_certified(manifest)
    }

    /// Takes acknowledgements of the state at `head` up again, if that is the one before a
    /// provisional result.
    pub(super) fn resume_former_acks(
        &mut self,
        head: Head,
        acks: BTreeMap<NodeId, Signed<ResultAck>>,
    ) {
        let base = self.last.as_ref().map(|last| last.base);
        if let Some(provisional) = self.provisional.as_mut().filter(|_| base == Some(head)) {
            provisional.acks = acks;
        }
    }

    /// The relay stands elsewhere, where nodes do that have acknowledged this; `behind` have to be
    /// brought up.
    pub(super) fn replace(
        &mut self,
        acks: BTreeMap<NodeId, Signed<ResultAck>>,
        behind: BTreeSet<NodeId>,
    ) {
        *self = Self {
            last: None,
            provisional: None,
            unserved: behind,
            acks,
        };
    }

    /// The bytes of the last result make room for the next.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    /// There is no way back behind the last result any more. Returns whether there was one.
    pub(super) fn settle(&mut self) -> bool {
        self.provisional.take().is_some()
    }

    /// Returns what a node at `stands` is sent by a relay at `head`. As long as it is not at hand,
    /// for want of acknowledgements, the node waits.
    pub(super) fn serve(
        &mut self,
        node: NodeId,
        stands: Head,
        head: Head,
        manifest: &Manifest,
    ) -> Option<Delivery> {
        if let Some(last) = self.last.as_ref().filter(|last| last.base == stands) {
            if let Some(provisional) = &mut self.provisional {
                provisional.serve(node);
            }
            return Some(Delivery::Result(last.outcome.clone()));
        }
        let certified = self.is_certified(manifest);
        certified.then(|| Delivery::Checkpoint(self.checkpoint(head)))
    }

    /// Notes that a node has acknowledged the relay's state. Returns whether enough have done so
    /// now, and had not before.
    pub(super) fn acknowledge(
        &mut self,
        node: NodeId,
        signed: Signed<ResultAck>,
        manifest: &Manifest,
    ) -> bool {
        let certified = self.is_certified(manifest);
        self.acks.insert(node, signed);
        self.unserved.remove(&node);
        if let Some(provisional) = &mut self.provisional {
            provisional.accept(node);
        }
        !certified && self.is_certified(manifest)
    }

    /// Returns who has acknowledged the relay's state.
    pub(super) fn acknowledged(&self) -> Vec<NodeId> {
        self.acks.keys().copied().collect()
    }

    /// Returns the relay's state at `head` with its acknowledgements.
    pub(super) fn checkpoint(&self, head: Head) -> Checkpoint {
        Checkpoint {
            head,
            acks: self.acks.values().cloned().collect(),
        }
    }

    /// Returns whether enough nodes have acknowledged the relay's state for a checkpoint.
    fn is_certified(&self, manifest: &Manifest) -> bool {
        check_cohort(manifest, self.acks.keys()).is_ok()
    }

    /// A node refuses the last result, since its tags do not fit. That counts unless it has
    /// acknowledged it.
    pub(super) fn reject(&mut self, node: NodeId) {
        let acknowledged = self.acks.contains_key(&node);
        if let Some(provisional) = self.provisional.as_mut().filter(|_| !acknowledged) {
            provisional.reject(node);
        }
    }

    /// Returns whether the last result has to be taken back at `now`, before anything else is done.
    pub(super) fn is_spoiled(&self, manifest: &Manifest, now: Duration) -> bool {
        self.provisional.as_ref().is_some_and(|provisional| {
            provisional.is_spoiled(manifest, &self.acks, &self.unserved, now)
        })
    }

    /// Returns whether the rollback is due at `now`, and puts the next try off.
    pub(super) fn try_rollback(&mut self, now: Duration) -> bool {
        let provisional = self.provisional.as_mut();
        provisional.is_some_and(|provisional| provisional.try_at(now))
    }

    /// Forgets the last result. Returns it with the way back, if there is one.
    pub(super) fn roll_back(&mut self) -> Option<(LastResult, Provisional)> {
        let mut provisional = self.provisional.take()?;
        self.unserved.clear();
        let last = self.last.take()?;
        self.acks = std::mem::take(&mut provisional.acks);
        Some((last, provisional))
    }
}
