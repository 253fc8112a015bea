//! Waiting for enough nodes.

use std::time::Duration;

use super::session::Session;
use super::{Phase, Report};
use crate::wire::RelayFrame;

/// How often those who wait are told what for.
const REMIND_EVERY: Duration = Duration::from_secs(10);
/// A pause this short is not worth a word.
const SILENT: Duration = Duration::from_secs(2);

pub(super) struct Gathering {
    since: Duration,
    reminded: Option<Duration>,
    /// Whether all nodes of the manifest should get a chance to connect.
    grace: bool,
}

impl Gathering {
    pub(super) fn at_start(now: Duration) -> Self {
        Self {
            since: now,
            reminded: None,
            grace: true,
        }
    }

    pub(super) fn now(now: Duration) -> Self {
        Self {
            since: now,
            reminded: None,
            grace: false,
        }
    }

    pub(super) fn advance(mut self, session: &mut Session) -> Phase {
        let waited = session.now.saturating_sub(self.since);
        let finished = session.chain.round >= session.settings.rounds;
        let grace = Duration::from_secs(session.manifest.timeouts().keys_s);
        let complete = session.missing().is_empty() || !self.grace || waited >= grace;
        if finished || (session.can_open() && complete) {
            return session.open_or_gather();
        }
        let remind = self
            .reminded
            .is_none_or(|at| session.now.saturating_sub(at) >= REMIND_EVERY);
        if waited >= SILENT && remind {
            self.reminded = Some(session.now);
            tell(session, waited);
        }
        Phase::Gathering(self)
    }
}

/// Tells the operator and the nodes that are here who is missing.
fn tell(session: &mut Session, since: Duration) {
    let missing = session.missing();
    let same_participants = session.same_participants();
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
}
