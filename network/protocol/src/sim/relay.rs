//! The relay's process around its machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::log::MemoryLog;
use crate::audit::Party;
use crate::digest::{ChunkHashes, Digest, model_hash};
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::parameters::{from_le_bytes, to_le_bytes};
use crate::ring_bytes;
use crate::round::peer::BoxOpener;
use crate::round::relay::{Action, Event, LastResult, Relay, Report, Settings};
use crate::round::training::{Averaged, average};
use crate::round::{Checkpoint, Head, Refusal};
use crate::wire::{BodyId, BodyKind, RelayFrame};

/// Length of the pieces in which simulated bodies travel: a chunk that is asked for begins this
/// many bytes behind the one before.
pub(super) const PIECE_BYTES: usize = 16;

/// What survives a crash, beside the log.
pub struct RelayDisk {
    /// Where the relay stands.
    pub head: Head,
    /// The global model.
    pub model: Vec<f32>,
    /// The last result, with its bytes.
    pub last: Option<(LastResult, Vec<u8>)>,
    /// That enough nodes have acknowledged a model.
    pub checkpoint: Option<Checkpoint>,
}

impl RelayDisk {
    fn empty(manifest: &Manifest) -> Self {
        Self {
            head: Head::start(manifest),
            model: vec![0.0; manifest.parameters()],
            last: None,
            checkpoint: None,
        }
    }
}

/// What has arrived of an attempt.
pub struct Bodies {
    ctx: Digest,
    /// The signed root of each body, and its bytes so far.
    parts: BTreeMap<(NodeId, BodyId), (Digest, Vec<u8>)>,
}

/// What leaves the relay's process.
#[derive(Debug)]
pub enum RelayEffect {
    /// A frame for a node, and the body that follows it.
    Send(NodeId, RelayFrame, Option<Vec<u8>>),
    /// The relay closes a node's connection.
    TurnAway(NodeId, Refusal),
    /// All bodies are in, and averaging has begun. [`RelayHost::averaged`] ends it.
    Average {
        /// Context.
        ctx: Digest,
        /// Whose inputs are in the sum.
        nodes: Vec<NodeId>,
        /// Sum of the bodies.
        sum: Vec<u8>,
        /// What comes of it.
        averaged: Result<Box<Averaged>, Refusal>,
    },
    /// The relay stands here now.
    Committed(Head),
    /// Something that the operator wants to know.
    Report(Report),
    /// All rounds are done.
    Finished,
}

/// A body that an honest node would not have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Something before it is missing.
    Gap,
    /// It is not what was signed.
    Root,
}

/// The relay's process, or its disk while there is no process.
pub struct RelayHost {
    /// What the operator chose.
    pub settings: Settings,
    /// What survives a crash.
    pub disk: RelayDisk,
    /// The log, which survives it as well.
    pub log: MemoryLog,
    /// How often the disk will fail to forget the last result.
    pub take_backs_to_fail: u32,
    /// What has arrived of the attempt, once bodies are asked for.
    pub bodies: Option<Bodies>,
    /// Who lends the relay its model, and what of it is here.
    pub received_model: Option<(NodeId, Vec<u8>)>,
    manifest: Arc<Manifest>,
    epoch_unix_s: u64,
    opener: BoxOpener,
    machine: Option<Relay>,
    began: Duration,
    now: Duration,
    /// The bytes of the last result.
    result: Vec<u8>,
    /// Where the last result leads, as long as nobody has taken it.
    averaged: Option<(Head, Vec<f32>)>,
}

impl RelayHost {
    /// Returns a relay with an empty disk, and no process yet, whose time begins at this Unix time.
    /// `opener` opens the boxes of its nodes.
    pub fn new(
        manifest: Arc<Manifest>,
        settings: Settings,
        epoch_unix_s: u64,
        opener: BoxOpener,
    ) -> Self {
        Self {
            settings,
            disk: RelayDisk::empty(&manifest),
            log: MemoryLog::new(manifest.consortium_id(), Party::Relay),
            take_backs_to_fail: 0,
            bodies: None,
            received_model: None,
            manifest,
            epoch_unix_s,
            opener,
            machine: None,
            began: Duration::ZERO,
            now: Duration::ZERO,
            result: Vec::new(),
            averaged: None,
        }
    }

    /// Returns the machine, while the process runs.
    pub fn machine(&self) -> Option<&Relay> {
        self.machine.as_ref()
    }

    /// The clock is set.
    pub fn set_clock(&mut self, now: Duration, unix_s: u64) {
        self.epoch_unix_s = unix_s.saturating_sub(now.as_secs());
        if let Some(machine) = &mut self.machine {
            machine.set_clock(now - self.began, unix_s);
        }
    }

