//! An honest relay and honest nodes, between which frames are reordered, doubled, lost, altered and misdirected, and
//! one of which also lies.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::ring_bytes;
use fl_protocol::round::relay::{Action, Event, LastResult, Relay, Settings};
use fl_protocol::round::training::average;
use fl_protocol::round::{Chain, Checkpoint};
use fl_protocol::wire::{self, BodyId, NodeFrame, RelayFrame};
use fl_shaders::Ring;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::site::{Conduct, Sent, Site, assert_taken, plain_sum};
use super::{Step, lies, steps, trouble};
use crate::fixture::{EPOCH, NODES, PARAMETERS, consortium};

const ROUNDS: u64 = 2;
/// Steps of honest progress in which anything that can end has ended.
const PATIENCE: usize = 2000;

/// Arbitrary trouble, and then, if nobody interfered with what is on a connection, peace, in which all rounds end.
pub(crate) fn network(data: &[u8]) {
    network_of(Conduct::Sound, data);
}

/// The same with nodes of any conduct.
pub(crate) fn network_of(conduct: Conduct, data: &[u8]) {
    let mut network = Network::new(conduct);
    for step in steps(data) {
        network.step(*step);
    }
    if network.untouched {
        network.ends();
    }
}

/// What is on its way to a node.
#[derive(Clone)]
enum Down {
    Frame(RelayFrame),
    Body(Vec<u8>),
}

/// A connection: what is under way in each direction, and what ever was.
#[derive(Default)]
struct Link {
    up: VecDeque<Sent>,
    down: VecDeque<Down>,
    is_up: bool,
}

struct Accumulator {
    ctx: Digest,
    sum: Vec<u8>,
    /// By node: the signed root, and whether its body is added.
    bodies: BTreeMap<NodeId, (Digest, bool)>,
}

struct Network {
    sites: Vec<Site>,
    links: Vec<Link>,
    relay: Relay,
    chain: Chain,
    model: Vec<f32>,
    result: Vec<u8>,
    last: Option<(LastResult, Vec<u8>)>,
    accumulator: Option<Accumulator>,
    /// What was ever sent, to be sent again.
    ups: Vec<NodeFrame>,
    downs: Vec<RelayFrame>,
    checkpoint: Option<Checkpoint>,
    /// Where the last result leads, as long as nobody has taken it.
    averaged: Option<(Chain, Vec<f32>)>,
    /// Where results of the relay's have ever led, and where those have that somebody took.
    offered: Vec<Chain>,
    chains: BTreeMap<u64, Chain>,
    now: Duration,
    relay_began: Duration,
    /// Whether each connection has carried what was sent, in order, until it was cut.
    untouched: bool,
    /// Whether something was signed that an honest node would not sign.
    lied: bool,
    finished: bool,
}

impl Network {
    fn new(conduct: Conduct) -> Self {
        let chain = Chain::start(&consortium().manifest);
        let mut network = Self {
            sites: (0..NODES).map(|node| Site::new(node, conduct)).collect(),
            links: (0..NODES).map(|_| Link::default()).collect(),
            relay: relay(chain, Duration::ZERO),
            chain,
            model: vec![0.0; PARAMETERS],
            result: Vec::new(),
            last: None,
            accumulator: None,
            ups: Vec::new(),
            downs: Vec::new(),
            checkpoint: None,
            averaged: None,
            offered: vec![chain],
            chains: BTreeMap::from([(0, chain)]),
            now: Duration::ZERO,
            relay_began: Duration::ZERO,
            untouched: true,
            lied: false,
            finished: false,
        };
        (0..NODES).for_each(|node| network.connect(node));
        network
    }

    fn unix_s(&self) -> u64 {
        EPOCH + self.now.as_secs()
    }

