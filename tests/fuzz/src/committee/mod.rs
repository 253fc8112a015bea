//! The committee scheme: what holders decide on and open, whatever they are sent.
//!
//! Four holders of whom one may collude, so that three votes decide; five contributors, the holders among them. As in
//! [`crate::rounds`], an input is a list of steps of three bytes. All keys are there to sign with, so that nothing is
//! refused for want of a signature but where a step wants that.

pub(crate) mod decision;
pub(crate) mod holder;

use std::sync::{Arc, OnceLock};

use fl_protocol::digest::Digest;
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::manifest::{CommitteeTable, Manifest, Scheme};
use fl_protocol::round::committee::message::{Contribution, Entry, Reveal, Vote};
use fl_protocol::round::committee::{ClassSet, Contributors, Envelope, Holders};
use fl_protocol::round::message::{Keys, Message, Signed};
use fl_protocol::round::{Chain, Kind};

use crate::fixture::{self, EPOCH};

/// Holders, who are the first of the nodes.
const HOLDERS: usize = 4;
/// Contributors, holders included.
const NODES: usize = 5;
/// Votes that decide.
const QUORUM: usize = 3;

pub(crate) struct Committee {
    identities: Vec<Identity>,
    pub(crate) manifest: Arc<Manifest>,
}

/// The consortium.
pub(crate) fn committee() -> &'static Committee {
    static COMMITTEE: OnceLock<Committee> = OnceLock::new();
    COMMITTEE.get_or_init(|| {
        let identities = (0..NODES).map(|node| fixture::identity(&format!("node {node}")));
        let identities: Vec<_> = identities.collect();
        let mut file = fixture::manifest_file(&identities);
        file.scheme = Scheme::Committee;
        file.committee = Some(CommitteeTable {
            holders: (0..HOLDERS).map(|node| format!("node-{node}")).collect(),
            threshold: 1,
        });
        let manifest = Manifest::sign(&file, &fixture::identity("authority"));
        Committee {
            identities,
            manifest: Arc::new(manifest.expect("a sound manifest")),
        }
    })
}

impl Committee {
    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.identities[node].node_id()
    }

    pub(crate) fn index(&self, id: NodeId) -> usize {
        let mut nodes = self.identities.iter();
        let index = nodes.position(|identity| identity.node_id() == id);
        index.expect("a node of the consortium")
    }

    pub(crate) fn sign<T: Message>(&self, node: usize, message: &T) -> Signed<T> {
        Signed::new(message, &self.identities[node]).expect("a short message")
    }

    pub(crate) fn chain(&self) -> Chain {
        Chain::start(&self.manifest)
    }

    pub(crate) fn keys(&self, node: usize, attempt: u32) -> Keys {
        let chain = self.chain();
        Keys {
            sid: self.manifest.sid(),
            node: self.id(node),
            round: chain.next_round(),
            attempt,
            previous: chain.previous,
            model: chain.model,
            round_key: [u8::try_from(node).expect("a small number"); 32],
            expires_unix_s: EPOCH + 1000,
        }
    }

    /// All holders of an attempt.
    pub(crate) fn holders(&self, attempt: u32) -> Holders {
        let keys = (0..HOLDERS).map(|node| self.sign(node, &self.keys(node, attempt)));
        let holders = Holders::verify(keys.collect(), &self.manifest, &self.chain(), EPOCH);
        holders.expect("a sound bundle")
    }

    /// The classes that a holder holds: all but the one that excludes it.
    pub(crate) fn held_by(&self, node: usize) -> ClassSet {
        let committee = self.manifest.committee().expect("of the committee scheme");
        committee.held_by(self.id(node))
    }

    /// Seeds of a node; another `salt` makes others. Nobody opens them.
    pub(crate) fn envelope(&self, holders: &Holders, node: usize, salt: u8) -> Envelope {
        let bytes = |what: usize, index: usize| [what, index, node].map(|part| part as u8);
        Envelope {
            commitments: (0..holders.commitments())
                .map(|class| Digest::sha256(&[&bytes(1, class), &[salt]]))
                .collect(),
            boxes: (0..holders.len())
                .map(|place| [&bytes(2, place)[..], &[salt]].concat())
                .collect(),
        }
    }

    pub(crate) fn contribution(&self, holders: &Holders, node: usize, salt: u8) -> Contribution {
        Contribution {
            ctx: holders.ctx(),
            node: self.id(node),
            root: Digest([salt; 32]),
            tag: [3, 4],
            envelope: self.envelope(holders, node, salt).digest(),
        }
    }

    fn entry(&self, holders: &Holders, node: usize, salt: u8) -> Entry {
        let contribution = self.sign(node, &self.contribution(holders, node, salt));
        Entry {
            node: self.id(node),
            contribution: Digest::sha256(&[contribution.bytes()]),
        }
    }

    /// The list of the nodes whose bit is set in `nodes`, with contributions of this salt.
    pub(crate) fn contributors(&self, holders: &Holders, nodes: u8, salt: u8) -> Contributors {
        let nodes = (0..NODES).filter(|node| nodes & 1 << node != 0);
        let mut entries: Vec<_> = nodes.map(|node| self.entry(holders, node, salt)).collect();
        entries.sort();
        let contributors = Contributors::new(holders.ctx(), entries, Kind::Ballot);
        contributors.expect("each node once")
    }

    pub(crate) fn vote(&self, ctx: Digest, node: usize, contributors: Digest) -> Vote {
        Vote {
            ctx,
            holder: self.id(node),
            contributors,
        }
    }

    pub(crate) fn reveal(
        &self,
        ctx: Digest,
        node: usize,
        contributors: Digest,
        classes: ClassSet,
    ) -> Reveal {
        Reveal {
            ctx,
            holder: self.id(node),
            contributors,
            classes,
            root: Digest([node as u8; 32]),
            tag: [1, 2],
        }
    }
}

/// The classes whose bit is set in `bits`.
fn classes(bits: u8) -> ClassSet {
    ClassSet::of((0..HOLDERS).filter(|class| bits & 1 << class != 0))
}
