//! What a result rests on, put together in any way: it is accepted if, and only if, the rule says
//! so.

use std::collections::BTreeSet;

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::committee::message::{Contribution, ContributionId, Reveal, Vote};
use fl_protocol::round::committee::{Contributors, Decision, Holders};
use fl_protocol::round::message::Signed;
use fl_protocol::round::{CheckedOutcome, Evidence, Kind, Outcome};
use fl_protocol::sim::EPOCH;

use super::{HOLDERS, NODES, QUORUM, classes, committee, head, holders};
use crate::Seed;
use crate::rounds::{Step, seed, steps};

const ALL: u8 = 0b1_1111;
const FEW: u8 = 0b0_1111;

/// How results are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// As nodes do it.
    Sound,
    /// But a vote that is there twice counts once, and is no offence.
    Lenient,
}

/// A message, and whether it is what it should be beside what it says.
struct Listed<T> {
    message: T,
    signed: Signed<T>,
    genuine: bool,
}

#[derive(Default)]
struct Parcel {
    contributions: Vec<Listed<Contribution>>,
    votes: Vec<Listed<Vote>>,
    reveals: Vec<Listed<Reveal>>,
}

pub(crate) fn decision(data: &[u8]) {
    decision_of(Check::Sound, data);
}

pub(crate) fn decision_of(check: Check, data: &[u8]) {
    let holders = holders(1);
    let mut parcel = Parcel::default();
    for step in steps(data).take(40) {
        parcel.add(&holders, *step);
    }
    let expected = parcel.is_decided(&holders);
    if check == Check::Lenient {
        let mut seen = BTreeSet::new();
        parcel.votes.retain(|vote| seen.insert(vote.message.holder));
    }
    compare(&parcel, &holders, expected);
}

fn compare(parcel: &Parcel, holders: &Holders, expected: bool) {
    let outcome = Outcome {
        ctx: holders.ctx(),
        bundle: holders.bundle().to_vec(),
        parts: Evidence::Decision(Decision {
            contributions: signed(&parcel.contributions),
            votes: signed(&parcel.votes),
            reveals: signed(&parcel.reveals),
        }),
        root: Digest([0; 32]),
        model: Digest([0; 32]),
    };
    let manifest = &committee().manifest;
    let found = CheckedOutcome::verify(outcome, None, manifest, &head(), EPOCH, &BTreeSet::new());
    assert_eq!(
        found.is_ok(),
        expected,
        "a result is not judged by the rule: {:?}",
        found.err()
    );
    if let Ok(checked) = found {
        let nodes = parcel.contributions.iter();
        let nodes: BTreeSet<_> = nodes.map(|listed| listed.message.node).collect();
        assert_eq!(*checked.nodes(), nodes);
    }
}

fn signed<T>(listed: &[Listed<T>]) -> Vec<Signed<T>>
where
    Signed<T>: Clone,
{
    listed.iter().map(|listed| listed.signed.clone()).collect()
}

impl Parcel {
    /// What, whose, and which of several.
    fn add(&mut self, holders: &Holders, [what, who, which]: Step) {
        let node = usize::from(who) % NODES;
        let signer = match who / 0x20 {
            7 => (node + 1) % NODES,
            _ => node,
        };
        let ctx = match which / 0x20 {
            7 => Digest([9; 32]),
            _ => holders.ctx(),
        };
        let genuine = signer == node;
        let list = match which / 0x10 % 2 {
            0 => self.digest(holders),
            _ => super::contributors(holders, FEW, 0).digest(),
        };
        match what % 4 {
            0 => {
                let contribution = Contribution {
                    ctx,
                    tag: match which & 4 {
                        0 => [3, 4],
                        _ => [3, (1 << 61) - 1],
                    },
                    ..super::contribution(holders, node, which % 2)
                };
                self.contributions.push(Listed {
                    signed: committee().sign(signer, &contribution),
                    message: contribution,
                    genuine: genuine && which & 4 == 0,
                });
            }
            1 => {
                let vote = super::vote(ctx, node, list);
                self.votes.push(Listed {
                    signed: committee().sign(signer, &vote),
                    message: vote,
                    genuine,
                });
            }
            2 => {
                let reveal = super::reveal(ctx, node, list, classes(which % 16));
                self.reveals.push(Listed {
                    signed: committee().sign(signer, &reveal),
                    message: reveal,
                    genuine,
                });
            }
            _ => self.contributions.sort_by_key(|listed| listed.message.node),
        }
    }

