//! A round in memory: the real state machines, sealing and engine, and a relay that keeps every byte it sees.
//!
//! What each machine was told is kept as well, so that a test can bring a fresh one to any point of the round and tell
//! it something else.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fl_network::time::unix_s;
use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::ring_bytes;
use fl_protocol::round::message::Signed;
use fl_protocol::round::node::{self, Node};
use fl_protocol::round::peer::CompleteShares;
use fl_protocol::round::peer::message::Sum;
use fl_protocol::round::relay::{self, Event, Relay, Settings};
use fl_protocol::round::training::{Averaged, average};
use fl_protocol::round::{Chain, CheckedOutcome, Outcome, Parts, SentSums};
use fl_protocol::wire::{self, BodyId, NodeFrame, RelayFrame};
use fl_shaders::{Counters, HEADER_WORDS, Tag};
use fl_sharing::{
    Blinding, CpuEngine, Engine, EpochKey, Input, Mask, RoundKey, RoundingKey, Seed, Sign,
    masked_len, seal,
};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Kits;

/// Something that a node's machine was told.
#[derive(Clone, Debug)]
pub enum NodeCall {
    /// It is connected.
    Connected,
    /// A frame of the relay, encoded.
    Frame(Vec<u8>),
    /// Its update is ready.
    Trained(u64),
    /// This is its public round key.
    Keyed(u64, [u8; 32]),
    /// Its seeds are sealed.
    Sealed(Digest, Vec<(NodeId, Vec<u8>)>),
    /// Its masked sum is computed.
    Summed(Digest, Digest, Tag),
    /// The result is averaged.
    Averaged(Box<Averaged>),
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
    /// Its round key.
    pub round_key: RoundKey,
    /// What its machine was told, in order.
    pub calls: Vec<NodeCall>,
    /// The checked outcome, before its bytes were.
    pub outcome: Option<CheckedOutcome>,
    /// Its model at the end.
    pub model: Vec<f32>,
    /// Its masked sum.
    pub masked: Vec<u8>,
    update: Vec<f32>,
    counters: Counters,
    seeds: Vec<[u8; 32]>,
    machine: Node,
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

/// The signed sums of a result, in the peer scheme.
///
/// # Panics
/// If it is a committee's.
pub fn sums_of(outcome: &mut Outcome) -> &mut Vec<Signed<Sum>> {
    match &mut outcome.parts {
        Parts::Sums(sums) => sums,
        Parts::Decision(_) => panic!("the result of a committee"),
    }
}

/// Counters of a node with this many training examples.
pub fn counters(examples: u64) -> Counters {
    Counters {
        examples,
        test_examples: examples / 2,
        correct: examples / 3,
        loss: examples as f64,
        clipped: 0,
    }
}

/// Contributions with updates drawn from ±0.5, always the same, one for each number of training examples.
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
    ToRelay(RelayCall),
    ToNode(usize, Vec<u8>),
}

impl Round {
    /// Runs one round of the consortium with these contributions, one a node.
    ///
    /// # Errors
    /// Any refusal: among honest parties there is none.
    pub fn run(kits: &Kits, contributions: Vec<Contribution>) -> Result<Self> {
        let mut round = Self {
            parties: Vec::new(),
            calls: Vec::new(),
            sent: Vec::new(),
            bodies: BTreeMap::new(),
            result: Vec::new(),
            ctx: None,
            unix_s: unix_s(),
        };
        for (index, contribution) in contributions.into_iter().enumerate() {
            round.parties.push(Party::new(kits, index, contribution)?);
        }
        let mut relay = round.fresh_relay(kits);
        let mut mail = VecDeque::new();
        for index in 0..round.parties.len() {
            round.tell_node(kits, index, NodeCall::Connected, &mut mail)?;
        }
        while let Some(next) = mail.pop_front() {
            match next {
                Mail::ToNode(index, bytes) => {
                    round.tell_node(kits, index, NodeCall::Frame(bytes), &mut mail)?;
                }
                Mail::ToRelay(call) => round.tell_relay(kits, &mut relay, call, &mut mail)?,
            }
        }
        ensure!(
            relay.chain().round == 1,
            "the round did not come to its end"
        );
        Ok(round)
    }

    /// A machine of node `index` that was told the first `calls` of what it was told then.
    ///
    /// # Errors
    /// If it does not take them as it did then.
    pub fn node_after(&self, kits: &Kits, index: usize, calls: usize) -> Result<Node> {
        let mut machine = fresh_node(kits, index)?;
        for call in &self.parties[index].calls[..calls] {
            call_node(&mut machine, call, self.unix_s)?;
        }
        Ok(machine)
    }

