//! A result that too few nodes have taken can be taken back.
//!
//! A participant that signs a wrong share of the tags, as a memory fault can make it do, spoils a
//! result, and all honest nodes refuse it alike. The state before it is still where they stand, and
//! the round can begin again with the same participants. That somebody acknowledges such a result
//! decides nothing: there is no way back only once a checkpoint can be made of the
//! acknowledgements.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::{check_cohort, organisations};
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
    /// Until when the others are waited for.
    heard_by: Duration,
    /// Earliest time to try the rollback again; a full disk may have space by then.
    not_before: Duration,
}

impl Provisional {
    /// Returns the way back behind a result of this `attempt`. `acks` are of the state before, and
    /// by `heard_by` every node will have had time to check the result.
    pub(super) fn new(
        attempt: u32,
        acks: BTreeMap<NodeId, Signed<ResultAck>>,
        heard_by: Duration,
    ) -> Self {
        Self {
            attempt,
            acks,
            heard_by,
            ..Self::default()
        }
    }

    /// Returns the way back behind a result that an earlier process of the relay may have sent to
    /// its `participants`.
    pub(super) fn resumed(participants: BTreeSet<NodeId>, heard_by: Duration) -> Self {
        Self {
            served: participants,
            heard_by,
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

    /// A node that has refused the result acknowledges it.
    pub(super) fn accept(&mut self, node: NodeId) {
        self.refused.remove(&node);
    }

    /// Returns whether the result has to be taken back at `now`, when `unserved` are the
    /// participants that have not acknowledged it, and too few have for a checkpoint.
    ///
    /// Refusals that would make a checkpoint suffice. So do fewer once nobody is left who could
    /// still acknowledge it, if they are the majority, of more organisations than can collude: one
    /// of them is honest then, and what one honest node refuses, all do.
    pub(super) fn is_spoiled(
        &self,
        manifest: &Manifest,
        acknowledged: &BTreeMap<NodeId, Signed<ResultAck>>,
        unserved: &BTreeSet<NodeId>,
        now: Duration,
    ) -> bool {
        let unheard = |node: &&NodeId| !self.refused.contains(node);
        let mut silent = unserved.iter().chain(&self.served).filter(unheard);
        let enough = check_cohort(manifest, self.refused.iter()).is_ok();
        match silent.all(|node| acknowledged.contains_key(node)) {
            true => {
                let majority = self.refused.len() > acknowledged.len().max(1);
                let behind = organisations(manifest, self.refused.iter());
                enough || majority && behind + 1 >= manifest.min_organisations()
            }
            false => enough && now >= self.heard_by,
        }
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
