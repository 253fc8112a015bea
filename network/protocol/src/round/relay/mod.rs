//! The relay's side of a round.
//!
//! The machine decides; its driver moves bytes. Everything that happens is an [`Event`], everything
//! to be done an [`Action`], and each phase is a struct that owns only what is valid in it and is
//! consumed by its transition:
//!
//! ```text
//! Gathering ─► Attempt ─► Averaging ─► Acks ─► Attempt … ─► Done
//!     ▲           │           │          │
//!     └───────────┴───────────┴──────────┘  too few nodes: wait for them
//! ```
//!
//! What an attempt goes through is its scheme's: see `peer::relay` and `committee::relay`. From
//! where a result waits to be acknowledged, too, there is a way back to `WaitingForNodes`: see
//! `rollback`. A relay that stands behind its nodes goes from `WaitingForNodes` to `Recovering` and
//! back.

mod acks;
pub(in crate::round) mod action;
mod ahead;
mod attempt;
mod averaging;
pub(in crate::round) mod bonds;
mod event;
mod obligations;
mod plateau;
mod presence;
mod published;
mod recover;
pub(in crate::round) mod reminder;
pub(in crate::round) mod report;
mod rollback;
pub(in crate::round) mod selection;
mod settings;
pub(in crate::round) mod stage;
pub(in crate::round) mod state;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::head::Head;
use super::peer::{BoxOpener, Proof};
use super::refusal::{Kind, Refusal};
use crate::audit::Party;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::wire::{Hello, NodeFrame};

use acks::Acks;
use attempt::Attempt;
use averaging::AwaitingAverage;
use recover::Recovering;
#[cfg(test)]
pub(in crate::round) use rollback::PAUSE;
use stage::{AttemptProgress, Complete, Stage as _};
use state::{NextStep, RelayState};
use waiting::{Waited, WaitingForNodes};

pub use action::Action;
pub use event::Event;
pub use published::LastResult;
pub use report::{Completed, Report};
pub use settings::{Settings, SettingsError};

/// The relay's state machine.
pub struct Relay {
    state: RelayState,
    phase: RelayPhase,
}

/// What the relay is at.
enum RelayPhase {
    WaitingForNodes(WaitingForNodes),
    Recovering(Recovering),
    Attempt(Attempt),
    AwaitingAverage(AwaitingAverage),
    Acks(Acks),
    Done,
}

impl Relay {
    /// Returns a relay at `head` whose clock, `now`, starts at 0 when Unix time is `epoch_unix_s`.
    /// `seed` decides which nodes are sampled, and `opener` opens boxes with published round keys.
    pub fn new(
        manifest: Arc<Manifest>,
        settings: Settings,
        head: Head,
        epoch_unix_s: u64,
        seed: [u8; 32],
        opener: BoxOpener,
    ) -> Self {
        Self {
            state: RelayState::new(manifest, settings, head, epoch_unix_s, seed, opener),
            phase: RelayPhase::WaitingForNodes(WaitingForNodes::at_start(Duration::ZERO)),
        }
    }

    /// Returns where the relay stands.
    pub fn head(&self) -> Head {
        self.state.head
    }

    /// Returns the last result, if it is still at hand. Made durable with its bytes, it lets a
    /// restarted relay serve nodes that did not get it.
    pub fn last_result(&self) -> Option<&LastResult> {
        self.state.last_result()
    }

    /// Takes up the last result after a restart; one that did not lead to the relay's chain is
    /// ignored. If it was the last of all, its participants get another chance to come for it.
    /// `taken` is whether enough nodes had taken it, so that the state after it was made durable.
    pub fn resume(&mut self, last: LastResult, taken: bool) {
        self.state.resume(last, taken);
        if self.state.is_finished() {
            self.phase = RelayPhase::Acks(Acks::begin(&self.state));
        }
    }

    /// Takes up acknowledgements after a restart and after [`Relay::resume`]. Those that are of
    /// another state or do not hold are ignored.
    pub fn resume_certified(&mut self, checkpoint: &Checkpoint) {
        self.state.resume_certified(checkpoint);
    }

