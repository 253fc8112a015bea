//! Waiting until those to whom the result was sent have taken it.

use std::time::Duration;

use super::Phase;
use super::session::Session;

pub(in crate::round) struct Acks {
    deadline: Duration,
}

impl Acks {
    /// Waits as long as a download and its check may take.
    pub(super) fn begin(session: &Session) -> Self {
        let wait = Duration::from_secs(session.manifest.timeouts().result_s)
            .saturating_add(session.manifest.transfer_timeout());
        let deadline = session.after(wait);
        Self { deadline }
    }

    pub(super) fn advance(self, session: &mut Session) -> Phase {
        if session.awaits_acks() && session.now < self.deadline {
            return Phase::Acks(self);
        }
        session.open_or_gather()
    }
}
