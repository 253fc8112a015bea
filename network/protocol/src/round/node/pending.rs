//! What a node's outbox holds.

use crate::digest::Digest;
use crate::round::committee::Prepared;
use crate::round::message::{Signed, Sum};
use crate::round::participants::Participants;
use crate::wire::NodeFrame;

/// A masked vector that was computed and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub enum Pending {
    /// A masked sum of the peer scheme.
    Sum(PendingSum),
    /// A contribution of the committee scheme.
    Contribution(Prepared),
}

/// A masked sum that was computed and not yet accounted for by a result.
#[derive(Clone, Debug)]
pub struct PendingSum {
    /// Who takes part.
    pub participants: Participants,
    /// The signed root of the sum.
    pub sum: Signed<Sum>,
}

impl Pending {
    /// Context of the attempt.
    pub fn ctx(&self) -> Digest {
        match self {
            Self::Sum(pending) => pending.participants.ctx(),
            Self::Contribution(prepared) => prepared.holders.ctx(),
        }
    }

    /// Round, from 1.
    pub fn round(&self) -> u64 {
        match self {
            Self::Sum(pending) => pending.participants.round(),
            Self::Contribution(prepared) => prepared.holders.round(),
        }
    }

    /// Attempt, from 1.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Sum(pending) => pending.participants.attempt(),
            Self::Contribution(prepared) => prepared.holders.attempt(),
        }
    }

    /// What announces it to the relay.
    pub(in crate::round) fn frame(&self) -> NodeFrame {
        match self {
            Self::Sum(pending) => NodeFrame::Sum(pending.sum.clone()),
            Self::Contribution(prepared) => {
                NodeFrame::Contribution(prepared.contribution.clone(), prepared.envelope.clone())
            }
        }
    }
}
