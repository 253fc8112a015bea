//! What a node does in an attempt: trains, offers a key, seals, masks, uploads, averages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fl_network::client::Link;
use fl_network::program::logging::explain;
use fl_network::store::Outgoing;
use fl_network::time::unix_s;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::parameters::to_le_bytes;
use fl_protocol::round::node::{Action, Announcement};
use fl_protocol::round::peer::CompleteShares;
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{Chain, Hindrance, Refusal};
use fl_protocol::wire::{BodyId, BodyKind};
use fl_shaders::Counters;
use fl_sharing::{DeviceError, RoundKey};

use super::clock::Counted;
use super::{Driver, End, Secrets};
use crate::node::holding::Holding;
use crate::node::job::{self, Done, StopFlag};
use crate::node::masking::{Masked, Masking, MaskingError, OwnSeeds};
use crate::node::{NodeError, NodeEvent, RoundReport, RoundTimes, Step};
use crate::{Evaluation, TrainError};

/// How often a node trains from one model without success before it gives up.
const TRAININGS: u32 = 3;

impl<F: FnMut(NodeEvent)> Driver<F> {
    /// Begins training, or offers the update that was kept for this model.
    pub(super) fn train(
        &mut self,
        round: u64,
        attempt: u32,
        deadline: Duration,
    ) -> Result<Vec<Action>, NodeError> {
        self.secrets = Secrets::default();
        let model = self.machine.chain().model;
        self.clock.opened.get_or_insert_with(Instant::now);
        if self.update.as_ref().is_some_and(|(base, _)| *base == model) {
            return Ok(self.machine.trained(round));
        }
        if self.training == Some(model) {
            return Ok(Vec::new());
        }
        (self.observe)(NodeEvent::Training {
            round,
            attempt,
            deadline,
        });
        self.training = Some(model);
        self.stop_training = StopFlag::default();
        let job = job::train(
            self.trainer.clone(),
            round,
            (model, self.model.clone()),
            self.stop_training.clone(),
            self.events.clone(),
        );
        self.local.spawn(job);
        Ok(Vec::new())
    }

    /// Draws a round key: a participant's, or a holder's, whose former holdings are erased with it.
    pub(super) fn draw_round_key(&mut self, round: u64) -> Result<Vec<Action>, NodeError> {
        let public = if self.kit.manifest.committee().is_some() {
            let holding = Holding::generate().map_err(|_| NodeError::Entropy)?;
            self.reveal_uploads.clear();
            *self.holding.insert(holding).public()
        } else {
            let round_key = RoundKey::generate().map_err(|_| NodeError::Entropy)?;
            let public = *round_key.public();
            self.secrets = Secrets {
                round_key: Some(round_key),
                seeds: None,
            };
            public
        };
        Ok(self.machine.keyed(round, public, unix_s())?)
    }

    pub(super) fn seal(
        &mut self,
        ctx: Digest,
        receivers: &[(NodeId, [u8; 32])],
    ) -> Result<Vec<Action>, NodeError> {
        let begun = Instant::now();
        let actions = match OwnSeeds::seal(ctx, self.own, receivers) {
            Ok((seeds, sealed)) => {
                self.secrets.seeds = Some(seeds);
                self.machine.sealed(ctx, sealed)?
            }
            Err(refusal) => {
                (self.observe)(NodeEvent::Refused(refusal.clone()));
                self.secrets = Secrets::default();
                self.machine.abandon(refusal)
            }
        };
        self.clock.sharing += begun.elapsed();
        Ok(actions)
    }

    /// Computes the masked sum beside the loop. The secrets go with the job and are erased there.
    pub(super) fn sum(&mut self, shares: CompleteShares) {
        let secrets = std::mem::take(&mut self.secrets);
        let (Some(round_key), Some(seeds)) = (secrets.round_key, secrets.seeds) else {
            return;
        };
        let ctx = shares.ctx();
        self.mask(
            move |masking, spare| masking.sum(round_key, seeds, shares.sealed(), spare),
            move |masked, took| Done::Summed { ctx, masked, took },
        );
    }

