//! Times and bytes of the round under way.

use std::time::{Duration, Instant};

use fl_network::client::Link;
use fl_network::quic::ConnectionBytes;

use crate::node::Step;

#[derive(Default)]
pub(super) struct RoundClock {
    pub(super) opened: Option<Instant>,
    pub(super) training: Duration,
    pub(super) sharing: Duration,
    /// When the update was there, if that was in this round.
    updated: Option<Instant>,
    pub(super) steps: Vec<(Step, Duration)>,
    /// What the connection had cost at the end of the last round.
    pub(super) counted: Counted,
}

/// Bytes of a connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) udp: ConnectionBytes,
    pub(super) payload: ConnectionBytes,
}

impl Counted {
    pub(super) fn of(link: &Link) -> Self {
        Self {
            udp: link.bytes(),
            payload: link.payload(),
        }
    }
}

impl RoundClock {
    /// The update is there, from which steps are counted.
    pub(super) fn updated(&mut self) {
        self.updated = Some(Instant::now());
    }

    /// This is done now.
    pub(super) fn step(&mut self, step: Step) {
        self.step_before(step, Duration::ZERO);
    }

    /// This was done so long ago.
    pub(super) fn step_before(&mut self, step: Step, ago: Duration) {
        if let Some(updated) = self.updated {
            self.steps
                .push((step, updated.elapsed().saturating_sub(ago)));
        }
    }
}
