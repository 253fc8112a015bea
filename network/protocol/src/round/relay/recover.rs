//! Taking over the model of the nodes, which is ahead of the relay's (see `ahead`): one of them
//! sends it.

use std::time::Duration;

use super::action::Action;
use super::state::RelayState;
use crate::identity::NodeId;
use crate::round::checkpoint::Checkpoint;
use crate::wire::BodyId;

/// How long after a node that did not send its model another one is asked.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A node was asked for its model.
pub(super) struct Recovering {
    checkpoint: Checkpoint,
    sender: NodeId,
    deadline: Duration,
}

impl Recovering {
    /// Asks one of the nodes that have it for a certified model that is ahead, if any is connected.
    pub(super) fn begin(state: &mut RelayState) -> Option<Self> {
        let (checkpoint, sender) = state.certified_ahead()?;
        state.act(Action::RequestModel {
            node: sender,
            model: checkpoint.head.model,
        });
        let deadline = state.after(state.delivery_wait());
        Some(Self {
            checkpoint,
            sender,
            deadline,
        })
    }

    /// A model has arrived. Returns the relay to its waiting if it is not the one.
    pub(super) fn received(
        self,
        state: &mut RelayState,
        node: NodeId,
        body: BodyId,
    ) -> Option<Self> {
        if (node, body) != (self.sender, BodyId::model(self.checkpoint.head.model)) {
            return Some(self);
        }
        state.recover(self.checkpoint);
        None
    }

    /// A node is gone. Returns nothing if it was the one that was asked.
    pub(super) fn without(self, state: &mut RelayState, node: NodeId) -> Option<Self> {
        self.unless(state, |recovering, _| node == recovering.sender)
    }

    /// Returns nothing if the model does not come in time.
    pub(super) fn advance(self, state: &mut RelayState) -> Option<Self> {
        self.unless(state, |recovering, state| state.now >= recovering.deadline)
    }

    fn unless(
        self,
        state: &mut RelayState,
        over: impl FnOnce(&Self, &RelayState) -> bool,
    ) -> Option<Self> {
        if over(&self, state) {
            state.act(Action::Discard);
            return None;
        }
        Some(self)
    }
}
