//! What outlives the phases: who is here and where they stand, the chain, the last result.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use serde::{Deserialize, Serialize};

use super::gathering::Gathering;
use super::offers::Offers;
use super::recovering::Ahead;
use super::untaken::Untaken;
use super::{Action, Phase, Report, Settings};
use crate::audit::{Entry, Party};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::chain::Chain;
use crate::round::committee::Committee;
use crate::round::committee::relay::Convening;
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::minima::check_minima;
use crate::round::outcome::Outcome;
use crate::round::refusal::{Kind, Refusal};
use crate::wire::{BodyId, Hello, RelayFrame};

pub(in crate::round) struct Session {
    pub(in crate::round) manifest: Arc<Manifest>,
    pub(super) settings: Settings,
    pub(in crate::round) chain: Chain,
    /// Last attempt opened for the next round.
    pub(in crate::round) attempt: u32,
    pub(in crate::round) now: Duration,
    pub(in crate::round) actions: Vec<Action>,
    epoch_unix_s: u64,
    pub(super) rng: StdRng,
    pub(super) here: BTreeMap<NodeId, Peer>,
    /// Nodes that refused to go on in this round, or were too slow.
    excluded: BTreeSet<NodeId>,
    /// These nodes were asked for their sums, and only they can try again (the difference rule).
    required: Option<BTreeSet<NodeId>>,
    /// With whom these nodes have sent a sum before, as they say themselves, or may have voted for one.
    pub(super) claims: BTreeMap<NodeId, BTreeSet<NodeId>>,
    pub(super) last: Option<LastResult>,
    /// The way back behind the last result, as long as no node is known to have taken it.
    pub(super) untaken: Option<Untaken>,
    /// Participants of the last result that have not acknowledged it.
    pub(super) unserved: BTreeSet<NodeId>,
    /// Acknowledgements of the state where the relay stands.
    pub(super) acks: BTreeMap<NodeId, Signed<ResultAck>>,
    /// Acknowledgements of states that are ahead of the relay.
    pub(super) ahead: Ahead,
}

/// A node that is connected.
pub(super) struct Peer {
    pub(super) stands: Chain,
    /// It was sent what it lacks; its acknowledgement will tell.
    pub(super) catching_up: bool,
}

/// The last result, for nodes that have not taken it yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastResult {
    /// Where a node must stand to take it.
    pub base: Chain,
    /// What it is sent.
    pub outcome: Outcome,
}

impl Session {
    pub(super) fn new(
        manifest: Arc<Manifest>,
        settings: Settings,
        chain: Chain,
        epoch_unix_s: u64,
        seed: [u8; 32],
    ) -> Self {
        Self {
            manifest,
            settings,
            chain,
            attempt: 0,
            now: Duration::ZERO,
            actions: Vec::new(),
            epoch_unix_s,
            rng: StdRng::from_seed(seed),
            here: BTreeMap::new(),
            excluded: BTreeSet::new(),
            required: None,
            claims: BTreeMap::new(),
            last: None,
            untaken: None,
            unserved: BTreeSet::new(),
            acks: BTreeMap::new(),
            ahead: Ahead::none_yet(),
        }
    }

    pub(in crate::round) fn unix_s(&self) -> u64 {
        self.epoch_unix_s.saturating_add(self.now.as_secs())
    }

    /// The time at which `wait` will be over.
    pub(in crate::round) fn after(&self, wait: Duration) -> Duration {
        self.now.saturating_add(wait)
    }

