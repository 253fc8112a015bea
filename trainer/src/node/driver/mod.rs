//! The node's loop: keeps a connection to the relay, listens, and carries out what the machine decides.

mod attempt;
mod clock;
mod committee;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fl_network::audit::Journal;
use fl_network::client::{Link, LinkError};
use fl_network::kit::Kit;
use fl_network::program::logging::explain;
use fl_network::quic::TransportError;
use fl_network::store::{NodeStore, Outgoing, StoreError};
use fl_network::time::unix_s;
use fl_protocol::audit::{Entry, Party, Record};
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::node::{Action, Node};
use fl_protocol::round::{Hindrance, Refusal};
use fl_protocol::wire::RelayFrame;
use fl_sharing::{Engine, EpochKey, RoundKey};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::holding::Holding;
use super::job::{self, Done, SharedTrainer, StopFlag, TrainedUpdate};
use super::masking::OwnSeeds;
use super::verifying::TagVerifier;
use super::{Ended, NodeError, NodeEvent, Participant, RoundReport, Step};
use crate::Layout;
use clock::{Counted, RoundClock};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// How long the relay may take to accept a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Progress reports that may wait to be shown.
const EVENTS: usize = 64;

/// Secrets of the attempt under way.
#[derive(Default)]
struct Secrets {
    round_key: Option<RoundKey>,
    seeds: Option<OwnSeeds>,
}

pub(super) struct Driver<F> {
    own: NodeId,
    kit: Kit,
    machine: Node,
    journal: Journal,
    store: Arc<NodeStore>,
    engine: Arc<dyn Engine>,
    tags: TagVerifier,
    layout: Arc<Layout>,
    trainer: SharedTrainer,
    relay: Option<String>,
    /// The global model of the machine's chain.
    model: Arc<Vec<f32>>,
    /// The update trained from a model, kept over attempts.
    update: Option<(Digest, Arc<TrainedUpdate>)>,
    secrets: Secrets,
    /// What this node holds of others. It outlives a connection, but not the attempt.
    holding: Option<Holding>,
    outgoing: Option<Outgoing>,
    /// The new state on its way to the disk.
    committing: Option<JoinHandle<Result<(), StoreError>>>,
    /// What the last masked vector lay in.
    spare: Vec<u8>,
    /// What the former model lay in.
    spare_model: Vec<f32>,
    /// Training, evaluation and a holder's sums, which outlive a connection.
    local: JoinSet<Done>,
    /// Masking and transfers, which do not.
    linked: JoinSet<Done>,
    /// One of `linked` at a time: a later one takes its place.
    upload: Option<AbortHandle>,
    download: Option<AbortHandle>,
    /// The model on its way to the relay. While it is, no other is begun, however often it is asked for.
    loan: Option<AbortHandle>,
    /// By root: a holder may have several.
    reveal_uploads: BTreeMap<Digest, AbortHandle>,
    stop_training: StopFlag,
    /// Model that is being trained from.
    training: Option<Digest>,
    /// Model from which training has failed, and how often.
    failures: Option<(Digest, u32)>,
    clock: RoundClock,
    events: mpsc::Sender<NodeEvent>,
    observe: F,
}

/// How one connection has ended.
enum End {
    Lost(LinkError),
    TurnedAway(Refusal),
    Finished,
    Stopped,
}

