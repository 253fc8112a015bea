//! Waiting until those to whom the result was sent have taken it.

use std::time::Duration;

use super::Phase;
use super::session::Session;
use super::waiting::Waiting;

pub(in crate::round) struct Acks {
    deadline: Duration,
    waiting: Waiting,
}

impl Acks {
    /// Waits as long as a download and its check may take.
    pub(super) fn begin(session: &Session) -> Self {
        let wait = Duration::from_secs(session.manifest.timeouts().result_s)
            .saturating_add(session.manifest.transfer_timeout());
        let deadline = session.after(wait);
        let waiting = Waiting::since(session.now);
        Self { deadline, waiting }
    }

    pub(super) fn advance(mut self, session: &mut Session) -> Phase {
        if session.awaits_acks() && session.now < self.deadline {
            let missing: Vec<_> = session.unserved.iter().copied().collect();
            // After any other round those who miss its result are waited for as participants of the next.
            if session.finished() && !missing.is_empty() && self.waiting.is_long(session) {
                self.waiting.tell(session, missing, false);
            }
            return Phase::Acks(self);
        }
        session.open_or_gather()
    }
}