    /// Whether these nodes are enough for an attempt, in number and in organisations.
    pub(in crate::round) fn are_enough<'a>(
        &self,
        nodes: impl Iterator<Item = &'a NodeId> + Clone,
    ) -> bool {
        nodes.clone().count() >= self.min_nodes() && check_minima(&self.manifest, nodes).is_ok()
    }

    /// Least number of participants.
    pub(super) fn min_nodes(&self) -> usize {
        self.settings.min_nodes.max(self.manifest.min_nodes())
    }

    /// Whether all rounds are done.
    pub(super) fn finished(&self) -> bool {
        self.chain.round >= self.settings.rounds
    }

    pub(super) fn last(&self) -> Option<&LastResult> {
        self.last.as_ref()
    }

    /// The bytes of the last result make room for the next.
    pub(in crate::round) fn forget_last(&mut self) {
        self.last = None;
    }

    pub(in crate::round) fn send(&mut self, node: NodeId, frame: RelayFrame) {
        self.actions.push(Action::Send(node, frame));
    }

    /// Asks a node for a body of the attempt.
    pub(in crate::round) fn collect(
        &mut self,
        node: NodeId,
        ctx: Digest,
        body: BodyId,
        root: Digest,
    ) {
        self.actions.push(Action::Collect {
            node,
            ctx,
            body,
            root,
        });
    }

    pub(in crate::round) fn log(&mut self, entry: Entry) {
        self.actions.push(Action::Log(entry));
    }

    pub(in crate::round) fn log_refusal(&mut self, by: Party, to: Party, refusal: Refusal) {
        self.log(Entry::Refused { by, to, refusal });
    }

    pub(in crate::round) fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }

    /// Logs and reports that the relay does not go on with a node.
    pub(super) fn fault(&mut self, node: NodeId, refusal: Refusal) {
        self.log_refusal(Party::Relay, Party::Node(node), refusal.clone());
        self.report(Report::Refused(node, refusal));
    }

    /// Turns a node away.
    pub(super) fn refuse(&mut self, node: NodeId, refusal: Refusal) {
        let was_here = self.here.remove(&node).is_some();
        self.fault(node, refusal.clone());
        if was_here {
            self.report(Report::Lost(node));
        }
        self.actions.push(Action::TurnAway(node, refusal));
    }

    /// A frame that came too late for what it belongs to. That is no fault of the node.
    pub(in crate::round) fn late(&mut self, node: NodeId, what: Kind) {
        self.report(Report::Late(node, what));
    }

    pub(in crate::round) fn is_here(&self, node: NodeId) -> bool {
        self.here.contains_key(&node)
    }

    /// A node's connection is gone. Says whether there was one.
    pub(super) fn lost(&mut self, node: NodeId) -> bool {
        let Some(peer) = self.here.remove(&node) else {
            return false;
        };
        let done = self.finished() && peer.stands == self.chain;
        self.report(match done {
            true => Report::Left(node),
            false => Report::Lost(node),
        });
        true
    }

    /// A node says hello.
    pub(super) fn greet(&mut self, node: NodeId, hello: &Hello) {
        if let Err(refusal) = self.admit(node, hello) {
            return self.refuse(node, refusal);
        }
        let stands = Chain {
            round: hello.round,
            previous: hello.previous,
            model: hello.model,
        };
        self.here.insert(
            node,
            Peer {
                stands,
                catching_up: false,
            },
        );
        // A node that has refused gets another chance when it comes back.
        self.excluded.remove(&node);
        if self.manifest.committee().is_some() {
            self.claims.remove(&node);
            self.claimed(node, &hello.voted_for);
        }
        self.report(Report::Joined(node));
        if stands == self.chain {
            self.taken();
        }
        self.catch_up(node);
    }

    fn admit(&self, node: NodeId, hello: &Hello) -> Result<(), Refusal> {
        let member = self.manifest.member(node);
        let member = member.map_err(|_| Refusal::Stranger(node))?;
        if member.expires_unix_s <= self.unix_s() {
            return Err(Refusal::Expired(node));
        }
        if hello.sid != self.manifest.sid() {
            let (ours, theirs) = (self.manifest.sid(), hello.sid);
            return Err(Refusal::Manifest { ours, theirs });
        }
        match hello.round.cmp(&self.chain.round) {
            Ordering::Less => Ok(()),
            Ordering::Equal => {
                let round = self.chain.next_round();
                self.chain.check_base(round, hello.previous, hello.model)
            }
            Ordering::Greater if self.ahead.is_possible() => Ok(()),
            Ordering::Greater => Err(Refusal::CannotCatchUp {
                relay: self.chain.round,
                node: hello.round,
            }),
        }
    }

    /// Nodes that are connected.
    pub(super) fn here(&self) -> Vec<NodeId> {
        self.here.keys().copied().collect()
    }

    /// Whether a node can take part in the next round.
    pub(in crate::round) fn is_ready(&self, node: NodeId) -> bool {
        let peer = self.here.get(&node);
        peer.is_some_and(|peer| peer.stands == self.chain) && !self.excluded.contains(&node)
    }

    /// Nodes that can take part in the next round, whoever the others are.
    fn free(&self) -> BTreeSet<NodeId> {
        self.here
            .keys()
            .filter(|id| self.is_ready(**id) && (!self.binds() || !self.claims.contains_key(id)))
            .copied()
            .collect()
    }

    /// Whether participants are bound by what they have sent. With a committee, its holders are.
    fn binds(&self) -> bool {
        self.manifest.committee().is_none()
    }

    /// Nodes without which no round can begin.
    pub(super) fn missing(&self) -> Vec<NodeId> {
        if !self.can_open()
            && let Some(missing) = self.missing_ahead()
        {
            return missing;
        }
        let unready = |id: &&NodeId| !self.is_ready(**id);
        match self.bound() {
            Some(bound) => {
                let holders = self.manifest.committee().map(Committee::holders);
                let lacking = holders.filter(|_| !self.is_quorate(Some(bound)));
                let needed: BTreeSet<_> =
                    bound.iter().chain(lacking.into_iter().flatten()).collect();
                needed.into_iter().filter(unready).copied().collect()
            }
            None => {
                let all = self.manifest.roster().keys();
                all.filter(unready).copied().collect()
            }
        }
    }

    /// Checks keys that `node` offers, having been `asked` for them. Gives nothing if they came too late.
    pub(in crate::round) fn checked_offer(
        &mut self,
        node: NodeId,
        signed: &Signed<Keys>,
        asked: bool,
    ) -> Result<Option<Keys>, Refusal> {
        let keys = signed.verify(&self.manifest, self.unix_s())?;
        let signer = keys.node;
        if signer != node {
            return Err(Refusal::Stranger(signer));
        }
        // Sent before the node could know of this attempt, or that it is not in it: late, not hostile.
        let current = (self.chain.next_round(), self.attempt);
        if (keys.round, keys.attempt) < current || !asked {
            self.late(node, Kind::Keys);
            return Ok(None);
        }
        self.chain.check(&self.manifest, &keys)?;
        let what = Kind::Keys;
        if keys.attempt != self.attempt {
            return Err(Refusal::Stale { what, signer });
        }
        if keys.expires_unix_s <= self.unix_s() {
            return Err(Refusal::KeyExpired(signer));
        }
        Ok(Some(keys))
    }

    /// The only participants that can try again on this model, after sums were asked for.
    ///
    /// That nodes are bound by a sum of which the relay itself knows nothing any more is believed only if
    /// nothing goes on without them, for anyone can claim it.
    pub(super) fn bound(&self) -> Option<&BTreeSet<NodeId>> {
        if self.required.is_some() {
            return self.required.as_ref();
        }
        let free = self.is_quorate(None) && self.are_enough(self.free().iter());
        if self.claims.is_empty() || free {
            return None;
        }
        if !self.binds() {
            return self.decidable();
        }
        let supporters = |set: &&BTreeSet<NodeId>| {
            let claims = self.claims.values();
            claims.filter(|other| other == set).count()
        };
        self.claims.values().max_by_key(supporters)
    }

    /// Whether enough nodes are ready for an attempt.
    pub(super) fn can_open(&self) -> bool {
        let bound = self.bound();
        let enough = self.is_quorate(bound)
            && match bound {
                Some(bound) => bound.iter().all(|id| self.is_ready(*id)),
                None => self.are_enough(self.free().iter()),
            };
        // After another state than the one that nodes certify there would be another history.
        enough && self.certified_ahead().is_none()
    }

    /// Whether there are enough nodes even without these.
    pub(super) fn suffices_without(&self, missing: &[NodeId]) -> bool {
        let mut free = self.free();
        missing.iter().for_each(|node| {
            free.remove(node);
        });
        self.are_enough(free.iter())
    }

    /// Only these participants can try again on this model.
    pub(in crate::round) fn require(&mut self, participants: BTreeSet<NodeId>) {
        self.excluded.retain(|id| !participants.contains(id));
        self.required = Some(participants);
    }

    /// A node says that it has sent a sum with these participants, and can only go on with them.
    pub(super) fn claimed(&mut self, node: NodeId, sent_with: &[NodeId]) {
        let set: BTreeSet<_> = sent_with.iter().copied().collect();
        let known = set.iter().all(|id| self.manifest.roster().contains_key(id));
        let holds = |committee: &Committee| committee.contains(node);
        let of_it = set.contains(&node) || self.manifest.committee().is_some_and(holds);
        if known && of_it && set.len() >= self.manifest.min_nodes() {
            self.excluded.remove(&node);
            self.claims.insert(node, set);
        }
    }

    /// The node takes no further part in this round.
    pub(in crate::round) fn exclude(&mut self, node: NodeId) {
        self.excluded.insert(node);
    }

    /// Those who were excluded are asked again.
    pub(super) fn forgive(&mut self) {
        self.excluded.clear();
    }

    /// Opens an attempt, or waits until one can be opened.
    pub(super) fn open_or_gather(&mut self) -> Phase {
        if self.finished() {
            // Nobody is waited for any longer.
            self.taken();
            self.actions.push(Action::Finish);
            return Phase::Done;
        }
        if !self.can_open() {
            return Phase::Gathering(Gathering::now(self.now));
        }
        let exact = self.bound().is_some();
        let nodes = self.sample();
        self.attempt = self.attempt.saturating_add(1);
        self.log(Entry::Opened {
            round: self.chain.next_round(),
            attempt: self.attempt,
            previous: self.chain.previous,
            model: self.chain.model,
        });
        let timeouts = self.manifest.timeouts();
        let wait = Duration::from_secs(match self.attempt {
            1 => timeouts.training_s.saturating_add(timeouts.keys_s),
            // The update is kept; but a node that was restarted trains again.
            _ => timeouts.training_s.max(timeouts.keys_s),
        });
        self.report(Report::Opened {
            round: self.chain.next_round(),
            attempt: self.attempt,
            nodes: nodes.len(),
        });
        if self.manifest.committee().is_some() {
            let closes = self.after(wait.saturating_add(self.manifest.transfer_timeout()));
            return Phase::Convening(Convening::open(self, nodes, exact, closes));
        }
        let deadline = self.after(wait);
        for node in &nodes {
            self.invite(*node, deadline);
        }
        Phase::Offers(Offers::new(nodes, exact, deadline, self.now))
    }

    /// Asks a node to take part in the attempt.
    pub(in crate::round) fn invite(&mut self, node: NodeId, deadline: Duration) {
        let left = deadline.saturating_sub(self.now);
        let open = RelayFrame::Open {
            round: self.chain.next_round(),
            attempt: self.attempt,
            previous: self.chain.previous,
            model: self.chain.model,
            deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        };
        self.send(node, open);
    }

    fn sample(&mut self) -> BTreeSet<NodeId> {
        if let Some(bound) = self.bound() {
            return bound.clone();
        }
        let free = self.free();
        let share = self.settings.fraction_fit * free.len() as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of a small count, and clamped below"
        )]
        let wanted = share.ceil() as usize;
        let wanted = wanted.max(self.min_nodes());
        let sampled = free.iter().copied().sample(&mut self.rng, wanted);
        let sampled: BTreeSet<_> = sampled.into_iter().collect();
        match self.are_enough(sampled.iter()) {
            true => sampled,
            // Too many of one organisation.
            false => free,
        }
    }

    /// Forgets what belongs to the state before this one.
    pub(super) fn begin_anew(&mut self) {
        self.attempt = 0;
        self.excluded.clear();
        self.required = None;
        self.untaken = None;
        self.take_last();
        let (here, chain) = (&self.here, self.chain);
        self.claims
            .retain(|node, _| here.get(node).is_some_and(|peer| peer.stands == chain));
    }

    /// Ends the attempt on account of `nodes`, and opens another with the rest.
    pub(in crate::round) fn abandon(&mut self, nodes: &[NodeId]) -> Phase {
        self.give_up(nodes);
        self.open_or_gather()
    }

    /// [`Session::abandon`], since keys that were good when they came are not good together: one has expired while others
    /// were waited for. Whose it is is left out, unless it has to be `exact`ly these nodes.
    pub(in crate::round) fn abandon_keys(&mut self, refusal: &Refusal, exact: bool) -> Phase {
        let Refusal::KeyExpired(node) = *refusal else {
            return self.abandon(&[]);
        };
        self.fault(node, refusal.clone());
        if !exact {
            self.exclude(node);
        }
        self.abandon(&[node])
    }

    /// Ends the attempt on account of `nodes`.
    pub(in crate::round) fn give_up(&mut self, nodes: &[NodeId]) {
        let (round, attempt) = (self.chain.next_round(), self.attempt);
        self.report(Report::Abandoned {
            round,
            attempt,
            nodes: nodes.to_vec(),
        });
        self.actions.push(Action::Discard);
    }

    /// A round is complete: the chain goes on, and everyone is told.
    pub(super) fn complete(
        &mut self,
        next: Chain,
        outcome: Outcome,
        participants: BTreeSet<NodeId>,
    ) {
        let base = std::mem::replace(&mut self.chain, next);
        let (attempt, acks) = (
            std::mem::take(&mut self.attempt),
            std::mem::take(&mut self.acks),
        );
        self.untaken = Some(Untaken::new(attempt, acks));
        self.end_ahead();
        self.excluded.clear();
        self.required = None;
        self.claims.clear();
        self.unserved = participants;
        self.log(Entry::Outcome(outcome.clone()));
        self.last = Some(LastResult { base, outcome });
        self.actions.push(Action::Keep);
        for node in self.here() {
            self.catch_up(node);
        }
    }
}