    fn step(&mut self, [what, who, which]: Step) {
        let (node, which) = (usize::from(who) % NODES, usize::from(which));
        let what = what % trouble::KINDS;
        let honest = [
            trouble::GO_ON,
            trouble::CUT,
            trouble::CONNECT,
            trouble::CRASH,
            trouble::WORK,
            trouble::WAIT,
            trouble::RESTART_RELAY,
        ];
        self.untouched &= honest.contains(&what);
        match what {
            trouble::GO_ON => (0..=which).for_each(|_| self.goes_on()),
            trouble::UP => {
                let up = &mut self.links[node].up;
                let at = which % up.len().max(1);
                if let Some(sent) = up.remove(at) {
                    self.arrives(node, sent);
                }
            }
            trouble::DOWN => {
                let down = &mut self.links[node].down;
                let at = which % down.len().max(1);
                if let Some(sent) = down.remove(at) {
                    self.delivered(node, sent);
                }
            }
            trouble::UP_AGAIN => {
                if let Some(frame) = pick(&self.ups, which) {
                    self.tell(Event::Frame(consortium().id(node), frame));
                }
            }
            trouble::DOWN_AGAIN => {
                if let Some(frame) = pick(&self.downs, which) {
                    self.delivered(node, Down::Frame(frame));
                }
            }
            trouble::DROP_UP => drop(self.links[node].up.pop_front()),
            trouble::DROP_DOWN => drop(self.links[node].down.pop_front()),
            trouble::ALTER_UP => {
                if let Some(Sent::Frame(frame)) = self.links[node].up.pop_front()
                    && let Some(frame) = altered(&frame, which)
                {
                    self.tell(Event::Frame(consortium().id(node), frame));
                }
            }
            trouble::ALTER_DOWN => match self.links[node].down.pop_front() {
                Some(Down::Frame(frame)) => {
                    if let Some(frame) = altered(&frame, which) {
                        self.delivered(node, Down::Frame(frame));
                    }
                }
                Some(Down::Body(mut body)) => {
                    let at = which % body.len().max(1);
                    body[at] ^= 1;
                    self.delivered(node, Down::Body(body));
                }
                None => {}
            },
            trouble::LIE => self.lie(usize::from(who), which),
            trouble::CUT => self.cut(node),
            trouble::CONNECT => self.connect(node),
            trouble::CRASH => {
                self.cut(node);
                self.sites[node].restart(which % 4 == 0);
            }
            trouble::WORK => self.works(node),
            trouble::WAIT => self.waits(Duration::from_secs(which as u64)),
            trouble::RESTART_RELAY => self.restart_relay(),
            _ => {
                if let Some(Down::Frame(frame)) = self.links[node].down.pop_front() {
                    self.delivered(which % NODES, Down::Frame(frame));
                }
            }
        }
    }

    /// Does the next thing that an undisturbed network would do.
    fn goes_on(&mut self) {
        for node in 0..NODES {
            if let Some(sent) = self.links[node].up.pop_front() {
                self.arrives(node, sent);
                return;
            }
            if let Some(sent) = self.links[node].down.pop_front() {
                self.delivered(node, sent);
                return;
            }
            if self.sites[node].is_busy() {
                self.works(node);
                return;
            }
        }
        match (0..NODES).find(|node| !self.links[*node].is_up) {
            Some(node) => self.connect(node),
            None => self.waits(Duration::from_secs(5)),
        }
    }

    /// Left alone, every round ends, and everyone has the same model.
    fn ends(&mut self) {
        for _ in 0..PATIENCE {
            if self.finished && self.sites.iter().all(|site| site.chain() == self.chain) {
                break;
            }
            self.goes_on();
        }
        assert!(self.finished, "the rounds do not end");
        for site in &self.sites {
            assert!(!site.turned_away, "an honest node is turned away");
            assert_eq!(site.chain(), self.chain);
            let bits = |model: &[f32]| {
                model
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(site.model()), bits(&self.model));
        }
    }

    fn waits(&mut self, time: Duration) {
        self.now += time;
        self.tell(Event::Tick);
    }

    fn connect(&mut self, node: usize) {
        if !self.links[node].is_up {
            self.links[node].is_up = true;
            let sent = self.sites[node].connected();
            self.send(node, sent);
        }
    }

    fn cut(&mut self, node: usize) {
        if std::mem::take(&mut self.links[node]).is_up {
            self.sites[node].disconnected();
            self.tell(Event::Lost(consortium().id(node)));
        }
    }

    fn works(&mut self, node: usize) {
        let unix_s = self.unix_s();
        let sent = self.sites[node].done(unix_s);
        self.send(node, sent);
    }

    fn send(&mut self, node: usize, sent: Vec<Sent>) {
        for sent in sent {
            if let Sent::Frame(frame) = &sent {
                self.ups.push(frame.clone());
            }
            if self.links[node].is_up {
                self.links[node].up.push_back(sent);
            }
        }
    }

