//! A node's process around its machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::OpenSecrets;
use super::ledger::{Ledger, Taken};
use super::log::MemoryLog;
use super::secrets::{Masked, Secrets};
use crate::audit::Party;
use crate::digest::{Digest, model_hash};
use crate::identity::{Identity, NodeId};
use crate::manifest::Manifest;
use crate::parameters::{from_le_bytes, to_le_bytes};
use crate::round::committee::message::ContributionId;
use crate::round::committee::{ClassSet, Envelope};
use crate::round::node::{Action, Announcement, Node, Pending};
use crate::round::peer::{Conviction, Proof};
use crate::round::training::Averaged;
use crate::round::{CheckedCheckpoint, CheckedOutcome, Fault, Head, Refusal, SentSums};
use crate::wire::{BodyId, BodyKind, NodeFrame, RelayFrame};

/// What survives a crash, beside the log.
#[derive(Clone)]
pub struct Disk {
    /// Where the node stands.
    pub head: Head,
    /// The global model.
    pub model: Vec<f32>,
    /// With whom it has helped to open sums.
    pub sent: SentSums,
    /// A masked vector that may be asked for.
    pub outbox: Option<(Pending, Vec<u8>)>,
}

impl Disk {
    fn empty(manifest: &Manifest) -> Self {
        Self {
            head: Head::start(manifest),
            model: vec![0.0; manifest.parameters()],
            sent: SentSums::default(),
            outbox: None,
        }
    }
}

/// Work that takes a while, with what it leads to. Whoever runs the host says with
/// [`NodeHost::done`] when it is done.
#[derive(Clone, Debug)]
pub enum Work {
    /// Training for this round.
    Train(u64),
    /// Drawing a key for this round.
    DrawRoundKey(u64),
    /// Sealing seeds.
    Seal(Digest, Vec<(NodeId, Vec<u8>)>),
    /// Masking a sum.
    Mask(Digest, Masked),
    /// Masking a contribution.
    Contribute(Digest, Masked, Envelope),
    /// Opening a contributor's box.
    Open(Digest, ContributionId, Result<(), Fault>),
    /// Summing up masks.
    Reveal(Digest, ClassSet, Masked),
    /// Checking and averaging a result.
    Average(Box<Averaged>),
    /// Checking a certified model.
    Adopt(Head, Vec<f32>),
}

/// What leaves a node's process.
#[derive(Debug)]
pub enum Effect {
    /// A frame.
    Send(NodeFrame),
    /// A body, from this chunk on.
    Upload {
        /// Which.
        body: BodyId,
        /// The first chunk that is missing.
        first_chunk: u32,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Work has begun.
    Work(Work),
    /// The node's contribution is in.
    Received,
    /// The node stands here now.
    Committed(Head),
    /// Somebody is proven to have lied.
    Convicted(Conviction),
    /// The relay waits for these nodes.
    Waiting(Vec<NodeId>),
    /// The node refuses something.
    Refused(Refusal),
    /// The relay refuses the node.
    TurnedAway(Refusal),
    /// All rounds are done.
    Finished,
}

/// A node's process.
pub struct NodeHost<S = OpenSecrets> {
    /// The machine.
    pub node: Node,
    /// What survives a crash.
    pub disk: Disk,
    /// The log, which survives it as well.
    pub log: MemoryLog,
    /// What the driver computes.
    pub secrets: S,
    /// What the node has signed and sent.
    pub ledger: Ledger,
    manifest: Arc<Manifest>,
    identity: Identity,
    unix_s: u64,
    /// Sums of masks, by root.
    reveals: BTreeMap<Digest, Vec<u8>>,
    outcome: Option<CheckedOutcome>,
    checkpoint: Option<CheckedCheckpoint>,
    /// What is committed next, and whether it is taken over from others.
    next: Option<(Head, Vec<f32>, bool)>,
}

impl<S: Secrets> NodeHost<S> {
    /// Returns a node with an empty disk, whose process starts at this time.
    pub fn new(manifest: Arc<Manifest>, identity: Identity, secrets: S, unix_s: u64) -> Self {
        let disk = Disk::empty(&manifest);
        let mut host = Self {
            node: boot::<S>(&manifest, &identity, &disk, &[]),
            log: MemoryLog::new(manifest.consortium_id(), Party::Node(identity.node_id())),
            disk,
            secrets,
            ledger: Ledger::default(),
            manifest,
            identity,
            unix_s,
            reveals: BTreeMap::new(),
            outcome: None,
            checkpoint: None,
            next: None,
        };
        host.log.start(host.disk.head, unix_s);
        host
    }

