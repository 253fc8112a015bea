//! The difference rule: one model, one set of participants.
//!
//! A relay could claim a loss, have the round rerun with others, and subtract the sums. That the
//! sets differ by many does not help: of the sums over {0, 1, 2}, {0, 3, 4} and {1, 2, 3, 4} each
//! pair is far apart, and yet the first two less the third are twice the input of node 0. So a node
//! that has sent a sum on a model joins another attempt on that model only with the very same
//! participants. The sets of any two sums on one model are then equal or have no honest node in
//! common, and nothing can be subtracted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::digest::Digest;
use crate::identity::NodeId;

/// A sum that is about to be sent: an entry of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentSum {
    model: Digest,
    participants: BTreeSet<NodeId>,
    /// In the peer scheme, the context and the digest of all signed sums there.
    signed: Option<(Digest, Digest)>,
}

impl SentSum {
    /// Returns the sum over `participants` on `model`.
    pub fn new(model: Digest, participants: BTreeSet<NodeId>) -> Self {
        Self {
            model,
            participants,
            signed: None,
        }
    }

    /// Returns the same in the attempt `ctx`, whose signed sums have this digest.
    pub(crate) fn signed(self, ctx: Digest, sums: Digest) -> Self {
        let signed = Some((ctx, sums));
        Self { signed, ..self }
    }
}

/// The sums that this node has sent, for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentSums {
    /// By model: a digest of the participants.
    sums: BTreeMap<Digest, Digest>,
    /// The last model with its participants, who are needed to go on.
    last: Option<(Digest, BTreeSet<NodeId>)>,
    /// The last model, and for each context in which a sum on it was sent the digest of all signed
    /// sums there.
    signed: Option<(Digest, BTreeMap<Digest, Digest>)>,
}

impl SentSums {
    /// Notes that `sum` is about to be sent.
    pub fn add(&mut self, sum: &SentSum) {
        let SentSum {
            model,
            participants,
            signed,
        } = sum;
        self.sums.insert(*model, digest(participants));
        self.last = Some((*model, participants.clone()));
        if let Some((ctx, sums)) = signed {
            let former = self.signed.take().filter(|(last, _)| last == model);
            let (_, mut contexts) = former.unwrap_or((*model, BTreeMap::new()));
            contexts.insert(*ctx, *sums);
            self.signed = Some((*model, contexts));
        }
    }

    /// Returns whether adding `sum` would change nothing.
    pub fn has_last(&self, sum: &SentSum) -> bool {
        let last = self.last.as_ref();
        let signed = sum.signed.is_none_or(|(ctx, sums)| {
            let signed = self
                .signed
                .as_ref()
                .filter(|(model, _)| *model == sum.model);
            signed.and_then(|(_, contexts)| contexts.get(&ctx)) == Some(&sums)
        });
        let same = |(model, set): &(Digest, _)| *model == sum.model && *set == sum.participants;
        last.is_some_and(same) && signed
    }

    /// With whom a sum on `model` was sent, if it was the last.
    pub(super) fn sent_with(&self, model: Digest) -> Vec<NodeId> {
        let last = self.last.iter().filter(|(last, _)| *last == model);
        last.flat_map(|(_, set)| set.iter().copied()).collect()
    }

    /// Checks that the signed sums of the attempt `ctx` are those on which a sum was sent in it, if
    /// one was.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherSums`].
    pub(super) fn check_sums(&self, ctx: Digest, sums: Digest) -> Result<(), Refusal> {
        let signed = self.signed.as_ref();
        let signed = signed.and_then(|(_, contexts)| contexts.get(&ctx));
        match signed.is_none_or(|signed| *signed == sums) {
            true => Ok(()),
            false => Err(Refusal::OtherSums),
        }
    }

