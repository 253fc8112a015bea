//! Taking contributions, and handing the seeds to the holders. A contributor is done when its body is here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attendance::Attendance;
use super::choice::choose;
use super::voting::Voting;
use crate::audit::{self, Party};
use crate::identity::NodeId;
use crate::round::committee::message::{Contribution, Entry, Receipt};
use crate::round::committee::{Contributors, Envelope, Holders};
use crate::round::message::Signed;
use crate::round::refusal::{Fault, Kind, Refusal};
use crate::round::relay::gathering::{Gathering, PAUSE};
use crate::round::relay::session::Session;
use crate::round::relay::waiting::Waiting;
use crate::round::relay::{Action, Phase, Report};
use crate::wire::{BodyId, Hello, RelayFrame};

pub(in crate::round) struct Collecting {
    holders: Holders,
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
    waiting: Waiting,
}

struct Contributed {
    signed: Signed<Contribution>,
    entry: Entry,
    envelope: Envelope,
    /// Whether the body is here, whole.
    whole: bool,
    receipts: BTreeMap<NodeId, Option<Fault>>,
}

impl Collecting {
    pub(super) fn begin(
        session: &mut Session,
        holders: Holders,
        invited: BTreeSet<NodeId>,
        exact: bool,
        deadline: Duration,
    ) -> Self {
        let ctx = holders.ctx();
        session.actions.push(Action::Receive { ctx, all: None });
        Self {
            attendance: Attendance::of(&holders, |node| session.is_here(node)),
            holders,
            expected: invited
                .iter()
                .filter(|node| session.is_here(**node))
                .copied()
                .collect(),
            invited,
            exact,
            contributions: BTreeMap::new(),
            deadline,
            closing: None,
            waiting: Waiting::since(session.now),
        }
    }

    /// A node contributes, or says again that it has.
    pub(in crate::round) fn contributed(
        &mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Contribution>,
        envelope: Envelope,
    ) -> Result<(), Refusal> {
        let verified = signed.verify_tagged(&session.manifest, session.unix_s());
        let (contribution, _) = verified?;
        let (what, signer) = (Kind::Contribution, contribution.node);
        if signer != node {
            return Err(Refusal::Stranger(signer));
        }
        if contribution.ctx != self.holders.ctx() || !self.invited.contains(&node) {
            session.late(node, what);
            return Ok(());
        }
        let entry = signed.entry(node);
        let (ctx, root) = (contribution.ctx, contribution.root);
        match self.contributions.get(&node) {
            Some(known) if known.entry != entry => return Err(Refusal::Duplicate { what, signer }),
            Some(known) if known.whole => {
                session.send(node, RelayFrame::Received { ctx });
                return Ok(());
            }
            Some(_) => {}
            None => {
                envelope.check(&contribution, &self.holders)?;
                session.log(audit::Entry::Contribution(signed.clone()));
                let contributed = Contributed {
                    signed,
                    entry,
                    envelope,
                    whole: false,
                    receipts: BTreeMap::new(),
                };
                for holder in self.attendance.here() {
                    hand_out(session, &self.holders, *holder, &contributed);
                }
                self.contributions.insert(node, contributed);
                self.expected.insert(node);
            }
        }
        session.collect(node, ctx, BodyId::sum(ctx), root);
        Ok(())
    }

    /// A contribution's body is here, whole.
    pub(in crate::round) fn added(
        mut self,
        session: &mut Session,
        node: NodeId,
        body: BodyId,
    ) -> Phase {
        let ctx = self.holders.ctx();
        let contributed = self.contributions.get_mut(&node);
        if let Some(contributed) = contributed.filter(|_| body == BodyId::sum(ctx)) {
            contributed.whole = true;
            session.send(node, RelayFrame::Received { ctx });
        }
        Phase::Collecting(self)
    }

