//! The relay's side of a round.
//!
//! The machine decides; its driver moves bytes. Everything that happens is an [`Event`], everything to be done an
//! [`Action`], and each phase is a struct that owns only what is valid in it and is consumed by its transition:
//!
//! ```text
//! Gathering ─► Offers ─► Shares ─► Sums ─► Bodies ─► Averaging ─► Acks ─► Offers … ─► Done
//!     ▲           │         │        │        │                     │
//!     └───────────┴─────────┴────────┴────────┴─────────────────────┘  too few nodes: wait for them
//! ```
//!
//! From where a result waits to be acknowledged, too, there is a way back to `Gathering`: see `untaken`. A relay that
//! stands behind its nodes goes from `Gathering` to `Recovering` and back.
//!
//! With a committee, the phases between `Gathering` and `Averaging` are those of
//! `committee::relay`.

mod acks;
pub(super) mod bodies;
mod catching_up;
mod committee;
pub(super) mod gathering;
mod offers;
mod recovering;
pub(super) mod session;
mod settings;
mod shares;
mod sums;
mod untaken;
pub(super) mod waiting;

use std::sync::Arc;
use std::time::Duration;

use super::average::Averaged;
use super::chain::Chain;
use super::committee::relay::{Collecting, Convening, Revealing, Voting};
use super::outcome::{Checkpoint, Outcome};
use super::refusal::{Kind, Refusal};
use crate::audit::{Entry, Party};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::wire::{BodyId, Hello, NodeFrame, RelayFrame};

use acks::Acks;
use bodies::{AveragingSum, Bodies};
use gathering::Gathering;
use offers::Offers;
use recovering::Recovering;
pub use session::LastResult;
use session::Session;
pub use settings::{Settings, SettingsError};
use shares::Shares;
use sums::Sums;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A frame of an authenticated node. The first one of a connection is its hello.
    Frame(NodeId, NodeFrame),
    /// A node's connection is gone. (If it is replaced by another, this comes before the other's hello, or not at
    /// all.)
    Lost(NodeId),
    /// A body of a node has arrived whole, and every chunk was as announced. (A model has the hash that was asked for.)
    BodyAdded(NodeId, BodyId),
    /// The sum was averaged.
    Averaged(Averaged),
    /// The sum cannot be averaged: some participant lied about its counters or bounds.
    Impossible(Refusal),
    /// The last result is taken back, as was asked for by the event right before.
    TookBack,
    /// Time has passed.
    Tick,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Action {
    /// Append this entry to the log. What comes after it rests on it.
    Log(Entry),
    /// Send this frame to a node.
    Send(NodeId, RelayFrame),
    /// Close a node's connection for this reason.
    TurnAway(NodeId, Refusal),
    /// Make room for the bodies of this attempt. They are masked, so a disk will do.
    Receive {
        /// Context.
        ctx: Digest,
        /// How many bodies there will be if all of them are in the sum, so that each can be added on arrival. Otherwise they
        /// have to be kept apart until it is known which ones are.
        all: Option<usize>,
    },
    /// Ask the node for a body of the attempt whose bytes have this root, from the first chunk that is missing.
    Collect {
        /// Who.
        node: NodeId,
        /// Context of the attempt.
        ctx: Digest,
        /// Which body.
        body: BodyId,
        /// Signed root.
        root: Digest,
    },
    /// Average the sum of these bodies onto the global model. From here on, the last result is not delivered any more.
    Average {
        /// State before the round.
        chain: Chain,
        /// Context.
        ctx: Digest,
        /// Masked sums or contributions, one for each input of the average, and the sums of masks that open these.
        bodies: Vec<(NodeId, BodyId)>,
    },
    /// Forget what has arrived of the attempt.
    Discard,
    /// Make the last result and its bytes durable, before a node has all of it.
    Keep,
    /// The last result is not taken back any more: make the model and this state durable.
    Commit(Chain),
    /// Enough nodes have acknowledged where the relay stands: make that durable.
    Certify(Checkpoint),
    /// Nobody takes the last result: remove it, return to the model before it, and say so with [`Event::TookBack`] before
    /// anything else.
    TakeBack,
    /// Ask the node for the model with this hash.
    Borrow {
        /// Who.
        node: NodeId,
        /// Hash of the model.
        model: Digest,
    },
    /// Take the borrowed model and this state for the relay's own, and make both durable.
    Adopt(Checkpoint),
    /// Send the last result and its bytes.
    Deliver(NodeId, Outcome),
    /// Send the certified model and its bytes.
    Restore(NodeId, Checkpoint),
    /// Tell the operator.
    Report(Report),
    /// All rounds are done.
    Finish,
}

