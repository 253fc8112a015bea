//! The relay's driver as the tests have it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Accumulator, Federation, Happening, Moment};
use crate::digest::{ChunkHashes, Digest, model_hash};
use crate::identity::NodeId;
use crate::round::relay::{Action, Event, Relay, Report};
use crate::round::tests::site::PIECE_BYTES;
use crate::round::{Chain, average};
use crate::wire::{NodeFrame, RelayFrame};
use crate::words;

impl Federation {
    pub(super) fn frame_at_relay(&mut self, node: usize, frame: NodeFrame) {
        let moment = match &frame {
            NodeFrame::Keys(_) => Some(Moment::AfterKeys),
            NodeFrame::Shares(_) => Some(Moment::AfterShares),
            NodeFrame::Sum(_) => Some(Moment::AfterSum),
            _ => None,
        };
        if moment == Some(Moment::AfterKeys) && self.killed(node, Moment::BeforeKeys) {
            return;
        }
        self.tell_relay(Event::Frame(self.id(node), frame));
        // With the last sum, all are collected.
        let too_late = moment == Some(Moment::AfterSum) && self.accumulator.is_some();
        if let Some(moment) = moment.filter(|_| !too_late) {
            self.killed(node, moment);
        }
    }

    pub(super) fn piece_at_relay(&mut self, node: usize, ctx: Digest, index: usize, bytes: &[u8]) {
        let (id, ring) = (self.id(node), self.consortium.manifest.fixed_point().ring());
        let Some(sum) = self.accumulator.as_mut().filter(|sum| sum.ctx == ctx) else {
            return;
        };
        let length = sum.sum.len();
        let Some((root, part)) = sum.parts.get_mut(&id) else {
            return;
        };
        let from = index * PIECE_BYTES;
        assert_eq!(
            from,
            part.len(),
            "pieces come in order, from where they were missing"
        );
        words::add(ring, &mut sum.sum[from..from + bytes.len()], bytes);
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
        self.tell_relay(Event::BodyAdded(id));
        self.killed(node, Moment::AfterBody);
    }

    pub(in super::super) fn tell_relay(&mut self, event: Event) {
        let unix_s = self.unix_s();
        let (Some(relay), Some(journal)) = (&mut self.relay, &mut self.relay_journal) else {
            return;
        };
        let heard = journal.hears(&event);
        let actions = relay.handle(self.now, event);
        journal.acts(heard, &actions, relay, unix_s);
        for action in actions {
            self.relay_acts(action);
        }
    }

    fn relay_acts(&mut self, action: Action) {
        match action {
            Action::Send(id, frame) => self.carry_to(id, frame, None),
            Action::TurnAway(id, refusal) => {
                self.turned_away.push((id, refusal.clone()));
                self.carry_to(id, RelayFrame::Refused(refusal), None);
                if let Some(node) = self.index(id) {
                    self.cut(node);
                }
            }
            Action::Accumulate { ctx } => {
                let sum = vec![0; self.consortium.manifest.body_bytes()];
                self.accumulator = Some(Accumulator {
                    ctx,
                    sum,
                    parts: BTreeMap::new(),
                });
            }
            Action::Collect { node, ctx, root } => {
                let sum = self
                    .accumulator
                    .as_mut()
                    .filter(|sum| sum.ctx == ctx)
                    .unwrap();
                let (expected, part) = sum.parts.entry(node).or_insert((root, Vec::new()));
                assert_eq!(*expected, root);
                let first_chunk = u32::try_from(part.len() / PIECE_BYTES).unwrap();
                self.carry_to(node, RelayFrame::Collect { ctx, first_chunk }, None);
            }
            Action::Average { chain, ctx, nodes } => self.average(chain, ctx, nodes),
            Action::Discard => self.accumulator = None,
            Action::Commit(chain) => {
                self.relay_chain = chain;
                assert_eq!(model_hash(&self.relay_model), chain.model);
                self.agree(chain);
                let last = self.relay.as_ref().and_then(Relay::last_result).cloned();
                self.last = last.map(|last| (last, self.result.clone()));
            }
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

    /// X must be the plain sum of the participants' inputs.
    fn average(&mut self, chain: Chain, ctx: Digest, nodes: usize) {
        let sum = self.accumulator.take().unwrap();
        assert_eq!(sum.ctx, ctx);
        assert_eq!(sum.parts.len(), nodes);
        let mut plain = vec![0u32; self.consortium.manifest.elements()];
        let contributors: BTreeSet<_> = sum.parts.keys().copied().collect();
        for id in contributors {
            let site = &self.members[self.index(id).unwrap()].site;
            for (word, x) in plain.iter_mut().zip(&site.inputs[&ctx]) {
                *word = word.wrapping_add(*x);
            }
        }
        let plain: Vec<u8> = plain.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(
            sum.sum, plain,
            "the sum of the masked sums is the sum of the inputs"
        );
        let plan = *self.consortium.manifest.fixed_point();
        let (body, life) = (sum.sum, self.relay_life);
        let root = ChunkHashes::of(&body).root();
        let result =
            average(&body, &self.relay_model, &plan, nodes, chain, ctx, root).map(Box::new);
        let takes = self.random(Duration::from_secs(1));
        self.after(takes, Happening::Averaged { life, body, result });
    }
}
