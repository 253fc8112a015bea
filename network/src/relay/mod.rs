//! The relay: one loop that owns the state machine, one task for each connection, and one for those
//! who knock.
//!
//! The loop is the only place where decisions are carried out; connections only move bytes. Bodies
//! are added to the accumulator by the connections themselves, so that the loop never waits for a
//! transfer.
//!
//! What the relay has is cut by who uses it: `Connections` who is connected, `Bodies` what
//! arrives of the attempt under way, `PublishedModel` the model and the result that led to it,
//! and `DurableRelay` what is on the disk.

mod accumulator;
mod arrivals;
mod bodies;
mod buffers;
mod connection;
mod connections;
mod door;
mod durable;
mod frame_limit;
mod handshakes;
mod intake;
#[cfg(feature = "testing")]
mod interceptor;
mod model_transfer;
mod published;
mod spool;

use std::future::Future;
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::message::Signed;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::relay::{Action, Event, Relay, Report, Settings};
use fl_protocol::round::{Checkpoint, Head, Outcome};
use fl_protocol::wire::{BodyId, RelayFrame};
use fl_shaders::Addends;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::audit::LogError;
use crate::kit::Kit;
use crate::opener::OPENER;
use crate::quic::Server;
use crate::store::{RelayStore, StoreError};
use crate::time::unix_s;

use bodies::{Average, Bodies};
use connection::ConnectionInput;
use connections::Connections;
use door::Door;
use durable::{DurableRelay, LoadedState};
use intake::BodySource;
use published::PublishedModel;

pub use arrivals::BodyError;
#[cfg(feature = "testing")]
pub use interceptor::{Flow, Interceptor, Parcel};

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_millis(200);
/// Inputs that may wait for the loop.
const INPUTS: usize = 256;

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
/// `report` receives what an operator wants to know.
///
/// # Errors
///
/// [`RelayError`] if it cannot begin. Once it serves, nothing that a peer does ends it.
pub async fn serve(
    kit: &Kit,
    server: Server,
    store: RelayStore,
    settings: Settings,
    report: impl FnMut(&Report),
    stop: impl Future<Output = ()>,
) -> Result<Head, RelayError> {
    let (inputs, queue) = mpsc::channel(INPUTS);
    let driver = RelayDriver::open(kit, store, settings, inputs)?;
    Ok(driver.run(queue, server, report, stop).await)
}

/// As [`serve`], with all that is sent and heard passing through `interceptor`.
///
/// # Errors
///
/// Those of [`serve`].
#[cfg(feature = "testing")]
pub async fn serve_intercepted(
    kit: &Kit,
    server: Server,
    store: RelayStore,
    settings: Settings,
    interceptor: Arc<Mutex<dyn Interceptor>>,
    stop: impl Future<Output = ()>,
) -> Result<Head, RelayError> {
    let (inputs, queue) = mpsc::channel(INPUTS);
    let mut driver = RelayDriver::open(kit, store, settings, inputs)?;
    driver.connections.intercept(interceptor);
    Ok(driver.run(queue, server, |_: &Report| {}, stop).await)
}

/// What drives the machine.
struct RelayDriver {
    machine: Relay,
    /// When the machine's clock was at 0.
    begun: Instant,
    manifest: Arc<Manifest>,
    connections: Connections,
    bodies: Bodies,
    published: PublishedModel,
    durable: DurableRelay,
}

/// What came of an action.
enum Performed {
    Done,
    Finished,
    /// The last result is taken back, which the machine has to know before anything else.
    RolledBack,
}