    /// The process starts, and takes up what the disk has. `seed` decides which nodes are sampled.
    pub fn start(&mut self, now: Duration, seed: [u8; 32]) {
        (self.began, self.now) = (now, now);
        // A result that too few had taken is averaged again.
        let disk = &self.disk;
        let provisional = disk.last.as_ref();
        let provisional = provisional.filter(|(last, _)| last.base == disk.head);
        self.averaged = provisional.map(|(LastResult { base, outcome }, body)| {
            let plan = self.manifest.fixed_point();
            let addends = self.manifest.addends(&outcome.parts.nodes(&self.manifest));
            let averaged = average(body, &disk.model, plan, addends, *base, outcome.ctx).unwrap();
            (averaged.head, averaged.model.to_vec())
        });
        let head = self.averaged.as_ref().map_or(disk.head, |(head, _)| *head);
        let unix_s = self.epoch_unix_s + now.as_secs();
        self.log.start(head, unix_s);
        let (manifest, settings) = (self.manifest.clone(), self.settings.clone());
        let mut machine = Relay::new(manifest, settings, head, unix_s, seed, self.opener);
        machine.resume_convictions(&self.log.convictions());
        if let Some((last, body)) = &disk.last {
            machine.resume(last.clone(), self.averaged.is_none());
            self.result.clone_from(body);
        }
        if let Some(checkpoint) = &disk.checkpoint {
            machine.resume_certified(checkpoint);
        }
        self.machine = Some(machine);
    }

    /// The process dies.
    pub fn stop(&mut self) {
        self.machine = None;
        self.bodies = None;
        self.received_model = None;
    }

