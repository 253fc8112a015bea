//! The shares that a participant needs before it can compute its masked sum.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::identity::NodeId;

/// A share from every participant that gives this node one: what
/// [`Action::Sum`](crate::round::node::Action::Sum) demands.
#[derive(Debug)]
pub struct CompleteShares {
    ctx: Digest,
    sealed: BTreeMap<NodeId, Vec<u8>>,
}

impl CompleteShares {
    /// Shares by sender, of which none is missing.
    pub(super) fn new(ctx: Digest, sealed: BTreeMap<NodeId, Vec<u8>>) -> Self {
        Self { ctx, sealed }
    }

    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Returns the sealed shares by sender.
    pub fn sealed(&self) -> &BTreeMap<NodeId, Vec<u8>> {
        &self.sealed
    }
}
