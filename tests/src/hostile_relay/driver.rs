//! The loop: the honest machine decides, the attack has the last word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fl_network::kit::Kit;
use fl_network::quic::Server;
use fl_network::time::unix_s;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::parameters::to_le_bytes;
use fl_protocol::ring_bytes;
use fl_protocol::round::relay::{Action, Event, Relay, Settings};
use fl_protocol::round::training::average;
use fl_protocol::round::{Head, Refusal};
use fl_protocol::wire::{BodyId, BodyKind, NodeFrame, RelayFrame};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{self, Input, What};
use super::{Attack, Command, Flow, Parcel, Record, header, result};

const TICK: Duration = Duration::from_millis(100);
/// How long nodes have to read the last frames.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    kit: Kit,
    server: Server,
    rounds: u64,
    attack: Box<dyn Attack>,
    refused: Sender<(NodeId, Refusal)>,
    machine: Relay,
    begun: Instant,
    links: BTreeMap<NodeId, (u64, mpsc::UnboundedSender<Parcel>)>,
    /// Nodes that are cut off whenever they come.
    absent: BTreeSet<NodeId>,
    bodies: Bodies,
    result: Bytes,
    model: Arc<Vec<f32>>,
    record: Record,
}

/// The bodies of one attempt, each under its root, which with a committee may be one of several of
/// its node.
#[derive(Default)]
struct Bodies {
    asked: BTreeMap<(NodeId, BodyId), Digest>,
    here: BTreeMap<(NodeId, BodyId), Vec<u8>>,
}

impl Driver {
    /// A relay that listens on loopback.
    pub(super) fn new(
        kit: Kit,
        rounds: u64,
        attack: Box<dyn Attack>,
        refused: Sender<(NodeId, Refusal)>,
    ) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(
            loopback,
            kit.server_tls().unwrap(),
            kit.manifest.roster().len(),
        )
        .unwrap();
        let model = Arc::new(kit.initial().unwrap());
        let record = Record {
            manifest: kit.manifest.clone(),
            heard: Vec::new(),
            bundles: Vec::new(),
            results: Vec::new(),
            base: Head::start(&kit.manifest),
            base_model: model.clone(),
        };
        Self {
            machine: machine(&kit, rounds, 0),
            kit,
            server,
            rounds,
            attack,
            refused,
            begun: Instant::now(),
            links: BTreeMap::new(),
            absent: BTreeSet::new(),
            bodies: Bodies::default(),
            result: Bytes::new(),
            model,
            record,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.local_address().unwrap()
    }

