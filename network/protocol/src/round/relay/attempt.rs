//! What the consortium's scheme is to the relay: an attempt, and what binds the nodes.

use std::time::Duration;

use super::bonds::Bonds;
use super::selection::Selection;
use super::stage::{AttemptProgress, Complete, Stage};
use super::state::RelayState;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::committee::relay::CommitteeAttempt;
use crate::round::peer::relay::{PeerAttempt, SumBonds};
use crate::round::refusal::Refusal;
use crate::wire::{BodyId, Hello, NodeFrame};

/// Returns what binds the nodes in the scheme of this manifest.
pub(super) fn bonds(manifest: &Manifest) -> Box<dyn Bonds> {
    match manifest.committee() {
        None => Box::new(SumBonds),
        Some(committee) => Box::new(committee.clone()),
    }
}

/// An attempt under way.
pub(super) enum Attempt {
    Peer(Box<PeerAttempt>),
    Committee(Box<CommitteeAttempt>),
}

impl Attempt {
    /// Asks the nodes of this selection to take part, who have `wait` for training.
    pub(super) fn open(state: &mut RelayState, selection: Selection, wait: Duration) -> Self {
        match state.manifest.committee().cloned() {
            None => Self::Peer(Box::new(PeerAttempt::open(state, selection, wait))),
            Some(committee) => {
                let attempt = CommitteeAttempt::open(state, committee, selection, wait);
                Self::Committee(Box::new(attempt))
            }
        }
    }
}

/// Lets the stage of either scheme go on.
macro_rules! either {
    ($attempt:expr, $stage:ident => $progress:expr) => {
        match $attempt {
            Attempt::Peer($stage) => {
                let $stage = *$stage;
                $progress.map(
                    |stage| Attempt::Peer(Box::new(stage)),
                    AttemptProgress::Moves,
                )
            }
            Attempt::Committee($stage) => {
                let $stage = *$stage;
                $progress.map(
                    |stage| Attempt::Committee(Box::new(stage)),
                    AttemptProgress::Moves,
                )
            }
        }
    };
}

impl Stage for Attempt {
    fn hear(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        frame: NodeFrame,
    ) -> Result<(), Refusal> {
        match self {
            Self::Peer(attempt) => attempt.hear(state, node, frame),
            Self::Committee(attempt) => attempt.hear(state, node, frame),
        }
    }

    fn body_added(
        self,
        state: &mut RelayState,
        node: NodeId,
        body: BodyId,
    ) -> AttemptProgress<Self, Complete> {
        either!(self, stage => stage.body_added(state, node, body))
    }

    fn greeted(
        self,
        state: &mut RelayState,
        node: NodeId,
        hello: &Hello,
    ) -> AttemptProgress<Self, Complete> {
        either!(self, stage => stage.greeted(state, node, hello))
    }

    fn lost(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        either!(self, stage => stage.lost(state, node))
    }

    fn turned_away(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        either!(self, stage => stage.turned_away(state, node))
    }

    fn refused(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        either!(self, stage => stage.refused(state, node))
    }

    fn advance(self, state: &mut RelayState) -> AttemptProgress<Self, Complete> {
        either!(self, stage => stage.advance(state))
    }
}
