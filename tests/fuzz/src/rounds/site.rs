//! A node's driver: real ring arithmetic, a disk that survives crashes, seeds that travel open. It never signs two
//! things where one is allowed, or sends sums over two sets of participants on one model, or it panics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fl_protocol::digest::{ChunkHashes, Digest, model_hash};
use fl_protocol::identity::NodeId;
use fl_protocol::parameters::from_le_bytes;
use fl_protocol::round::message::Signed;
use fl_protocol::round::node::{Action, Announcement, Node, Pending};
use fl_protocol::round::peer::message::{Share, Sum};
use fl_protocol::round::peer::{CompleteShares, PendingSum};
use fl_protocol::round::training::Averaged;
use fl_protocol::round::{
    Chain, Check, CheckedCheckpoint, CheckedOutcome, Refusal, SentSums, Verifier,
};
use fl_protocol::wire::{BodyId, BodyKind, NodeFrame, RelayFrame};
use fl_shaders::cpu::{mask, quantize};
use fl_shaders::{Counters, HEADER_WORDS, InputScale, Ring, Tag};

use crate::fixture::{PARAMETERS, consortium, to_le_bytes};
use crate::tags;

/// Work that takes a while.
enum Work {
    Train(u64),
    Seal(Digest, Vec<(NodeId, Vec<u8>)>),
    Sum(Digest, Vec<u8>, Tag),
    Average(Averaged),
    Adopt(Chain, Vec<f32>),
}

/// How a node keeps the protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// To the letter.
    Sound,
    /// But with a disk that loses with whom it has sent sums.
    Forgetful,
    /// But for the tags, which it does not check.
    Credulous,
}

impl Verifier for Conduct {
    type Check = Opinion;

    fn begin(&self, ctx: Digest, _: Ring, elements: usize) -> Opinion {
        Opinion {
            conduct: *self,
            check: tags::Check::new(ctx, elements),
        }
    }
}

/// What a node thinks of a sum.
pub(crate) struct Opinion {
    conduct: Conduct,
    check: tags::Check,
}

impl Check for Opinion {
    fn add(&mut self, chunk: &[u8]) {
        self.check.add(chunk);
    }

    fn holds(self, nodes: &BTreeSet<NodeId>, tag: Tag) -> bool {
        self.conduct == Conduct::Credulous || self.check.holds(nodes, tag)
    }
}

/// What leaves a node.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    Frame(NodeFrame),
    /// A masked sum from the chunk that was asked for.
    Body(BodyId, u32, Vec<u8>),
}

/// What survives a crash.
struct Disk {
    chain: Chain,
    model: Vec<f32>,
    sent: SentSums,
    outbox: Option<(Pending, Vec<u8>)>,
}

/// What a node has taken for the sum of a round.
struct Taken {
    ctx: Digest,
    nodes: BTreeSet<NodeId>,
    sum: Vec<u8>,
}

/// What a node has ever signed or sent.
#[derive(Default)]
pub(super) struct Ledger {
    sums: BTreeMap<Digest, Sum>,
    shares: BTreeMap<(Digest, NodeId), Share>,
    /// The inputs behind its masked sums, by context.
    pub(super) inputs: BTreeMap<Digest, Vec<u32>>,
    /// With whom it has sent a sum, by the model.
    collected: BTreeMap<Digest, BTreeSet<NodeId>>,
    /// The sums that it has taken since they were looked at last.
    taken: Vec<Taken>,
    /// Where it has stood since the beginning, and whether it took others' word for that.
    pub(super) commits: Vec<(Chain, bool)>,
}

/// A node's process.
pub(super) struct Site {
    index: usize,
    conduct: Conduct,
    node: Node,
    disk: Disk,
    work: VecDeque<Work>,
    /// The update that was trained from this model, encoded.
    input: Option<(Digest, Vec<u32>)>,
    seeds: Option<(Digest, BTreeMap<NodeId, [u8; 32]>)>,
    outcome: Option<CheckedOutcome>,
    checkpoint: Option<CheckedCheckpoint>,
    next: Option<(Chain, Vec<f32>)>,
    recorded: bool,
    draws: u64,
    pub(super) ledger: Ledger,
    pub(super) turned_away: bool,
}