impl<F: FnMut(NodeEvent)> Driver<F> {
    /// Takes up what the participant remembers. The receiver carries progress from training's thread.
    pub(super) fn new(
        participant: Participant,
        mut observe: F,
    ) -> Result<(Self, mpsc::Receiver<NodeEvent>), NodeError> {
        let kit = participant.kit;
        let identity = kit.node_identity()?.clone();
        check_layout(&kit, participant.trainer.layout())?;
        let epoch_key = EpochKey::from_bytes(*kit.epoch_key()?);
        let (chain, model) = participant.store.load(&kit)?;
        let (path, own) = (participant.store.log_path(), kit.id());
        let party = Party::Node(own);
        let journal = Journal::open(&path, &kit.manifest, party, chain, unix_s())?;
        let sent = participant.store.sent()?;
        let outgoing = match participant.store.outgoing(&kit.manifest, &chain) {
            Ok(outgoing) => outgoing,
            // Without it this node cannot complete that attempt; the relay will have it begun again.
            Err(StoreError::Damaged { reason, .. }) => {
                observe(NodeEvent::OutboxLost { reason });
                participant.store.forget()?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        if outgoing.is_some() {
            observe(NodeEvent::Resumed {
                round: chain.next_round(),
            });
        }
        let pending = outgoing.as_ref().map(|outgoing| outgoing.pending.clone());
        let machine = Node::new(kit.manifest.clone(), identity, chain, sent, pending);
        let layout = participant.trainer.layout().clone();
        let (events, progress) = mpsc::channel(EVENTS);
        let driver = Driver {
            own,
            kit,
            machine,
            journal,
            store: Arc::new(participant.store),
            engine: participant.engine,
            tags: TagVerifier::new(Arc::new(epoch_key)),
            layout: Arc::new(layout),
            trainer: SharedTrainer::new(participant.trainer, participant.training),
            relay: participant.relay,
            model: Arc::new(model),
            update: None,
            secrets: Secrets::default(),
            holding: None,
            outgoing,
            committing: None,
            spare: Vec::new(),
            spare_model: Vec::new(),
            local: JoinSet::new(),
            linked: JoinSet::new(),
            upload: None,
            download: None,
            loan: None,
            reveal_uploads: BTreeMap::new(),
            stop_training: StopFlag::default(),
            training: None,
            failures: None,
            clock: RoundClock::default(),
            events,
            observe,
        };
        Ok((driver, progress))
    }

    /// Runs until all rounds are done, or until `stop` completes, or until there is no going on.
    pub(super) async fn run(
        mut self,
        progress: mpsc::Receiver<NodeEvent>,
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let served = self.serve(progress, stop).await;
        let written = committed(&mut self.committing).await;
        let finished = match (served, written) {
            (served, Ok(())) => served,
            // What is not on disk is not done, whichever was known first.
            (Ok(_), Err(error)) => Err(error),
            // There is another end to tell of.
            (served, Err(error)) => {
                let reason = explain(&error);
                (self.observe)(NodeEvent::Failed { reason });
                served
            }
        };
        self.end(finished).await
    }

    /// Serves connections until all rounds are done, or until `stop` completes. Gives whether they are done.
    async fn serve(
        &mut self,
        mut progress: mpsc::Receiver<NodeEvent>,
        stop: impl Future<Output = ()>,
    ) -> Result<bool, NodeError> {
        tokio::pin!(stop);
        let mut retry = FIRST_RETRY;
        loop {
            let connected = tokio::select! {
                connected = Link::connect(&self.kit, self.relay.as_deref()) => connected,
                () = &mut stop => return Ok(false),
            };
            let session = match connected {
                Ok(mut link) => {
                    let session = self.session(&mut link, &mut progress, stop.as_mut()).await;
                    self.machine.disconnected();
                    self.secrets = Secrets::default();
                    self.linked = JoinSet::new();
                    let reason = match &session {
                        Ok(End::Finished) => "all rounds are done",
                        _ => "the node stops",
                    };
                    match &session {
                        // Two that take each other's place at once get nothing done.
                        Ok(End::Lost(error)) if error.is_replaced() => retry = LAST_RETRY,
                        Ok(End::Lost(_)) => retry = FIRST_RETRY,
                        _ => link.close(reason).await,
                    }
                    session?
                }
                Err(error) => End::Lost(error),
            };
            let reason = match session {
                End::Finished => return Ok(true),
                End::Stopped => return Ok(false),
                End::TurnedAway(refusal) if refusal.is_final() => {
                    return Err(NodeError::TurnedAway(refusal));
                }
                End::Lost(error) if error.is_final() => return Err(NodeError::Link(error)),
                End::TurnedAway(refusal) => refusal.to_string(),
                End::Lost(error) => error.to_string(),
            };
            committed(&mut self.committing).await?;
            (self.observe)(NodeEvent::Disconnected {
                reason,
                retry_in: retry,
            });
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = &mut stop => return Ok(false),
            }
            retry = (2 * retry).min(LAST_RETRY);
        }
    }

    /// Stops training, and shows what is still to be shown.
    async fn end(mut self, finished: Result<bool, NodeError>) -> Ended {
        self.stop_training.raise();
        while let Some(done) = self.local.join_next().await {
            let Ok(Done::Evaluated { report, evaluation }) = done else {
                continue;
            };
            match evaluation {
                Ok(local) => (self.observe)(NodeEvent::Round(RoundReport { local, ..*report })),
                // A node that ends with an error has more to say than this.
                Err(error) if finished.is_ok() => {
                    let reason = explain(&error);
                    (self.observe)(NodeEvent::Failed { reason });
                }
                Err(_) => {}
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
    ) -> Result<End, NodeError> {
        self.clock.counted = Counted::default();
        let actions = self.machine.connected()?;
        if let Some(end) = self.perform(link, actions).await? {
            return Ok(end);
        }
        // A refusal by the relay's TLS arrives only with the first answer, so say so after that.
        let mut greeted = false;
        loop {
            let end = tokio::select! {
                () = stop.as_mut() => Some(End::Stopped),
                Some(event) = progress.recv() => {
                    (self.observe)(event);
                    None
                }
                written = committed(&mut self.committing), if self.committing.is_some() => {
                    written?;
                    None
                }
                Some(done) = self.local.join_next(), if !self.local.is_empty() => {
                    self.done(link, done?).await?
                }
                Some(done) = self.linked.join_next(), if !self.linked.is_empty() => match done {
                    Err(error) if error.is_cancelled() => None,
                    done => self.done(link, done?).await?,
                },
                frame = link.recv() => match frame {
                    Err(error) => Some(End::Lost(error)),
                    Ok(frame) => {
                        if !greeted {
                            greeted = true;
                            (self.observe)(NodeEvent::Connected);
                        }
                        self.hear(link, frame).await?
                    }
                },
            };
            // Training goes on over attempts and connections, but not for a model that is history.
            let current = self.machine.chain().model;
            if self.training.is_some_and(|model| model != current) {
                self.stop_training.raise();
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Lets the machine decide on a frame, and does what it says.
    async fn hear(&mut self, link: &mut Link, frame: RelayFrame) -> Result<Option<End>, NodeError> {
        match self.machine.handle(frame, unix_s()) {
            Ok(actions) => self.perform(link, actions).await,
            Err(refusal) => self.refuse(link, refusal).await,
        }
    }

    /// Logs an entry. What cannot be logged is not done: the node steps back before others rely on it. Returns what is to
    /// be done instead of what follows, or nothing if that leads out of the attempt anyway.
    async fn log(&mut self, entry: Entry) -> Result<Option<Vec<Action>>, NodeError> {
        let result = matches!(entry, Entry::Outcome(_) | Entry::Adopted(_));
        let masked = matches!(entry, Entry::Sum(_) | Entry::Contribution(_));
        // The log tells by a sum that the last result is on disk.
        if result || masked {
            committed(&mut self.committing).await?;
        }
        let unix_s = unix_s();
        let record = Record { unix_s, entry };
        let Err(error) = self.journal.append(&record) else {
            return Ok(None);
        };
        // Nothing is lost without the new state: the relay has it.
        if result {
            return Err(error.into());
        }
        let reason = error.to_string();
        (self.observe)(NodeEvent::Failed { reason });
        let refusal = Refusal::CannotContribute(Hindrance::Disk);
        Ok(match record.entry {
            Entry::Refused { .. } => None,
            // The relay asks again.
            Entry::Body { .. } => Some(Vec::new()),
            _ if masked => Some(self.machine.not_kept(refusal)),
            _ => Some(self.machine.abandon(refusal)),
        })
    }

    /// The machine does not accept what the relay sent: both sides show why.
    async fn refuse(
        &mut self,
        link: &mut Link,
        refusal: Refusal,
    ) -> Result<Option<End>, NodeError> {
        (self.observe)(NodeEvent::Refused(refusal.clone()));
        // What belongs to the attempt ends with it.
        self.secrets = Secrets::default();
        if let Some(download) = self.download.take() {
            download.abort();
        }
        let actions = self.machine.abandon(refusal);
        self.perform(link, actions).await
    }

    /// Carries out what the machine decided, in order.
    async fn perform(
        &mut self,
        link: &mut Link,
        actions: Vec<Action>,
    ) -> Result<Option<End>, NodeError> {
        let mut queue = std::collections::VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Log(entry) => {
                    if let Some(instead) = self.log(entry).await? {
                        queue = instead.into();
                    }
                }
                Action::Send(frame) => {
                    // A relay that does not read is as good as none.
                    let sent = tokio::time::timeout(SEND_TIMEOUT, link.send(&frame)).await;
                    if let Err(error) = sent.unwrap_or(Err(TransportError::TimedOut.into())) {
                        return Ok(Some(End::Lost(error)));
                    }
                }
                Action::Train {
                    round,
                    attempt,
                    deadline_ms,
                } => {
                    let deadline = Duration::from_millis(deadline_ms);
                    queue.extend(self.train(round, attempt, deadline)?);
                }
                Action::Seal { ctx, receivers } => queue.extend(self.seal(ctx, &receivers)?),
                Action::Sum(shares) => {
                    self.clock.step(Step::Shares);
                    self.sum(shares);
                }
                Action::DrawRoundKey { round, .. } => {
                    queue.extend(self.draw_round_key(round)?);
                }
                Action::Contribute(holders) => {
                    self.clock.step(Step::Shares);
                    self.contribute(holders);
                }
                Action::Open(slip) => queue.extend(self.open(&slip)?),
                Action::Reveal(order) => self.reveal(&order),
                Action::Received { .. } => {
                    let round = self.machine.chain().next_round();
                    (self.observe)(NodeEvent::Received { round });
                }
                Action::Record(sent) => {
                    let store = self.store.clone();
                    let record = move || store.record(&sent);
                    if let Err(error) = tokio::task::spawn_blocking(record).await? {
                        // Nothing is sent without the record; the relay asks again.
                        let reason = error.to_string();
                        (self.observe)(NodeEvent::Failed { reason });
                        for action in queue.drain(..) {
                            if let Action::Reveal(order) = action {
                                self.machine.not_revealed(order.ctx(), order.classes());
                            }
                        }
                    }
                }
                Action::Upload { body, first_chunk } => self.upload(link, body, first_chunk),
                Action::Average(outcome) => {
                    self.clock.step(Step::Announced);
                    let (bodies, model) = (link.bodies(), self.model.clone());
                    let manifest = self.kit.manifest.clone();
                    let verifier = self.tags.clone();
                    let (own, spare) = (self.own, std::mem::take(&mut self.spare_model));
                    let job = job::average(bodies, outcome, model, manifest, verifier, own, spare);
                    self.download(job);
                }
                Action::Adopt(checkpoint) => {
                    self.download(job::adopt(link.bodies(), checkpoint));
                }
                Action::Commit(chain) => {
                    let (store, model) = (self.store.clone(), self.model.clone());
                    let sync = self.journal.sync();
                    let commit = move || {
                        sync()?;
                        store.commit(&chain, &model)?;
                        store.forget()
                    };
                    // Nobody waits for the disk: a node that loses the new state gets it from the relay once more, and
                    // the outbox is emptied last.
                    self.committing = Some(tokio::task::spawn_blocking(commit));
                    if let Some(outgoing) = self.outgoing.take() {
                        self.spare = outgoing
                            .body
                            .try_into_mut()
                            .map(Vec::from)
                            .unwrap_or_default();
                    }
                    self.update = None;
                    self.holding = None;
                }
                Action::Waiting { missing, for_s } => {
                    let since = Duration::from_secs(for_s);
                    (self.observe)(NodeEvent::Waiting { missing, since });
                }
                Action::TurnedAway(refusal) => return Ok(Some(End::TurnedAway(refusal))),
                Action::Finish { .. } => return Ok(Some(End::Finished)),
            }
        }
        Ok(None)
    }

    fn download(&mut self, job: impl Future<Output = Done> + Send + 'static) {
        let former = self.download.replace(self.linked.spawn(job));
        if let Some(former) = former {
            former.abort();
        }
    }
}

/// Waits until the new state is on disk, if one is on its way there. Cancel-safe.
async fn committed(
    committing: &mut Option<JoinHandle<Result<(), StoreError>>>,
) -> Result<(), NodeError> {
    if let Some(writing) = committing {
        let written = writing.await;
        *committing = None;
        written??;
    }
    Ok(())
}

fn check_layout(kit: &Kit, layout: &Layout) -> Result<(), NodeError> {
    let agreed = kit.manifest.layout();
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
