//! What can be wrong with a log.

use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::NodeId;
use crate::round::{Kind, Refusal};

/// Why a log is not sound.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    // The file is not as it was written.
    /// A record's length was changed, or something else stands in its place.
    #[error("its length was altered")]
    Length,
    /// A record was changed, or one was added, removed or moved.
    #[error("its digest does not follow from its contents and the record before")]
    Digest,
    /// The log of another consortium.
    #[error("this is the log of another consortium, whose id is {0}")]
    OtherManifest(Digest),

    // What its keeper wrote is impossible.
    /// Not a record.
    #[error(transparent)]
    Undecodable(WireError),
    /// The first record is missing.
    #[error("the log does not begin with whose log it is")]
    NotBegun,
    /// A record of another party's log.
    #[error("the party whose log this is has changed, or does not belong to the consortium")]
    OtherParty,
    /// The party did not start where it had stopped.
    #[error(
        "the party starts after round {found}, with result {result}, but the log leads to round {round}"
    )]
    Stands {
        /// Round where it starts.
        found: u64,
        /// Result where it starts.
        result: Digest,
        /// Round to which the log leads.
        round: u64,
    },
    /// What the protocol refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A message of an attempt whose participants are not in the log.
    #[error("a {0} message belongs to an attempt whose participants are not in the log")]
    NoAttempt(Kind),
    /// A masked sum without all the shares that it takes.
    #[error("the sum of {0} is signed before all its shares have been exchanged")]
    Shares(NodeId),
    /// A body without the signed sums of all participants.
    #[error("the body of {node} travels without a signed sum of {signer}")]
    Unsigned {
        /// Whose body.
        node: NodeId,
        /// Whose sum is missing.
        signer: NodeId,
    },
    /// A result without the body of a participant.
    #[error("the result does not wait for the body of {0}")]
    Body(NodeId),
    /// A result with another sum than the one in the log.
    #[error("the result has another sum of {0} than the log")]
    OtherSum(NodeId),
    /// A result is taken back that enough nodes have acknowledged, or none is.
    #[error("what is taken back is no result, or one that enough nodes have acknowledged")]
    RolledBack,
}
