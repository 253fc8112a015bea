//! The node's loop: listens to the relay, and carries out what the machine decides.
//!
//! The parts of a node live differently long, and each is a type of its own:
//!
//! | lives as long as | part |
//! | --- | --- |
//! | the process | [`Local`]: the machine, and all parts but the connection |
//! | a connection | [`ConnectionJobs`]: the link, transfers, masking |
//! | an attempt | [`Secrets`](secrets::Secrets): a round key, and seeds |
//! | a round | [`RoundClock`](clock::RoundClock) |
//! | a global model | [`Learner`](learner::Learner): training, and the update |
//! | the disk | [`DurableNode`](durable::DurableNode): the log, the outbox and the state |
//!
//! A [`NodeDriver`] serves one connection; [`run`] makes one after the other.

mod backoff;
mod clock;
mod connection;
mod durable;
mod guard;
mod learner;
mod local;
mod run;
mod secrets;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

use fl_network::client::LinkError;
use fl_network::time::unix_s;
use fl_protocol::digest::Digest;
use fl_protocol::round::committee::{ClassSet, Recipients};
use fl_protocol::round::node::Action;
use fl_protocol::round::peer::CompleteShares;
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{AbortReason, CheckedOutcome, Head, Refusal};
use fl_protocol::wire::{BodyId, BodyKind, RelayFrame};
use fl_shaders::Tag;
use fl_sharing::DeviceError;
use tokio::sync::mpsc;

use super::job::{self, DownloadError, HashedBody, JobResult, TrainedUpdate};
use super::masking::{MaskedUpdate, Masker, MaskingError};
use super::{NodeError, NodeEvent, Step};
use crate::TrainError;
use connection::{ConnectionJobs, FromRelay};
use local::Local;
use secrets::Secrets;

pub(super) use run::run;

/// What drives the machine over one connection.
struct NodeDriver<'a, F> {
    local: &'a mut Local<F>,
    connection: ConnectionJobs,
}

/// How one connection has ended.
enum ConnectionEnd {
    Lost(LinkError),
    TurnedAway(Refusal),
    Finished,
    Stopped,
}

/// What became of actions: an end of the connection, if they led to one.
type ConnectionResult = Result<Option<ConnectionEnd>, NodeError>;

