//! What the contents of a log must satisfy, whatever the scheme: the checks that its keeper made,
//! or should have made, made again.

use std::collections::BTreeSet;

use super::schemes::{Schemes, Standing};
use super::unsound::Unsound;
use crate::audit::record::{Entry, Party, Record};
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::{ResultAck, Signed};
use crate::round::peer::{BoxOpener, Conviction};
use crate::round::{Checkpoint, Head, Kind, Opening, Refusal, check_cohort};

/// A round, as its log has it.
#[derive(Clone, Debug)]
pub struct Round {
    /// Round, from 1.
    pub round: u64,
    /// Attempts that were opened, or (in a node's log) answered.
    pub attempts: u32,
    /// Who takes part in the last of them.
    pub participants: BTreeSet<NodeId>,
    /// Who refused whom, and why.
    pub refusals: Vec<(Party, Party, Refusal)>,
    /// Who is proven to have lied about a share.
    pub convicted: Vec<Conviction>,
    /// The state that the party has taken, if the round is complete.
    pub taken: Option<Taken>,
    /// Who has acknowledged it.
    pub acknowledged: BTreeSet<NodeId>,
}

/// What a party took as the state after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The round's result.
    Result(Head),
    /// A certified model, having missed results.
    Checkpoint(Head),
}

/// The state that the records lead to.
pub(super) struct History<'a> {
    manifest: &'a Manifest,
    party: Option<Party>,
    begins: Option<Head>,
    head: Head,
    schemes: Schemes,
    /// The state that the last result has replaced, as long as the party may go back to it: in a
    /// relay's log until enough nodes have acknowledged the result, in a node's until the node
    /// signs its next sum or contribution.
    former: Option<Head>,
    opener: BoxOpener,
    /// Those that are proven to have lied.
    convicted: BTreeSet<NodeId>,
    rounds: Vec<Round>,
}

impl<'a> History<'a> {
    pub(super) fn new(manifest: &'a Manifest, opener: BoxOpener) -> Self {
        Self {
            manifest,
            party: None,
            begins: None,
            head: Head::start(manifest),
            schemes: Schemes::none_yet(),
            former: None,
            opener,
            convicted: BTreeSet::new(),
            rounds: Vec::new(),
        }
    }

    /// Returns whose log it is, where it begins and ends, and its rounds.
    pub(super) fn told(self) -> (Option<Party>, Option<Head>, Option<Head>, Vec<Round>) {
        let stands = self.begins.map(|_| self.head);
        (self.party, self.begins, stands, self.rounds)
    }

    /// Takes the next record. After one that does not hold, no more may follow.
    pub(super) fn take(&mut self, record: Record) -> Result<(), Unsound> {
        let Record { unix_s, entry } = record;
        if let Entry::Started {
            consortium_id,
            party,
            head,
            ..
        } = entry
        {
            return self.started(consortium_id, party, head);
        }
        let party = self.party.ok_or(Unsound::NotBegun)?;
        let manifest = self.manifest;
        let at = Standing {
            manifest,
            party,
            head: self.head,
            convicted: &self.convicted,
            unix_s,
        };
        let Schemes { peer, committee } = &mut self.schemes;
        match entry {
            Entry::Started { .. } => Ok(()),
            Entry::Opened(opening) => self.opened(&opening),
            Entry::Keys(bundle) => {
                let participants = self.schemes.of(manifest).keys(&at, bundle)?;
                if let Some(participants) = participants {
                    self.round().participants = participants;
                }
                Ok(())
            }
            Entry::Shares(list) => peer.shares(&at, &list),
            Entry::Sum(sum) => {
                let signer = peer.sum(&at, sum)?;
                self.signed_masked(party, signer);
                Ok(())
            }
            Entry::Sums(sums) => peer.sums(&at, sums),
            Entry::Body { ctx, node } => peer.body(&at, ctx, node),
            Entry::Contribution(contribution) => {
                let signer = committee.contribution(&at, &contribution)?;
                self.signed_masked(party, signer);
                Ok(())
            }
            Entry::Receipt(receipt) => committee.receipt(&at, &receipt),
            Entry::Vote(vote) => committee.vote(&at, &vote),
            Entry::Reveal(reveal) => committee.reveal(&at, &reveal),
            Entry::Outcome(outcome) => {
                let next = at.head.next(outcome.ctx, outcome.root, outcome.model);
                let participants = self.schemes.of(manifest).outcome(&at, outcome)?;
                self.round().participants = participants;
                self.advance(next, Taken::Result(next));
                Ok(())
            }
            Entry::Ack(ack) => self.ack(party, &ack, unix_s),
            Entry::Adopted(checkpoint) => self.adopted(checkpoint, unix_s),
            Entry::Refused { by, to, refusal } => {
                self.round().refusals.push((by, to, refusal));
                Ok(())
            }
            Entry::Convicted(proof) => {
                let conviction = proof.judge(self.manifest, self.opener, &self.convicted)?;
                if self.convicted.insert(conviction.liar) {
                    self.round().convicted.push(conviction);
                }
                Ok(())
            }
            Entry::Ballot { ctx, contributors } => committee.ballot(&at, ctx, contributors),
            Entry::RolledBack => match party == Party::Relay && self.go_back() {
                true => Ok(()),
                false => Err(Unsound::RolledBack),
            },
        }
    }