    /// Has `mask` mask the update, in a vector to reuse, beside the loop, which is then told what is `done`.
    pub(super) fn mask<T>(
        &mut self,
        mask: impl FnOnce(&Masking<'_>, Vec<u8>) -> T + Send + 'static,
        done: impl FnOnce(T, Duration) -> Done + Send + 'static,
    ) {
        let Some((_, update)) = self.update.clone() else {
            return;
        };
        let (engine, layout) = (self.engine.clone(), self.layout.clone());
        let (manifest, own) = (self.kit.manifest.clone(), self.own);
        let tags = self.tags.clone();
        let spare = std::mem::take(&mut self.spare);
        self.linked.spawn_blocking(move || {
            let begun = Instant::now();
            let masking = Masking {
                engine: &*engine,
                tags: &tags,
                format: manifest.fixed_point(),
                layout: &layout,
                own,
                update: &update.update,
                examples: update.examples,
                before: update.before,
            };
            done(mask(&masking, spare), begun.elapsed())
        });
    }

    /// Uploads a body that the relay asks for.
    pub(super) fn upload(&mut self, link: &Link, body: BodyId, first_chunk: u32) {
        match body.kind {
            BodyKind::Sum | BodyKind::Result => self.upload_masked(link, body, first_chunk),
            BodyKind::Reveal => self.upload_reveal(link, body, first_chunk),
            BodyKind::Model => self.upload_model(link, body),
        }
    }

    fn upload_masked(&mut self, link: &Link, body: BodyId, first_chunk: u32) {
        self.clock.step(Step::Asked);
        let Some(outgoing) = &self.outgoing else {
            return;
        };
        let (bodies, hashes, bytes) = (
            link.bodies(),
            outgoing.hashes.clone(),
            outgoing.body.clone(),
        );
        let upload = self.linked.spawn(async move {
            // A failed upload shows on the connection as well, and the relay asks again.
            let _ = bodies.upload(body, first_chunk, &hashes, bytes).await;
            Done::Uploaded
        });
        if let Some(former) = self.upload.replace(upload) {
            former.abort();
        }
    }

    /// Sends the relay the global model, which it has lost.
    fn upload_model(&mut self, link: &Link, body: BodyId) {
        if self.loan.as_ref().is_some_and(|loan| !loan.is_finished()) {
            return;
        }
        let (bodies, model) = (link.bodies(), self.model.clone());
        let loan = self.linked.spawn(async move {
            let read = move || {
                let bytes = Bytes::from(to_le_bytes(&model));
                (ChunkHashes::of(&bytes), bytes)
            };
            if let Ok((hashes, bytes)) = tokio::task::spawn_blocking(read).await {
                // As with a masked sum, a failure shows on the connection.
                let _ = bodies.upload(body, 0, &hashes, bytes).await;
            }
            Done::Uploaded
        });
        self.loan = Some(loan);
        (self.observe)(NodeEvent::Lent {
            round: self.machine.chain().round,
        });
    }

    /// Tells the machine what a job brought back.
    pub(super) async fn done(
        &mut self,
        link: &mut Link,
        done: Done,
    ) -> Result<Option<End>, NodeError> {
        match done {
            Done::Trained {
                round,
                model,
                trained,
                took,
            } => {
                if self.training == Some(model) {
                    self.training = None;
                }
                if model != self.machine.chain().model {
                    return Ok(None);
                }
                self.clock.training += took;
                self.clock.updated();
                match trained {
                    Ok(update) => {
                        self.update = Some((model, Arc::new(update)));
                        (self.observe)(NodeEvent::Trained { round });
                        if !self.machine.is_training() {
                            return Ok(None);
                        }
                        let actions = self.machine.trained(round);
                        self.perform(link, actions).await
                    }
                    Err(error) => self.untrained(link, model, error).await,
                }
            }
            Done::Summed { ctx, masked, took } => {
                self.clock.sharing += took;
                self.clock.step(Step::Masked);
                match masked {
                    _ if !self.machine.is_masking(ctx) => Ok(None),
                    Ok(masked) => self.summed(link, ctx, masked).await,
                    Err(error) => self.unmasked(link, error).await,
                }
            }
            Done::Contributed {
                ctx,
                contribution,
                took,
            } => {
                self.clock.sharing += took;
                self.clock.step(Step::Masked);
                match contribution {
                    _ if !self.machine.is_masking(ctx) => Ok(None),
                    Ok((masked, envelope)) => self.contributed(link, ctx, masked, envelope).await,
                    Err(error) => self.unmasked(link, error).await,
                }
            }
            Done::Revealed {
                ctx,
                classes,
                sum,
                tag,
                took,
            } => {
                self.clock.sharing += took;
                match sum {
                    Ok(sum) => self.revealed(link, (ctx, classes), sum, tag).await,
                    Err(error) => self.not_revealed(link, (ctx, classes), error).await,
                }
            }
            Done::Uploaded => Ok(None),
            Done::Averaged {
                averaged,
                took_part,
                took,
            } => {
                self.clock.sharing += took;
                self.clock.step_before(Step::Downloaded, took);
                self.clock.step(Step::Averaged);
                match averaged {
                    Ok(averaged) => self.averaged(link, averaged, took_part).await,
                    Err(job::BodyError::Refused(refusal)) => self.refuse(link, refusal).await,
                    Err(job::BodyError::Link(error)) => Ok(Some(End::Lost(error))),
                }
            }
            Done::Adopted { chain, adopted } => match adopted {
                Ok(model) => {
                    let actions = self.machine.adopted(chain)?;
                    if actions.is_empty() {
                        return Ok(None);
                    }
                    self.model = Arc::new(model);
                    let round = self.machine.chain().round;
                    (self.observe)(NodeEvent::CaughtUp { round });
                    self.perform(link, actions).await
                }
                Err(job::BodyError::Refused(refusal)) => self.refuse(link, refusal).await,
                Err(job::BodyError::Link(error)) => Ok(Some(End::Lost(error))),
            },
            Done::Evaluated { report, evaluation } => match evaluation {
                Ok(local) => {
                    (self.observe)(NodeEvent::Round(RoundReport { local, ..*report }));
                    Ok(None)
                }
                // Training from this model needs its evaluation as well, and steps back for want of it.
                Err(error) => self.show(error).map(|()| None),
            },
        }
    }

    /// The data or the model made this round impossible: the others go on without. Where nobody does, the model stays
    /// the same, and trying for ever would not help.
    async fn untrained(
        &mut self,
        link: &mut Link,
        model: Digest,
        error: TrainError,
    ) -> Result<Option<End>, NodeError> {
        let hindrance = match &error {
            TrainError::NotFinite { tensor, .. } => Hindrance::NotFinite {
                tensor: tensor.clone(),
            },
            TrainError::NoExamples => Hindrance::Examples,
            TrainError::Gpu(_) => Hindrance::Computation,
            _ => Hindrance::Training,
        };
        let former = self.failures.filter(|(of, _)| *of == model);
        let times = 1 + former.map_or(0, |(_, times)| times);
        self.failures = Some((model, times));
        // A later model, on its way here, may do better.
        if times < TRAININGS || self.machine.is_catching_up() {
            return self.failed(link, hindrance, error).await;
        }
        // The others learn that this node steps back, its operator why it ends.
        let actions = self.machine.abandon(Refusal::CannotContribute(hindrance));
        self.perform(link, actions).await?;
        let source = Box::new(error);
        Err(NodeError::Untrainable { times, source })
    }

    /// Training, masking or a sum of masks failed. The node steps back from the attempt, and ends if no later one can go
    /// better.
    pub(super) async fn failed(
        &mut self,
        link: &mut Link,
        hindrance: Hindrance,
        error: TrainError,
    ) -> Result<Option<End>, NodeError> {
        let shown = self.show(error);
        // For a node that is on its way to a later state, that attempt is over.
        let end = match self.machine.is_catching_up() {
            true => None,
            false => {
                let refusal = Refusal::CannotContribute(hindrance);
                self.refuse(link, refusal).await?
            }
        };
        shown.map(|()| end)
    }

    /// Shows what failed. An error is what nothing can go better after.
    pub(super) fn show(&mut self, error: TrainError) -> Result<(), NodeError> {
        let reason = explain(&error);
        (self.observe)(NodeEvent::Failed { reason });
        match error {
            TrainError::Gpu(DeviceError::Lost) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn summed(
        &mut self,
        link: &mut Link,
        ctx: Digest,
        Masked { body, hashes, tag }: Masked,
    ) -> Result<Option<End>, NodeError> {
        let announcement = self.machine.summed(ctx, hashes.root(), tag)?;
        self.announce(link, announcement, body, hashes).await
    }

    /// There is no masked vector.
    async fn unmasked(
        &mut self,
        link: &mut Link,
        error: MaskingError,
    ) -> Result<Option<End>, NodeError> {
        match error {
            MaskingError::Refused(refusal) => self.refuse(link, refusal).await,
            MaskingError::Device(error) => {
                self.failed(link, Hindrance::Computation, error.into())
                    .await
            }
        }
    }

    /// Logs a masked vector, puts it into the outbox and announces it, if the machine still wants that.
    pub(super) async fn announce(
        &mut self,
        link: &mut Link,
        announcement: Option<Announcement>,
        body: Vec<u8>,
        hashes: ChunkHashes,
    ) -> Result<Option<End>, NodeError> {
        let Some(Announcement {
            entry,
            pending,
            frame,
        }) = announcement
        else {
            // The attempt is over already.
            return Ok(None);
        };
        if let Some(instead) = self.log(entry).await? {
            return self.perform(link, instead).await;
        }
        let outgoing = Outgoing {
            pending,
            body: body.into(),
            hashes,
        };
        // On a full disk the node steps back before anything is announced.
        let (store, kept) = (self.store.clone(), outgoing.clone());
        let sync = self.journal.sync();
        // The log is on disk before the sum: a node that goes on with it can show how it came about.
        let keep = move || {
            sync()?;
            store.keep(&kept.pending, &kept.body)
        };
        let actions = match tokio::task::spawn_blocking(keep).await? {
            Ok(()) => {
                self.outgoing = Some(outgoing);
                vec![Action::Send(frame)]
            }
            Err(error) => {
                let reason = error.to_string();
                (self.observe)(NodeEvent::Failed { reason });
                let refusal = Refusal::CannotContribute(Hindrance::Disk);
                self.machine.not_kept(refusal)
            }
        };
        self.perform(link, actions).await
    }

    async fn averaged(
        &mut self,
        link: &mut Link,
        averaged: Averaged,
        took_part: bool,
    ) -> Result<Option<End>, NodeError> {
        let actions = self.machine.averaged(&averaged)?;
        if actions.is_empty() {
            return Ok(None);
        }
        let Averaged {
            model,
            chain,
            totals,
            nodes,
            ..
        } = averaged;
        let former = std::mem::replace(&mut self.model, model);
        self.spare_model = Arc::try_unwrap(former).unwrap_or_default();
        let end = self.perform(link, actions).await?;
        let report = self.close_round(link, chain, totals, nodes, took_part);
        self.local.spawn(job::evaluate(
            self.trainer.clone(),
            (chain.model, self.model.clone()),
            Box::new(report),
        ));
        Ok(end)
    }

    fn close_round(
        &mut self,
        link: &Link,
        chain: Chain,
        totals: Counters,
        nodes: u32,
        took_part: bool,
    ) -> RoundReport {
        let clock = std::mem::take(&mut self.clock);
        let total = clock
            .opened
            .map(|opened| opened.elapsed())
            .unwrap_or_default();
        let (bytes, before) = (Counted::of(link), clock.counted);
        self.clock.counted = bytes;
        let network = total
            .saturating_sub(clock.training)
            .saturating_sub(clock.sharing);
        RoundReport {
            round: chain.round,
            nodes,
            took_part,
            totals,
            local: Evaluation::default(),
            times: RoundTimes {
                training: clock.training,
                sharing: clock.sharing,
                network,
            },
            steps: clock.steps,
            bytes_up: bytes.udp.sent.saturating_sub(before.udp.sent),
            bytes_down: bytes.udp.received.saturating_sub(before.udp.received),
            payload_up: bytes.payload.sent.saturating_sub(before.payload.sent),
            payload_down: bytes
                .payload
                .received
                .saturating_sub(before.payload.received),
        }
    }
}
