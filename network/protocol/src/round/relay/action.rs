//! What the relay's machine asks of its driver.

use fl_shaders::Addends;

#[cfg(doc)]
use super::event::Event;
use super::report::Report;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::checkpoint::Checkpoint;
use crate::round::head::Head;
use crate::round::message::Signed;
use crate::round::outcome::Outcome;
use crate::round::peer::message::Sum;
use crate::round::refusal::Refusal;
use crate::wire::{BodyId, RelayFrame};

/// What the driver is to do.
#[derive(Debug)]
pub enum Action {
    /// Append this entry to the log. What comes after it rests on it.
    Log(Entry),
    /// Send this frame to a node.
    Send(NodeId, RelayFrame),
    /// Close a node's connection for this reason.
    TurnAway(NodeId, Refusal),
    /// Make room for the bodies of this attempt. They are masked, so a disk will do.
    Receive {
        /// Context.
        ctx: Digest,
        /// Whose bodies there will be if all of them are in the sum, so that each can be added on
        /// arrival. Otherwise they have to be kept apart until it is known which ones are.
        all: Option<Addends>,
    },
    /// Ask the node for a body of the attempt whose bytes have this root, from the first chunk that
    /// is missing.
    Collect {
        /// Who.
        node: NodeId,
        /// Context of the attempt.
        ctx: Digest,
        /// Which body.
        body: BodyId,
        /// Signed root.
        root: Digest,
        /// What the node wants to see before it sends a masked sum: the signed sums of all.
        sums: Vec<Signed<Sum>>,
    },
    /// Average the sum of these bodies onto the global model. From here on, the last result is not
    /// delivered any more.
    Average {
        /// State before the round.
        head: Head,
        /// Context.
        ctx: Digest,
        /// Masked sums or contributions, one for each input of the average, and the sums of masks
        /// that open these.
        bodies: Vec<(NodeId, BodyId)>,
    },
    /// Forget what has arrived of the attempt.
    Discard,
    /// Make the last result and its bytes durable, before a node has all of it.
    Keep,
    /// The last result is not taken back any more: make the model and this state durable.
    Commit(Head),
    /// Enough nodes have acknowledged where the relay stands: make that durable.
    Certify(Checkpoint),
    /// Too few take the last result: remove it, return to the model before it, and say so with
    /// [`Event::RolledBack`] before anything else.
    RollBack,
    /// Ask the node for the model with this hash.
    RequestModel {
        /// Who.
        node: NodeId,
        /// Hash of the model.
        model: Digest,
    },
    /// Take the model that a node sent and this state for the relay's own, and make both durable.
    Adopt(Checkpoint),
    /// Send the last result and its bytes.
    Deliver(NodeId, Outcome),
    /// Send the certified model and its bytes.
    Restore(NodeId, Checkpoint),
    /// Tell the operator.
    Report(Report),
    /// All rounds are done.
    Finish,
}
