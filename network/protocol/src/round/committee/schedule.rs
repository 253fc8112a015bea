//! The committee that the manifest names: who may hold seeds, how many may collude, how many make a
//! decision.

use std::collections::BTreeSet;

use super::classes::{ClassSet, Classes, Seats};
use crate::identity::NodeId;
use crate::round::refusal::Refusal;

/// The K holders of a manifest, in the order of its schedule, and the privacy threshold t.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    holders: Vec<NodeId>,
    classes: Classes,
}

impl Committee {
    /// The committee of these holders, all different; nothing if [`Classes::new`] has none for
    /// their number.
    pub fn new(holders: Vec<NodeId>, threshold: usize) -> Option<Self> {
        let classes = Classes::new(holders.len(), threshold)?;
        Some(Self { holders, classes })
    }

    /// Returns the holders, in the order of the schedule.
    pub fn holders(&self) -> &[NodeId] {
        &self.holders
    }

    /// Returns the classes.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Q = ⌊(K + t)/2⌋ + 1: so many votes are a certificate.
    ///
    /// Two sets of Q out of K holders share more than t of them, so one that is honest, and it
    /// votes once. K is the manifest's, whoever is present: certificates of different attempts meet
    /// in an honest holder too, which remembers for whom it voted.
    pub fn quorum(&self) -> usize {
        (self.classes.holders() + self.classes.threshold()) / 2 + 1
    }

    /// The place of a holder in the schedule.
    pub fn seat(&self, node: NodeId) -> Option<usize> {
        self.holders.iter().position(|holder| *holder == node)
    }

    /// Returns whether `node` is one of the holders.
    pub fn contains(&self, node: NodeId) -> bool {
        self.seat(node).is_some()
    }

    /// Returns all holders but these.
    pub fn without(&self, these: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let others = self.holders.iter().filter(|node| !these.contains(node));
        others.copied().collect()
    }

    /// The classes whose seeds `node` gets: none if it is no holder.
    pub fn held_by(&self, node: NodeId) -> ClassSet {
        let seat = self.seat(node);
        seat.map_or(ClassSet::default(), |seat| self.classes.held_by(seat))
    }

    /// That these are classes, and that `holder` holds all of them.
    ///
    /// # Errors
    ///
    /// [`Refusal::Classes`].
    pub(crate) fn check_held(&self, classes: ClassSet, holder: NodeId) -> Result<(), Refusal> {
        match !classes.is_empty() && classes.is_subset(self.held_by(holder)) {
            true => Ok(()),
            false => Err(Refusal::Classes { holder }),
        }
    }

    /// The places of these holders.
    pub fn seats<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> Seats {
        Seats::of(nodes.into_iter().filter_map(|node| self.seat(*node)))
    }

    /// Returns whether contributors commit to their seeds: with t = K − 1 a seed has one holder,
    /// and nobody to differ from.
    pub fn commits(&self) -> bool {
        self.classes.threshold() + 1 < self.classes.holders()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    /// The committee of `k` made-up holders.
    fn committee(k: u8, t: usize) -> Committee {
        Committee::new((0..k).map(|id| NodeId(Digest([id; 32]))).collect(), t).unwrap()
    }

    #[test]
    fn classes_quorum_and_tolerated_losses_are_those_of_the_protocols_table() {
        // K, t; classes, Q; lost before the vote, after it; holders beside the relay that it falls
        // to.
        let table = [
            (3, 2, 3, 3, 0, 0, 3),
            (4, 1, 4, 3, 1, 2, 2),
            (5, 2, 10, 4, 1, 2, 3),
            (7, 4, 35, 6, 1, 2, 5),
        ];
        for (k, t, classes, quorum, before, after, falls) in table {
            let committee = committee(k, t);
            assert_eq!(committee.classes().count(), classes);
            assert_eq!(committee.quorum(), quorum);
            let k = usize::from(k);
            assert_eq!(k - committee.quorum(), before);
            let survives = |lost: usize| {
                let present = Seats::of(lost..k);
                committee
                    .classes()
                    .assign(committee.classes().all(), present)
                    .1
                    .is_empty()
            };
            assert!(survives(after) && !survives(after + 1));
            let open = |colluders: usize| {
                let sets = (0..colluders).map(|seat| committee.classes().held_by(seat));
                sets.fold(ClassSet::default(), ClassSet::union) == committee.classes().all()
            };
            assert!(open(falls) && !open(falls - 1));
        }
    }

    #[test]
    fn a_quorum_holds_every_class_and_two_share_more_than_t() {
        for k in 2..=7 {
            for t in 1..usize::from(k) {
                let committee = committee(k, t);
                let (k, quorum) = (usize::from(k), committee.quorum());
                assert!(quorum <= k && 2 * quorum > k + t && quorum > t);
                assert!(2 * (quorum - 1) <= k + t, "and one less would not do");
            }
        }
    }
}
