//! One honest node, holder and contributor, before a relay that has the keys of all others and sends it anything in any
//! order, cuts it off, and has it restarted.

use std::collections::{BTreeMap, BTreeSet};

use fl_protocol::digest::Digest;
use fl_protocol::identity::NodeId;
use fl_protocol::round::Opening;
use fl_protocol::round::SentSums;
use fl_protocol::round::committee::message::Entry;
use fl_protocol::round::committee::{ClassSet, Contributors, Holders, RevealOrder};
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::node::{Action, Node, Pending};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_shaders::Tag;

use super::{Committee, HOLDERS, QUORUM, classes, committee};
use crate::Seed;
use crate::fixture::EPOCH;
use crate::rounds::{Conduct, Step, seed, steps};

/// The node that is honest.
const OWN: usize = 0;

pub(crate) fn holder(data: &[u8]) {
    holder_of(Conduct::Sound, data);
}

pub(crate) fn holder_of(conduct: Conduct, data: &[u8]) {
    let mut stage = Stage::new(conduct);
    for step in steps(data) {
        stage.step(*step);
    }
}

/// What the honest node has done so far: what no sequence of messages may bring it to do twice.
#[derive(Default)]
struct Ledger {
    /// In each context, the list that it has voted for.
    voted: BTreeMap<Digest, Digest>,
    /// In each context, what it has found right, and whose boxes it has opened.
    accepted: BTreeMap<Digest, BTreeSet<Entry>>,
    opened: BTreeMap<(Digest, NodeId), Digest>,
    /// Whose sum it helps to open on the one model there is.
    opens: Option<BTreeSet<NodeId>>,
    contributed: BTreeMap<Digest, Vec<u8>>,
}

struct Stage {
    conduct: Conduct,
    committee: &'static Committee,
    node: Node,
    disk: (SentSums, Option<Pending>),
    /// Its own keys, by attempt.
    offered: BTreeMap<u32, Signed<Keys>>,
    /// The holders of the attempt that is under way.
    holders: Holders,
    /// The last list that it was shown.
    shown: Option<Contributors>,
    orders: Vec<RevealOrder>,
    ledger: Ledger,
    draws: u8,
}

fn boot(disk: &(SentSums, Option<Pending>)) -> Node {
    let committee = committee();
    let identity = committee.identities[OWN].clone();
    let (sent, pending) = disk.clone();
    Node::new(
        committee.manifest.clone(),
        identity,
        committee.chain(),
        sent,
        pending,
    )
}

impl Stage {
    fn new(conduct: Conduct) -> Self {
        let disk = (SentSums::default(), None);
        Self {
            conduct,
            committee: committee(),
            node: boot(&disk),
            disk,
            offered: BTreeMap::new(),
            holders: committee().holders(1),
            shown: None,
            orders: Vec::new(),
            ledger: Ledger::default(),
            draws: 0,
        }
    }

    fn step(&mut self, [what, who, which]: Step) {
        match what % 12 {
            0 => self.reconnect(who % 4 == 0),
            1 => self.convene(u32::from(who % 4)),
            2 => self.fix(u32::from(who % 4), which),
            3 => self.slip(usize::from(who) % super::NODES, which % 2, which / 2 % 8),
            4 => {
                let (ctx, entries) = self.list(who, which % 2);
                self.hear(RelayFrame::Ballot { ctx, entries });
            }
            5 | 6 => self.order(who, which),
            7 => self.reveal(),
            8 => self.hear(RelayFrame::CollectReveal {
                root: Digest([who; 32]),
                first_chunk: 0,
            }),
            9 => self.open(u32::from(who % 4)),
            10 => self.contribute(),
            _ => self.convene_and_fix(u32::from(who % 4)),
        }
    }

    /// Has it come back on another connection, or in another process.
    fn reconnect(&mut self, restart: bool) {
        self.node.disconnected();
        if restart {
            if self.conduct == Conduct::Forgetful {
                self.disk.0 = SentSums::default();
            }
            self.node = boot(&self.disk);
            self.orders.clear();
        }
        let actions = self.node.connected().expect("a short message");
        self.does(actions);
    }

    fn hear(&mut self, frame: RelayFrame) {
        if let Ok(actions) = self.node.handle(frame, EPOCH) {
            self.does(actions);
        }
    }

    fn convene(&mut self, attempt: u32) {
        let chain = self.committee.chain();
        self.hear(RelayFrame::Convene(Opening::after(&chain, attempt)));
    }

