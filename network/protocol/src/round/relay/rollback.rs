//! A result that no node has taken yet can be taken back.
//!
//! A participant that signs a wrong share of the tags, as a memory fault can make it do, spoils a
//! result, and all nodes refuse it alike. As long as nobody has taken a result, the state before it
//! is still where all nodes stand, and the round can begin again with the same participants. Once
//! one has taken it, there is no way back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::check_cohort;
use crate::round::message::{ResultAck, Signed};

/// How long to wait before the same participants try again what was impossible.
pub(in crate::round) const PAUSE: Duration = Duration::from_secs(10);

/// What it takes to go back behind the last result.
#[derive(Default)]
pub(super) struct Provisional {
    /// The attempt that led to it.
    pub(super) attempt: u32,
    /// Acknowledgements of the state before.
    pub(super) acks: BTreeMap<NodeId, Signed<ResultAck>>,
    /// To whom it was sent.
    served: BTreeSet<NodeId>,
    /// Who of them refuses it.
    refused: BTreeSet<NodeId>,
    /// Earliest time to try the rollback again; a full disk may have space by then.
    not_before: Duration,
}

impl Provisional {
    pub(super) fn new(attempt: u32, acks: BTreeMap<NodeId, Signed<ResultAck>>) -> Self {
        Self {
            attempt,
            acks,
            ..Self::default()
        }
    }

    /// Returns the way back behind a result that an earlier process of the relay may have sent to
    /// its `participants`.
    pub(super) fn resumed(participants: BTreeSet<NodeId>) -> Self {
        Self {
            served: participants,
            ..Self::default()
        }
    }

    /// The result is sent to this node, once more if it has refused it before.
    pub(super) fn serve(&mut self, node: NodeId) {
        self.refused.remove(&node);
        self.served.insert(node);
    }

    /// A node refuses the result. That counts if it was sent it.
    pub(super) fn reject(&mut self, node: NodeId) {
        if self.served.contains(&node) {
            self.refused.insert(node);
        }
    }

    /// Returns whether all to whom the result was sent refuse it, and they are enough for a round:
    /// one node alone may be at fault itself.
    pub(super) fn is_spoiled(&self, manifest: &Manifest) -> bool {
        self.refused == self.served && check_cohort(manifest, self.refused.iter()).is_ok()
    }

    /// Returns whether the rollback is due at `now`, and puts the next try off.
    pub(super) fn try_at(&mut self, now: Duration) -> bool {
        let due = self.not_before <= now;
        if due {
            self.not_before = now + PAUSE;
        }
        due
    }

    /// Returns who refuses the result.
    pub(super) fn into_refused(self) -> Vec<NodeId> {
        self.refused.into_iter().collect()
    }
}
