//! A node: the one place where training, sharing and the network meet.
//!
//! The protocol's state machine ([`fl_network::round::node`]) decides, this driver acts. Whatever takes time
//! (training, masking, transfers, averaging) runs as a job beside the loop, which goes on listening to the relay;
//! what a job brings back is told to the machine, and is dropped there if the round has moved on.

mod event;
mod job;
mod masking;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fl_network::client::{Link, LinkError};
use fl_network::digest::Digest;
use fl_network::error::WireError;
use fl_network::identity::NodeId;
use fl_network::kit::{Kit, KitError, unix_s};
use fl_network::quic::ConnectionBytes;
use fl_network::round::node::{Action, Node};
use fl_network::round::{Averaged, Chain, Refusal};
use fl_network::store::{Outgoing, Store, StoreError};
use fl_sharing::{Engine, RoundKey};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::{Evaluation, Layout, LocalTrainer, TrainError};

pub use event::{NodeEvent, RoundReport, RoundTimes};
use job::{Done, SharedTrainer, StopFlag, Update};
use masking::{MaskedSum, OwnSeeds};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Progress reports that may wait to be shown.
const EVENTS: usize = 64;

/// Why a node stops before all rounds are done.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The kit is unusable.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// The state folder is unusable, or full.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The relay cannot be used at all.
    #[error(transparent)]
    Link(LinkError),
    /// The relay turned this node away for good.
    #[error("the relay turned this node away: {0}")]
    TurnedAway(Refusal),
    /// Local training or evaluation failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The model does not fit the manifest.
    #[error(
        "this node's model differs from the manifest's at {tensor}: the data has another shape than the \
         consortium agreed on, or the programs differ in version"
    )]
    Layout {
        /// First tensor that differs.
        tensor: String,
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

/// What a node runs with.
pub struct Participant {
    /// Its kit.
    pub kit: Kit,
    /// Its memory.
    pub store: Store,
    /// Its data and model.
    pub trainer: Box<dyn LocalTrainer>,
    /// What masks its updates.
    pub engine: Arc<dyn Engine>,
    /// Where the relay is, if not where the manifest says.
    pub relay: Option<SocketAddr>,
    /// Permits for training; nodes in one process share them.
    pub training: Arc<Semaphore>,
}

/// How a node's part has ended.
#[derive(Debug)]
pub struct Ended {
    /// Rounds completed.
    pub round: u64,
    /// The global model, in the order of the layout.
    pub model: Arc<Vec<f32>>,
    /// Whether the relay said that all rounds are done.
    pub finished: bool,
}

impl Participant {
    /// Takes part in rounds until the relay says that all are done, or `stop` completes.
    ///
    /// # Errors
    /// A [`NodeError`] that no retry can help. A lost connection is retried, a refused round is reported.
    pub async fn run(
        self,
        observe: impl FnMut(NodeEvent),
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, NodeError> {
        let kit = self.kit;
        let identity = kit.node_identity()?.clone();
        check_layout(&kit, self.trainer.layout())?;
        let (chain, model) = self.store.load(&kit)?;
        let sent = self.store.sent()?;
        let mut observe = observe;
        let outgoing = match self.store.outgoing(&kit.manifest, &chain) {
            Ok(outgoing) => outgoing,
            // Without it this node cannot complete that attempt; the relay will have it begun again.
            Err(StoreError::Damaged { reason, .. }) => {
                observe(NodeEvent::OutboxLost { reason });
                self.store.forget()?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        if outgoing.is_some() {
            observe(NodeEvent::Resumed {
                round: chain.round + 1,
            });
        }
        let pending = outgoing.as_ref().map(|outgoing| outgoing.pending.clone());
        let machine = Node::new(kit.manifest.clone(), identity, chain, sent, pending);
        let layout = self.trainer.layout().clone();
        let (events, progress) = mpsc::channel(EVENTS);
        let driver = Driver {
            own: kit.id(),
            kit,
            machine,
            store: self.store,
            engine: self.engine,
            layout: Arc::new(layout),
            trainer: SharedTrainer::new(self.trainer, self.training),
            relay: self.relay,
            model: Arc::new(model),
            evaluated: None,
            update: None,
            secrets: Secrets::default(),
            outgoing,
            local: JoinSet::new(),
            linked: JoinSet::new(),
            stop_training: StopFlag::default(),
            training: None,
            clock: RoundClock::default(),
            events,
            observe,
        };
        driver.run(progress, stop).await
    }
}

fn check_layout(kit: &Kit, layout: &Layout) -> Result<(), NodeError> {
    let agreed = kit.manifest.layout();
    let ours = layout.tensors();
    let differs = ours
        .iter()
        .zip(agreed)
        .find(|(ours, agreed)| ours.name != agreed.name || ours.shape != agreed.shape)
        .map(|(ours, _)| ours.name.clone());
    match differs {
        Some(tensor) => Err(NodeError::Layout { tensor }),
        None if ours.len() != agreed.len() => Err(NodeError::Layout {
            tensor: "the number of tensors".to_owned(),
        }),
        None => Ok(()),
    }
}

/// Secrets of the attempt under way.
#[derive(Default)]
struct Secrets {
    round_key: Option<RoundKey>,
    seeds: Option<OwnSeeds>,
}

/// Times and bytes of the round under way.
#[derive(Default)]
struct RoundClock {
    opened: Option<Instant>,
    training: Duration,
    sharing: Duration,
    /// Bytes of the connection at the end of the last round.
    counted: ConnectionBytes,
}

struct Driver<F> {
    own: NodeId,
    kit: Kit,
    machine: Node,
    store: Store,
    engine: Arc<dyn Engine>,
    layout: Arc<Layout>,
    trainer: SharedTrainer,
    relay: Option<SocketAddr>,
    /// The global model of the machine's chain.
    model: Arc<Vec<f32>>,
    /// Its evaluation on the local test data.
    evaluated: Option<(Digest, Evaluation)>,
    /// The update trained from a model, kept over attempts.
    update: Option<(Digest, Arc<Update>)>,
    secrets: Secrets,
    outgoing: Option<Outgoing>,
    /// Training and evaluation, which outlive a connection.
    local: JoinSet<Done>,
    /// Masking and transfers, which do not.
    linked: JoinSet<Done>,
    stop_training: StopFlag,
    /// Model that is being trained from.
    training: Option<Digest>,
    clock: RoundClock,
    events: mpsc::Sender<NodeEvent>,
    observe: F,
}

/// How one connection has ended.
enum Session {
    Lost(LinkError),
    TurnedAway(Refusal),
    Finished,
    Stopped,
}

impl<F: FnMut(NodeEvent)> Driver<F> {
    async fn run(
        mut self,
        mut progress: mpsc::Receiver<NodeEvent>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, NodeError> {
        tokio::pin!(stop);
        let mut retry = FIRST_RETRY;
        loop {
            let connected = tokio::select! {
                connected = Link::connect(&self.kit, self.relay) => connected,
                () = &mut stop => return Ok(self.end(false).await),
            };
            let session = match connected {
                Ok(mut link) => {
                    let session = self.session(&mut link, &mut progress, stop.as_mut()).await;
                    self.machine.disconnected();
                    self.secrets = Secrets::default();
                    self.linked = JoinSet::new();
                    let reason = match &session {
                        Ok(Session::Finished) => "all rounds are done",
                        _ => "the node stops",
                    };
                    if !matches!(session, Ok(Session::Lost(_))) {
                        link.close(reason).await;
                    } else {
                        retry = FIRST_RETRY;
                    }
                    session?
                }
                Err(error) => Session::Lost(error),
            };
            let reason = match session {
                Session::Finished => return Ok(self.end(true).await),
                Session::Stopped => return Ok(self.end(false).await),
                Session::TurnedAway(refusal) if is_final(&refusal) => {
                    return Err(NodeError::TurnedAway(refusal));
                }
                Session::Lost(error) if error.is_final() => return Err(NodeError::Link(error)),
                Session::TurnedAway(refusal) => refusal.to_string(),
                Session::Lost(error) => error.to_string(),
            };
            (self.observe)(NodeEvent::Disconnected {
                reason,
                retry_in: retry,
            });
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = &mut stop => return Ok(self.end(false).await),
            }
            retry = (2 * retry).min(LAST_RETRY);
        }
    }

    /// Stops training, and shows what is still to be shown.
    async fn end(mut self, finished: bool) -> Ended {
        self.stop_training.raise();
        while let Some(done) = self.local.join_next().await {
            if let Ok(Done::Evaluated {
                report,
                evaluation: Ok(local),
                ..
            }) = done
            {
                (self.observe)(NodeEvent::Round(RoundReport { local, ..*report }));
            }
        }
        Ended {
            round: self.machine.chain().round,
            model: self.model,
            finished,
        }
    }

    /// Serves one connection until it ends.
    async fn session(
        &mut self,
        link: &mut Link,
        progress: &mut mpsc::Receiver<NodeEvent>,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Session, NodeError> {
        self.clock.counted = ConnectionBytes::default();
        let actions = self.machine.connected()?;
        if let Some(end) = self.perform(link, actions).await? {
            return Ok(end);
        }
        // A refusal by the relay's TLS arrives only with the first answer, so say so after that.
        let mut greeted = false;
        loop {
            let end = tokio::select! {
                () = stop.as_mut() => Some(Session::Stopped),
                Some(event) = progress.recv() => {
                    (self.observe)(event);
                    None
                }
                Some(done) = self.local.join_next(), if !self.local.is_empty() => {
                    self.done(link, done?).await?
                }
                Some(done) = self.linked.join_next(), if !self.linked.is_empty() => {
                    self.done(link, done?).await?
                }
                frame = link.recv() => match frame {
                    Err(error) => Some(Session::Lost(error)),
                    Ok(frame) => {
                        if !greeted {
                            greeted = true;
                            (self.observe)(NodeEvent::Connected);
                        }
                        match self.machine.handle(frame, unix_s()) {
                            Ok(actions) => self.perform(link, actions).await?,
                            Err(refusal) => self.refuse(link, refusal).await?,
                        }
                    }
                },
            };
            if !self.machine.is_training() && self.training.is_some() {
                self.stop_training.raise();
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// The machine does not accept what the relay sent: both sides show why.
    async fn refuse(
        &mut self,
        link: &mut Link,
        refusal: Refusal,
    ) -> Result<Option<Session>, NodeError> {
        (self.observe)(NodeEvent::Refused(refusal.clone()));
        let actions = self.machine.abandon(refusal);
        self.perform(link, actions).await
    }

    /// Carries out what the machine decided, in order.
    async fn perform(
        &mut self,
        link: &mut Link,
        actions: Vec<Action>,
    ) -> Result<Option<Session>, NodeError> {
        let mut queue = std::collections::VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Send(frame) => {
                    if let Err(error) = link.send(&frame).await {
                        return Ok(Some(Session::Lost(error)));
                    }
                }
                Action::Train { round, attempt, .. } => {
                    queue.extend(self.train(round, attempt)?);
                }
                Action::Seal { ctx, peers } => queue.extend(self.seal(ctx, &peers)?),
                Action::Sum(shares) => self.sum(shares),
                Action::Keep(pending) => {
                    let Some(outgoing) = &mut self.outgoing else {
                        continue;
                    };
                    outgoing.pending = pending;
                    // On a full disk the node steps back before anything is announced.
                    if let Err(error) = self.store.keep(&outgoing.pending, &outgoing.body) {
                        self.outgoing = None;
                        let refusal = Refusal::CannotContribute(error.to_string());
                        (self.observe)(NodeEvent::Refused(refusal.clone()));
                        self.machine.disconnected();
                        queue = self.machine.abandon(refusal).into();
                    }
                }
                Action::Record(sent) => self.store.record(&sent)?,
                Action::Upload { ctx, first_chunk } => self.upload(link, ctx, first_chunk),
                Action::Average(outcome) => {
                    let (bodies, model) = (link.bodies(), self.model.clone());
                    let manifest = self.kit.manifest.clone();
                    self.linked
                        .spawn(job::average(bodies, outcome, model, manifest, self.own));
                }
                Action::Adopt(checkpoint) => {
                    self.linked.spawn(job::adopt(link.bodies(), checkpoint));
                }
                Action::Commit(chain) => {
                    self.store.commit(&chain, &self.model)?;
                    self.store.forget()?;
                    self.outgoing = None;
                    self.update = None;
                }
                Action::Waiting { missing, for_s } => {
                    let since = Duration::from_secs(for_s);
                    (self.observe)(NodeEvent::Waiting { missing, since });
                }
                Action::TurnedAway(refusal) => return Ok(Some(Session::TurnedAway(refusal))),
                Action::Finish { .. } => return Ok(Some(Session::Finished)),
            }
        }
        Ok(None)
    }

    /// Begins training, or offers the update that was kept for this model.
    fn train(&mut self, round: u64, attempt: u32) -> Result<Vec<Action>, NodeError> {
        self.secrets = Secrets::default();
        let model = self.machine.chain().model;
        self.clock.opened.get_or_insert_with(Instant::now);
        if self.update.as_ref().is_some_and(|(base, _)| *base == model) {
            return self.offer(round);
        }
        if self.training == Some(model) && !self.stop_training.is_raised() {
            return Ok(Vec::new());
        }
        (self.observe)(NodeEvent::Training { round, attempt });
        self.training = Some(model);
        self.stop_training = StopFlag::default();
        let known = self
            .evaluated
            .filter(|(of, _)| *of == model)
            .map(|(_, evaluation)| evaluation);
        let job = job::train(
            self.trainer.clone(),
            round,
            (model, self.model.clone()),
            known,
            self.stop_training.clone(),
            self.events.clone(),
        );
        self.local.spawn(job);
        Ok(Vec::new())
    }

    /// Draws a round key and offers to take part.
    fn offer(&mut self, round: u64) -> Result<Vec<Action>, NodeError> {
        let round_key = RoundKey::generate().map_err(|_| NodeError::Entropy)?;
        let actions = self.machine.trained(round, *round_key.public(), unix_s())?;
        self.secrets = Secrets {
            round_key: Some(round_key),
            seeds: None,
        };
        Ok(actions)
    }

    fn seal(
        &mut self,
        ctx: Digest,
        peers: &[(NodeId, [u8; 32])],
    ) -> Result<Vec<Action>, NodeError> {
        let begun = Instant::now();
        let actions = match OwnSeeds::seal(ctx, self.own, peers) {
            Ok((seeds, sealed)) => {
                self.secrets.seeds = Some(seeds);
                self.machine.sealed(ctx, sealed)?
            }
            Err(refusal) => {
                (self.observe)(NodeEvent::Refused(refusal.clone()));
                self.machine.abandon(refusal)
            }
        };
        self.clock.sharing += begun.elapsed();
        Ok(actions)
    }

    /// Computes the masked sum beside the loop. The secrets go with the job and are erased there.
    fn sum(&mut self, shares: fl_network::round::node::CompleteShares) {
        let secrets = std::mem::take(&mut self.secrets);
        let (Some(round_key), Some(seeds)) = (secrets.round_key, secrets.seeds) else {
            return;
        };
        let Some((_, update)) = self.update.clone() else {
            return;
        };
        let (engine, layout) = (self.engine.clone(), self.layout.clone());
        let (manifest, own) = (self.kit.manifest.clone(), self.own);
        self.linked.spawn_blocking(move || {
            let begun = Instant::now();
            let masked = MaskedSum {
                engine: &*engine,
                format: manifest.fixed_point(),
                layout: &layout,
                own,
                round_key,
                seeds,
                sealed: shares.sealed(),
                update: &update.update,
                examples: update.examples,
                before: update.before,
            }
            .compute();
            Done::Summed {
                ctx: shares.ctx(),
                masked,
                took: begun.elapsed(),
            }
        });
    }

    fn upload(&mut self, link: &Link, ctx: Digest, first_chunk: u32) {
        let Some(outgoing) = &self.outgoing else {
            return;
        };
        let (bodies, hashes, body) = (
            link.bodies(),
            outgoing.hashes.clone(),
            outgoing.body.clone(),
        );
        self.linked.spawn(async move {
            // A failed upload shows on the connection as well, and the relay asks again.
            let _ = bodies.upload(ctx, first_chunk, &hashes, body).await;
            Done::Uploaded
        });
    }

    /// Tells the machine what a job brought back.
    async fn done(&mut self, link: &mut Link, done: Done) -> Result<Option<Session>, NodeError> {
        match done {
            Done::Trained {
                round,
                model,
                trained,
                took,
            } => {
                self.training = None;
                match trained {
                    Ok(update) => {
                        self.clock.training += took;
                        self.evaluated = Some((model, update.before));
                        self.update = Some((model, Arc::new(update)));
                        (self.observe)(NodeEvent::Trained { round });
                        let actions = self.offer(round)?;
                        self.perform(link, actions).await
                    }
                    Err(TrainError::Stopped { .. }) => self.resume_training(link).await,
                    // The data or the model made this round impossible: the others go on without.
                    Err(error) => {
                        self.refuse(link, Refusal::CannotContribute(error.to_string()))
                            .await
                    }
                }
            }
            Done::Summed { ctx, masked, took } => {
                self.clock.sharing += took;
                match masked {
                    Ok((body, hashes)) => self.summed(link, ctx, body, hashes).await,
                    Err(refusal) => self.refuse(link, refusal).await,
                }
            }
            Done::Uploaded => Ok(None),
            Done::Averaged {
                averaged,
                took_part,
                took,
            } => {
                self.clock.sharing += took;
                match averaged {
                    Ok(averaged) => self.averaged(link, averaged, took_part).await,
                    Err(job::BodyError::Refused(refusal)) => self.refuse(link, refusal).await,
                    Err(job::BodyError::Link(error)) => Ok(Some(Session::Lost(error))),
                }
            }
            Done::Adopted { adopted } => match adopted {
                Ok(model) => {
                    self.model = Arc::new(model);
                    let actions = self.machine.adopted()?;
                    let round = self.machine.chain().round;
                    (self.observe)(NodeEvent::CaughtUp { round });
                    self.perform(link, actions).await
                }
                Err(job::BodyError::Refused(refusal)) => self.refuse(link, refusal).await,
                Err(job::BodyError::Link(error)) => Ok(Some(Session::Lost(error))),
            },
            Done::Evaluated {
                model,
                report,
                evaluation,
            } => {
                let local = evaluation?;
                self.evaluated = Some((model, local));
                (self.observe)(NodeEvent::Round(RoundReport { local, ..*report }));
                Ok(None)
            }
        }
    }

    /// Training was stopped because the round had moved on; it may have come back to it.
    async fn resume_training(&mut self, link: &mut Link) -> Result<Option<Session>, NodeError> {
        if !self.machine.is_training() {
            return Ok(None);
        }
        let actions = self.train(self.machine.chain().round + 1, 1)?;
        self.perform(link, actions).await
    }

    async fn summed(
        &mut self,
        link: &mut Link,
        ctx: Digest,
        body: Vec<u8>,
        hashes: fl_network::digest::ChunkHashes,
    ) -> Result<Option<Session>, NodeError> {
        let mut actions = self.machine.summed(ctx, hashes.root())?;
        let keep = actions.iter().find_map(|action| match action {
            Action::Keep(pending) => Some(pending.clone()),
            _ => None,
        });
        match keep {
            Some(pending) => {
                self.outgoing = Some(Outgoing {
                    pending,
                    body: body.into(),
                    hashes,
                });
            }
            // The attempt is over already.
            None => actions.clear(),
        }
        self.perform(link, actions).await
    }

    async fn averaged(
        &mut self,
        link: &mut Link,
        averaged: Averaged,
        took_part: bool,
    ) -> Result<Option<Session>, NodeError> {
        let actions = self.machine.averaged(&averaged)?;
        if actions.is_empty() {
            return Ok(None);
        }
        let Averaged {
            model,
            chain,
            totals,
            nodes,
        } = averaged;
        self.model = model;
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
        totals: fl_shaders::Counters,
        nodes: u32,
        took_part: bool,
    ) -> RoundReport {
        let clock = std::mem::take(&mut self.clock);
        let total = clock
            .opened
            .map(|opened| opened.elapsed())
            .unwrap_or_default();
        let bytes = link.bytes();
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
            bytes_up: bytes.sent.saturating_sub(clock.counted.sent),
            bytes_down: bytes.received.saturating_sub(clock.counted.received),
        }
    }
}

/// Whether there is no use in coming back.
fn is_final(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Manifest { .. }
            | Refusal::Stranger(_)
            | Refusal::Expired(_)
            | Refusal::Model { .. }
            | Refusal::Previous { .. }
    )
}
