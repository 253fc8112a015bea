//! Taking contributions, and handing the seeds to the holders. A contributor is done when its body
//! is here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attendance::Attendance;
use super::choice::{Chosen, choose};
use super::vote::Voting;
use crate::audit::{self, Party};
use crate::identity::NodeId;
use crate::round::committee::message::{Contribution, ContributionId, Receipt};
use crate::round::committee::{Contributors, Envelope, Holders};
use crate::round::message::Signed;
use crate::round::refusal::{Fault, Kind, Refusal};
use crate::round::relay::action::Action;
use crate::round::relay::reminder::Reminder;
use crate::round::relay::report::Report;
use crate::round::relay::stage::AttemptProgress;
use crate::round::relay::state::RelayState;
use crate::wire::{BodyId, Hello, RelayFrame};

pub(in crate::round) struct CollectingContributions {
    holders: Holders,
    /// Their public round keys.
    round_keys: BTreeMap<NodeId, Vec<u8>>,
    attendance: Attendance,
    /// Contributors that were asked.
    invited: BTreeSet<NodeId>,
    /// Those of them who may be waited for.
    expected: BTreeSet<NodeId>,
    /// Whether it has to be all of them (the difference rule).
    exact: bool,
    contributions: BTreeMap<NodeId, Contributed>,
    deadline: Duration,
    /// Until when the holders may look at what has come, once nothing more is waited for.
    closing: Option<Duration>,
    reminder: Reminder,
}

struct Contributed {
    signed: Signed<Contribution>,
    entry: ContributionId,
    envelope: Envelope,
    /// Whether the body is here, whole.
    whole: bool,
    receipts: BTreeMap<NodeId, Option<Fault>>,
}

impl CollectingContributions {
    pub(super) fn begin(
        state: &mut RelayState,
        (holders, round_keys): (Holders, BTreeMap<NodeId, Vec<u8>>),
        invited: BTreeSet<NodeId>,
        exact: bool,
        deadline: Duration,
    ) -> Self {
        let ctx = holders.ctx();
        state.act(Action::Receive { ctx, all: None });
        Self {
            attendance: Attendance::of(&holders, |node| state.presence.is_connected(node)),
            holders,
            round_keys,
            expected: invited
                .iter()
                .filter(|node| state.presence.is_connected(**node))
                .copied()
                .collect(),
            invited,
            exact,
            contributions: BTreeMap::new(),
            deadline,
            closing: None,
            reminder: Reminder::since(state.now),
        }
    }

    /// A node contributes, or says again that it has.
    pub(super) fn contributed(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        signed: Signed<Contribution>,
        envelope: Envelope,
    ) -> Result<(), Refusal> {
        let verified = signed.verify_tagged(&state.manifest, state.unix_s());
        let (contribution, _) = verified?;
        let (what, signer) = (Kind::Contribution, contribution.node);
        if signer != node {
            return Err(Refusal::Stranger(signer));
        }
        if contribution.ctx != self.holders.ctx() || !self.invited.contains(&node) {
            state.late(node, what);
            return Ok(());
        }
        let entry = ContributionId::of(node, &signed);
        let (ctx, root) = (contribution.ctx, contribution.root);
        match self.contributions.get(&node) {
            Some(known) if known.entry != entry => return Err(Refusal::Duplicate { what, signer }),
            Some(known) if known.whole => {
                state.send(node, RelayFrame::Received { ctx });
                return Ok(());
            }
            Some(_) => {}
            None => {
                envelope.check(&contribution, &self.holders)?;
                state.log(audit::Entry::Contribution(signed.clone()));
                let contributed = Contributed {
                    signed,
                    entry,
                    envelope,
                    whole: false,
                    receipts: BTreeMap::new(),
                };
                for holder in self.attendance.here() {
                    hand_out(state, &self.holders, *holder, &contributed);
                }
                self.contributions.insert(node, contributed);
                self.expected.insert(node);
            }
        }
        state.collect(node, ctx, BodyId::sum(ctx), root);
        Ok(())
    }