    /// Names the holders of an attempt: those whose bit is set.
    fn fix(&mut self, attempt: u32, set: u8) {
        let others = (1..HOLDERS).filter(|node| set & 1 << node == 0);
        let keys = others.map(|node| {
            self.committee
                .sign(node, &self.committee.keys(node, attempt))
        });
        let mut bundle: Vec<_> = keys.collect();
        bundle.extend(self.offered.get(&attempt).cloned());
        let (manifest, chain) = (&self.committee.manifest, self.committee.chain());
        if let Ok(holders) = Holders::verify(bundle.clone(), manifest, &chain, EPOCH) {
            self.holders = holders;
        }
        self.hear(RelayFrame::Keys(bundle));
    }

    fn convene_and_fix(&mut self, attempt: u32) {
        self.convene(attempt);
        self.fix(attempt, 0);
    }

    fn slip(&mut self, node: usize, salt: u8, place: u8) {
        let contribution = self.committee.contribution(&self.holders, node, salt);
        let contribution = self.committee.sign(node, &contribution);
        let envelope = self.committee.envelope(&self.holders, node, salt);
        let own = self.holders.place(self.committee.id(OWN)).unwrap_or(0);
        // Mostly its own box; sometimes one that the step says.
        let place = if place < 4 {
            own
        } else {
            usize::from(place) - 4
        };
        if let Some(slip) = envelope.slip(&contribution, place) {
            self.hear(RelayFrame::Slip(slip));
        }
    }

    /// The list of the nodes whose bit is not set.
    fn list(&mut self, set: u8, salt: u8) -> (Digest, Vec<Entry>) {
        let contributors = self.committee.contributors(&self.holders, !set, salt);
        let entries = contributors.entries().to_vec();
        self.shown = Some(contributors);
        (self.holders.ctx(), entries)
    }

    /// Shows it votes of the other holders whose bit is not set, the first of them perhaps twice, for a list.
    fn order(&mut self, who: u8, which: u8) {
        let (ctx, entries) = self.list(who & 0b1_0001, 0);
        let list = self.shown.as_ref().expect("it was just made");
        let digest = list.digest();
        let voters = (1..HOLDERS).filter(|node| who & 1 << node == 0);
        let vote = |node| {
            self.committee
                .sign(node, &self.committee.vote(ctx, node, digest))
        };
        let mut votes: Vec<_> = voters.map(vote).collect();
        if who & 0x20 != 0 {
            votes.extend(votes.first().cloned());
        }
        let enough = votes.len() >= QUORUM && who & 0x20 == 0;
        let classes = classes(which % 16);
        let orders = self.orders.len();
        self.hear(RelayFrame::Reveal {
            ctx,
            entries,
            votes,
            classes,
        });
        assert!(
            self.orders.len() == orders || enough,
            "masks without a certificate"
        );
    }

    /// Sums up the masks that it was asked for last.
    fn reveal(&mut self) {
        let Some(order) = self.orders.pop() else {
            return;
        };
        self.draws = self.draws.wrapping_add(1);
        let (ctx, classes) = (order.ctx(), order.classes());
        let root = Digest([self.draws; 32]);
        let actions = self.node.revealed(ctx, classes, root, Tag::default());
        self.does(actions.expect("a short message"));
    }

    fn open(&mut self, attempt: u32) {
        let chain = self.committee.chain();
        self.hear(RelayFrame::Open {
            opening: Opening::after(&chain, attempt),
            deadline_ms: 1000,
        });
    }

    fn contribute(&mut self) {
        let actions = self.node.trained(self.committee.chain().next_round());
        self.does(actions);
    }

    /// Does what the machine asks, in its order, and looks at what leaves.
    fn does(&mut self, actions: Vec<Action>) {
        let mut recorded = false;
        for action in actions {
            match action {
                Action::Record(sent) => {
                    self.disk.0 = sent;
                    recorded = true;
                }
                Action::DrawRoundKey { round, .. } => {
                    // Never the same key twice, and so never the same context.
                    self.draws = self.draws.wrapping_add(1);
                    let actions = self.node.keyed(round, [self.draws; 32], EPOCH);
                    self.does(actions.expect("a short message"));
                }
                Action::Open(slip) => {
                    let (ctx, entry) = (slip.ctx(), slip.entry());
                    let first = self.ledger.opened.entry((ctx, entry.node));
                    let first = *first.or_insert(entry.contribution);
                    assert_eq!(first, entry.contribution, "two contributions of one node");
                    self.ledger.accepted.entry(ctx).or_default().insert(entry);
                    let actions = self.node.opened(ctx, entry, Ok(()));
                    self.does(actions.expect("a short message"));
                }
                Action::Reveal(order) => {
                    assert!(recorded, "masks before the record");
                    self.opens(order.contributors().iter().copied().collect());
                    let held = self.committee.held_by(OWN);
                    let mine = order.classes().is_subset(held);
                    assert!(mine && order.classes() != ClassSet::default());
                    self.orders.push(order);
                }
                Action::Contribute(holders) => {
                    let envelope = self.committee.envelope(&holders, OWN, 0);
                    let (ctx, root) = (holders.ctx(), Digest([0; 32]));
                    let tag = Tag::new([3, 4]).expect("small values");
                    let announcement = self.node.contributed(ctx, root, tag, envelope);
                    if let Some(announcement) = announcement.expect("a short message") {
                        self.disk.1 = Some(announcement.pending);
                        self.does(vec![Action::Send(announcement.frame)]);
                    }
                }
                Action::Send(frame) => self.sends(frame, recorded),
                _ => {}
            }
        }
    }

