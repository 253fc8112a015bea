//! Waiting until those to whom the result was sent have taken it.

use std::time::Duration;

use super::reminder::Reminder;
use super::state::RelayState;

/// The relay waits for acknowledgements.
pub(super) struct Acks {
    deadline: Duration,
    reminder: Reminder,
}

impl Acks {
    /// Waits as long as a download and its check may take.
    pub(super) fn begin(state: &RelayState) -> Self {
        Self {
            deadline: state.after(state.delivery_wait()),
            reminder: Reminder::since(state.now),
        }
    }

    /// Returns nothing once nobody is waited for any longer.
    pub(super) fn advance(mut self, state: &mut RelayState) -> Option<Self> {
        if !state.awaits_acks() || state.now >= self.deadline {
            return None;
        }
        let missing: Vec<_> = state.published.unserved().iter().copied().collect();
        // After any other round those who miss its result are waited for as participants of the
        // next.
        if state.is_finished() && !missing.is_empty() && self.reminder.is_long(state) {
            self.reminder.remind(state, missing, false);
        }
        Some(self)
    }
}
