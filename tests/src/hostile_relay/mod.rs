//! A relay that cheats, for real nodes to meet.
//!
//! It speaks QUIC and TLS with the relay's own kit and lets the honest state machine decide; but
//! before anything leaves, an [`Attack`] may change it, and before the machine hears a node, the
//! attack may take the frame away. Given an attack that changes nothing it is an honest relay
//! without a disk.
//!
//! A node that refuses is cut off and may come back, so that one run can mount many attacks, one
//! after the other.

mod connection;
mod driver;
pub mod met;
mod run;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use fl_network::kit::Kit;
use fl_protocol::digest::ChunkHashes;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::message::{Keys, Message, Signed};
use fl_protocol::round::peer::message::Share;
use fl_protocol::round::training::average;
use fl_protocol::round::{Head, Outcome, Refusal};
use fl_protocol::wire::{BodyId, BulkHeader, NodeFrame, RelayFrame};
use tokio::sync::mpsc;

use crate::deployed::{Consortium, PATIENCE};

use driver::Driver;

pub use run::{Lie, Run, VICTIM, committee, consortium, lie};

/// Something on its way to a node.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// A frame.
    Frame(RelayFrame),
    /// Any bytes in the place of a frame.
    Bytes(Vec<u8>),
    /// A body on a stream of its own.
    Body(BulkHeader, Bytes, Flow),
    /// The end of the connection. The node will come back.
    Close,
}

/// How a body flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// All of it, and then the end.
    Whole,
    /// All of it, and then zeros as long as the node takes them.
    Endless,
    /// A few bytes a second, and never the end.
    Trickling,
}

/// What a relay does to its nodes.
pub trait Attack: Send + 'static {
    /// Changes what an honest relay sends to a node at one time.
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>);

    /// Takes a frame away from the honest machine, if it gives what to send in answer, and to whom.
    fn receive(
        &mut self,
        _record: &Record,
        _from: NodeId,
        _frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        None
    }
}

impl<F: FnMut(&Record, NodeId, &mut Vec<Parcel>) + Send + 'static> Attack for F {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        self(record, to, parcels);
    }
}

/// All that the relay has seen, to be used again where it does not belong.
pub struct Record {
    /// The consortium's agreement.
    pub manifest: Arc<Manifest>,
    /// Frames of nodes, the last one at the end.
    pub heard: Vec<(NodeId, NodeFrame)>,
    /// Bundles of keys, one an attempt, as an honest relay sends them.
    pub bundles: Vec<Vec<Signed<Keys>>>,
    /// Outcomes and their sums, one a round.
    pub results: Vec<(Outcome, Bytes)>,
    /// Where the relay stood before the last of them.
    pub base: Head,
    /// Its model then.
    pub base_model: Arc<Vec<f32>>,
}

impl Record {
    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        &self.manifest.roster()[&node].name
    }

    /// The node of this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn id(&self, name: &str) -> NodeId {
        let mut roster = self.manifest.roster().iter();
        *roster.find(|(_, member)| member.name == name).unwrap().0
    }

    /// The sealed shares of all nodes so far, in the order in which they came.
    pub fn boxes(&self) -> Vec<(Share, Signed<Share>)> {
        let lists = self.heard.iter().filter_map(|(_, frame)| match frame {
            NodeFrame::Shares(list) => Some(list),
            _ => None,
        });
        let opened = |signed: &Signed<Share>| (self.opened(signed), signed.clone());
        lists.flatten().map(opened).collect()
    }

    /// The last box for the node of this name, or, if `to` is false, for any other.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn last_box(&self, to: bool, name: &str) -> Signed<Share> {
        let addressee = self.id(name);
        let mut boxes = self.boxes().into_iter().rev();
        let chosen = boxes.find(|(share, _)| (share.to == addressee) == to);
        chosen.unwrap().1
    }

    /// What was signed.
    ///
    /// # Panics
    ///
    /// If the signature does not hold.
    pub fn opened<T: Message>(&self, signed: &Signed<T>) -> T {
        signed.verify(&self.manifest, 0).unwrap()
    }

    /// The last result with another sum, and a root and, where the sum can be averaged, a model
    /// that go with it.
    pub fn forged(&self, body: Vec<u8>) -> Vec<Parcel> {
        let (mut outcome, _) = self.results.last().unwrap().clone();
        outcome.root = ChunkHashes::of(&body).root();
        let (plan, nodes) = (self.manifest.fixed_point(), outcome.parts.len());
        let ctx = outcome.ctx;
        if let Ok(averaged) = average(&body, &self.base_model, plan, nodes, self.base, ctx) {
            outcome.model = averaged.head.model;
        }
        result(outcome, body.into())
    }
}

