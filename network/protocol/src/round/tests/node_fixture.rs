//! One honest node, brought to each phase by hand, and all that a relay with everyone else's keys
//! could send it.

use std::collections::BTreeSet;

use fl_shaders::Counters;

use crate::digest::{ChunkHashes, Digest};
use crate::identity::NodeId;
use crate::round::Opening;
use crate::round::message::{Keys, Message, ResultAck, Signed};
use crate::round::node::{Action, Node, Pending};
use crate::round::peer::message::Sum;
use crate::round::peer::{OpenedSum, Participants, SealedShare, TagShare};
use crate::round::training::average;
use crate::round::{Evidence, Head, Outcome, Refusal, SentSums};
use crate::sim::EPOCH;
use crate::sim::{Consortium, OPEN_BOXES};
use crate::wire::{NodeFrame, RelayFrame};

/// What every node has for its share of the tags' sum.
pub(super) const TAG_SHARE: TagShare = TagShare {
    tag: [0; 2],
    nonce: [5; 32],
};

/// Asks for a masked sum, and shows these signed sums.
pub(super) fn collect(ctx: Digest, sums: Vec<Signed<Sum>>) -> RelayFrame {
    RelayFrame::Collect {
        ctx,
        first_chunk: 0,
        sums,
    }
}

pub(super) struct NodeFixture {
    pub(super) consortium: Consortium,
    pub(super) node: Node,
}

impl NodeFixture {
    /// Node 0 of `n`, idle.
    pub(super) fn idle(n: usize) -> Self {
        Self::having_sent(n, |_| SentSums::default())
    }

    pub(super) fn having_sent(n: usize, sent: impl FnOnce(&Consortium) -> SentSums) -> Self {
        let consortium = Consortium::new(n);
        let (manifest, identity) = (
            consortium.manifest.clone(),
            consortium.identities[0].clone(),
        );
        let head = Head::start(&manifest);
        let sent = sent(&consortium);
        let node = Node::new(manifest, identity, head, sent, None, OPEN_BOXES);
        Self { consortium, node }
    }

    pub(super) fn id(&self, k: usize) -> NodeId {
        self.consortium.id(k)
    }

    pub(super) fn sign<T: Message>(&self, k: usize, message: &T) -> Signed<T> {
        self.consortium.sign(k, message)
    }

    pub(super) fn send(&mut self, frame: RelayFrame) -> Result<Vec<Action>, Refusal> {
        self.node.handle(frame, EPOCH)
    }

    /// Tells the node about these participants.
    pub(super) fn send_keys(&mut self, bundle: Vec<Signed<Keys>>) -> Result<Vec<Action>, Refusal> {
        let head = self.node.head();
        self.send(self.consortium.keys_frame(0, &head, bundle))
    }

    pub(super) fn open(&self, round: u64, attempt: u32) -> RelayFrame {
        let head = Head::start(&self.consortium.manifest);
        let (previous, model) = (head.previous, head.model);
        RelayFrame::Open {
            opening: Opening {
                round,
                attempt,
                previous,
                model,
            },
            deadline_ms: 1000,
        }
    }

    /// Offers itself for an attempt of round 1; gives its keys.
    pub(super) fn offers(&mut self, attempt: u32) -> Signed<Keys> {
        let open = self.open(1, attempt);
        self.send(open).unwrap();
        let actions = self.node.trained(1);
        assert!(matches!(actions[..], [Action::DrawRoundKey { .. }]));
        let actions = self.node.keyed(1, vec![1; 32], EPOCH).unwrap();
        let [Action::Log(_), Action::Send(NodeFrame::Keys(offer))] = &actions[..] else {
            panic!("{actions:?}")
        };
        offer.keys.clone()
    }

    /// Keys of node `k` as they should be.
    pub(super) fn keys(&self, k: usize, attempt: u32) -> Keys {
        let head = Head::start(&self.consortium.manifest);
        self.consortium.keys(k, &head, attempt)
    }

    /// Its own keys, and those of `others`.
    pub(super) fn bundle(
        &self,
        own: &Signed<Keys>,
        others: impl IntoIterator<Item = usize>,
        attempt: u32,
    ) -> Vec<Signed<Keys>> {
        let others = others
            .into_iter()
            .map(|k| self.sign(k, &self.keys(k, attempt)));
        others.chain([own.clone()]).collect()
    }

