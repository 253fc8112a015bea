//! What a node's machine asks of its driver.

#[cfg(doc)]
use super::Node;
use super::pending::Pending;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::checked_outcome::CheckedOutcome;
use crate::round::checkpoint::CheckedCheckpoint;
use crate::round::committee::{CheckedSeeds, Recipients, RevealOrder};
use crate::round::difference::SentSum;
use crate::round::head::Head;
use crate::round::peer::{CompleteShares, Conviction};
use crate::round::refusal::Refusal;
use crate::wire::{BodyId, NodeFrame};

/// A masked vector that is to be held from now on. It is logged, then put into the outbox with what
/// is needed to go on after a restart, then announced; if it cannot be, call [`Node::not_kept`].
#[derive(Debug)]
pub struct Announcement {
    /// What to log.
    pub entry: Entry,
    /// What to keep.
    pub pending: Pending,
    /// What to send.
    pub frame: NodeFrame,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Action {
    /// Append this entry to the log. What comes after it is not done unless the log has it.
    Log(Entry),
    /// Send this frame.
    Send(NodeFrame),
    /// Train from the global model, or take the update that was kept for it, and call
    /// [`Node::trained`].
    Train {
        /// Round, from 1.
        round: u64,
        /// Attempt, from 1.
        attempt: u32,
        /// When the relay goes on without this node, in milliseconds from now.
        deadline_ms: u64,
    },
    /// Draw a seed for each receiver, seal it to the receiver's round key, and call
    /// [`Node::sealed`].
    Seal {
        /// Context.
        ctx: Digest,
        /// Whom this node gives a share, with their public round keys.
        receivers: Vec<(NodeId, Vec<u8>)>,
    },
    /// Open the shares, compute the masked sum, and call [`Node::summed`].
    Sum(CompleteShares),
    /// Draw a participant's round key, and call [`Node::keyed`]. The former one is worth nothing
    /// any more, nor is this one without the connection.
    DrawRoundKey {
        /// Round, from 1.
        round: u64,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// Draw a holder's round key, and call [`Node::keyed`]. The former one is worth nothing any
    /// more. This one outlives the connection, but not the attempt.
    DrawHolderKey {
        /// Round, from 1.
        round: u64,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// Draw a seed for each class, seal to each holder those of its classes, mask the update with
    /// all of them, and call [`Node::contributed`].
    Contribute(Recipients),
    /// Open the box with the round key, compare the seeds with what they are committed to as, and
    /// call [`Node::opened`].
    Open(CheckedSeeds),
    /// Sum up the masks, and call [`Node::revealed`].
    Reveal(RevealOrder),
    /// The relay has the whole contribution: this node is not needed any more in this round.
    Received {
        /// Context.
        ctx: Digest,
    },
    /// Make this entry of the record of sent sums durable before anything is sent.
    Record(SentSum),
    /// Upload the masked vector, a sum of masks, or the global model.
    Upload {
        /// Which of them.
        body: BodyId,
        /// First chunk to send.
        first_chunk: u32,
    },
    /// Download the sum over all participants, check and average it, and call [`Node::averaged`].
    Average(CheckedOutcome),
    /// Download the certified model, check it, and call [`Node::adopted`].
    Adopt(CheckedCheckpoint),
    /// Make the new state durable, then forget the outbox.
    Commit(Head),
    /// Somebody is proven to have lied, and takes no part any more.
    Convicted(Conviction),
    /// The relay waits for these nodes.
    Waiting {
        /// Who is missing.
        missing: Vec<NodeId>,
        /// For how long, in seconds.
        for_s: u64,
    },
    /// The relay turned this node away.
    TurnedAway(Refusal),
    /// All rounds are done.
    Finish {
        /// Rounds completed.
        rounds: u64,
    },
}