impl<F: FnMut(NodeEvent)> NodeDriver<'_, F> {
    /// Serves one connection until it ends.
    async fn serve(
        &mut self,
        progress: &mut mpsc::Receiver<NodeEvent>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<ConnectionEnd, NodeError> {
        let actions = self.local.machine.connected(unix_s())?;
        if let Some(end) = self.perform(actions).await? {
            return Ok(end);
        }
        // A refusal by the relay's TLS arrives only with the first answer, so say so after that.
        let mut greeted = false;
        loop {
            let end = tokio::select! {
                () = stop.as_mut() => Some(ConnectionEnd::Stopped),
                Some(event) = progress.recv() => {
                    (self.local.observe)(event);
                    None
                }
                written = self.local.durable.committed(), if self.local.durable.is_committing() => {
                    written?;
                    None
                }
                Some(done) = self.local.jobs.join_next(), if !self.local.jobs.is_empty() => {
                    self.done(done?).await?
                }
                incoming = self.connection.next() => match incoming? {
                    FromRelay::Lost(error) => Some(ConnectionEnd::Lost(error)),
                    FromRelay::Job(done) => self.done(done).await?,
                    FromRelay::Frame(frame) => {
                        if !std::mem::replace(&mut greeted, true) {
                            (self.local.observe)(NodeEvent::Connected);
                        }
                        self.handle(frame).await?
                    }
                },
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Lets the machine decide on a frame, and does what it says.
    async fn handle(&mut self, frame: RelayFrame) -> ConnectionResult {
        match self.local.machine.handle(frame, unix_s()) {
            Ok(actions) => self.perform(actions).await,
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    /// Carries out what the machine decided, in order.
    async fn perform(&mut self, actions: Vec<Action>) -> ConnectionResult {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Log(entry) => self.local.log(entry, &mut queue).await?,
                Action::Send(frame) => {
                    if let Err(error) = self.connection.send(&frame).await {
                        return Ok(Some(ConnectionEnd::Lost(error)));
                    }
                }
                Action::Train {
                    round,
                    attempt,
                    deadline_ms,
                } => queue.extend(self.local.train(round, attempt, deadline_ms)),
                Action::Seal { ctx, receivers } => queue.extend(self.local.seal(ctx, &receivers)?),
                Action::Sum(shares) => self.sum(shares),
                Action::DrawRoundKey { round, .. } => {
                    queue.extend(self.local.draw(round, Secrets::draw_participant)?);
                }
                Action::DrawHolderKey { round, .. } => {
                    queue.extend(self.local.draw(round, Secrets::draw_holder)?);
                }
                Action::Contribute(holders) => self.contribute(holders),
                Action::Open(seeds_for) => queue.extend(self.local.open(&seeds_for)?),
                Action::Reveal(order) => self.local.reveal(&order),
                Action::Received { .. } => self.local.received(),
                Action::Record(sum) => self.local.record(sum, &mut queue).await?,
                Action::Upload { body, first_chunk } => self.upload(body, first_chunk),
                Action::Average(outcome) => self.average(outcome),
                Action::Adopt(checkpoint) => {
                    self.connection
                        .download(|bodies| job::adopt(bodies, checkpoint));
                }
                Action::Commit(head) => self.local.commit(head),
                Action::Convicted(conviction) => {
                    (self.local.observe)(NodeEvent::Convicted(conviction));
                }
                Action::Waiting { missing, for_s } => self.local.waiting(missing, for_s),
                Action::TurnedAway(refusal) => return Ok(Some(ConnectionEnd::TurnedAway(refusal))),
                Action::Finish { .. } => return Ok(Some(ConnectionEnd::Finished)),
            }
        }
        Ok(None)
    }

    /// Tells the machine what a job brought back.
    async fn done(&mut self, done: JobResult) -> ConnectionResult {
        match done {
            JobResult::Trained {
                round,
                model,
                trained,
                took,
            } => self.trained(round, (model, trained), took).await,
            JobResult::Masked { ctx, masked, took } => self.masked(ctx, masked, took).await,
            JobResult::Revealed {
                ctx,
                classes,
                sum,
                tag,
                took,
            } => self.revealed((ctx, classes), (sum, tag), took).await,
            JobResult::Uploaded => Ok(None),
            JobResult::Averaged {
                averaged,
                took_part,
                took,
            } => self.averaged(averaged, took_part, took).await,
            JobResult::Adopted { head, adopted } => self.adopted(head, adopted).await,
            JobResult::Evaluated { report, evaluation } => {
                self.local.evaluated(*report, evaluation)?;
                Ok(None)
            }
        }
    }

    /// Computes a participant's masked sum. The secrets go with the job and are erased there.
    fn sum(&mut self, shares: CompleteShares) {
        self.local.clock.step(Step::Shares);
        if let Some(secrets) = self.local.secrets.take_participant() {
            self.mask(shares.ctx(), move |masker, update, spare| {
                masker.sum(update, secrets, shares.sealed(), spare)
            });
        }
    }

    /// Masks the update as a contributor.
    fn contribute(&mut self, holders: Recipients) {
        self.local.clock.step(Step::Shares);
        self.mask(holders.ctx(), move |masker, update, spare| {
            masker.contribute(update, &holders, spare)
        });
    }

    /// Has `mask` mask the update beside the loop, in memory to reuse.
    fn mask(
        &mut self,
        ctx: Digest,
        mask: impl FnOnce(&Masker, &TrainedUpdate, Vec<u8>) -> Result<MaskedUpdate, MaskingError>
        + Send
        + 'static,
    ) {
        let Some(update) = self.local.learner.update() else {
            return;
        };
        let (masker, spare) = (self.local.masker.clone(), self.local.durable.take_spare());
        self.connection.spawn_blocking(move || {
            let begun = Instant::now();
            let masked = mask(&masker, &update, spare);
            let took = begun.elapsed();
            JobResult::Masked { ctx, masked, took }
        });
    }

    /// Uploads a body that the relay asks for.
    fn upload(&mut self, id: BodyId, first_chunk: u32) {
        match id.kind {
            BodyKind::Sum | BodyKind::Result => {
                self.local.clock.step(Step::Asked);
                if let Some(body) = self.local.durable.outgoing() {
                    self.connection.upload(id, first_chunk, body.clone());
                }
            }
            BodyKind::Reveal => {
                let reveals = self.local.secrets.holding().map(|holding| &holding.reveals);
                if let Some(body) = reveals.and_then(|reveals| reveals.get(&id.subject)) {
                    self.connection.upload_reveal(id, first_chunk, body.clone());
                }
            }
            BodyKind::Model => {
                if self
                    .connection
                    .transfer_model(id, self.local.learner.model())
                {
                    let round = self.local.machine.head().round;
                    (self.local.observe)(NodeEvent::ModelSent { round });
                }
            }
        }
    }

    /// Downloads a result and averages it.
    fn average(&mut self, outcome: CheckedOutcome) {
        self.local.clock.step(Step::Announced);
        let masker = self.local.masker.clone();
        self.connection
            .download(|bodies| self.local.learner.average(bodies, outcome, masker));
    }

    /// Training from `model` is over.
    async fn trained(
        &mut self,
        round: u64,
        (model, trained): (Digest, Result<TrainedUpdate, TrainError>),
        took: Duration,
    ) -> ConnectionResult {
        let Some(trained) = self.local.learner.trained(model, trained) else {
            return Ok(None);
        };
        self.local.clock.trained(took);
        if let Err(error) = trained {
            return self.untrained(error).await;
        }
        if let Some(update) = self.local.learner.update() {
            self.local.guard(&update.before)?;
            if update.curtailed {
                (self.local.observe)(NodeEvent::Curtailed { round });
            }
        }
        (self.local.observe)(NodeEvent::Trained { round });
        if !self.local.machine.is_training() {
            return Ok(None);
        }
        let actions = self.local.machine.trained(round);
        self.perform(actions).await
    }

    /// The data or the model made this round impossible: the others go on without. Where nobody
    /// does, the model stays the same, and trying for ever would not help.
    async fn untrained(&mut self, error: TrainError) -> ConnectionResult {
        let abort_reason = learner::abort_reason(&error);
        match self.local.learner.given_up() {
            // A later model, on its way here, may do better.
            Some(times) if !self.local.machine.is_catching_up() => {
                // The others learn that this node steps back, its operator why it ends.
                let actions = self
                    .local
                    .machine
                    .abandon(Refusal::CannotContribute(abort_reason));
                self.perform(actions).await?;
                let source = Box::new(error);
                Err(NodeError::Untrainable { times, source })
            }
            _ => self.step_back(abort_reason, error).await,
        }
    }

    /// The update is masked, or cannot be.
    async fn masked(
        &mut self,
        ctx: Digest,
        masked: Result<MaskedUpdate, MaskingError>,
        took: Duration,
    ) -> ConnectionResult {
        self.local.clock.shared(took);
        self.local.clock.step(Step::Masked);
        if !self.local.machine.is_masking(ctx) {
            return Ok(None);
        }
        match masked {
            Ok(masked) => self.announce(ctx, masked).await,
            Err(MaskingError::Refused(refusal)) => self.refuse(refusal).await,
            Err(MaskingError::Box { from, round_key }) => {
                let round_key = Zeroizing::new(round_key.publish());
                (self.local.observe)(NodeEvent::Refused(Refusal::Share { from }));
                let actions = self.local.machine.accuse(ctx, from, *round_key)?;
                self.perform(actions).await
            }
            Err(MaskingError::Device(error)) => {
                self.step_back(AbortReason::Computation, error.into()).await
            }
        }
    }

    /// Announces a masked vector, once it is on the disk.
    async fn announce(&mut self, ctx: Digest, masked: MaskedUpdate) -> ConnectionResult {
        let machine = &mut self.local.machine;
        let (body, announcement) = match masked {
            MaskedUpdate::Sum { body, tag_share } => {
                let announcement = machine.summed(ctx, body.hashes.root(), tag_share)?;
                (body, announcement)
            }
            MaskedUpdate::Contribution {
                body,
                tag,
                envelope,
            } => {
                let root = body.hashes.root();
                let announcement = machine.contributed(ctx, root, tag, envelope)?;
                (body, announcement)
            }
        };
        let Some(announcement) = announcement else {
            return Ok(None);
        };
        let actions = match self.local.durable.keep(announcement, body).await? {
            Ok(frame) => vec![Action::Send(frame)],
            // On a full disk the node steps back before anything is announced.
            Err(error) => {
                self.local.report(error.to_string());
                let refusal = Refusal::CannotContribute(AbortReason::Disk);
                self.local.machine.not_kept(refusal)
            }
        };
        self.perform(actions).await
    }

    /// Masks are summed up, or cannot be. A sum is kept for as long as the attempt lasts.
    async fn revealed(
        &mut self,
        (ctx, classes): (Digest, ClassSet),
        (sum, tag): (Result<HashedBody, DeviceError>, Tag),
        took: Duration,
    ) -> ConnectionResult {
        self.local.clock.shared(took);
        let body = match sum {
            Ok(body) => body,
            // If they are still wanted, the relay may ask again, or another holder.
            Err(error) => {
                return match self.local.machine.not_revealed(ctx, classes) {
                    true => self.step_back(AbortReason::Computation, error.into()).await,
                    false => self.local.show(error.into()).map(|()| None),
                };
            }
        };
        let root = body.hashes.root();
        let actions = self.local.machine.revealed(ctx, classes, root, tag)?;
        if let Some(holding) = self.local.secrets.holding_mut()
            && !actions.is_empty()
        {
            holding.reveals.insert(root, body);
        }
        self.perform(actions).await
    }

    /// A result is averaged, or does not hold.
    async fn averaged(
        &mut self,
        averaged: Result<Averaged, DownloadError>,
        took_part: bool,
        took: Duration,
    ) -> ConnectionResult {
        self.local.clock.shared(took);
        self.local.clock.step_before(Step::Downloaded, took);
        self.local.clock.step(Step::Averaged);
        let averaged = match averaged {
            Ok(averaged) => averaged,
            Err(error) => return self.not_downloaded(error).await,
        };
        let format = self.local.kit.manifest.fixed_point();
        self.local.guard.moved(&averaged, format)?;
        let actions = self.local.machine.averaged(&averaged)?;
        if actions.is_empty() {
            return Ok(None);
        }
        let hash = averaged.head.model;
        self.local.learner.replace(hash, averaged.model.clone());
        let end = self.perform(actions).await?;
        let cost = self.connection.take_cost();
        let report = self.local.close_round(&averaged, took_part, cost);
        self.local.jobs.spawn(self.local.learner.evaluate(report));
        Ok(end)
    }

    /// A certified model is here, or does not hold.
    async fn adopted(
        &mut self,
        head: Head,
        adopted: Result<Vec<f32>, DownloadError>,
    ) -> ConnectionResult {
        let model = match adopted {
            Ok(model) => model,
            Err(error) => return self.not_downloaded(error).await,
        };
        let actions = self.local.machine.adopted(head)?;
        if actions.is_empty() {
            return Ok(None);
        }
        self.local.learner.replace(head.model, Arc::new(model));
        let round = head.round;
        (self.local.observe)(NodeEvent::CaughtUp { round });
        self.perform(actions).await
    }

    async fn not_downloaded(&mut self, error: DownloadError) -> ConnectionResult {
        match error {
            DownloadError::Refused(refusal) => self.refuse(refusal).await,
            DownloadError::Link(error) => Ok(Some(ConnectionEnd::Lost(error))),
        }
    }

    /// The machine does not accept what the relay sent: both sides show why.
    async fn refuse(&mut self, refusal: Refusal) -> ConnectionResult {
        (self.local.observe)(NodeEvent::Refused(refusal.clone()));
        // What belongs to the attempt ends with it.
        self.local.secrets.step_back();
        self.connection.abort_download();
        let actions = self.local.machine.abandon(refusal);
        self.perform(actions).await
    }

    /// Training, masking or a sum of masks failed. The node steps back from the attempt, and ends
    /// if no later one can go better.
    async fn step_back(
        &mut self,
        abort_reason: AbortReason,
        error: TrainError,
    ) -> ConnectionResult {
        let shown = self.local.show(error);
        // For a node that is on its way to a later state, that attempt is over.
        let end = match self.local.machine.is_catching_up() {
            true => None,
            false => {
                let refusal = Refusal::CannotContribute(abort_reason);
                self.refuse(refusal).await?
            }
        };
        shown.map(|()| end)
    }
}