    /// Takes part with nodes `others`, as far as having given its shares.
    pub(super) fn shares_with(
        &mut self,
        others: std::ops::Range<usize>,
        attempt: u32,
    ) -> Participants {
        let own = self.offers(attempt);
        let bundle = self.bundle(&own, others, attempt);
        let manifest = &self.consortium.manifest;
        let head = Head::start(manifest);
        let participants =
            Participants::verify(bundle.clone(), manifest, &head, EPOCH, &BTreeSet::new()).unwrap();
        let actions = self.send_keys(bundle).unwrap();
        let [Action::Log(_), Action::Seal { ctx, receivers }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(*ctx, participants.ctx());
        let sealed = receivers.iter().map(|(id, _)| (*id, vec![0; 80])).collect();
        self.node.sealed(*ctx, sealed).unwrap();
        participants
    }

    pub(super) fn share(&self, from: usize, to: usize, ctx: Digest) -> SealedShare {
        let (from_to, identity) = (
            (self.id(from), self.id(to)),
            &self.consortium.identities[from],
        );
        SealedShare::new(ctx, from_to, vec![1; 80], identity).unwrap()
    }

    /// The nodes that give node `to` a share.
    pub(super) fn givers(&self, to: usize, participants: &Participants) -> Vec<usize> {
        let nodes = 0..self.consortium.identities.len();
        nodes
            .filter(|from| participants.gives(self.id(*from), self.id(to)))
            .collect()
    }

    /// The nodes that node `from` gives a share.
    pub(super) fn receivers(&self, from: usize, participants: &Participants) -> Vec<usize> {
        let nodes = 0..self.consortium.identities.len();
        nodes
            .filter(|to| participants.gives(self.id(from), self.id(*to)))
            .collect()
    }

    /// Holds a masked sum over itself and `others`, whose bytes are `body`.
    pub(super) fn holds(
        &mut self,
        others: std::ops::Range<usize>,
        attempt: u32,
        body: &[u8],
    ) -> (Participants, Signed<Sum>) {
        let participants = self.shares_with(others, attempt);
        let ctx = participants.ctx();
        let givers = self.givers(0, &participants).into_iter();
        let shares = givers.map(|k| self.share(k, 0, ctx)).collect();
        let actions = self.send(RelayFrame::Shares(shares)).unwrap();
        assert!(
            matches!(actions[..], [Action::Log(_), Action::Sum(_)]),
            "{actions:?}"
        );
        let root = ChunkHashes::of(body).root();
        let announcement = self.node.summed(ctx, root, TAG_SHARE).unwrap();
        let Pending::Sum(pending) = announcement.unwrap().pending else {
            panic!("a contribution")
        };
        (participants, pending.sum)
    }

    pub(super) fn sum(&self, k: usize, ctx: Digest) -> Signed<Sum> {
        self.sum_of(k, ctx, ctx)
    }

    /// The sum of node `k` whose bytes have this root.
    pub(super) fn sum_of(&self, k: usize, ctx: Digest, root: Digest) -> Signed<Sum> {
        let node = self.id(k);
        let tag_commitment = TAG_SHARE.commitment(ctx, node);
        self.sign(
            k,
            &Sum {
                ctx,
                node,
                root,
                tag_commitment,
            },
        )
    }

    /// `own`, and the sums of the others.
    pub(super) fn sums(
        &self,
        own: &Signed<Sum>,
        others: impl IntoIterator<Item = usize>,
        ctx: Digest,
    ) -> Vec<Signed<Sum>> {
        let others = others.into_iter().map(|k| self.sum(k, ctx));
        others.chain([own.clone()]).collect()
    }

    pub(super) fn ack(&self, k: usize, head: Head) -> Signed<ResultAck> {
        let (consortium_id, node) = (self.consortium.manifest.consortium_id(), self.id(k));
        self.sign(
            k,
            &ResultAck {
                consortium_id,
                node,
                head,
            },
        )
    }

    /// A sum that `nodes` participants can have.
    pub(super) fn result(&self, nodes: u64) -> Vec<u8> {
        let plan = self.consortium.manifest.fixed_point();
        let totals = Counters {
            examples: 100 * nodes,
            clipped: 0,
            tallies: vec![5, 5, 0, 0, 0, 0],
        };
        let mut words = totals.to_header::<u32>(plan);
        words.extend(
            (0..self.consortium.manifest.parameters()).map(|e| 1000 * u32::try_from(e).unwrap()),
        );
        assert_eq!(
            words.len(),
            plan.header_words() + self.consortium.manifest.parameters()
        );
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The outcome that goes with `body`, as an honest relay would publish it.
    pub(super) fn outcome(
        &self,
        participants: &Participants,
        sums: Vec<Signed<Sum>>,
        body: &[u8],
    ) -> Outcome {
        let manifest = &self.consortium.manifest;
        let base = vec![0.0; manifest.parameters()];
        let (root, ctx) = (ChunkHashes::of(body).root(), participants.ctx());
        let (head, plan) = (Head::start(manifest), manifest.fixed_point());
        let addends = manifest.addends(&participants.set());
        let averaged = average(body, &base, plan, addends, head, ctx);
        let model = averaged.map_or(root, |averaged| averaged.head.model);
        Outcome {
            ctx,
            bundle: participants.bundle().to_vec(),
            parts: Evidence::Sums(
                sums.into_iter()
                    .map(|sum| OpenedSum {
                        sum,
                        tag_share: TAG_SHARE,
                    })
                    .collect(),
            ),
            root,
            model,
        }
    }
}