    fn delivered(&mut self, node: usize, down: Down) {
        if !self.links[node].is_up {
            return;
        }
        let unix_s = self.unix_s();
        let sent = match down {
            Down::Frame(frame) => self.sites[node].frame(frame, unix_s),
            Down::Body(body) => self.sites[node].body(&body),
        };
        assert_taken(&mut self.sites, node);
        self.send(node, sent);
        let chain = self.sites[node].chain();
        let known = self.offered.contains(&chain);
        assert!(known, "a model that the relay does not have");
    }

    /// Something has arrived at the relay. Bodies are checked as its driver checks them.
    fn arrives(&mut self, node: usize, sent: Sent) {
        let id = consortium().id(node);
        match sent {
            Sent::Frame(frame) => self.tell(Event::Frame(id, frame)),
            Sent::Body(body_id, first_chunk, body) => {
                let sum = self.accumulator.as_mut();
                let sum = sum.filter(|sum| BodyId::sum(sum.ctx) == body_id);
                let Some(sum) = sum else { return };
                let Some((root, added)) = sum.bodies.get_mut(&id) else {
                    return;
                };
                if first_chunk != u32::from(*added) {
                    return;
                }
                if ChunkHashes::of(&body).root() != *root {
                    assert!(self.lied, "an honest node's body is what it signed");
                    return self.cut(node);
                }
                if !std::mem::replace(added, true) {
                    ring_bytes::add(Ring::U32, &mut sum.sum, &body);
                }
                self.tell(Event::BodyAdded(id, body_id));
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let now = self.now - self.relay_began;
        let actions = self.relay.handle(now, event);
        let takes_back = |action: &Action| matches!(action, Action::TakeBack);
        let took_back = actions.iter().any(takes_back);
        for action in actions {
            self.act(action);
        }
        if took_back {
            self.tell(Event::TookBack);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(id, frame) => self.post(id, frame, None),
            Action::TurnAway(id, refusal) => {
                self.post(id, RelayFrame::Refused(refusal), None);
                // It is told why before its connection ends; what it still sends does not count.
                if let Some(node) = consortium().index(id) {
                    let told = std::mem::take(&mut self.links[node].down);
                    told.into_iter().for_each(|down| self.delivered(node, down));
                    self.links[node] = Link::default();
                    self.sites[node].disconnected();
                }
            }
            Action::Receive { ctx, all } => {
                assert!(all.is_some(), "a committee's work without a committee");
                let (sum, bodies) = (vec![0; consortium().manifest.body_bytes()], BTreeMap::new());
                self.accumulator = Some(Accumulator { ctx, sum, bodies });
            }
            Action::Collect {
                node,
                ctx,
                body,
                root,
            } => {
                let sum = self.accumulator.as_mut().expect("an accumulator");
                assert_eq!(sum.ctx, ctx);
                let (expected, added) = *sum.bodies.entry(node).or_insert((root, false));
                assert_eq!(expected, root);
                let first_chunk = u32::from(added);
                self.post(node, RelayFrame::request(body, first_chunk), None);
            }
            Action::Average { chain, ctx, bodies } => self.average(chain, ctx, bodies.len()),
            Action::Discard => self.accumulator = None,
            Action::Keep => {
                let last = self.relay.last_result().cloned();
                self.last = last.map(|last| (last, self.result.clone()));
            }
            Action::Commit(chain) => {
                let (averaged, model) = self.averaged.take().expect("a result");
                assert_eq!(averaged, chain);
                (self.chain, self.model) = (chain, model);
                let former = self.chains.insert(chain.round, chain);
                assert_eq!(former, None, "two results of one round");
            }
            Action::Certify(checkpoint) => self.checkpoint = Some(checkpoint),
            Action::TakeBack => {
                self.last = None;
                self.averaged = None;
                self.result = Vec::new();
            }
            Action::Deliver(id, outcome) => {
                let body = self.result.clone();
                assert_eq!(ChunkHashes::of(&body).root(), outcome.root);
                self.post(id, RelayFrame::Outcome(outcome), Some(body));
            }
            Action::Restore(id, checkpoint) => {
                let body = fl_protocol::parameters::to_le_bytes(&self.model);
                self.post(id, RelayFrame::Checkpoint(checkpoint), Some(body));
            }
            Action::Log(_) | Action::Report(_) => {}
            Action::Borrow { .. } | Action::Adopt(_) => panic!("a liar alone certifies nothing"),
            Action::Finish => self.finished = true,
        }
    }

    fn post(&mut self, id: NodeId, frame: RelayFrame, body: Option<Vec<u8>>) {
        let Some(node) = consortium().index(id) else {
            return;
        };
        self.downs.push(frame.clone());
        if self.links[node].is_up {
            self.links[node].down.push_back(Down::Frame(frame));
            self.links[node].down.extend(body.map(Down::Body));
        }
    }

    /// All bodies are in, and X is the plain sum of the participants' inputs.
    fn average(&mut self, chain: Chain, ctx: Digest, nodes: usize) {
        let sum = self.accumulator.take().expect("an accumulator");
        assert_eq!((sum.ctx, sum.bodies.len()), (ctx, nodes));
        assert!(
            sum.bodies.values().all(|(_, added)| *added),
            "a body is missing"
        );
        if !self.lied {
            let plain = plain_sum(&self.sites, ctx, sum.bodies.keys());
            assert_eq!(sum.sum, plain, "the masks do not cancel");
        }
        let plan = consortium().manifest.fixed_point();
        let averaged = average(&sum.sum, &self.model, plan, nodes, chain, ctx);
        match averaged {
            Ok(averaged) => {
                self.result = sum.sum;
                self.averaged = Some((averaged.chain, averaged.model.to_vec()));
                self.offered.push(averaged.chain);
                self.tell(Event::Averaged(averaged));
            }
            Err(refusal) => {
                assert!(self.lied, "honest nodes cannot add up to this: {refusal}");
                self.tell(Event::Impossible(refusal));
            }
        }
    }

    fn restart_relay(&mut self) {
        (0..NODES).for_each(|node| self.cut(node));
        self.relay_began = self.now;
        self.accumulator = None;
        self.finished = false;
        // A result that nobody had taken is averaged again, and leads to the same.
        let chain = self
            .averaged
            .as_ref()
            .map_or(self.chain, |(chain, _)| *chain);
        self.relay = relay(chain, self.now);
        if let Some((last, result)) = self.last.clone() {
            self.result = result;
            self.relay.resume(last, self.averaged.is_none());
        }
        if let Some(checkpoint) = &self.checkpoint {
            self.relay.resume_certified(checkpoint);
        }
    }

    /// A lie about the attempt whose context was last heard of.
    fn lie(&mut self, about: usize, which: usize) {
        self.lied = true;
        let heard = self.downs.iter().rev().find_map(|frame| match frame {
            RelayFrame::Collect { ctx, .. } => Some(*ctx),
            RelayFrame::Shares(shares) => {
                let share = shares.first()?.verify(&consortium().manifest, 0);
                share.ok().map(|share| share.ctx)
            }
            _ => None,
        });
        let ctx = heard.unwrap_or(self.chain.previous);
        let frame = lies::lie(&self.chain, ctx, about, which);
        self.tell(Event::Frame(consortium().id(lies::LIAR), frame));
    }
}

fn relay(chain: Chain, began: Duration) -> Relay {
    let settings = Settings {
        rounds: ROUNDS,
        fraction_fit: 1.0,
        min_nodes: 3,
    };
    let epoch = EPOCH + began.as_secs();
    Relay::new(
        consortium().manifest.clone(),
        settings,
        chain,
        epoch,
        [1; 32],
    )
}

fn pick<T: Clone>(list: &[T], which: usize) -> Option<T> {
    list.len()
        .checked_sub(1 + which % list.len().max(1))
        .map(|at| list[at].clone())
}

/// The frame with one bit of its encoding flipped, if that is a frame.
fn altered<T: Serialize + DeserializeOwned>(frame: &T, which: usize) -> Option<T> {
    let mut bytes = wire::encode(frame).ok()?;
    let at = which * 7919 % bytes.len();
    bytes[at] ^= 1 << (which % 8);
    wire::decode(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounds that are complete after the seed, without the peace that follows.
    fn after(name: &str) -> u64 {
        let seeds = trouble::networks();
        let seed = seeds.iter().find(|(seed, _)| seed == name);
        let mut network = Network::new(Conduct::Sound);
        let (_, data) = seed.expect("a seed of this name");
        steps(data).for_each(|step| network.step(*step));
        network.chain.round
    }

    #[test]
    fn trouble_comes_in_the_middle_of_rounds() {
        assert_eq!(after("peace"), ROUNDS);
        assert_eq!(after("cut"), 1);
    }
}
