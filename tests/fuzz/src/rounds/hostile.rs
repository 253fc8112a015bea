//! Honest nodes before a relay that is not, and that has a node of its own. It knows all that ever
//! left the nodes, and makes frames of it that look right, or nearly.

mod frames;

use std::collections::{BTreeMap, VecDeque};

use fl_protocol::digest::Digest;
use fl_protocol::parameters::to_le_bytes;
use fl_protocol::round::message::{Keys, Message, ResultAck, Signed};
use fl_protocol::round::peer::message::{Share, Sum};
use fl_protocol::sim::{EPOCH, Effect, NodeHost, OpenSecrets, assert_taken};
use fl_protocol::wire::{NodeFrame, RelayFrame};

use super::{Conduct, Step, altered, seed, steps};
use crate::Seed;
use crate::fixture::{NODES, consortium};

/// The relay's own node; those before it are honest.
const OWN: usize = NODES - 1;

/// What a step does; the number is its first byte modulo [`KINDS`]. Its second byte is a set of
/// honest nodes.
mod kind {
    pub(super) const OPEN: u8 = 0;
    pub(super) const KEYS: u8 = 1;
    pub(super) const SHARES: u8 = 2;
    pub(super) const COLLECT: u8 = 3;
    pub(super) const OUTCOME: u8 = 4;
    pub(super) const CHECKPOINT: u8 = 5;
    pub(super) const LOSE: u8 = 6;
    pub(super) const CRASH: u8 = 7;
    pub(super) const AGAIN: u8 = 8;
    pub(super) const ALTER: u8 = 9;
    pub(super) const WAIT: u8 = 10;
    pub(super) const KINDS: u8 = 11;
}

/// Whatever the relay does, a node signs no two sums or shares in one context and sends no sums
/// over two sets of participants on one model (which its ledger asserts), takes nothing for the sum
/// of a round but that of its participants' inputs, and takes over no model that no honest node has
/// averaged.
///
/// The relay's own node has the epoch key, too. It tags zeros with it, as an honest one does; with
/// more, it would shift the sum as it may by its input.
pub(crate) fn hostile_relay(data: &[u8]) {
    hostile_relay_of(Conduct::Sound, data);
}

/// The same before nodes of any conduct.
pub(crate) fn hostile_relay_of(conduct: Conduct, data: &[u8]) {
    let mut relay = Relay::new(conduct);
    for step in steps(data) {
        relay.step(*step);
    }
}

/// What the relay knows.
#[derive(Default)]
struct Heard {
    keys: Vec<(usize, Signed<Keys>, Keys)>,
    shares: Vec<(Signed<Share>, Share)>,
    sums: Vec<(Signed<Sum>, Sum)>,
    bodies: BTreeMap<(Digest, usize), Vec<u8>>,
    acks: Vec<(Signed<ResultAck>, ResultAck)>,
    /// What it has told before.
    told: Vec<RelayFrame>,
}

struct Relay {
    conduct: Conduct,
    hosts: Vec<NodeHost<OpenSecrets<Conduct>>>,
    heard: Heard,
    unix_s: u64,
}

impl Relay {
    fn new(conduct: Conduct) -> Self {
        let manifest = &consortium().manifest;
        let hosts = consortium().identities[..OWN].iter().map(|identity| {
            let (identity, secrets) = (identity.clone(), conduct.secrets(identity));
            NodeHost::new(manifest.clone(), identity, secrets, EPOCH)
        });
        let mut relay = Self {
            conduct,
            hosts: hosts.collect(),
            heard: Heard::default(),
            unix_s: EPOCH,
        };
        for node in 0..OWN {
            let effects = relay.hosts[node].connected();
            relay.hear(node, effects);
        }
        relay
    }

    fn step(&mut self, [what, whom, which]: Step) {
        match what % kind::KINDS {
            kind::WAIT => self.unix_s += u64::from(which),
            what => {
                for node in (0..OWN).filter(|node| whom >> node & 1 == 1) {
                    self.does(what, node, which);
                }
            }
        }
    }

    fn does(&mut self, what: u8, node: usize, which: u8) {
        let told = &self.heard.told;
        let again = told.get(usize::from(which) % told.len().max(1)).cloned();
        let frame = match what {
            kind::OPEN => Some(self.open(node, which)),
            kind::KEYS => Some(RelayFrame::Keys(self.bundle(node, which))),
            kind::SHARES => Some(self.shares(node, which)),
            kind::COLLECT => self.collect(which),
            kind::OUTCOME => {
                let (frame, body) = self.outcome(node, which);
                self.tell(node, frame);
                let effects = self.hosts[node].body(&body);
                return self.hear(node, effects);
            }
            kind::CHECKPOINT => {
                let of = &self.hosts[usize::from(which) % OWN];
                let body = to_le_bytes(&of.disk.model);
                self.tell(node, self.checkpoint(which));
                let effects = self.hosts[node].body(&body);
                return self.hear(node, effects);
            }
            kind::LOSE => {
                self.hosts[node].disconnected();
                let effects = self.hosts[node].connected();
                return self.hear(node, effects);
            }
            kind::CRASH => {
                let host = &mut self.hosts[node];
                if which % 2 == 1 {
                    host.disk.outbox = None;
                }
                self.conduct.forget(host);
                host.restart();
                let effects = host.connected();
                return self.hear(node, effects);
            }
            kind::AGAIN => again,
            _ => again.and_then(|frame| altered(&frame, which.into())),
        };
        if let Some(frame) = frame {
            self.tell(node, frame);
        }
    }

