//! The relay's side of an attempt with a committee.
//!
//! ```text
//! Convening ─► Collecting ─► Voting ─► Revealing ─► (averaging)
//! ```
//!
//! Contributions are taken whole and kept apart until the holders have voted, since nobody knows
//! before whose are in the sum. From the first vote on, it is these contributors or nobody on this
//! model (the difference rule).

mod attendance;
mod bonds;
mod choice;
mod collect;
mod convene;
mod reveal;
mod vote;

use std::time::Duration;

use crate::identity::NodeId;
use crate::round::committee::Committee;
use crate::round::refusal::Refusal;
use crate::round::relay::selection::Selection;
use crate::round::relay::stage::{AttemptProgress, Complete, Stage};
use crate::round::relay::state::RelayState;
use crate::wire::{BodyId, Hello, NodeFrame};

use collect::CollectingContributions;
use convene::Convening;
use reveal::Revealing;
use vote::Voting;

/// An attempt with a committee.
pub(in crate::round) enum CommitteeAttempt {
    Convening(Convening),
    CollectingContributions(CollectingContributions),
    Voting(Voting),
    Revealing(Revealing),
}

impl CommitteeAttempt {
    /// Asks the holders for keys, and the nodes of this selection, who have `wait` for training, to
    /// contribute.
    pub(in crate::round) fn open(
        state: &mut RelayState,
        committee: Committee,
        selection: Selection,
        wait: Duration,
    ) -> Self {
        Self::Convening(Convening::open(state, committee, selection, wait))
    }
}

impl Stage for CommitteeAttempt {
    fn hear(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        frame: NodeFrame,
    ) -> Result<(), Refusal> {
        match (self, frame) {
            (Self::Convening(convening), NodeFrame::Keys(offer)) => {
                convening.offered(state, node, offer)
            }
            (
                Self::CollectingContributions(collecting),
                NodeFrame::Contribution(contribution, envelope),
            ) => collecting.contributed(state, node, contribution, envelope),
            (Self::CollectingContributions(collecting), NodeFrame::Receipt(receipt)) => {
                collecting.receipt(state, node, receipt)
            }
            (Self::Voting(voting), NodeFrame::Vote(vote)) => voting.voted(state, node, vote),
            (Self::Revealing(revealing), NodeFrame::Reveal(reveal)) => {
                revealing.revealed(state, node, reveal)
            }
            // Enough have looked, or voted, already.
            (Self::Voting(_) | Self::Revealing(_), NodeFrame::Receipt(_))
            | (Self::Revealing(_), NodeFrame::Vote(_)) => Ok(()),
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
        match &mut self {
            Self::CollectingContributions(collecting) => collecting.added(state, node, body),
            Self::Revealing(revealing) => revealing.added(node, body),
            Self::Convening(_) | Self::Voting(_) => {}
        }
        AttemptProgress::Stays(self)
    }

    fn greeted(
        mut self,
        state: &mut RelayState,
        node: NodeId,
        hello: &Hello,
    ) -> AttemptProgress<Self, Complete> {
        match &mut self {
            Self::Convening(convening) => convening.returned(state, node),
            Self::CollectingContributions(collecting) => {
                if !collecting.returned(state, node, hello) {
                    return AttemptProgress::Abandoned(vec![node]);
                }
            }
            Self::Voting(voting) => voting.returned(state, node, hello.holding),
            Self::Revealing(revealing) => revealing.returned(state, node, hello.holding),
        }
        AttemptProgress::Stays(self)
    }

    fn lost(mut self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        match &mut self {
            Self::Convening(convening) => convening.without(node),
            Self::CollectingContributions(collecting) => collecting.lost(node),
            Self::Voting(voting) => voting.lost(node),
            Self::Revealing(revealing) => revealing.lost(state, node),
        }
        AttemptProgress::Stays(self)
    }

    fn turned_away(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        self.refused(state, node)
    }

    fn refused(mut self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete> {
        match &mut self {
            Self::Convening(convening) => convening.without(node),
            Self::CollectingContributions(collecting) => collecting.refused(node),
            Self::Voting(voting) => voting.refused(node),
            Self::Revealing(revealing) => revealing.refused(state, node),
        }
        AttemptProgress::Stays(self)
    }

    fn advance(self, state: &mut RelayState) -> AttemptProgress<Self, Complete> {
        match self {
            Self::Convening(convening) => {
                let progress = convening.advance(state);
                progress.map(Self::Convening, |next| {
                    AttemptProgress::Stays(Self::CollectingContributions(next))
                })
            }
            Self::CollectingContributions(collecting) => {
                let progress = collecting.advance(state);
                progress.map(Self::CollectingContributions, |next| {
                    AttemptProgress::Stays(Self::Voting(next))
                })
            }
            Self::Voting(voting) => {
                let progress = voting.advance(state);
                progress.map(Self::Voting, |next| {
                    AttemptProgress::Stays(Self::Revealing(next))
                })
            }
            Self::Revealing(revealing) => {
                let progress = revealing.advance(state);
                progress.map(Self::Revealing, AttemptProgress::Moves)
            }
        }
    }
}
