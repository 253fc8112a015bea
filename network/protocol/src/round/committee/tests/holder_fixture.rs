//! A consortium of seven with a committee of five, threshold 2, and all keys at hand to sign
//! anything with. Node 0 is a holder that keeps to the protocol.

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::Opening;
use crate::round::committee::message::{Contribution, ContributionId, Reveal, Vote};
use crate::round::committee::{ClassSet, Contributors, Envelope, Holders, SealedSeeds};
use crate::round::message::{Keys, Message, Signed};
use crate::round::node::{Action, Node};
use crate::round::{Head, Kind, Refusal, SentSums};
use crate::sim::EPOCH;
use crate::sim::{Consortium, OPEN_BOXES};
use crate::wire::{NodeFrame, RelayFrame};

/// Holders.
pub(super) const K: usize = 5;
/// Nodes.
pub(super) const N: usize = 7;

pub(super) struct HolderFixture {
    pub(super) consortium: Consortium,
    pub(super) holders: Holders,
    pub(super) node: Node,
}

impl HolderFixture {
    /// Node 0 serves as a holder.
    pub(super) fn serving() -> Self {
        Self::having_sent(|_| SentSums::default())
    }

    pub(super) fn having_sent(sent: impl FnOnce(&Consortium) -> SentSums) -> Self {
        let consortium = super::consortium(N, K, 2);
        let (manifest, head) = (
            consortium.manifest.clone(),
            Head::start(&consortium.manifest),
        );
        let sent = sent(&consortium);
        let identity = consortium.identities[0].clone();
        let mut node = Node::new(manifest.clone(), identity, head, sent, None, OPEN_BOXES);
        node.handle(convene(&head, 1), EPOCH).unwrap();
        let actions = node.keyed(1, vec![1; 32], EPOCH).unwrap();
        let [Action::Log(_), Action::Send(NodeFrame::Keys(own))] = &actions[..] else {
            panic!("{actions:?}")
        };
        let mut bundle = vec![own.keys.clone()];
        for k in 1..K {
            bundle.push(consortium.sign(k, &consortium.keys(k, &head, 1)));
        }
        let holders = Holders::verify(bundle.clone(), &manifest, &head, EPOCH).unwrap();
        let frame = consortium.keys_frame(0, &head, bundle);
        let actions = node.handle(frame, EPOCH).unwrap();
        assert!(matches!(actions[..], [Action::Log(_)]), "{actions:?}");
        Self {
            consortium,
            holders,
            node,
        }
    }

    /// It has accepted the contributions of all seven.
    pub(super) fn accepting() -> Self {
        let mut fixture = Self::serving();
        (0..N).for_each(|k| fixture.accept(k));
        fixture
    }

    pub(super) fn accept(&mut self, k: usize) {
        let seeds_for = self.seeds_for(k, 0, 0);
        let actions = self.send(RelayFrame::SealedSeeds(seeds_for)).unwrap();
        let [Action::Open(seeds_for)] = &actions[..] else {
            panic!("{actions:?}")
        };
        let actions = self
            .node
            .opened(seeds_for.ctx(), seeds_for.entry(), Ok(()))
            .unwrap();
        assert!(matches!(
            actions[..],
            [Action::Log(_), Action::Send(NodeFrame::Receipt(_))]
        ));
    }

    pub(super) fn ctx(&self) -> Digest {
        self.holders.ctx()
    }

    pub(super) fn id(&self, k: usize) -> NodeId {
        self.consortium.id(k)
    }

    pub(super) fn sign<T: Message>(&self, k: usize, message: &T) -> Signed<T> {
        self.consortium.sign(k, message)
    }

    /// Keys of node `k` as they should be.
    pub(super) fn keys(&self, k: usize, attempt: u32) -> Keys {
        let head = Head::start(&self.consortium.manifest);
        self.consortium.keys(k, &head, attempt)
    }