    /// Nothing is left of the disk and the log of a relay that was stopped.
    pub fn lose_disk(&mut self) {
        self.disk = RelayDisk::empty(&self.manifest);
        self.log = MemoryLog::new(self.manifest.consortium_id(), Party::Relay);
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<RelayEffect> {
        let Some(machine) = &mut self.machine else {
            return Vec::new();
        };
        self.now = now;
        let actions = machine.handle(now - self.began, event);
        let roll_back = |action: &Action| matches!(action, Action::RollBack);
        let rolls_back = actions.iter().any(roll_back);
        let actions = actions.into_iter();
        let mut effects: Vec<_> = actions.filter_map(|action| self.perform(action)).collect();
        if rolls_back && self.roll_back() {
            effects.extend(self.handle(now, Event::RolledBack));
        }
        effects
    }

    /// A part of a body has arrived.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The connection ends with that.
    pub fn body(
        &mut self,
        now: Duration,
        (node, body): (NodeId, BodyId),
        from: usize,
        bytes: &[u8],
    ) -> Result<Vec<RelayEffect>, BodyFault> {
        let (length, root, received) = if body.kind == BodyKind::Model {
            let received_model = self
                .received_model
                .as_mut()
                .filter(|(lender, _)| *lender == node);
            let Some((_, received)) = received_model else {
                return Ok(Vec::new());
            };
            (4 * self.manifest.parameters(), body.subject, received)
        } else {
            let parts = self.bodies.as_mut().map(|bodies| &mut bodies.parts);
            let Some((root, received)) = parts.and_then(|parts| parts.get_mut(&(node, body)))
            else {
                return Ok(Vec::new());
            };
            (self.manifest.body_bytes(), *root, received)
        };
        if from < received.len() {
            // It was asked for again while it was under way. The relay drops what it has.
            return Ok(Vec::new());
        }
        if from > received.len() {
            return Err(BodyFault::Gap);
        }
        received.extend_from_slice(bytes);
        if received.len() < length {
            return Ok(Vec::new());
        }
        let found = match body.kind {
            BodyKind::Model => model_hash(&from_le_bytes(received)),
            _ => ChunkHashes::of(received).root(),
        };
        if found != root {
            received.clear();
            return Err(BodyFault::Root);
        }
        Ok(self.handle(now, Event::BodyAdded(node, body)))
    }

    /// Averaging is over. `sum` is what was averaged.
    pub fn averaged(
        &mut self,
        now: Duration,
        sum: Vec<u8>,
        averaged: Result<Box<Averaged>, Refusal>,
    ) -> Vec<RelayEffect> {
        let event = match averaged {
            Ok(averaged) => {
                self.averaged = Some((averaged.head, averaged.model.to_vec()));
                self.result = sum;
                Event::Averaged(*averaged)
            }
            Err(refusal) => Event::Impossible(refusal),
        };
        self.handle(now, event)
    }

    fn roll_back(&mut self) -> bool {
        if let Some(left) = self.take_backs_to_fail.checked_sub(1) {
            self.take_backs_to_fail = left;
            return false;
        }
        (self.disk.last, self.averaged) = (None, None);
        self.result.clear();
        true
    }

    fn perform(&mut self, action: Action) -> Option<RelayEffect> {
        let disk = &mut self.disk;
        match action {
            Action::Log(entry) => {
                let unix_s = self.epoch_unix_s + self.now.as_secs();
                self.log.append(entry, unix_s);
            }
            Action::Receive { ctx, .. } => {
                let parts = BTreeMap::new();
                self.bodies = Some(Bodies { ctx, parts });
            }
            Action::Discard => (self.bodies, self.received_model) = (None, None),
            Action::Keep => {
                let last = self.machine.as_ref().and_then(Relay::last_result).cloned();
                disk.last = last.map(|last| (last, self.result.clone()));
            }
            Action::Certify(checkpoint) => disk.checkpoint = Some(checkpoint),
            // After all others.
            Action::RollBack => {}
            action => return Some(self.effect(action)),
        }
        None
    }

    /// Returns what an action leads to that has an effect.
    fn effect(&mut self, action: Action) -> RelayEffect {
        let disk = &mut self.disk;
        match action {
            Action::Send(node, frame) => RelayEffect::Send(node, frame, None),
            Action::TurnAway(node, refusal) => RelayEffect::TurnAway(node, refusal),
            Action::Collect {
                node,
                ctx,
                body,
                root,
                sums,
            } => {
                let bodies = self.bodies.as_mut().filter(|bodies| bodies.ctx == ctx);
                let parts = &mut bodies.expect("room for these bodies").parts;
                let (expected, received) = parts.entry((node, body)).or_insert((root, Vec::new()));
                assert_eq!(*expected, root);
                let first_chunk = u32::try_from(received.len() / PIECE_BYTES).unwrap();
                RelayEffect::Send(node, RelayFrame::request(body, first_chunk, sums), None)
            }
            Action::Average { head, ctx, bodies } => self.average(head, ctx, &bodies),
            Action::Commit(head) => {
                let (averaged, model) = self.averaged.take().expect("a result that is not taken");
                assert_eq!((averaged, model_hash(&model)), (head, head.model));
                assert_eq!(
                    head.round,
                    disk.head.next_round(),
                    "a result for each round"
                );
                (disk.head, disk.model) = (head, model);
                RelayEffect::Committed(head)
            }
            Action::RequestModel { node, model } => {
                self.received_model = Some((node, Vec::new()));
                RelayEffect::Send(node, RelayFrame::SendModel { model }, None)
            }
            Action::Adopt(checkpoint) => {
                let (_, model) = self.received_model.take().expect("a model that was lent");
                (disk.head, disk.model) = (checkpoint.head, from_le_bytes(&model));
                (disk.last, self.averaged) = (None, None);
                let head = checkpoint.head;
                disk.checkpoint = Some(checkpoint);
                RelayEffect::Committed(head)
            }
            Action::Deliver(node, outcome) => {
                assert_eq!(ChunkHashes::of(&self.result).root(), outcome.root);
                let body = self.result.clone();
                RelayEffect::Send(node, RelayFrame::Outcome(outcome), Some(body))
            }
            Action::Restore(node, checkpoint) => {
                let body = to_le_bytes(&disk.model);
                RelayEffect::Send(node, RelayFrame::Checkpoint(checkpoint), Some(body))
            }
            Action::Report(report) => RelayEffect::Report(report),
            Action::Finish => RelayEffect::Finished,
            Action::Log(_)
            | Action::Receive { .. }
            | Action::Discard
            | Action::Keep
            | Action::Certify(_)
            | Action::RollBack => unreachable!("no effect"),
        }
    }

    fn average(&mut self, head: Head, ctx: Digest, parts: &[(NodeId, BodyId)]) -> RelayEffect {
        let bodies = self.bodies.take().expect("bodies");
        assert_eq!(bodies.ctx, ctx);
        let plan = self.manifest.fixed_point();
        let mut sum = vec![0; self.manifest.body_bytes()];
        for part in parts {
            let (_, bytes) = &bodies.parts[part];
            assert_eq!(bytes.len(), sum.len(), "a body is missing");
            ring_bytes::add(plan.ring(), &mut sum, bytes);
        }
        let inputs = parts.iter().filter(|(_, body)| body.kind == BodyKind::Sum);
        let nodes: Vec<_> = inputs.map(|(node, _)| *node).collect();
        let addends = self.manifest.addends(&nodes);
        let averaged = average(&sum, &self.disk.model, plan, addends, head, ctx);
        RelayEffect::Average {
            ctx,
            nodes,
            sum,
            averaged: averaged.map(Box::new),
        }
    }
}
