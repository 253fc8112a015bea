//! Waiting for enough nodes.

use std::time::Duration;

use super::recover::Recovering;
use super::reminder::Reminder;
use super::state::RelayState;

/// After such a pause those who were late or refused are asked again: nothing goes on without them.
const FORGIVE_AFTER: Duration = Duration::from_secs(10);

/// The relay waits until an attempt can be opened.
pub(super) struct WaitingForNodes {
    reminder: Reminder,
    /// Whether all nodes of the manifest should get a chance to connect.
    grace: bool,
    /// When an attempt may be opened at the earliest.
    not_before: Duration,
}

/// What comes of waiting.
pub(super) enum Waited {
    /// More waiting.
    Waits(WaitingForNodes),
    /// The nodes' model is ahead of the relay's.
    Recovers(Recovering),
    /// An attempt, if all rounds are not done.
    Opens,
}

impl WaitingForNodes {
    /// Waits until all nodes have had a chance to connect.
    pub(super) fn at_start(now: Duration) -> Self {
        Self {
            grace: true,
            ..Self::after(now, Duration::ZERO)
        }
    }

    pub(super) fn now(now: Duration) -> Self {
        Self::after(now, Duration::ZERO)
    }

    /// Waits at least for `pause`.
    pub(super) fn after(now: Duration, pause: Duration) -> Self {
        Self {
            reminder: Reminder::since(now),
            grace: false,
            not_before: now.saturating_add(pause),
        }
    }

    pub(super) fn advance(mut self, state: &mut RelayState) -> Waited {
        let waited = self.reminder.waited(state);
        if waited >= FORGIVE_AFTER {
            state.obligations.forgive();
        }
        let grace = Duration::from_secs(state.manifest.timeouts().keys_s);
        let complete = (state.missing().is_empty() || !self.grace || waited >= grace)
            && state.now >= self.not_before;
        // Not before all had a chance: one may have a state that is further still.
        if complete && let Some(recovering) = Recovering::begin(state) {
            return Waited::Recovers(recovering);
        }
        if state.is_finished() || (state.can_open() && complete) {
            return Waited::Opens;
        }
        if self.reminder.is_long(state) {
            let (missing, same) = (state.missing(), state.is_bound());
            // In a pause nobody need be.
            if !missing.is_empty() || state.now >= self.not_before {
                self.reminder.remind(state, missing, same);
            }
        }
        Waited::Waits(self)
    }
}