    /// A holder has looked at a contribution.
    pub(in crate::round) fn receipt(
        &mut self,
        session: &mut Session,
        node: NodeId,
        signed: Signed<Receipt>,
    ) -> Result<(), Refusal> {
        let receipt = signed.verify(&session.manifest, session.unix_s())?;
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
            session.late(node, Kind::Receipt);
            return Ok(());
        }
        let contributed = self.contributions.get_mut(&entry.node);
        let Some(contributed) = contributed.filter(|known| known.entry == entry) else {
            let (what, signer) = (Kind::Receipt, holder);
            return Err(Refusal::Stale { what, signer });
        };
        contributed.receipts.insert(node, fault);
        session.log(audit::Entry::Receipt(signed));
        if let Some(fault) = fault {
            let refusal = Refusal::Contribution {
                from: entry.node,
                fault,
            };
            session.log_refusal(Party::Node(node), Party::Relay, refusal.clone());
            session.report(Report::Refused(node, refusal));
        }
        Ok(())
    }

    /// A node is here, perhaps again. A holder that still has its key gets what it has not looked at.
    pub(in crate::round) fn returned(
        mut self,
        session: &mut Session,
        node: NodeId,
        hello: &Hello,
    ) -> Phase {
        let known = self.contributions.get(&node);
        let halfway = known.is_some_and(|contributed| !contributed.whole);
        // What it holds, it says next.
        let prepared = hello.pending == Some(self.holders.ctx());
        if halfway && self.exact && !prepared {
            // It has lost what the holders have looked at, and nobody else will do.
            return session.abandon(&[node]);
        }
        if self.attendance.returned(node, hello.holding) {
            let unseen = |contributed: &&Contributed| !contributed.receipts.contains_key(&node);
            for contributed in self.contributions.values().filter(unseen) {
                hand_out(session, &self.holders, node, contributed);
            }
        }
        if session.is_ready(node)
            && session.now < self.deadline
            && session.may_join(node, &self.invited, self.exact)
            && !self.contributions.contains_key(&node)
            && !prepared
        {
            self.invited.insert(node);
            self.expected.insert(node);
            session.invite(node, self.deadline);
            session.send(node, RelayFrame::Keys(self.holders.bundle().to_vec()));
        }
        Phase::Collecting(self)
    }

    /// A connection is gone. What is here of the node stays.
    pub(in crate::round) fn lost(mut self, node: NodeId) -> Phase {
        self.attendance.lost(node);
        self.expected.remove(&node);
        Phase::Collecting(self)
    }

    /// A node does not go on.
    pub(in crate::round) fn refused(mut self, node: NodeId) -> Phase {
        self.attendance.gone(node);
        self.expected.remove(&node);
        Phase::Collecting(self)
    }

    pub(in crate::round) fn advance(mut self, session: &mut Session) -> Phase {
        let quorum = session.quorum();
        if self.attendance.remaining() < quorum {
            // Nothing was voted on: whoever is here begins again, with the holders that are.
            return session.abandon(&session.holders_without(self.attendance.here()));
        }
        let awaited = self.expected.iter().any(|node| !self.is_whole(*node));
        let late = session.now >= self.deadline;
        if awaited && !late {
            self.closing = None;
            return Phase::Collecting(self);
        }
        let wait = Duration::from_secs(session.manifest.timeouts().shares_s);
        let closing = *self.closing.get_or_insert(session.after(wait));
        let closed = session.now >= closing;
        let present = self.attendance.here();
        let undecided =
            present.len() < quorum || present.iter().any(|holder| !self.has_seen_all(*holder));
        if undecided && !closed {
            return Phase::Collecting(self);
        }
        match self.choose(session) {
            Ok(contributors) => self.vote(session, contributors),
            Err(missing) if self.exact && self.invited.iter().any(|node| !self.is_whole(*node)) => {
                self.waiting.tell(session, missing, true);
                Phase::Collecting(self)
            }
            Err(missing) if self.exact => {
                session.give_up(&missing);
                // The same again at once would end the same way.
                Phase::Gathering(Gathering::after(session.now, PAUSE))
            }
            // There is time for those who are away to come back.
            Err(_) if !late && !closed => Phase::Collecting(self),
            Err(missing) => {
                missing.iter().for_each(|node| session.exclude(*node));
                session.abandon(&missing)
            }
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
    fn choose(&self, session: &Session) -> Result<Chosen, Vec<NodeId>> {
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
        let choice = choose(&whole, self.attendance.here(), session.quorum(), accepts);
        let choice = choice.ok_or_else(|| missing(&whole))?;
        let enough = match self.exact {
            true => choice.contributors == self.invited,
            false => session.are_enough(choice.contributors.iter()),
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

    fn vote(self, session: &mut Session, chosen: Chosen) -> Phase {
        let (round, nodes) = (
            self.holders.round(),
            chosen.contributors.nodes().into_iter().collect(),
        );
        session.report(Report::Participants { round, nodes });
        Phase::Voting(Voting::begin(
            session,
            self.holders,
            self.attendance,
            chosen,
        ))
    }
}

/// Those that the holders are asked to vote for.
pub(super) struct Chosen {
    pub(super) contributors: Contributors,
    pub(super) signed: Vec<Signed<Contribution>>,
    /// Holders that have accepted all of them.
    pub(super) voters: BTreeSet<NodeId>,
}

fn hand_out(session: &mut Session, holders: &Holders, holder: NodeId, contributed: &Contributed) {
    let place = holders.place(holder);
    let slip = place.and_then(|place| contributed.envelope.slip(&contributed.signed, place));
    if let Some(slip) = slip {
        session.send(holder, RelayFrame::Slip(slip));
    }
}
