//! What a log of the committee scheme must satisfy.
//!
//! The relay logs what it has accepted of everybody, a node what it has signed itself. So only the
//! relay's log can show that the certificate came before the masks.

use std::collections::{BTreeMap, BTreeSet};

use super::attempts::Attempts;
use super::schemes::{SchemeLog, Standing};
use super::unsound::Unsound;
use crate::audit::record::Party;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::message::{Contribution, ContributionId, Receipt, Reveal, Vote};
use crate::round::committee::{Contributors, Decision, Holders};
use crate::round::message::{Keys, Message, Signed};
use crate::round::{Evidence, Kind, Outcome, Refusal, SentSum, SentSums, count};

/// What a log tells of the committee scheme.
pub(super) struct CommitteeLog {
    /// In one of the round before, a holder may still be at work.
    attempts: Attempts<LoggedCommitteeAttempt>,
    /// Whose sums the holder whose log this is has helped to open.
    sent: SentSums,
}

/// An attempt whose holders are fixed.
#[derive(Clone, Debug)]
struct LoggedCommitteeAttempt {
    holders: Holders,
    /// What each contributor has signed. A node that has lost its outbox may have signed several.
    contributions: BTreeMap<NodeId, BTreeSet<Vec<u8>>>,
    /// For which list each holder has voted.
    votes: BTreeMap<NodeId, Digest>,
    /// For which list the holder whose log this is has decided.
    ballot: Option<Digest>,
}

impl CommitteeLog {
    pub(super) fn none_yet() -> Self {
        Self {
            attempts: Attempts::none(),
            sent: SentSums::default(),
        }
    }

    /// Returns what a message says, and the attempt that it belongs to.
    fn message<T: InContext>(
        &mut self,
        at: &Standing<'_>,
        signed: &Signed<T>,
    ) -> Result<(T, &mut LoggedCommitteeAttempt), Unsound> {
        let message = signed.verify(at.manifest, at.unix_s)?;
        let attempt = self.attempts.any_mut(message.ctx());
        Ok((message, attempt.ok_or(Unsound::NoAttempt(T::KIND))?))
    }

    /// Notes a contribution. Returns who has signed it.
    pub(super) fn contribution(
        &mut self,
        at: &Standing<'_>,
        signed: &Signed<Contribution>,
    ) -> Result<NodeId, Unsound> {
        let (contribution, attempt) = self.message(at, signed)?;
        attempt.contribution(at.party, contribution.node, signed)?;
        Ok(contribution.node)
    }

    pub(super) fn receipt(
        &mut self,
        at: &Standing<'_>,
        signed: &Signed<Receipt>,
    ) -> Result<(), Unsound> {
        let (receipt, attempt) = self.message(at, signed)?;
        attempt.receipt(at.party, &receipt)
    }

    /// Notes for whom the holder decides whose log this is.
    pub(super) fn ballot(
        &mut self,
        at: &Standing<'_>,
        ctx: Digest,
        contributors: Vec<ContributionId>,
    ) -> Result<(), Unsound> {
        let (what, model) = (Kind::Ballot, at.head.model);
        let contributors = Contributors::new(ctx, contributors, what)?;
        contributors.check_participants(at.manifest)?;
        let attempt = self.attempts.current_mut(ctx);
        let attempt = attempt.ok_or(Unsound::NoAttempt(what))?;
        attempt.ballot(at.party, contributors.digest())?;
        let nodes = contributors.nodes();
        self.sent.check(model, &nodes, at.convicted)?;
        self.sent.add(&SentSum::new(model, nodes));
        Ok(())
    }

    pub(super) fn vote(&mut self, at: &Standing<'_>, signed: &Signed<Vote>) -> Result<(), Unsound> {
        let (vote, attempt) = self.message(at, signed)?;
        attempt.vote(at.party, &vote)
    }

    pub(super) fn reveal(
        &mut self,
        at: &Standing<'_>,
        signed: &Signed<Reveal>,
    ) -> Result<(), Unsound> {
        let (reveal, attempt) = self.message(at, signed)?;
        attempt.reveal(at.party, &reveal)
    }
}

impl SchemeLog for CommitteeLog {
    fn keys(
        &mut self,
        at: &Standing<'_>,
        bundle: Vec<Signed<Keys>>,
    ) -> Result<Option<BTreeSet<NodeId>>, Unsound> {
        let holders = Holders::of_result(bundle, at.manifest, &at.head, at.unix_s)?;
        let ctx = holders.ctx();
        self.attempts.add(ctx, LoggedCommitteeAttempt::new(holders));
        // The result says who has contributed.
        Ok(None)
    }

    /// It is the holders who answer for the difference rule; that only one list is decided on
    /// follows from the certificate.
    fn outcome(
        &mut self,
        at: &Standing<'_>,
        outcome: Outcome,
    ) -> Result<BTreeSet<NodeId>, Unsound> {
        let (ctx, what) = (outcome.ctx, Kind::Outcome);
        let Evidence::Decision(decision) = outcome.parts.clone() else {
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        };
        let contributors = at.check(outcome)?.nodes().clone();
        match self.attempts.current(ctx) {
            Some(attempt) => attempt.outcome(at.party, &contributors, &decision)?,
            None if at.party == Party::Relay => return Err(Unsound::NoAttempt(what)),
            None => {}
        }
        Ok(contributors)
    }

    fn advance(&mut self) {
        self.attempts.advance();
    }

    fn go_back(&mut self) {
        self.attempts.go_back();
    }
}

impl LoggedCommitteeAttempt {
    fn new(holders: Holders) -> Self {
        Self {
            holders,
            contributions: BTreeMap::new(),
            votes: BTreeMap::new(),
            ballot: None,
        }
    }

