//! Waiting for the average of a complete attempt.

use super::action::Action;
use super::report::{Completed, Report};
use super::stage::Complete;
use super::state::RelayState;
use crate::metrics::Totals;
use crate::round::outcome::Outcome;
use crate::round::refusal::Refusal;
use crate::round::training::Averaged;

/// All bodies are there, and the average is being computed.
pub(super) struct AwaitingAverage(Complete);

impl AwaitingAverage {
    pub(super) fn begin(state: &mut RelayState, mut complete: Complete) -> Self {
        state.published.forget_last();
        let round = state.head.next_round();
        state.report(Report::Collected { round });
        state.act(Action::Average {
            head: state.head,
            ctx: complete.ctx,
            bodies: std::mem::take(&mut complete.bodies),
        });
        Self(complete)
    }

    /// The round is complete.
    pub(super) fn averaged(self, state: &mut RelayState, averaged: Averaged) {
        let Self(complete) = self;
        let (head, attempts) = (averaged.head, state.attempt);
        let outcome = Outcome {
            ctx: complete.ctx,
            bundle: complete.bundle,
            parts: complete.parts,
            root: averaged.root,
            model: head.model,
        };
        let totals = Totals::of(&averaged.totals, state.manifest.metrics());
        state.plateau.add(totals.tally.loss());
        state.complete(head, outcome, complete.nodes);
        state.report(Report::Completed(Box::new(Completed {
            round: head.round,
            attempts,
            nodes: averaged.nodes,
            totals,
            model: head.model,
        })));
        state.report_plateau();
    }

    /// The sum is impossible: the same participants have to begin again.
    pub(super) fn impossible(self, state: &mut RelayState, refusal: &Refusal) {
        let Self(Complete { nodes, .. }) = self;
        let all: Vec<_> = nodes.iter().copied().collect();
        for node in &all {
            state.fault(*node, refusal.clone());
        }
        state.obligations.require(nodes);
        state.give_up(all);
    }
}
