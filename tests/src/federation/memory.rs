//! A round in memory: the real state machines, sealing and engine, and a relay that keeps every
//! byte it sees.
//!
//! What each machine was told is kept as well, so that a test can bring a fresh one to any point of
//! the round and tell it something else.

use fl_network::opener::OPENER;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fl_network::time::unix_s;
use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::metrics::{AnswerTally, Tally};
use fl_protocol::round::node::{self, Node};
use fl_protocol::round::peer::OpenedSum;
use fl_protocol::round::relay::{Event, Relay, Settings};
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{CheckedOutcome, Evidence, Head, Outcome, SentSums};
use fl_protocol::sim;
use fl_protocol::sim::{Effect, NodeHost, RelayEffect, RelayHost, Work, assert_taken};
use fl_protocol::wire::{self, BodyId, NodeFrame, RelayFrame};
use fl_shaders::Counters;
use fl_sharing::RoundKey;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Kits;
use super::sealing::Sealing;

/// Time on the relay's clock throughout the round.
const NOW: Duration = Duration::from_secs(1);

/// Something that a node's machine was told.
#[derive(Clone, Debug)]
pub enum NodeCall {
    /// It is connected.
    Connected,
    /// A frame of the relay, encoded.
    Frame(Vec<u8>),
    /// Its work is done.
    Done(Work),
}

/// Something that the relay's machine was told.
#[derive(Clone, Debug)]
pub enum RelayCall {
    /// A frame of a node, encoded.
    Frame(NodeId, Vec<u8>),
    /// A masked sum is added.
    BodyAdded(NodeId, BodyId),
    /// The sum is averaged.
    Averaged(Box<Averaged>),
}

/// A node, its secrets, and what it went through.
pub struct Party {
    /// Who.
    pub id: NodeId,
    /// What its machine was told, in order.
    pub calls: Vec<NodeCall>,
    /// Its masked sum, once it was asked for.
    pub masked: Vec<u8>,
    /// Its process.
    pub host: NodeHost<Sealing>,
}

/// A complete round.
pub struct Round {
    /// The nodes.
    pub parties: Vec<Party>,
    /// What the relay's machine was told, in order.
    pub calls: Vec<RelayCall>,
    /// Every frame that the relay sent, in order.
    pub sent: Vec<(NodeId, Vec<u8>)>,
    /// The masked sums as the relay got them.
    pub bodies: BTreeMap<NodeId, Vec<u8>>,
    /// The sum of all bodies.
    pub result: Vec<u8>,
    /// Context of the attempt.
    pub ctx: Option<Digest>,
    unix_s: u64,
}

/// What a node contributes: its update and its counters.
pub type Contribution = (Vec<f32>, Counters);

/// The signed sums of a result, with their tag shares, in the peer scheme.
///
/// # Panics
///
/// If it is a committee's.
pub fn sums_of(outcome: &mut Outcome) -> &mut Vec<OpenedSum> {
    match &mut outcome.parts {
        Evidence::Sums(sums) => sums,
        Evidence::Decision(_) => panic!("the result of a committee"),
    }
}

/// Counters of a node with this many training examples.
pub fn counters(examples: u64) -> Counters {
    let answers = AnswerTally {
        right: examples / 3,
        wrong: examples / 6,
        loss_sum: examples as f64,
    };
    Counters {
        examples,
        clipped: 0,
        tallies: Tally::Answers(answers).to_tallies(),
    }
}

/// Contributions with updates drawn from ±0.5, always the same, one for each number of training
/// examples.
pub fn drawn(examples: &[u64], parameters: usize) -> Vec<Contribution> {
    let mut random = StdRng::seed_from_u64(7);
    let mut drawn = Vec::with_capacity(examples.len());
    for examples in examples {
        let update = (0..parameters).map(|_| random.random_range(-0.5..0.5));
        drawn.push((update.collect(), counters(*examples)));
    }
    drawn
}

enum Mail {
    ToRelay(NodeId, Box<Outgoing>),
    ToNode(usize, Vec<u8>),
}

