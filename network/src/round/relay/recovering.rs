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
use super::session::Session;
use super::{Action, Phase, Report};
use crate::identity::NodeId;
use crate::round::chain::Chain;
use crate::round::message::{ResultAck, Signed};
use crate::round::minima::check_minima;
use crate::round::outcome::Checkpoint;
use crate::round::refusal::Refusal;

/// How long after a node that did not lend its model another one is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// What nodes have acknowledged that is ahead of the relay.
pub(super) struct Ahead {
    /// Whether there can be such a thing.
    possible: bool,
    acks: BTreeMap<NodeId, (Chain, Signed<ResultAck>)>,
}

impl Ahead {
    pub(super) fn none_yet() -> Self {
        Self {
            possible: true,
            acks: BTreeMap::new(),
        }
    }

    /// From now on there can be none.
    pub(super) fn end(&mut self) {
        *self = Self {
            possible: false,
            acks: BTreeMap::new(),
        };
    }

    /// Whether there can be any.
    pub(super) fn is_possible(&self) -> bool {
        self.possible
    }

    /// Who has acknowledged this state.
    fn acks_of(&self, chain: Chain) -> BTreeMap<NodeId, &Signed<ResultAck>> {
        let acks = self.acks.iter().filter(|(_, (of, _))| *of == chain);
        acks.map(|(node, (_, signed))| (*node, signed)).collect()
    }

    /// All states that somebody has acknowledged.
    fn chains(&self) -> impl Iterator<Item = Chain> {
        self.acks.values().map(|(chain, _)| *chain)
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
        let said = self
            .here
            .get(&node)
            .is_some_and(|peer| peer.stands == stands);
        if !said || !self.ahead.possible {
            let (relay, node) = (self.chain.round, stands.round);
            return Err(Refusal::CannotCatchUp { relay, node });
        }
        let round = stands.round;
        let former = self.ahead.acks.insert(node, (stands, signed.clone()));
        if former.is_none_or(|(chain, _)| chain != stands) {
            self.report(Report::Behind { node, round });
        }
        Ok(())
    }

    /// The checkpoint of the furthest state ahead of the relay that enough nodes have acknowledged.
    pub(super) fn checkpoint_ahead(&self) -> Option<Checkpoint> {
        let certified = |chain: &Chain| {
            let acks = self.ahead.acks_of(*chain);
            check_minima(&self.manifest, acks.keys()).is_ok()
        };
        let chain = self.ahead.chains().filter(certified);
        let chain = chain.max_by_key(|chain| chain.round)?;
        let acks = self.ahead.acks_of(chain).into_values().cloned().collect();
        Some(Checkpoint { chain, acks })
    }

    /// Who has not acknowledged the state ahead of the relay that most nodes have, if there is one.
    pub(super) fn missing_ahead(&self) -> Option<Vec<NodeId>> {
        let most = |chain: &Chain| (self.ahead.acks_of(*chain).len(), chain.round);
        let chain = self.ahead.chains().max_by_key(most)?;
        let acks = self.ahead.acks_of(chain);
        let all = self.manifest.roster().keys().copied();
        Some(all.filter(|node| !acks.contains_key(node)).collect())
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
        let checkpoint = session.checkpoint_ahead()?;
        let has_it = session.here.iter();
        let has_it = has_it.filter(|(_, peer)| peer.stands == checkpoint.chain);
        // Any of them, so that one that lends another model cannot be the one for ever.
        let (lender, _) = has_it.choose(&mut session.rng)?;
        let (lender, model) = (*lender, checkpoint.chain.model);
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
    pub(super) fn lent(self, session: &mut Session, node: NodeId) -> Phase {
        if node != self.lender {
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