    fn sends(&mut self, frame: NodeFrame, recorded: bool) {
        let manifest = &self.committee.manifest;
        match frame {
            NodeFrame::Keys(keys) => {
                let message = keys.verify(manifest, EPOCH).expect("its own");
                self.offered.insert(message.attempt, keys);
            }
            NodeFrame::Vote(vote) => {
                assert!(recorded, "a vote before the record");
                let vote = vote.verify(manifest, EPOCH).expect("its own");
                let first = *self
                    .ledger
                    .voted
                    .entry(vote.ctx)
                    .or_insert(vote.contributors);
                assert_eq!(first, vote.contributors, "two votes in one context");
                let accepted = self.ledger.accepted.get(&vote.ctx);
                let accepted = accepted.cloned().unwrap_or_default();
                let list = self.shown.clone().expect("a vote for no list");
                assert_eq!(list.digest(), vote.contributors, "a vote for another list");
                assert!(list.entries().len() >= 3, "too few to hide one");
                let seen = list.entries().iter().all(|entry| accepted.contains(entry));
                assert!(seen, "a vote for what it has not accepted");
                self.opens(list.nodes());
            }
            NodeFrame::Contribution(contribution, _) => {
                let message = contribution.verify(manifest, EPOCH).expect("its own");
                let bytes = contribution.bytes().to_vec();
                let first = self.ledger.contributed.entry(message.ctx);
                let first = first.or_insert_with(|| bytes.clone());
                assert_eq!(*first, bytes, "two contributions in one context");
            }
            _ => {}
        }
    }

    fn opens(&mut self, nodes: BTreeSet<NodeId>) {
        let first = self.ledger.opens.get_or_insert_with(|| nodes.clone());
        assert_eq!(*first, nodes, "two sets on one model");
    }
}

pub(crate) fn holders() -> Vec<Seed> {
    const BEGIN: [Step; 6] = [
        [11, 1, 0],
        [3, 0, 0],
        [3, 1, 0],
        [3, 2, 0],
        [3, 3, 0],
        [3, 4, 0],
    ];
    let then = |steps: &[Step]| [&BEGIN[..], steps].concat();
    // A second attempt, of this process or of the next.
    let again = |first: Step| {
        let mut steps = then(&[[4, 0, 0], first, [11, 2, 0]]);
        steps.extend(&BEGIN[1..]);
        steps.push([4, 0x10, 0]);
        steps.push([4, 0, 0]);
        steps
    };
    vec![
        seed(
            "vote-and-reveal",
            &then(&[[4, 0, 0], [5, 0, 0b0110], [7, 0, 0], [8, 1, 0]]),
        ),
        seed(
            "follows-a-certificate",
            &then(&[[5, 0, 0b0010], [7, 0, 0], [5, 0, 0b0010]]),
        ),
        seed(
            "two-lists",
            &then(&[[4, 0, 0], [4, 0x10, 0], [5, 0x10, 0b0010]]),
        ),
        seed(
            "few-votes",
            &then(&[[5, 2, 0b0010], [5, 0x22, 0b0010], [5, 0, 0b0001]]),
        ),
        seed(
            "second-contribution",
            &then(&[[3, 1, 1], [3, 1, 8], [4, 0, 1]]),
        ),
        seed("again", &again([0, 1, 0])),
        seed("again-restarted", &again([0, 0, 0])),
        seed(
            "contributes",
            &[
                [9, 1, 0],
                [10, 0, 0],
                [11, 1, 0],
                [0, 1, 0],
                [9, 2, 0],
                [11, 2, 0],
            ],
        ),
    ]
}
