//! Waiting for enough nodes.

use std::time::Duration;

use super::Phase;
use super::recovering::Recovering;
use super::session::Session;
use super::waiting::Waiting;

/// After such a pause those who were late or refused are asked again: nothing goes on without them.
const FORGIVE_AFTER: Duration = Duration::from_secs(10);

/// How long to wait before the same participants try again what was impossible.
pub(in crate::round) const PAUSE: Duration = Duration::from_secs(10);

pub(in crate::round) struct Gathering {
    waiting: Waiting,
    /// Whether all nodes of the manifest should get a chance to connect.
    grace: bool,
    /// When an attempt may be opened at the earliest.
    not_before: Duration,
}

impl Gathering {
    pub(super) fn at_start(now: Duration) -> Self {
        let waiting = Waiting::since(now);
        Self {
            waiting,
            grace: true,
            not_before: now,
        }
    }

    pub(super) fn now(now: Duration) -> Self {
        Self::after(now, Duration::ZERO)
    }

    /// Waits at least for `pause`.
    pub(in crate::round) fn after(now: Duration, pause: Duration) -> Self {
        Self {
            waiting: Waiting::since(now),
            grace: false,
            not_before: now.saturating_add(pause),
        }
    }

    pub(super) fn advance(mut self, session: &mut Session) -> Phase {
        let waited = self.waiting.waited(session);
        if waited >= FORGIVE_AFTER {
            session.forgive();
        }
        let grace = Duration::from_secs(session.manifest.timeouts().keys_s);
        let complete = (session.missing().is_empty() || !self.grace || waited >= grace)
            && session.now >= self.not_before;
        // Not before all had a chance: one may have a state that is further still.
        if complete && let Some(recovering) = Recovering::begin(session) {
            return Phase::Recovering(recovering);
        }
        if session.finished() || (session.can_open() && complete) {
            return session.open_or_gather();
        }
        if self.waiting.is_long(session) {
            let (missing, same) = (session.missing(), session.bound().is_some());
            // In a pause nobody need be.
            if !missing.is_empty() || session.now >= self.not_before {
                self.waiting.tell(session, missing, same);
            }
        }
        Phase::Gathering(self)
    }
}
