//! What a scheme has bind its nodes, so that only the same participants can try again.

use crate::identity::NodeId;
use crate::wire::Hello;

/// Who is bound by what, and whose decision an attempt needs. Who is bound to whom at the moment is
/// in [`Obligations`](super::obligations::Obligations).
pub(in crate::round) trait Bonds: Send + Sync {
    /// Returns the nodes that decide on who takes part; none if no attempt needs a decision.
    fn deciders(&self) -> &[NodeId];

    /// Returns how many of the deciders are enough.
    fn quorum(&self) -> usize;

    /// Returns to whom a node is bound by what it says when it connects, perhaps to nobody. Nothing
    /// if a hello does not tell.
    fn told<'h>(&self, hello: &'h Hello) -> Option<&'h [NodeId]>;

    /// Returns whether a node that is bound can take part with the same participants only.
    fn binds_participants(&self) -> bool;
}