    /// Notes for whom the holder decides whose log this is.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unexpected`] in the relay's log; [`Refusal::Stranger`] if the party is no holder;
    /// [`Refusal::Voted`] if it has decided for others.
    fn ballot(&mut self, party: Party, list: Digest) -> Result<(), Unsound> {
        let what = Kind::Ballot;
        let Party::Node(holder) = party else {
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        };
        self.seated(party, holder)?;
        match *self.ballot.get_or_insert(list) == list {
            true => Ok(()),
            false => Err(Unsound::Refused(Refusal::Voted)),
        }
    }

    /// Notes a contribution.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`] for another's in a node's log; [`Refusal::Duplicate`] for a second one
    /// of a node in the relay's.
    fn contribution(
        &mut self,
        party: Party,
        node: NodeId,
        signed: &Signed<Contribution>,
    ) -> Result<(), Unsound> {
        own(party, node)?;
        let known = self.contributions.entry(node).or_default();
        known.insert(signed.bytes().to_vec());
        match party == Party::Relay && known.len() > 1 {
            true => Err(duplicate(Kind::Contribution, node)),
            false => Ok(()),
        }
    }

    /// Checks whose receipt it is.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`].
    fn receipt(&self, party: Party, receipt: &Receipt) -> Result<(), Unsound> {
        self.seated(party, receipt.holder)
    }

    /// Notes a vote.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`]; [`Refusal::Duplicate`] if the holder has voted for another list
    /// before, [`Refusal::OtherContributors`] if another has, or if a holder's own log does not
    /// have the list.
    fn vote(&mut self, party: Party, vote: &Vote) -> Result<(), Unsound> {
        let (what, signer) = (Kind::Vote, vote.holder);
        self.seated(party, signer)?;
        self.decided(party, vote.contributors, what, signer)?;
        if self
            .votes
            .get(&signer)
            .is_some_and(|list| *list != vote.contributors)
        {
            return Err(duplicate(what, signer));
        }
        self.votes.insert(signer, vote.contributors);
        match self.votes.values().all(|list| *list == vote.contributors) {
            true => Ok(()),
            false => Err(Unsound::Refused(Refusal::OtherContributors {
                what,
                signer,
            })),
        }
    }

    /// Checks a sum of masks against the votes before it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Classes`]; [`Refusal::OtherContributors`] if others were
    /// voted for, or decided for in a holder's own log; [`Refusal::Votes`] if there is no
    /// certificate in the relay's log.
    fn reveal(&self, party: Party, reveal: &Reveal) -> Result<(), Unsound> {
        let (what, signer) = (Kind::Reveal, reveal.holder);
        self.seated(party, signer)?;
        self.decided(party, reveal.contributors, what, signer)?;
        let committee = self.holders.committee();
        committee
            .check_held(reveal.classes, signer)
            .map_err(Unsound::Refused)?;
        if self.votes.values().any(|list| *list != reveal.contributors) {
            return Err(Unsound::Refused(Refusal::OtherContributors {
                what,
                signer,
            }));
        }
        let (found, needed) = (self.votes.len(), committee.quorum());
        match party == Party::Relay && found < needed {
            true => Err(Unsound::Refused(Refusal::Votes {
                found: count(found),
                needed: count(needed),
            })),
            false => Ok(()),
        }
    }

    /// Checks that a result has the contributions of the log: all of them in the relay's, its own
    /// in a node's.
    ///
    /// # Errors
    ///
    /// [`Unsound::OtherSum`].
    fn outcome(
        &self,
        party: Party,
        nodes: &BTreeSet<NodeId>,
        decision: &Decision,
    ) -> Result<(), Unsound> {
        let listed: BTreeSet<_> = decision.contributions.iter().map(Signed::bytes).collect();
        let is_listed = |node: &NodeId| {
            let known = self.contributions.get(node).into_iter().flatten();
            known.into_iter().any(|bytes| listed.contains(&bytes[..]))
        };
        let mut checked = nodes.iter().filter(|node| match party {
            Party::Relay => true,
            Party::Node(own) => own == **node,
        });
        match checked.find(|node| !is_listed(node)) {
            Some(node) => Err(Unsound::OtherSum(*node)),
            None => Ok(()),
        }
    }

    /// Checks that in a node's log it has decided for this list.
    fn decided(
        &self,
        party: Party,
        list: Digest,
        what: Kind,
        signer: NodeId,
    ) -> Result<(), Unsound> {
        match party == Party::Relay || self.ballot == Some(list) {
            true => Ok(()),
            false => Err(Unsound::Refused(Refusal::OtherContributors {
                what,
                signer,
            })),
        }
    }

    /// Checks that `holder` is one of this attempt, and in a node's log that node.
    fn seated(&self, party: Party, holder: NodeId) -> Result<(), Unsound> {
        match self.holders.contains(holder) {
            true => own(party, holder),
            false => Err(Unsound::Refused(Refusal::Stranger(holder))),
        }
    }
}

/// A message with its context.
trait InContext: Message {
    /// Returns the context of the attempt.
    fn ctx(&self) -> Digest;
}

macro_rules! in_context {
    ($($type:ident),*) => {
        $(impl InContext for $type {
            fn ctx(&self) -> Digest {
                self.ctx
            }
        })*
    };
}
in_context!(Contribution, Receipt, Vote, Reveal);

/// A node logs what it has signed itself.
fn own(party: Party, signer: NodeId) -> Result<(), Unsound> {
    match party {
        Party::Node(own) if own != signer => Err(Unsound::Refused(Refusal::Stranger(signer))),
        _ => Ok(()),
    }
}

fn duplicate(what: Kind, signer: NodeId) -> Unsound {
    Unsound::Refused(Refusal::Duplicate { what, signer })
}