/// An outcome and its body.
pub fn result(outcome: Outcome, body: Bytes) -> Vec<Parcel> {
    let header = header(BodyId::result(outcome.ctx));
    let frame = Parcel::Frame(RelayFrame::Outcome(outcome));
    vec![frame, Parcel::Body(header, body, Flow::Whole)]
}

/// The header of a body from its first chunk on.
pub fn header(body: BodyId) -> BulkHeader {
    BulkHeader {
        body,
        first_chunk: 0,
    }
}

/// What a test tells the relay to do.
enum Command {
    /// Forget all rounds, and begin again with everyone but these.
    Rerun { without: Vec<NodeId> },
}

/// A running relay that cheats. It stops when dropped.
pub struct HostileRelay {
    /// Where nodes find it.
    pub address: SocketAddr,
    names: BTreeMap<NodeId, String>,
    commands: mpsc::UnboundedSender<Command>,
    refusals: Receiver<(NodeId, Refusal)>,
    done: Receiver<Head>,
}

impl HostileRelay {
    /// Starts it for so many rounds.
    ///
    /// # Panics
    ///
    /// If the kit is unusable.
    pub fn start(consortium: &Consortium, rounds: u64, attack: impl Attack) -> Self {
        let kit = Kit::load(&consortium.kit("relay")).unwrap();
        let roster = kit.manifest.roster().iter();
        let names = roster.map(|(id, member)| (*id, member.name.clone()));
        let names = names.collect();
        let (commands, orders) = mpsc::unbounded_channel();
        let (refused, refusals) = channel();
        let (ended, done) = channel();
        let (bound, address) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let driver = Driver::new(kit, rounds, Box::new(attack), refused);
                bound.send(driver.address()).unwrap();
                if let Some(head) = driver.run(orders).await {
                    // Whoever started it may not care.
                    let _ = ended.send(head);
                }
            });
        });
        let address = address.recv_timeout(PATIENCE).unwrap();
        Self {
            address,
            names,
            commands,
            refusals,
            done,
        }
    }

    /// The next refusal that a node sent, and the node's name.
    ///
    /// # Panics
    ///
    /// If none comes within [`PATIENCE`].
    pub fn refusal(&self) -> (String, Refusal) {
        let (node, refusal) = self.refusals.recv_timeout(PATIENCE).unwrap();
        (self.names[&node].clone(), refusal)
    }

    /// Has the relay forget everything, and begin again without these nodes.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn rerun_without(&self, nodes: &[&str]) {
        let absent = |name: &String| nodes.contains(&name.as_str());
        let without = self.names.iter().filter(|(_, name)| absent(name));
        let without = without.map(|(id, _)| *id).collect();
        self.commands.send(Command::Rerun { without }).unwrap();
    }

    /// Waits until all rounds are done. Returns where the relay stands, and the refusals that
    /// nobody has asked for.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`].
    pub fn finished(self) -> (Head, Vec<Refusal>) {
        let head = self.done.recv_timeout(PATIENCE).unwrap();
        let refusals = self.refusals.try_iter().map(|(_, refusal)| refusal);
        (head, refusals.collect())
    }
}
