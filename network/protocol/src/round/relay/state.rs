//! What outlives the attempts: where the relay stands, and three slices of state, each with its own
//! file. Who is connected ([`Presence`]), who is bound to whom ([`Obligations`]), and what was
//! published ([`Published`]).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;

use super::action::Action;
use super::ahead::Ahead;
use super::attempt;
use super::obligations::Obligations;
use super::plateau::Plateau;
use super::presence::Presence;
use super::published::{Delivery, LastResult, Published};
use super::report::Report;
use super::selection::{Candidates, Selection, are_enough};
use super::settings::Settings;
use crate::audit::{Entry, Party};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::checkpoint::Checkpoint;
use crate::round::clock::check_clock;
use crate::round::head::Head;
use crate::round::key_offer::KeyOffer;
use crate::round::message::{Keys, ResultAck, Signed};
use crate::round::opening::Opening;
use crate::round::outcome::Outcome;
use crate::round::peer::{BoxOpener, Proof};
use crate::round::refusal::{Kind, Refusal};
use crate::wire::{BodyId, Hello, RelayFrame};

/// Where the relay stands, and what it knows of its nodes.
pub(in crate::round) struct RelayState {
    pub(in crate::round) manifest: Arc<Manifest>,
    settings: Settings,
    pub(in crate::round) head: Head,
    /// Last attempt opened for the next round.
    pub(in crate::round) attempt: u32,
    pub(in crate::round) now: Duration,
    epoch_unix_s: u64,
    rng: StdRng,
    pub(in crate::round) presence: Presence,
    pub(in crate::round) obligations: Obligations,
    pub(super) published: Published,
    pub(super) plateau: Plateau,
    ahead: Ahead,
    opener: BoxOpener,
    /// What proves that nodes have lied, for whoever connects.
    proofs: Vec<Proof>,
    /// What the driver is to do about the event at hand.
    actions: Vec<Action>,
}

/// What comes next.
pub(super) enum NextStep {
    /// All rounds are done.
    Finished,
    /// Too few nodes are ready for an attempt.
    Wait,
    /// An attempt is opened for these nodes.
    Open(Selection),
}

impl RelayState {
    pub(super) fn new(
        manifest: Arc<Manifest>,
        settings: Settings,
        head: Head,
        epoch_unix_s: u64,
        seed: [u8; 32],
        opener: BoxOpener,
    ) -> Self {
        Self {
            plateau: Plateau::default(),
            obligations: Obligations::new(manifest.clone(), attempt::bonds(&manifest)),
            manifest,
            settings,
            head,
            attempt: 0,
            now: Duration::ZERO,
            epoch_unix_s,
            rng: StdRng::from_seed(seed),
            presence: Presence::default(),
            published: Published::default(),
            ahead: Ahead::none_yet(),
            opener,
            proofs: Vec::new(),
            actions: Vec::new(),
        }
    }

    // Time.

    pub(in crate::round) fn unix_s(&self) -> u64 {
        self.epoch_unix_s.saturating_add(self.now.as_secs())
    }

    /// The relay's clock shows `unix_s` at `now`.
    pub(super) fn set_clock(&mut self, now: Duration, unix_s: u64) {
        self.epoch_unix_s = unix_s.saturating_sub(now.as_secs());
    }

    /// Returns the time at which `wait` will be over.
    pub(in crate::round) fn after(&self, wait: Duration) -> Duration {
        self.now.saturating_add(wait)
    }

    /// Returns how long a download and its check may take.
    pub(super) fn delivery_wait(&self) -> Duration {
        let result = Duration::from_secs(self.manifest.timeouts().result_s);
        result.saturating_add(self.manifest.transfer_timeout())
    }

    // What the driver is to do.

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(in crate::round) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(in crate::round) fn send(&mut self, node: NodeId, frame: RelayFrame) {
        self.act(Action::Send(node, frame));
    }

    /// Asks a node for a body of an attempt with a committee.
    pub(in crate::round) fn collect(
        &mut self,
        node: NodeId,
        ctx: Digest,
        body: BodyId,
        root: Digest,
    ) {
        self.act(Action::Collect {
            node,
            ctx,
            body,
            root,
            sums: Vec::new(),
        });
    }

