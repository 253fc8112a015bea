//! The committee scheme: what holders decide on and open, whatever they are sent.
//!
//! Four holders of whom one may collude, so that three votes decide; five contributors, the holders
//! among them. As in [`crate::rounds`], an input is a list of steps of three bytes. All keys are
//! there to sign with, so that nothing is refused for want of a signature but where a step wants
//! that.

pub(crate) mod decision;
pub(crate) mod holder;

use std::sync::OnceLock;

use fl_protocol::digest::Digest;
use fl_protocol::manifest::{CommitteeTable, Scheme};
use fl_protocol::round::committee::message::{Contribution, ContributionId, Reveal, Vote};
use fl_protocol::round::committee::{ClassSet, Contributors, Envelope, Holders};
use fl_protocol::round::{Head, Kind};
use fl_protocol::sim::{Consortium, EPOCH};

use crate::fixture::{authority, identities, manifest_file};

/// Holders, who are the first of the nodes.
const HOLDERS: usize = 4;
/// Contributors, holders included.
const NODES: usize = 5;
/// Votes that decide.
const QUORUM: usize = 3;

/// The consortium.
pub(crate) fn committee() -> &'static Consortium {
    static COMMITTEE: OnceLock<Consortium> = OnceLock::new();
    COMMITTEE.get_or_init(|| {
        let identities = identities(NODES);
        let mut file = manifest_file(&identities);
        file.scheme = Scheme::Committee;
        file.committee = Some(CommitteeTable {
            holders: (0..HOLDERS).map(|node| format!("node-{node}")).collect(),
            threshold: 1,
        });
        Consortium::signed(identities, &file, authority())
    })
}

/// Where everyone stands.
fn head() -> Head {
    Head::start(&committee().manifest)
}

/// All holders of an attempt.
pub(crate) fn holders(attempt: u32) -> Holders {
    let keys = |node| committee().sign(node, &committee().keys(node, &head(), attempt));
    let keys = (0..HOLDERS).map(keys).collect();
    let holders = Holders::verify(keys, &committee().manifest, &head(), EPOCH);
    holders.expect("a sound bundle")
}

/// Seeds of a node; another `salt` makes others. Nobody opens them.
fn envelope(holders: &Holders, node: usize, salt: u8) -> Envelope {
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

pub(crate) fn contribution(holders: &Holders, node: usize, salt: u8) -> Contribution {
    Contribution {
        ctx: holders.ctx(),
        node: committee().id(node),
        root: Digest([salt; 32]),
        tag: [3, 4],
        envelope: envelope(holders, node, salt).digest(),
    }
}

fn entry(holders: &Holders, node: usize, salt: u8) -> ContributionId {
    let contribution = committee().sign(node, &contribution(holders, node, salt));
    ContributionId {
        node: committee().id(node),
        contribution: Digest::sha256(&[contribution.bytes()]),
    }
}

/// The list of the nodes whose bit is set in `nodes`, with contributions of this salt.
pub(crate) fn contributors(holders: &Holders, nodes: u8, salt: u8) -> Contributors {
    let nodes = (0..NODES).filter(|node| nodes & 1 << node != 0);
    let mut entries: Vec<_> = nodes.map(|node| entry(holders, node, salt)).collect();
    entries.sort();
    let contributors = Contributors::new(holders.ctx(), entries, Kind::Ballot);
    contributors.expect("each node once")
}

pub(crate) fn vote(ctx: Digest, node: usize, contributors: Digest) -> Vote {
    Vote {
        ctx,
        holder: committee().id(node),
        contributors,
    }
}

pub(crate) fn reveal(ctx: Digest, node: usize, contributors: Digest, classes: ClassSet) -> Reveal {
    Reveal {
        ctx,
        holder: committee().id(node),
        contributors,
        classes,
        root: Digest([node as u8; 32]),
        tag: [1, 2],
    }
}

/// The classes whose bit is set in `bits`.
fn classes(bits: u8) -> ClassSet {
    ClassSet::of((0..HOLDERS).filter(|class| bits & 1 << class != 0))
}