    /// Takes up what the log proves of nodes, in the order of the log. What proves nothing is
    /// ignored.
    pub fn resume_convictions<'a>(&mut self, proofs: impl IntoIterator<Item = &'a Proof>) {
        self.state.resume_convictions(proofs);
    }

    /// The relay's clock shows `unix_s` at `now`. It may have been set since the relay began, or
    /// have gone on while the machine slept.
    pub fn set_clock(&mut self, now: Duration, unix_s: u64) {
        self.state.set_clock(now, unix_s);
    }

    /// Takes in what happened at `now`, and returns what is to be done, in order.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let state = &mut self.state;
        state.now = now;
        let phase = std::mem::replace(&mut self.phase, RelayPhase::Done);
        let phase = match event {
            Event::Frame(node, NodeFrame::Hello(hello)) => {
                // With a former connection all is lost that the node did on it.
                let phase = phase.lost(state, node);
                state.greet(node, &hello);
                phase.greeted(state, node, &hello)
            }
            Event::Frame(node, frame) if state.presence.is_connected(node) => {
                phase.hear(state, node, frame)
            }
            Event::Frame(node, _) => {
                state.refuse(node, Refusal::Unexpected { what: Kind::Hello });
                phase
            }
            Event::Lost(node) => phase.lost(state, node),
            Event::BodyAdded(node, body) => match phase {
                RelayPhase::Attempt(attempt) => {
                    RelayPhase::go_on(attempt.body_added(state, node, body), state)
                }
                RelayPhase::Recovering(recovering) => {
                    match recovering.received(state, node, body) {
                        Some(recovering) => RelayPhase::Recovering(recovering),
                        None if state.is_finished() => RelayPhase::Acks(Acks::begin(state)),
                        // Those that have to be brought up take part in the next round as well.
                        None => RelayPhase::WaitingForNodes(WaitingForNodes::at_start(state.now)),
                    }
                }
                phase => phase,
            },
            Event::Averaged(averaged) => match phase {
                RelayPhase::AwaitingAverage(averaging) => {
                    averaging.averaged(state, averaged);
                    RelayPhase::Acks(Acks::begin(state))
                }
                phase => phase,
            },
            Event::Impossible(refusal) => match phase {
                RelayPhase::AwaitingAverage(averaging) => {
                    averaging.impossible(state, &refusal);
                    // Whoever is at fault gets time to be found.
                    RelayPhase::WaitingForNodes(WaitingForNodes::after(state.now, rollback::PAUSE))
                }
                phase => phase,
            },
            Event::RolledBack if state.rolled_back() => {
                // As with an impossible sum, whoever is at fault gets time to be found.
                RelayPhase::WaitingForNodes(WaitingForNodes::after(state.now, rollback::PAUSE))
            }
            Event::RolledBack | Event::Tick => phase,
        };
        self.phase = match state.rolls_back() {
            true => phase,
            false => phase.advance(state),
        };
        state.take_actions()
    }
}

impl RelayPhase {
    /// Opens an attempt, or waits until one can be opened.
    fn open_or_wait(state: &mut RelayState) -> Self {
        match state.decide() {
            NextStep::Finished => {
                // Nobody is waited for any longer.
                state.settle();
                state.act(Action::Finish);
                Self::Done
            }
            NextStep::Wait => Self::WaitingForNodes(WaitingForNodes::now(state.now)),
            NextStep::Open(selection) => {
                let wait = state.begin_attempt(selection.nodes.len());
                Self::Attempt(Attempt::open(state, selection, wait))
            }
        }
    }

    /// Follows the progress of an attempt.
    fn go_on(progress: AttemptProgress<Attempt, Complete>, state: &mut RelayState) -> Self {
        match progress {
            AttemptProgress::Stays(attempt) => Self::Attempt(attempt),
            AttemptProgress::Moves(complete) => {
                Self::AwaitingAverage(AwaitingAverage::begin(state, complete))
            }
            AttemptProgress::Abandoned(nodes) => {
                state.give_up(nodes);
                Self::open_or_wait(state)
            }
            AttemptProgress::Paused(nodes) => {
                state.give_up(nodes);
                Self::WaitingForNodes(WaitingForNodes::after(state.now, rollback::PAUSE))
            }
        }
    }

