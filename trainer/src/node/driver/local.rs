//! What a node has without a connection, and what it does on its own.

use fl_network::opener::OPENER;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fl_network::kit::Kit;
use fl_network::memory;
use fl_network::program::logging::explain;
use fl_network::time::unix_s;
use fl_protocol::audit::Entry;
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::metrics::{Tally, Totals};
use fl_protocol::round::committee::{CheckedSeeds, RevealOrder};
use fl_protocol::round::node::{Action, Node};
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{AbortReason, Head, Refusal, SentSum};
use fl_sharing::{DeviceError, EpochKey, RandomnessError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::RoundClock;
use super::connection::Cost;
use super::durable::{DurableNode, Remembered};
use super::guard::Guard;
use super::learner::{self, Learner};
use super::secrets::Secrets;
use crate::node::job::{JobResult, SharedTrainer, TrainingBounds};
use crate::node::masking::{Masker, OwnSeeds};
use crate::node::verifying::TagVerifier;
use crate::node::{NodeError, NodeEvent, NodeOutcome, Participant, RoundReport};
use crate::{OrderKey, TrainError};

/// Progress reports that may wait to be shown.
const EVENTS: usize = 64;

/// A node but for its connection.
pub(super) struct Local<F> {
    pub(super) kit: Kit,
    pub(super) machine: Node,
    pub(super) durable: DurableNode,
    pub(super) learner: Learner,
    pub(super) masker: Masker,
    pub(super) secrets: Secrets,
    /// Training, evaluation and a holder's sums.
    pub(super) jobs: JoinSet<JobResult>,
    pub(super) clock: RoundClock,
    pub(super) guard: Guard,
    pub(super) observe: F,
}

impl<F: FnMut(NodeEvent)> Local<F> {
    /// Takes up what the participant remembers. The receiver carries progress from training's
    /// thread.
    pub(super) fn new(
        participant: Participant,
        mut observe: F,
    ) -> Result<(Self, mpsc::Receiver<NodeEvent>), NodeError> {
        let Participant {
            kit,
            store,
            trainer,
            engine,
            training,
            ..
        } = participant;
        let identity = kit.node_identity()?.clone();
        let layout = trainer.layout().clone();
        learner::check_layout(&kit.manifest, &layout)?;
        learner::check_metrics(&kit.manifest, trainer.metrics())?;
        let agreed = kit.member()?;
        learner::check_examples(agreed, trainer.examples())?;
        let examples_max = agreed.examples_max;
        let epoch_key = Arc::new(EpochKey::from_bytes(*kit.epoch_key()?));
        memory::lock(epoch_key.expose());
        let (durable, remembered) = DurableNode::open(store, &kit, &mut observe)?;
        let Remembered {
            head,
            model,
            sent,
            pending,
            proofs,
        } = remembered;
        if pending.is_some() {
            let round = head.next_round();
            observe(NodeEvent::Resumed { round });
        }
        let (events, progress) = mpsc::channel(EVENTS);
        let trainer = SharedTrainer::new(trainer, examples_max, training);
        let guard = Guard::new(kit.manifest.limits().clone(), durable.lowest_loss());
        let manifest = kit.manifest.clone();
        let order = OrderKey::new(identity.clone(), manifest.consortium_id());
        let bounds = TrainingBounds::of(&manifest);
        let mut machine = Node::new(manifest, identity, head, sent, pending, OPENER);
        machine.resume_convictions(&proofs);
        let local = Self {
            machine,
            durable,
            learner: Learner::new(
                trainer,
                (order, bounds),
                events,
                (head.model, Arc::new(model)),
            ),
            masker: Masker {
                own: kit.id(),
                manifest: kit.manifest.clone(),
                layout: Arc::new(layout),
                engine,
                tags: TagVerifier::new(epoch_key),
            },
            kit,
            secrets: Secrets::None,
            jobs: JoinSet::new(),
            clock: RoundClock::default(),
            guard,
            observe,
        };
        Ok((local, progress))
    }

    /// Forgets what is worth nothing without the connection.
    pub(super) fn disconnected(&mut self) {
        self.machine.disconnected();
        self.secrets.step_back();
    }

    /// Stops training, and shows what is still to be shown.
    pub(super) async fn end(mut self, finished: Result<bool, NodeError>) -> NodeOutcome {
        self.learner.stop();
        while let Some(done) = self.jobs.join_next().await {
            let Ok(JobResult::Evaluated { report, evaluation }) = done else {
                continue;
            };
            match evaluation {
                Ok(local) => (self.observe)(NodeEvent::Round(RoundReport { local, ..*report })),
                // A node that ends with an error has more to say than this.
                Err(error) if finished.is_ok() => self.report(explain(&error)),
                Err(_) => {}
            }
        }
        NodeOutcome {
            round: self.machine.head().round,
            model: self.learner.model(),
            finished,
        }
    }

    /// Logs an entry. What cannot be logged is not done: the node steps back before others rely on
    /// it, and `queue` becomes what is to be done instead.
    pub(super) async fn log(
        &mut self,
        entry: Entry,
        queue: &mut VecDeque<Action>,
    ) -> Result<(), NodeError> {
        let (refused, asked_again) = (
            // This leads out of the attempt anyway.
            matches!(entry, Entry::Refused { .. }),
            matches!(entry, Entry::Sums(_) | Entry::Body { .. }),
        );
        if let Err(error) = self.durable.log(entry).await? {
            self.report(error.to_string());
            if asked_again {
                queue.clear();
            } else if !refused {
                let refusal = Refusal::CannotContribute(AbortReason::Disk);
                *queue = self.machine.abandon(refusal).into();
            }
        }
        Ok(())
    }

    /// Makes an entry of the record of sent sums durable. Nothing is sent without it; the relay
    /// asks again.
    pub(super) async fn record(
        &mut self,
        sum: SentSum,
        queue: &mut VecDeque<Action>,
    ) -> Result<(), NodeError> {
        if let Err(error) = self.durable.record(sum).await? {
            self.report(error.to_string());
            for action in queue.drain(..) {
                if let Action::Reveal(order) = action {
                    self.machine.not_revealed(order.ctx(), order.classes());
                }
            }
        }
        Ok(())
    }

    /// Begins training, or offers the update that was kept for this model.
    pub(super) fn train(&mut self, round: u64, attempt: u32, deadline_ms: u64) -> Vec<Action> {
        self.secrets.step_back();
        self.clock.opened();
        if self.learner.update().is_some() {
            return self.machine.trained(round);
        }
        if let Some(job) = self.learner.train(round) {
            let deadline = Duration::from_millis(deadline_ms);
            (self.observe)(NodeEvent::Training {
                round,
                attempt,
                deadline,
            });
            self.jobs.spawn(job);
        }
        Vec::new()
    }

    /// Draws a round key: a participant's, or a holder's.
    pub(super) fn draw(
        &mut self,
        round: u64,
        key: impl FnOnce(&mut Secrets) -> Result<Vec<u8>, RandomnessError>,
    ) -> Result<Vec<Action>, NodeError> {
        let public = key(&mut self.secrets).map_err(|_| NodeError::Entropy)?;
        Ok(self.machine.keyed(round, public, unix_s())?)
    }

    /// Draws a participant's seeds, and seals them to the receivers.
    pub(super) fn seal(
        &mut self,
        ctx: Digest,
        receivers: &[(NodeId, Vec<u8>)],
    ) -> Result<Vec<Action>, NodeError> {
        let begun = Instant::now();
        let actions = match OwnSeeds::seal(ctx, self.kit.id(), receivers) {
            Ok((seeds, sealed)) => {
                self.secrets.add_seeds(seeds);
                self.machine.sealed(ctx, sealed)?
            }
            Err(refusal) => {
                (self.observe)(NodeEvent::Refused(refusal.clone()));
                self.secrets.step_back();
                self.machine.abandon(refusal)
            }
        };
        self.clock.shared(begun.elapsed());
        Ok(actions)
    }

    /// Opens a contributor's seeds.
    pub(super) fn open(&mut self, seeds_for: &CheckedSeeds) -> Result<Vec<Action>, NodeError> {
        let Some(holding) = self.secrets.holding_mut() else {
            return Ok(Vec::new());
        };
        let found = holding.open(self.kit.id(), seeds_for);
        Ok(self
            .machine
            .opened(seeds_for.ctx(), seeds_for.entry(), found)?)
    }

    /// Sums up masks beside the loop. That goes on over a lost connection, like the attempt.
    pub(super) fn reveal(&mut self, order: &RevealOrder) {
        let (ctx, classes) = (order.ctx(), order.classes());
        let holding = self.secrets.holding();
        let Some(masks) = holding.and_then(|holding| holding.masks(order)) else {
            self.machine.not_revealed(ctx, classes);
            return;
        };
        let masker = self.masker.clone();
        self.jobs.spawn_blocking(move || {
            let (begun, tag) = (Instant::now(), masks.tag);
            let sum = masks.sum(&*masker.engine, &masker.manifest);
            JobResult::Revealed {
                ctx,
                classes,
                sum,
                tag,
                took: begun.elapsed(),
            }
        });
    }

    /// Makes the new state durable. The attempt is over.
    pub(super) fn commit(&mut self, head: Head) {
        self.durable.commit(head, self.learner.model());
        self.secrets = Secrets::None;
    }

    pub(super) fn received(&mut self) {
        let round = self.machine.head().next_round();
        (self.observe)(NodeEvent::Received { round });
    }

    pub(super) fn waiting(&mut self, missing: Vec<NodeId>, for_s: u64) {
        let since = Duration::from_secs(for_s);
        (self.observe)(NodeEvent::Waiting { missing, since });
    }

    /// Ends a round, which had this cost on the connection.
    pub(super) fn close_round(
        &mut self,
        averaged: &Averaged,
        took_part: bool,
        cost: Cost,
    ) -> RoundReport {
        let (times, steps) = self.clock.close();
        RoundReport {
            round: averaged.head.round,
            nodes: averaged.nodes,
            took_part,
            totals: Totals::of(&averaged.totals, self.masker.manifest.metrics()),
            local: Tally::default(),
            model: averaged.model.clone(),
            times,
            steps,
            bytes_up: cost.udp.sent,
            bytes_down: cost.udp.received,
            payload_up: cost.payload.sent,
            payload_down: cost.payload.received,
        }
    }

    /// Shows the report of a round. Training from the new model needs its evaluation as well, and
    /// steps back for want of it.
    pub(super) fn evaluated(
        &mut self,
        report: RoundReport,
        evaluation: Result<Tally, TrainError>,
    ) -> Result<(), NodeError> {
        match evaluation {
            Ok(local) => {
                let report = RoundReport { local, ..report };
                (self.observe)(NodeEvent::Round(report.clone()));
                self.guard(&report.local)?;
            }
            Err(error) => self.show(error)?,
        }
        Ok(())
    }

    /// Looks at what the global model is worth here.
    pub(super) fn guard(&mut self, evaluation: &Tally) -> Result<(), NodeError> {
        let round = self.machine.head().round;
        if let Some(lowest) = self.guard.evaluated(round, evaluation)?
            && let Err(error) = self.durable.keep_lowest_loss(lowest)
        {
            self.report(error.to_string());
        }
        Ok(())
    }

    /// Shows what failed. An error is what nothing can go better after.
    pub(super) fn show(&mut self, error: TrainError) -> Result<(), NodeError> {
        self.report(explain(&error));
        match error {
            TrainError::Gpu(DeviceError::Lost) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn report(&mut self, reason: String) {
        (self.observe)(NodeEvent::Failed { reason });
    }
}
