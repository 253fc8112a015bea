//! The relay's side of an attempt of the peer scheme.
//!
//! ```text
//! Advertising ─► Sharing ─► Announcing ─► Collecting ─► (averaging)
//! ```
//!
//! Until bodies are asked for, a node that is lost costs an attempt. From then on the participants are fixed (the
//! difference rule).

mod advertise;
mod announce;
mod collect;
mod share;

use std::time::Duration;

use crate::identity::NodeId;
use crate::round::refusal::Refusal;
use crate::round::relay::cohort::Cohort;
use crate::round::relay::stage::{Complete, Progress, Stage};
use crate::round::relay::state::State;
use crate::wire::{BodyId, Hello, NodeFrame};

use advertise::Advertising;
use announce::Announcing;
use collect::Collecting;
use share::Sharing;

/// An attempt of the peer scheme.
pub(in crate::round) enum PeerAttempt {
    Advertising(Advertising),
    Sharing(Sharing),
    Announcing(Announcing),
    Collecting(Collecting),
}

impl PeerAttempt {
    /// Asks the nodes of this cohort to take part, who have `wait` for training and their keys.
    pub(in crate::round) fn open(state: &mut State, cohort: Cohort, wait: Duration) -> Self {
        Self::Advertising(Advertising::open(state, cohort, wait))
    }

    /// A node that has not uploaded is gone.
    fn without(self, state: &mut State, node: NodeId) -> Progress<Self, Complete> {
        match self {
            Self::Advertising(advertising) => {
                let progress = advertising.without(state, node);
                progress.map(Self::Advertising, |next| {
                    Progress::Stays(Self::Sharing(next))
                })
            }
            Self::Sharing(sharing) if sharing.counts_on(node) => Progress::Abandoned(vec![node]),
            Self::Announcing(announcing) if announcing.counts_on(node) => {
                Progress::Abandoned(vec![node])
            }
            attempt => Progress::Stays(attempt),
        }
    }
}

impl Stage for PeerAttempt {
    fn hear(&mut self, state: &mut State, node: NodeId, frame: NodeFrame) -> Result<(), Refusal> {
        match (self, frame) {
            (Self::Advertising(advertising), NodeFrame::Keys(keys)) => {
                advertising.offered(state, node, keys)
            }
            (Self::Sharing(sharing), NodeFrame::Shares(list)) => sharing.shared(state, node, list),
            (Self::Announcing(announcing), NodeFrame::Sum(sum)) => {
                announcing.announced(state, node, sum)
            }
            // A node that returns says again what its outbox holds.
            (Self::Collecting(_), NodeFrame::Sum(_)) => Ok(()),
            (_, frame) => {
                state.late(node, frame.kind());
                Ok(())
            }
        }
    }

    fn body_added(self, state: &mut State, node: NodeId, body: BodyId) -> Progress<Self, Complete> {
        match self {
            Self::Collecting(collecting) => {
                let progress = collecting.added(state, node, body);
                progress.map(Self::Collecting, Progress::Moves)
            }
            attempt => Progress::Stays(attempt),
        }
    }

    fn greeted(self, state: &mut State, node: NodeId, hello: &Hello) -> Progress<Self, Complete> {
        match self {
            Self::Advertising(mut advertising) => {
                advertising.returned(state, node);
                Progress::Stays(Self::Advertising(advertising))
            }
            Self::Collecting(collecting) => {
                let progress = collecting.returned(state, node, hello.pending);
                progress.map(Self::Collecting, Progress::Moves)
            }
            attempt => Progress::Stays(attempt),
        }
    }

    fn lost(self, state: &mut State, node: NodeId) -> Progress<Self, Complete> {
        self.without(state, node)
    }

    fn turned_away(self, state: &mut State, node: NodeId) -> Progress<Self, Complete> {
        self.without(state, node)
    }

    fn refused(self, state: &mut State, node: NodeId) -> Progress<Self, Complete> {
        match self {
            Self::Collecting(collecting) => {
                let progress = collecting.withdrawn(state, node);
                progress.map(Self::Collecting, Progress::Moves)
            }
            attempt => attempt.without(state, node),
        }
    }

    fn advance(self, state: &mut State) -> Progress<Self, Complete> {
        match self {
            Self::Advertising(advertising) => {
                let progress = advertising.advance(state);
                progress.map(Self::Advertising, |next| {
                    Progress::Stays(Self::Sharing(next))
                })
            }
            Self::Sharing(sharing) => {
                let progress = sharing.advance(state);
                progress.map(Self::Sharing, |next| {
                    Progress::Stays(Self::Announcing(next))
                })
            }
            Self::Announcing(announcing) => {
                let progress = announcing.advance(state);
                progress.map(Self::Announcing, |next| {
                    Progress::Stays(Self::Collecting(next))
                })
            }
            Self::Collecting(collecting) => {
                let progress = collecting.advance(state);
                progress.map(Self::Collecting, Progress::Moves)
            }
        }
    }
}