    pub(in crate::round) fn log(&mut self, entry: Entry) {
        self.act(Action::Log(entry));
    }

    pub(in crate::round) fn log_refusal(&mut self, by: Party, to: Party, refusal: Refusal) {
        self.log(Entry::Refused { by, to, refusal });
    }

    pub(in crate::round) fn report(&mut self, report: Report) {
        self.act(Action::Report(report));
    }

    /// Logs and reports that the relay does not go on with a node.
    pub(super) fn fault(&mut self, node: NodeId, refusal: Refusal) {
        self.log_refusal(Party::Relay, Party::Node(node), refusal.clone());
        self.report(Report::Refused(node, refusal));
    }

    /// Reports a frame that came too late for what it belongs to. That is no fault of the node.
    pub(in crate::round) fn late(&mut self, node: NodeId, what: Kind) {
        self.report(Report::Late(node, what));
    }

    // Who comes and goes.

    /// A node says hello.
    pub(super) fn greet(&mut self, node: NodeId, hello: &Hello) {
        if let Err(refusal) = self.admit(node, hello) {
            return self.refuse(node, refusal);
        }
        self.presence.connect(node, hello.head);
        self.obligations.greet(node, hello);
        self.report(Report::Joined(node));
        // Before it is asked to go on without them.
        for proof in self.proofs.clone() {
            self.send(node, RelayFrame::Convicted(proof));
        }
        self.catch_up(node);
    }

    fn admit(&self, node: NodeId, hello: &Hello) -> Result<(), Refusal> {
        let member = self.manifest.member(node);
        let member = member.map_err(|_| Refusal::Stranger(node))?;
        // First, since nothing comes back from an expiry that a wrong clock has found.
        check_clock(hello.unix_s, self.unix_s())?;
        if member.expires_unix_s <= self.unix_s() {
            return Err(Refusal::Expired(node));
        }
        if self.obligations.convicted().contains(&node) {
            return Err(Refusal::Convicted(node));
        }
        if hello.consortium_id != self.manifest.consortium_id() {
            let (ours, theirs) = (self.manifest.consortium_id(), hello.consortium_id);
            return Err(Refusal::Manifest { ours, theirs });
        }
        let Head {
            round,
            previous,
            model,
        } = hello.head;
        match round.cmp(&self.head.round) {
            Ordering::Less => Ok(()),
            Ordering::Equal => {
                let next = self.head.next_round();
                self.head.check_base(next, previous, model)
            }
            Ordering::Greater if self.ahead.is_possible() => Ok(()),
            Ordering::Greater => Err(Refusal::CannotCatchUp {
                relay: self.head.round,
                node: round,
            }),
        }
    }

    /// Somebody proves that a node has lied: everyone is shown the proof, and goes on without it.
    /// Returns which node, unless that is known.
    ///
    /// # Errors
    ///
    /// What [`Proof::judge`] refuses.
    pub(super) fn accused(&mut self, proof: Proof) -> Result<Option<NodeId>, Refusal> {
        let convicted = self.obligations.convicted();
        let conviction = proof.judge(&self.manifest, self.opener, convicted)?;
        let liar = conviction.liar;
        if !self.obligations.convict(liar) {
            return Ok(None);
        }
        self.log(Entry::Convicted(proof.clone()));
        self.report(Report::Convicted(conviction));
        for node in self.presence.nodes() {
            self.send(node, RelayFrame::Convicted(proof.clone()));
        }
        self.proofs.push(proof);
        self.refuse(liar, Refusal::Convicted(liar));
        Ok(Some(liar))
    }