    /// A machine of the relay that was told the first `calls` of what it was told then.
    ///
    /// # Errors
    /// If a frame no longer decodes.
    pub fn relay_after(&self, kits: &Kits, calls: usize) -> Result<Relay> {
        let mut machine = self.fresh_relay(kits);
        for call in &self.calls[..calls] {
            machine.handle(Duration::from_secs(1), event(call)?);
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

    fn fresh_relay(&self, kits: &Kits) -> Relay {
        let settings = Settings {
            rounds: 1,
            fraction_fit: 1.0,
            min_nodes: 3,
        };
        let manifest = kits.relay.manifest.clone();
        let chain = Chain::start(&manifest);
        Relay::new(manifest, settings, chain, self.unix_s, [0; 32])
    }

    fn tell_relay(
        &mut self,
        kits: &Kits,
        machine: &mut Relay,
        call: RelayCall,
        mail: &mut VecDeque<Mail>,
    ) -> Result<()> {
        let actions = machine.handle(Duration::from_secs(1), event(&call)?);
        self.calls.push(call);
        for action in actions {
            match action {
                relay::Action::Send(node, frame) => self.post(node, &frame, mail)?,
                relay::Action::Collect {
                    node, ctx, body, ..
                } => {
                    self.ctx = Some(ctx);
                    self.post(node, &RelayFrame::request(body, 0), mail)?;
                }
                relay::Action::Average { chain, ctx, bodies } => {
                    let manifest = &kits.relay.manifest;
                    let plan = manifest.fixed_point();
                    self.result = vec![0; manifest.body_bytes()];
                    for body in self.bodies.values() {
                        ring_bytes::add(plan.ring(), &mut self.result, body);
                    }
                    let initial = &kits.relay.initial()?;
                    let averaged = average(&self.result, initial, plan, bodies.len(), chain, ctx)?;
                    let averaged = Box::new(averaged);
                    mail.push_back(Mail::ToRelay(RelayCall::Averaged(averaged)));
                }
                relay::Action::Deliver(node, outcome) => {
                    self.post(node, &RelayFrame::Outcome(outcome), mail)?;
                }
                relay::Action::TurnAway(node, refusal) => {
                    return Err(refusal).with_context(|| format!("the relay on {node}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn post(&mut self, node: NodeId, frame: &RelayFrame, mail: &mut VecDeque<Mail>) -> Result<()> {
        let index = self.parties.iter().position(|party| party.id == node);
        let bytes = wire::encode(frame)?;
        self.sent.push((node, bytes.clone()));
        mail.push_back(Mail::ToNode(index.context("a stranger")?, bytes));
        Ok(())
    }

    fn tell_node(
        &mut self,
        kits: &Kits,
        index: usize,
        call: NodeCall,
        mail: &mut VecDeque<Mail>,
    ) -> Result<()> {
        let party = &mut self.parties[index];
        let id = party.id;
        for outgoing in party.tell(kits, call, &self.result, self.unix_s)? {
            mail.push_back(match outgoing {
                Outgoing::Frame(frame) => {
                    Mail::ToRelay(RelayCall::Frame(id, wire::encode(&frame)?))
                }
                Outgoing::Body(body, _) => {
                    self.bodies.insert(id, party.masked.clone());
                    Mail::ToRelay(RelayCall::BodyAdded(id, body))
                }
            });
        }
        Ok(())
    }
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
    /// If the system gives no random bytes.
    pub fn new(kits: &Kits, index: usize, (update, counters): Contribution) -> Result<Self> {
        Ok(Self {
            id: kits.nodes[index].id(),
            round_key: RoundKey::generate()?,
            calls: Vec::new(),
            outcome: None,
            model: Vec::new(),
            masked: Vec::new(),
            update,
            counters,
            seeds: Vec::new(),
            machine: fresh_node(kits, index)?,
        })
    }

    /// Forgets the connection.
    pub fn disconnected(&mut self) {
        self.machine.disconnected();
    }

    /// Tells the node something, and carries out what follows. `result` is what the relay would send as the sum.
    ///
    /// # Errors
    /// The node's refusal.
    pub fn tell(
        &mut self,
        kits: &Kits,
        call: NodeCall,
        result: &[u8],
        unix_s: u64,
    ) -> Result<Vec<Outgoing>> {
        let mut outgoing = Vec::new();
        let mut calls = VecDeque::from([call]);
        while let Some(call) = calls.pop_front() {
            let actions = call_node(&mut self.machine, &call, unix_s)?;
            self.calls.push(call);
            for action in actions {
                match action {
                    node::Action::Send(frame) => outgoing.push(Outgoing::Frame(frame)),
                    node::Action::Train { round, .. } => {
                        calls.push_back(NodeCall::Trained(round));
                    }
                    node::Action::DrawRoundKey { round, .. } => {
                        calls.push_back(NodeCall::Keyed(round, *self.round_key.public()));
                    }
                    node::Action::Seal { ctx, receivers } => {
                        calls.push_back(NodeCall::Sealed(ctx, self.seal(ctx, &receivers)?));
                    }
                    node::Action::Sum(shares) => {
                        let tag = self.mask(kits, &shares)?;
                        let root = ChunkHashes::of(&self.masked).root();
                        calls.push_back(NodeCall::Summed(shares.ctx(), root, tag));
                    }
                    node::Action::Upload { body, first_chunk } => {
                        outgoing.push(Outgoing::Body(body, first_chunk));
                    }
                    node::Action::Average(outcome) => {
                        let plan = kits.relay.manifest.fixed_point();
                        let averaged = outcome.average(
                            result,
                            &kits.relay.initial()?,
                            plan,
                            &kits.verifier()?,
                        )?;
                        self.outcome = Some(outcome);
                        self.model.clone_from(&averaged.model);
                        calls.push_back(NodeCall::Averaged(Box::new(averaged)));
                    }
                    _ => {}
                }
            }
        }
        Ok(outgoing)
    }

    fn seal(
        &mut self,
        ctx: Digest,
        receivers: &[(NodeId, [u8; 32])],
    ) -> Result<Vec<(NodeId, Vec<u8>)>> {
        let mut sealed = Vec::with_capacity(receivers.len());
        for (to, key) in receivers {
            let seed: [u8; 32] = rand::random();
            let to_seal = Seed::from_bytes(seed);
            let share = seal(
                key,
                ctx.as_bytes(),
                self.id.as_bytes(),
                to.as_bytes(),
                &to_seal,
            )?;
            self.seeds.push(seed);
            sealed.push((*to, share.to_vec()));
        }
        Ok(sealed)
    }

    /// Computes its masked sum, and gives its share of the tags' sum.
    fn mask(&mut self, kits: &Kits, shares: &CompleteShares) -> Result<Tag> {
        let ctx = shares.ctx();
        let ctx = ctx.as_bytes();
        let epoch_key = EpochKey::from_bytes(*kits.nodes[0].epoch_key()?);
        let tag_key = epoch_key.tag_key(ctx, HEADER_WORDS + self.update.len());
        let mut tag = tag_key.blind(self.id.as_bytes());
        let mut masks = Vec::new();
        for seed in &self.seeds {
            let seed = Seed::from_bytes(*seed);
            tag -= seed.tag_mask(ctx);
            let key = seed.expand(ctx);
            masks.push(Mask {
                key,
                sign: Sign::Minus,
            });
        }
        for (from, sealed) in shares.sealed() {
            let to = self.id.as_bytes();
            let seed = self.round_key.open(ctx, from.as_bytes(), to, sealed)?;
            tag += seed.tag_mask(ctx);
            masks.push(Mask {
                key: seed.expand(ctx),
                sign: Sign::Plus,
            });
        }
        let format = kits.relay.manifest.fixed_point();
        let input = Input {
            format,
            counters: self.counters,
            update: &self.update,
        };
        let blinding = Blinding {
            rounding: &RoundingKey::generate()?,
            masks: &masks,
            coefficients: tag_key.coefficients(),
        };
        self.masked = vec![0; masked_len(format, self.update.len())];
        let met = CpuEngine.mask(&input, &blinding, &mut self.masked)?;
        Ok(tag + met.tag)
    }
}

fn fresh_node(kits: &Kits, index: usize) -> Result<Node> {
    let kit = &kits.nodes[index];
    let chain = Chain::start(&kit.manifest);
    let identity = kit.node_identity()?.clone();
    let sent = SentSums::default();
    Ok(Node::new(kit.manifest.clone(), identity, chain, sent, None))
}

fn call_node(machine: &mut Node, call: &NodeCall, unix_s: u64) -> Result<Vec<node::Action>> {
    Ok(match call {
        NodeCall::Connected => machine.connected()?,
        NodeCall::Frame(bytes) => machine.handle(wire::decode(bytes)?, unix_s)?,
        NodeCall::Trained(round) => machine.trained(*round),
        NodeCall::Keyed(round, key) => machine.keyed(*round, *key, unix_s)?,
        NodeCall::Sealed(ctx, sealed) => machine.sealed(*ctx, sealed.clone())?,
        NodeCall::Summed(ctx, root, tag) => {
            let announcement = machine.summed(*ctx, *root, *tag)?;
            let frame = announcement.map(|announcement| announcement.frame);
            frame.map(node::Action::Send).into_iter().collect()
        }
        NodeCall::Averaged(averaged) => machine.averaged(averaged)?,
    })
}

fn event(call: &RelayCall) -> Result<Event> {
    Ok(match call {
        RelayCall::Frame(node, bytes) => Event::Frame(*node, wire::decode::<NodeFrame>(bytes)?),
        RelayCall::BodyAdded(node, body) => Event::BodyAdded(*node, *body),
        RelayCall::Averaged(averaged) => Event::Averaged((**averaged).clone()),
    })
}