impl Site {
    pub(super) fn new(index: usize, conduct: Conduct) -> Self {
        let disk = Disk {
            chain: Chain::start(&consortium().manifest),
            model: vec![0.0; PARAMETERS],
            sent: SentSums::default(),
            outbox: None,
        };
        Self {
            index,
            conduct,
            node: boot(index, &disk),
            disk,
            work: VecDeque::new(),
            input: None,
            seeds: None,
            outcome: None,
            checkpoint: None,
            next: None,
            recorded: false,
            draws: 0,
            ledger: Ledger::default(),
            turned_away: false,
        }
    }

    pub(super) fn chain(&self) -> Chain {
        self.disk.chain
    }

    /// Its global model.
    pub(super) fn model(&self) -> &[f32] {
        &self.disk.model
    }

    /// The process dies and starts again: only the disk is left, or not even the outbox.
    pub(super) fn restart(&mut self, loses_outbox: bool) {
        if loses_outbox {
            self.disk.outbox = None;
        }
        self.node = boot(self.index, &self.disk);
        self.input = None;
        self.work.clear();
        self.disconnected();
    }

    pub(super) fn connected(&mut self) -> Vec<Sent> {
        let actions = self.node.connected().expect("short messages");
        self.act(actions)
    }

    pub(super) fn disconnected(&mut self) {
        self.node.disconnected();
        self.seeds = None;
        self.outcome = None;
        self.checkpoint = None;
    }