impl Round {
    /// Runs one round of the consortium with these contributions, one a node.
    ///
    /// # Errors
    ///
    /// Any refusal: among honest parties there is none.
    pub fn run(kits: &Kits, contributions: Vec<Contribution>) -> Result<Self> {
        let unix_s = unix_s();
        let mut round = Self {
            parties: Vec::new(),
            calls: Vec::new(),
            sent: Vec::new(),
            bodies: BTreeMap::new(),
            result: Vec::new(),
            ctx: None,
            unix_s,
        };
        for (index, contribution) in contributions.into_iter().enumerate() {
            round.parties.push(Party::new(kits, index, contribution)?);
        }
        let mut relay = RelayHost::new(kits.relay.manifest.clone(), settings(), unix_s, OPENER);
        relay.disk.model = kits.relay.initial()?;
        relay.start(Duration::ZERO, [0; 32]);
        let mut mail = VecDeque::new();
        for index in 0..round.parties.len() {
            round.tell_node(index, NodeCall::Connected, &mut mail)?;
        }
        while let Some(next) = mail.pop_front() {
            match next {
                Mail::ToNode(index, frame) => {
                    round.tell_node(index, NodeCall::Frame(frame), &mut mail)?;
                }
                Mail::ToRelay(node, outgoing) => {
                    round.tell_relay(&mut relay, node, *outgoing, &mut mail)?;
                }
            }
        }
        ensure!(
            relay.disk.head.round == 1,
            "the round did not come to its end"
        );
        Ok(round)
    }

    /// A machine of node `index` that was told the first `calls` of what it was told then.
    ///
    /// # Errors
    ///
    /// If it does not take them as it did then.
    pub fn node_after(&self, kits: &Kits, index: usize, calls: usize) -> Result<Node> {
        let (kit, party) = (&kits.nodes[index], &self.parties[index]);
        let head = Head::start(&kit.manifest);
        let identity = kit.node_identity()?.clone();
        let (manifest, sent) = (kit.manifest.clone(), SentSums::default());
        let mut machine = Node::new(manifest, identity, head, sent, None, OPENER);
        let key = party.host.secrets.round_key.public();
        for call in &party.calls[..calls] {
            match call {
                NodeCall::Connected => drop(machine.connected(self.unix_s)?),
                NodeCall::Frame(bytes) => {
                    machine.handle(wire::decode(bytes)?, self.unix_s)?;
                }
                NodeCall::Done(work) => done(&mut machine, work, key, self.unix_s)?,
            }
        }
        Ok(machine)
    }

    /// The result as node 0 has checked it, before its bytes.
    ///
    /// # Errors
    ///
    /// If there was none.
    pub fn outcome(&self, kits: &Kits) -> Result<CheckedOutcome> {
        let calls = &self.parties[0].calls;
        for (position, call) in calls.iter().enumerate() {
            if let NodeCall::Frame(bytes) = call
                && let frame @ RelayFrame::Outcome(_) = wire::decode(bytes)?
            {
                let mut machine = self.node_after(kits, 0, position)?;
                for action in machine.handle(frame, self.unix_s)? {
                    if let node::Action::Average(outcome) = action {
                        return Ok(outcome);
                    }
                }
            }
        }
        bail!("no result")
    }

    /// A machine of the relay that was told the first `calls` of what it was told then.
    ///
    /// # Errors
    ///
    /// If a frame no longer decodes.
    pub fn relay_after(&self, kits: &Kits, calls: usize) -> Result<Relay> {
        let manifest = kits.relay.manifest.clone();
        let head = Head::start(&manifest);
        let mut machine = Relay::new(manifest, settings(), head, self.unix_s, [0; 32], OPENER);
        for call in &self.calls[..calls] {
            let event = match call {
                RelayCall::Frame(node, bytes) => Event::Frame(*node, wire::decode(bytes)?),
                RelayCall::BodyAdded(node, body) => Event::BodyAdded(*node, *body),
                RelayCall::Averaged(averaged) => Event::Averaged((**averaged).clone()),
            };
            machine.handle(NOW, event);
        }
        Ok(machine)
    }

    /// Unix time throughout the round.
    pub fn unix_s(&self) -> u64 {
        self.unix_s
    }

    /// Everything that the relay received or sent, one after the other, masked sums included.
    pub fn transcript(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for call in &self.calls {
            if let RelayCall::Frame(_, frame) = call {
                bytes.extend_from_slice(frame);
            }
        }
        for (_, frame) in &self.sent {
            bytes.extend_from_slice(frame);
        }
        for body in self.bodies.values() {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn tell_relay(
        &mut self,
        relay: &mut RelayHost,
        node: NodeId,
        outgoing: Outgoing,
        mail: &mut VecDeque<Mail>,
    ) -> Result<()> {
        let effects = match outgoing {
            Outgoing::Frame(frame) => {
                self.calls
                    .push(RelayCall::Frame(node, wire::encode(&frame)?));
                relay.handle(NOW, Event::Frame(node, frame))
            }
            Outgoing::Body(body, _) => {
                self.calls.push(RelayCall::BodyAdded(node, body));
                let bytes = &self.bodies[&node];
                let taken = relay.body(NOW, (node, body), 0, bytes);
                taken.map_err(|fault| anyhow::anyhow!("the masked sum of {node}: {fault:?}"))?
            }
        };
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                RelayEffect::Send(node, frame, _) => {
                    if let RelayFrame::Collect { ctx, .. } = frame {
                        self.ctx = Some(ctx);
                    }
                    let bytes = wire::encode(&frame)?;
                    self.sent.push((node, bytes.clone()));
                    let index = self.parties.iter().position(|party| party.id == node);
                    mail.push_back(Mail::ToNode(index.context("a stranger")?, bytes));
                }
                RelayEffect::TurnAway(node, refusal) => {
                    return Err(refusal).with_context(|| format!("the relay on {node}"));
                }
                RelayEffect::Average { sum, averaged, .. } => {
                    let averaged = averaged?;
                    self.calls.push(RelayCall::Averaged(averaged.clone()));
                    self.result.clone_from(&sum);
                    effects.extend(relay.averaged(NOW, sum, Ok(averaged)));
                }
                RelayEffect::Committed(_) | RelayEffect::Report(_) | RelayEffect::Finished => {}
            }
        }
        Ok(())
    }