    /// The digest of the contributions so far, if they are in order.
    fn digest(&self, holders: &Holders) -> Digest {
        let entries = self.contributions.iter().map(|listed| ContributionId {
            node: listed.message.node,
            contribution: Digest::sha256(&[listed.signed.bytes()]),
        });
        let contributors = Contributors::new(holders.ctx(), entries.collect(), Kind::Ballot);
        contributors.map_or(Digest([8; 32]), |contributors| contributors.digest())
    }

    /// The rule: at least three contributions in order, Q votes of different holders for just
    /// these, and reveals of them that cover each class once, by those who hold it.
    fn is_decided(&self, holders: &Holders) -> bool {
        let (ctx, list) = (holders.ctx(), self.digest(holders));
        let is_holder = |node: NodeId| committee().index(node).is_some_and(|k| k < HOLDERS);
        let ids = self.contributions.iter().map(|listed| listed.message.node);
        let ids: Vec<_> = ids.collect();
        let contributions = ids.len() >= 3
            && ids.is_sorted_by(|one, next| one < next)
            && self
                .contributions
                .iter()
                .all(|listed| listed.genuine && listed.message.ctx == ctx);
        let voters: BTreeSet<_> = self
            .votes
            .iter()
            .map(|listed| listed.message.holder)
            .collect();
        let votes = voters.len() >= QUORUM
            && voters.len() == self.votes.len()
            && self.votes.iter().all(
                |Listed {
                     message, genuine, ..
                 }| {
                    *genuine
                        && message.ctx == ctx
                        && message.contributors == list
                        && is_holder(message.holder)
                },
            );
        let mut covered = Vec::new();
        let reveals = self.reveals.iter().all(
            |Listed {
                 message, genuine, ..
             }| {
                covered.extend(message.classes.iter());
                // The holder in seat h lacks class h: T is that seat alone.
                let seat = committee().index(message.holder).expect("a node");
                *genuine
                    && message.ctx == ctx
                    && message.contributors == list
                    && is_holder(message.holder)
                    && !message.classes.is_empty()
                    && !message.classes.contains(seat)
            },
        );
        covered.sort_unstable();
        contributions && votes && reveals && covered == [0, 1, 2, 3]
    }
}

pub(crate) fn decisions() -> Vec<Seed> {
    let contributions = |nodes: u8| {
        let nodes = (0..NODES as u8).filter(move |node| nodes & 1 << node != 0);
        nodes
            .map(|node| [0, node, 0])
            .chain([[3, 0, 0]])
            .collect::<Vec<_>>()
    };
    let votes = [[1, 0, 0], [1, 1, 0], [1, 2, 0]];
    let reveals = [[2, 0, 0b0010], [2, 1, 0b0101], [2, 2, 0b1000]];
    let honest = [&contributions(ALL)[..], &votes, &reveals].concat();
    let also = |steps: &[Step]| [&honest[..], steps].concat();
    let without = |index: usize| {
        let mut steps = honest.clone();
        steps.remove(index);
        steps
    };
    vec![
        seed("honest", &honest),
        seed("four-votes", &also(&[[1, 3, 0]])),
        seed("doubled-vote", &also(&[[1, 1, 0]])),
        seed("foreign-vote", &also(&[[1, 4, 0]])),
        seed("forged-vote", &also(&[[1, 0xe3, 0]])),
        seed("former-vote", &also(&[[1, 3, 0xe0]])),
        seed("vote-for-fewer", &also(&[[1, 3, 0x10]])),
        seed("doubled-reveal", &also(&[[2, 3, 0b0001]])),
        seed("two-votes", &without(6)),
        seed("a-class-short", &without(9)),
        seed(
            "another-contribution",
            &[
                &contributions(FEW)[..],
                &[[0, 4, 1], [3, 0, 0]],
                &votes,
                &reveals,
            ]
            .concat(),
        ),
    ]
}
