//! A node: the one place where training, sharing and the network meet.
//!
//! The protocol's state machine ([`fl_protocol::round::node`]) decides, the driver acts. Whatever
//! takes time (training, masking, transfers, averaging) runs as a job beside the driver's loop,
//! which goes on listening to the relay; what a job brings back is told to the machine, and is
//! dropped there if the round has moved on.

mod contributing;
mod driver;
mod event;
mod holding;
mod job;
mod masking;
mod verifying;

use std::future::Future;
use std::sync::Arc;

use fl_network::audit::LogError;
use fl_network::client::LinkError;
use fl_network::kit::{Kit, KitError};
use fl_network::store::{NodeStore, StoreError};
use fl_protocol::error::WireError;
use fl_protocol::round::Refusal;
use fl_sharing::Engine;
use tokio::sync::Semaphore;

use crate::{LocalTrainer, TrainError};

pub use event::{NodeEvent, RoundReport, RoundTimes, Step};
pub use verifying::TagVerifier;

/// Why a node ends before all rounds are done.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The kit is unusable.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// The state folder is unusable, or full.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be written, or gone on with.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The relay, having proven to be it, does not accept this node; or it cannot be dialled at
    /// all.
    #[error(transparent)]
    Link(LinkError),
    /// The relay turned this node away for good.
    #[error("the relay turned this node away: {0}")]
    TurnedAway(Refusal),
    /// Local training or evaluation failed.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Training from the same model has failed again and again, and nobody has gone on without this
    /// node.
    #[error("training from the same model has failed {times} times: {source}")]
    Untrainable {
        /// How often.
        times: u32,
        /// Why the last time.
        source: Box<TrainError>,
    },
    /// A round has moved the model further than honest updates can.
    #[error(
        "round {round} moved the model by {norm:.3} (L2), further than the {limit} that the consortium agreed on: \
         somebody has put in more than an honest node does, and may be steering the model. This node does not take \
         it, and ends. Ask the other participants before it is started again"
    )]
    Moved {
        /// Round, from 1.
        round: u64,
        /// How far.
        norm: f64,
        /// The manifest's `limits.update_norm`.
        limit: f64,
    },
    /// The model has become far worse on this node's own rows.
    #[error(
        "after round {round} the model has a loss of {loss:.3} on this node's held-back rows, and once had {lowest:.3}: \
         that is more than the rise of {rise} that the consortium agreed on. Training diverges, or somebody is \
         steering the model. This node gives no update from it, and ends"
    )]
    Worse {
        /// Rounds completed.
        round: u64,
        /// Mean loss on the held-back rows, in nats.
        loss: f64,
        /// The lowest so far.
        lowest: f64,
        /// The manifest's `limits.loss_rise`.
        rise: f64,
    },
    /// The model does not fit the manifest.
    #[error(
        "this node's model differs from the manifest's at {tensor}: the data has another shape than the \
         consortium agreed on, or the programs differ in version"
    )]
    Layout {
        /// First tensor that differs.
        tensor: String,
    },
    /// Evaluations of the model count something else than the manifest says.
    #[error(
        "this node's model is judged by other metrics than the consortium agreed on: do the \
         programs differ in version?"
    )]
    Metrics,
    /// No training examples, or more than the manifest says.
    #[error(
        "this node has {examples} training examples, and the manifest allows it 1 to \
         {examples_max}: give it other data, or have a consortium founded in which \
         `fl-node provision --nodes` says NAME={examples} of it"
    )]
    Examples {
        /// Those that it has.
        examples: u64,
        /// The most that it may have.
        examples_max: u32,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system's random generator failed")]
    Entropy,
    /// A message cannot be encoded.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A job died. This is a bug.
    #[error("a background job failed: {0}")]
    Job(#[from] tokio::task::JoinError),
}

impl From<TrainError> for NodeError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

/// What a node runs with.
pub struct Participant {
    /// Its kit.
    pub kit: Kit,
    /// Its memory.
    pub store: NodeStore,
    /// Its data and model.
    pub trainer: Box<dyn LocalTrainer>,
    /// What masks its updates.
    pub engine: Arc<dyn Engine>,
    /// Where the relay is (`host:port`), if not where the manifest says.
    pub relay: Option<String>,
    /// Permits for training; nodes in one process share them.
    pub training: Arc<Semaphore>,
}

/// How a node's part has ended.
#[derive(Debug)]
pub struct NodeOutcome {
    /// Rounds completed.
    pub round: u64,
    /// The global model, in the order of the layout.
    pub model: Arc<Vec<f32>>,
    /// Whether the relay said that all rounds are done, or why this node cannot go on.
    pub finished: Result<bool, NodeError>,
}

impl NodeOutcome {
    /// Returns whether the relay said that all rounds are done.
    pub fn is_finished(&self) -> bool {
        matches!(self.finished, Ok(true))
    }

    /// Fails if the node could not go on.
    pub fn or_failure(self) -> Result<Self, NodeError> {
        match self.finished {
            Err(error) => Err(error),
            Ok(_) => Ok(self),
        }
    }
}

impl Participant {
    /// Takes part in rounds until the relay says that all are done, or `stop` completes, or it
    /// cannot go on. A lost connection is retried, a refused round is reported.
    ///
    /// # Errors
    ///
    /// What the participant brings cannot be used, so that there is no model to give either.
    pub async fn run(
        self,
        observe: impl FnMut(NodeEvent),
        stop: impl Future<Output = ()>,
    ) -> Result<NodeOutcome, NodeError> {
        driver::run(self, observe, stop).await
    }
}