/// What an operator wants to know.
#[derive(Clone, Debug)]
pub enum Report {
    /// The relay serves.
    Began {
        /// Last completed round; 0 before the first.
        round: u64,
    },
    /// A node is here.
    Joined(NodeId),
    /// A node is gone.
    Lost(NodeId),
    /// A node is gone that has the last of all rounds.
    Left(NodeId),
    /// An attempt begins.
    Opened {
        /// Round.
        round: u64,
        /// Attempt.
        attempt: u32,
        /// Nodes asked to take part.
        nodes: usize,
    },
    /// Holders are fixed, in the committee scheme.
    Holders {
        /// Round.
        round: u64,
        /// Who.
        nodes: Vec<NodeId>,
    },
    /// Participants are fixed.
    Participants {
        /// Round.
        round: u64,
        /// Who.
        nodes: Vec<NodeId>,
    },
    /// All uploads are in, and are averaged now.
    Collected {
        /// Round.
        round: u64,
    },
    /// The attempt is over without a result.
    Abandoned {
        /// Round.
        round: u64,
        /// Attempt.
        attempt: u32,
        /// On whose account.
        nodes: Vec<NodeId>,
    },
    /// A node does not go on, or was refused.
    Refused(NodeId, Refusal),
    /// A node stands ahead of the relay.
    Behind {
        /// Who.
        node: NodeId,
        /// Rounds that it has completed.
        round: u64,
    },
    /// The relay has taken over the nodes' model.
    Recovered {
        /// Rounds completed.
        round: u64,
    },
    /// A node's message came too late for what it belongs to, which is no fault of the node.
    Late(NodeId, Kind),
    /// Nothing goes on without these nodes.
    Waiting {
        /// Who is missing.
        missing: Vec<NodeId>,
        /// For how long.
        since: Duration,
        /// Whether the round must have exactly its former participants (the difference rule).
        same_participants: bool,
    },
    /// A round is complete.
    Completed(Box<Completed>),
    /// The result of a complete round is taken back, since nobody takes it. The round begins again.
    TakenBack {
        /// Round.
        round: u64,
        /// Who refuses it.
        nodes: Vec<NodeId>,
    },
}

/// A completed round.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Round.
    pub round: u64,
    /// Attempts that it took.
    pub attempts: u32,
    /// Number of participants.
    pub nodes: u32,
    /// Sums of their counters; metrics are of the model before this round.
    pub totals: fl_shaders::Counters,
    /// Hash of the new model.
    pub model: Digest,
}

/// The relay's state machine.
pub struct Relay {
    session: Session,
    phase: Phase,
}

pub(super) enum Phase {
    Gathering(Gathering),
    Recovering(Recovering),
    Offers(Offers),
    Shares(Shares),
    Sums(Sums),
    Bodies(Bodies),
    Convening(Convening),
    Collecting(Collecting),
    Voting(Voting),
    Revealing(Revealing),
    Averaging(AveragingSum),
    Acks(Acks),
    Done,
}

impl Relay {
    /// A relay at `chain` whose clock, `now`, starts at 0 when Unix time is `epoch_unix_s`. `seed` decides which
    /// nodes are sampled.
    pub fn new(
        manifest: Arc<Manifest>,
        settings: Settings,
        chain: Chain,
        epoch_unix_s: u64,
        seed: [u8; 32],
    ) -> Self {
        let session = Session::new(manifest, settings, chain, epoch_unix_s, seed);
        Self {
            session,
            phase: Phase::Gathering(Gathering::at_start(Duration::ZERO)),
        }
    }

    /// Where the relay stands.
    pub fn chain(&self) -> Chain {
        self.session.chain
    }

