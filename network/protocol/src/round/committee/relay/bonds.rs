//! How nodes are bound with a committee: the holders by their votes, and nobody else.
//!
//! A holder that has voted on a model votes for nobody else on it. If the relay let some holders
//! vote for these contributors and some for those, neither might ever find a quorum. So it asks for
//! votes for a new list only as long as Q holders are free; those that are not are K − Q at the
//! most then, and cannot stand in the way of the new list. This keeps true, whatever is lost: there
//! is always a list for which all but K − Q of the holders can vote.

use crate::identity::NodeId;
use crate::round::committee::Committee;
use crate::round::relay::bonds::Bonds;
use crate::wire::Hello;

impl Bonds for Committee {
    fn deciders(&self) -> &[NodeId] {
        self.holders()
    }

    fn quorum(&self) -> usize {
        self.quorum()
    }

    fn told<'h>(&self, hello: &'h Hello) -> Option<&'h [NodeId]> {
        Some(&hello.voted_for)
    }

    fn binds_participants(&self) -> bool {
        false
    }
}
