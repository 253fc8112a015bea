//! The relay: one loop that owns the state machine, and one task for each connection.
//!
//! The loop is the only place where decisions are carried out; connections only move bytes. Bodies are added to the
//! accumulator by the connections themselves, so that the loop never waits for a transfer.

mod accumulator;
mod arrivals;
mod buffers;
mod connection;
mod disk;
mod intake;
mod loan;
mod spool;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fl_protocol::audit::Record;
use fl_protocol::digest::{CHUNK_BYTES, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::parameters::to_le_bytes;
use fl_protocol::round::relay::{Action, Event, Relay, Report, Settings};
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Chain, Outcome, Refusal};
use fl_protocol::wire::{BodyId, BodyKind, RelayFrame};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tracing::{debug, error};

use crate::audit::{LogError, RelayJournal};
use crate::kit::Kit;
use crate::quic::Server;
use crate::store::{RelayStore, StoreError};
use crate::time::unix_s;

use accumulator::Accumulator;
use buffers::Buffers;
use connection::{Input, Link, Shared};
use disk::Loaded;
use intake::{Intake, Source};
use loan::Loan;
use spool::Spool;

pub use arrivals::BodyError;

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_millis(200);
/// Inputs that may wait for the loop.
const INPUTS: usize = 256;
/// Chunks that are put together at the same time: of all uploads where they are few, of half of them where they are many,
/// so that it takes half of the nodes to keep the others waiting by being slow.
const CHUNKS_MIN: usize = 16;
/// How long nodes have to read the last frames.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the relay stops before its time.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The state folder is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be gone on with.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operating system gives no random bytes.
    #[error("the operating system's random generator failed")]
    Entropy,
}

/// Serves rounds until all are done or `stop` completes. Returns where the relay stands then.
///
/// `report` receives operator-facing events.
///
/// # Errors
///
/// [`RelayError`] if it cannot begin. Once it serves, nothing that a peer does ends it.
pub async fn serve(
    kit: &Kit,
    server: Server,
    store: RelayStore,
    settings: Settings,
    mut report: impl FnMut(&Report),
    stop: impl Future<Output = ()>,
) -> Result<Chain, RelayError> {
    let mut loaded = disk::load(kit, &store)?;
    let (path, manifest) = (store.log_path(), &kit.manifest);
    let journal = RelayJournal::open(&path, manifest, loaded.chain, unix_s())?;
    if !journal.ended_untaken() {
        // A result that somebody had acknowledged stays, even if its model did not come to the disk.
        loaded.settle(&store)?;
    }
    let Loaded {
        chain,
        model,
        former,
        last,
        checkpoint,
    } = loaded;
    let mut seed = [0; 32];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut seed)
        .map_err(|_| RelayError::Entropy)?;
    let mut machine = Relay::new(kit.manifest.clone(), settings, chain, unix_s(), seed);
    let mut result = Bytes::new();
    if let Some((last, body)) = last {
        machine.resume(last, former.is_none());
        result = body;
    }
    if let Some(checkpoint) = checkpoint {
        machine.resume_certified(&checkpoint);
    }
    let (inputs, mut queue) = mpsc::channel(INPUTS);
    let (intakes, intake) = watch::channel(None);
    let manifest = kit.manifest.clone();
    let chunks = (manifest.roster().len() / 2).max(CHUNKS_MIN);
    let chunk_bytes = CHUNK_BYTES.min(manifest.body_bytes());
    let shared = Arc::new(Shared {
        manifest,
        inputs,
        intake,
        chunks: Buffers::new(chunks, chunk_bytes),
    });
    let mut driver = Driver {
        machine,
        journal,
        begun: Instant::now(),
        links: BTreeMap::new(),
        intakes,
        kept: watch::channel(Some(!result.is_empty())).1,
        result,
        model,
        former,
        restored: None,
        lent: None,
        store: Arc::new(store),
        averaging: JoinSet::new(),
        writing: None,
        stopping: watch::channel(false).0,
        shared: shared.clone(),
    };
    report(&Report::Began { round: chain.round });
    // Room for every node to reconnect, and for some strangers that do not get through the handshake.
    let most_connections = 2 * kit.manifest.roster().len() + 64;
    let mut connections = JoinSet::new();
    let mut serial = 0;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        let event = tokio::select! {
            () = &mut stop => break,
            Some(incoming) = server.accept() => {
                if connections.len() >= most_connections {
                    incoming.refuse();
                    continue;
                }
                // When it gets crowded, only addresses that answer get a place.
                if connections.len() > most_connections / 2 && !incoming.is_validated() {
                    incoming.retry();
                    continue;
                }
                serial += 1;
                connections.spawn(connection::serve(shared.clone(), incoming, serial));
                continue;
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            Some(input) = queue.recv() => driver.event(input),
            Some(done) = driver.averaging.join_next(), if !driver.averaging.is_empty() => {
                driver.averaged(done)
            }
            _ = tick.tick() => Some(Event::Tick),
        };
        let Some(event) = event else { continue };
        if driver.handle(event, &mut report).await {
            break;
        }
    }
    driver.finish().await;
    // Nodes close when they have read the last frame; the rest is told by the close itself.
    let leave = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, leave).await;
    server.shutdown(0, "the relay stops").await;
    Ok(driver.machine.chain())
}

