//! What a hostile relay has seen, and what it can make of that.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fl_network::relay::{Flow, Parcel};
use fl_protocol::digest::ChunkHashes;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::message::{Keys, Message, Signed};
use fl_protocol::round::peer::message::Share;
use fl_protocol::round::peer::{Participants, SealedShare};
use fl_protocol::round::training::average;
use fl_protocol::round::{Head, Outcome};
use fl_protocol::wire::{BodyId, BulkHeader, NodeFrame, RelayFrame};
use fl_shaders::Addends;

/// All that the relay has seen, to be used again where it does not belong.
pub struct Record {
    /// The consortium's agreement.
    pub manifest: Arc<Manifest>,
    /// Frames of nodes, the last one at the end.
    pub heard: Vec<(NodeId, NodeFrame)>,
    /// Bodies of nodes that are here whole, the last one at the end.
    pub bodies: Vec<(NodeId, BodyId)>,
    /// Bundles of keys, one an attempt, as an honest relay sends them.
    pub bundles: Vec<Vec<Signed<Keys>>>,
    /// Outcomes and their sums, one a round.
    pub results: Vec<(Outcome, Bytes)>,
    /// Where the relay stood before the last of them.
    pub base: Head,
    /// Its model then.
    pub base_model: Arc<Vec<f32>>,
    /// Where the relay stands now.
    head: Head,
    /// Its model now.
    model: Arc<Vec<f32>>,
}

impl Record {
    /// Of a relay at its beginning, which has seen nothing.
    pub(super) fn new(manifest: Arc<Manifest>, model: Arc<Vec<f32>>) -> Self {
        let head = Head::start(&manifest);
        Self {
            manifest,
            heard: Vec::new(),
            bodies: Vec::new(),
            bundles: Vec::new(),
            results: Vec::new(),
            base: head,
            base_model: model.clone(),
            head,
            model,
        }
    }

    /// Takes in what an honest relay sends at one time.
    pub(super) fn sent(&mut self, parcels: &[Parcel]) {
        match parcels {
            [Parcel::Frame(RelayFrame::Keys { bundle, .. })]
                if self.bundles.last() != Some(bundle) =>
            {
                self.bundles.push(bundle.clone());
            }
            [
                Parcel::Frame(RelayFrame::Outcome(outcome)),
                Parcel::Body(_, sum, _),
            ] if self.results.last().is_none_or(|(last, _)| last != outcome) => {
                self.publish(outcome.clone(), sum.clone());
            }
            _ => {}
        }
    }

    /// Takes in a new result.
    fn publish(&mut self, outcome: Outcome, sum: Bytes) {
        let (plan, addends) = (self.manifest.fixed_point(), self.addends(&outcome));
        let averaged = average(&sum, &self.model, plan, addends, self.head, outcome.ctx).unwrap();
        self.base = std::mem::replace(&mut self.head, averaged.head);
        self.base_model = std::mem::replace(&mut self.model, averaged.model);
        self.results.push((outcome, sum));
    }

    /// Takes in that the relay has forgotten all rounds.
    pub(super) fn restart(&mut self, model: Arc<Vec<f32>>) {
        (self.head, self.model) = (Head::start(&self.manifest), model);
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        &self.manifest.roster()[&node].name
    }

    /// The node of this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn id(&self, name: &str) -> NodeId {
        let mut roster = self.manifest.roster().iter();
        *roster.find(|(_, member)| member.name == name).unwrap().0
    }

    /// The sealed shares of all nodes so far, in the order in which they came.
    pub fn boxes(&self) -> Vec<(Share, SealedShare)> {
        let lists = self.heard.iter().filter_map(|(_, frame)| match frame {
            NodeFrame::Shares(list) => Some(list),
            _ => None,
        });
        let opened = |sealed: &SealedShare| (self.opened(&sealed.share), sealed.clone());
        lists.flatten().map(opened).collect()
    }

    /// The last box for the node of this name, or, if `to` is false, for any other.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn last_box(&self, to: bool, name: &str) -> SealedShare {
        let addressee = self.id(name);
        let mut boxes = self.boxes().into_iter().rev();
        let chosen = boxes.find(|(share, _)| (share.to == addressee) == to);
        chosen.unwrap().1
    }

    /// The frame with which an honest relay shows a node these keys of nodes that stand where the
    /// relay does.
    ///
    /// # Panics
    ///
    /// If they are not the keys of an attempt.
    pub fn keys_frame(&self, to: NodeId, bundle: Vec<Signed<Keys>>) -> RelayFrame {
        let offers = self.heard.iter().filter_map(|(node, frame)| match frame {
            NodeFrame::Keys(offer) if bundle.contains(&offer.keys) => {
                Some((*node, offer.round_key.clone()))
            }
            _ => None,
        });
        let round_keys = offers.collect();
        let (manifest, nobody) = (&self.manifest, BTreeSet::new());
        let participants = Participants::of_result(bundle, manifest, &self.head, 0, &nobody);
        participants.unwrap().frame_for(to, &round_keys)
    }

    /// What was signed.
    ///
    /// # Panics
    ///
    /// If the signature does not hold.
    pub fn opened<T: Message>(&self, signed: &Signed<T>) -> T {
        signed.verify(&self.manifest, 0).unwrap()
    }

    /// What a result is the sum of.
    fn addends(&self, outcome: &Outcome) -> Addends {
        self.manifest.addends(&outcome.parts.nodes(&self.manifest))
    }

    /// The last result with another sum, and a root and, where the sum can be averaged, a model
    /// that go with it.
    pub fn forged(&self, body: Vec<u8>) -> Vec<Parcel> {
        let (mut outcome, _) = self.results.last().unwrap().clone();
        outcome.root = ChunkHashes::of(&body).root();
        let (plan, addends) = (self.manifest.fixed_point(), self.addends(&outcome));
        let ctx = outcome.ctx;
        if let Ok(averaged) = average(&body, &self.base_model, plan, addends, self.base, ctx) {
            outcome.model = averaged.head.model;
        }
        result(outcome, body.into())
    }
}

/// An outcome and its body.
pub fn result(outcome: Outcome, body: Bytes) -> Vec<Parcel> {
    let header = header(BodyId::result(outcome.ctx));
    let frame = Parcel::Frame(RelayFrame::Outcome(outcome));
    vec![frame, Parcel::Body(header, body, Flow::Whole)]
}

/// The header of a body from its first chunk on.
pub fn header(body: BodyId) -> BulkHeader {
    BulkHeader {
        body,
        first_chunk: 0,
    }
}
