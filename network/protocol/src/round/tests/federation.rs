//! One relay and N nodes under virtual time. Links delay at random, in order on each stream; a lost connection
//! takes with it all that is under way. The relay adds up what really arrives, and after each round the result must
//! be the plain sum of the inputs, and every party's model the same.

mod driver;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::site::{Effect, Site, Work};
use crate::audit::{Party, verify};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::relay::{Completed, Event, LastResult, Relay, Report, Settings};
use crate::round::training::Averaged;
use crate::round::{Chain, Checkpoint, Refusal};
use crate::sim::{Consortium, MemoryLog};
use crate::wire::{BodyId, NodeFrame, RelayFrame};

/// Unix time at the beginning.
pub(in crate::round) const EPOCH: u64 = 1_800_000_000;
const TICK: Duration = Duration::from_millis(500);

/// When a node is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::round) enum Moment {
    /// The relay is about to get its keys.
    BeforeKeys,
    /// The relay has its keys.
    AfterKeys,
    /// The relay has its shares.
    AfterShares,
    /// The relay has its signed sum.
    AfterSum,
    /// The relay has a part of its body.
    MidBody,
    /// The relay has its body.
    AfterBody,
    /// The relay is about to get its vote.
    BeforeVote,
    /// The relay has its vote.
    AfterVote,
    /// The relay has its signed sum of masks.
    AfterReveal,
    /// It is about to make the new state durable.
    BeforeCommit,
    /// It has made the new state durable, and not said so.
    BeforeAck,
}

#[derive(Debug)]
enum Happening {
    ToRelay {
        node: usize,
        serial: u64,
        frame: NodeFrame,
    },
    Piece {
        node: usize,
        serial: u64,
        body: BodyId,
        index: usize,
        bytes: Vec<u8>,
    },
    ToNode {
        node: usize,
        serial: u64,
        frame: RelayFrame,
    },
    Body {
        node: usize,
        serial: u64,
        body: Vec<u8>,
    },
    Gone {
        node: usize,
        serial: u64,
    },
    Done {
        node: usize,
        life: u64,
        work: Work,
    },
    Averaged {
        life: u64,
        body: Vec<u8>,
        result: Result<Box<Averaged>, Refusal>,
    },
    Connect {
        node: usize,
    },
    Return {
        node: usize,
    },
    RelayReturns,
    Tick,
}

/// A node, and how it is connected.
pub(in crate::round) struct Member {
    pub(in crate::round) site: Site,
    pub(in crate::round) up: bool,
    /// Counts processes; what an earlier one was at is lost.
    life: u64,
    /// Number of the connection, if there is one.
    link: Option<u64>,
    /// Number of the connection that the relay has with it.
    relay_link: Option<u64>,
    /// How long training takes.
    pub(in crate::round) training: Duration,
    pub(in crate::round) finished: bool,
    /// How often it was told that its contribution is in.
    pub(in crate::round) received: usize,
    pub(in crate::round) waiting_for: Option<Vec<NodeId>>,
}

pub(in crate::round) struct Accumulator {
    ctx: Digest,
    /// The signed root of each body, and what has arrived of it.
    pub(in crate::round) parts: BTreeMap<(NodeId, BodyId), (Digest, Vec<u8>)>,
}

pub(in crate::round) struct Federation {
    pub(in crate::round) consortium: Consortium,
    pub(in crate::round) settings: Settings,
    pub(in crate::round) members: Vec<Member>,
    pub(in crate::round) relay: Option<Relay>,
    pub(in crate::round) relay_log: MemoryLog,
    relay_life: u64,
    /// On the relay's disk.
    pub(in crate::round) relay_chain: Chain,
    pub(in crate::round) relay_model: Vec<f32>,
    /// Where the last result leads, as long as nobody has taken it.
    averaged: Option<(Chain, Vec<f32>)>,
    /// How often the relay's disk will fail to forget the last result.
    pub(in crate::round) take_backs_to_fail: u32,
    /// With its bytes, on the relay's disk.
    pub(in crate::round) last: Option<(LastResult, Vec<u8>)>,
    /// On the relay's disk as well.
    pub(in crate::round) checkpoint: Option<Checkpoint>,
    result: Vec<u8>,
    /// Who lends the relay its model, and what of it is here.
    pub(in crate::round) loan: Option<(NodeId, Vec<u8>)>,
    pub(in crate::round) accumulator: Option<Accumulator>,
    queue: BTreeMap<(Duration, u64), Happening>,
    serial: u64,
    /// Latest arrival on each stream of each connection.
    arrivals: BTreeMap<(u64, u8), Duration>,
    pub(in crate::round) now: Duration,
    pub(in crate::round) rng: StdRng,
    pub(in crate::round) max_latency: Duration,
    /// How long the relay takes to notice that a connection is gone.
    pub(in crate::round) notices_within: Duration,
    /// Kills this node at this moment, once; it returns after the pause, if there is one.
    pub(in crate::round) kill: Option<(usize, Moment, Option<Duration>)>,
    pub(in crate::round) chains: BTreeMap<u64, Chain>,
    pub(in crate::round) completed: Vec<Completed>,
    pub(in crate::round) participants: Vec<Vec<NodeId>>,
    pub(in crate::round) reports: Vec<Report>,
    pub(in crate::round) turned_away: Vec<(NodeId, Refusal)>,
    pub(in crate::round) refusals: Vec<(NodeId, Refusal)>,
    pub(in crate::round) finished: bool,
    /// Votes that the relay was told of.
    pub(in crate::round) votes: usize,
}

