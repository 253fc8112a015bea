//! A result that nobody has taken yet can be taken back.
//!
//! A participant that signs a wrong share of the tags, as a memory fault can make it do, spoils a result, and all nodes
//! refuse it alike. As long as nobody has taken a result, the state before it is still where all nodes stand, and the round
//! can begin again with the same participants. Once one has taken it, there is no way back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::gathering::{Gathering, PAUSE};
use super::session::Session;
use super::{Action, Phase, Report};
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::message::{ResultAck, Signed};
use crate::round::minima::check_minima;
use crate::round::refusal::Refusal;

/// What it takes to go back behind the last result.
#[derive(Default)]
pub(super) struct Untaken {
    /// The attempt that led to it.
    attempt: u32,
    /// Acknowledgements of the state before.
    pub(super) acks: BTreeMap<NodeId, Signed<ResultAck>>,
    /// To whom it was sent.
    served: BTreeSet<NodeId>,
    /// Who of them refuses it.
    refused: BTreeSet<NodeId>,
    /// Not before then is it tried to take it back: a disk that is full may have room again.
    not_before: Duration,
}

impl Untaken {
    pub(super) fn new(attempt: u32, acks: BTreeMap<NodeId, Signed<ResultAck>>) -> Self {
        Self {
            attempt,
            acks,
            ..Self::default()
        }
    }

    /// Of a result that an earlier process of the relay may have sent to its `participants`.
    pub(super) fn resumed(participants: BTreeSet<NodeId>) -> Self {
        Self {
            served: participants,
            ..Self::default()
        }
    }

    /// The result is sent to this node, once more if it has refused it before.
    pub(super) fn serve(&mut self, node: NodeId) {
        self.refused.remove(&node);
        self.served.insert(node);
    }
}

impl Session {
    /// A node has taken the last result, or there is no round after it: there is no way back any more.
    pub(super) fn taken(&mut self) {
        if self.untaken.take().is_some() {
            self.actions.push(Action::Commit(self.chain));
        }
    }

    /// A node refuses something of `round`. It counts if that is the last result, whose tags do not fit.
    pub(super) fn rejected(&mut self, node: NodeId, round: u64, refusal: &Refusal) {
        let it = round == self.chain.round && *refusal == Refusal::Tag;
        if let Some(untaken) = self.untaken.as_mut().filter(|_| it)
            && untaken.served.contains(&node)
        {
            untaken.refused.insert(node);
        }
    }

    /// Whether the last result has to be taken back before anything else is done: when all to whom it was sent refuse it,
    /// and they are enough for a round, for one node alone may be at fault itself.
    pub(super) fn takes_back(&mut self) -> bool {
        let Some(untaken) = &mut self.untaken else {
            return false;
        };
        let enough = check_minima(&self.manifest, untaken.refused.iter()).is_ok();
        let spoiled = enough && untaken.refused == untaken.served;
        if spoiled && untaken.not_before <= self.now {
            untaken.not_before = self.now + PAUSE;
            self.actions.push(Action::TakeBack);
        }
        spoiled
    }

    /// The driver has taken the last result back: the same participants have to begin the round again.
    pub(super) fn took_back(&mut self) -> Option<Phase> {
        let untaken = self.untaken.take()?;
        let last = self.take_last()?;
        let round = self.chain.round;
        self.log(Entry::TakenBack);
        self.chain = last.base;
        self.attempt = untaken.attempt;
        self.acks = untaken.acks;
        self.require(last.outcome.parts.nodes(&self.manifest));
        self.report(Report::TakenBack {
            round,
            nodes: untaken.refused.into_iter().collect(),
        });
        self.serve_anew();
        // As with an impossible sum, whoever is at fault gets time to be found.
        Some(Phase::Gathering(Gathering::after(self.now, PAUSE)))
    }
}
