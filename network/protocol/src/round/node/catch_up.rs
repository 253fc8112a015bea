//! A state that a node was given and whose bytes it waits for: a result, or a certified model.

use super::pending::Pending;
use crate::audit::Entry;
use crate::round::checkpoint::Checkpoint;
use crate::round::head::Head;
use crate::round::outcome::Outcome;

/// What a node catches up with.
pub(super) enum CatchUp {
    /// The result of the round.
    Result(Box<Awaited>),
    /// A certified model, having missed results.
    Checkpoint(Checkpoint),
}

/// A result whose signatures hold.
pub(super) struct Awaited {
    /// The state that it leads to if its bytes hold.
    pub(super) next: Head,
    pub(super) outcome: Outcome,
    /// The masked vector that is held until the result is accepted.
    pub(super) pending: Option<Pending>,
}

impl CatchUp {
    /// Returns the state that it leads to.
    pub(super) fn leads_to(&self) -> Head {
        match self {
            Self::Result(awaited) => awaited.next,
            Self::Checkpoint(checkpoint) => checkpoint.head,
        }
    }

    /// Returns what the log says when the node takes it.
    pub(super) fn into_entry(self) -> Entry {
        match self {
            Self::Result(awaited) => Entry::Outcome(awaited.outcome),
            Self::Checkpoint(checkpoint) => Entry::Adopted(checkpoint),
        }
    }

    /// Returns the masked vector that is held again if the node gives it up.
    pub(super) fn into_pending(self) -> Option<Pending> {
        match self {
            Self::Result(awaited) => awaited.pending,
            Self::Checkpoint(_) => None,
        }
    }
}