    /// Runs until all rounds are done, and gives where it stands then; or until nobody is left to
    /// command it.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> Option<Head> {
        let (inputs, mut queue) = mpsc::unbounded_channel();
        let mut connections = JoinSet::new();
        let mut serial = 0;
        let mut tick = tokio::time::interval(TICK);
        let mut finished = false;
        while !finished {
            finished = tokio::select! {
                command = commands.recv() => {
                    let Command::Rerun { without } = command?;
                    self.rerun(without);
                    false
                }
                Some(incoming) = self.server.accept() => {
                    serial += 1;
                    let (manifest, inputs) = (self.kit.manifest.clone(), inputs.clone());
                    connections.spawn(async move {
                        connection::serve(incoming, &manifest, serial, inputs).await;
                    });
                    false
                }
                Some(input) = queue.recv() => self.input(input),
                _ = tick.tick() => self.handle(Event::Tick),
            };
        }
        self.links.clear();
        let leave = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, leave).await;
        self.server.shutdown(0, "all rounds are done").await;
        Some(self.machine.head())
    }

    /// Forgets all rounds: what a relay can always claim to have done.
    fn rerun(&mut self, without: Vec<NodeId>) {
        self.absent = without.into_iter().collect();
        for node in self.links.keys().copied().collect::<Vec<_>>() {
            self.cut_off(node);
        }
        self.machine = machine(&self.kit, self.rounds, self.absent.len());
        self.begun = Instant::now();
        self.bodies = Bodies::default();
        self.model = Arc::new(self.kit.initial().unwrap());
    }

    /// Takes in what a connection tells. True when all rounds are done.
    fn input(&mut self, Input { node, serial, what }: Input) -> bool {
        let current = self.links.get(&node).is_some_and(|link| link.0 == serial);
        match what {
            What::Connected(parcels) if self.absent.contains(&node) => {
                // It may be gone already.
                let _ = parcels.send(Parcel::Close);
                false
            }
            What::Connected(parcels) => {
                let former = self.links.insert(node, (serial, parcels));
                former.is_some() && self.handle(Event::Lost(node))
            }
            _ if !current => false,
            What::Gone => {
                self.links.remove(&node);
                self.handle(Event::Lost(node))
            }
            What::Body(header, body) => self.body(node, header.body, body),
            What::Frame(frame) => self.frame(node, frame),
        }
    }

    fn frame(&mut self, node: NodeId, mut frame: NodeFrame) -> bool {
        self.record.heard.push((node, frame.clone()));
        // In a rerun without some, for whom the holders have voted is what it does not want to
        // know.
        if let NodeFrame::Hello(hello) = &mut frame
            && !self.absent.is_empty()
        {
            hello.voted_for.clear();
        }
        if let NodeFrame::Refused { refusal, .. } = frame {
            // The test may have seen enough.
            let _ = self.refused.send((node, refusal));
            self.cut_off(node);
            return self.handle(Event::Lost(node));
        }
        match self.attack.receive(&self.record, node, &frame) {
            Some(answers) => {
                for (to, parcel) in answers {
                    self.post(to, parcel);
                }
                false
            }
            None => self.handle(Event::Frame(node, frame)),
        }
    }

    /// Lets the machine decide, and does what it says, unless the attack says otherwise. True when
    /// all rounds are done.
    fn handle(&mut self, event: Event) -> bool {
        let mut finished = false;
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.machine.handle(self.begun.elapsed(), event) {
                match action {
                    Action::Send(node, frame) => {
                        if let RelayFrame::Keys(bundle) = &frame
                            && self.record.bundles.last() != Some(bundle)
                        {
                            self.record.bundles.push(bundle.clone());
                        }
                        self.send(node, vec![Parcel::Frame(frame)]);
                    }
                    Action::TurnAway(node, refusal) => {
                        panic!("{} is turned away: {refusal}", self.record.name(node))
                    }
                    Action::Receive { .. } | Action::Discard => self.bodies = Bodies::default(),
                    Action::Collect {
                        node, body, root, ..
                    } => {
                        self.bodies.asked.insert((node, body), root);
                        let request = RelayFrame::request(body, 0);
                        self.send(node, vec![Parcel::Frame(request)]);
                    }
                    Action::Average { head, ctx, bodies } => {
                        events.push(self.average(head, ctx, &bodies));
                    }
                    Action::Keep => {
                        let last = self.machine.last_result().unwrap();
                        let last = (last.outcome.clone(), self.result.clone());
                        self.record.results.push(last);
                    }
                    Action::Deliver(node, outcome) => {
                        let (_, body) = self.record.results.last().unwrap();
                        self.send(node, result(outcome, body.clone()));
                    }
                    Action::Restore(node, checkpoint) => {
                        let header = header(BodyId::model(checkpoint.head.model));
                        let body = to_le_bytes(&self.model).into();
                        let frame = RelayFrame::Checkpoint(checkpoint);
                        let body = Parcel::Body(header, body, Flow::Whole);
                        self.send(node, vec![Parcel::Frame(frame), body]);
                    }
                    Action::RollBack => panic!("the machine hears of no refusal"),
                    Action::RequestModel { .. } | Action::Adopt(_) => panic!("no node is ahead"),
                    Action::Log(_) | Action::Commit(_) | Action::Certify(_) | Action::Report(_) => {
                    }
                    Action::Finish => finished = true,
                }
            }
        }
        finished
    }

    /// Keeps a body. Nodes are honest: it is the one that they signed. True when all rounds are
    /// done.
    fn body(&mut self, node: NodeId, id: BodyId, body: Vec<u8>) -> bool {
        let Some(root) = self.bodies.asked.get(&(node, id)) else {
            // Of a former attempt.
            return false;
        };
        assert_eq!(ChunkHashes::of(&body).root(), *root);
        self.bodies.here.insert((node, id), body);
        self.handle(Event::BodyAdded(node, id))
    }

    fn average(&mut self, head: Head, ctx: Digest, bodies: &[(NodeId, BodyId)]) -> Event {
        let plan = self.kit.manifest.fixed_point();
        let mut sum = vec![0; self.kit.manifest.body_bytes()];
        for body in bodies {
            ring_bytes::add(plan.ring(), &mut sum, &self.bodies.here[body]);
        }
        let inputs = bodies.iter().filter(|(_, body)| body.kind == BodyKind::Sum);
        let nodes = inputs.count();
        let averaged = average(&sum, &self.model, plan, nodes, head, ctx).unwrap();
        self.result = sum.into();
        self.record.base = head;
        self.record.base_model = std::mem::replace(&mut self.model, averaged.model.clone());
        Event::Averaged(averaged)
    }

    /// Sends what the attack makes of these parcels.
    fn send(&mut self, node: NodeId, mut parcels: Vec<Parcel>) {
        self.attack.send(&self.record, node, &mut parcels);
        for parcel in parcels {
            self.post(node, parcel);
        }
    }

    /// Nothing that a node still says on this connection is heard.
    fn cut_off(&mut self, node: NodeId) {
        if let Some((_, link)) = self.links.remove(&node) {
            // It may be gone already.
            let _ = link.send(Parcel::Close);
        }
    }

    fn post(&self, node: NodeId, parcel: Parcel) {
        if let Some((_, link)) = self.links.get(&node) {
            // A connection that is gone says so itself.
            let _ = link.send(parcel);
        }
    }
}

/// The honest machine, at its beginning. It waits for everyone but those `absent`.
fn machine(kit: &Kit, rounds: u64, absent: usize) -> Relay {
    let settings = Settings::new(
        rounds,
        1.0,
        kit.manifest.roster().len() - absent,
        0..=usize::MAX,
    )
    .unwrap();
    let manifest = kit.manifest.clone();
    let head = Head::start(&manifest);
    Relay::new(manifest, settings, head, unix_s(), [7; 32])
}