    /// Tells the node about these holders.
    pub(super) fn send_keys(&mut self, bundle: Vec<Signed<Keys>>) -> Result<Vec<Action>, Refusal> {
        let head = self.node.head();
        self.send(self.consortium.keys_frame(0, &head, bundle))
    }

    pub(super) fn send(&mut self, frame: RelayFrame) -> Result<Vec<Action>, Refusal> {
        self.node.handle(frame, EPOCH)
    }

    /// Seeds of node `k`; another `salt` makes others.
    pub(super) fn envelope(&self, k: usize, salt: u8) -> Envelope {
        let bytes =
            |what: u8, index: usize| vec![what, u8::try_from(index + 10 * k).unwrap(), salt];
        Envelope {
            commitments: (0..10)
                .map(|class| Digest::sha256(&[&bytes(1, class)]))
                .collect(),
            boxes: (0..K).map(|holder| bytes(2, holder)).collect(),
        }
    }

    pub(super) fn contribution(&self, k: usize, salt: u8) -> Contribution {
        Contribution {
            ctx: self.ctx(),
            node: self.id(k),
            root: Digest([salt; 32]),
            tag: [0; 2],
            envelope: self.envelope(k, salt).digest(),
        }
    }

    /// What the holder `to` gets of node `k`.
    pub(super) fn seeds_for(&self, k: usize, salt: u8, to: usize) -> SealedSeeds {
        let signed = self.sign(k, &self.contribution(k, salt));
        let place = self.holders.place(self.id(to)).unwrap();
        self.envelope(k, salt).seeds_for(&signed, place).unwrap()
    }

    pub(super) fn entry(&self, k: usize, salt: u8) -> ContributionId {
        ContributionId::of(self.id(k), &self.sign(k, &self.contribution(k, salt)))
    }

    /// The list of these nodes' contributions.
    pub(super) fn entries(&self, nodes: impl IntoIterator<Item = usize>) -> Vec<ContributionId> {
        let mut entries: Vec<_> = nodes.into_iter().map(|k| self.entry(k, 0)).collect();
        entries.sort();
        entries
    }

    pub(super) fn contributors(&self, nodes: impl IntoIterator<Item = usize>) -> Contributors {
        Contributors::new(self.ctx(), self.entries(nodes), Kind::Ballot).unwrap()
    }

    pub(super) fn vote(&self, k: usize, contributors: &Contributors) -> Signed<Vote> {
        let vote = Vote {
            ctx: self.ctx(),
            holder: self.id(k),
            contributors: contributors.digest(),
        };
        self.sign(k, &vote)
    }

    pub(super) fn votes(
        &self,
        holders: std::ops::Range<usize>,
        contributors: &Contributors,
    ) -> Vec<Signed<Vote>> {
        holders.map(|k| self.vote(k, contributors)).collect()
    }

    pub(super) fn ballot(&self, nodes: impl IntoIterator<Item = usize>) -> RelayFrame {
        RelayFrame::Ballot {
            ctx: self.ctx(),
            entries: self.entries(nodes),
        }
    }

    /// A request to node 0 to reveal its first two classes for the first `n` contributors.
    pub(super) fn order(&self, n: usize, votes: Vec<Signed<Vote>>) -> RelayFrame {
        RelayFrame::Reveal {
            ctx: self.ctx(),
            entries: self.entries(0..n),
            votes,
            classes: ClassSet::of(self.classes_of(0).iter().take(2)),
        }
    }

    pub(super) fn classes_of(&self, k: usize) -> ClassSet {
        self.holders.committee().held_by(self.id(k))
    }

    pub(super) fn reveal(
        &self,
        k: usize,
        contributors: &Contributors,
        classes: ClassSet,
    ) -> Reveal {
        Reveal {
            ctx: self.ctx(),
            holder: self.id(k),
            contributors: contributors.digest(),
            classes,
            root: Digest([u8::try_from(k).unwrap(); 32]),
            tag: [0; 2],
        }
    }
}

pub(super) fn convene(head: &Head, attempt: u32) -> RelayFrame {
    RelayFrame::Convene(Opening::after(head, attempt))
}
