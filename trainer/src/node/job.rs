//! What runs beside a node's loop: training, evaluation, downloads. (Masking and a holder's sums
//! run beside it as well; see `masking` and `holding`.)

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fl_network::client::{BodyTransfer, LinkError};
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::manifest::Manifest;
use fl_protocol::metrics::Tally;
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
use crate::provision::rounded_up;
use crate::{LocalTrainer, LocalUpdate, OrderKey, Part, Progress, TrainError};

/// How many training examples there are for each test example at least, as far as an evaluation's
/// time is to tell: a node holds back a fifth of its rows.
const TRAINING_A_TEST: u32 = 4;

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
        evaluation: Result<Tally, TrainError>,
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
    pub(super) before: Tally,
    /// Whether the agreed time was over before training was padded, so that its time tells about
    /// how many examples there are.
    pub(super) curtailed: bool,
}

/// What the manifest says of a round of training.
#[derive(Clone, Copy)]
pub(super) struct TrainingBounds {
    /// How long the others wait for it.
    time: Duration,
    /// The L2 norm of the longest update.
    norm: f64,
}

impl TrainingBounds {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            time: Duration::from_secs(manifest.timeouts().training_s),
            norm: manifest.limits().update_norm,
        }
    }
}

/// Tells training to stop at the next step.
#[derive(Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A trainer that remembers its last evaluation, and takes the time that the most examples would
/// take.
struct Evaluator {
    trainer: Box<dyn LocalTrainer>,
    /// The node's figure in the manifest.
    examples_max: u32,
    evaluated: Option<(Digest, Tally)>,
}

impl Evaluator {
    /// Evaluates a model at most once. Both the report of its round and the next round's training
    /// need the result; whichever asks first computes it.
    fn evaluate(&mut self, model: Digest, parameters: &[f32]) -> Result<Tally, TrainError> {
        if let Some((of, evaluation)) = &self.evaluated
            && *of == model
        {
            return Ok(evaluation.clone());
        }
        let evaluation = self.trainer.evaluate(parameters)?;
        let examples = u32::try_from(evaluation.examples()).unwrap_or(u32::MAX);
        let up_to = rounded_up(examples).max(self.examples_max / TRAINING_A_TEST);
        let mut on = |_| ControlFlow::Continue(());
        self.trainer.pad(Part::Test, up_to, &mut on)?;
        self.evaluated = Some((model, evaluation.clone()));
        Ok(evaluation)
    }

    /// Works on after training, until it has taken the time that the most examples would take, or
    /// the `deadline` is over. Returns whether that came first.
    fn pad(
        &mut self,
        deadline: Option<Instant>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<bool, TrainError> {
        let mut curtailed = false;
        let mut until = |at: Progress| {
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            curtailed = over && at.step < at.steps;
            match curtailed {
                true => ControlFlow::Break(()),
                false => progress(at),
            }
        };
        let (part, up_to) = (Part::Training, self.examples_max);
        self.trainer.pad(part, up_to, &mut until)?;
        Ok(curtailed)
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
    /// A trainer of a node with this figure in the manifest.
    pub(super) fn new(
        trainer: Box<dyn LocalTrainer>,
        examples_max: u32,
        permits: Arc<Semaphore>,
    ) -> Self {
        let evaluator = Evaluator {
            trainer,
            examples_max,
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

/// Trains from a global model, whose evaluation goes with the update. Takes no less than the time
/// that the most examples of this node would take, within the bounds. An update that is longer than
/// these is shortened.
pub(super) async fn train(
    trainer: SharedTrainer,
    (round, order): (u64, OrderKey),
    (model, global): (Digest, Arc<Vec<f32>>),
    (stop, bounds): (StopFlag, TrainingBounds),
    events: mpsc::Sender<NodeEvent>,
) -> JobResult {
    let deadline = Instant::now().checked_add(bounds.time);
    let work = move |evaluator: &mut Evaluator| {
        let before = evaluator.evaluate(model, &global)?;
        let mut progress = |progress: Progress| {
            // A watcher that is behind misses steps, and training does not wait for it.
            let _ = events.try_send(NodeEvent::Progress { round, progress });
            match stop.0.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let order = order.seed(round, model);
        let trainer = &mut evaluator.trainer;
        let local = trainer.train(&global, round, &order, &mut progress);
        // The relay is told of a failure, too.
        let curtailed = evaluator.pad(deadline, &mut progress);
        let mut local = local?;
        let limit = bounds.norm;
        if let Some(norm) = local.update.shorten(limit)? {
            let _ = events.try_send(NodeEvent::Shortened { round, norm, limit });
        }
        Ok(TrainedUpdate {
            local,
            before,
            curtailed: curtailed?,
        })
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
