//! Honest nodes before a relay that is not, and that has a node of its own. It knows all that ever left the nodes,
//! and makes frames of it that look right, or nearly.

use std::collections::{BTreeMap, BTreeSet};

use fl_network::digest::{ChunkHashes, Digest};
use fl_network::identity::NodeId;
use fl_network::round::message::{Keys, Message, ResultAck, Share, Signed, Sum};
use fl_network::round::{Chain, Checkpoint, Outcome, average};
use fl_network::wire::{self, NodeFrame, RelayFrame};
use fl_network::words;
use fl_shaders::Ring;

use super::site::{Sent, Site};
use super::{Step, seed, steps};
use crate::Seed;
use crate::fixture::{EPOCH, NODES, consortium};

/// The relay's own node; those before it are honest.
const OWN: usize = NODES - 1;

/// What a step does; the number is its first byte modulo [`KINDS`]. Its second byte is a set of honest nodes.
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

/// Whatever the relay does, a node signs no two sums or shares in one context and sends no sums over two sets of
/// participants on one model (which [`Site`] asserts), and takes over no model that no honest node has averaged.
pub(crate) fn hostile_relay(data: &[u8]) {
    let mut relay = Relay::new();
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
    sites: Vec<Site>,
    heard: Heard,
    unix_s: u64,
}

