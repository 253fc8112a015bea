//! The relay's driver as the tests have it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt as _;

use super::{Accumulator, EPOCH, Federation, Happening, Moment};
use crate::audit::{Entry, Party};
use crate::digest::{ChunkHashes, Digest, model_hash};
use crate::identity::NodeId;
use crate::parameters::from_le_bytes;
use crate::ring_bytes;
use crate::round::Chain;
use crate::round::relay::{Action, Event, LastResult, Relay, Report};
use crate::round::tests::site::PIECE_BYTES;
use crate::round::training::average;
use crate::sim::MemoryLog;
use crate::wire::{BodyId, BodyKind, NodeFrame, RelayFrame};

impl Federation {
    /// The relay's process starts, and takes up what its disk has.
    pub(super) fn relay_returns(&mut self) {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let (manifest, settings) = (self.consortium.manifest.clone(), self.settings.clone());
        // A result that nobody had taken is averaged again.
        let untaken = self.last.as_ref();
        let untaken = untaken.filter(|(last, _)| last.base == self.relay_chain);
        self.averaged = untaken.map(|(LastResult { base, outcome }, body)| {
            let (plan, nodes) = (manifest.fixed_point(), outcome.parts.len());
            let averaged = average(body, &self.relay_model, plan, nodes, *base, outcome.ctx);
            let averaged = averaged.unwrap();
            (averaged.chain, averaged.model.to_vec())
        });
        let chain = match &self.averaged {
            Some((chain, _)) => *chain,
            None => self.relay_chain,
        };
        let records = self.relay_log.records();
        let entries = records.iter().rev().map(|record| &record.entry);
        let decided = entries
            .into_iter()
            .find_map(Entry::is_unacknowledged_result);
        self.relay_log.start(chain, self.unix_s());
        if decided != Some(true)
            && let Some((chain, model)) = self.averaged.take()
        {
            (self.relay_chain, self.relay_model) = (chain, model);
        }
        let mut relay = Relay::new(manifest, settings, chain, EPOCH, seed);
        if let Some((last, body)) = &self.last {
            relay.resume(last.clone(), self.averaged.is_none());
            self.result.clone_from(body);
        }
        if let Some(checkpoint) = &self.checkpoint {
            relay.resume_certified(checkpoint);
        }
        self.relay = Some(relay);
    }

    pub(super) fn frame_at_relay(&mut self, node: usize, frame: NodeFrame) {
        let moment = match &frame {
            NodeFrame::Keys(_) => Some(Moment::AfterKeys),
            NodeFrame::Shares(_) => Some(Moment::AfterShares),
            NodeFrame::Sum(_) => Some(Moment::AfterSum),
            NodeFrame::Vote(_) => Some(Moment::AfterVote),
            NodeFrame::Reveal(_) => Some(Moment::AfterReveal),
            _ => None,
        };
        if moment == Some(Moment::AfterKeys) && self.killed(node, Moment::BeforeKeys) {
            return;
        }
        if moment == Some(Moment::AfterVote) && self.killed(node, Moment::BeforeVote) {
            return;
        }
        self.votes += usize::from(moment == Some(Moment::AfterVote));
        self.tell_relay(Event::Frame(self.id(node), frame));
        // With the last sum, all are collected.
        let too_late = moment == Some(Moment::AfterSum) && self.accumulator.is_some();
        if let Some(moment) = moment.filter(|_| !too_late) {
            self.killed(node, moment);
        }
    }

    pub(super) fn upload(&mut self, node: usize, body: BodyId, first_piece: usize, bytes: &[u8]) {
        let Some(serial) = self.members[node].link else {
            return;
        };
        for (index, bytes) in bytes.chunks(PIECE_BYTES).enumerate().skip(first_piece) {
            let bytes = bytes.to_vec();
            let piece = Happening::Piece {
                node,
                serial,
                body,
                index,
                bytes,
            };
            self.carry(serial, 2, piece);
        }
    }

