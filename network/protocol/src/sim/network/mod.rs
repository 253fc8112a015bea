//! One relay and its nodes under virtual time.

mod agenda;
mod checks;
mod member;
mod seen;
mod timing;

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::faults::{AnyFaults, Content, Delivery, Faults, Moment, Verdict, Way, peace};
use super::ledger::{assert_taken, plain_sum};
use super::node::{Effect, NodeHost};
use super::open::{OpenSecrets, OpenTags};
use super::relay::{PIECE_BYTES, RelayEffect, RelayHost};
use super::secrets::Secrets;
use super::{Consortium, EPOCH};
use agenda::{Agenda, Happening};
pub use member::Member;
pub use seen::Seen;
pub use timing::Timing;

use crate::identity::{Identity, NodeId};
use crate::round::relay::{Event, Settings};
use crate::sim;
use crate::wire::{BodyId, NodeFrame, RelayFrame};

/// A relay, its nodes, and what is under way between them.
///
/// A lost connection takes with it all that is under way on it. The relay adds up what really
/// arrives, and after each round the result must be the plain sum of the inputs, and every party's
/// model the same.
pub struct Network<S = OpenSecrets, F = AnyFaults> {
    /// Whose they are.
    pub consortium: Consortium,
    /// The nodes, in the order of their names.
    pub members: Vec<Member<S>>,
    /// The relay.
    pub relay: RelayHost,
    /// How long things take.
    pub timing: Timing,
    /// What goes wrong on the way.
    pub faults: F,
    /// The time.
    pub now: Duration,
    /// Where all randomness comes from.
    pub rng: StdRng,
    /// What has happened.
    pub seen: Seen,
    /// Whether frames may be altered, lost or out of order, so that all may end in another state
    /// than the relay's, or not at all.
    pub is_hostile: bool,
    /// Whether something was signed that an honest node would not sign, so that sums may be wrong.
    pub is_dishonest: bool,
    agenda: Agenda,
    /// Counts the relay's processes.
    relay_life: u64,
    /// Counts connections.
    connections: u64,
}

impl Network {
    /// Returns a consortium of `nodes` nodes that begin `rounds` rounds.
    pub fn new(nodes: usize, rounds: u64, seed: u64) -> Self {
        Self::of(Consortium::new(nodes), rounds, seed)
    }

    /// This consortium, which begins `rounds` rounds.
    pub fn of(consortium: Consortium, rounds: u64, seed: u64) -> Self {
        let settings = sim::settings(rounds, 1.0, 3);
        let manifest = consortium.manifest.clone();
        let secrets =
            |identity: &Identity| OpenSecrets::new(manifest.clone(), identity.node_id(), OpenTags);
        let (timing, faults) = (Timing::default(), Box::new(peace));
        Self::with(consortium, settings, timing, secrets, faults, seed)
    }

    /// Kills a node at this moment, once. It returns after `pause`, if there is one.
    pub fn kill(&mut self, node: usize, moment: Moment, pause: Option<Duration>) {
        self.faults = Box::new(moment.kills(node, pause));
    }
}

impl<S: Secrets, F: Faults> Network<S, F> {
    /// This consortium under any conditions.
    pub fn with(
        consortium: Consortium,
        settings: Settings,
        timing: Timing,
        secrets: impl Fn(&Identity) -> S,
        faults: F,
        seed: u64,
    ) -> Self {
        let manifest = &consortium.manifest;
        let members = consortium.identities.iter().map(|identity| {
            let (manifest, secrets) = (manifest.clone(), secrets(identity));
            let host = NodeHost::new(manifest, identity.clone(), secrets, EPOCH);
            Member::new(host, timing.training)
        });
        let members: Vec<_> = members.collect();
        let relay = RelayHost::new(manifest.clone(), settings, EPOCH, S::opener());
        let mut agenda = Agenda::default();
        agenda.add(Duration::ZERO, Happening::RelayReturns);
        agenda.add(timing.tick, Happening::Tick);
        for node in 0..members.len() {
            agenda.add(Duration::ZERO, Happening::Connect(node));
        }
        let mut seen = Seen::default();
        seen.chains.insert(0, relay.disk.head);
        Self {
            consortium,
            members,
            relay,
            timing,
            faults,
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            seen,
            is_hostile: false,
            is_dishonest: false,
            agenda,
            relay_life: 0,
            connections: 0,
        }
    }

