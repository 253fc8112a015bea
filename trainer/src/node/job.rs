//! What runs beside a node's loop.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fl_network::client::{Bodies, LinkError};
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::parameters::from_le_bytes;
use fl_protocol::round::committee::{ClassSet, Envelope};
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{Chain, CheckedCheckpoint, CheckedOutcome, Refusal};
use fl_protocol::wire::BodyId;
use fl_shaders::Tag;
use fl_sharing::DeviceError;
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::event::{NodeEvent, RoundReport};
use super::masking::{Masked, MaskingError};
use super::verifying::TagVerifier;
use crate::{Evaluation, LocalTrainer, TrainError};

/// What a job brings back.
pub(super) enum Done {
    Trained {
        round: u64,
        model: Digest,
        trained: Result<TrainedUpdate, TrainError>,
        took: Duration,
    },
    Summed {
        ctx: Digest,
        masked: Result<Masked, MaskingError>,
        took: Duration,
    },
    Contributed {
        ctx: Digest,
        contribution: Result<(Masked, Envelope), MaskingError>,
        took: Duration,
    },
    Revealed {
        ctx: Digest,
        classes: ClassSet,
        sum: Result<(ChunkHashes, Vec<u8>), DeviceError>,
        tag: Tag,
        took: Duration,
    },
    Uploaded,
    Averaged {
        averaged: Result<Averaged, BodyError>,
        took_part: bool,
        took: Duration,
    },
    Adopted {
        chain: Chain,
        adopted: Result<Vec<f32>, BodyError>,
    },
    Evaluated {
        report: Box<RoundReport>,
        evaluation: Result<Evaluation, TrainError>,
    },
}

/// Why a download came to nothing.
pub(super) enum BodyError {
    Link(LinkError),
    Refused(Refusal),
}

impl From<LinkError> for BodyError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<Refusal> for BodyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A trained update, with the global model's evaluation before training.
pub(super) struct TrainedUpdate {
    pub(super) update: crate::Update,
    pub(super) examples: u32,
    pub(super) before: Evaluation,
}

/// Tells training to stop at the next step.
#[derive(Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A trainer, and what it has found out about the global model.
struct Learner {
    trainer: Box<dyn LocalTrainer>,
    evaluated: Option<(Digest, Evaluation)>,
}

impl Learner {
    /// Evaluates a model at most once. Both the report of its round and the next round's training
    /// need the result; whichever asks first computes it.
    fn evaluate(&mut self, model: Digest, parameters: &[f32]) -> Result<Evaluation, TrainError> {
        if let Some((of, evaluation)) = self.evaluated
            && of == model
        {
            return Ok(evaluation);
        }
        let evaluation = self.trainer.evaluate(parameters)?;
        self.evaluated = Some((model, evaluation));
        Ok(evaluation)
    }
}

/// The trainer, used by one job at a time, and by as many nodes of a process as there are permits.
#[derive(Clone)]
pub(super) struct SharedTrainer {
    /// In the order in which they came, so that a model is evaluated before the next one is.
    learner: Arc<Mutex<Learner>>,
    permits: Arc<Semaphore>,
}

impl SharedTrainer {
    pub(super) fn new(trainer: Box<dyn LocalTrainer>, permits: Arc<Semaphore>) -> Self {
        let learner = Learner {
            trainer,
            evaluated: None,
        };
        Self {
            learner: Arc::new(Mutex::new(learner)),
            permits,
        }
    }

    /// Runs `work` on a blocking thread once a permit is free. Gives how long the work itself took.
    async fn with<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Learner) -> Result<T, TrainError> + Send + 'static,
    ) -> (Result<T, TrainError>, Duration) {
        let mut learner = self.learner.lock_owned().await;
        let permit = self.permits.acquire_owned().await;
        // A panic in a trainer spoils nothing that the next call would rely on: it gets all parameters anew.
        let done = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let done = work(&mut learner);
            drop(permit);
            (done, begun.elapsed())
        });
        done.await
            .unwrap_or_else(|_| (Err(TrainError::Panicked), Duration::ZERO))
    }
}

/// Trains from a global model, whose evaluation goes with the update.
pub(super) async fn train(
    trainer: SharedTrainer,
    round: u64,
    (model, global): (Digest, Arc<Vec<f32>>),
    stop: StopFlag,
    events: mpsc::Sender<NodeEvent>,
) -> Done {
    let work = move |learner: &mut Learner| {
        let before = learner.evaluate(model, &global)?;
        let mut progress = |progress| {
            // A watcher that is behind misses steps, and training does not wait for it.
            let _ = events.try_send(NodeEvent::Progress { round, progress });
            match stop.0.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let trained = learner.trainer.train(&global, round, &mut progress)?;
        Ok(TrainedUpdate {
            update: trained.update,
            examples: trained.examples,
            before,
        })
    };
    let (trained, took) = trainer.with(work).await;
    Done::Trained {
        round,
        model,
        trained,
        took,
    }
}

/// Evaluates a new global model for the report of its round.
pub(super) async fn evaluate(
    trainer: SharedTrainer,
    (model, parameters): (Digest, Arc<Vec<f32>>),
    report: Box<RoundReport>,
) -> Done {
    let (evaluation, _) = trainer
        .with(move |learner| learner.evaluate(model, &parameters))
        .await;
    Done::Evaluated { report, evaluation }
}

/// Downloads a result, checks it, and averages it onto `base`, in the place of `spare`.
pub(super) async fn average(
    bodies: Bodies,
    outcome: CheckedOutcome,
    base: Arc<Vec<f32>>,
    manifest: Arc<Manifest>,
    verifier: TagVerifier,
    own: NodeId,
    spare: Vec<f32>,
) -> Done {
    let (ctx, took_part) = (outcome.ctx(), outcome.nodes().contains(&own));
    let mut took = Duration::ZERO;
    let averaged = async {
        let mut download = bodies.download(BodyId::result(ctx)).await?;
        let mut opening = outcome.open(base, manifest.fixed_point(), &verifier, spare);
        // A chunk takes a fraction of a millisecond, while the connection's own task receives the next one.
        while let Some(chunk) = download.chunk().await? {
            let begun = Instant::now();
            opening.add(chunk);
            took += begun.elapsed();
        }
        Ok(opening.finish()?)
    };
    let averaged = averaged.await;
    Done::Averaged {
        averaged,
        took_part,
        took,
    }
}

/// Downloads a certified model and checks it.
pub(super) async fn adopt(bodies: Bodies, checkpoint: CheckedCheckpoint) -> Done {
    let chain = checkpoint.chain();
    let adopted = async {
        let mut download = bodies.download(BodyId::model(chain.model)).await?;
        let mut model = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            model.extend(from_le_bytes(chunk));
        }
        checkpoint.check_model(&model)?;
        Ok(model)
    };
    let adopted = adopted.await;
    Done::Adopted { chain, adopted }
}
