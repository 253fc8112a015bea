//! A node of a network.

use std::time::Duration;

use crate::identity::NodeId;
use crate::sim::{NodeHost, OpenSecrets, Secrets, Work};

/// A node, and how it is connected.
pub struct Member<S = OpenSecrets> {
    /// Its process, or what is left of it.
    pub host: NodeHost<S>,
    /// Whether the process runs.
    pub is_up: bool,
    /// How long training takes.
    pub training: Duration,
    /// By how many seconds its clock is ahead, or behind if this is negative.
    pub clock_ahead_s: i64,
    /// Whether it knows that all rounds are done.
    pub finished: bool,
    /// How often the relay has said that its contribution is in.
    pub received: usize,
    /// For whom the relay said last that it waits.
    pub waiting_for: Option<Vec<NodeId>>,
    /// Counts processes; the work of an earlier one is lost.
    pub(super) life: u64,
    /// Number of its connection, if there is one.
    pub(super) connection: Option<u64>,
    /// Number of the connection that the relay has with it.
    pub(super) relays: Option<u64>,
}

impl<S: Secrets> Member<S> {
    pub(super) fn new(host: NodeHost<S>, training: Duration) -> Self {
        Self {
            host,
            is_up: true,
            training,
            clock_ahead_s: 0,
            finished: false,
            received: 0,
            waiting_for: None,
            life: 0,
            connection: None,
            relays: None,
        }
    }

    /// How much longer this work takes than other work.
    pub(super) fn extra_time(&self, work: &Work) -> Duration {
        let model = self.host.disk.head.model;
        match work {
            Work::Train(_) if !self.host.secrets.is_trained(model) => self.training,
            _ => Duration::ZERO,
        }
    }
}