impl RelayDriver {
    /// Takes up what the relay remembers. What connections hear becomes `inputs`.
    fn open(
        kit: &Kit,
        store: RelayStore,
        settings: Settings,
        inputs: mpsc::Sender<ConnectionInput>,
    ) -> Result<Self, RelayError> {
        let manifest = kit.manifest.clone();
        let (durable, loaded) = DurableRelay::open(kit, store)?;
        let LoadedState {
            head,
            model,
            former,
            last,
            checkpoint,
            proofs,
        } = loaded;
        let mut seed = [0; 32];
        rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut seed)
            .map_err(|_| RelayError::Entropy)?;
        let mut machine = Relay::new(manifest.clone(), settings, head, unix_s(), seed, OPENER);
        machine.resume_convictions(&proofs);
        let mut result = Bytes::new();
        if let Some((last, body)) = last {
            machine.resume(last, former.is_none());
            result = body;
        }
        if let Some(checkpoint) = checkpoint {
            machine.resume_certified(&checkpoint);
        }
        let bodies = Bodies::new(manifest.clone());
        Ok(Self {
            machine,
            begun: Instant::now(),
            connections: Connections::new(manifest.clone(), inputs, bodies.watch()),
            manifest,
            bodies,
            published: PublishedModel::new(model, former, result),
            durable,
        })
    }

    /// Serves until all rounds are done or `stop` completes. Returns where the relay stands then.
    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<ConnectionInput>,
        server: Server,
        mut report: impl FnMut(&Report),
        stop: impl Future<Output = ()>,
    ) -> Head {
        let round = self.machine.head().round;
        report(&Report::Began { round });
        let mut door = Door::open(server.clone(), self.manifest.clone());
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            let event = tokio::select! {
                () = &mut stop => break,
                admitted = door.admitted() => {
                    self.connections.serve(admitted);
                    continue;
                }
                () = self.connections.ended() => continue,
                Some(input) = inputs.recv() => self.event(input),
                averaged = self.bodies.averaged() => self.averaged(averaged),
                _ = tick.tick() => Some(Event::Tick),
            };
            let Some(event) = event else { continue };
            if self.handle(event, &mut report).await {
                break;
            }
        }
        drop(door);
        self.connections.finish();
        self.durable.finish().await;
        self.connections.closed().await;
        server.shutdown(0, "the relay stops").await;
        self.machine.head()
    }

    /// Returns the event that an input is, if its connection is still the node's.
    fn event(&mut self, input: ConnectionInput) -> Option<Event> {
        match input {
            ConnectionInput::Connected { node, link } => {
                let replaced = self.connections.connected(node, link);
                replaced.then_some(Event::Lost(node))
            }
            ConnectionInput::Frame {
                node,
                serial,
                frame,
            } => self.connections.heard(node, serial, frame),
            ConnectionInput::BodyAdded {
                serial,
                subject,
                source,
            } => {
                let current = self.connections.is_current(source.0, serial);
                current.then(|| self.added(subject, source)).flatten()
            }
            ConnectionInput::Gone {
                node,
                serial,
                error,
            } => {
                let disconnected = self.connections.disconnected(node, serial, &error);
                disconnected.then_some(Event::Lost(node))
            }
        }
    }

    /// A body is here whole.
    fn added(&mut self, subject: Digest, (node, body): BodySource) -> Option<Event> {
        if self.bodies.added(subject)? {
            #[cfg(feature = "testing")]
            self.connections.received(node, body);
            return Some(Event::BodyAdded(node, body));
        }
        let reason = "this is not the model that the relay asked for";
        self.connections.give_up(node, reason);
        None
    }

    /// Takes the average off its thread. A panic there would be a bug, not an input.
    fn averaged(&mut self, averaged: Result<Option<Average>, JoinError>) -> Option<Event> {
        match averaged {
            Ok(Some((body, Ok(averaged)))) => {
                self.published.publish(body, averaged.model.clone());
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

    /// Lets the machine decide, and does what it says. Returns whether all rounds are done.
    async fn handle(&mut self, event: Event, report: &mut impl FnMut(&Report)) -> bool {
        let mut finished = false;
        let mut next = Some(event);
        self.machine.set_clock(self.begun.elapsed(), unix_s());
        while let Some(event) = next.take() {
            for action in self.machine.handle(self.begun.elapsed(), event) {
                match self.perform(action, report).await {
                    Performed::Done => {}
                    Performed::Finished => finished = true,
                    Performed::RolledBack => next = Some(Event::RolledBack),
                }
            }
        }
        finished
    }

    /// Carries out one action.
    async fn perform(&mut self, action: Action, report: &mut impl FnMut(&Report)) -> Performed {
        match action {
            Action::Log(entry) => self.durable.log(entry),
            Action::Send(node, frame) => self.connections.send(node, frame),
            Action::TurnAway(node, refusal) => self.connections.turn_away(node, refusal),
            Action::Receive { ctx, all } => self.receive(ctx, all).await,
            Action::Collect {
                node,
                ctx,
                body,
                root,
                sums,
            } => self.collect((node, body), (ctx, root), sums),
            Action::Average { head, ctx, bodies } => self.average(head, ctx, bodies),
            Action::Discard => self.bodies.discard(),
            Action::Keep => self.keep(),
            Action::Commit(head) => self.commit(head),
            Action::Certify(checkpoint) => self.durable.certify(checkpoint),
            Action::RollBack => return self.roll_back().await,
            Action::RequestModel { node, model } => self.request_model(node, model),
            Action::Adopt(checkpoint) => self.adopt(checkpoint),
            Action::Deliver(node, outcome) => self.deliver(node, outcome).await,
            Action::Restore(node, checkpoint) => self.restore(node, checkpoint),
            Action::Report(told) => report(&told),
            Action::Finish => return Performed::Finished,
        }
        Performed::Done
    }

    /// Makes room for the bodies of an attempt.
    async fn receive(&mut self, ctx: Digest, all: Option<Addends>) {
        match all {
            Some(addends) => {
                // In place of the last result, if it can be read back should a node still need it.
                let in_place = self.published.result().is_some() && self.durable.is_kept().await;
                let sum = match in_place {
                    true => self.published.take_result_memory(),
                    false => Vec::new(),
                };
                let spare = self.published.take_former_memory();
                let model = self.published.model();
                self.bodies.accumulate(ctx, addends, model, (sum, spare));
            }
            None => {
                // The next model is made from the spool, and not in the former one's place.
                self.published.forget_former();
                // The former spool clears up behind itself; that must come before the folder is
                // used again.
                self.bodies.discard();
                match self.durable.spool() {
                    Ok(folder) => self.bodies.spool(ctx, folder),
                    // Nothing can be taken, and the attempt runs out of time.
                    Err(error) => error!(%error, "contributions cannot be taken"),
                }
            }
        }
    }

    fn collect(&mut self, source: BodySource, expected: (Digest, Digest), sums: Vec<Signed<Sum>>) {
        if let Some(request) = self.bodies.collect(source, expected, sums) {
            self.connections.send(source.0, request);
        }
    }

    /// Averages the bodies of an attempt. The former result is not needed any more: whoever lacked
    /// it cannot be waited for.
    fn average(&mut self, head: Head, ctx: Digest, bodies: Vec<BodySource>) {
        self.published.forget_result();
        let model = self.published.model();
        self.bodies.average(head, ctx, bodies, model);
    }

    /// Keeps the last result before any node has all of it.
    fn keep(&mut self) {
        let last = self.machine.last_result().cloned();
        self.durable
            .keep(last, self.published.result().unwrap_or_default());
    }

    /// Makes the model durable, now that there is no way back behind it.
    fn commit(&mut self, head: Head) {
        self.durable.commit(head, self.published.model());
    }

    /// Removes the last result, and goes back to the model before it, if the disk lets it.
    async fn roll_back(&mut self) -> Performed {
        if self.published.has_former() && self.durable.roll_back().await {
            self.published.roll_back();
            return Performed::RolledBack;
        }
        Performed::Done
    }

    fn request_model(&mut self, node: NodeId, model: Digest) {
        self.bodies.receive_model(node, model);
        self.connections.send(node, RelayFrame::SendModel { model });
    }

    /// Takes the model that a node has sent for the relay's own.
    fn adopt(&mut self, checkpoint: Checkpoint) {
        if let Some(model) = self.bodies.take_model() {
            self.published.adopt(model.clone());
            self.durable.adopt(checkpoint, model);
        }
    }

    /// Sends the last result, from the disk if that is where it is.
    async fn deliver(&mut self, node: NodeId, outcome: Outcome) {
        if self.published.result().is_none()
            && let Some(result) = self.durable.read_result(&self.manifest).await
        {
            self.published.restore_result(result);
        }
        let Some(result) = self.published.result() else {
            // It comes back, and is told anew.
            let reason = "the relay cannot read the last result";
            return self.connections.give_up(node, reason);
        };
        let (body, frame) = (BodyId::result(outcome.ctx), RelayFrame::Outcome(outcome));
        let kept = self.durable.kept();
        self.connections
            .send_with_body(node, frame, (body, result), kept);
    }

    /// Sends the global model with what certifies it.
    fn restore(&mut self, node: NodeId, checkpoint: Checkpoint) {
        let (body, bytes) = (
            BodyId::model(checkpoint.head.model),
            self.published.model_bytes(),
        );
        let frame = RelayFrame::Checkpoint(checkpoint);
        let kept = self.durable.kept();
        self.connections
            .send_with_body(node, frame, (body, bytes), kept);
    }
}
