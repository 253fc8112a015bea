//! Collecting the sums of masks, every class once. What a lost holder was to reveal goes to others
//! that can.

use std::collections::BTreeSet;
use std::time::Duration;

use super::attendance::Attendance;
use super::choice::Chosen;
use crate::audit::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::committee::decision::check_reveal;
use crate::round::committee::message::{Reveal, Vote};
use crate::round::committee::{ClassSet, Decision, Holders};
use crate::round::evidence::Evidence;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};
use crate::round::relay::reminder::Reminder;
use crate::round::relay::stage::{AttemptProgress, Complete};
use crate::round::relay::state::RelayState;
use crate::wire::{BodyId, RelayFrame};

pub(in crate::round) struct Revealing {
    holders: Holders,
    attendance: Attendance,
    chosen: Chosen,
    votes: Vec<Signed<Vote>>,
    /// Not here yet.
    parts: Vec<RevealPart>,
    /// Here, whole.
    reveals: Vec<Signed<Reveal>>,
    bodies: Vec<(NodeId, BodyId)>,
    covered: ClassSet,
    deadline: Duration,
    reminder: Reminder,
}

/// What one holder was asked for.
struct RevealPart {
    holder: NodeId,
    classes: ClassSet,
    reveal: Option<(Signed<Reveal>, Digest)>,
}

impl Revealing {
    pub(super) fn begin(
        state: &mut RelayState,
        holders: Holders,
        attendance: Attendance,
        chosen: Chosen,
        votes: Vec<Signed<Vote>>,
    ) -> Self {
        let mut revealing = Self {
            holders,
            attendance,
            chosen,
            votes,
            parts: Vec::new(),
            reveals: Vec::new(),
            bodies: Vec::new(),
            covered: ClassSet::default(),
            deadline: Duration::ZERO,
            reminder: Reminder::since(state.now),
        };
        let all = revealing.holders.committee().classes().all();
        // What nobody present holds waits for those who are away.
        let lost = revealing.distribute(state, all, None);
        revealing.leave(lost);
        revealing
    }

    /// Asks holders that are here, but not `except`, for these classes. Returns those that none of
    /// them holds.
    fn distribute(
        &mut self,
        state: &mut RelayState,
        classes: ClassSet,
        except: Option<NodeId>,
    ) -> ClassSet {
        let committee = self.holders.committee();
        let able = self.chosen.voters.intersection(self.attendance.here());
        let able = committee.seats(able.filter(|node| Some(**node) != except));
        let (parts, lost) = committee.classes().assign(classes, able);
        for (seat, classes) in parts {
            let holder = committee.holders()[seat];
            let part = RevealPart {
                holder,
                classes,
                reveal: None,
            };
            self.order(state, &part);
            self.parts.push(part);
        }
        // A holder expands as many seeds as there are contributors, and then uploads one body.
        let wait = state.manifest.transfer_timeout().saturating_mul(2);
        self.deadline = state.after(wait);
        lost
    }

    /// Leaves classes that only holders that are away have to one of these; without any, to nobody.
    fn leave(&mut self, classes: ClassSet) {
        let committee = self.holders.committee();
        let away = committee.seats(self.chosen.voters.intersection(self.attendance.away()));
        let (parts, _) = committee.classes().assign(classes, away);
        for (seat, classes) in parts {
            self.parts.push(RevealPart {
                holder: self.holders.committee().holders()[seat],
                classes,
                reveal: None,
            });
        }
    }

    fn order(&self, state: &mut RelayState, part: &RevealPart) {
        let order = RelayFrame::Reveal {
            ctx: self.holders.ctx(),
            entries: self.chosen.contributors.entries().to_vec(),
            votes: self.votes.clone(),
            classes: part.classes,
        };
        state.send(part.holder, order);
    }

    /// A holder has what it was asked for.
    pub(super) fn revealed(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        signed: Signed<Reveal>,
    ) -> Result<(), Refusal> {
        let (reveal, _) = signed.verify_tagged(&state.manifest, state.unix_s())?;
        if reveal.holder != node {
            return Err(Refusal::Stranger(reveal.holder));
        }
        if reveal.ctx != self.holders.ctx() {
            state.late(node, Kind::Reveal);
            return Ok(());
        }
        check_reveal(&reveal, &self.chosen.contributors, &self.holders)?;
        let mut parts = self.parts.iter_mut();
        let Some(part) = parts.find(|part| part.holder == node && part.classes == reveal.classes)
        else {
            // It was given to another in the meantime, or is here already.
            state.late(node, Kind::Reveal);
            return Ok(());
        };
        let (ctx, root) = (reveal.ctx, reveal.root);
        let entry = Entry::Reveal(signed.clone());
        let known = part.reveal.get_or_insert((signed, root));
        if known.1 != root {
            let (what, signer) = (Kind::Reveal, node);
            return Err(Refusal::Duplicate { what, signer });
        }
        state.log(entry);
        state.collect(node, ctx, BodyId::reveal(root), root);
        Ok(())
    }

