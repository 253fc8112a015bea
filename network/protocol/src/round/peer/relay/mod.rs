//! The relay's side of an attempt of the peer scheme.
//!
//! ```text
//! Advertising ─► Sharing ─► Announcing ─► Collecting ─► (averaging)
//! ```
//!
//! Until bodies are asked for, a node that is lost costs an attempt. From then on the participants
//! are fixed (the difference rule).

mod advertise;
mod announce;
mod bonds;
mod collect;
mod share;

use std::time::Duration;

use crate::identity::NodeId;
use crate::round::refusal::Refusal;
use crate::round::relay::selection::Selection;
use crate::round::relay::stage::{AttemptProgress, Complete, Stage};
use crate::round::relay::state::RelayState;
use crate::wire::{BodyId, Hello, NodeFrame};

pub(in crate::round) use bonds::SumBonds;

use advertise::Advertising;
use announce::Announcing;
use collect::CollectingSums;
use share::ExchangingShares;

/// An attempt of the peer scheme.
pub(in crate::round) enum PeerAttempt {
    Advertising(Advertising),
    ExchangingShares(ExchangingShares),
    Announcing(Announcing),
    CollectingSums(CollectingSums),
}

impl PeerAttempt {
    /// Asks the nodes of this selection to take part, who have `wait` for training and their keys.
    pub(in crate::round) fn open(
        state: &mut RelayState,
        selection: Selection,
        wait: Duration,
    ) -> Self {
        Self::Advertising(Advertising::open(state, selection, wait))
    }

    /// A node that has not uploaded is gone.
    fn without(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        match self {
            Self::Advertising(advertising) => {
                let progress = advertising.without(state, node);
                progress.map(Self::Advertising, |next| {
                    AttemptProgress::Stays(Self::ExchangingShares(next))
                })
            }
            Self::ExchangingShares(sharing) if sharing.counts_on(node) => {
                AttemptProgress::Abandoned(vec![node])
            }
            Self::Announcing(announcing) if announcing.counts_on(node) => {
                AttemptProgress::Abandoned(vec![node])
            }
            attempt => AttemptProgress::Stays(attempt),
        }
    }
}

impl Stage for PeerAttempt {
    fn hear(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        frame: NodeFrame,
    ) -> Result<(), Refusal> {
        match (self, frame) {
            (Self::Advertising(advertising), NodeFrame::Keys(offer)) => {
                advertising.offered(state, node, offer)
            }
            (Self::ExchangingShares(sharing), NodeFrame::Shares(list)) => {
                sharing.shared(state, node, list)
            }
            (Self::Announcing(announcing), NodeFrame::Sum(sum)) => {
                announcing.announced(state, node, sum)
            }
            // A node that returns says again what its outbox holds.
            (Self::CollectingSums(_), NodeFrame::Sum(_)) => Ok(()),
            (Self::CollectingSums(collecting), NodeFrame::TagShare { ctx, share }) => {
                collecting.opened(state, node, ctx, share)
            }
            (_, frame) => {
                state.late(node, frame.kind());
                Ok(())
            }
        }
    }

    fn body_added(
        mut self,
        state: &mut RelayState,
        node: NodeId,
        body: BodyId,
    ) -> AttemptProgress<Self, Complete> {
        if let Self::CollectingSums(collecting) = &mut self {
            collecting.added(state, node, body);
        }
        AttemptProgress::Stays(self)
    }

    fn greeted(
        self,
        state: &mut RelayState,
        node: NodeId,
        hello: &Hello,
    ) -> AttemptProgress<Self, Complete> {
        match self {
            Self::Advertising(mut advertising) => {
                advertising.returned(state, node);
                AttemptProgress::Stays(Self::Advertising(advertising))
            }
            Self::CollectingSums(collecting) => {
                let progress = collecting.returned(state, node, hello.pending);
                progress.map(Self::CollectingSums, AttemptProgress::Moves)
            }
            attempt => AttemptProgress::Stays(attempt),
        }
    }

    fn lost(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        self.without(state, node)
    }

    fn turned_away(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        self.without(state, node)
    }

    fn refused(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        match self {
            Self::CollectingSums(collecting) => {
                let progress = collecting.withdrawn(state, node);
                progress.map(Self::CollectingSums, AttemptProgress::Moves)
            }
            attempt => attempt.without(state, node),
        }
    }

    fn advance(self, state: &mut RelayState) -> AttemptProgress<Self, Complete> {
        match self {
            Self::Advertising(advertising) => {
                let progress = advertising.advance(state);
                progress.map(Self::Advertising, |next| {
                    AttemptProgress::Stays(Self::ExchangingShares(next))
                })
            }
            Self::ExchangingShares(sharing) => {
                let progress = sharing.advance(state);
                progress.map(Self::ExchangingShares, |next| {
                    AttemptProgress::Stays(Self::Announcing(next))
                })
            }
            Self::Announcing(announcing) => {
                let progress = announcing.advance(state);
                progress.map(Self::Announcing, |next| {
                    AttemptProgress::Stays(Self::CollectingSums(next))
                })
            }
            Self::CollectingSums(collecting) => {
                let progress = collecting.advance(state);
                progress.map(Self::CollectingSums, AttemptProgress::Moves)
            }
        }
    }
}