    fn started(&mut self, consortium_id: Digest, party: Party, head: Head) -> Result<(), Unsound> {
        if consortium_id != self.manifest.consortium_id() {
            return Err(Unsound::OtherManifest(consortium_id));
        }
        let known = match party {
            Party::Relay => true,
            Party::Node(id) => self.manifest.roster().contains_key(&id),
        };
        if !known || self.party.is_some_and(|former| former != party) {
            return Err(Unsound::OtherParty);
        }
        let fresh = head.round > 0 || head == Head::start(self.manifest);
        if self.party.is_none() && fresh {
            (self.party, self.begins, self.head) = (Some(party), Some(head), head);
            return Ok(());
        }
        if self.party.is_some() && head == self.head {
            return Ok(());
        }
        // The log is written first. What it has and the disk has not is taken, or computed, once
        // more. A relay has the result on its disk before anyone can acknowledge it.
        let is_kept = party == Party::Relay && !self.acknowledged().is_empty();
        if self.former == Some(head) && !is_kept && self.go_back() {
            return Ok(());
        }
        Err(Unsound::Stands {
            found: head.round,
            result: head.previous,
            round: self.head.round,
        })
    }

    /// Goes back behind the last result, if that can be.
    fn go_back(&mut self) -> bool {
        let Some(base) = self.former.take() else {
            return false;
        };
        self.head = base;
        self.schemes.of(self.manifest).go_back();
        if let Some(last) = self.rounds.iter().rposition(|round| round.taken.is_some()) {
            self.rounds[last].taken = None;
            self.rounds[last].acknowledged.clear();
            // What was refused since is of that round too.
            let since = self.rounds.split_off(last + 1);
            for round in since {
                self.rounds[last].refusals.extend(round.refusals);
                self.rounds[last].convicted.extend(round.convicted);
            }
        }
        true
    }

    fn opened(&mut self, opening: &Opening) -> Result<(), Unsound> {
        let Opening {
            round,
            previous,
            model,
            ..
        } = *opening;
        if round != self.head.next_round() {
            let (attempt, done, joined) = (0, self.head.round, 0);
            return Err(Unsound::Refused(Refusal::NotNext {
                round,
                attempt,
                done,
                joined,
            }));
        }
        self.head.check_base(round, previous, model)?;
        let round = self.round();
        round.attempts = round.attempts.saturating_add(1);
        Ok(())
    }

    /// A sum or a contribution was signed. From its own on, a node does not go back.
    fn signed_masked(&mut self, party: Party, signer: NodeId) {
        if party == Party::Node(signer) {
            self.former = None;
        }
    }

    fn ack(
        &mut self,
        party: Party,
        signed: &Signed<ResultAck>,
        unix_s: u64,
    ) -> Result<(), Unsound> {
        let ack = signed.verify(self.manifest, unix_s)?;
        if ack.consortium_id != self.manifest.consortium_id() {
            return Err(Unsound::OtherManifest(ack.consortium_id));
        }
        if matches!(party, Party::Node(own) if own != ack.node) {
            return Err(Unsound::Refused(Refusal::Stranger(ack.node)));
        }
        if ack.head != self.head {
            let (what, signer) = (Kind::Ack, ack.node);
            return Err(Unsound::Refused(Refusal::Stale { what, signer }));
        }
        if let Some(round) = self.rounds.iter_mut().rfind(|round| round.taken.is_some()) {
            round.acknowledged.insert(ack.node);
        }
        let enough = check_cohort(self.manifest, self.acknowledged().iter()).is_ok();
        if party == Party::Relay && enough {
            self.former = None;
        }
        Ok(())
    }

    /// Returns who has acknowledged the state where the party stands.
    fn acknowledged(&self) -> BTreeSet<NodeId> {
        let last = self.rounds.iter().rfind(|round| round.taken.is_some());
        last.map_or_else(BTreeSet::new, |round| round.acknowledged.clone())
    }

    fn adopted(&mut self, checkpoint: Checkpoint, unix_s: u64) -> Result<(), Unsound> {
        if checkpoint.head.round <= self.head.round {
            let what = Kind::Checkpoint;
            return Err(Unsound::Refused(Refusal::Unexpected { what }));
        }
        let next = checkpoint.verify(self.manifest, unix_s)?.head();
        self.round().round = next.round;
        self.advance(next, Taken::Checkpoint(next));
        Ok(())
    }

    fn advance(&mut self, next: Head, taken: Taken) {
        self.round().taken = Some(taken);
        self.former = Some(std::mem::replace(&mut self.head, next));
        self.schemes.of(self.manifest).advance();
    }

    /// The round under way.
    fn round(&mut self) -> &mut Round {
        if self.rounds.last().is_none_or(|round| round.taken.is_some()) {
            self.rounds.push(Round {
                round: self.head.next_round(),
                attempts: 0,
                participants: BTreeSet::new(),
                refusals: Vec::new(),
                convicted: Vec::new(),
                taken: None,
                acknowledged: BTreeSet::new(),
            });
        }
        let last = self.rounds.len() - 1;
        &mut self.rounds[last]
    }
}
