//! Telling the operator and the nodes who is missing, now and then.

use std::time::Duration;

use super::report::Report;
use super::state::RelayState;
use crate::identity::NodeId;
use crate::wire::RelayFrame;

/// Pauses shorter than this are not reported.
const SILENT: Duration = Duration::from_secs(2);
/// How often waiting nodes are reminded what they wait for.
const REMIND_EVERY: Duration = Duration::from_secs(10);

/// Something that is waited for.
pub(in crate::round) struct Reminder {
    since: Duration,
    reminded: Option<Duration>,
}

impl Reminder {
    pub(in crate::round) fn since(since: Duration) -> Self {
        let reminded = None;
        Self { since, reminded }
    }

    /// Returns for how long it has been waited for.
    pub(super) fn waited(&self, state: &RelayState) -> Duration {
        state.now.saturating_sub(self.since)
    }

    /// Returns whether that is worth a report.
    pub(super) fn is_long(&self, state: &RelayState) -> bool {
        self.waited(state) >= SILENT
    }

    /// Tells everyone who is missing, unless that was done a moment ago. Returns whether it did.
    pub(in crate::round) fn remind(
        &mut self,
        state: &mut RelayState,
        missing: Vec<NodeId>,
        same_participants: bool,
    ) -> bool {
        let recent = |reminded| state.now.saturating_sub(reminded) < REMIND_EVERY;
        if self.reminded.is_some_and(recent) {
            return false;
        }
        self.reminded = Some(state.now);
        let since = self.waited(state);
        for node in state.presence.nodes() {
            let frame = RelayFrame::Waiting {
                missing: missing.clone(),
                for_s: since.as_secs(),
            };
            state.send(node, frame);
        }
        state.report(Report::Waiting {
            missing,
            since,
            same_participants,
        });
        true
    }
}