impl Relay {
    fn new() -> Self {
        let mut relay = Self {
            sites: (0..OWN).map(Site::new).collect(),
            heard: Heard::default(),
            unix_s: EPOCH,
        };
        for node in 0..OWN {
            let sent = relay.sites[node].connected();
            relay.hear(node, sent);
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
                let sent = self.sites[node].body(&body);
                return self.hear(node, sent);
            }
            kind::CHECKPOINT => {
                let body =
                    fl_network::files::to_le_bytes(self.sites[usize::from(which) % OWN].model());
                self.tell(node, self.checkpoint(which));
                let sent = self.sites[node].body(&body);
                return self.hear(node, sent);
            }
            kind::LOSE => {
                self.sites[node].disconnected();
                let sent = self.sites[node].connected();
                return self.hear(node, sent);
            }
            kind::CRASH => {
                self.sites[node].restart(which % 2 == 1);
                let sent = self.sites[node].connected();
                return self.hear(node, sent);
            }
            kind::AGAIN => again,
            _ => again.and_then(|frame| {
                let mut bytes = wire::encode(&frame).ok()?;
                let at = usize::from(which) * 7919 % bytes.len();
                bytes[at] ^= 1 << (which % 8);
                wire::decode(&bytes).ok()
            }),
        };
        if let Some(frame) = frame {
            self.tell(node, frame);
        }
    }

    fn tell(&mut self, node: usize, frame: RelayFrame) {
        self.heard.told.push(frame.clone());
        let sent = self.sites[node].frame(frame, self.unix_s);
        self.hear(node, sent);
    }

    /// Notes what a node has sent, and lets it work until it waits.
    fn hear(&mut self, node: usize, mut sent: Vec<Sent>) {
        fn open<T: Message>(signed: Signed<T>) -> (Signed<T>, T) {
            let message = signed.verify(&consortium().manifest, 0);
            (signed, message.expect("a node's own signature holds"))
        }
        loop {
            for sent in std::mem::take(&mut sent) {
                match sent {
                    Sent::Frame(NodeFrame::Keys(keys)) => {
                        let (signed, keys) = open(keys);
                        self.heard.keys.push((node, signed, keys));
                    }
                    Sent::Frame(NodeFrame::Shares(shares)) => {
                        self.heard.shares.extend(shares.into_iter().map(open));
                    }
                    Sent::Frame(NodeFrame::Sum(sum)) => self.heard.sums.push(open(sum)),
                    Sent::Frame(NodeFrame::Ack(ack)) => self.heard.acks.push(open(ack)),
                    Sent::Body(ctx, _, body) => drop(self.heard.bodies.insert((ctx, node), body)),
                    Sent::Frame(NodeFrame::Hello(_) | NodeFrame::Refused { .. }) => {}
                }
            }
            if !self.sites[node].is_busy() {
                break;
            }
            sent = self.sites[node].done(self.unix_s);
        }
        let commits = self.sites.iter().flat_map(|site| &site.ledger.commits);
        let averaged: Vec<_> = commits.filter(|(_, adopted)| !adopted).collect();
        for (chain, adopted) in &self.sites[node].ledger.commits {
            let known = averaged.iter().any(|(averaged, _)| averaged == chain);
            assert!(
                !adopted || known,
                "a model that no honest node has averaged"
            );
        }
    }

    fn open(&self, node: usize, which: u8) -> RelayFrame {
        let chain = self.sites[node].chain();
        RelayFrame::Open {
            round: chain.next_round() + u64::from(which >> 6),
            attempt: u32::from(which & 0x1f),
            previous: chain.previous,
            model: match which & 0x20 {
                0 => chain.model,
                _ => chain.previous,
            },
            deadline_ms: 1000,
        }
    }

    /// Keys of the nodes in the low bits of `which`, those that belong to the last of `node`'s own; the higher bits
    /// say what is wrong with them.
    fn bundle(&self, node: usize, which: u8) -> Vec<Signed<Keys>> {
        let of = |of: usize| {
            self.heard
                .keys
                .iter()
                .rev()
                .filter(move |(by, ..)| *by == of)
        };
        let Some((_, _, own)) = of(node).next() else {
            return Vec::new();
        };
        let older = usize::from(which >> 4 & 1);
        let mut bundle: Vec<_> = (0..OWN)
            .filter(|node| which >> node & 1 == 1)
            .filter_map(|node| {
                let matching = of(node).filter(|(_, _, keys)| keys.attempt == own.attempt);
                matching.map(|(_, signed, _)| signed.clone()).nth(older)
            })
            .collect();
        if which >> OWN & 1 == 1 {
            bundle.push(signed(&Keys {
                node: consortium().id(OWN),
                round_key: [which >> 5; 32],
                ..own.clone()
            }));
        }
        if which >> 7 == 1 {
            bundle.extend(bundle.first().cloned());
        }
        bundle
    }

    /// The context of `node`'s last shares, or the `back`-th before it.
    fn ctx(&self, node: usize, back: usize) -> Digest {
        let id = consortium().id(node);
        let mut seen = BTreeSet::new();
        let own = self
            .heard
            .shares
            .iter()
            .rev()
            .filter(|(_, share)| share.from == id);
        let mut contexts = own
            .map(|(_, share)| share.ctx)
            .filter(|ctx| seen.insert(*ctx));
        let ctx = contexts.nth(back);
        ctx.unwrap_or(self.sites[node].chain().previous)
    }

    /// The shares for `node` from the nodes in the low bits of `which`.
    fn shares(&self, node: usize, which: u8) -> RelayFrame {
        let (ctx, to) = (
            self.ctx(node, usize::from(which >> 6)),
            consortium().id(node),
        );
        let from = |id: NodeId| {
            consortium()
                .index(id)
                .is_some_and(|by| which >> by & 1 == 1)
        };
        let for_node = |share: &&(Signed<Share>, Share)| {
            share.1.ctx == ctx && share.1.to == to && from(share.1.from)
        };
        let shares = self.heard.shares.iter().filter(for_node);
        let mut shares: Vec<_> = shares.map(|(signed, _)| signed.clone()).collect();
        if which >> OWN & 1 == 1 {
            let length = if which >> 4 & 1 == 1 { 80 } else { 32 };
            shares.push(signed(&Share {
                ctx,
                from: consortium().id(OWN),
                to,
                sealed: vec![which; length],
            }));
        }
        if which >> 5 & 1 == 1 {
            shares.extend(shares.first().cloned());
        }
        RelayFrame::Shares(shares)
    }

    fn collect(&self, which: u8) -> Option<RelayFrame> {
        let (_, sum) = self.heard.sums.iter().rev().nth(usize::from(which >> 4))?;
        let first_chunk = u32::from(which & 0xf);
        let ctx = sum.ctx;
        Some(RelayFrame::Collect { ctx, first_chunk })
    }

    /// A result of the last context in which `node` has shared; the bits of `which` say what is wrong with it.
    fn outcome(&self, node: usize, which: u8) -> (RelayFrame, Vec<u8>) {
        let (manifest, chain) = (&consortium().manifest, self.sites[node].chain());
        let ctx = self.ctx(node, usize::from(which >> 7));
        let told = self
            .heard
            .told
            .iter()
            .rev()
            .filter_map(|frame| match frame {
                RelayFrame::Keys(bundle) => Some(bundle.clone()),
                _ => None,
            });
        let bundle = told
            .into_iter()
            .nth(usize::from(which >> 5 & 3))
            .unwrap_or_default();
        let mut body = vec![0; manifest.body_bytes()];
        let mut sums = Vec::new();
        let mut seen = BTreeSet::new();
        for (signed, sum) in self.heard.sums.iter().filter(|(_, sum)| sum.ctx == ctx) {
            if seen.insert(sum.node) {
                sums.push(signed.clone());
            }
        }
        if which & 1 == 1 {
            let (node, root) = (consortium().id(OWN), Digest([which; 32]));
            sums.push(signed(&Sum { ctx, node, root }));
        }
        for (_, part) in self.heard.bodies.iter().filter(|((of, _), _)| *of == ctx) {
            words::add(Ring::U32, &mut body, part);
        }
        if which >> 1 & 1 == 1 {
            body[20] ^= 1;
        }
        let root = ChunkHashes::of(&body).root();
        let (base, plan) = (self.sites[node].model(), manifest.fixed_point());
        let averaged = average(&body, base, plan, bundle.len(), chain, ctx, root);
        let model = averaged.map_or(chain.model, |averaged| averaged.chain.model);
        if which >> 2 & 1 == 1 {
            sums.pop();
        }
        let outcome = Outcome {
            ctx,
            bundle,
            sums,
            root: if which >> 3 & 1 == 1 { ctx } else { root },
            model: if which >> 4 & 1 == 1 { ctx } else { model },
        };
        (RelayFrame::Outcome(outcome), body)
    }

    /// What some node has acknowledged last, with all that ever were, and the relay's own.
    fn checkpoint(&self, which: u8) -> RelayFrame {
        let of = consortium().id(usize::from(which) % OWN);
        let last = self.heard.acks.iter().rev().find(|(_, ack)| ack.node == of);
        let chain = last.map_or(self.sites[0].chain(), |(_, ack)| Chain {
            round: ack.round + u64::from(which >> 7),
            previous: ack.result,
            model: ack.model,
        });
        let mut acks: Vec<_> = self
            .heard
            .acks
            .iter()
            .map(|(signed, _)| signed.clone())
            .collect();
        acks.push(signed(&ResultAck {
            sid: consortium().manifest.sid(),
            node: consortium().id(OWN),
            round: chain.round,
            result: chain.previous,
            model: chain.model,
        }));
        RelayFrame::Checkpoint(Checkpoint { chain, acks })
    }
}

fn signed<T: Message>(message: &T) -> Signed<T> {
    Signed::new(message, &consortium().identities[OWN]).expect("a short message")
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
        seed(
            "two-rounds",
            &[&round(1)[..], &[result], &round(1), &[result]].concat(),
        ),
        seed("rerun", &rerun),
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

    /// The rounds that each honest node has completed, and whether any took a checkpoint, after the seed.
    fn after(name: &str) -> ([u64; OWN], bool) {
        let seeds = hostile_relays();
        let seed = seeds.iter().find(|(seed, _)| seed == name);
        let mut relay = Relay::new();
        let (_, data) = seed.expect("a seed of this name");
        steps(data).for_each(|step| relay.step(*step));
        let rounds = std::array::from_fn(|node| relay.sites[node].chain().round);
        let mut commits = relay.sites.iter().flat_map(|site| &site.ledger.commits);
        (rounds, commits.any(|(_, adopted)| *adopted))
    }

    #[test]
    fn what_looks_right_to_the_nodes_gets_far() {
        assert_eq!(after("round"), ([1; OWN], false));
        assert_eq!(after("two-rounds"), ([2; OWN], false));
        assert_eq!(after("checkpoint"), ([1; OWN], true));
    }
}
