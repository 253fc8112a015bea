//! One honest node, holder and contributor, before a relay that has the keys of all others and
//! sends it anything in any order, cuts it off, and has it restarted.

use std::collections::{BTreeMap, VecDeque};

use fl_protocol::digest::{ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::round::Opening;
use fl_protocol::round::committee::{CheckedSeeds, Envelope, Holders, Recipients, RevealOrder};
use fl_protocol::round::peer::{BoxOpener, CompleteShares};
use fl_protocol::round::{Fault, KeyOffer, Refusal};
use fl_protocol::sim::{EPOCH, Effect, Masked, NodeHost, OPEN_BOXES, Secrets, Work};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_shaders::Tag;

use super::{HOLDERS, QUORUM, classes, committee, contribution, contributors, envelope, head};
use crate::Seed;
use crate::rounds::{Conduct, Step, seed, steps};

/// The node that is honest.
const OWN: usize = 0;

/// Whatever the relay does, the node contradicts itself nowhere, which its ledger asserts, and sums
/// up no masks without a certificate.
pub(crate) fn holder(data: &[u8]) {
    holder_of(Conduct::Sound, data);
}

pub(crate) fn holder_of(conduct: Conduct, data: &[u8]) {
    let mut relay = Relay::new(conduct);
    for step in steps(data) {
        relay.step(*step);
    }
}

/// Nothing is sealed here, and nothing computed: every box opens, and each sum is another.
#[derive(Default)]
struct Hollow {
    draws: u8,
}

impl Hollow {
    fn draw(&mut self) -> u8 {
        self.draws = self.draws.wrapping_add(1);
        self.draws
    }
}

impl Secrets for Hollow {
    type Verifier = Conduct;

    fn verifier(&self) -> &Conduct {
        &Conduct::Sound
    }

    fn is_trained(&self, _: Digest) -> bool {
        true
    }

    fn train(&mut self, _: Digest) {}

    fn opener() -> BoxOpener {
        OPEN_BOXES
    }

    fn publish_round_key(&self) -> [u8; 32] {
        panic!("a share in the committee scheme")
    }

    /// Never the same key twice, and so never the same context.
    fn draw_round_key(&mut self) -> Vec<u8> {
        vec![self.draw(); 32]
    }

    fn seal(&mut self, _: Digest, _: &[(NodeId, Vec<u8>)]) -> Vec<(NodeId, Vec<u8>)> {
        panic!("a share in the committee scheme")
    }

    fn mask(&mut self, _: &CompleteShares) -> Result<Masked, Refusal> {
        panic!("a masked sum in the committee scheme")
    }

    fn contribute(&mut self, holders: &Recipients) -> (Masked, Envelope) {
        let tag = Tag::new([3, 4]).expect("small values");
        let body = Vec::new();
        (Masked { body, tag }, envelope(holders, OWN, 0))
    }

    fn open(&mut self, _: &CheckedSeeds) -> Result<(), Fault> {
        Ok(())
    }

    fn reveal(&mut self, _: &RevealOrder) -> Masked {
        let (body, tag) = (vec![self.draw()], Tag::default());
        Masked { body, tag }
    }

    fn input(&self, _: Digest) -> Option<&[u8]> {
        None
    }

    fn disconnected(&mut self) {}

    fn restarted(&mut self) {}
}

/// The relay.
struct Relay {
    conduct: Conduct,
    host: NodeHost<Hollow>,
    /// What the node itself has offered, by attempt.
    offered: BTreeMap<u32, KeyOffer>,
    /// The holders of the attempt that is under way.
    holders: Holders,
    /// Masks that the node is summing up.
    reveals: Vec<Work>,
}

impl Relay {
    fn new(conduct: Conduct) -> Self {
        let (manifest, identity) = (&committee().manifest, &committee().identities[OWN]);
        let (manifest, identity) = (manifest.clone(), identity.clone());
        Self {
            conduct,
            host: NodeHost::new(manifest, identity, Hollow::default(), EPOCH),
            offered: BTreeMap::new(),
            holders: super::holders(1),
            reveals: Vec::new(),
        }
    }

    fn step(&mut self, [what, who, which]: Step) {
        match what % 12 {
            0 => self.reconnect(who % 4 == 0),
            1 => self.convene(u32::from(who % 4)),
            2 => self.fix(u32::from(who % 4), which),
            3 => self.seeds_for(usize::from(who) % super::NODES, which % 2, which / 2 % 8),
            4 => {
                let list = contributors(&self.holders, !who, which % 2);
                self.tell(RelayFrame::Ballot {
                    ctx: self.holders.ctx(),
                    entries: list.entries().to_vec(),
                });
            }
            5 | 6 => self.order(who, which),
            7 => {
                if let Some(reveal) = self.reveals.pop() {
                    self.done(reveal);
                }
            }
            8 => self.tell(RelayFrame::CollectReveal {
                root: ChunkHashes::of(&[who]).root(),
                first_chunk: 0,
            }),
            9 => self.open(u32::from(who % 4)),
            10 => self.done(Work::Train(head().next_round())),
            _ => {
                self.convene(u32::from(who % 4));
                self.fix(u32::from(who % 4), 0);
            }
        }
    }

    /// Has the node come back on another connection, or in another process.
    fn reconnect(&mut self, restart: bool) {
        self.host.disconnected();
        if restart {
            self.conduct.forget(&mut self.host);
            self.host.restart();
            self.reveals.clear();
        }
        let effects = self.host.connected(EPOCH);
        self.hear(effects);
    }

    fn tell(&mut self, frame: RelayFrame) {
        let effects = self.host.frame(frame, EPOCH);
        self.hear(effects);
    }

    fn done(&mut self, work: Work) {
        let effects = self.host.done(work, EPOCH);
        self.hear(effects);
    }

    /// Notes what the node says. All its work but sums of masks is done at once.
    fn hear(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(NodeFrame::Keys(offer)) => {
                    let message = offer.keys.verify(&committee().manifest, EPOCH);
                    let attempt = message.expect("its own").attempt;
                    self.offered.insert(attempt, offer);
                }
                // When it is ready is for a step to say.
                Effect::Work(Work::Train(_)) => {}
                Effect::Work(reveal @ Work::Reveal(..)) => self.reveals.push(reveal),
                Effect::Work(work) => effects.extend(self.host.done(work, EPOCH)),
                _ => {}
            }
        }
    }

    fn convene(&mut self, attempt: u32) {
        let head = head();
        self.tell(RelayFrame::Convene(Opening::after(&head, attempt)));
    }

    /// Names the holders of an attempt: those whose bit is not set.
    fn fix(&mut self, attempt: u32, set: u8) {
        let others = (1..HOLDERS).filter(|node| set & 1 << node == 0);
        let keys = |node| committee().sign(node, &committee().keys(node, &head(), attempt));
        let mut bundle: Vec<_> = others.map(keys).collect();
        let mut round_keys: BTreeMap<_, _> = (1..HOLDERS)
            .map(|node| (committee().id(node), committee().round_key(node)))
            .collect();
        if let Some(KeyOffer { keys, round_key }) = self.offered.get(&attempt).cloned() {
            bundle.push(keys);
            round_keys.insert(committee().id(OWN), round_key);
        }
        let manifest = &committee().manifest;
        let frame = match Holders::verify(bundle.clone(), manifest, &head(), EPOCH) {
            Ok(holders) => {
                self.holders = holders;
                self.holders.to_frame(&round_keys)
            }
            Err(_) => RelayFrame::Keys {
                bundle,
                round_keys: Vec::new(),
            },
        };
        self.tell(frame);
    }

    fn seeds_for(&mut self, node: usize, salt: u8, place: u8) {
        let contribution = contribution(&self.holders, node, salt);
        let contribution = committee().sign(node, &contribution);
        let own = self.holders.place(committee().id(OWN)).unwrap_or(0);
        // Mostly its own box; sometimes one that the step says.
        let place = match place {
            0..4 => own,
            other => usize::from(other) - 4,
        };
        let envelope = envelope(&self.holders, node, salt);
        if let Some(seeds_for) = envelope.seeds_for(&contribution, place) {
            self.tell(RelayFrame::SealedSeeds(seeds_for));
        }
    }

    /// Shows the node votes of the other holders whose bit is not set, the first of them perhaps
    /// twice, for a list of all nodes or of all but one or two.
    fn order(&mut self, who: u8, which: u8) {
        let (ctx, list) = (
            self.holders.ctx(),
            contributors(&self.holders, !(who & 0b1_0001), 0),
        );
        let voters = (1..HOLDERS).filter(|node| who & 1 << node == 0);
        let vote = |node| committee().sign(node, &super::vote(ctx, node, list.digest()));
        let mut votes: Vec<_> = voters.map(vote).collect();
        if who & 0x20 != 0 {
            votes.extend(votes.first().cloned());
        }
        let enough = votes.len() >= QUORUM && who & 0x20 == 0;
        let reveals = self.reveals.len();
        self.tell(RelayFrame::Reveal {
            ctx,
            entries: list.entries().to_vec(),
            votes,
            classes: classes(which % 16),
        });
        let reveals = self.reveals.len() - reveals;
        assert!(reveals == 0 || enough, "masks without a certificate");
    }

    fn open(&mut self, attempt: u32) {
        let head = head();
        self.tell(RelayFrame::Open {
            opening: Opening::after(&head, attempt),
            deadline_ms: 1000,
        });
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
