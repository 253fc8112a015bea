//! How nodes are bound in the peer scheme.

use crate::identity::NodeId;
use crate::round::relay::bonds::Bonds;
use crate::wire::Hello;

/// A participant is bound by the sum that it has sent, and says so when it refuses others.
pub(in crate::round) struct SumBonds;

impl Bonds for SumBonds {
    fn deciders(&self) -> &[NodeId] {
        &[]
    }

    fn quorum(&self) -> usize {
        0
    }

    fn told<'h>(&self, _: &'h Hello) -> Option<&'h [NodeId]> {
        None
    }

    fn binds_participants(&self) -> bool {
        true
    }
}