    /// A contribution's body is here, whole.
    pub(super) fn added(&mut self, state: &mut RelayState, node: NodeId, body: BodyId) {
        let ctx = self.holders.ctx();
        let contributed = self.contributions.get_mut(&node);
        if let Some(contributed) = contributed.filter(|_| body == BodyId::sum(ctx)) {
            contributed.whole = true;
            state.send(node, RelayFrame::Received { ctx });
        }
    }

    /// A holder has looked at a contribution.
    pub(super) fn receipt(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        signed: Signed<Receipt>,
    ) -> Result<(), Refusal> {
        let receipt = signed.verify(&state.manifest, state.unix_s())?;
        let Receipt {
            holder,
            entry,
            fault,
            ..
        } = receipt;
        if holder != node {
            return Err(Refusal::Stranger(holder));
        }
        if receipt.ctx != self.holders.ctx() || !self.attendance.is_here(node) {
            state.late(node, Kind::Receipt);
            return Ok(());
        }
        let contributed = self.contributions.get_mut(&entry.node);
        let Some(contributed) = contributed.filter(|known| known.entry == entry) else {
            let (what, signer) = (Kind::Receipt, holder);
            return Err(Refusal::Stale { what, signer });
        };
        contributed.receipts.insert(node, fault);
        state.log(audit::Entry::Receipt(signed));
        if let Some(fault) = fault {
            let refusal = Refusal::Contribution {
                from: entry.node,
                fault,
            };
            state.log_refusal(Party::Node(node), Party::Relay, refusal.clone());
            state.report(Report::Refused(node, refusal));
        }
        Ok(())
    }

    /// A node is here, perhaps again. Returns whether the attempt can go on.
    pub(super) fn returned(&mut self, state: &mut RelayState, node: NodeId, hello: &Hello) -> bool {
        let known = self.contributions.get(&node);
        let halfway = known.is_some_and(|contributed| !contributed.whole);
        // What it holds, it says next.
        let prepared = hello.pending == Some(self.holders.ctx());
        if halfway && self.exact && !prepared {
            // It has lost what the holders have looked at, and nobody else will do.
            return false;
        }
        if self.attendance.returned(node, hello.holding) {
            let unseen = |contributed: &&Contributed| !contributed.receipts.contains_key(&node);
            for contributed in self.contributions.values().filter(unseen) {
                hand_out(state, &self.holders, node, contributed);
            }
        }
        if state.is_ready(node)
            && state.now < self.deadline
            && state.may_join(node, &self.invited, self.exact)
            && !self.contributions.contains_key(&node)
            && !prepared
        {
            self.invited.insert(node);
            self.expected.insert(node);
            state.invite(node, self.deadline);
            state.send(node, self.holders.to_frame(&self.round_keys));
        }
        true
    }

    /// A connection is gone. What is here of the node stays.
    pub(super) fn lost(&mut self, node: NodeId) {
        self.attendance.lost(node);
        self.expected.remove(&node);
    }

    /// A node does not go on.
    pub(super) fn refused(&mut self, node: NodeId) {
        self.attendance.gone(node);
        self.expected.remove(&node);
    }

    pub(super) fn advance(mut self, state: &mut RelayState) -> AttemptProgress<Self, Voting> {
        let quorum = self.holders.committee().quorum();
        if self.attendance.remaining() < quorum {
            // Nothing was voted on: whoever is here begins again, with the holders that are.
            let committee = self.holders.committee();
            return AttemptProgress::Abandoned(committee.without(self.attendance.here()));
        }
        let awaited = self.expected.iter().any(|node| !self.is_whole(*node));
        let late = state.now >= self.deadline;
        if awaited && !late {
            self.closing = None;
            return AttemptProgress::Stays(self);
        }
        let wait = Duration::from_secs(state.manifest.timeouts().shares_s);
        let closing = *self.closing.get_or_insert(state.after(wait));
        let closed = state.now >= closing;
        let present = self.attendance.here();
        let undecided =
            present.len() < quorum || present.iter().any(|holder| !self.has_seen_all(*holder));
        if undecided && !closed {
            return AttemptProgress::Stays(self);
        }
        match self.choose(state) {
            Ok(chosen) => AttemptProgress::Moves(self.vote(state, chosen)),
            Err(missing) if self.exact && late && closed && state.suffices_without(&missing) => {
                abandon_without(state, missing)
            }
            Err(missing)
                if self.exact
                    && !(late && closed)
                    && self.invited.iter().any(|node| !self.is_whole(*node)) =>
            {
                let bound = state.is_bound();
                self.reminder.remind(state, missing, bound);
                AttemptProgress::Stays(self)
            }
            // Who is missing may come back later than the holders' keys last.
            Err(missing) if self.exact => AttemptProgress::Paused(missing),
            // There is time for those who are away to come back.
            Err(_) if !late && !closed => AttemptProgress::Stays(self),
            Err(missing) => abandon_without(state, missing),
        }
    }

