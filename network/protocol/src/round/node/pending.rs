//! What a node's outbox holds.

use crate::digest::Digest;
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
}
