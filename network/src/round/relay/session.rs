//! What outlives the phases: who is here and where they stand, the chain, the last result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use super::gathering::Gathering;
use super::offers::Offers;
use super::{Action, Phase, Report, Settings};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::chain::Chain;
use crate::round::message::{Keys, ResultAck, Signed, Sum};
use crate::round::outcome::{Checkpoint, Outcome};
use crate::round::refusal::Refusal;
use crate::wire::{Hello, RelayFrame};

pub(super) struct Session {
    pub(super) manifest: Arc<Manifest>,
    pub(super) settings: Settings,
    pub(super) chain: Chain,
    /// Last attempt opened for the next round.
    pub(super) attempt: u32,
    pub(super) now: Duration,
    pub(super) actions: Vec<Action>,
    epoch_unix_s: u64,
    rng: StdRng,
    here: BTreeMap<NodeId, Peer>,
    /// Nodes that refused to go on in this round.
    excluded: BTreeSet<NodeId>,
    /// Sums were sent by these nodes, and only they can try again (the difference rule).
    required: BTreeSet<NodeId>,
    last: Option<LastResult>,
    acks: BTreeMap<NodeId, Signed<ResultAck>>,
}

/// A node that is connected.
struct Peer {
    stands: Chain,
    /// It was sent what it lacks; its acknowledgement will tell.
    catching_up: bool,
}