    /// The last result, if it is still at hand. Made durable with its bytes, it lets a restarted relay serve nodes
    /// that did not get it.
    pub fn last_result(&self) -> Option<&LastResult> {
        self.session.last()
    }

    /// Takes up the last result after a restart; one that did not lead to the relay's chain is ignored. If it was the
    /// last of all, its participants get another chance to come for it. `taken` is whether a node had taken it, so that
    /// the state after it was made durable.
    pub fn resume(&mut self, last: LastResult, taken: bool) {
        self.session.resume(last, taken);
        if self.session.finished() {
            self.phase = Phase::Acks(Acks::begin(&self.session));
        }
    }

    /// Takes up acknowledgements after a restart and after [`Relay::resume`]. Those that are of another state or do not
    /// hold are ignored.
    pub fn resume_certified(&mut self, checkpoint: &Checkpoint) {
        self.session.resume_certified(checkpoint);
    }

    /// Takes in what happened at `now`, and says what to do, in order.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let session = &mut self.session;
        session.now = now;
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        let phase = match event {
            Event::Frame(node, NodeFrame::Hello(hello)) => {
                // With a former connection all is lost that the node did on it.
                let phase = phase.lost(session, node);
                session.greet(node, &hello);
                phase.greeted(session, node, &hello)
            }
            Event::Frame(node, frame) if session.is_here(node) => phase.frame(session, node, frame),
            Event::Frame(node, _) => {
                session.refuse(node, Refusal::Unexpected { what: Kind::Hello });
                phase
            }
            Event::Lost(node) => phase.lost(session, node),
            Event::BodyAdded(node, body) => match phase {
                Phase::Bodies(bodies) => bodies.added(session, node, body),
                Phase::Collecting(collecting) => collecting.added(session, node, body),
                Phase::Revealing(revealing) => revealing.added(node, body),
                Phase::Recovering(recovering) => recovering.lent(session, node, body),
                phase => phase,
            },
            Event::Averaged(averaged) => match phase {
                Phase::Averaging(averaging) => averaging.averaged(session, averaged),
                phase => phase,
            },
            Event::Impossible(refusal) => match phase {
                Phase::Averaging(averaging) => averaging.impossible(session, &refusal),
                phase => phase,
            },
            Event::TookBack => session.took_back().unwrap_or(phase),
            Event::Tick => phase,
        };
        self.phase = match session.takes_back() {
            true => phase,
            false => phase.advance(session),
        };
        std::mem::take(&mut session.actions)
    }
}

impl Phase {
    /// Not if enough have looked or voted already.
    fn looks_at(&self, what: Kind) -> bool {
        !matches!(
            (self, what),
            (Self::Voting(_) | Self::Revealing(_), Kind::Receipt)
                | (
                    Self::Revealing(_) | Self::Averaging(_) | Self::Acks(_),
                    Kind::Vote
                )
        )
    }

    /// A frame of a node that is here. One that is wrong costs the node its connection.
    fn frame(mut self, session: &mut Session, node: NodeId, frame: NodeFrame) -> Self {
        if !self.looks_at(frame.kind()) {
            return self;
        }
        let taken = match (&mut self, frame) {
            (_, NodeFrame::Ack(ack)) => session.acknowledged(node, &ack),
            (
                _,
                NodeFrame::Refused {
                    round,
                    attempt,
                    refusal,
                },
            ) => {
                return self.refused(session, node, (round, attempt), refusal);
            }
            (Self::Offers(offers), NodeFrame::Keys(keys)) => offers.offered(session, node, keys),
            (Self::Shares(shares), NodeFrame::Shares(list)) => shares.shared(session, node, list),
            (Self::Sums(sums), NodeFrame::Sum(sum)) => sums.summed(session, node, sum),
            (Self::Convening(convening), NodeFrame::Keys(keys)) => {
                convening.offered(session, node, keys)
            }
            (Self::Collecting(collecting), NodeFrame::Contribution(contribution, envelope)) => {
                collecting.contributed(session, node, contribution, envelope)
            }
            (Self::Collecting(collecting), NodeFrame::Receipt(receipt)) => {
                collecting.receipt(session, node, receipt)
            }
            (Self::Voting(voting), NodeFrame::Vote(vote)) => voting.voted(session, node, vote),
            (Self::Revealing(revealing), NodeFrame::Reveal(reveal)) => {
                revealing.revealed(session, node, reveal)
            }
            // A node that returns says again what its outbox holds.
            (Self::Bodies(_), NodeFrame::Sum(_)) => Ok(()),
            (_, frame) => {
                session.late(node, frame.kind());
                Ok(())
            }
        };
        match taken {
            Ok(()) => self,
            Err(refusal) => {
                session.refuse(node, refusal);
                self.without(session, node)
            }
        }
    }