    /// The body of a reveal is here, whole.
    pub(super) fn added(&mut self, node: NodeId, body: BodyId) {
        let is_it = |part: &RevealPart| {
            part.holder == node
                && part
                    .reveal
                    .as_ref()
                    .is_some_and(|(_, root)| BodyId::reveal(*root) == body)
        };
        if let Some(place) = self.parts.iter().position(is_it) {
            let part = self.parts.swap_remove(place);
            self.covered = self.covered.union(part.classes);
            self.reveals.extend(part.reveal.map(|(signed, _)| signed));
            self.bodies.push((node, body));
        }
    }

    /// A node is here, perhaps again.
    pub(super) fn returned(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        holding: Option<Digest>,
    ) {
        let waited_for = self.attendance.may_serve(node);
        if self.attendance.returned(node, holding) {
            for part in self.parts.iter().filter(|part| part.holder == node) {
                self.order(state, part);
            }
        } else if waited_for {
            self.attendance.gone(node);
            self.replace(state, node);
        }
    }

    pub(super) fn lost(&mut self, state: &mut RelayState, node: NodeId) {
        if self.attendance.lost(node) {
            self.replace(state, node);
        }
    }

    /// A node does not go on.
    pub(super) fn refused(&mut self, state: &mut RelayState, node: NodeId) {
        self.attendance.gone(node);
        self.replace(state, node);
    }

    /// Others are asked for what `node` has not revealed. What only it holds of those who are here
    /// is left to it, or to others that may come back.
    fn replace(&mut self, state: &mut RelayState, node: NodeId) {
        let of_node = |part: &mut RevealPart| part.holder == node;
        let open: Vec<_> = self.parts.extract_if(.., of_node).collect();
        let classes = open
            .iter()
            .fold(ClassSet::default(), |set, part| set.union(part.classes));
        if classes.is_empty() {
            return;
        }
        let lost = self.distribute(state, classes, Some(node));
        self.leave(lost);
    }

    pub(super) fn advance(mut self, state: &mut RelayState) -> AttemptProgress<Self, Complete> {
        let classes = self.holders.committee().classes();
        if self.covered == classes.all() {
            return AttemptProgress::Moves(self.complete());
        }
        let awaited = self
            .parts
            .iter()
            .fold(self.covered, |set, part| set.union(part.classes));
        if awaited != classes.all() {
            // Some class is lost for good. Its holders can begin again, but only with these
            // contributors.
            let committee = self.holders.committee();
            return AttemptProgress::Abandoned(committee.without(self.attendance.here()));
        }
        if state.now < self.deadline {
            return AttemptProgress::Stays(self);
        }
        let missing: BTreeSet<_> = self.parts.iter().map(|part| part.holder).collect();
        if self
            .reminder
            .remind(state, missing.iter().copied().collect(), true)
        {
            self.ask_again(state);
        }
        AttemptProgress::Stays(self)
    }

    /// Asks for what is missing again: the request, or the answer, may have been lost with a former
    /// connection.
    fn ask_again(&self, state: &mut RelayState) {
        for part in self
            .parts
            .iter()
            .filter(|part| self.attendance.is_here(part.holder))
        {
            match &part.reveal {
                None => self.order(state, part),
                Some((_, root)) => {
                    let ctx = self.holders.ctx();
                    state.collect(part.holder, ctx, BodyId::reveal(*root), *root);
                }
            }
        }
    }

    fn complete(self) -> Complete {
        let (ctx, nodes) = (self.holders.ctx(), self.chosen.contributors.nodes());
        let inputs = nodes.iter().map(|node| (*node, BodyId::sum(ctx)));
        let bodies = inputs.chain(self.bodies).collect();
        let decision = Decision {
            contributions: self.chosen.signed,
            votes: self.votes,
            reveals: self.reveals,
        };
        Complete {
            ctx,
            bundle: self.holders.bundle().to_vec(),
            nodes,
            parts: Evidence::Decision(decision),
            bodies,
        }
    }
}