    /// Who.
    pub fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Returns what its consortium agreed on.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The process has died and starts again: the disk and the log are left.
    pub fn restart(&mut self) {
        let proofs = self.log.convictions();
        // Who simulates a node may have emptied its record.
        let emptied = self.disk.sent == SentSums::default();
        assert!(
            emptied || self.log.sums() == self.disk.sent,
            "the log tells of all sums"
        );
        self.node = boot::<S>(&self.manifest, &self.identity, &self.disk, &proofs);
        self.secrets.restarted();
        self.reveals.clear();
        self.disconnected();
        self.log.start(self.disk.head, self.unix_s);
    }

    /// The process starts again, and nothing is left of the disk and the log.
    pub fn lose_disk(&mut self) {
        self.disk = Disk::empty(&self.manifest);
        self.log = MemoryLog::new(self.manifest.consortium_id(), Party::Node(self.id()));
        self.ledger = Ledger::default();
        self.restart();
    }

    /// A connection is there.
    pub fn connected(&mut self, unix_s: u64) -> Vec<Effect> {
        self.unix_s = unix_s;
        let actions = self.node.connected(unix_s).unwrap();
        self.act(actions)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.node.disconnected();
        self.secrets.disconnected();
        self.outcome = None;
        self.checkpoint = None;
    }

