//! What a node learns: the global model, and the update that it trains from it.

use std::sync::Arc;

use fl_network::client::BodyTransfer;
use fl_protocol::digest::Digest;
use fl_protocol::manifest::{Manifest, Member};
use fl_protocol::metrics::Metrics;
use fl_protocol::round::{AbortReason, CheckedOutcome};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::node::job::{self, JobResult, SharedTrainer, StopFlag, TrainedUpdate, TrainingBounds};
use crate::node::masking::Masker;
use crate::node::{NodeError, NodeEvent, RoundReport};
use crate::{Layout, OrderKey, TrainError};

/// How often a node trains from one model without success before it gives up.
const TRAININGS: u32 = 3;

/// A trainer, and the global model that it trains from.
pub(super) struct Learner {
    trainer: SharedTrainer,
    order: OrderKey,
    /// How long training may take, and how long an update may be.
    bounds: TrainingBounds,
    /// Takes the progress of training from its thread.
    events: mpsc::Sender<NodeEvent>,
    global: GlobalModel,
    /// Memory of the former global model, for the next one.
    spare: Vec<f32>,
}

/// The global model of the machine's chain, and what is only of use as long as it is that.
struct GlobalModel {
    hash: Digest,
    parameters: Arc<Vec<f32>>,
    /// Goes on over attempts and connections.
    training: Option<TrainingGuard>,
    /// Kept over attempts.
    update: Option<Arc<TrainedUpdate>>,
    /// How often training has failed.
    failures: u32,
}

/// Training under way: it ends at its next step when this is dropped.
struct TrainingGuard(StopFlag);

impl Drop for TrainingGuard {
    fn drop(&mut self) {
        self.0.raise();
    }
}

impl GlobalModel {
    fn new(hash: Digest, parameters: Arc<Vec<f32>>) -> Self {
        Self {
            hash,
            parameters,
            training: None,
            update: None,
            failures: 0,
        }
    }
}

impl Learner {
    /// Learns from the global model `parameters` with this hash, in orders that follow from this
    /// key, within these bounds.
    pub(super) fn new(
        trainer: SharedTrainer,
        (order, bounds): (OrderKey, TrainingBounds),
        events: mpsc::Sender<NodeEvent>,
        (hash, parameters): (Digest, Arc<Vec<f32>>),
    ) -> Self {
        Self {
            trainer,
            order,
            bounds,
            events,
            global: GlobalModel::new(hash, parameters),
            spare: Vec::new(),
        }
    }

    /// Returns the global model.
    pub(super) fn model(&self) -> Arc<Vec<f32>> {
        self.global.parameters.clone()
    }

    /// Returns the update that was trained from the global model.
    pub(super) fn update(&self) -> Option<Arc<TrainedUpdate>> {
        self.global.update.clone()
    }

    /// Begins training, unless it goes on already.
    pub(super) fn train(
        &mut self,
        round: u64,
    ) -> Option<impl Future<Output = JobResult> + Send + use<>> {
        let GlobalModel {
            hash,
            parameters,
            training,
            ..
        } = &mut self.global;
        if training.is_some() {
            return None;
        }
        let stop = StopFlag::default();
        *training = Some(TrainingGuard(stop.clone()));
        let (trainer, events) = (self.trainer.clone(), self.events.clone());
        let model = (*hash, parameters.clone());
        let order = (round, self.order.clone());
        let within = (stop, self.bounds);
        Some(job::train(trainer, order, model, within, events))
    }

    /// Takes what came of training from `model`. Returns nothing if that model is history.
    pub(super) fn trained(
        &mut self,
        model: Digest,
        trained: Result<TrainedUpdate, TrainError>,
    ) -> Option<Result<(), TrainError>> {
        if model != self.global.hash {
            return None;
        }
        self.global.training = None;
        Some(match trained {
            Ok(update) => {
                self.global.update = Some(Arc::new(update));
                Ok(())
            }
            Err(error) => {
                self.global.failures += 1;
                Err(error)
            }
        })
    }

    /// Returns how often training from the global model has failed, if that is too often.
    pub(super) fn given_up(&self) -> Option<u32> {
        let failures = self.global.failures;
        (failures >= TRAININGS).then_some(failures)
    }

    /// Averages a result onto the global model, in the memory of the former one.
    pub(super) fn average(
        &mut self,
        bodies: BodyTransfer,
        outcome: CheckedOutcome,
        masker: Masker,
    ) -> impl Future<Output = JobResult> + Send + use<> {
        let spare = std::mem::take(&mut self.spare);
        job::average(bodies, outcome, masker, self.model(), spare)
    }

    /// Goes on with a new global model. Training from the former one ends.
    pub(super) fn replace(&mut self, hash: Digest, parameters: Arc<Vec<f32>>) {
        let next = GlobalModel::new(hash, parameters);
        let former = std::mem::replace(&mut self.global, next);
        // It is erased, which takes as long as to acknowledge the result does.
        if let Some(update) = former.update {
            drop(spawn_blocking(move || drop(update)));
        }
        self.spare = Arc::try_unwrap(former.parameters).unwrap_or_default();
    }

    /// Evaluates the global model for the report of its round.
    pub(super) fn evaluate(
        &self,
        report: RoundReport,
    ) -> impl Future<Output = JobResult> + Send + use<> {
        let model = (self.global.hash, self.model());
        job::evaluate(self.trainer.clone(), model, Box::new(report))
    }

    /// Ends training.
    pub(super) fn stop(&mut self) {
        self.global.training = None;
    }
}

/// Returns what others may know of failed training.
pub(super) fn abort_reason(error: &TrainError) -> AbortReason {
    match error {
        TrainError::NotFinite { tensor, .. } => AbortReason::NotFinite {
            tensor: tensor.clone(),
        },
        TrainError::NoExamples => AbortReason::Examples,
        TrainError::Gpu(_) => AbortReason::Computation,
        _ => AbortReason::Training,
    }
}

/// Checks that a node has no more training examples than the manifest says of it, and some.
pub(super) fn check_examples(agreed: &Member, examples: u64) -> Result<(), NodeError> {
    let examples_max = agreed.examples_max;
    match (1..=examples_max.into()).contains(&examples) {
        true => Ok(()),
        false => Err(NodeError::Examples {
            examples,
            examples_max,
        }),
    }
}

/// Checks that what evaluations count is what the manifest says.
pub(super) fn check_metrics(manifest: &Manifest, metrics: Metrics) -> Result<(), NodeError> {
    match manifest.metrics() == metrics {
        true => Ok(()),
        false => Err(NodeError::Metrics),
    }
}

/// Checks that a model is the manifest's.
pub(super) fn check_layout(manifest: &Manifest, layout: &Layout) -> Result<(), NodeError> {
    let agreed = manifest.layout();
    let ours = layout.tensors();
    let differs = ours
        .iter()
        .zip(agreed)
        .find(|(ours, agreed)| ours != agreed)
        .map(|(ours, _)| ours.name.clone());
    match differs {
        Some(tensor) => Err(NodeError::Layout { tensor }),
        None if ours.len() != agreed.len() => Err(NodeError::Layout {
            tensor: "the number of tensors".to_owned(),
        }),
        None => Ok(()),
    }
}
