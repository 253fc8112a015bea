//! Who a sum hides among: enough nodes, of enough organisations.

use std::collections::BTreeSet;

use super::refusal::Refusal;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// Checks that these nodes of the roster, each of them named once, are enough for a sum to hide
/// each of them.
///
/// # Errors
///
/// [`Refusal::TooFew`] or [`Refusal::Organisations`].
pub(crate) fn check_cohort<'a>(
    manifest: &Manifest,
    nodes: impl Iterator<Item = &'a NodeId> + Clone,
) -> Result<(), Refusal> {
    let (found, min_nodes) = (nodes.clone().count(), manifest.min_nodes());
    if found < min_nodes {
        let (found, min_nodes) = (count(found), count(min_nodes));
        return Err(Refusal::TooFew { found, min_nodes });
    }
    let (found, needed) = (organisations(manifest, nodes), manifest.min_organisations());
    if found < needed {
        let (found, needed) = (count(found), count(needed));
        return Err(Refusal::Organisations { found, needed });
    }
    Ok(())
}

/// Checks that a sum can be made of these nodes: they are enough, and the manifest has them take
/// part without others. Those that are `convicted` of a lie may be missing: they are not honest, so
/// that the honest participants are the same without them.
///
/// # Errors
///
/// What [`check_cohort`] refuses, or [`Refusal::Participation`].
pub(crate) fn check_participants(
    manifest: &Manifest,
    nodes: &BTreeSet<NodeId>,
    convicted: &BTreeSet<NodeId>,
) -> Result<(), Refusal> {
    check_cohort(manifest, nodes.iter())?;
    let missing = manifest.participation().missing(nodes, convicted);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Participation { missing }),
    }
}

/// Returns a number of nodes as it travels. Rosters are far smaller than 2^32.
pub(crate) fn count(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

/// Returns the number of organisations that run these nodes.
pub(crate) fn organisations<'a>(
    manifest: &Manifest,
    nodes: impl Iterator<Item = &'a NodeId>,
) -> usize {
    let names: BTreeSet<_> = nodes
        .filter_map(|id| manifest.roster().get(id))
        .map(|member| &member.organisation)
        .collect();
    names.len()
}