    fn tell_node(&mut self, index: usize, call: NodeCall, mail: &mut VecDeque<Mail>) -> Result<()> {
        let party = &mut self.parties[index];
        let id = party.id;
        let said = party.tell(call, &self.result, self.unix_s)?;
        for outgoing in said {
            if let Outgoing::Body(..) = outgoing {
                self.bodies.insert(id, party.masked.clone());
            }
            mail.push_back(Mail::ToRelay(id, Box::new(outgoing)));
        }
        let parties = self.parties.iter_mut();
        let mut hosts: Vec<_> = parties.map(|party| &mut party.host).collect();
        assert_taken(&mut hosts, index);
        Ok(())
    }
}

fn settings() -> Settings {
    sim::settings(1, 1.0, 3)
}

/// Tells a node's machine what this work has led to.
fn done(machine: &mut Node, work: &Work, round_key: &[u8], unix_s: u64) -> Result<()> {
    match work {
        Work::Train(round) => drop(machine.trained(*round)),
        Work::DrawRoundKey(round) => drop(machine.keyed(*round, round_key.to_vec(), unix_s)?),
        Work::Seal(ctx, sealed) => drop(machine.sealed(*ctx, sealed.clone())?),
        Work::Mask(ctx, masked) => drop(machine.summed(*ctx, masked.root(), masked.tag_share())?),
        Work::Average(averaged) => drop(machine.averaged(averaged)?),
        other => bail!("no work of an honest round in the peer scheme: {other:?}"),
    }
    Ok(())
}

/// What a node has to say.
#[derive(Debug)]
pub enum Outgoing {
    /// A frame.
    Frame(NodeFrame),
    /// Its masked sum, from this chunk on.
    Body(BodyId, u32),
}

impl Party {
    /// Node `index` of the consortium at the beginning, with what it is to contribute.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn new(kits: &Kits, index: usize, contribution: Contribution) -> Result<Self> {
        let kit = &kits.nodes[index];
        let secrets = Sealing::new(kit, contribution)?;
        let (manifest, identity) = (kit.manifest.clone(), kit.node_identity()?.clone());
        let mut host = NodeHost::new(manifest, identity, secrets, unix_s());
        host.disk.model = kits.relay.initial()?;
        Ok(Self {
            id: kit.id(),
            calls: Vec::new(),
            masked: Vec::new(),
            host,
        })
    }

    /// Its round key.
    pub fn round_key(&self) -> &RoundKey {
        &self.host.secrets.round_key
    }

    /// Tells the node something, and carries out what follows. `result` is what the relay would
    /// send as the sum.
    ///
    /// # Errors
    ///
    /// The node's refusal.
    pub fn tell(&mut self, call: NodeCall, result: &[u8], unix_s: u64) -> Result<Vec<Outgoing>> {
        let mut effects = VecDeque::from(self.call(call, unix_s)?);
        if self.host.node.is_catching_up() {
            effects.extend(self.host.body(result));
        }
        let mut outgoing = Vec::new();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(frame) => outgoing.push(Outgoing::Frame(frame)),
                Effect::Upload {
                    body,
                    first_chunk,
                    bytes,
                } => {
                    self.masked = bytes;
                    outgoing.push(Outgoing::Body(body, first_chunk));
                }
                Effect::Work(work) => effects.extend(self.call(NodeCall::Done(work), unix_s)?),
                Effect::Refused(refusal) => return Err(refusal.into()),
                _ => {}
            }
        }
        Ok(outgoing)
    }

    fn call(&mut self, call: NodeCall, unix_s: u64) -> Result<Vec<Effect>> {
        self.calls.push(call.clone());
        Ok(match call {
            NodeCall::Connected => self.host.connected(unix_s),
            NodeCall::Frame(bytes) => self.host.frame(wire::decode(&bytes)?, unix_s),
            NodeCall::Done(work) => self.host.done(work, unix_s),
        })
    }
}