    /// Takes up what the log proves.
    pub(super) fn resume_convictions<'a>(&mut self, proofs: impl IntoIterator<Item = &'a Proof>) {
        for proof in proofs {
            let convicted = self.obligations.convicted();
            let conviction = proof.judge(&self.manifest, self.opener, convicted);
            if conviction.is_ok_and(|conviction| self.obligations.convict(conviction.liar)) {
                self.proofs.push(proof.clone());
            }
        }
    }

    /// Turns a node away.
    pub(super) fn refuse(&mut self, node: NodeId, refusal: Refusal) {
        let was_connected = self.presence.disconnect(node).is_some();
        self.fault(node, refusal.clone());
        if was_connected {
            self.report(Report::Lost(node));
        }
        self.act(Action::TurnAway(node, refusal));
    }

    /// A node's connection is gone. Returns whether there was one.
    pub(super) fn lost(&mut self, node: NodeId) -> bool {
        let Some(stood) = self.presence.disconnect(node) else {
            return false;
        };
        let done = self.is_finished() && stood == self.head;
        self.report(match done {
            true => Report::Left(node),
            false => Report::Lost(node),
        });
        true
    }

    // Who takes part.

    /// Returns whether all rounds are done, or the model has not got better for as many as the
    /// operator waits.
    pub(super) fn is_finished(&self) -> bool {
        let is_patient = |patience| self.plateau.rounds() < patience;
        self.head.round >= self.settings.rounds()
            || !self.settings.patience().is_none_or(is_patient)
    }

    /// Says why all is done, if it is before the last round.
    pub(super) fn report_plateau(&mut self) {
        let round = self.head.round;
        if self.is_finished() && round < self.settings.rounds() {
            let rounds = self.plateau.rounds();
            self.report(Report::Plateau { round, rounds });
        }
    }

    /// Returns whether a node can take part in the next round.
    pub(in crate::round) fn is_ready(&self, node: NodeId) -> bool {
        self.presence.stands(node) == Some(self.head) && !self.obligations.is_excluded(node)
    }

    fn ready(&self) -> BTreeSet<NodeId> {
        let level = self.presence.at(self.head);
        level
            .filter(|node| !self.obligations.is_excluded(*node))
            .collect()
    }

    fn candidates(&self) -> Candidates<'_> {
        let (manifest, settings) = (&self.manifest, &self.settings);
        Candidates::new(manifest, settings, &self.obligations, self.ready())
    }

    /// Returns whether these nodes are enough for an attempt, in number and in organisations.
    pub(in crate::round) fn are_enough<'a>(
        &self,
        nodes: impl Iterator<Item = &'a NodeId> + Clone,
    ) -> bool {
        are_enough(&self.manifest, &self.settings, nodes)
    }

    /// Returns whether there are enough nodes for another attempt even without these.
    pub(in crate::round) fn suffices_without(&self, missing: &[NodeId]) -> bool {
        self.candidates().suffice_without(missing)
    }

    /// Returns whether enough nodes are ready for an attempt. After another state than the one that
    /// nodes certify there would be another history.
    pub(super) fn can_open(&self) -> bool {
        self.candidates().suffice() && self.ahead.certified(&self.manifest).is_none()
    }

    /// Returns whether only certain participants can try again on this model.
    pub(in crate::round) fn is_bound(&self) -> bool {
        self.candidates().bound().is_some()
    }

    /// Returns the nodes without which no round can begin.
    pub(super) fn missing(&self) -> Vec<NodeId> {
        match self.ahead.most_acknowledged().filter(|_| !self.can_open()) {
            // Those who are not connected with the state ahead that most have acknowledged.
            Some(acks) => {
                let has_it =
                    |node: &NodeId| acks.contains_key(node) && self.presence.is_connected(*node);
                let all = self.manifest.roster().keys().copied();
                all.filter(|node| !has_it(node)).collect()
            }
            None => self.candidates().missing(),
        }
    }

    /// Decides what comes next.
    pub(super) fn decide(&mut self) -> NextStep {
        if self.is_finished() {
            return NextStep::Finished;
        }
        if !self.can_open() {
            return NextStep::Wait;
        }
        let ready = self.ready();
        let candidates = Candidates::new(&self.manifest, &self.settings, &self.obligations, ready);
        NextStep::Open(candidates.choose(&mut self.rng))
    }

    /// Opens the next attempt, of which `nodes` are asked to take part. Returns how long they have
    /// for training.
    pub(super) fn begin_attempt(&mut self, nodes: usize) -> Duration {
        // As many as a round needs stand there, whatever has become of their acknowledgements.
        self.settle();
        self.attempt = self.attempt.saturating_add(1);
        self.log(Entry::Opened(self.opening()));
        self.report(Report::Opened {
            round: self.head.next_round(),
            attempt: self.attempt,
            nodes,
        });
        let timeouts = self.manifest.timeouts();
        Duration::from_secs(match self.attempt {
            1 => timeouts.training_s.saturating_add(timeouts.keys_s),
            // The update is kept; but a node that was restarted trains again.
            _ => timeouts.training_s.max(timeouts.keys_s),
        })
    }

    /// Returns the opening of the attempt under way.
    pub(in crate::round) fn opening(&self) -> Opening {
        Opening::after(&self.head, self.attempt)
    }

    /// Asks a node to take part in the attempt.
    pub(in crate::round) fn invite(&mut self, node: NodeId, deadline: Duration) {
        let left = deadline.saturating_sub(self.now);
        let open = RelayFrame::Open {
            opening: self.opening(),
            deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        };
        self.send(node, open);
    }

    /// Returns whether a node that comes while an attempt is under way can still contribute to it.
    pub(in crate::round) fn may_join(
        &self,
        node: NodeId,
        invited: &BTreeSet<NodeId>,
        exact: bool,
    ) -> bool {
        invited.contains(&node) || (!exact && self.settings.fraction_fit() >= 1.0)
    }

    /// Checks a key that `node` offers, having been `asked` for them. Returns nothing if they came
    /// too late.
    pub(in crate::round) fn checked_offer(
        &mut self,
        node: NodeId,
        offer: &KeyOffer,
        asked: bool,
    ) -> Result<Option<Keys>, Refusal> {
        let what = Kind::Keys;
        let keys = offer.keys.verify(&self.manifest, self.unix_s())?;
        let signer = keys.node;
        if signer != node {
            return Err(Refusal::Stranger(signer));
        }
        // Sent before the node could know of this attempt, or that it is not in it: late, not
        // hostile.
        let current = (self.head.next_round(), self.attempt);
        if (keys.round, keys.attempt) < current || !asked {
            self.late(node, what);
            return Ok(None);
        }
        keys.check(&self.manifest, &self.head)?;
        if keys.attempt != self.attempt {
            return Err(Refusal::Stale { what, signer });
        }
        if keys.expires_unix_s <= self.unix_s() {
            return Err(Refusal::KeyExpired(signer));
        }
        keys.check_round_key(&offer.round_key, self.opener)?;
        Ok(Some(keys))
    }

    /// Keys that were good when they came are not good together: one has expired while others were
    /// waited for. Whose it is is left out, unless it has to be `exact`ly these nodes. Returns on
    /// whose account the attempt is over.
    pub(in crate::round) fn blame_expired(
        &mut self,
        refusal: &Refusal,
        exact: bool,
    ) -> Vec<NodeId> {
        let Refusal::KeyExpired(node) = *refusal else {
            return Vec::new();
        };
        self.fault(node, refusal.clone());
        if !exact {
            self.obligations.exclude(node);
        }
        vec![node]
    }

    /// Ends the attempt on account of `nodes`.
    pub(super) fn give_up(&mut self, nodes: Vec<NodeId>) {
        let (round, attempt) = (self.head.next_round(), self.attempt);
        self.report(Report::Abandoned {
            round,
            attempt,
            nodes,
        });
        self.act(Action::Discard);
    }

    // Results, and who has them.

    /// A round is complete: the chain goes on, and everyone is sent the result.
    pub(super) fn complete(
        &mut self,
        next: Head,
        outcome: Outcome,
        participants: BTreeSet<NodeId>,
    ) {
        let base = std::mem::replace(&mut self.head, next);
        let attempt = std::mem::take(&mut self.attempt);
        let entry = Entry::Outcome(outcome.clone());
        let last = LastResult { base, outcome };
        let heard_by = self.after(self.delivery_wait());
        self.published
            .publish(last, attempt, participants, heard_by);
        self.turn_away_ahead();
        self.obligations.begin_anew(|_| false);
        self.log(entry);
        self.act(Action::Keep);
        for node in self.presence.nodes() {
            self.catch_up(node);
        }
    }

    /// From now on no state can be ahead of the relay, and whoever claims one is turned away.
    fn turn_away_ahead(&mut self) {
        self.ahead.end();
        let relay = self.head.round;
        // Nobody can have the round's result yet.
        for (node, round) in self.presence.at_or_beyond(relay) {
            self.refuse(node, Refusal::CannotCatchUp { relay, node: round });
        }
    }

    /// Sends a node that is behind what it lacks. As long as that is not at hand, for want of
    /// acknowledgements, the node waits. One that is not behind after the last round is told that
    /// it was the last.
    fn catch_up(&mut self, node: NodeId) {
        if self.is_finished() && self.presence.stands(node) == Some(self.head) {
            let rounds = self.head.round;
            return self.send(node, RelayFrame::Finished { rounds });
        }
        let behind = self.presence.unserved(node);
        let behind = behind.filter(|stands| stands.round <= self.head.round);
        let Some(stands) = behind.filter(|stands| *stands != self.head) else {
            return;
        };
        let (published, head) = (&mut self.published, self.head);
        let Some(delivery) = published.serve(node, stands, head, &self.manifest) else {
            return;
        };
        self.presence.serve(node);
        self.act(match delivery {
            Delivery::Result(outcome) => Action::Deliver(node, outcome),
            Delivery::Checkpoint(checkpoint) => Action::Restore(node, checkpoint),
        });
    }

    /// A node acknowledges a result.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the acknowledgement does not hold, or is of another history.
    pub(super) fn acknowledged(
        &mut self,
        node: NodeId,
        signed: &Signed<ResultAck>,
    ) -> Result<(), Refusal> {
        let ack = signed.verify(&self.manifest, self.unix_s())?;
        if ack.node != node {
            return Err(Refusal::Stranger(ack.node));
        }
        if ack.consortium_id != self.manifest.consortium_id() {
            let (ours, theirs) = (self.manifest.consortium_id(), ack.consortium_id);
            return Err(Refusal::Manifest { ours, theirs });
        }
        let Head {
            round,
            previous,
            model,
        } = ack.head;
        if round > self.head.round {
            return self.acknowledged_ahead(node, ack.head, signed);
        }
        let current = round == self.head.round;
        if current {
            self.head.check_base(round, previous, model)?;
            self.log(Entry::Ack(signed.clone()));
            let (published, manifest) = (&mut self.published, &self.manifest);
            if published.acknowledge(node, signed.clone(), manifest) {
                self.settle();
                let checkpoint = self.published.checkpoint(self.head);
                self.act(Action::Certify(checkpoint));
            }
        }
        // A node that returns repeats its last acknowledgement, which says nothing new about it.
        if self.presence.advance(node, ack.head) {
            self.obligations.release(node);
            self.catch_up(node);
        }
        // There may be enough of them now for a checkpoint.
        if current {
            for node in self.presence.not_at(self.head) {
                self.catch_up(node);
            }
        }
        Ok(())
    }

    /// A node that says it stands ahead of the relay acknowledges where it stands.
    fn acknowledged_ahead(
        &mut self,
        node: NodeId,
        stands: Head,
        signed: &Signed<ResultAck>,
    ) -> Result<(), Refusal> {
        if self.presence.stands(node) != Some(stands) || !self.ahead.is_possible() {
            let (relay, node) = (self.head.round, stands.round);
            return Err(Refusal::CannotCatchUp { relay, node });
        }
        if self.ahead.insert(node, stands, signed.clone()) {
            let round = stands.round;
            self.report(Report::Behind { node, round });
        }
        Ok(())
    }

    /// Returns whether nodes still have to take the last result: those that are connected, and
    /// after the last round every participant, since nobody will be there for it later.
    pub(super) fn awaits_acks(&self) -> bool {
        let unserved = self.is_finished() && !self.published.unserved().is_empty();
        let behind = |last: &LastResult| self.presence.at(last.base).next().is_some();
        unserved || self.published.last().is_some_and(behind)
    }

    /// Enough nodes have taken the last result, or there is no round after it: there is no way back
    /// any more.
    pub(super) fn settle(&mut self) {
        if self.published.settle() {
            self.act(Action::Commit(self.head));
        }
    }

    /// A node refuses something of `round`. It counts if that is the last result, whose tags do not
    /// fit.
    pub(super) fn rejected(&mut self, node: NodeId, round: u64, refusal: &Refusal) {
        if round == self.head.round && *refusal == Refusal::Tag {
            self.published.reject(node);
        }
    }

    /// Returns whether the last result has to be taken back before anything else is done, and asks
    /// for that when it is due.
    pub(super) fn rolls_back(&mut self) -> bool {
        let spoiled = self.published.is_spoiled(&self.manifest, self.now);
        if spoiled && self.published.try_rollback(self.now) {
            self.act(Action::RollBack);
        }
        spoiled
    }

    /// The driver has taken the last result back: the same participants have to begin the round
    /// again. Returns whether there was one.
    pub(super) fn rolled_back(&mut self) -> bool {
        let acknowledged = self.published.acknowledged();
        let Some((last, provisional)) = self.published.roll_back() else {
            return false;
        };
        let round = self.head.round;
        self.plateau.take_back();
        self.log(Entry::RolledBack);
        self.head = last.base;
        self.attempt = provisional.attempt;
        let participants = last.outcome.parts.nodes(&self.manifest);
        self.obligations.require(participants);
        let nodes = provisional.into_refused();
        self.report(Report::RolledBack {
            round,
            nodes,
            acknowledged,
        });
        // Who took what honest nodes refuse stands where nobody will follow.
        let relay = self.head.round;
        for (id, node) in self.presence.at_or_beyond(round) {
            self.refuse(id, Refusal::CannotCatchUp { relay, node });
        }
        // Nodes that were sent the revoked result are level with the relay again; work out anew
        // what everyone else lacks.
        self.presence.forget_result_after(self.head);
        for node in self.presence.nodes() {
            self.catch_up(node);
        }
        true
    }

    // Restarts, and losses.

    /// Returns the last result, if it is still at hand.
    pub(super) fn last_result(&self) -> Option<&LastResult> {
        self.published.last()
    }

    /// Takes the last result up again, if it is the one that led here. `taken` is whether enough
    /// nodes have taken it.
    pub(super) fn resume(&mut self, last: LastResult, taken: bool) {
        let LastResult { base, outcome } = &last;
        if base.next(outcome.ctx, outcome.root, outcome.model) == self.head {
            let heard_by = self.after(self.delivery_wait());
            self.published.resume(last, taken, &self.manifest, heard_by);
        }
    }

    /// Takes acknowledgements up again.
    pub(super) fn resume_certified(&mut self, checkpoint: &Checkpoint) {
        let acks = checkpoint.valid_acks(&self.manifest, self.unix_s());
        if checkpoint.head == self.head && !acks.is_empty() {
            if self.published.resume_acks(acks, &self.manifest) {
                self.settle();
            }
        } else {
            self.published.resume_former_acks(checkpoint.head, acks);
        }
    }

    /// Returns a certified state that is ahead of the relay, and one of the nodes that have its
    /// model, if there is one connected.
    pub(super) fn certified_ahead(&mut self) -> Option<(Checkpoint, NodeId)> {
        let (head, acks) = self.ahead.certified(&self.manifest)?;
        let acks = acks.values().cloned().collect();
        let has_it = self.presence.at(head);
        // Any of them, so that one that sends another model cannot be the one for ever.
        let sender = has_it.choose(&mut self.rng)?;
        Some((Checkpoint { head, acks }, sender))
    }

    /// The relay stands where these nodes do. Whatever it knew is history.
    pub(super) fn recover(&mut self, checkpoint: Checkpoint) {
        self.head = checkpoint.head;
        self.attempt = 0;
        self.ahead.clear();
        let (presence, head) = (&self.presence, self.head);
        self.obligations
            .begin_anew(|node| presence.stands(node) == Some(head));
        let acks = checkpoint.valid_acks(&self.manifest, self.unix_s());
        self.published.replace(acks, self.presence.not_at(head));
        let round = head.round;
        self.log(Entry::Adopted(checkpoint.clone()));
        self.act(Action::Adopt(checkpoint));
        self.report(Report::Recovered { round });
        for node in self.presence.nodes() {
            self.catch_up(node);
        }
    }
}
