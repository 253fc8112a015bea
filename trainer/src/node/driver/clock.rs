//! Where the time of the round under way goes.

use std::time::{Duration, Instant};

use crate::node::{RoundTimes, Step};

#[derive(Default)]
pub(super) struct RoundClock {
    opened: Option<Instant>,
    training: Duration,
    sharing: Duration,
    /// When the update was there, if that was in this round.
    updated: Option<Instant>,
    steps: Vec<(Step, Duration)>,
}

impl RoundClock {
    /// Records that the round is open, in whichever attempt.
    pub(super) fn opened(&mut self) {
        self.opened.get_or_insert_with(Instant::now);
    }

    /// Records that training took so long and that the update is there, from which steps are
    /// counted.
    pub(super) fn trained(&mut self, took: Duration) {
        self.training += took;
        self.updated = Some(Instant::now());
    }

    /// Adds to the time of sealing, opening, masking and averaging.
    pub(super) fn shared(&mut self, took: Duration) {
        self.sharing += took;
    }

    /// Records a step as completed now.
    pub(super) fn step(&mut self, step: Step) {
        self.step_before(step, Duration::ZERO);
    }

    /// Records a step as completed `ago` ago.
    pub(super) fn step_before(&mut self, step: Step, ago: Duration) {
        if let Some(updated) = self.updated {
            self.steps
                .push((step, updated.elapsed().saturating_sub(ago)));
        }
    }

    /// Ends the round, and begins with the next. Returns where its time went, and its steps.
    pub(super) fn close(&mut self) -> (RoundTimes, Vec<(Step, Duration)>) {
        let Self {
            opened,
            training,
            sharing,
            steps,
            ..
        } = std::mem::take(self);
        let total = opened.map(|opened| opened.elapsed()).unwrap_or_default();
        let network = total.saturating_sub(training).saturating_sub(sharing);
        let times = RoundTimes {
            training,
            sharing,
            network,
        };
        (times, steps)
    }
}
