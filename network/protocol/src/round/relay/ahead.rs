//! States that are ahead of the relay, as nodes have acknowledged them.
//!
//! A relay whose state was lost, or that was given an older one, stands behind its nodes. They say
//! so: a node that connects repeats its last acknowledgement. When enough of them have acknowledged
//! the same state, that is a checkpoint like those that the relay hands out itself. What fewer
//! claim, however far ahead, holds nobody up.
//!
//! Only a relay that has completed no round since its start can stand behind. Later, a state that
//! is ahead of it would be another history.

use std::collections::BTreeMap;

use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::check_cohort;
use crate::round::head::Head;
use crate::round::message::{ResultAck, Signed};

/// Acknowledgements of one state.
pub(super) type Acknowledged = BTreeMap<NodeId, Signed<ResultAck>>;

/// What nodes have acknowledged that is ahead of the relay.
pub(in crate::round) struct Ahead {
    possible: bool,
    /// A node is under the last state that it has acknowledged.
    acks: BTreeMap<Head, Acknowledged>,
}

impl Ahead {
    pub(super) fn none_yet() -> Self {
        Self {
            possible: true,
            acks: BTreeMap::new(),
        }
    }

    /// Returns whether there can be such a state.
    pub(super) fn is_possible(&self) -> bool {
        self.possible
    }

    /// From now on no state can be ahead.
    pub(super) fn end(&mut self) {
        self.possible = false;
        self.acks.clear();
    }

    /// The relay has caught up.
    pub(super) fn clear(&mut self) {
        self.acks.clear();
    }

    /// Notes that a node has acknowledged this state. Returns whether that is new.
    pub(super) fn insert(&mut self, node: NodeId, stands: Head, signed: Signed<ResultAck>) -> bool {
        self.acks.retain(|head, acks| {
            if *head != stands {
                acks.remove(&node);
            }
            !acks.is_empty()
        });
        let acks = self.acks.entry(stands).or_default();
        acks.insert(node, signed).is_none()
    }

    /// Returns the furthest state that enough nodes have acknowledged.
    pub(super) fn certified(&self, manifest: &Manifest) -> Option<(Head, &Acknowledged)> {
        let mut states = self.acks.iter().rev();
        let certified = |acks: &Acknowledged| check_cohort(manifest, acks.keys()).is_ok();
        let (head, acks) = states.find(|(_, acks)| certified(acks))?;
        Some((*head, acks))
    }

    /// Returns who has acknowledged the state that most nodes have acknowledged, if there is one.
    pub(super) fn most_acknowledged(&self) -> Option<&Acknowledged> {
        self.acks.values().max_by_key(|acks| acks.len())
    }
}