    /// A frame has arrived.
    pub fn frame(&mut self, frame: RelayFrame, unix_s: u64) -> Vec<Effect> {
        self.unix_s = unix_s;
        self.ledger.hear(&frame);
        let outcome = match &frame {
            RelayFrame::Outcome(outcome) => Some(outcome.clone()),
            _ => None,
        };
        match self.node.handle(frame, unix_s) {
            Ok(actions) => {
                if let Some(outcome) = outcome {
                    self.ledger.check(&outcome);
                }
                self.act(actions)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// The body that follows a result or a checkpoint has arrived.
    pub fn body(&mut self, body: &[u8]) -> Vec<Effect> {
        let work = if let Some(outcome) = self.outcome.take() {
            let (plan, base) = (self.manifest.fixed_point(), &self.disk.model);
            let averaged = outcome.average(body, base, plan, self.secrets.verifier());
            averaged.map(|averaged| {
                self.ledger.take(Taken {
                    ctx: outcome.ctx(),
                    nodes: outcome.nodes().clone(),
                    sum: body.to_vec(),
                });
                Work::Average(Box::new(averaged))
            })
        } else if let Some(checkpoint) = self.checkpoint.take() {
            let model = from_le_bytes(body);
            let checked = checkpoint.check_model(&model);
            checked.map(|()| Work::Adopt(checkpoint.head(), model))
        } else {
            return Vec::new();
        };
        match work {
            Ok(work) => vec![Effect::Work(work)],
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Work is done.
    pub fn done(&mut self, work: Work, unix_s: u64) -> Vec<Effect> {
        self.unix_s = unix_s;
        let actions = match work {
            Work::Train(round) => {
                self.secrets.train(self.disk.head.model);
                Ok(self.node.trained(round))
            }
            Work::DrawRoundKey(round) => {
                self.reveals.clear();
                let key = self.secrets.draw_round_key();
                self.node.keyed(round, key, unix_s)
            }
            Work::Seal(ctx, sealed) => self.node.sealed(ctx, sealed),
            Work::Mask(ctx, masked) => {
                let announced = self.node.summed(ctx, masked.root(), masked.tag_share());
                return self.announce(announced.unwrap(), masked.body);
            }
            Work::Contribute(ctx, masked, envelope) => {
                let (root, tag) = (masked.root(), masked.tag);
                let announced = self.node.contributed(ctx, root, tag, envelope);
                return self.announce(announced.unwrap(), masked.body);
            }
            Work::Open(ctx, entry, found) => self.node.opened(ctx, entry, found),
            Work::Reveal(ctx, classes, masked) => {
                let root = masked.root();
                self.reveals.insert(root, masked.body);
                self.node.revealed(ctx, classes, root, masked.tag)
            }
            Work::Average(averaged) => {
                self.next = Some((averaged.head, averaged.model.to_vec(), false));
                self.node.averaged(&averaged)
            }
            Work::Adopt(head, model) => {
                self.next = Some((head, model, true));
                self.node.adopted(head)
            }
        };
        self.act(actions.unwrap())
    }

    /// Logs and keeps a masked vector, then announces it.
    fn announce(&mut self, announcement: Option<Announcement>, body: Vec<u8>) -> Vec<Effect> {
        let Some(announcement) = announcement else {
            return Vec::new();
        };
        self.disk.outbox = Some((announcement.pending, body));
        self.act(vec![
            Action::Log(announcement.entry),
            Action::Send(announcement.frame),
        ])
    }

    fn refuse(&mut self, refusal: Refusal) -> Vec<Effect> {
        let actions = self.node.abandon(refusal.clone());
        let mut effects = vec![Effect::Refused(refusal)];
        effects.extend(self.act(actions));
        effects
    }

    /// The share of `from` does not open.
    fn accuse(&mut self, ctx: Digest, from: NodeId) -> Vec<Effect> {
        let round_key = self.secrets.publish_round_key();
        let actions = self.node.accuse(ctx, from, round_key).unwrap();
        let mut effects = vec![Effect::Refused(Refusal::Share { from })];
        effects.extend(self.act(actions));
        effects
    }

    fn act(&mut self, actions: Vec<Action>) -> Vec<Effect> {
        self.ledger.begin();
        let mut effects = Vec::new();
        for action in actions {
            match action {
                Action::Log(entry) => self.log.append(entry, self.unix_s),
                Action::Record(sum) => {
                    self.disk.sent.add(&sum);
                    self.ledger.record();
                }
                Action::Average(outcome) => self.outcome = Some(outcome),
                Action::Adopt(checkpoint) => self.checkpoint = Some(checkpoint),
                Action::Sum(shares) => match self.secrets.mask(&shares) {
                    Ok(masked) => effects.push(Effect::Work(Work::Mask(shares.ctx(), masked))),
                    Err(Refusal::Share { from }) => {
                        effects.extend(self.accuse(shares.ctx(), from));
                    }
                    Err(refusal) => effects.extend(self.refuse(refusal)),
                },
                action => effects.push(self.effect(action)),
            }
        }
        effects
    }

    /// Returns what an action leads to that has one effect.
    fn effect(&mut self, action: Action) -> Effect {
        let model = self.disk.head.model;
        match action {
            Action::Send(frame) => {
                self.ledger.send(&self.manifest, model, &frame);
                Effect::Send(frame)
            }
            Action::Train { round, .. } => Effect::Work(Work::Train(round)),
            Action::DrawRoundKey { round, .. } | Action::DrawHolderKey { round, .. } => {
                Effect::Work(Work::DrawRoundKey(round))
            }
            Action::Seal { ctx, receivers } => {
                let sealed = self.secrets.seal(ctx, &receivers);
                Effect::Work(Work::Seal(ctx, sealed))
            }
            Action::Contribute(holders) => {
                let (masked, envelope) = self.secrets.contribute(&holders);
                Effect::Work(Work::Contribute(holders.ctx(), masked, envelope))
            }
            Action::Open(seeds_for) => {
                let found = self.secrets.open(&seeds_for);
                self.ledger.open(&seeds_for, found.is_ok());
                Effect::Work(Work::Open(seeds_for.ctx(), seeds_for.entry(), found))
            }
            Action::Reveal(order) => {
                let committee = self.manifest.committee().expect("a committee");
                self.ledger
                    .reveal(committee.held_by(self.id()), model, &order);
                let masked = self.secrets.reveal(&order);
                Effect::Work(Work::Reveal(order.ctx(), order.classes(), masked))
            }
            Action::Upload { body, first_chunk } => {
                let bytes = self.uploaded(body);
                Effect::Upload {
                    body,
                    first_chunk,
                    bytes,
                }
            }
            Action::Commit(head) => {
                let (next, model, adopted) = self.next.take().expect("a model that was checked");
                assert_eq!((next, model_hash(&model)), (head, head.model));
                assert!(head.round > self.disk.head.round, "back in time");
                (self.disk.head, self.disk.model) = (head, model);
                self.disk.outbox = None;
                self.ledger.commits.push((head, adopted));
                Effect::Committed(head)
            }
            Action::Received { .. } => Effect::Received,
            Action::Convicted(conviction) => Effect::Convicted(conviction),
            Action::Waiting { missing, .. } => Effect::Waiting(missing),
            Action::TurnedAway(refusal) => Effect::TurnedAway(refusal),
            Action::Finish { .. } => Effect::Finished,
            Action::Log(_)
            | Action::Record(_)
            | Action::Average(_)
            | Action::Adopt(_)
            | Action::Sum(_) => unreachable!("none or several effects"),
        }
    }

    fn uploaded(&mut self, body: BodyId) -> Vec<u8> {
        match body.kind {
            BodyKind::Model => to_le_bytes(&self.disk.model),
            BodyKind::Reveal => self.reveals[&body.subject].clone(),
            BodyKind::Sum | BodyKind::Result => {
                let outbox = self.disk.outbox.as_ref();
                let (pending, bytes) = outbox.expect("a masked vector that was kept");
                assert_eq!(BodyId::sum(pending.ctx()), body);
                if let Pending::Sum(pending) = pending {
                    let model = self.disk.head.model;
                    self.ledger.upload(&self.manifest, model, pending);
                }
                bytes.clone()
            }
        }
    }
}

fn boot<S: Secrets>(
    manifest: &Arc<Manifest>,
    identity: &Identity,
    disk: &Disk,
    proofs: &[Proof],
) -> Node {
    let pending = disk.outbox.as_ref().map(|(pending, _)| pending.clone());
    let (manifest, identity) = (manifest.clone(), identity.clone());
    let sent = disk.sent.clone();
    let mut node = Node::new(manifest, identity, disk.head, sent, pending, S::opener());
    node.resume_convictions(proofs);
    node
}