    /// A frame has arrived.
    pub(super) fn frame(&mut self, frame: RelayFrame, unix_s: u64) -> Vec<Sent> {
        match self.node.handle(frame, unix_s) {
            Ok(actions) => self.act(actions),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Vec<Sent> {
        let actions = self.node.abandon(refusal);
        self.act(actions)
    }

    /// The body that follows an outcome or a checkpoint has arrived.
    pub(super) fn body(&mut self, body: &[u8]) -> Vec<Sent> {
        let plan = consortium().manifest.fixed_point();
        let checked = if let Some(outcome) = self.outcome.take() {
            let averaged = outcome.average(body, &self.disk.model, plan, &self.conduct);
            averaged.map(|averaged| {
                self.ledger.taken.push(Taken {
                    ctx: outcome.ctx(),
                    nodes: outcome.nodes().clone(),
                    sum: body.to_vec(),
                });
                Work::Average(averaged)
            })
        } else if let Some(checkpoint) = self.checkpoint.take() {
            let model = from_le_bytes(body);
            let checked = checkpoint.check_model(&model);
            checked.map(|()| Work::Adopt(checkpoint.chain(), model))
        } else {
            return Vec::new();
        };
        match checked {
            Ok(work) => {
                self.work.push_back(work);
                Vec::new()
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Whether there is work to be done.
    pub(super) fn is_busy(&self) -> bool {
        !self.work.is_empty()
    }

    /// The work that was begun first is done.
    pub(super) fn done(&mut self, unix_s: u64) -> Vec<Sent> {
        let Some(work) = self.work.pop_front() else {
            return Vec::new();
        };
        let (before, adopts) = (self.disk.chain, matches!(work, Work::Adopt(..)));
        let actions = match work {
            Work::Train(round) => {
                self.train();
                let round_key = self.draw(b"round key");
                let asked = self.node.trained(round);
                match asked.is_empty() {
                    true => Ok(asked),
                    false => self.node.keyed(round, round_key, unix_s),
                }
            }
            Work::Seal(ctx, sealed) => self.node.sealed(ctx, sealed),
            Work::Sum(ctx, body, tag) => {
                let root = ChunkHashes::of(&body).root();
                let announcement = self.node.summed(ctx, root, tag);
                announcement.map(|announcement| self.keep(announcement, body))
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
        let sent = self.act(actions.expect("short messages"));
        if self.disk.chain != before {
            self.ledger.commits.push((self.disk.chain, adopts));
        }
        sent
    }

    /// Puts a masked sum into the outbox, and says how it is announced.
    fn keep(&mut self, announcement: Option<Announcement>, body: Vec<u8>) -> Vec<Action> {
        let Some(Announcement { pending, frame, .. }) = announcement else {
            return Vec::new();
        };
        self.disk.outbox = Some((pending, body));
        vec![Action::Send(frame)]
    }

    fn act(&mut self, actions: Vec<Action>) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.recorded = false;
        for action in actions {
            match action {
                Action::Send(frame) => {
                    self.signs(&frame);
                    sent.push(Sent::Frame(frame));
                }
                Action::Train { round, .. } => self.work.push_back(Work::Train(round)),
                Action::Seal { ctx, receivers } => self.seal(ctx, &receivers),
                Action::Sum(shares) => sent.extend(self.sum(&shares)),
                Action::Record(sums) => {
                    if self.conduct != Conduct::Forgetful {
                        self.disk.sent = sums;
                    }
                    self.recorded = true;
                }
                Action::Upload { body, first_chunk } => sent.push(self.upload(body, first_chunk)),
                Action::Average(outcome) => self.outcome = Some(outcome),
                Action::Adopt(checkpoint) => self.checkpoint = Some(checkpoint),
                Action::Commit(chain) => {
                    let (next, model) = self.next.take().expect("a model that was just checked");
                    assert_eq!((next, model_hash(&model)), (chain, chain.model));
                    assert!(chain.round > self.disk.chain.round, "back in time");
                    (self.disk.chain, self.disk.model) = (chain, model);
                    self.disk.outbox = None;
                }
                Action::TurnedAway(_) => self.turned_away = true,
                Action::Log(_) | Action::Waiting { .. } | Action::Finish { .. } => {}
                Action::DrawRoundKey { .. } => panic!("it is drawn with the update"),
                Action::Contribute(_)
                | Action::Open(_)
                | Action::Reveal(_)
                | Action::Received { .. } => panic!("a committee's work without a committee"),
            }
        }
        sent
    }

    /// Never two different Sum or Share messages in one context.
    fn signs(&mut self, frame: &NodeFrame) {
        fn open<T: fl_protocol::round::message::Message>(signed: &Signed<T>) -> T {
            let message = signed.verify(&consortium().manifest, 0);
            message.expect("a node's own signature holds")
        }
        match frame {
            NodeFrame::Sum(signed) => {
                let sum = open(signed);
                let former = self.ledger.sums.entry(sum.ctx).or_insert(sum.clone());
                assert_eq!(*former, sum, "two sums in one context");
            }
            NodeFrame::Shares(shares) => {
                for share in shares.iter().map(open) {
                    let key = (share.ctx, share.to);
                    let former = self.ledger.shares.entry(key).or_insert(share.clone());
                    assert_eq!(*former, share, "two shares for one node in one context");
                }
            }
            _ => {}
        }
    }

    /// Never for two sets of participants on one model, and never before that is on the disk.
    fn upload(&mut self, id: BodyId, first_chunk: u32) -> Sent {
        assert_ne!(id.kind, BodyKind::Model, "nobody is ahead of the relay");
        assert!(self.recorded, "a sum leaves before it is recorded");
        let (pending, body) = self.disk.outbox.as_ref().expect("a sum that was kept");
        let Pending::Sum(PendingSum { participants, .. }) = pending else {
            panic!("a contribution without a committee");
        };
        assert_eq!(BodyId::sum(participants.ctx()), id);
        let model = self.disk.chain.model;
        let former = self.ledger.collected.entry(model);
        let former = former.or_insert(participants.set());
        assert_eq!(*former, participants.set(), "two sets on one model");
        Sent::Body(id, first_chunk, body.clone())
    }

    /// 32 bytes that no one else has.
    fn draw(&mut self, what: &[u8]) -> [u8; 32] {
        self.draws += 1;
        let index = self.index.to_le_bytes();
        Digest::sha256(&[what, &index, &self.draws.to_le_bytes()]).0
    }

    fn train(&mut self) {
        let base = self.disk.chain.model;
        if self.input.as_ref().is_some_and(|(model, _)| *model == base) {
            return;
        }
        let draw = self.draw(b"update");
        let update: Vec<f32> = draw
            .iter()
            .take(PARAMETERS)
            .map(|byte| (f32::from(*byte) - 127.5) / 1e4)
            .collect();
        let counters = Counters {
            examples: 10 + u64::from(draw[0]),
            test_examples: 40,
            correct: u64::from(draw[1] % 41),
            loss: f64::from(draw[2]) / 16.0,
            clipped: 0,
        };
        let plan = consortium().manifest.fixed_point();
        let scale = InputScale::new(plan, counters.examples).expect("few examples");
        let mut input = counters.to_header::<u32>(plan).to_vec();
        input.resize(HEADER_WORDS + PARAMETERS, 0);
        let rounding = self.draw(b"rounding");
        quantize(&update, 0, &scale, &rounding, &mut input[HEADER_WORDS..]);
        self.input = Some((base, input));
    }

    fn seal(&mut self, ctx: Digest, receivers: &[(NodeId, [u8; 32])]) {
        let seeds: BTreeMap<_, _> = receivers
            .iter()
            .map(|(id, _)| (*id, self.draw(b"seed")))
            .collect();
        let sealed = seeds
            .iter()
            .map(|(id, seed)| (*id, seed.to_vec()))
            .collect();
        self.seeds = Some((ctx, seeds));
        self.work.push_back(Work::Seal(ctx, sealed));
    }

    /// x − Σ PRG(seeds that were given) + Σ PRG(seeds that were received); or a refusal of a share that does not open.
    fn sum(&mut self, shares: &CompleteShares) -> Vec<Sent> {
        let (ctx, given) = self.seeds.take().expect("seeds that were sealed");
        assert_eq!(ctx, shares.ctx());
        assert!(
            !given.keys().any(|id| shares.sealed().contains_key(id)),
            "one share a pair"
        );
        let mut received = Vec::new();
        for (from, sealed) in shares.sealed() {
            match sealed.as_slice().try_into() {
                Ok(seed) => received.push(seed),
                Err(_) => return self.refuse(Refusal::Share { from: *from }),
            }
        }
        let (model, input) = self.input.clone().expect("an update");
        assert_eq!(model, self.disk.chain.model);
        let given: Vec<_> = given.into_values().collect();
        let mut sum = input.clone();
        mask(&mut sum, 0, &given, &received);
        let own = consortium().id(self.index);
        let tag = tags::share(ctx, own, &input, &given, &received);
        self.ledger.inputs.insert(ctx, input);
        self.work.push_back(Work::Sum(ctx, to_le_bytes(&sum), tag));
        Vec::new()
    }
}

/// What these nodes put into the sum of `ctx`. Those that are not among `sites` put in zeros.
pub(super) fn plain_sum<'a>(
    sites: &[Site],
    ctx: Digest,
    nodes: impl Iterator<Item = &'a NodeId>,
) -> Vec<u8> {
    let mut plain = vec![0u32; HEADER_WORDS + PARAMETERS];
    for id in nodes {
        let node = consortium().index(*id).expect("a node of the consortium");
        let Some(site) = sites.get(node) else {
            continue;
        };
        let input = site.ledger.inputs.get(&ctx);
        let input = input.expect("a sum in which a node did not take part");
        for (word, x) in plain.iter_mut().zip(input) {
            *word = word.wrapping_add(*x);
        }
    }
    to_le_bytes(&plain)
}

/// What `sites[node]` has taken for the sum of a round is that of its participants' inputs.
pub(super) fn assert_taken(sites: &mut [Site], node: usize) {
    for Taken { ctx, nodes, sum } in std::mem::take(&mut sites[node].ledger.taken) {
        let plain = plain_sum(sites, ctx, nodes.iter());
        assert!(sum == plain, "a sum that is not that of the inputs");
    }
}

fn boot(index: usize, disk: &Disk) -> Node {
    let pending = disk.outbox.as_ref().map(|(pending, _)| pending.clone());
    let identity = consortium().identities[index].clone();
    let manifest = consortium().manifest.clone();
    Node::new(manifest, identity, disk.chain, disk.sent.clone(), pending)
}
