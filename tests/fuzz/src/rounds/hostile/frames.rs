//! Frames of a hostile relay. Bits of `which` say what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::ring_bytes;
use fl_protocol::round::Opening;
use fl_protocol::round::message::{Keys, Message, ResultAck, Signed};
use fl_protocol::round::peer::message::{Share, Sum};
use fl_protocol::round::training::average;
use fl_protocol::round::{Checkpoint, Evidence, Head, Outcome};
use fl_protocol::wire::RelayFrame;
use fl_shaders::cpu::mask;
use fl_shaders::{HEADER_WORDS, Ring, Tag};

use super::{OWN, Relay};
use crate::fixture::{PARAMETERS, consortium, to_le_bytes};
use crate::tags;

/// The seed that the relay's own node gives to all that it gives one.
const SEED: [u8; 32] = [0x5e; 32];

impl Relay {
    pub(super) fn open(&self, node: usize, which: u8) -> RelayFrame {
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

    /// Keys of the nodes in the low bits of `which`, those that belong to the last of `node`'s own;
    /// the higher bits say what is wrong with them.
    pub(super) fn bundle(&self, node: usize, which: u8) -> Vec<Signed<Keys>> {
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
        ctx.unwrap_or(self.hosts[node].disk.head.previous)
    }

    /// The shares for `node` from the nodes in the low bits of `which`. Of the relay's own node
    /// there is one for who gives it none, as it should be, or for anyone, and then it is too
    /// short.
    pub(super) fn shares(&self, node: usize, which: u8) -> RelayFrame {
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
        let own = consortium().id(OWN);
        let mut given = self.heard.shares.iter().map(|(_, share)| share);
        let gives = given.any(|share| share.ctx == ctx && share.from == to && share.to == own);
        let short = which >> 4 & 1 == 1;
        if which >> OWN & 1 == 1 && (short || !gives) {
            let length = if short { 31 } else { 32 };
            shares.push(signed(&Share {
                ctx,
                from: own,
                to,
                sealed: SEED[..length].to_vec(),
            }));
        }
        if which >> 5 & 1 == 1 {
            shares.extend(shares.first().cloned());
        }
        RelayFrame::Shares(shares)
    }

    pub(super) fn collect(&self, which: u8) -> Option<RelayFrame> {
        let (_, sum) = self.heard.sums.iter().rev().nth(usize::from(which >> 4))?;
        let first_chunk = u32::from(which & 0xf);
        let ctx = sum.ctx;
        Some(RelayFrame::Collect { ctx, first_chunk })
    }

    /// A result of the last context in which `node` has shared; the bits of `which` say what is
    /// wrong with it.
    pub(super) fn outcome(&self, node: usize, which: u8) -> (RelayFrame, Vec<u8>) {
        let (manifest, head) = (&consortium().manifest, self.hosts[node].disk.head);
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
            .nth(usize::from(which >> 5 & 1))
            .unwrap_or_default();
        let mut body = vec![0; manifest.body_bytes()];
        let mut sums = Vec::new();
        let mut seen = BTreeSet::new();
        for (signed, sum) in self.heard.sums.iter().filter(|(_, sum)| sum.ctx == ctx) {
            if seen.insert(sum.node) {
                sums.push(signed.clone());
            }
        }
        let (own, mut tag) = self.own_part(ctx);
        if which >> 6 & 1 == 1 {
            tag += Tag::from_integers([1, 0]);
        }
        if which & 1 == 1 {
            ring_bytes::add(Ring::U32, &mut body, &own);
            sums.push(signed(&Sum {
                ctx,
                node: consortium().id(OWN),
                root: ChunkHashes::of(&own).root(),
                tag: tag.values(),
            }));
        }
        for (_, part) in self.heard.bodies.iter().filter(|((of, _), _)| *of == ctx) {
            ring_bytes::add(Ring::U32, &mut body, part);
        }
        if which >> 1 & 1 == 1 {
            body[20] ^= 1;
        }
        let root = ChunkHashes::of(&body).root();
        let (base, plan) = (&self.hosts[node].disk.model, manifest.fixed_point());
        let averaged = average(&body, base, plan, bundle.len(), head, ctx);
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

    /// What the relay's own node puts into the sum of `ctx`: zeros, masked like all inputs, and the
    /// share of their tag.
    fn own_part(&self, ctx: Digest) -> (Vec<u8>, Tag) {
        let own = consortium().id(OWN);
        let shares = self.heard.shares.iter().map(|(_, share)| share);
        let shares: Vec<_> = shares.filter(|share| share.ctx == ctx).collect();
        // Every node gives some other a share, and this one gives to all that it does not receive
        // from.
        let others: BTreeSet<NodeId> = shares.iter().map(|share| share.from).collect();
        let received: BTreeMap<NodeId, [u8; 32]> = shares
            .iter()
            .filter(|share| share.to == own)
            .filter_map(|share| Some((share.from, share.sealed[..].try_into().ok()?)))
            .collect();
        let received: Vec<_> = received.into_values().collect();
        let given = vec![SEED; others.len().saturating_sub(received.len())];
        let mut vector = vec![0; HEADER_WORDS + PARAMETERS];
        let tag_mask = |seed| tags::mask(ctx, seed);
        let masks = received.iter().map(tag_mask).sum::<Tag>() - given.iter().map(tag_mask).sum();
        let tag = tags::tag(ctx, own, &vector) + masks;
        mask(&mut vector, 0, &given, &received);
        (to_le_bytes(&vector), tag)
    }

    /// What some node has acknowledged last, with all that ever were, and the relay's own.
    pub(super) fn checkpoint(&self, which: u8) -> RelayFrame {
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

fn signed<T: Message>(message: &T) -> Signed<T> {
    consortium().sign(OWN, message)
}