/// The last result, kept for participants that have not taken it yet.
struct LastResult {
    base: Chain,
    bundle: Vec<Signed<Keys>>,
    sums: Vec<Signed<Sum>>,
    ctx: Digest,
    root: Digest,
    model: Digest,
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
            required: BTreeSet::new(),
            last: None,
            acks: BTreeMap::new(),
        }
    }

    pub(super) fn unix_s(&self) -> u64 {
        self.epoch_unix_s + self.now.as_secs()
    }

    pub(super) fn send(&mut self, node: NodeId, frame: RelayFrame) {
        self.actions.push(Action::Send(node, frame));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }

    /// Turns a node away.
    pub(super) fn refuse(&mut self, node: NodeId, refusal: Refusal) {
        self.here.remove(&node);
        self.report(Report::Refused(node, refusal.clone()));
        self.actions.push(Action::TurnAway(node, refusal));
    }

    pub(super) fn is_here(&self, node: NodeId) -> bool {
        self.here.contains_key(&node)
    }

    pub(super) fn lost(&mut self, node: NodeId) {
        if self.here.remove(&node).is_some() {
            self.report(Report::Lost(node));
        }
    }

    /// A node says hello. Gives the context of the masked sum that it holds.
    pub(super) fn greet(&mut self, node: NodeId, hello: &Hello) -> Option<Digest> {
        if hello.sid != self.manifest.sid() {
            let (ours, theirs) = (self.manifest.sid(), hello.sid);
            self.refuse(node, Refusal::Manifest { ours, theirs });
            return None;
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
        self.report(Report::Joined(node));
        if stands.round == self.chain.round {
            let round = stands.round + 1;
            if let Err(refusal) = self.chain.check_base(round, stands.previous, stands.model) {
                self.refuse(node, refusal);
            }
            // An attempt that this node has signed keys for cannot be opened again.
            self.attempt = self.attempt.max(hello.attempt);
            return hello.pending;
        }
        self.catch_up(node);
        None
    }

    /// Sends a node that is behind what it lacks, if it is at hand.
    fn catch_up(&mut self, node: NodeId) {
        let Some(peer) = self.here.get_mut(&node) else {
            return;
        };
        let stands = peer.stands;
        if stands == self.chain || peer.catching_up {
            return;
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.base == stands) {
            peer.catching_up = true;
            let outcome = last.outcome(true);
            self.actions.push(Action::Deliver(node, outcome));
            return;
        }
        if stands.round < self.chain.round && self.acks.len() >= self.manifest.min_nodes() {
            peer.catching_up = true;
            let acks = self.acks.values().cloned().collect();
            let checkpoint = Checkpoint {
                chain: self.chain,
                acks,
            };
            self.actions.push(Action::Restore(node, checkpoint));
            return;
        }
        // Behind, with acknowledgements still to come in: it is served when they are there.
        if stands.round > self.chain.round {
            let (relay, node_round) = (self.chain.round, stands.round);
            self.refuse(
                node,
                Refusal::CannotCatchUp {
                    relay,
                    node: node_round,
                },
            );
        }
    }

    /// A node acknowledges a result.
    pub(super) fn acknowledged(&mut self, node: NodeId, signed: &Signed<ResultAck>) {
        let ack = match signed.verify(&self.manifest, self.unix_s()) {
            Ok(ack) if ack.node == node => ack,
            Ok(ack) => return self.refuse(node, Refusal::Stranger(ack.node)),
            Err(refusal) => return self.refuse(node, refusal),
        };
        let stands = Chain::from_ack(&ack);
        if ack.sid != self.manifest.sid() || stands.round > self.chain.round {
            let (relay, node_round) = (self.chain.round, stands.round);
            return self.refuse(
                node,
                Refusal::CannotCatchUp {
                    relay,
                    node: node_round,
                },
            );
        }
        if stands.round < self.chain.round {
            return;
        }
        if let Err(refusal) = self
            .chain
            .check_base(stands.round, stands.previous, stands.model)
        {
            return self.refuse(node, refusal);
        }
        if let Some(peer) = self.here.get_mut(&node) {
            *peer = Peer {
                stands,
                catching_up: false,
            };
        }
        self.acks.insert(node, signed.clone());
        for node in self.here() {
            self.catch_up(node);
        }
    }

    /// Nodes that are connected.
    pub(super) fn here(&self) -> Vec<NodeId> {
        self.here.keys().copied().collect()
    }

    /// Nodes that can take part in the next round.
    pub(super) fn available(&self) -> BTreeSet<NodeId> {
        self.here
            .iter()
            .filter(|(id, peer)| peer.stands == self.chain && !self.excluded.contains(id))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Connected nodes that still have to take the last result.
    pub(super) fn has_behind(&self) -> bool {
        self.here.values().any(|peer| peer.stands != self.chain)
    }

    /// Nodes without which no round can begin.
    pub(super) fn missing(&self) -> Vec<NodeId> {
        let available = self.available();
        let all = self.manifest.roster().keys();
        match self.required.is_empty() {
            true => all.filter(|id| !available.contains(id)).copied().collect(),
            false => self.required.difference(&available).copied().collect(),
        }
    }

    pub(super) fn same_participants(&self) -> bool {
        !self.required.is_empty()
    }

    /// Whether enough nodes are available for an attempt.
    pub(super) fn can_open(&self) -> bool {
        let available = self.available();
        available.len() >= self.settings.min_nodes && self.required.is_subset(&available)
    }

    /// Only these participants can try again on this model.
    pub(super) fn require(&mut self, participants: &[NodeId]) {
        self.required = participants
            .iter()
            .filter(|id| self.manifest.roster().contains_key(id))
            .copied()
            .collect();
        let required = &self.required;
        self.excluded.retain(|id| !required.contains(id));
    }

    /// The node takes no further part in this round.
    pub(super) fn exclude(&mut self, node: NodeId) {
        self.excluded.insert(node);
    }

    /// Opens an attempt, or waits until one can be opened.
    pub(super) fn open_or_gather(&mut self) -> Phase {
        if self.chain.round >= self.settings.rounds {
            let rounds = self.chain.round;
            for node in self.here() {
                self.send(node, RelayFrame::Finished { rounds });
            }
            self.actions.push(Action::Finish);
            return Phase::Done;
        }
        if !self.can_open() {
            return Phase::Gathering(Gathering::now(self.now));
        }
        let nodes = self.sample();
        self.attempt += 1;
        let (round, attempt) = (self.chain.round + 1, self.attempt);
        let timeouts = self.manifest.timeouts();
        let wait = Duration::from_secs(match attempt {
            1 => timeouts.training_s + timeouts.keys_s,
            // The update is kept; but a node that was restarted trains again.
            _ => timeouts.training_s.max(timeouts.keys_s),
        });
        for node in &nodes {
            let (previous, model) = (self.chain.previous, self.chain.model);
            let deadline_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.send(
                *node,
                RelayFrame::Open {
                    round,
                    attempt,
                    previous,
                    model,
                    deadline_ms,
                },
            );
        }
        self.report(Report::Opened {
            round,
            attempt,
            nodes: nodes.len(),
        });
        Phase::Offers(Offers::new(nodes, self.now + wait))
    }

    fn sample(&mut self) -> BTreeSet<NodeId> {
        if !self.required.is_empty() {
            return self.required.clone();
        }
        let available = self.available();
        let share = self.settings.fraction_fit * available.len() as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of a small count, and clamped below"
        )]
        let wanted = share.ceil() as usize;
        let wanted = wanted.clamp(self.settings.min_nodes, available.len());
        available
            .into_iter()
            .sample(&mut self.rng, wanted)
            .into_iter()
            .collect()
    }

    /// Ends the attempt on account of `nodes`, and opens another with the rest.
    pub(super) fn abandon(&mut self, nodes: &[NodeId]) -> Phase {
        let (round, attempt) = (self.chain.round + 1, self.attempt);
        self.report(Report::Abandoned {
            round,
            attempt,
            nodes: nodes.to_vec(),
        });
        self.actions.push(Action::Discard);
        self.open_or_gather()
    }

    /// A round is complete: the chain goes on, and everyone is told.
    pub(super) fn complete(
        &mut self,
        next: Chain,
        bundle: Vec<Signed<Keys>>,
        sums: Vec<Signed<Sum>>,
        ctx: Digest,
        root: Digest,
        participants: &BTreeSet<NodeId>,
    ) {
        let last = LastResult {
            base: self.chain,
            bundle,
            sums,
            ctx,
            root,
            model: next.model,
        };
        self.chain = next;
        self.attempt = 0;
        self.excluded.clear();
        self.required.clear();
        self.acks.clear();
        self.actions.push(Action::Commit(next));
        for (node, peer) in &mut self.here {
            if peer.stands == last.base {
                peer.catching_up = true;
                let outcome = last.outcome(!participants.contains(node));
                self.actions.push(Action::Deliver(*node, outcome));
            }
        }
        self.last = Some(last);
    }
}

impl LastResult {
    fn outcome(&self, with_bundle: bool) -> Outcome {
        Outcome {
            ctx: self.ctx,
            bundle: with_bundle.then(|| self.bundle.clone()),
            sums: self.sums.clone(),
            root: self.root,
            model: self.model,
        }
    }
}
