//! What a hostile relay knows and sends. Bits of `which` say what is wrong with its frames.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::parameters;
use fl_protocol::ring_bytes;
use fl_protocol::round::Opening;
use fl_protocol::round::message::{Keys, Message, ResultAck, Signed, WHENEVER};
use fl_protocol::round::peer::message::{Share, Sum};
use fl_protocol::round::peer::{OpenedSum, Participants, SealedShare, TagShare};
use fl_protocol::round::training::average;
use fl_protocol::round::{Checkpoint, Evidence, Head, Outcome};
use fl_protocol::sim::{
    EPOCH, Effect, HEADER_WORDS, NodeHost, OPEN_BOXES, OpenSecrets, assert_taken,
};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_shaders::cpu::mask;
use fl_shaders::{Ring, Tag};

use super::{OWN, kind};
use crate::fixture::{PARAMETERS, consortium, to_le_bytes};
use crate::rounds::{Conduct, Step, altered};
use crate::tags;

/// The seed that the relay's own node gives to all that it gives one.
const SEED: [u8; 32] = [0x5e; 32];

/// What the relay knows.
#[derive(Default)]
struct Heard {
    keys: Vec<(usize, Signed<Keys>, Keys)>,
    /// Public round keys by their hashes, those of its own node too.
    round_keys: BTreeMap<Digest, Vec<u8>>,
    shares: Vec<(SealedShare, Share)>,
    sums: Vec<(Signed<Sum>, Sum)>,
    bodies: BTreeMap<(Digest, usize), Vec<u8>>,
    tag_shares: BTreeMap<(Digest, NodeId), TagShare>,
    acks: Vec<(Signed<ResultAck>, ResultAck)>,
    /// What it has told before.
    told: Vec<RelayFrame>,
}

pub(super) struct Relay {
    conduct: Conduct,
    pub(super) hosts: Vec<NodeHost<OpenSecrets<Conduct>>>,
    heard: Heard,
    unix_s: u64,
}

impl Relay {
    pub(super) fn new(conduct: Conduct) -> Self {
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
        for which in 0..8 {
            let round_key = own_round_key(which);
            let hash = Digest::sha256(&[&round_key]);
            relay.heard.round_keys.insert(hash, round_key);
        }
        for node in 0..OWN {
            let effects = relay.hosts[node].connected(relay.unix_s);
            relay.hear(node, effects);
        }
        relay
    }

    pub(super) fn step(&mut self, [what, whom, which]: Step) {
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
            kind::KEYS => Some(self.keys(node, which)),
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
                let body = parameters::to_le_bytes(&of.disk.model);
                self.tell(node, self.checkpoint(which));
                let effects = self.hosts[node].body(&body);
                return self.hear(node, effects);
            }
            kind::LOSE => {
                self.hosts[node].disconnected();
                let effects = self.hosts[node].connected(self.unix_s);
                return self.hear(node, effects);
            }
            kind::CRASH => {
                let host = &mut self.hosts[node];
                if which % 2 == 1 {
                    host.disk.outbox = None;
                }
                self.conduct.forget(host);
                host.restart();
                let effects = host.connected(self.unix_s);
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
                Effect::Send(NodeFrame::Keys(offer)) => {
                    let (signed, keys) = open(offer.keys);
                    self.heard
                        .round_keys
                        .insert(keys.round_key, offer.round_key);
                    self.heard.keys.push((node, signed, keys));
                }
                Effect::Send(NodeFrame::Shares(shares)) => {
                    let opened = shares.into_iter().map(|sealed| {
                        let (_, share) = open(sealed.share.clone());
                        (sealed, share)
                    });
                    self.heard.shares.extend(opened);
                }
                Effect::Send(NodeFrame::Sum(sum)) => self.heard.sums.push(open(sum)),
                Effect::Send(NodeFrame::Ack(ack)) => self.heard.acks.push(open(ack)),
                Effect::Send(NodeFrame::TagShare { ctx, share }) => {
                    let node = consortium().id(node);
                    self.heard.tag_shares.insert((ctx, node), share);
                }
                Effect::Upload { body, bytes, .. } => {
                    self.heard.bodies.insert((body.subject, node), bytes);
                }
                Effect::Work(work) => effects.extend(self.hosts[node].done(work, self.unix_s)),
                Effect::Send(NodeFrame::Accusation(proof)) => {
                    let manifest = &consortium().manifest;
                    let proven = proof.judge(manifest, OPEN_BOXES, &BTreeSet::new());
                    let liar = proven.expect("what a node says is proven").liar;
                    assert_eq!(liar, consortium().id(OWN), "an honest node is convicted");
                }
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

    fn open(&self, node: usize, which: u8) -> RelayFrame {
        let head = self.hosts[node].disk.head;
        let opening = Opening {
            round: head.next_round() + u64::from(which >> 6),
            attempt: u32::from(which & 0x1f),
            previous: head.previous,
            model: match which & 0x20 {
                0 => head.model,
                _ => head.previous,
            },
        };
        RelayFrame::Open {
            opening,
            deadline_ms: 1000,
        }
    }

    /// The frame of such a bundle, with the round keys of those to whom the node gives a share.
    fn keys(&self, node: usize, which: u8) -> RelayFrame {
        let bundle = self.bundle(node, which);
        let (manifest, head) = (&consortium().manifest, self.hosts[node].disk.head);
        let nobody = BTreeSet::new();
        match Participants::of_result(bundle.clone(), manifest, &head, EPOCH, &nobody) {
            Ok(participants) => {
                let known = |id: NodeId| {
                    let hash = participants.round_key(id)?;
                    Some((id, self.heard.round_keys.get(&hash)?.clone()))
                };
                let round_keys = participants.ids().filter_map(known).collect();
                participants.frame_for(consortium().id(node), &round_keys)
            }
            Err(_) => RelayFrame::Keys {
                bundle,
                round_keys: Vec::new(),
            },
        }
    }

    /// Keys of the nodes in the low bits of `which`, those that belong to the last of `node`'s own;
    /// the higher bits say what is wrong with them.
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
                // The last of these is none to which anything can be sealed.
                round_key: Digest::sha256(&[&own_round_key(which >> 5)]),
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
        ctx.unwrap_or(self.hosts[node].disk.head.previous)
    }

