//! The least that a sum hides behind: enough nodes, of enough organisations.

use std::collections::BTreeSet;

use super::participants::count;
use super::refusal::Refusal;
use crate::identity::NodeId;
use crate::manifest::Manifest;

/// Checks that these nodes of the roster, each of them named once, are enough.
///
/// # Errors
/// [`Refusal::TooFew`] or [`Refusal::Organisations`].
pub(super) fn check_minima<'a>(
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

/// Number of organisations that run these nodes.
fn organisations<'a>(manifest: &Manifest, nodes: impl Iterator<Item = &'a NodeId>) -> usize {
    let names: BTreeSet<_> = nodes
        .filter_map(|id| manifest.roster().get(id))
        .map(|member| member.organisation.as_str())
        .collect();
    names.len()
}
