//! Who takes part in the next attempt: decided from who is ready, and from what these are bound to.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IteratorRandom as _;

use super::obligations::Obligations;
use super::settings::Settings;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::cohort_minimum::check_cohort;

/// Whom an attempt is opened for.
pub(in crate::round) struct Selection {
    pub(in crate::round) nodes: BTreeSet<NodeId>,
    /// Whether it has to be all of them: the difference rule, or the manifest has it so.
    pub(in crate::round) exact: bool,
}

/// The nodes that could take part now.
pub(super) struct Candidates<'a> {
    manifest: &'a Manifest,
    settings: &'a Settings,
    obligations: &'a Obligations,
    /// Connected, level with the relay, and not excluded.
    ready: BTreeSet<NodeId>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(
        manifest: &'a Manifest,
        settings: &'a Settings,
        obligations: &'a Obligations,
        ready: BTreeSet<NodeId>,
    ) -> Self {
        Self {
            manifest,
            settings,
            obligations,
            ready,
        }
    }

    /// Returns the only nodes that can take part, if there are such.
    pub(super) fn bound(&self) -> Option<&'a BTreeSet<NodeId>> {
        self.obligations
            .bound(&self.ready, |free| self.can_go(free))
    }

    /// Returns whether enough nodes are ready for an attempt.
    pub(super) fn suffice(&self) -> bool {
        let bound = self.bound();
        self.obligations.is_quorate(bound, &self.ready)
            && match bound {
                Some(bound) => bound.is_subset(&self.ready),
                None => self.suffice_without(&[]),
            }
    }

    /// Returns whether others can go on, enough of them, without these.
    pub(super) fn suffice_without(&self, missing: &[NodeId]) -> bool {
        let mut free = self.obligations.free(&self.ready);
        missing.iter().for_each(|node| {
            free.remove(node);
        });
        self.bound().is_none() && self.can_go(&free)
    }

    /// Returns whether a round can be made of some of these nodes.
    fn can_go(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let whole: BTreeSet<_> = self.whole_cohorts(nodes).into_iter().flatten().collect();
        are_enough(self.manifest, self.settings, whole.iter())
    }

    /// Returns the cohorts that can take part if no others than `nodes` do.
    fn whole_cohorts(&self, nodes: &BTreeSet<NodeId>) -> Vec<BTreeSet<NodeId>> {
        let participation = self.manifest.participation();
        participation.whole(nodes, self.obligations.convicted())
    }

    /// Returns the nodes without which no attempt can begin, or, where any will do, all that are
    /// not ready.
    pub(super) fn missing(&self) -> Vec<NodeId> {
        let needed: BTreeSet<NodeId> = match self.bound() {
            Some(bound) => {
                let deciders = self.obligations.lacking(bound, &self.ready);
                bound.iter().chain(deciders).copied().collect()
            }
            None => self.manifest.roster().keys().copied().collect(),
        };
        let missing = needed.difference(&self.ready);
        let convicted = self.obligations.convicted();
        missing
            .filter(|id| !convicted.contains(id))
            .copied()
            .collect()
    }

    /// Chooses whom to ask: those who are bound, or a random part of those who are free; of the
    /// manifest's cohorts, where it has some.
    pub(super) fn choose(&self, rng: &mut impl Rng) -> Selection {
        if let Some(bound) = self.bound() {
            let (nodes, exact) = (bound.clone(), true);
            return Selection { nodes, exact };
        }
        let free = self.obligations.free(&self.ready);
        let participation = self.manifest.participation();
        let (sampled, all): (BTreeSet<_>, _) = match participation.is_any() {
            true => {
                let wanted = self.part_of(free.len());
                let wanted = wanted.max(least(self.manifest, self.settings));
                let sampled = free.iter().copied().sample(rng, wanted);
                (sampled.into_iter().collect(), free)
            }
            false => {
                let whole = self.whole_cohorts(&free);
                let sampled = whole.iter().sample(rng, self.part_of(whole.len()));
                let sampled = sampled.into_iter().flatten().copied().collect();
                (sampled, whole.into_iter().flatten().collect())
            }
        };
        let nodes = match are_enough(self.manifest, self.settings, sampled.iter()) {
            true => sampled,
            // Too few, or too many of one organisation.
            false => all,
        };
        let exact = !participation.is_any();
        Selection { nodes, exact }
    }

    /// Returns how many to ask of so many that are available.
    fn part_of(&self, available: usize) -> usize {
        let share = self.settings.fraction_fit() * available as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of a small count"
        )]
        let wanted = share.ceil() as usize;
        wanted
    }
}

/// Returns whether these nodes are enough for an attempt, in number and in organisations.
pub(super) fn are_enough<'a>(
    manifest: &Manifest,
    settings: &Settings,
    nodes: impl Iterator<Item = &'a NodeId> + Clone,
) -> bool {
    nodes.clone().count() >= least(manifest, settings) && check_cohort(manifest, nodes).is_ok()
}

/// Returns the least number of participants.
fn least(manifest: &Manifest, settings: &Settings) -> usize {
    settings.min_nodes().max(manifest.min_nodes())
}