struct Driver {
    machine: Relay,
    journal: RelayJournal,
    begun: Instant,
    links: BTreeMap<NodeId, Link>,
    intakes: watch::Sender<Option<Arc<Intake>>>,
    /// Bytes of the last result; none where they are not in memory.
    result: Bytes,
    /// Whether the last result, or the model that was lent, is on disk, once that is known.
    kept: watch::Receiver<Option<bool>>,
    /// The global model.
    model: Arc<Vec<f32>>,
    /// The one before it, in case it comes to be that again. Once it cannot, the next model may lie there.
    former: Option<Arc<Vec<f32>>>,
    /// Its bytes, once a node has asked for them.
    restored: Option<Bytes>,
    /// A model that a node has lent.
    lent: Option<Arc<Vec<f32>>>,
    store: Arc<RelayStore>,
    averaging: JoinSet<Option<Average>>,
    /// What is on its way to the disk, and whether it gets there.
    writing: Option<JoinHandle<bool>>,
    /// Raised when nothing is tried again any more.
    stopping: watch::Sender<bool>,
    shared: Arc<Shared>,
}

/// What came of an action.
enum Performed {
    Done,
    Finished,
    /// The last result is taken back, which the machine has to know before anything else.
    TookBack,
}

/// What an averaging thread brings back.
type Average = (Bytes, Result<Averaged, Refusal>);

impl Driver {
    /// The event that an input is, if its connection is still the node's.
    fn event(&mut self, input: Input) -> Option<Event> {
        match input {
            Input::Connected { node, link } => {
                if let Some(former) = self.links.insert(node, link) {
                    former.replace();
                    return Some(Event::Lost(node));
                }
                None
            }
            Input::Frame {
                node,
                serial,
                frame,
            } => {
                let link = self.links.get(&node).filter(|link| !link.leaving)?;
                (link.serial == serial).then_some(Event::Frame(node, frame))
            }
            Input::BodyAdded {
                serial,
                subject,
                source,
            } => {
                let intake = self.intakes.borrow().clone();
                let intake = intake.filter(|intake| intake.subject() == subject)?;
                let (node, body) = source;
                if !self.is_current(node, serial) {
                    return None;
                }
                match &*intake {
                    Intake::Loan(loan) => self.lent(loan),
                    Intake::Sum(_) | Intake::Spool(_) => Some(Event::BodyAdded(node, body)),
                }
            }
            Input::Gone {
                node,
                serial,
                error,
            } => {
                debug!(node = %self.shared.manifest.name_of(node), %error, "connection ended");
                if !self.is_current(node, serial) {
                    return None;
                }
                self.links.remove(&node);
                Some(Event::Lost(node))
            }
        }
    }

    fn is_current(&self, node: NodeId, serial: u64) -> bool {
        self.links
            .get(&node)
            .is_some_and(|link| link.serial == serial)
    }

    /// Takes the average off its thread. A panic there would be a bug, not an input.
    fn averaged(&mut self, done: Result<Option<Average>, tokio::task::JoinError>) -> Option<Event> {
        match done {
            Ok(Some((body, Ok(averaged)))) => {
                self.result = body;
                let former = std::mem::replace(&mut self.model, averaged.model.clone());
                self.former = Some(former);
                self.restored = None;
                Some(Event::Averaged(averaged))
            }
            Ok(Some((_, Err(refusal)))) => Some(Event::Impossible(refusal)),
            Ok(None) => None,
            Err(error) => {
                error!(%error, "averaging failed");
                None
            }
        }
    }

