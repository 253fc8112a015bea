//! What a node's outbox holds.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::bundle::KeyBundle;
use crate::round::committee::Prepared;
use crate::round::peer::PendingSum;
use crate::wire::NodeFrame;

/// A masked vector that was computed and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub enum Pending {
    /// A masked sum of the peer scheme.
    Sum(PendingSum),
    /// A contribution of the committee scheme.
    Contribution(Prepared),
}

impl Pending {
    /// Returns the keys that fix its attempt.
    pub fn bundle(&self) -> &KeyBundle {
        match self {
            Self::Sum(pending) => &pending.participants,
            Self::Contribution(prepared) => &prepared.holders,
        }
    }

    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.bundle().ctx()
    }

    /// Returns the round, from 1.
    pub fn round(&self) -> u64 {
        self.bundle().round()
    }

    /// Returns the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.bundle().attempt()
    }

    /// Returns what announces it to the relay.
    pub(in crate::round) fn frame(&self) -> NodeFrame {
        match self {
            Self::Sum(pending) => NodeFrame::Sum(pending.sum.clone()),
            Self::Contribution(prepared) => {
                NodeFrame::Contribution(prepared.contribution.clone(), prepared.envelope.clone())
            }
        }
    }

    /// Returns with whom its upload binds the node (the difference rule).
    ///
    /// A contribution opens only in a sum that holders vote for, and the record is theirs to make.
    pub(super) fn binds(&self) -> Option<BTreeSet<NodeId>> {
        match self {
            Self::Sum(pending) => Some(pending.participants.set()),
            Self::Contribution(_) => None,
        }
    }

    /// Returns the masked sum, if it is one.
    pub(in crate::round) fn sum(&self) -> Option<&PendingSum> {
        match self {
            Self::Sum(pending) => Some(pending),
            Self::Contribution(_) => None,
        }
    }

    /// Returns the contribution, if it is one.
    pub(in crate::round) fn contribution(&self) -> Option<&Prepared> {
        match self {
            Self::Sum(_) => None,
            Self::Contribution(prepared) => Some(prepared),
        }
    }
}

impl From<PendingSum> for Pending {
    fn from(pending: PendingSum) -> Self {
        Self::Sum(pending)
    }
}

impl From<Prepared> for Pending {
    fn from(prepared: Prepared) -> Self {
        Self::Contribution(prepared)
    }
}
