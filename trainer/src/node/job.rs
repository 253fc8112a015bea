//! What runs beside a node's loop: training, evaluation, downloads. (Masking and a holder's sums
//! run beside it as well; see `masking` and `holding`.)

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fl_network::client::{BodyTransfer, LinkError};
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::parameters::from_le_bytes;
use fl_protocol::round::committee::ClassSet;
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{CheckedCheckpoint, CheckedOutcome, Head, Refusal};
use fl_protocol::wire::BodyId;
use fl_shaders::Tag;
use fl_sharing::DeviceError;
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::event::{NodeEvent, RoundReport};
use super::masking::{MaskedUpdate, Masker, MaskingError};
use crate::{Evaluation, LocalTrainer, LocalUpdate, OrderKey, TrainError};

/// What a job brings back.
pub(super) enum JobResult {
    /// Training from the global model with the hash `model`.
    Trained {
        round: u64,
        model: Digest,
        trained: Result<TrainedUpdate, TrainError>,
        took: Duration,
    },
    /// The update, masked in the attempt `ctx`.
    Masked {
        ctx: Digest,
        masked: Result<MaskedUpdate, MaskingError>,
        took: Duration,
    },
    /// A sum of masks.
    Revealed {
        ctx: Digest,
        classes: ClassSet,
        sum: Result<HashedBody, DeviceError>,
        tag: Tag,
        took: Duration,
    },
    /// An upload, whatever came of it.
    Uploaded,
    /// A result that was averaged onto the global model.
    Averaged {
        averaged: Result<Averaged, DownloadError>,
        took_part: bool,
        took: Duration,
    },
    /// A certified model.
    Adopted {
        head: Head,
        adopted: Result<Vec<f32>, DownloadError>,
    },
    /// The new global model on this node's own test data.
    Evaluated {
        report: Box<RoundReport>,
        evaluation: Result<Evaluation, TrainError>,
    },
}

/// The bytes of a body, with their hashes.
#[derive(Clone)]
pub(super) struct HashedBody {
    pub(super) bytes: Bytes,
    pub(super) hashes: ChunkHashes,
}

impl HashedBody {
    pub(super) fn of(bytes: Bytes) -> Self {
        let hashes = ChunkHashes::of(&bytes);
        Self { bytes, hashes }
    }
}

/// Why a download came to nothing.
pub(super) enum DownloadError {
    Link(LinkError),
    Refused(Refusal),
}

impl From<LinkError> for DownloadError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<Refusal> for DownloadError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A trained update, with the global model's evaluation before training.
pub(super) struct TrainedUpdate {
    pub(super) local: LocalUpdate,
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

/// A trainer that remembers its last evaluation.
struct Evaluator {
    trainer: Box<dyn LocalTrainer>,
    evaluated: Option<(Digest, Evaluation)>,
}

impl Evaluator {
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
    /// Jobs get it in the order in which they came, so that a model is evaluated before the next
    /// one is.
    evaluator: Arc<Mutex<Evaluator>>,
    permits: Arc<Semaphore>,
}

impl SharedTrainer {
    pub(super) fn new(trainer: Box<dyn LocalTrainer>, permits: Arc<Semaphore>) -> Self {
        let evaluator = Evaluator {
            trainer,
            evaluated: None,
        };
        Self {
            evaluator: Arc::new(Mutex::new(evaluator)),
            permits,
        }
    }

    /// Runs `work` on a blocking thread once a permit is free. Returns how long the work itself
    /// took.
    async fn with<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Evaluator) -> Result<T, TrainError> + Send + 'static,
    ) -> (Result<T, TrainError>, Duration) {
        let mut evaluator = self.evaluator.lock_owned().await;
        let permit = self.permits.acquire_owned().await;
        // A panic in a trainer spoils nothing that the next call would rely on: it gets all
        // parameters anew.
        let done = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let done = work(&mut evaluator);
            drop(permit);
            (done, begun.elapsed())
        });
        done.await
            .unwrap_or_else(|_| (Err(TrainError::Panicked), Duration::ZERO))
    }
}

/// Trains from a global model, whose evaluation goes with the update. Shortens the update to the
/// L2 norm `longest`.
pub(super) async fn train(
    trainer: SharedTrainer,
    (round, order, longest): (u64, OrderKey, f64),
    (model, global): (Digest, Arc<Vec<f32>>),
    stop: StopFlag,
    events: mpsc::Sender<NodeEvent>,
) -> JobResult {
    let work = move |evaluator: &mut Evaluator| {
        let before = evaluator.evaluate(model, &global)?;
        let mut progress = |progress| {
            // A watcher that is behind misses steps, and training does not wait for it.
            let _ = events.try_send(NodeEvent::Progress { round, progress });
            match stop.0.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let order = order.seed(round, model);
        let trainer = &mut evaluator.trainer;
        let mut local = trainer.train(&global, round, &order, &mut progress)?;
        if let Some(norm) = local.update.shorten(longest)? {
            let limit = longest;
            let _ = events.try_send(NodeEvent::Shortened { round, norm, limit });
        }
        Ok(TrainedUpdate { local, before })
    };
    let (trained, took) = trainer.with(work).await;
    JobResult::Trained {
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
) -> JobResult {
    let (evaluation, _) = trainer
        .with(move |evaluator| evaluator.evaluate(model, &parameters))
        .await;
    JobResult::Evaluated { report, evaluation }
}

/// Downloads a result, checks it, and averages it onto `base`, in the memory of `spare`.
pub(super) async fn average(
    bodies: BodyTransfer,
    outcome: CheckedOutcome,
    masker: Masker,
    base: Arc<Vec<f32>>,
    spare: Vec<f32>,
) -> JobResult {
    let (ctx, took_part) = (outcome.ctx(), outcome.nodes().contains(&masker.own));
    let mut took = Duration::ZERO;
    let averaged = async {
        let mut download = bodies.download(BodyId::result(ctx)).await?;
        let mut opening = outcome.open(base, masker.manifest.fixed_point(), &masker.tags, spare);
        // A chunk takes a fraction of a millisecond, while the connection's own task receives the
        // next one.
        while let Some(chunk) = download.chunk().await? {
            let begun = Instant::now();
            opening.add(chunk);
            took += begun.elapsed();
        }
        Ok(opening.finish()?)
    };
    let averaged = averaged.await;
    JobResult::Averaged {
        averaged,
        took_part,
        took,
    }
}

/// Downloads a certified model and checks it.
pub(super) async fn adopt(bodies: BodyTransfer, checkpoint: CheckedCheckpoint) -> JobResult {
    let head = checkpoint.head();
    let adopted = async {
        let mut download = bodies.download(BodyId::model(head.model)).await?;
        let mut model = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            model.extend(from_le_bytes(chunk));
        }
        checkpoint.check_model(&model)?;
        Ok(model)
    };
    let adopted = adopted.await;
    JobResult::Adopted { head, adopted }
}
