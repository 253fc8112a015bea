//! Telling the operator and the nodes who is missing, now and then.

use std::time::Duration;

use super::Report;
use super::session::Session;
use crate::identity::NodeId;
use crate::wire::RelayFrame;

/// A pause this short is not worth a word.
const SILENT: Duration = Duration::from_secs(2);
/// How often those who wait are told what for.
const REMIND_EVERY: Duration = Duration::from_secs(10);

/// Something that is waited for.
pub(in crate::round) struct Waiting {
    since: Duration,
    told: Option<Duration>,
}

impl Waiting {
    pub(in crate::round) fn since(since: Duration) -> Self {
        let told = None;
        Self { since, told }
    }

    /// For how long.
    pub(super) fn waited(&self, session: &Session) -> Duration {
        session.now.saturating_sub(self.since)
    }

    /// Whether it is worth a word.
    pub(super) fn is_long(&self, session: &Session) -> bool {
        self.waited(session) >= SILENT
    }

    /// Says who is missing, unless that was said a moment ago. Gives whether it was said.
    pub(in crate::round) fn tell(
        &mut self,
        session: &mut Session,
        missing: Vec<NodeId>,
        same_participants: bool,
    ) -> bool {
        let recent = |told| session.now.saturating_sub(told) < REMIND_EVERY;
        if self.told.is_some_and(recent) {
            return false;
        }
        self.told = Some(session.now);
        let since = self.waited(session);
        for node in session.here() {
            let frame = RelayFrame::Waiting {
                missing: missing.clone(),
                for_s: since.as_secs(),
            };
            session.send(node, frame);
        }
        session.report(Report::Waiting {
            missing,
            since,
            same_participants,
        });
        true
    }
}