    pub(super) fn piece_at_relay(&mut self, node: usize, body: BodyId, index: usize, bytes: &[u8]) {
        let id = self.id(node);
        if body.kind == BodyKind::Model {
            return self.lent(id, body, bytes);
        }
        let length = self.consortium.manifest.body_bytes();
        let Some(sum) = &mut self.accumulator else {
            return;
        };
        let Some((root, part)) = sum.parts.get_mut(&(id, body)) else {
            return;
        };
        let from = index * PIECE_BYTES;
        if from < part.len() {
            // It was asked for again while it was under way. The relay drops what it has.
            return;
        }
        assert_eq!(
            from,
            part.len(),
            "pieces come in order, from where they were missing"
        );
        part.extend_from_slice(bytes);
        if part.len() < length {
            self.killed(node, Moment::MidBody);
            return;
        }
        assert_eq!(
            ChunkHashes::of(part).root(),
            *root,
            "identical bytes, whatever happened"
        );
        self.tell_relay(Event::BodyAdded(id, body));
        self.killed(node, Moment::AfterBody);
    }

    fn lent(&mut self, id: NodeId, body: BodyId, bytes: &[u8]) {
        let length = 4 * self.consortium.manifest.parameters();
        let Some((_, here)) = self.loan.as_mut().filter(|(lender, _)| *lender == id) else {
            return;
        };
        here.extend_from_slice(bytes);
        if here.len() == length {
            assert_eq!(model_hash(&from_le_bytes(here)), body.subject);
            self.tell_relay(Event::BodyAdded(id, body));
        }
    }

    /// Kills the relay's process for a while. All that it remembers is gone then, its log included.
    pub(in crate::round) fn relay_loses_its_disk(&mut self, pause: Duration) {
        self.restart_relay(pause, false);
        let manifest = &self.consortium.manifest;
        self.relay_chain = Chain::start(manifest);
        self.relay_model = vec![0.0; manifest.parameters()];
        (self.averaged, self.checkpoint) = (None, None);
        self.relay_log = MemoryLog::new(manifest.sid(), Party::Relay);
    }

    pub(in crate::round) fn tell_relay(&mut self, event: Event) {
        let Some(relay) = &mut self.relay else {
            return;
        };
        let actions = relay.handle(self.now, event);
        let takes_back = |action: &Action| matches!(action, Action::TakeBack);
        let take_back = actions.iter().any(takes_back);
        for action in actions {
            self.relay_acts(action);
        }
        if take_back && self.take_back() {
            self.tell_relay(Event::TookBack);
        }
    }

    fn take_back(&mut self) -> bool {
        if let Some(left) = self.take_backs_to_fail.checked_sub(1) {
            self.take_backs_to_fail = left;
            return false;
        }
        self.last = None;
        self.averaged = None;
        self.result.clear();
        true
    }

