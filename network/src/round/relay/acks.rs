//! Waiting until those to whom the result was sent have taken it.

use std::time::Duration;

use super::Phase;
use super::session::Session;

pub(super) struct Acks {
    deadline: Duration,
}

impl Acks {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    pub(super) fn advance(self, session: &mut Session) -> Phase {
        if session.awaits_acks() && session.now < self.deadline {
            return Phase::Acks(self);
        }
        session.open_or_gather()
    }
}
