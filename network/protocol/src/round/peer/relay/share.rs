//! Collecting sealed shares. They are handed out only when all are in, so that nobody can be
//! summing while somebody has not shared yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::announce::Announcing;
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::peer::{Participants, SealedShare};
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::stage::AttemptProgress;
use crate::round::relay::state::RelayState;
use crate::wire::RelayFrame;

pub(in crate::round) struct ExchangingShares {
    participants: Participants,
    /// By addressee.
    boxes: BTreeMap<NodeId, Vec<SealedShare>>,
    shared: BTreeSet<NodeId>,
    deadline: Duration,
}

impl ExchangingShares {
    pub(super) fn begin(state: &RelayState, participants: Participants) -> Self {
        let wait = Duration::from_secs(state.manifest.timeouts().shares_s);
        Self {
            participants,
            boxes: BTreeMap::new(),
            shared: BTreeSet::new(),
            deadline: state.after(wait),
        }
    }

    /// Returns whether the attempt cannot go on without this node.
    pub(super) fn counts_on(&self, node: NodeId) -> bool {
        self.participants.contains(node)
    }

    pub(super) fn shared(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        list: Vec<SealedShare>,
    ) -> Result<(), Refusal> {
        if !self.participants.contains(node) {
            state.late(node, Kind::Share);
            return Ok(());
        }
        let entry = Entry::shares(&list);
        let addressed = self.check(state, node, list)?;
        state.log(entry);
        for (to, share) in addressed {
            self.boxes.entry(to).or_default().push(share);
        }
        self.shared.insert(node);
        Ok(())
    }

    /// Checks that there is one share for everyone to whom `node` gives one, each signed by it.
    fn check(
        &self,
        state: &RelayState,
        node: NodeId,
        list: Vec<SealedShare>,
    ) -> Result<BTreeMap<NodeId, SealedShare>, Refusal> {
        let (what, signer) = (Kind::Share, node);
        if self.shared.contains(&node) {
            return Err(Refusal::Duplicate { what, signer });
        }
        let mut addressed = BTreeMap::new();
        for sealed in list {
            let share = sealed.verify(&state.manifest, state.unix_s())?;
            if share.ctx != self.participants.ctx() {
                let signer = share.from;
                return Err(Refusal::Stale { what, signer });
            }
            if share.from != node || !self.participants.contains(share.to) {
                return Err(Refusal::Stranger(share.to));
            }
            if !self.participants.gives(node, share.to) {
                return Err(Refusal::Invalid { what, signer });
            }
            if addressed.insert(share.to, sealed).is_some() {
                return Err(Refusal::Duplicate { what, signer });
            }
        }
        match addressed.len() == self.participants.receivers_from(node).count() {
            true => Ok(addressed),
            false => Err(Refusal::Invalid { what, signer }),
        }
    }

    pub(super) fn advance(self, state: &mut RelayState) -> AttemptProgress<Self, Announcing> {
        let unshared = |node: &NodeId| !self.shared.contains(node);
        let missing: Vec<_> = self.participants.ids().filter(unshared).collect();
        if missing.is_empty() {
            for (node, shares) in self.boxes {
                state.send(node, RelayFrame::Shares(shares));
            }
            return AttemptProgress::Moves(Announcing::begin(state, self.participants));
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