    /// Lets the machine decide, and does what it says. True when all rounds are done.
    async fn handle(&mut self, event: Event, report: &mut impl FnMut(&Report)) -> bool {
        let mut finished = false;
        let mut next = Some(event);
        while let Some(event) = next.take() {
            for action in self.machine.handle(self.begun.elapsed(), event) {
                match self.perform(action, report).await {
                    Performed::Done => {}
                    Performed::Finished => finished = true,
                    Performed::TookBack => next = Some(Event::TookBack),
                }
            }
        }
        finished
    }

    /// Carries out one action.
    async fn perform(&mut self, action: Action, report: &mut impl FnMut(&Report)) -> Performed {
        match action {
            Action::Log(entry) => {
                let unix_s = unix_s();
                self.journal.append(Record { unix_s, entry });
            }
            Action::Send(node, frame) => self.send(node, frame),
            Action::TurnAway(node, refusal) => {
                if let Some(link) = self.links.get_mut(&node) {
                    link.turn_away(refusal);
                }
            }
            Action::Receive {
                ctx,
                all: Some(nodes),
            } => self.accumulate(ctx, nodes).await,
            Action::Receive { ctx, all: None } => self.spool(ctx),
            Action::Collect {
                node,
                ctx,
                body,
                root,
            } => self.collect((node, body), ctx, root),
            Action::Average { chain, ctx, bodies } => self.average(chain, ctx, bodies),
            Action::Discard => drop(self.intakes.send_replace(None)),
            Action::Keep => self.keep(),
            Action::Commit(chain) => self.commit(chain),
            Action::Certify(checkpoint) => self.certify(checkpoint),
            Action::TakeBack => {
                if self.take_back().await {
                    return Performed::TookBack;
                }
            }
            Action::Borrow { node, model } => {
                let loan = Loan::new(node, model, self.shared.manifest.parameters());
                self.intakes
                    .send_replace(Some(Arc::new(Intake::Loan(loan))));
                self.send(node, RelayFrame::Lend { model });
            }
            Action::Adopt(checkpoint) => self.adopt(checkpoint),
            Action::Deliver(node, outcome) => {
                self.deliver(node, outcome).await;
            }
            Action::Restore(node, checkpoint) => {
                let model = checkpoint.chain.model;
                let body = self
                    .restored
                    .get_or_insert_with(|| to_le_bytes(&self.model).into());
                let body = body.clone();
                self.send(node, RelayFrame::Checkpoint(checkpoint));
                self.send_body(node, BodyId::model(model), body);
            }
            Action::Report(told) => report(&told),
            Action::Finish => return Performed::Finished,
        }
        Performed::Done
    }

    /// Takes a model that has arrived whole, if it is the one that was asked for. (Once in a relay's life, so nobody minds
    /// that it is hashed here.)
    fn lent(&mut self, loan: &Loan) -> Option<Event> {
        let (node, body) = (loan.node(), BodyId::model(loan.model_hash()));
        self.intakes.send_replace(None);
        self.lent = loan.model().map(Arc::new);
        if self.lent.is_none()
            && let Some(link) = self.links.get(&node)
        {
            link.give_up("this is not the model that the relay asked for");
        }
        self.lent.is_some().then_some(Event::BodyAdded(node, body))
    }

    fn send(&self, node: NodeId, frame: RelayFrame) {
        if let Some(link) = self.links.get(&node) {
            link.send(frame);
        }
    }

    /// Sends a body, the last of it once that from which it comes is on disk, or known not to get there.
    fn send_body(&self, node: NodeId, body: BodyId, bytes: Bytes) {
        if let Some(link) = self.links.get(&node) {
            let mut kept = self.kept.clone();
            let ready = async move {
                let _ = kept.wait_for(Option::is_some).await;
            };
            let manifest = &self.shared.manifest;
            let limit = Duration::from_secs(manifest.timeouts().result_s);
            let limit = limit.saturating_add(manifest.transfer_timeout());
            link.send_body(body, bytes, ready, limit);
        }
    }