    /// Runs until `done`, for at most `limit` of virtual time. Returns whether it came to that.
    pub fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.agenda.next_at().is_none_or(|at| at > end) {
                return false;
            }
            self.step();
        }
        true
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        if let Some((at, happening)) = self.agenda.pop() {
            self.now = self.now.max(at);
            self.happen(happening);
        }
    }

    /// Runs until all rounds are complete everywhere, and asserts that all stand in one place, and
    /// that their logs say so. Panics if that takes more than a virtual day.
    pub fn run_to_the_end(&mut self) {
        let is_done = |member: &Member<S>| member.finished || !member.is_up;
        let ended = self.run(Duration::from_secs(86_400), |network| {
            network.seen.finished && network.members.iter().all(is_done)
        });
        assert!(ended, "{}", checks::state(self));
        checks::assert_one_state(self);
        checks::assert_audited(self);
    }

    /// Returns the log of a party: `relay`, or a node by its number.
    pub fn log(&self, name: &str) -> &[u8] {
        let log = match name {
            "relay" => &self.relay.log,
            node => &self.members[node.parse::<usize>().unwrap()].host.log,
        };
        log.bytes()
    }

    /// Returns whether all nodes stand where the relay does.
    pub fn everyone_stands_with_the_relay(&self) -> bool {
        let stands = |member: &Member<S>| member.host.disk.head == self.relay.disk.head;
        self.members.iter().all(stands)
    }

    /// Id of node `node`.
    pub fn id(&self, node: usize) -> NodeId {
        self.consortium.id(node)
    }

    /// Unix time.
    pub fn unix_s(&self) -> u64 {
        EPOCH + self.now.as_secs()
    }

    /// Unix time by a node's clock.
    fn unix_s_of(&self, node: usize) -> u64 {
        let ahead_s = self.members[node].clock_ahead_s;
        self.unix_s().saturating_add_signed(ahead_s)
    }

    /// A random duration.
    pub fn random(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.random::<f64>())
    }

    fn random_in(&mut self, range: &Range<Duration>) -> Duration {
        range.start + self.random(range.end - range.start)
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.agenda.add(self.now + wait, happening);
    }

    /// Kills a node's process. It returns after `pause`, if there is one.
    pub fn crash(&mut self, node: usize, pause: Option<Duration>) {
        self.cut(node);
        let member = &mut self.members[node];
        member.is_up = false;
        member.life += 1;
        if let Some(pause) = pause {
            self.after(pause, Happening::Return(node));
        }
    }

    /// Starts a node's process that was killed.
    pub fn bring_back(&mut self, node: usize) {
        self.after(Duration::ZERO, Happening::Return(node));
    }

    /// Cuts a node's connection. The relay notices sooner or later.
    pub fn cut(&mut self, node: usize) {
        let Some(connection) = self.members[node].connection.take() else {
            return;
        };
        self.members[node].host.disconnected();
        let notice = self.random(self.timing.notice);
        self.after(notice, Happening::Gone { node, connection });
        let again = self.random_in(&self.timing.reconnect.clone());
        self.after(again, Happening::Connect(node));
    }

    /// Kills the relay's process for a while. `keeps_result` is whether it finds the last result on
    /// its disk.
    pub fn restart_relay(&mut self, pause: Duration, keeps_result: bool) {
        (0..self.members.len()).for_each(|node| self.cut(node));
        self.relay.stop();
        self.relay_life += 1;
        self.seen.finished = false;
        if !keeps_result {
            self.relay.disk.last = None;
        }
        self.after(pause, Happening::RelayReturns);
    }

    /// Kills the relay's process for a while, and takes its disk and its log away.
    pub fn relay_loses_its_disk(&mut self, pause: Duration) {
        self.restart_relay(pause, false);
        self.relay.lose_disk();
    }

    /// Holds a node's work up for a while, with its connection alive.
    pub fn stall(&mut self, node: usize, pause: Duration) {
        let connection = self.members[node].connection;
        self.agenda.put_off((node, connection), self.now, pause);
    }

    /// Lets the `nth` of what is under way to or from a node arrive now, counted around.
    pub fn hasten(&mut self, node: usize, way: Way, nth: usize) {
        let connection = self.members[node].connection;
        let taken = self.agenda.take_arrival((node, connection), way, nth);
        if let Some(delivery) = taken {
            self.deliver(delivery);
        }
    }

    /// Ends the work that a node began first.
    pub fn finish_work(&mut self, node: usize) {
        let life = self.members[node].life;
        if let Some(done) = self.agenda.take_work(node, life) {
            self.happen(done);
        }
    }

    /// Lets something arrive that nobody has sent.
    pub fn inject(&mut self, node: usize, content: Content) {
        self.arrive(Delivery {
            node,
            content,
            connection: None,
        });
    }

    /// Lets time pass, and the relay's clock tick.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.tell_relay(Event::Tick);
    }

    /// Connects a node, if it runs and is not connected. It tries again as long as there is no
    /// relay.
    pub fn connect(&mut self, node: usize) {
        let member = &mut self.members[node];
        if !member.is_up || member.connection.is_some() {
            return;
        }
        if self.relay.machine().is_none() {
            return self.after(Duration::from_secs(1), Happening::Connect(node));
        }
        self.connections += 1;
        member.connection = Some(self.connections);
        let unix_s = self.unix_s_of(node);
        let effects = self.members[node].host.connected(unix_s);
        self.perform(node, effects);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connect(node) => self.connect(node),
            Happening::Return(node) => {
                let member = &mut self.members[node];
                if !member.is_up {
                    member.is_up = true;
                    member.host.restart();
                    self.connect(node);
                }
            }
            Happening::RelayReturns if self.relay.machine().is_none() => {
                let mut seed = [0; 32];
                self.rng.fill(&mut seed);
                self.relay.start(self.now, seed);
            }
            Happening::Tick => {
                self.tell_relay(Event::Tick);
                self.after(self.timing.tick, Happening::Tick);
            }
            // A connection that was replaced is not missed.
            Happening::Gone { node, connection }
                if self.members[node].relays == Some(connection) =>
            {
                self.members[node].relays = None;
                self.tell_relay(Event::Lost(self.id(node)));
            }
            Happening::Arrival(delivery)
                if self.members[delivery.node].connection == delivery.connection =>
            {
                self.deliver(delivery);
            }
            Happening::Done { node, life, work } if self.members[node].life == life => {
                let unix_s = self.unix_s_of(node);
                let effects = self.members[node].host.done(work, unix_s);
                self.perform(node, effects);
            }
            Happening::Averaged {
                life,
                sum,
                averaged,
            } if life == self.relay_life => {
                if let Ok(averaged) = &averaged {
                    self.seen.published.insert(averaged.head.previous);
                }
                let effects = self.relay.averaged(self.now, sum, averaged);
                self.perform_relay(effects);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, mut delivery: Delivery) {
        let node = delivery.node;
        match self.faults.judge(&mut delivery) {
            Verdict::Deliver => self.arrive(delivery),
            Verdict::Drop => {}
            Verdict::KillBefore(pause) => self.killed(node, pause),
            Verdict::KillAfter(pause) => {
                self.arrive(delivery);
                self.killed(node, pause);
            }
        }
    }

    fn killed(&mut self, node: usize, pause: Option<Duration>) {
        self.seen.killed += 1;
        self.crash(node, pause);
    }

    fn arrive(&mut self, delivery: Delivery) {
        let Delivery {
            node,
            content,
            connection,
        } = delivery;
        let (id, unix_s) = (self.id(node), self.unix_s_of(node));
        let member = &mut self.members[node];
        match content {
            Content::ToRelay(frame) => {
                if connection.is_some() {
                    member.relays = connection;
                }
                self.seen.votes += usize::from(matches!(frame, NodeFrame::Vote(_)));
                self.tell_relay(Event::Frame(id, frame));
            }
            Content::Piece {
                body, from, bytes, ..
            } => match self.relay.body(self.now, (id, body), from, &bytes) {
                Ok(effects) => self.perform_relay(effects),
                Err(fault) => {
                    let expected = self.is_hostile || self.is_dishonest;
                    assert!(expected, "identical bytes, whatever happened: {fault:?}");
                    self.cut(node);
                }
            },
            Content::ToNode(frame) if member.connection.is_some() => {
                let effects = member.host.frame(frame, unix_s);
                self.perform(node, effects);
            }
            Content::Body(body) if member.connection.is_some() => {
                let effects = member.host.body(&body);
                let mut hosts: Vec<_> = self.members.iter_mut().map(|m| &mut m.host).collect();
                assert_taken(&mut hosts, node);
                self.perform(node, effects);
            }
            _ => {}
        }
    }

    /// Tells the relay something, as if its driver had.
    pub fn tell_relay(&mut self, event: Event) {
        let effects = self.relay.handle(self.now, event);
        self.perform_relay(effects);
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            if !self.members[node].is_up {
                return;
            }
            let member = &mut self.members[node];
            match effect {
                Effect::Send(frame) => self.carry(node, Content::ToRelay(frame)),
                Effect::Upload {
                    body,
                    first_chunk,
                    bytes,
                } => self.upload(node, body, first_chunk as usize, &bytes),
                Effect::Work(work) => {
                    let (life, extra) = (member.life, member.extra_time(&work));
                    let takes = extra + self.random_in(&self.timing.work.clone());
                    self.after(takes, Happening::Done { node, life, work });
                }
                Effect::Committed(head) => {
                    let known = self.seen.published.contains(&head.previous);
                    assert!(known, "a model that the relay does not have");
                    if !self.is_hostile {
                        self.seen.agree(head);
                    }
                }
                Effect::Received => member.received += 1,
                Effect::Waiting(missing) => member.waiting_for = Some(missing),
                Effect::Convicted(conviction) => {
                    self.seen.convictions.push((self.id(node), conviction));
                }
                Effect::Refused(refusal) => self.seen.refusals.push((self.id(node), refusal)),
                Effect::TurnedAway(_) => {}
                Effect::Finished => member.finished = true,
            }
        }
    }

    fn perform_relay(&mut self, effects: Vec<RelayEffect>) {
        for effect in effects {
            match effect {
                RelayEffect::Send(id, frame, body) => self.send(id, frame, body),
                RelayEffect::TurnAway(id, refusal) => {
                    self.seen.turned_away.push((id, refusal.clone()));
                    self.send(id, RelayFrame::Refused(refusal), None);
                    if let Some(node) = self.consortium.index(id) {
                        self.turn_away(node);
                    }
                }
                RelayEffect::Average {
                    ctx,
                    nodes,
                    sum,
                    averaged,
                } => {
                    let hosts = self.members.iter().map(|member| &member.host);
                    let plain = || plain_sum(hosts, ctx, &nodes.into_iter().collect());
                    let expected = self.is_dishonest || averaged.is_ok() && sum == plain();
                    assert!(
                        expected,
                        "the sum of the masked inputs is the sum of the inputs"
                    );
                    let (takes, life) = (self.random(self.timing.averaging), self.relay_life);
                    let averaged = Happening::Averaged {
                        life,
                        sum,
                        averaged,
                    };
                    self.after(takes, averaged);
                }
                RelayEffect::Committed(head) => self.seen.agree(head),
                RelayEffect::Report(report) => self.seen.report(report),
                RelayEffect::Finished => self.seen.finished = true,
            }
        }
    }

    /// The relay closes a node's connection. What it said before arrives, what the node has still
    /// to say does not.
    fn turn_away(&mut self, node: usize) {
        let connection = (node, self.members[node].connection);
        while let Some(delivery) = self.agenda.take_arrival(connection, Way::Down, 0) {
            self.arrive(delivery);
        }
        self.cut(node);
    }

    fn upload(&mut self, node: usize, body: BodyId, first: usize, bytes: &[u8]) {
        for (index, piece) in bytes.chunks(PIECE_BYTES).enumerate().skip(first) {
            let from = index * PIECE_BYTES;
            let piece = Content::Piece {
                body,
                from,
                bytes: piece.to_vec(),
                is_last: from + piece.len() == bytes.len(),
            };
            self.carry(node, piece);
        }
    }

    fn send(&mut self, id: NodeId, frame: RelayFrame, body: Option<Vec<u8>>) {
        let Some(node) = self.consortium.index(id) else {
            return;
        };
        self.carry(node, Content::ToNode(frame));
        if let Some(body) = body {
            self.carry(node, Content::Body(body));
        }
    }

    /// Puts something on a stream of a connection, behind all that is on it.
    fn carry(&mut self, node: usize, content: Content) {
        let member = &self.members[node];
        let connection = match content {
            Content::ToRelay(_) | Content::Piece { .. } => member.connection,
            Content::ToNode(_) | Content::Body(_) => member.relays,
        };
        let delivery = Delivery {
            node,
            content,
            connection,
        };
        self.faults.watch(&delivery);
        if connection.is_some() {
            let arrives = self.now + self.random(self.timing.latency);
            self.agenda.carry(arrives, delivery);
        }
    }
}