    /// The shares for `node` from the nodes in the low bits of `which`. Of the relay's own node
    /// there is one for who gives it none, as it should be, or for anyone, and then it is too
    /// short.
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
        let for_node = |share: &&(SealedShare, Share)| {
            share.1.ctx == ctx && share.1.to == to && from(share.1.from)
        };
        let shares = self.heard.shares.iter().filter(for_node);
        let mut shares: Vec<_> = shares.map(|(sealed, _)| sealed.clone()).collect();
        let own = consortium().id(OWN);
        let mut given = self.heard.shares.iter().map(|(_, share)| share);
        let gives = given.any(|share| share.ctx == ctx && share.from == to && share.to == own);
        let short = which >> 4 & 1 == 1;
        if which >> OWN & 1 == 1 && (short || !gives) {
            let length = if short { 31 } else { 32 };
            let (sealed, identity) = (SEED[..length].to_vec(), &consortium().identities[OWN]);
            let share = SealedShare::new(ctx, (own, to), sealed, identity);
            shares.push(share.expect("a short message"));
        }
        if which >> 5 & 1 == 1 {
            shares.extend(shares.first().cloned());
        }
        RelayFrame::Shares(shares)
    }

    /// Asks for a masked sum, and shows the signed sums of its context; the bits of `which` say
    /// from which chunk on, with which sum of the relay's own node, and what is wrong with them.
    fn collect(&self, which: u8) -> Option<RelayFrame> {
        let (_, sum) = self.heard.sums.iter().rev().nth(usize::from(which >> 4))?;
        let ctx = sum.ctx;
        let mut sums = self.sums(ctx);
        if which >> 3 & 1 == 1 {
            let (_, sum, _) = self.own_part(ctx, 0);
            sums.push((signed(&sum), sum));
        }
        let last = sums.len().saturating_sub(1);
        match (which >> 1 & 3, sums.last_mut()) {
            // Another of the relay's own node, of which no result can be made, or of a node that
            // has not signed it.
            (1, Some((listed, sum))) => {
                sum.root = ctx;
                *listed = signed(sum);
            }
            (2, _) => drop(sums.pop()),
            (3, _) => sums[last] = sums[0].clone(),
            _ => {}
        }
        let sums = sums.into_iter().map(|(signed, _)| signed).collect();
        let first_chunk = u32::from(which & 1);
        Some(RelayFrame::Collect {
            ctx,
            first_chunk,
            sums,
        })
    }

    /// The sums of this context that honest nodes have signed.
    fn sums(&self, ctx: Digest) -> Vec<(Signed<Sum>, Sum)> {
        let mut seen = BTreeSet::new();
        let of_ctx = self.heard.sums.iter().filter(|(_, sum)| sum.ctx == ctx);
        let first = of_ctx.filter(|(_, sum)| seen.insert(sum.node));
        first.cloned().collect()
    }

    /// A result of the last context in which `node` has shared; the bits of `which` say what is
    /// wrong with it.
    fn outcome(&self, node: usize, which: u8) -> (RelayFrame, Vec<u8>) {
        let (manifest, head) = (&consortium().manifest, self.hosts[node].disk.head);
        let ctx = self.ctx(node, usize::from(which >> 7));
        let told = self
            .heard
            .told
            .iter()
            .rev()
            .filter_map(|frame| match frame {
                RelayFrame::Keys { bundle, .. } => Some(bundle.clone()),
                _ => None,
            });
        let bundle = told
            .into_iter()
            .nth(usize::from(which >> 5 & 1))
            .unwrap_or_default();
        let mut body = vec![0; manifest.body_bytes()];
        let sums = self.sums(ctx).into_iter();
        let sums = sums.map(|(sum, Sum { node, .. })| {
            let share = self.heard.tag_shares.get(&(ctx, node));
            // What it has not heard it makes up.
            let tag_share = share.map_or(TagShare::new(Tag::default(), [0; 32]), |share| *share);
            OpenedSum { sum, tag_share }
        });
        let mut sums: Vec<_> = sums.collect();
        // With another input than it has shown, it would choose the sum.
        let (own, sum, tag_share) = self.own_part(ctx, u32::from(which >> 6 & 1));
        if which & 1 == 1 {
            ring_bytes::add(Ring::U32, &mut body, &own);
            let sum = signed(&sum);
            sums.push(OpenedSum { sum, tag_share });
        }
        for (_, part) in self.heard.bodies.iter().filter(|((of, _), _)| *of == ctx) {
            ring_bytes::add(Ring::U32, &mut body, part);
        }
        if which >> 1 & 1 == 1 {
            body[20] ^= 1;
        }
        let root = ChunkHashes::of(&body).root();
        let (base, plan) = (&self.hosts[node].disk.model, manifest.fixed_point());
        let signers = bundle
            .iter()
            .filter_map(|keys| keys.verify(manifest, WHENEVER).ok());
        let signers: Vec<_> = signers.map(|keys| keys.node).collect();
        let addends = manifest.addends(&signers);
        let averaged = average(&body, base, plan, addends, head, ctx);
        let model = averaged.map_or(head.model, |averaged| averaged.head.model);
        if which >> 2 & 1 == 1 {
            sums.pop();
        }
        let outcome = Outcome {
            ctx,
            bundle,
            parts: Evidence::Sums(sums),
            root: if which >> 3 & 1 == 1 { ctx } else { root },
            model: if which >> 4 & 1 == 1 { ctx } else { model },
        };
        (RelayFrame::Outcome(outcome), body)
    }

    /// What the relay's own node puts into the sum of `ctx`: zeros but for this coordinate, masked
    /// like all inputs; its word for that; and the share of their tag.
    fn own_part(&self, ctx: Digest, coordinate: u32) -> (Vec<u8>, Sum, TagShare) {
        let own = consortium().id(OWN);
        let shares = self.heard.shares.iter();
        let shares: Vec<_> = shares.filter(|(_, share)| share.ctx == ctx).collect();
        // Every node gives some other a share, and this one gives to all that it does not receive
        // from.
        let others: BTreeSet<NodeId> = shares.iter().map(|(_, share)| share.from).collect();
        let received: BTreeMap<NodeId, [u8; 32]> = shares
            .iter()
            .filter(|(_, share)| share.to == own)
            .filter_map(|(sealed, share)| Some((share.from, sealed.sealed[..].try_into().ok()?)))
            .collect();
        let received: Vec<_> = received.into_values().collect();
        let given = vec![SEED; others.len().saturating_sub(received.len())];
        let mut vector = vec![0; HEADER_WORDS + PARAMETERS];
        vector[HEADER_WORDS] = coordinate;
        let tag_mask = |seed| tags::mask(ctx, seed);
        let masks = received.iter().map(tag_mask).sum::<Tag>() - given.iter().map(tag_mask).sum();
        let tag = tags::tag(ctx, own, &vector) + masks;
        mask(&mut vector, 0, &given, &received);
        let (body, tag_share) = (to_le_bytes(&vector), TagShare::new(tag, SEED));
        let sum = Sum {
            ctx,
            node: own,
            root: ChunkHashes::of(&body).root(),
            tag_commitment: tag_share.commitment(ctx, own),
        };
        (body, sum, tag_share)
    }

    /// What some node has acknowledged last, with all that ever were, and the relay's own.
    fn checkpoint(&self, which: u8) -> RelayFrame {
        let of = consortium().id(usize::from(which) % OWN);
        let last = self.heard.acks.iter().rev().find(|(_, ack)| ack.node == of);
        let head = last.map_or(self.hosts[0].disk.head, |(_, ack)| Head {
            round: ack.head.round + u64::from(which >> 7),
            ..ack.head
        });
        let mut acks: Vec<_> = self
            .heard
            .acks
            .iter()
            .map(|(signed, _)| signed.clone())
            .collect();
        acks.push(signed(&ResultAck {
            consortium_id: consortium().manifest.consortium_id(),
            node: consortium().id(OWN),
            head,
        }));
        RelayFrame::Checkpoint(Checkpoint { head, acks })
    }
}

/// The public round key of the relay's own node, of which there are eight.
fn own_round_key(which: u8) -> Vec<u8> {
    vec![7 - which; 32]
}

fn signed<T: Message>(message: &T) -> Signed<T> {
    consortium().sign(OWN, message)
}