    async fn accumulate(&mut self, ctx: Digest, nodes: usize) {
        let manifest = &self.shared.manifest;
        // In place of the last result, if there is one, and it can be read back should a node still need it.
        let in_place = !self.result.is_empty() && {
            let kept = self.kept.wait_for(Option::is_some).await;
            kept.is_ok_and(|kept| *kept == Some(true))
        };
        let mut zeros = match in_place {
            // A download that has not ended keeps it.
            true => std::mem::take(&mut self.result)
                .try_into_mut()
                .map(Vec::from)
                .unwrap_or_default(),
            false => Vec::new(),
        };
        zeros.fill(0);
        zeros.resize(manifest.body_bytes(), 0);
        let spare = self
            .former
            .take()
            .and_then(|former| Arc::try_unwrap(former).ok());
        let (model, spare) = (self.model.clone(), spare.unwrap_or_default());
        let plan = manifest.fixed_point();
        let sum = Accumulator::new(ctx, plan, zeros, nodes, model, spare);
        self.intakes
            .send_replace(Some(Arc::new(Intake::Sum(Box::new(sum)))));
    }

    /// Without a folder nothing can be taken, and the attempt runs out of time.
    fn spool(&self, ctx: Digest) {
        // The former one clears up behind itself; that must come before the folder is used again.
        drop(self.intakes.send_replace(None));
        match self.store.spool() {
            Ok(folder) => {
                let spool = Spool::new(ctx, folder, self.shared.manifest.body_bytes());
                self.intakes
                    .send_replace(Some(Arc::new(Intake::Spool(spool))));
            }
            Err(error) => error!(%error, "contributions cannot be taken"),
        }
    }

    fn collect(&self, source: Source, ctx: Digest, root: Digest) {
        let intake = self.intakes.borrow().clone();
        let Some(intake) = intake.filter(|intake| intake.subject() == ctx) else {
            return;
        };
        let first_chunk = u32::try_from(intake.expect(source, root)).unwrap_or(u32::MAX);
        let (node, body) = source;
        self.send(node, RelayFrame::request(body, first_chunk));
    }

    /// Averages the sum of these bodies, unless that was done on their arrival.
    fn average(&mut self, chain: Chain, ctx: Digest, bodies: Vec<Source>) {
        let Some(intake) = self.close_intake() else {
            return;
        };
        let (model, manifest) = (self.model.clone(), self.shared.manifest.clone());
        self.averaging.spawn_blocking(move || match &*intake {
            Intake::Sum(sum) => {
                let (sum, averaged) = sum.finish(chain)?;
                Some((sum.into(), averaged))
            }
            Intake::Spool(spool) => {
                let plan = manifest.fixed_point();
                let sum = spool.sum(plan.ring(), manifest.body_bytes(), &bodies);
                let sum = sum.unwrap_or_else(|error| {
                    // An empty sum is impossible, and the attempt is repeated.
                    error!(%error, "contributions cannot be read back");
                    Vec::new()
                });
                let inputs = bodies.iter().filter(|(_, body)| body.kind == BodyKind::Sum);
                let averaged = average(&sum, &model, plan, inputs.count(), chain, ctx);
                Some((sum.into(), averaged))
            }
            Intake::Loan(_) => None,
        });
    }

    /// The bodies of the attempt, of which no more are to come.
    fn close_intake(&mut self) -> Option<Arc<Intake>> {
        // The former result is not needed any more: whoever lacked it cannot be waited for.
        self.result = Bytes::new();
        self.restored = None;
        self.intakes.send_replace(None)
    }

    /// Sends the last result, from the disk if that is where it is.
    async fn deliver(&mut self, node: NodeId, outcome: Outcome) {
        if self.result.is_empty() {
            let (store, manifest) = (self.store.clone(), self.shared.manifest.clone());
            let read = spawn_blocking(move || store.result(&manifest)).await;
            match read {
                Ok(Ok(Some((_, body)))) => self.result = body,
                Ok(Ok(None)) => error!("the last result is gone"),
                Ok(Err(error)) => error!(%error, "the last result cannot be read"),
                Err(error) => error!(%error, "the last result cannot be read"),
            }
            if self.result.is_empty() {
                // It comes back, and is told anew.
                if let Some(link) = self.links.get(&node) {
                    link.give_up("the relay cannot read the last result");
                }
                return;
            }
        }
        let ctx = outcome.ctx;
        self.send(node, RelayFrame::Outcome(outcome));
        self.send_body(node, BodyId::result(ctx), self.result.clone());
    }

    /// Lets nodes read what was sent, and waits for the disk.
    async fn finish(&mut self) {
        self.links.clear();
        self.stopping.send_replace(true);
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }
}
