//! A node's driver as the tests have it: real ring arithmetic, a disk that survives crashes, seeds that travel open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fl_shaders::cpu::{chacha20, quantize};
use fl_shaders::{Beta, Coefficients, Counters, HEADER_WORDS, InputScale, Ring, Tag};

use crate::audit::Party;
use crate::digest::{ChunkHashes, Digest, model_hash};
use crate::identity::{Identity, NodeId};
use crate::manifest::Manifest;
use crate::parameters::to_le_bytes;
use crate::round::committee::message::Entry;
use crate::round::committee::{CheckedSlip, ClassSet, Envelope, Holders, RevealOrder, Seats};
use crate::round::node::{Action, Announcement, Node, Pending};
use crate::round::peer::CompleteShares;
use crate::round::training::Averaged;
use crate::round::{
    Chain, Check, CheckedCheckpoint, CheckedOutcome, Fault, Refusal, SentSums, Verifier,
};
use crate::sim::MemoryLog;
use crate::wire::{BodyId, BodyKind, NodeFrame, RelayFrame};

/// Length of the pieces in which bodies travel here.
pub(in crate::round) const PIECE_BYTES: usize = 16;

/// What survives a crash.
#[derive(Clone)]
pub(in crate::round) struct Disk {
    pub(in crate::round) chain: Chain,
    pub(in crate::round) model: Vec<f32>,
    pub(in crate::round) sent: SentSums,
    pub(in crate::round) outbox: Option<(Pending, Vec<u8>)>,
}

/// Work that takes a while.
#[derive(Clone, Debug)]
pub(in crate::round) enum Work {
    Train {
        round: u64,
    },
    Seal {
        ctx: Digest,
        sealed: Vec<(NodeId, Vec<u8>)>,
    },
    Sum {
        ctx: Digest,
        body: Vec<u8>,
        tag: Tag,
    },
    DrawRoundKey {
        round: u64,
    },
    Contribute {
        ctx: Digest,
        body: Vec<u8>,
        tag: Tag,
        envelope: Envelope,
    },
    Open {
        ctx: Digest,
        entry: Entry,
        found: Result<(), Fault>,
    },
    Reveal {
        ctx: Digest,
        classes: ClassSet,
        body: Vec<u8>,
        tag: Tag,
    },
    Average(Box<Averaged>),
    Adopt(Chain, Vec<f32>),
}

/// What a driver's step leads to, for the network to carry out.
pub(in crate::round) enum Effect {
    Send(NodeFrame),
    Upload {
        body: BodyId,
        first_piece: usize,
        bytes: Vec<u8>,
    },
    Received,
    Work(Work),
    Committed(Chain),
    Finished,
    TurnedAway,
    Waiting(Vec<NodeId>),
    Refuses(Refusal),
}

/// A node's process.
pub(in crate::round) struct Site {
    pub(in crate::round) identity: Identity,
    pub(in crate::round) manifest: Arc<Manifest>,
    pub(in crate::round) disk: Disk,
    pub(in crate::round) node: Node,
    /// The update that was trained from this model, encoded. Lost with the process.
    pub(in crate::round) input: Option<(Digest, Vec<u32>)>,
    seeds: Option<(Digest, BTreeMap<NodeId, [u8; 32]>)>,
    /// What this process holds of others as a holder.
    pub(in crate::round) held: Held,
    next: Option<(Chain, Vec<f32>)>,
    outcome: Option<CheckedOutcome>,
    checkpoint: Option<CheckedCheckpoint>,
    /// How many of the next tags are to be wrong.
    pub(in crate::round) wrong_tags: usize,
    /// Inputs that went into masked sums, by context: what the tests check X against.
    pub(in crate::round) inputs: BTreeMap<Digest, Vec<u32>>,
    counter: u64,
    pub(in crate::round) log: MemoryLog,
    unix_s: u64,
}

