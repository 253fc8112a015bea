//! Collecting the signed roots of the masked sums. A root says that its sum is in an outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use super::collect::CollectingSums;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::message::Signed;
use crate::round::peer::Participants;
use crate::round::peer::message::Sum;
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::stage::AttemptProgress;
use crate::round::relay::state::RelayState;

pub(in crate::round) struct Announcing {
    participants: Participants,
    sums: BTreeMap<NodeId, (Signed<Sum>, Sum)>,
    deadline: Duration,
}

impl Announcing {
    pub(super) fn begin(state: &RelayState, participants: Participants) -> Self {
        Self {
            participants,
            sums: BTreeMap::new(),
            deadline: state.after(state.manifest.transfer_timeout()),
        }
    }

    /// Returns whether the attempt cannot go on without this node.
    pub(super) fn counts_on(&self, node: NodeId) -> bool {
        self.participants.contains(node)
    }

    pub(super) fn announced(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        signed: Signed<Sum>,
    ) -> Result<(), Refusal> {
        if !self.participants.contains(node) {
            state.late(node, Kind::Sum);
            return Ok(());
        }
        let sum = self.check(state, node, &signed)?;
        state.log(Entry::Sum(signed.clone()));
        self.sums.insert(node, (signed, sum));
        Ok(())
    }

    fn check(
        &self,
        state: &RelayState,
        node: NodeId,
        signed: &Signed<Sum>,
    ) -> Result<Sum, Refusal> {
        let (what, signer) = (Kind::Sum, node);
        let sum = signed.verify(&state.manifest, state.unix_s())?;
        if sum.ctx != self.participants.ctx() {
            let signer = sum.node;
            return Err(Refusal::Stale { what, signer });
        }
        if sum.node != node {
            return Err(Refusal::Stranger(sum.node));
        }
        match self.sums.contains_key(&node) {
            true => Err(Refusal::Duplicate { what, signer }),
            false => Ok(sum),
        }
    }

    pub(super) fn advance(self, state: &mut RelayState) -> AttemptProgress<Self, CollectingSums> {
        let unannounced = |node: &NodeId| !self.sums.contains_key(node);
        let missing: Vec<_> = self.participants.ids().filter(unannounced).collect();
        if missing.is_empty() {
            return AttemptProgress::Moves(CollectingSums::begin(
                state,
                self.participants,
                self.sums,
            ));
        }
        if state.now < self.deadline {
            return AttemptProgress::Stays(self);
        }
        for node in &missing {
            state.obligations.exclude(*node);
        }
        AttemptProgress::Abandoned(missing)
    }
}
