//! Taking over the model of the nodes.
//!
//! A relay whose state was lost, or that was given an older one, stands behind its nodes. They say so: a node that connects
//! repeats its last acknowledgement. When enough of them have acknowledged the same state, that is a checkpoint like those
//! that the relay hands out itself; one of them lends it the model. What fewer claim, however far ahead, holds nobody up.
//!
//! Only a relay that has completed no round since its start can stand behind. Later, a state that is ahead of it would be
//! another history.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::IteratorRandom as _;

use super::acks::Acks;
use super::gathering::Gathering;
use super::session::{Peer, Session};
use super::{Action, Phase, Report};
use crate::audit::Entry;
use crate::identity::NodeId;
use crate::round::chain::Chain;
use crate::round::message::{ResultAck, Signed};
use crate::round::minima::check_minima;
use crate::round::outcome::Checkpoint;
use crate::round::refusal::Refusal;
use crate::wire::BodyId;

/// How long after a node that did not lend its model another one is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Acknowledgements of one state.
type Acknowledged = BTreeMap<NodeId, Signed<ResultAck>>;

/// What nodes have acknowledged that is ahead of the relay.
pub(super) struct Ahead {
    /// Whether there can be such a thing.
    possible: bool,
    /// A node is under the last state that it has acknowledged.
    acks: BTreeMap<Chain, Acknowledged>,
}

impl Ahead {
    pub(super) fn none_yet() -> Self {
        Self {
            possible: true,
            acks: BTreeMap::new(),
        }
    }

    /// Whether there can be any.
    pub(super) fn is_possible(&self) -> bool {
        self.possible
    }

    /// Says whether it is new.
    fn insert(&mut self, node: NodeId, stands: Chain, signed: Signed<ResultAck>) -> bool {
        self.acks.retain(|chain, acks| {
            if *chain != stands {
                acks.remove(&node);
            }
            !acks.is_empty()
        });
        let acks = self.acks.entry(stands).or_default();
        acks.insert(node, signed).is_none()
    }
}

impl Session {
    /// A node that says it stands ahead of the relay acknowledges where it stands.
    pub(super) fn acknowledged_ahead(
        &mut self,
        node: NodeId,
        stands: Chain,
        signed: &Signed<ResultAck>,
    ) -> Result<(), Refusal> {
        let said = self.here.get(&node).map(|peer| peer.stands);
        if said != Some(stands) || !self.ahead.possible {
            let (relay, node) = (self.chain.round, stands.round);
            return Err(Refusal::CannotCatchUp { relay, node });
        }
        if self.ahead.insert(node, stands, signed.clone()) {
            let round = stands.round;
            self.report(Report::Behind { node, round });
        }
        Ok(())
    }

    /// The furthest state ahead of the relay that enough nodes have acknowledged.
    pub(super) fn certified_ahead(&self) -> Option<(Chain, &Acknowledged)> {
        let mut states = self.ahead.acks.iter().rev();
        let certified = |acks: &Acknowledged| check_minima(&self.manifest, acks.keys()).is_ok();
        let (chain, acks) = states.find(|(_, acks)| certified(acks))?;
        Some((*chain, acks))
    }

    /// Who is not here with the state ahead of the relay that most nodes have acknowledged, if there is one.
    pub(super) fn missing_ahead(&self) -> Option<Vec<NodeId>> {
        let acks = self.ahead.acks.values().max_by_key(|acks| acks.len())?;
        let has_it = |node: &NodeId| acks.contains_key(node) && self.is_here(*node);
        let all = self.manifest.roster().keys().copied();
        Some(all.filter(|node| !has_it(node)).collect())
    }

    /// A round is complete: from now on no state can be ahead, and whoever claims one is turned away.
    pub(super) fn end_ahead(&mut self) {
        self.ahead = Ahead {
            possible: false,
            acks: BTreeMap::new(),
        };
        let relay = self.chain.round;
        let further = |(node, peer): (&NodeId, &Peer)| {
            let round = peer.stands.round;
            // Nobody can have the round's result yet.
            (round >= relay).then_some((*node, round))
        };
        let further: Vec<_> = self.here.iter().filter_map(further).collect();
        for (node, round) in further {
            self.refuse(node, Refusal::CannotCatchUp { relay, node: round });
        }
    }

    /// The relay stands where these nodes do. Whatever it knew is history.
    fn recover(&mut self, checkpoint: Checkpoint) {
        self.chain = checkpoint.chain;
        self.acks = checkpoint.valid_acks(&self.manifest, self.unix_s());
        self.ahead.acks.clear();
        self.begin_anew();
        let behind = self.here.iter();
        let behind = behind.filter(|(_, peer)| peer.stands != self.chain);
        self.unserved = behind.map(|(node, _)| *node).collect();
        let round = self.chain.round;
        self.log(Entry::Adopted(checkpoint.clone()));
        self.actions.push(Action::Adopt(checkpoint));
        self.report(Report::Recovered { round });
        for node in self.here() {
            self.catch_up(node);
        }
    }
}

/// A node was asked to lend its model.
pub(in crate::round) struct Recovering {
    checkpoint: Checkpoint,
    lender: NodeId,
    deadline: Duration,
}

impl Recovering {
    /// Asks one of the nodes that have it for a certified model that is ahead, if any is here.
    pub(super) fn begin(session: &mut Session) -> Option<Self> {
        let (chain, acks) = session.certified_ahead()?;
        let acks = acks.values().cloned().collect();
        let checkpoint = Checkpoint { chain, acks };
        let has_it = session.here.iter();
        let has_it = has_it.filter(|(_, peer)| peer.stands == chain);
        // Any of them, so that one that lends another model cannot be the one for ever.
        let (lender, _) = has_it.choose(&mut session.rng)?;
        let (lender, model) = (*lender, chain.model);
        session.actions.push(Action::Borrow {
            node: lender,
            model,
        });
        let wait = Duration::from_secs(session.manifest.timeouts().result_s);
        let wait = wait.saturating_add(session.manifest.transfer_timeout());
        Some(Self {
            checkpoint,
            lender,
            deadline: session.after(wait),
        })
    }

    /// The certified model is here.
    pub(super) fn lent(self, session: &mut Session, node: NodeId, body: BodyId) -> Phase {
        if (node, body) != (self.lender, BodyId::model(self.checkpoint.chain.model)) {
            return Phase::Recovering(self);
        }
        session.recover(self.checkpoint);
        match session.finished() {
            true => Phase::Acks(Acks::begin(session)),
            // Those that have to be brought up take part in the next round as well.
            false => Phase::Gathering(Gathering::at_start(session.now)),
        }
    }

    /// A node is gone.
    pub(super) fn without(self, session: &mut Session, node: NodeId) -> Phase {
        match node == self.lender {
            true => Self::again(session),
            false => Phase::Recovering(self),
        }
    }

    pub(super) fn advance(self, session: &mut Session) -> Phase {
        match session.now < self.deadline {
            true => Phase::Recovering(self),
            false => Self::again(session),
        }
    }

    fn again(session: &mut Session) -> Phase {
        session.actions.push(Action::Discard);
        Phase::Gathering(Gathering::after(session.now, PAUSE))
    }
}