impl Site {
    pub(in crate::round) fn new(identity: Identity, manifest: Arc<Manifest>, unix_s: u64) -> Self {
        let disk = Disk {
            chain: Chain::start(&manifest),
            model: vec![0.0; manifest.parameters()],
            sent: SentSums::default(),
            outbox: None,
        };
        let node = boot(&identity, &manifest, &disk);
        let mut log = MemoryLog::new(manifest.sid(), Party::Node(identity.node_id()));
        log.start(disk.chain, unix_s);
        Self {
            identity,
            manifest,
            disk,
            node,
            input: None,
            seeds: None,
            held: Held::default(),
            next: None,
            outcome: None,
            checkpoint: None,
            wrong_tags: 0,
            inputs: BTreeMap::new(),
            counter: 0,
            log,
            unix_s,
        }
    }

    /// All that it remembers is gone, its log included.
    pub(in crate::round) fn loses_its_disk(&mut self) {
        let fresh = Self::new(self.identity.clone(), self.manifest.clone(), self.unix_s);
        let inputs = std::mem::take(&mut self.inputs);
        *self = Self { inputs, ..fresh };
    }

    pub(in crate::round) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// The process dies and starts again: only the disk is left.
    pub(in crate::round) fn restart(&mut self) {
        self.node = boot(&self.identity, &self.manifest, &self.disk);
        self.input = None;
        self.held = Held::default();
        self.disconnected();
        self.log.start(self.disk.chain, self.unix_s);
    }

    pub(in crate::round) fn disconnected(&mut self) {
        self.node.disconnected();
        self.seeds = None;
        self.outcome = None;
        self.checkpoint = None;
    }

    /// 32 bytes that no one else has. (The tests are deterministic; the counter makes each draw another.)
    fn draw(&mut self, what: &[u8]) -> [u8; 32] {
        self.counter += 1;
        Digest::sha256(&[what, self.id().as_bytes(), &self.counter.to_le_bytes()]).0
    }

    fn train(&mut self) {
        if self
            .input
            .as_ref()
            .is_some_and(|(model, _)| *model == self.disk.chain.model)
        {
            return;
        }
        let draw = self.draw(b"update");
        let update: Vec<f32> = (0..self.manifest.parameters())
            .map(|e| (f32::from(draw[e % 32]) - 127.5) / 1e4)
            .collect();
        let counters = Counters {
            examples: 10 + u64::from(draw[0]),
            test_examples: 40,
            correct: u64::from(draw[1] % 41),
            loss: f64::from(draw[2]) / 16.0,
            clipped: 0,
        };
        let plan = self.manifest.fixed_point();
        let scale = InputScale::new(plan, counters.examples).unwrap();
        let mut input = counters.to_header::<u32>(plan).to_vec();
        input.resize(self.manifest.elements(), 0);
        let rounding = self.draw(b"rounding");
        quantize(&update, 0, &scale, &rounding, &mut input[HEADER_WORDS..]);
        self.input = Some((self.disk.chain.model, input));
    }

    /// Work is done.
    pub(in crate::round) fn done(&mut self, work: Work, unix_s: u64) -> Vec<Effect> {
        self.unix_s = unix_s;
        let actions = match work {
            Work::Train { round } => {
                self.train();
                Ok(self.node.trained(round))
            }
            Work::Seal { ctx, sealed } => self.node.sealed(ctx, sealed),
            Work::Sum { ctx, body, tag } => {
                let root = ChunkHashes::of(&body).root();
                let announcement = self.node.summed(ctx, root, tag);
                return self.announce(announcement.unwrap(), body);
            }
            Work::DrawRoundKey { round } => {
                self.held = Held::default();
                let round_key = self.draw(b"round key");
                self.node.keyed(round, round_key, unix_s)
            }
            Work::Contribute {
                ctx,
                body,
                tag,
                envelope,
            } => {
                let root = ChunkHashes::of(&body).root();
                let announcement = self.node.contributed(ctx, root, tag, envelope);
                return self.announce(announcement.unwrap(), body);
            }
            Work::Open { ctx, entry, found } => self.node.opened(ctx, entry, found),
            Work::Reveal {
                ctx,
                classes,
                body,
                tag,
            } => {
                let root = ChunkHashes::of(&body).root();
                self.held.reveals.insert(root, body);
                self.node.revealed(ctx, classes, root, tag)
            }
            Work::Average(averaged) => {
                self.next = Some((averaged.chain, averaged.model.to_vec()));
                self.node.averaged(&averaged)
            }
            Work::Adopt(chain, model) => {
                self.next = Some((chain, model));
                self.node.adopted(chain)
            }
        };
        self.act(actions.unwrap())
    }