    /// A node's connection is gone.
    fn lost(self, session: &mut Session, node: NodeId) -> Self {
        if !session.lost(node) {
            return self;
        }
        match self {
            Self::Collecting(collecting) => collecting.lost(node),
            Self::Voting(voting) => voting.lost(node),
            Self::Revealing(revealing) => revealing.lost(session, node),
            phase => phase.without(session, node),
        }
    }

    /// A node has said hello.
    fn greeted(self, session: &mut Session, node: NodeId, hello: &Hello) -> Self {
        match self {
            phase if !session.is_here(node) => phase,
            Self::Offers(offers) => offers.returned(session, node),
            Self::Bodies(bodies) => bodies.returned(session, node, hello.pending),
            Self::Convening(convening) => convening.returned(session, node),
            Self::Collecting(collecting) => collecting.returned(session, node, hello),
            Self::Voting(voting) => voting.returned(session, node, hello.holding),
            Self::Revealing(revealing) => revealing.returned(session, node, hello.holding),
            phase => phase,
        }
    }

    /// A node has left the attempt or is gone.
    fn without(self, session: &mut Session, node: NodeId) -> Self {
        match self {
            Self::Offers(offers) => offers.without(session, node),
            Self::Shares(shares) if shares.participants.contains(node) => session.abandon(&[node]),
            Self::Sums(sums) if sums.participants.contains(node) => session.abandon(&[node]),
            Self::Recovering(recovering) => recovering.without(session, node),
            Self::Convening(convening) => convening.without(node),
            Self::Collecting(collecting) => collecting.refused(node),
            Self::Voting(voting) => voting.refused(node),
            Self::Revealing(revealing) => revealing.refused(session, node),
            phase => phase,
        }
    }

    /// A node refuses to go on.
    fn refused(
        self,
        session: &mut Session,
        node: NodeId,
        (round, attempt): (u64, u32),
        refusal: Refusal,
    ) -> Self {
        session.log_refusal(Party::Node(node), Party::Relay, refusal.clone());
        session.report(Report::Refused(node, refusal.clone()));
        session.rejected(node, round, &refusal);
        if (round, attempt) != (session.chain.next_round(), session.attempt) {
            return self;
        }
        session.exclude(node);
        match &refusal {
            Refusal::Difference { sent_with } => session.claimed(node, sent_with),
            // Who of the two is at fault cannot be told from here, so the rest goes on without either.
            Refusal::Share { from: accused } | Refusal::RoundKey { of: accused } => {
                session.exclude(*accused);
            }
            _ => {}
        }
        match self {
            Self::Bodies(bodies) => bodies.withdrawn(session, node),
            phase => phase.without(session, node),
        }
    }

    /// Goes on as far as what is at hand and the time allow.
    fn advance(self, session: &mut Session) -> Self {
        match self {
            Self::Gathering(gathering) => gathering.advance(session),
            Self::Recovering(recovering) => recovering.advance(session),
            Self::Offers(offers) => offers.advance(session),
            Self::Shares(shares) => shares.advance(session),
            Self::Sums(sums) => sums.advance(session),
            Self::Bodies(bodies) => bodies.advance(session),
            Self::Convening(convening) => convening.advance(session),
            Self::Collecting(collecting) => collecting.advance(session),
            Self::Voting(voting) => voting.advance(session),
            Self::Revealing(revealing) => revealing.advance(session),
            Self::Acks(acks) => acks.advance(session),
            phase @ (Self::Averaging(_) | Self::Done) => phase,
        }
    }
}
