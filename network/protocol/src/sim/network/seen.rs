//! What a simulation has shown so far.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::peer::Conviction;
use crate::round::relay::{Completed, Report};
use crate::round::{Head, Refusal};

/// What has happened so far.
#[derive(Default)]
pub struct Seen {
    /// Where a round led, by its number.
    pub chains: BTreeMap<u64, Head>,
    /// Rounds of which the relay said that they are complete.
    pub completed: Vec<Completed>,
    /// Those who were fixed to take part, attempt by attempt.
    pub participants: Vec<Vec<NodeId>>,
    /// All that the relay's operator was told.
    pub reports: Vec<Report>,
    /// Those whom the relay has refused.
    pub turned_away: Vec<(NodeId, Refusal)>,
    /// What nodes have refused.
    pub refusals: Vec<(NodeId, Refusal)>,
    /// Who has seen proven who lied.
    pub convictions: Vec<(NodeId, Conviction)>,
    /// Whether the relay is done.
    pub finished: bool,
    /// Votes that the relay has got.
    pub votes: usize,
    /// Nodes that the fault policy has killed.
    pub killed: usize,
    /// Where results of the relay's have led, whether or not anybody took them.
    pub(super) published: BTreeSet<Digest>,
}

impl Seen {
    pub(super) fn report(&mut self, report: Report) {
        match &report {
            Report::Completed(completed) => self.completed.push((**completed).clone()),
            Report::Participants { nodes, .. } => self.participants.push(nodes.clone()),
            _ => {}
        }
        self.reports.push(report);
    }

    /// Asserts that no two parties ever have different states after the same round.
    pub(super) fn agree(&mut self, head: Head) {
        let agreed = *self.chains.entry(head.round).or_insert(head);
        assert_eq!(agreed, head, "one model for a round");
    }

    /// Asserts that nobody was found at fault.
    pub fn assert_peaceful(&self) {
        assert!(self.turned_away.is_empty(), "{:?}", self.turned_away);
        assert!(self.refusals.is_empty(), "{:?}", self.refusals);
    }
}
