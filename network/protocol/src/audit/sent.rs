//! What a node's own log says of the sums that it has sent.
//!
//! A node keeps them on record elsewhere as well, so that neither can be lost, or exchanged for an
//! older one, unnoticed.

use std::collections::BTreeSet;

use super::record::Entry;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::SentSum;
use crate::round::message::Signed;
use crate::round::peer::message::Sum;
use crate::round::peer::sums_digest;
use crate::wire;

/// The sums that a node has logged, in their order. It is given the entries of the node's own log,
/// one after the other, whose signatures the node has checked when it wrote them.
#[derive(Debug, Default)]
pub struct LoggedSums {
    /// The model that the node stands at.
    model: Option<Digest>,
    sums: Vec<SentSum>,
}

impl LoggedSums {
    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Started { head, .. } => self.model = Some(head.model),
            Entry::Outcome(outcome) => self.model = Some(outcome.model),
            Entry::Adopted(checkpoint) => self.model = Some(checkpoint.head.model),
            Entry::Sums(signed) => self.sums.extend(self.of_participants(signed)),
            Entry::Ballot { contributors, .. } => {
                let nodes = contributors.iter().map(|entry| entry.node).collect();
                let sum = self.model.map(|model| SentSum::new(model, nodes));
                self.sums.extend(sum);
            }
            _ => {}
        }
    }

    /// Returns the sums.
    pub fn into_sums(self) -> Vec<SentSum> {
        self.sums
    }

    /// The sum over those who have signed these.
    fn of_participants(&self, signed: &[Signed<Sum>]) -> Option<SentSum> {
        let decode = |signed: &Signed<Sum>| wire::decode::<Sum>(signed.bytes()).ok();
        let messages: Vec<_> = signed.iter().filter_map(decode).collect();
        let ctx = messages.first()?.ctx;
        let nodes: BTreeSet<NodeId> = messages.iter().map(|sum| sum.node).collect();
        let sum = SentSum::new(self.model?, nodes);
        Some(sum.signed(ctx, sums_digest(signed)))
    }
}
