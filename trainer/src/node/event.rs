//! Events that a node emits.

use std::sync::Arc;
use std::time::Duration;

use fl_network::store::Reconciled;
use fl_protocol::identity::NodeId;
use fl_protocol::metrics::{Tally, Totals};
use fl_protocol::round::Refusal;
use fl_protocol::round::peer::Conviction;
use serde::{Deserialize, Serialize};

use crate::Progress;

/// Something worth showing.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// The relay is reached.
    Connected,
    /// The relay is not reached, or no more; the node tries again.
    Disconnected {
        /// Why.
        reason: String,
        /// When it tries again.
        retry_in: Duration,
    },
    /// The masked sum of an interrupted round was found in the outbox.
    Resumed {
        /// Round.
        round: u64,
    },
    /// The outbox cannot be used and is left aside.
    OutboxLost {
        /// Why.
        reason: String,
    },
    /// The record of sent sums and the node's log tell of different ones.
    Reconciled(Reconciled),
    /// Local training begins.
    Training {
        /// Round, from 1.
        round: u64,
        /// Attempt, from 1.
        attempt: u32,
        /// From now until the relay goes on with whoever is ready.
        deadline: Duration,
    },
    /// Local training goes on.
    Progress {
        /// Round, from 1.
        round: u64,
        /// How far it has come.
        progress: Progress,
    },
    /// The agreed time for training was over before it was padded, so that its time tells the
    /// relay about how many examples this node has.
    Curtailed {
        /// Round, from 1.
        round: u64,
    },
    /// Training is done; the update goes its way.
    Trained {
        /// Round, from 1.
        round: u64,
    },
    /// The update was longer than the consortium agreed on, and is shortened.
    Shortened {
        /// Round, from 1.
        round: u64,
        /// Its L2 norm.
        norm: f64,
        /// What it is shortened to.
        limit: f64,
    },
    /// The relay has this node's whole contribution, and does not need it any more in this round.
    Received {
        /// Round, from 1.
        round: u64,
    },
    /// The relay waits for these nodes.
    Waiting {
        /// Who is missing.
        missing: Vec<NodeId>,
        /// For how long.
        since: Duration,
    },
    /// Something failed here; others are told no more than an
    /// [`AbortReason`](fl_protocol::round::AbortReason).
    Failed {
        /// What happened.
        reason: String,
    },
    /// This node, or the relay, does not go on for this reason.
    Refused(Refusal),
    /// A node is proven to have lied, and takes no part any more.
    Convicted(Conviction),
    /// The relay, which has lost its state, is sent the global model.
    ModelSent {
        /// Rounds completed.
        round: u64,
    },
    /// The node has taken over a certified model, having missed results.
    CaughtUp {
        /// Rounds completed.
        round: u64,
    },
    /// A round is complete.
    Round(RoundReport),
}

/// A completed round, as one node saw it. Only the totals are known to others.
#[derive(Clone, Debug)]
pub struct RoundReport {
    /// Round, from 1.
    pub round: u64,
    /// Number of participants.
    pub nodes: u32,
    /// Whether this node was one of them.
    pub took_part: bool,
    /// What the participants have together.
    pub totals: Totals,
    /// The new global model on this node's own test data.
    pub local: Tally,
    /// The new global model, in the order of the layout.
    pub model: Arc<Vec<f32>>,
    /// Where the time went.
    pub times: RoundTimes,
    /// What was done when, since the node had its update; in an attempt that was repeated, steps
    /// come again.
    pub steps: Vec<(Step, Duration)>,
    /// Bytes of UDP payload that this node sent in the round.
    pub bytes_up: u64,
    /// Bytes of UDP payload that this node received in the round.
    pub bytes_down: u64,
    /// Bytes of messages and bodies that this node sent in the round.
    pub payload_up: u64,
    /// Bytes of messages and bodies that this node received in the round.
    pub payload_down: u64,
}

/// What a node that takes part has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It has all shares that are due to it, or with a committee the keys of the holders.
    Shares,
    /// Its update is masked.
    Masked,
    /// It is asked to upload.
    Asked,
    /// It knows that there is a result.
    Announced,
    /// It has the bytes of the result.
    Downloaded,
    /// It has checked and averaged them.
    Averaged,
}

/// Where a round's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTimes {
    /// Local training.
    pub training: Duration,
    /// Sealing, opening, masking and averaging.
    pub sharing: Duration,
    /// Everything else between the opening of the round and its result: transfers, and waiting for
    /// others.
    pub network: Duration,
}