    fn is_whole(&self, node: NodeId) -> bool {
        self.contributions
            .get(&node)
            .is_some_and(|contributed| contributed.whole)
    }

    fn has_seen_all(&self, holder: NodeId) -> bool {
        let whole = self
            .contributions
            .values()
            .filter(|contributed| contributed.whole);
        whole
            .into_iter()
            .all(|contributed| contributed.receipts.contains_key(&holder))
    }

    /// Whom to vote for; or who is missing, if that is nobody.
    fn choose(&self, state: &RelayState) -> Result<Chosen, Vec<NodeId>> {
        let whole = self
            .contributions
            .iter()
            .filter(|(_, contributed)| contributed.whole);
        let whole: BTreeSet<_> = whole.map(|(node, _)| *node).collect();
        let accepts = |holder: NodeId, node: NodeId| {
            let contributed = self.contributions.get(&node);
            contributed.is_some_and(|contributed| contributed.receipts.get(&holder) == Some(&None))
        };
        let missing = |found: &BTreeSet<NodeId>| {
            let missing: Vec<_> = self.invited.difference(found).copied().collect();
            match missing.is_empty() {
                true => self.attendance.away().iter().copied().collect(),
                false => missing,
            }
        };
        let quorum = self.holders.committee().quorum();
        let choice = choose(&whole, self.attendance.here(), quorum, accepts);
        let choice = choice.ok_or_else(|| missing(&whole))?;
        let enough = match self.exact {
            true => choice.contributors == self.invited,
            false => state.are_enough(choice.contributors.iter()),
        };
        if !enough {
            return Err(missing(&choice.contributors));
        }
        let chosen = choice
            .contributors
            .iter()
            .filter_map(|node| self.contributions.get(node));
        let (entries, signed) = chosen
            .map(|known| (known.entry, known.signed.clone()))
            .unzip();
        let ctx = self.holders.ctx();
        let contributors = Contributors::new(ctx, entries, Kind::Ballot);
        Ok(Chosen {
            contributors: contributors.map_err(|_| Vec::new())?,
            signed,
            voters: choice.voters,
        })
    }

    fn vote(self, state: &mut RelayState, chosen: Chosen) -> Voting {
        let nodes = chosen.contributors.nodes().into_iter().collect();
        let round = self.holders.round();
        state.report(Report::Participants { round, nodes });
        Voting::begin(state, self.holders, self.attendance, chosen)
    }
}

/// Ends the attempt, so that others begin another without these nodes.
fn abandon_without<S, N>(state: &mut RelayState, missing: Vec<NodeId>) -> AttemptProgress<S, N> {
    for node in &missing {
        state.obligations.exclude(*node);
    }
    AttemptProgress::Abandoned(missing)
}

fn hand_out(state: &mut RelayState, holders: &Holders, holder: NodeId, contributed: &Contributed) {
    let place = holders.place(holder);
    let seeds_for =
        place.and_then(|place| contributed.envelope.seeds_for(&contributed.signed, place));
    if let Some(seeds_for) = seeds_for {
        state.send(holder, RelayFrame::SealedSeeds(seeds_for));
    }
}