impl Federation {
    pub(in crate::round) fn new(n: usize, rounds: u64, seed: u64) -> Self {
        Self::of(Consortium::new(n), rounds, seed)
    }

    pub(in crate::round) fn of(consortium: Consortium, rounds: u64, seed: u64) -> Self {
        let manifest = consortium.manifest.clone();
        let members = consortium.identities.iter().map(|identity| Member {
            site: Site::new(identity.clone(), manifest.clone(), EPOCH),
            up: true,
            life: 0,
            link: None,
            relay_link: None,
            training: Duration::from_secs(5),
            finished: false,
            received: 0,
            waiting_for: None,
        });
        let chain = Chain::start(&manifest);
        let mut federation = Self {
            members: members.collect(),
            settings: Settings {
                rounds,
                fraction_fit: 1.0,
                min_nodes: 3,
            },
            relay: None,
            relay_log: MemoryLog::new(manifest.sid(), Party::Relay),
            relay_life: 0,
            relay_chain: chain,
            relay_model: vec![0.0; manifest.parameters()],
            averaged: None,
            take_backs_to_fail: 0,
            last: None,
            checkpoint: None,
            result: Vec::new(),
            loan: None,
            accumulator: None,
            queue: BTreeMap::new(),
            serial: 0,
            arrivals: BTreeMap::new(),
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            max_latency: Duration::from_millis(300),
            notices_within: Duration::from_secs(4),
            kill: None,
            chains: BTreeMap::from([(0, chain)]),
            completed: Vec::new(),
            participants: Vec::new(),
            reports: Vec::new(),
            turned_away: Vec::new(),
            refusals: Vec::new(),
            finished: false,
            votes: 0,
            consortium,
        };
        federation.at(Duration::ZERO, Happening::RelayReturns);
        federation.at(TICK, Happening::Tick);
        for node in 0..federation.members.len() {
            federation.at(Duration::ZERO, Happening::Connect { node });
        }
        federation
    }