    fn relay_acts(&mut self, action: Action) {
        let unix_s = self.unix_s();
        match action {
            Action::Log(entry) => self.relay_log.append(entry, unix_s),
            Action::Send(id, frame) => self.carry_to(id, frame, None),
            Action::TurnAway(id, refusal) => {
                self.turned_away.push((id, refusal.clone()));
                self.carry_to(id, RelayFrame::Refused(refusal), None);
                if let Some(node) = self.index(id) {
                    self.cut(node);
                }
            }
            Action::Receive { ctx, .. } => {
                let parts = BTreeMap::new();
                self.accumulator = Some(Accumulator { ctx, parts });
            }
            Action::Collect {
                node,
                ctx,
                body,
                root,
            } => {
                let first_chunk = self.expect((node, body), ctx, root);
                self.carry_to(node, RelayFrame::request(body, first_chunk), None);
            }
            Action::Average { chain, ctx, bodies } => self.average(chain, ctx, &bodies),
            Action::Discard => (self.accumulator, self.loan) = (None, None),
            Action::Keep => {
                let last = self.relay.as_ref().and_then(Relay::last_result).cloned();
                self.last = last.map(|last| (last, self.result.clone()));
            }
            Action::Commit(chain) => {
                let (averaged, model) = self.averaged.take().unwrap();
                assert_eq!((averaged, model_hash(&model)), (chain, chain.model));
                (self.relay_chain, self.relay_model) = (chain, model);
                self.agree(chain);
            }
            Action::Certify(checkpoint) => self.checkpoint = Some(checkpoint),
            Action::Borrow { node, model } => {
                self.loan = Some((node, Vec::new()));
                self.carry_to(node, RelayFrame::Lend { model }, None);
            }
            Action::Adopt(checkpoint) => {
                let (_, model) = self.loan.take().unwrap();
                self.relay_model = from_le_bytes(&model);
                self.relay_chain = checkpoint.chain;
                self.agree(checkpoint.chain);
                (self.last, self.averaged) = (None, None);
                self.checkpoint = Some(checkpoint);
            }
            // After all others.
            Action::TakeBack => {}
            Action::Deliver(id, outcome) => {
                let body = self.result.clone();
                self.carry_to(id, RelayFrame::Outcome(outcome), Some(body));
            }
            Action::Restore(id, checkpoint) => {
                let body = self
                    .relay_model
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect();
                self.carry_to(id, RelayFrame::Checkpoint(checkpoint), Some(body));
            }
            Action::Report(report) => {
                match &report {
                    Report::Completed(completed) => self.completed.push((**completed).clone()),
                    Report::Participants { nodes, .. } => self.participants.push(nodes.clone()),
                    _ => {}
                }
                self.reports.push(report);
            }
            Action::Finish => self.finished = true,
        }
    }

    fn index(&self, id: NodeId) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.site.id() == id)
    }

    fn carry_to(&mut self, id: NodeId, frame: RelayFrame, body: Option<Vec<u8>>) {
        let Some(node) = self.index(id) else { return };
        let Some(serial) = self.members[node].relay_link else {
            return;
        };
        self.carry(
            serial,
            0,
            Happening::ToNode {
                node,
                serial,
                frame,
            },
        );
        if let Some(body) = body {
            self.carry(serial, 0, Happening::Body { node, serial, body });
        }
    }

    /// The first piece that is missing.
    fn expect(&mut self, part: (NodeId, BodyId), ctx: Digest, root: Digest) -> u32 {
        let sum = self.accumulator.as_mut().filter(|sum| sum.ctx == ctx);
        let parts = &mut sum.unwrap().parts;
        let (expected, part) = parts.entry(part).or_insert((root, Vec::new()));
        assert_eq!(*expected, root);
        u32::try_from(part.len() / PIECE_BYTES).unwrap()
    }

    /// X must be the plain sum of the contributors' inputs.
    fn average(&mut self, chain: Chain, ctx: Digest, bodies: &[(NodeId, BodyId)]) {
        let sum = self.accumulator.take().unwrap();
        assert_eq!(sum.ctx, ctx);
        let mut plain = vec![0u32; self.consortium.manifest.elements()];
        let inputs = bodies.iter().filter(|(_, body)| body.kind == BodyKind::Sum);
        let contributors: Vec<_> = inputs.map(|(node, _)| *node).collect();
        for id in &contributors {
            let site = &self.members[self.index(*id).unwrap()].site;
            for (word, x) in plain.iter_mut().zip(&site.inputs[&ctx]) {
                *word = word.wrapping_add(*x);
            }
        }
        let plain: Vec<u8> = plain.iter().flat_map(|word| word.to_le_bytes()).collect();
        let plan = *self.consortium.manifest.fixed_point();
        let mut body = vec![0; plain.len()];
        for part in bodies {
            ring_bytes::add(plan.ring(), &mut body, &sum.parts[part].1);
        }
        assert_eq!(
            body, plain,
            "the sum of the masked inputs is the sum of the inputs"
        );
        let (life, nodes) = (self.relay_life, contributors.len());
        let result = average(&body, &self.relay_model, &plan, nodes, chain, ctx).map(Box::new);
        let takes = self.random(Duration::from_secs(1));
        self.after(takes, Happening::Averaged { life, body, result });
    }
}
