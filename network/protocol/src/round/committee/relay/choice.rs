//! Whom the holders are asked to vote for.

use std::collections::BTreeSet;

use crate::identity::NodeId;
use crate::round::committee::Contributors;
use crate::round::committee::message::Contribution;
use crate::round::message::Signed;

/// Those that the holders are asked to vote for.
pub(super) struct Chosen {
    pub(super) contributors: Contributors,
    pub(super) signed: Vec<Signed<Contribution>>,
    /// Holders that have accepted all of them.
    pub(super) voters: BTreeSet<NodeId>,
}

/// The contributors that enough holders accept, and the holders that accept all of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) contributors: BTreeSet<NodeId>,
    pub(super) voters: BTreeSet<NodeId>,
}

/// Chooses as many contributors as possible that at least `quorum` of `holders` accept, all of
/// them.
///
/// A contributor that one holder rejects may have cheated it; or the holder lies. Who does cannot
/// be told from here. So all holders are kept as long as that costs nobody, else the one that
/// rejects most is left out, as long as there are more than enough, and whichever leaves the most
/// contributors wins.
pub(super) fn choose(
    contributors: &BTreeSet<NodeId>,
    holders: &BTreeSet<NodeId>,
    quorum: usize,
    accepts: impl Fn(NodeId, NodeId) -> bool,
) -> Option<Choice> {
    let mut voters = holders.clone();
    let mut best: Option<Choice> = None;
    while voters.len() >= quorum {
        let by_all = |node: &&NodeId| voters.iter().all(|holder| accepts(*holder, **node));
        let accepted: BTreeSet<_> = contributors.iter().filter(by_all).copied().collect();
        if best
            .as_ref()
            .is_none_or(|best| best.contributors.len() < accepted.len())
        {
            best = Some(Choice {
                contributors: accepted,
                voters: voters.clone(),
            });
        }
        let rejected = |holder: &&NodeId| {
            contributors
                .iter()
                .filter(|node| !accepts(**holder, **node))
                .count()
        };
        let worst = voters.iter().max_by_key(rejected).copied()?;
        voters.remove(&worst);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn nodes(range: std::ops::Range<u8>) -> BTreeSet<NodeId> {
        range.map(|k| NodeId(Digest([k; 32]))).collect()
    }

    #[test]
    fn a_cheating_contributor_is_left_out_and_a_lying_holder_too() {
        let (contributors, holders) = (nodes(0..20), nodes(0..5));
        let id = |k| NodeId(Digest([k; 32]));
        let all = choose(&contributors, &holders, 4, |_, _| true).unwrap();
        assert_eq!((all.contributors.len(), all.voters.len()), (20, 5));

        let one = choose(&contributors, &holders, 4, |h, c| (h, c) != (id(2), id(9)));
        assert_eq!(
            one.unwrap().contributors.len(),
            20,
            "the fifth holder is not needed"
        );
        let two = choose(&contributors, &holders, 4, |h, c| h > id(1) || c != id(9)).unwrap();
        assert_eq!((two.contributors.len(), two.voters.len()), (19, 5));
        let liar = choose(&contributors, &holders, 4, |h, _| h != id(2)).unwrap();
        assert_eq!((liar.contributors.len(), liar.voters.len()), (20, 4));
        assert!(!liar.voters.contains(&id(2)));
        let liars = choose(&contributors, &holders, 4, |h, _| h > id(1)).unwrap();
        assert!(liars.contributors.is_empty());
        assert_eq!(choose(&contributors, &nodes(0..3), 4, |_, _| true), None);
    }
}