    /// Runs until `done`, for at most `limit` of virtual time. Says whether it came to that.
    pub(in crate::round) fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            match self.queue.first_key_value() {
                Some(((at, _), _)) if *at <= end => {}
                _ => return false,
            }
            let Some(((at, _), happening)) = self.queue.pop_first() else {
                return false;
            };
            self.now = at;
            self.happen(happening);
        }
        true
    }

    /// Runs until all rounds are complete everywhere. Panics if that takes more than a virtual day.
    pub(in crate::round) fn run_to_the_end(&mut self) {
        let everyone = |f: &Self| f.finished && f.members.iter().all(|m| m.finished || !m.up);
        let ended = self.run(Duration::from_secs(86_400), everyone);
        let stand = |m: &Member| {
            (
                m.site.disk.chain.round,
                m.up,
                m.link,
                m.relay_link,
                m.finished,
            )
        };
        let stands: Vec<_> = self.members.iter().map(stand).collect();
        let relay = (self.relay_chain.round, self.last.is_some());
        let told = |report: &&Report| !matches!(report, Report::Waiting { .. });
        let reports: Vec<_> = self.reports.iter().filter(told).collect();
        assert!(
            ended,
            "does not end: relay {relay:?}, nodes {stands:?}: {reports:?}"
        );
        assert_eq!(self.relay_chain.round, self.settings.rounds);
        for member in self.members.iter().filter(|member| member.up) {
            assert_eq!(member.site.disk.chain, self.relay_chain);
            let bits = |model: &[f32]| model.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&member.site.disk.model), bits(&self.relay_model));
        }
        self.assert_audited();
    }

    /// The log of a party: `relay`, or a node by its number.
    pub(in crate::round) fn log(&self, name: &str) -> &[u8] {
        let log = match name {
            "relay" => &self.relay_log,
            node => &self.members[node.parse::<usize>().unwrap()].site.log,
        };
        log.bytes()
    }

    /// Asserts that every party's log is sound and leads to where the party stands.
    pub(super) fn assert_audited(&self) {
        let nodes = self.members.iter().enumerate();
        let stands = nodes.map(|(node, member)| (node.to_string(), member.site.disk.chain));
        let relay = ("relay".to_owned(), self.relay_chain);
        for (name, chain) in stands.chain([relay]) {
            let verdict = verify(&self.consortium.manifest, self.log(&name)).unwrap();
            if let Some(flaw) = verdict.flaw {
                panic!("the log of {name}: {flaw}");
            }
            assert_eq!(verdict.summary.incomplete, 0, "{name}");
            assert_eq!(verdict.summary.stands, Some(chain), "{name}");
        }
    }

    /// Asserts that nobody was found at fault.
    pub(in crate::round) fn assert_peaceful(&self) {
        assert!(self.turned_away.is_empty(), "{:?}", self.turned_away);
        assert!(self.refusals.is_empty(), "{:?}", self.refusals);
    }

    pub(in crate::round) fn id(&self, node: usize) -> NodeId {
        self.members[node].site.id()
    }

    pub(in crate::round) fn unix_s(&self) -> u64 {
        EPOCH + self.now.as_secs()
    }

    /// Kills a node's process. It returns after `pause`, if there is one.
    pub(in crate::round) fn crash(&mut self, node: usize, pause: Option<Duration>) {
        self.cut(node);
        let member = &mut self.members[node];
        member.up = false;
        member.life += 1;
        if let Some(pause) = pause {
            self.after(pause, Happening::Return { node });
        }
    }

    pub(in crate::round) fn bring_back(&mut self, node: usize) {
        self.after(Duration::ZERO, Happening::Return { node });
    }

    /// Cuts a node's connection. The relay notices sooner or later.
    pub(in crate::round) fn cut(&mut self, node: usize) {
        let Some(serial) = self.members[node].link.take() else {
            return;
        };
        self.members[node].site.disconnected();
        let notices = self.random(self.notices_within);
        self.after(notices, Happening::Gone { node, serial });
        let again = Duration::from_millis(200) + self.random(Duration::from_secs(3));
        self.after(again, Happening::Connect { node });
    }

    /// Kills the relay's process for a while. `keeps_result` is whether it finds the last result on its disk.
    pub(in crate::round) fn restart_relay(&mut self, pause: Duration, keeps_result: bool) {
        (0..self.members.len()).for_each(|node| self.cut(node));
        self.relay = None;
        self.relay_life += 1;
        self.accumulator = None;
        if !keeps_result {
            self.last = None;
        }
        self.after(pause, Happening::RelayReturns);
    }

    fn at(&mut self, at: Duration, happening: Happening) {
        self.serial += 1;
        self.queue.insert((at, self.serial), happening);
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now + wait, happening);
    }

    /// Holds a node's work up for a while, with its connection alive.
    pub(in crate::round) fn stall(&mut self, node: usize, pause: Duration) {
        let stalled: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, happening)| match happening {
                Happening::ToNode { node: to, .. } => *to == node,
                Happening::Done { node: of, .. } => *of == node,
                _ => false,
            })
            .map(|(key, _)| *key)
            .collect();
        for key in stalled {
            let happening = self.queue.remove(&key).unwrap();
            self.queue.insert((key.0 + pause, key.1), happening);
        }
        let serial = self.members[node].link.unwrap();
        self.arrivals
            .insert((serial, 0), self.now + pause + Duration::from_secs(1));
    }

    pub(in crate::round) fn everyone_stands_with_the_relay(&self) -> bool {
        let stands = |member: &Member| member.site.disk.chain == self.relay_chain;
        self.members.iter().all(stands)
    }

    pub(in crate::round) fn random(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.random::<f64>())
    }

    /// Puts something on a stream of a connection: later than all that is on it.
    fn carry(&mut self, serial: u64, stream: u8, happening: Happening) {
        let arrives = self.now + self.random(self.max_latency);
        let latest = self.arrivals.entry((serial, stream)).or_default();
        *latest = arrives.max(*latest + Duration::from_micros(1));
        let at = *latest;
        self.at(at, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connect { node } => self.connect(node),
            Happening::Return { node } => {
                let member = &mut self.members[node];
                if !member.up {
                    member.up = true;
                    member.site.restart();
                    self.connect(node);
                }
            }
            Happening::RelayReturns if self.relay.is_none() => self.relay_returns(),
            Happening::Tick => {
                self.tell_relay(Event::Tick);
                self.after(TICK, Happening::Tick);
            }
            // A connection that was replaced is not missed.
            Happening::Gone { node, serial } if self.members[node].relay_link == Some(serial) => {
                self.members[node].relay_link = None;
                self.tell_relay(Event::Lost(self.id(node)));
            }
            Happening::ToRelay {
                node,
                serial,
                frame,
            } if self.is_link(node, serial) => {
                self.members[node].relay_link = Some(serial);
                self.frame_at_relay(node, frame);
            }
            Happening::Piece {
                node,
                serial,
                body,
                index,
                bytes,
            } if self.is_link(node, serial) => {
                self.piece_at_relay(node, body, index, &bytes);
            }
            Happening::ToNode {
                node,
                serial,
                frame,
            } if self.is_link(node, serial) => {
                let unix_s = self.unix_s();
                let effects = self.members[node].site.frame(frame, unix_s);
                self.effects(node, effects);
            }
            Happening::Body { node, serial, body } if self.is_link(node, serial) => {
                let effects = self.members[node].site.body(&body);
                self.effects(node, effects);
            }
            Happening::Done { node, life, work } if self.members[node].life == life => {
                if matches!(work, Work::Average(..)) && self.killed(node, Moment::BeforeCommit) {
                    return;
                }
                let unix_s = self.unix_s();
                let effects = self.members[node].site.done(work, unix_s);
                self.effects(node, effects);
            }
            Happening::Averaged { life, body, result } if life == self.relay_life => {
                let event = match result {
                    Ok(averaged) => {
                        self.averaged = Some((averaged.chain, averaged.model.to_vec()));
                        self.result = body;
                        Event::Averaged(*averaged)
                    }
                    Err(refusal) => Event::Impossible(refusal),
                };
                self.tell_relay(event);
            }
            _ => {}
        }
    }

    fn is_link(&self, node: usize, serial: u64) -> bool {
        self.members[node].link == Some(serial)
    }

    fn connect(&mut self, node: usize) {
        let member = &self.members[node];
        if !member.up || member.link.is_some() {
            return;
        }
        if self.relay.is_none() {
            return self.after(Duration::from_secs(1), Happening::Connect { node });
        }
        self.serial += 1;
        let serial = self.serial;
        self.members[node].link = Some(serial);
        let actions = self.members[node].site.node.connected().unwrap();
        let effects = self.members[node].site.act(actions);
        self.effects(node, effects);
    }

    fn killed(&mut self, node: usize, moment: Moment) -> bool {
        match self.kill {
            Some((who, when, pause)) if (who, when) == (node, moment) => {
                self.kill = None;
                self.crash(node, pause);
                true
            }
            _ => false,
        }
    }

    /// No two parties ever have different states after the same round.
    fn agree(&mut self, chain: Chain) {
        let agreed = *self.chains.entry(chain.round).or_insert(chain);
        assert_eq!(agreed, chain, "one model for a round");
    }

    fn effects(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            if !self.members[node].up {
                return;
            }
            self.effect(node, effect);
        }
    }

    fn effect(&mut self, node: usize, effect: Effect) {
        let link = self.members[node].link;
        let id = self.id(node);
        match effect {
            Effect::Send(frame) => {
                if let Some(serial) = link {
                    self.carry(
                        serial,
                        1,
                        Happening::ToRelay {
                            node,
                            serial,
                            frame,
                        },
                    );
                }
            }
            Effect::Upload {
                body,
                first_piece,
                bytes,
            } => self.upload(node, body, first_piece, &bytes),
            Effect::Received => self.members[node].received += 1,
            Effect::Work(work) => {
                let kept = self.members[node]
                    .site
                    .input
                    .as_ref()
                    .map(|(model, _)| *model);
                let takes = match work {
                    Work::Train { .. }
                        if kept != Some(self.members[node].site.disk.chain.model) =>
                    {
                        self.members[node].training
                    }
                    _ => Duration::from_millis(200),
                };
                let takes = takes + self.random(Duration::from_secs(1));
                let life = self.members[node].life;
                self.after(takes, Happening::Done { node, life, work });
            }
            Effect::Committed(chain) => {
                self.agree(chain);
                self.killed(node, Moment::BeforeAck);
            }
            Effect::Finished => self.members[node].finished = true,
            Effect::TurnedAway => {}
            Effect::Waiting(missing) => self.members[node].waiting_for = Some(missing),
            Effect::Refuses(refusal) => self.refusals.push((id, refusal)),
        }
    }
}