    /// Logs and keeps a masked vector, then announces it.
    fn announce(&mut self, announcement: Option<Announcement>, body: Vec<u8>) -> Vec<Effect> {
        let Some(Announcement {
            entry,
            pending,
            frame,
        }) = announcement
        else {
            return Vec::new();
        };
        self.log.append(entry, self.unix_s);
        self.disk.outbox = Some((pending, body));
        vec![Effect::Send(frame)]
    }

    /// A frame has arrived.
    pub(in crate::round) fn frame(&mut self, frame: RelayFrame, unix_s: u64) -> Vec<Effect> {
        self.unix_s = unix_s;
        match self.node.handle(frame, unix_s) {
            Ok(actions) => self.act(actions),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Vec<Effect> {
        let actions = self.node.abandon(refusal.clone());
        let mut effects = vec![Effect::Refuses(refusal)];
        effects.extend(self.act(actions));
        effects
    }

    /// The body that follows an outcome or a checkpoint has arrived.
    pub(in crate::round) fn body(&mut self, body: &[u8]) -> Vec<Effect> {
        if let Some(outcome) = self.outcome.take() {
            let plan = self.manifest.fixed_point();
            return match outcome.average(body, &self.disk.model, plan, &Tags) {
                Ok(averaged) => vec![Effect::Work(Work::Average(Box::new(averaged)))],
                Err(refusal) => self.refuse(refusal),
            };
        }
        let Some(checkpoint) = self.checkpoint.take() else {
            return Vec::new();
        };
        let (words, _) = body.as_chunks::<4>();
        let model: Vec<f32> = words
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        match checkpoint.check_model(&model) {
            Ok(()) => vec![Effect::Work(Work::Adopt(checkpoint.chain(), model))],
            Err(refusal) => self.refuse(refusal),
        }
    }

    pub(in crate::round) fn act(&mut self, actions: Vec<Action>) -> Vec<Effect> {
        actions
            .into_iter()
            .filter_map(|action| self.do_one(action))
            .collect()
    }

    fn do_one(&mut self, action: Action) -> Option<Effect> {
        Some(match action {
            Action::Log(entry) => {
                self.log.append(entry, self.unix_s);
                return None;
            }
            Action::Send(frame) => Effect::Send(frame),
            Action::Train { round, .. } => Effect::Work(Work::Train { round }),
            Action::Seal { ctx, receivers } => {
                let seeds: BTreeMap<_, _> = receivers
                    .into_iter()
                    .map(|(id, _)| (id, self.draw(b"seed")))
                    .collect();
                let sealed = seeds
                    .iter()
                    .map(|(id, seed)| (*id, seed.to_vec()))
                    .collect();
                self.seeds = Some((ctx, seeds));
                Effect::Work(Work::Seal { ctx, sealed })
            }
            Action::Sum(shares) => {
                let ctx = shares.ctx();
                let body = self.masked_sum(&shares);
                // Shares of tags are not masked here: the tests look at inputs through other eyes than the relay's.
                let tag = self.tag(ctx);
                Effect::Work(Work::Sum { ctx, body, tag })
            }
            Action::DrawRoundKey { round, .. } => Effect::Work(Work::DrawRoundKey { round }),
            Action::Contribute(holders) => {
                let (body, tag, envelope) = self.contribute(&holders);
                Effect::Work(Work::Contribute {
                    ctx: holders.ctx(),
                    body,
                    tag,
                    envelope,
                })
            }
            Action::Open(slip) => Effect::Work(Work::Open {
                ctx: slip.ctx(),
                entry: slip.entry(),
                found: self.held.open(self.identity.node_id(), &slip),
            }),
            Action::Reveal(order) => {
                let (body, tag) = self.held.reveal(&order, self.manifest.elements());
                Effect::Work(Work::Reveal {
                    ctx: order.ctx(),
                    classes: order.classes(),
                    body,
                    tag,
                })
            }
            Action::Received { .. } => Effect::Received,
            Action::Record(sent) => {
                self.disk.sent = sent;
                return None;
            }
            Action::Upload { body, first_chunk } => {
                let bytes = match body.kind {
                    BodyKind::Reveal => self.held.reveals[&body.subject].clone(),
                    BodyKind::Model => to_le_bytes(&self.disk.model),
                    BodyKind::Sum | BodyKind::Result => {
                        let (pending, bytes) = self.disk.outbox.clone().unwrap();
                        assert_eq!(BodyId::sum(pending.ctx()), body);
                        bytes
                    }
                };
                Effect::Upload {
                    body,
                    first_piece: first_chunk as usize,
                    bytes,
                }
            }
            Action::Average(outcome) => {
                self.outcome = Some(outcome);
                return None;
            }
            Action::Adopt(checkpoint) => {
                self.checkpoint = Some(checkpoint);
                return None;
            }
            Action::Commit(chain) => {
                let (next, model) = self.next.take().unwrap();
                assert_eq!((next, model_hash(&model)), (chain, chain.model));
                (self.disk.chain, self.disk.model) = (chain, model);
                self.disk.outbox = None;
                Effect::Committed(chain)
            }
            Action::Waiting { missing, .. } => Effect::Waiting(missing),
            Action::TurnedAway(_) => Effect::TurnedAway,
            Action::Finish { .. } => Effect::Finished,
        })
    }

    /// x − Σ PRG(seeds that were given) + Σ PRG(seeds that were received).
    fn masked_sum(&mut self, shares: &CompleteShares) -> Vec<u8> {
        let (ctx, given) = self.seeds.take().unwrap();
        assert_eq!(ctx, shares.ctx());
        let received = shares.sealed();
        assert!(
            !given.keys().any(|id| received.contains_key(id)),
            "one share a pair"
        );
        let (model, input) = self.input.clone().unwrap();
        assert_eq!(model, self.disk.chain.model);
        let mut sum = input.clone();
        for seed in given.values() {
            fold(&mut sum, seed, u32::wrapping_sub);
        }
        for seed in received.values() {
            let seed = seed.as_slice().try_into().unwrap();
            fold(&mut sum, seed, u32::wrapping_add);
        }
        self.inputs.insert(ctx, input);
        sum.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

impl Site {
    /// The tag of what goes into the sum of this context, or a wrong one.
    fn tag(&mut self, ctx: Digest) -> Tag {
        let tag = tag_of(&self.inputs[&ctx], ctx);
        match self.wrong_tags.checked_sub(1) {
            None => tag,
            Some(left) => {
                self.wrong_tags = left;
                tag + Tag::from_keystream(self.draw(b"tag"))
            }
        }
    }

    /// x − Σ PRG(seed of each class), and the seeds for the holders. They travel open, between two names.
    fn contribute(&mut self, holders: &Holders) -> (Vec<u8>, Tag, Envelope) {
        let (model, input) = self.input.clone().unwrap();
        assert_eq!(model, self.disk.chain.model);
        let classes = holders.committee().classes();
        let seeds: Vec<_> = (0..classes.count()).map(|_| self.draw(b"seed")).collect();
        let mut sum = input.clone();
        self.inputs.insert(holders.ctx(), input);
        let mut tag = self.tag(holders.ctx());
        for seed in &seeds {
            fold(&mut sum, seed, u32::wrapping_sub);
            tag -= Tag::from_keystream(*seed);
        }
        let commitments = seeds.iter().enumerate();
        let commitments =
            commitments.map(|(class, seed)| commitment(classes.excluded(class), seed));
        let boxes = holders.ids().map(|holder| {
            let held = holders.committee().held_by(holder);
            let seeds = held.iter().flat_map(|class| seeds[class]);
            let names = [*self.id().as_bytes(), *holder.as_bytes()].concat();
            names.into_iter().chain(seeds).collect()
        });
        let envelope = Envelope {
            commitments: commitments.take(holders.commitments()).collect(),
            boxes: boxes.collect(),
        };
        let body = sum.iter().flat_map(|word| word.to_le_bytes());
        (body.collect(), tag, envelope)
    }
}

/// What a holder's process has of an attempt.
#[derive(Clone, Debug, Default)]
pub(in crate::round) struct Held {
    seeds: BTreeMap<(NodeId, Seats), [u8; 32]>,
    pub(in crate::round) reveals: BTreeMap<Digest, Vec<u8>>,
}

impl Held {
    fn open(&mut self, own: NodeId, slip: &CheckedSlip) -> Result<(), Fault> {
        let from = slip.entry().node;
        let (names, seeds) = slip.sealed().split_at_checked(64).ok_or(Fault::Box)?;
        let (seeds, rest) = seeds.as_chunks::<32>();
        let mine = names[..32] == from.as_bytes()[..] && names[32..] == own.as_bytes()[..];
        if !mine || seeds.len() != slip.seeds().len() || !rest.is_empty() {
            return Err(Fault::Box);
        }
        let both = seeds.iter().zip(slip.seeds());
        for (seed, (excluded, committed)) in both.clone() {
            if committed.is_some_and(|committed| committed != commitment(*excluded, seed)) {
                return Err(Fault::Commitment);
            }
        }
        let seeds = both.map(|(seed, (excluded, _))| ((from, *excluded), *seed));
        self.seeds.extend(seeds);
        Ok(())
    }

    fn reveal(&self, order: &RevealOrder, elements: usize) -> (Vec<u8>, Tag) {
        let mut sum = vec![0; elements];
        let mut tag = Tag::default();
        for node in order.contributors() {
            for excluded in order.excluded() {
                let seed = &self.seeds[&(*node, *excluded)];
                fold(&mut sum, seed, u32::wrapping_add);
                tag += Tag::from_keystream(*seed);
            }
        }
        let body = sum.iter().flat_map(|word| word.to_le_bytes());
        (body.collect(), tag)
    }
}

pub(in crate::round) fn commitment(excluded: Seats, seed: &[u8; 32]) -> Digest {
    Digest::sha256(&[b"commitment", &excluded.to_bytes(), seed])
}

fn fold(sum: &mut [u32], seed: &[u8; 32], fold: fn(u32, u32) -> u32) {
    for (word, mask) in sum.iter_mut().zip(chacha20::share::<u32>(seed, 0)) {
        *word = fold(*word, mask);
    }
}

/// Tags without a secret: no match for a relay that computes, but they tell one sum from another.
pub(super) struct Tags;

pub(super) struct TagsOf {
    ctx: Digest,
    words: Vec<u32>,
}

impl Verifier for Tags {
    type Check = TagsOf;

    fn begin(&self, ctx: Digest, _: Ring, _: usize) -> TagsOf {
        let words = Vec::new();
        TagsOf { ctx, words }
    }
}

impl Check for TagsOf {
    fn add(&mut self, chunk: &[u8]) {
        let words = chunk.as_chunks().0.iter();
        self.words.extend(words.map(|le| u32::from_le_bytes(*le)));
    }

    fn holds(self, _: &BTreeSet<NodeId>, tag: Tag) -> bool {
        tag_of(&self.words, self.ctx) == tag
    }
}

/// The tag of a vector in a context.
fn tag_of(vector: &[u32], ctx: Digest) -> Tag {
    let tag = |i: usize| {
        let draw = Digest::sha256(&[b"tag", ctx.as_bytes(), &i.to_le_bytes()]);
        Tag::from_keystream(draw.0)
    };
    let beta = Beta::new((0..vector.len()).map(|i| tag(i + 1)));
    let coefficients = Coefficients {
        alpha: &[tag(0)],
        beta: &beta,
    };
    fl_shaders::cpu::tag(vector, 0, coefficients)
}

fn boot(identity: &Identity, manifest: &Arc<Manifest>, disk: &Disk) -> Node {
    let pending = disk.outbox.as_ref().map(|(pending, _)| pending.clone());
    let (manifest, identity) = (manifest.clone(), identity.clone());
    Node::new(manifest, identity, disk.chain, disk.sent.clone(), pending)
}