    fn tell(&mut self, node: usize, frame: RelayFrame) {
        self.heard.told.push(frame.clone());
        let effects = self.hosts[node].frame(frame, self.unix_s);
        self.hear(node, effects);
    }

    /// Notes what a node has sent, and lets it work until it waits.
    fn hear(&mut self, node: usize, effects: Vec<Effect>) {
        fn open<T: Message>(signed: Signed<T>) -> (Signed<T>, T) {
            let message = signed.verify(&consortium().manifest, 0);
            (signed, message.expect("a node's own signature holds"))
        }
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(NodeFrame::Keys(keys)) => {
                    let (signed, keys) = open(keys);
                    self.heard.keys.push((node, signed, keys));
                }
                Effect::Send(NodeFrame::Shares(shares)) => {
                    self.heard.shares.extend(shares.into_iter().map(open));
                }
                Effect::Send(NodeFrame::Sum(sum)) => self.heard.sums.push(open(sum)),
                Effect::Send(NodeFrame::Ack(ack)) => self.heard.acks.push(open(ack)),
                Effect::Upload { body, bytes, .. } => {
                    self.heard.bodies.insert((body.subject, node), bytes);
                }
                Effect::Work(work) => effects.extend(self.hosts[node].done(work, self.unix_s)),
                Effect::Send(NodeFrame::Hello(_) | NodeFrame::Refused { .. }) => {}
                Effect::Send(frame) => panic!("{} without a committee", frame.kind()),
                _ => {}
            }
        }
        assert_taken(&mut self.hosts.iter_mut().collect::<Vec<_>>(), node);
        let commits = self.hosts.iter().flat_map(|host| &host.ledger.commits);
        let averaged: Vec<_> = commits.filter(|(_, adopted)| !adopted).collect();
        for (head, adopted) in &self.hosts[node].ledger.commits {
            let known = averaged.iter().any(|(averaged, _)| averaged == head);
            assert!(
                !adopted || known,
                "a model that no honest node has averaged"
            );
        }
    }
}

pub(crate) fn hostile_relays() -> Vec<Seed> {
    use kind::*;
    // All honest nodes, without the relay's own and with it.
    let round = |attempt: u8| {
        [
            [OPEN, 7, attempt],
            [KEYS, 7, 7],
            [SHARES, 7, 7],
            [COLLECT, 7, 0],
        ]
    };
    let with = |attempt: u8| {
        [
            [OPEN, 7, attempt],
            [KEYS, 7, 15],
            [SHARES, 7, 15],
            [COLLECT, 7, 0],
        ]
    };
    let result = [OUTCOME, 7, 0];
    // With one bit of a coordinate flipped, and all else as if it were right.
    let forged = [OUTCOME, 7, 2];
    let rerun = [round(1), with(2)].concat();
    let checkpoint = [&round(1)[..], &[[OUTCOME, 3, 0], [CHECKPOINT, 4, 0]]].concat();
    let crash = [
        &round(1)[..3],
        &[[CRASH, 1, 0], [COLLECT, 7, 0], [CRASH, 2, 1], [OPEN, 7, 1]],
    ]
    .concat();
    vec![
        seed("round", &[&round(1)[..], &[result]].concat()),
        seed("with-own", &[&with(1)[..], &[[OUTCOME, 7, 1]]].concat()),
        seed("forged", &[&round(1)[..], &[forged, result]].concat()),
        seed(
            "forged-own",
            &[&with(1)[..], &[[OUTCOME, 7, 3], [OUTCOME, 7, 0x41]]].concat(),
        ),
        seed(
            "two-rounds",
            &[&round(1)[..], &[result], &round(1), &[result]].concat(),
        ),
        seed("rerun", &rerun),
        seed(
            "rerun-crash",
            &[&round(1)[..], &[[CRASH, 7, 0]], &with(2)].concat(),
        ),
        seed("checkpoint", &checkpoint),
        seed("crash", &crash),
        seed(
            "again",
            &[
                &round(1)[..],
                &[[AGAIN, 7, 2], [ALTER, 7, 3], [LOSE, 1, 0], [WAIT, 0, 255]],
            ]
            .concat(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounds that each honest node has completed, and whether any took a checkpoint, after the
    /// seed.
    fn after(name: &str) -> ([u64; OWN], bool) {
        let seeds = hostile_relays();
        let seed = seeds.iter().find(|(seed, _)| seed == name);
        let mut relay = Relay::new(Conduct::Sound);
        let (_, data) = seed.expect("a seed of this name");
        steps(data).for_each(|step| relay.step(*step));
        let rounds = std::array::from_fn(|node| relay.hosts[node].disk.head.round);
        let mut commits = relay.hosts.iter().flat_map(|host| &host.ledger.commits);
        (rounds, commits.any(|(_, adopted)| *adopted))
    }

    #[test]
    fn what_looks_right_to_the_nodes_gets_far() {
        assert_eq!(after("round"), ([1; OWN], false));
        assert_eq!(after("with-own"), ([1; OWN], false));
        assert_eq!(after("two-rounds"), ([2; OWN], false));
        assert_eq!(after("checkpoint"), ([1; OWN], true));
    }

    #[test]
    fn what_is_forged_does_not() {
        assert_eq!(after("forged-own"), ([0; OWN], false));
        // What is right is still taken afterwards.
        assert_eq!(after("forged"), ([1; OWN], false));
    }
}
