//! What the relay's machine tells its operator.

use std::time::Duration;

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::metrics::Totals;
use crate::round::peer::Conviction;
use crate::round::refusal::{Kind, Refusal};

/// What an operator wants to know.
#[derive(Clone, Debug)]
pub enum Report {
    /// The relay serves.
    Began {
        /// Last completed round; 0 before the first.
        round: u64,
    },
    /// A node is here.
    Joined(NodeId),
    /// A node is gone.
    Lost(NodeId),
    /// A node is gone that has the last of all rounds.
    Left(NodeId),
    /// The model has not got better for as many rounds as the operator waits: this was the last.
    Plateau {
        /// Rounds completed.
        round: u64,
        /// Rounds since the lowest loss.
        rounds: u64,
    },
    /// An attempt begins.
    Opened {
        /// Round.
        round: u64,
        /// Attempt.
        attempt: u32,
        /// Nodes asked to take part.
        nodes: usize,
    },
    /// Holders are fixed, in the committee scheme.
    Holders {
        /// Round.
        round: u64,
        /// Who.
        nodes: Vec<NodeId>,
    },
    /// Participants are fixed.
    Participants {
        /// Round.
        round: u64,
        /// Who.
        nodes: Vec<NodeId>,
    },
    /// All uploads are in, and are averaged now.
    Collected {
        /// Round.
        round: u64,
    },
    /// The attempt is over without a result.
    Abandoned {
        /// Round.
        round: u64,
        /// Attempt.
        attempt: u32,
        /// On whose account.
        nodes: Vec<NodeId>,
    },
    /// A node does not go on, or was refused.
    Refused(NodeId, Refusal),
    /// A node stands ahead of the relay.
    Behind {
        /// Who.
        node: NodeId,
        /// Rounds that it has completed.
        round: u64,
    },
    /// The relay has taken over the nodes' model.
    Recovered {
        /// Rounds completed.
        round: u64,
    },
    /// A node's message came too late for what it belongs to, which is no fault of the node.
    Late(NodeId, Kind),
    /// Nothing goes on without these nodes.
    Waiting {
        /// Who is missing.
        missing: Vec<NodeId>,
        /// For how long.
        since: Duration,
        /// Whether the round must have exactly its former participants (the difference rule).
        same_participants: bool,
    },
    /// A round is complete.
    Completed(Box<Completed>),
    /// A node is proven to have lied about a share, and takes no part any more.
    Convicted(Conviction),
    /// The result of a complete round is taken back, since too few take it. The round begins again.
    RolledBack {
        /// Round.
        round: u64,
        /// Who refuses it.
        nodes: Vec<NodeId>,
        /// Who has acknowledged it all the same.
        acknowledged: Vec<NodeId>,
    },
}

/// A completed round.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Round.
    pub round: u64,
    /// Attempts that it took.
    pub attempts: u32,
    /// Number of participants.
    pub nodes: u32,
    /// Sums of their counters.
    pub totals: Totals,
    /// Hash of the new model.
    pub model: Digest,
}
