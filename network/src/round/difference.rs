//! The difference rule: no two sums on one model from which a few participants could be singled out.
//!
//! A relay could claim a loss, have the round rerun without one node, and subtract the two sums. So a node that has
//! sent a sum for (model, V) joins another attempt on that model only if V′ = V, or if the two sets differ by at
//! least collusion + 2 organisations.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::participants::count;
use super::refusal::Refusal;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// The sums that this node has sent, for good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentSums(Vec<SentSum>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SentSum {
    model: Digest,
    participants: BTreeSet<NodeId>,
}

impl SentSums {
    /// Notes that a sum over `participants` on `model` is about to be sent. Says whether that is news.
    pub fn record(&mut self, model: Digest, participants: BTreeSet<NodeId>) -> bool {
        let sent = SentSum {
            model,
            participants,
        };
        let news = !self.0.contains(&sent);
        if news {
            self.0.push(sent);
        }
        news
    }

    /// Checks an offered set of participants.
    ///
    /// # Errors
    /// [`Refusal::Difference`], with the participants that would be accepted.
    pub fn check(
        &self,
        manifest: &Manifest,
        model: Digest,
        offered: &BTreeSet<NodeId>,
    ) -> Result<(), Refusal> {
        let needed = manifest.collusion() + 2;
        for sent in self.0.iter().filter(|sent| sent.model == model) {
            let differ = organisations(manifest, sent.participants.symmetric_difference(offered));
            if sent.participants != *offered && differ < needed {
                return Err(Refusal::Difference {
                    sent_with: sent.participants.iter().copied().collect(),
                    differ: count(differ),
                    needed: count(needed),
                });
            }
        }
        Ok(())
    }
}

/// Number of organisations that run these nodes.
pub(super) fn organisations<'a>(
    manifest: &Manifest,
    nodes: impl Iterator<Item = &'a NodeId>,
) -> usize {
    let names: BTreeSet<_> = nodes
        .filter_map(|id| manifest.roster().get(id))
        .map(|member| member.organisation.as_str())
        .collect();
    names.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Consortium;

    #[test]
    fn same_or_far_apart_is_joined_all_else_refused() {
        let consortium = Consortium::new(7);
        let manifest = &consortium.manifest;
        let ids: Vec<_> = manifest.roster().keys().copied().collect();
        let set = |range: std::ops::Range<usize>| ids[range].iter().copied().collect();
        let mut sent = SentSums::default();
        let model = manifest.initial_model();
        assert!(sent.record(model, set(0..7)));
        assert!(!sent.record(model, set(0..7)));

        assert!(sent.check(manifest, model, &set(0..7)).is_ok());
        assert!(
            sent.check(manifest, model, &set(0..4)).is_ok(),
            "three organisations apart"
        );
        for near in [set(0..6), set(0..5), set(1..7)] {
            let refusal = sent.check(manifest, model, &near).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Difference { needed: 3, .. }),
                "{refusal}"
            );
        }
        assert!(
            sent.check(manifest, manifest.sid(), &set(0..6)).is_ok(),
            "another model"
        );
    }

    #[test]
    fn nodes_of_one_organisation_count_once() {
        let consortium = Consortium::with(7, |file| {
            for node in &mut file.nodes[4..] {
                "same hands".clone_into(&mut node.organisation);
            }
        });
        let manifest = &consortium.manifest;
        let id = |k: usize| consortium.identities[k].node_id();
        let mut sent = SentSums::default();
        sent.record(manifest.initial_model(), (0..7).map(id).collect());
        let without_them = (0..4).map(id).collect();
        let refusal = sent
            .check(manifest, manifest.initial_model(), &without_them)
            .unwrap_err();
        assert!(
            matches!(refusal, Refusal::Difference { differ: 1, .. }),
            "{refusal}"
        );
    }
}