    /// A frame of a node that is connected. One that is wrong costs the node its connection.
    fn hear(mut self, state: &mut RelayState, node: NodeId, frame: NodeFrame) -> Self {
        let heard = match (&mut self, frame) {
            (_, NodeFrame::Ack(ack)) => state.acknowledged(node, &ack),
            (
                _,
                NodeFrame::Refused {
                    round,
                    attempt,
                    refusal,
                },
            ) => return self.refused(state, node, (round, attempt), &refusal),
            (_, NodeFrame::Accusation(proof)) => match state.accused(proof) {
                Ok(Some(liar)) => return self.go_on_without(state, liar),
                Ok(None) => Ok(()),
                Err(refusal) => Err(refusal),
            },
            (Self::Attempt(attempt), frame) => attempt.hear(state, node, frame),
            // Enough votes make a decision; what the others say is not waited for.
            (Self::AwaitingAverage(_) | Self::Acks(_), NodeFrame::Vote(_)) => Ok(()),
            (_, frame) => {
                state.late(node, frame.kind());
                Ok(())
            }
        };
        let Err(refusal) = heard else { return self };
        state.refuse(node, refusal);
        match self {
            Self::Attempt(attempt) => Self::go_on(attempt.turned_away(state, node), state),
            phase => phase.without(state, node),
        }
    }

    /// A node's connection is gone.
    fn lost(self, state: &mut RelayState, node: NodeId) -> Self {
        match self {
            phase if !state.lost(node) => phase,
            Self::Attempt(attempt) => Self::go_on(attempt.lost(state, node), state),
            phase => phase.without(state, node),
        }
    }

    /// A node has said hello.
    fn greeted(self, state: &mut RelayState, node: NodeId, hello: &Hello) -> Self {
        match self {
            Self::Attempt(attempt) if state.presence.is_connected(node) => {
                Self::go_on(attempt.greeted(state, node, hello), state)
            }
            phase => phase,
        }
    }

    /// A node refuses to go on.
    fn refused(
        self,
        state: &mut RelayState,
        node: NodeId,
        (round, attempt): (u64, u32),
        refusal: &Refusal,
    ) -> Self {
        state.log_refusal(Party::Node(node), Party::Relay, refusal.clone());
        state.report(Report::Refused(node, refusal.clone()));
        state.rejected(node, round, refusal);
        // Of a result, which is no fault of whoever refuses it.
        if *refusal == Refusal::Tag {
            return self;
        }
        if (round, attempt) != (state.head.next_round(), state.attempt) {
            return self;
        }
        state.obligations.exclude(node);
        if let Refusal::Difference { sent_with } = refusal {
            state.obligations.claim(node, sent_with);
        }
        self.go_on_without(state, node)
    }

    /// A node does not go on.
    fn go_on_without(self, state: &mut RelayState, node: NodeId) -> Self {
        match self {
            Self::Attempt(attempt) => Self::go_on(attempt.refused(state, node), state),
            phase => phase.without(state, node),
        }
    }

    /// A node is gone that no attempt counts on.
    fn without(self, state: &mut RelayState, node: NodeId) -> Self {
        match self {
            Self::Recovering(recovering) => {
                let recovering = recovering.without(state, node);
                Self::recover_or_wait(recovering, state)
            }
            phase => phase,
        }
    }

    fn recover_or_wait(recovering: Option<Recovering>, state: &RelayState) -> Self {
        match recovering {
            Some(recovering) => Self::Recovering(recovering),
            None => Self::WaitingForNodes(WaitingForNodes::after(state.now, recover::PAUSE)),
        }
    }

    /// Goes on as far as what is at hand and the time allow.
    fn advance(self, state: &mut RelayState) -> Self {
        match self {
            Self::WaitingForNodes(gathering) => match gathering.advance(state) {
                Waited::Waits(gathering) => Self::WaitingForNodes(gathering),
                Waited::Recovers(recovering) => Self::Recovering(recovering),
                Waited::Opens => Self::open_or_wait(state),
            },
            Self::Recovering(recovering) => {
                let recovering = recovering.advance(state);
                Self::recover_or_wait(recovering, state)
            }
            Self::Attempt(attempt) => Self::go_on(attempt.advance(state), state),
            Self::Acks(acks) => match acks.advance(state) {
                Some(acks) => Self::Acks(acks),
                None => Self::open_or_wait(state),
            },
            phase @ (Self::AwaitingAverage(_) | Self::Done) => phase,
        }
    }
}
