//! Which holders of an attempt still have their round key, as far as the relay can tell.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::Holders;

/// The holders that can still take part in an attempt.
#[derive(Debug)]
pub(super) struct Attendance {
    ctx: Digest,
    here: BTreeSet<NodeId>,
    /// Their connection is gone; whether the process is, shows when they return.
    away: BTreeSet<NodeId>,
}

impl Attendance {
    /// All of them, those that are connected being `here`.
    pub(super) fn of(holders: &Holders, is_here: impl Fn(NodeId) -> bool) -> Self {
        let (here, away) = holders.ids().partition(|id| is_here(*id));
        Self {
            ctx: holders.ctx(),
            here,
            away,
        }
    }

    /// A connection is gone. Says whether it was a holder's.
    pub(super) fn lost(&mut self, node: NodeId) -> bool {
        let was_here = self.here.remove(&node);
        if was_here {
            self.away.insert(node);
        }
        was_here
    }

    /// A holder takes no further part.
    pub(super) fn gone(&mut self, node: NodeId) {
        self.here.remove(&node);
        self.away.remove(&node);
    }

    /// A node is back, and has the round key of the attempt `holding`. Says whether it can go on.
    pub(super) fn returned(&mut self, node: NodeId, holding: Option<Digest>) -> bool {
        if !self.away.remove(&node) || holding != Some(self.ctx) {
            return false;
        }
        self.here.insert(node)
    }

    /// Returns those that are connected.
    pub(super) fn here(&self) -> &BTreeSet<NodeId> {
        &self.here
    }

    /// Returns those that may come back.
    pub(super) fn away(&self) -> &BTreeSet<NodeId> {
        &self.away
    }

    pub(super) fn is_here(&self, node: NodeId) -> bool {
        self.here.contains(&node)
    }

    /// Returns whether a holder may still take part.
    pub(super) fn may_serve(&self, node: NodeId) -> bool {
        self.here.contains(&node) || self.away.contains(&node)
    }

    /// Returns how many may still take part.
    pub(super) fn remaining(&self) -> usize {
        self.here.len() + self.away.len()
    }
}