    /// Checks an offered set of participants. Those that were `convicted` since may be missing:
    /// they are not honest, so the honest participants are the same.
    ///
    /// # Errors
    ///
    /// [`Refusal::Difference`], with the participants that would be accepted if they are the last.
    pub fn check(
        &self,
        model: Digest,
        offered: &BTreeSet<NodeId>,
        convicted: &BTreeSet<NodeId>,
    ) -> Result<(), Refusal> {
        let sent = self.sums.get(&model);
        if sent.is_none_or(|sent| *sent == digest(offered)) {
            return Ok(());
        }
        let mut sent_with = self.sent_with(model);
        sent_with.retain(|node| !convicted.contains(node));
        match sent_with.iter().eq(offered) {
            true => Ok(()),
            false => Err(Refusal::Difference { sent_with }),
        }
    }
}

fn digest(participants: &BTreeSet<NodeId>) -> Digest {
    let ids: Vec<&[u8]> = participants.iter().map(|id| &id.as_bytes()[..]).collect();
    Digest::sha256(&ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Consortium;

    #[test]
    fn the_same_participants_are_joined_and_all_others_refused() {
        let consortium = Consortium::new(7);
        let manifest = &consortium.manifest;
        let ids: Vec<_> = manifest.roster().keys().copied().collect();
        let set = |range: std::ops::Range<usize>| ids[range].iter().copied().collect();
        let (mut sent, none) = (SentSums::default(), BTreeSet::new());
        let model = manifest.initial_model();
        sent.add(&SentSum::new(model, set(0..7)));

        assert!(sent.check(model, &set(0..7), &none).is_ok());
        for other in [set(0..6), set(1..7), set(0..4), set(0..3)] {
            let refusal = sent.check(model, &other, &none).unwrap_err();
            let Refusal::Difference { sent_with } = refusal else {
                panic!("{refusal}")
            };
            assert_eq!(sent_with, ids);
        }
        assert!(
            sent.check(manifest.consortium_id(), &set(0..6), &none)
                .is_ok(),
            "another model"
        );
        // Who is proven to have lied may be missing, and nobody else.
        let liar = set(6..7);
        assert!(sent.check(model, &set(0..6), &liar).is_ok());
        assert!(sent.check(model, &set(0..5), &liar).is_err());
    }

    #[test]
    fn what_is_added_again_changes_nothing_and_is_known() {
        let nodes = |k: u8| BTreeSet::from([NodeId(Digest([k; 32]))]);
        let model = |k: u8| Digest([k; 32]);
        let sum = SentSum::new(model(1), nodes(1)).signed(Digest([2; 32]), Digest([3; 32]));
        let mut sent = SentSums::default();
        assert!(!sent.has_last(&sum));
        sent.add(&sum);
        let before = sent.clone();
        for (other, known) in [
            (sum.clone(), true),
            (SentSum::new(model(1), nodes(1)), true),
            (sum.clone().signed(Digest([2; 32]), Digest([4; 32])), false),
            (sum.clone().signed(Digest([4; 32]), Digest([3; 32])), false),
            (SentSum::new(model(1), nodes(2)), false),
            (SentSum::new(model(2), nodes(1)), false),
        ] {
            let mut sent = before.clone();
            assert_eq!(sent.has_last(&other), known, "{other:?}");
            sent.add(&other);
            assert_eq!(sent == before, known, "{other:?}");
        }
    }

    #[test]
    fn three_sums_that_are_far_apart_in_pairs_cannot_all_be_had() {
        let consortium = Consortium::new(5);
        let id = |k: usize| consortium.identities[k].node_id();
        let model = consortium.manifest.initial_model();
        let sets = [vec![0, 1, 2], vec![0, 3, 4], vec![1, 2, 3, 4]]
            .map(|set| set.into_iter().map(id).collect::<BTreeSet<_>>());
        let none = BTreeSet::new();
        let mut nodes = vec![SentSums::default(); 5];
        let mut summed = 0;
        for set in &sets {
            let members: Vec<_> = (0..5).filter(|k| set.contains(&id(*k))).collect();
            if members
                .iter()
                .all(|k| nodes[*k].check(model, set, &none).is_ok())
            {
                members.iter().for_each(|k| {
                    nodes[*k].add(&SentSum::new(model, set.clone()));
                });
                summed += 1;
            }
        }
        assert_eq!(summed, 1);
    }
}
