//! How updates are shared, and with a committee: who holds the seeds, and how many of them may
//! collude.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Member;
use crate::error::ManifestError;
use crate::identity::NodeId;
use crate::round::committee::Committee;

/// The keys of all nodes travel in one message, and each pair has a share.
const MAX_PEER_NODES: u32 = 1000;
/// The signed contributions of all nodes travel in one message.
const MAX_COMMITTEE_NODES: u32 = 4000;

/// How updates are shared among the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Of every two participants, one holds a share of the other's update.
    Peer,
    /// Some nodes hold shares of everyone's update; all others may leave once theirs is with the
    /// relay.
    Committee,
}

impl Scheme {
    /// Returns the most nodes that a roster can have, whatever the plan allows.
    pub(super) fn max_nodes(self) -> u32 {
        match self {
            Self::Peer => MAX_PEER_NODES,
            Self::Committee => MAX_COMMITTEE_NODES,
        }
    }
}

/// Who holds the seeds, in the committee scheme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitteeTable {
    /// Names of the nodes that are holders, in the order of the schedule.
    pub holders: Vec<String>,
    /// t: the relay and t holders together learn nothing.
    pub threshold: u32,
}

/// Returns the committee that this table of the manifest describes, if the scheme has one.
/// `collusion` is how many organisations may side with the relay.
///
/// # Errors
///
/// [`ManifestError`]: a table without the scheme or a scheme without its table, a holder that is
/// not in the roster or named twice, a threshold that does not fit the number of holders or those
/// that may collude.
pub(super) fn committee(
    scheme: Scheme,
    table: Option<&CommitteeTable>,
    collusion: u32,
    roster: &BTreeMap<NodeId, Member>,
) -> Result<Option<Committee>, ManifestError> {
    let table = match (scheme, table) {
        (Scheme::Peer, None) => return Ok(None),
        (Scheme::Committee, Some(table)) => table,
        (Scheme::Peer, Some(_)) => return Err(ManifestError::CommitteeTable("peer", "no")),
        (Scheme::Committee, None) => {
            return Err(ManifestError::CommitteeTable("committee", "a"));
        }
    };
    let members: BTreeMap<_, _> = roster
        .values()
        .map(|member| (&member.name, member))
        .collect();
    let mut holders = Vec::with_capacity(table.holders.len());
    let mut seats: BTreeMap<_, u32> = BTreeMap::new();
    for name in &table.holders {
        let member = members
            .get(name)
            .filter(|member| !holders.contains(&member.id));
        let member = member.ok_or_else(|| ManifestError::Holder(name.clone()))?;
        holders.push(member.id);
        *seats.entry(&member.organisation).or_default() += 1;
    }
    let (found, threshold) = (holders.len(), table.threshold);
    let committee = Committee::new(holders, threshold as usize)
        .ok_or(ManifestError::Committee { found, threshold })?;
    let mut seats: Vec<_> = seats.into_values().collect();
    seats.sort_unstable_by(|a, b| b.cmp(a));
    let colluding = seats.iter().take(collusion as usize).sum();
    match colluding > threshold {
        true => Err(ManifestError::Threshold {
            threshold,
            collusion,
            holders: colluding,
        }),
        false => Ok(Some(committee)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Manifest, ManifestFile, Scheme};
    use super::CommitteeTable;
    use crate::error::ManifestError as E;
    use crate::identity::Identity;
    use crate::sim::manifest_file;

    #[test]
    fn a_committee_must_fit_the_scheme_the_nodes_and_those_who_collude() {
        let committee = |holders: &[usize], threshold: u32, change: fn(&mut ManifestFile)| {
            let identities: Vec<_> = (0..7)
                .map(|k| Identity::of_test(&format!("node-{k}")))
                .collect();
            let mut file = manifest_file(&identities);
            file.scheme = Scheme::Committee;
            let holders = holders.iter().map(|k| format!("node-{k}")).collect();
            file.committee = Some(CommitteeTable { holders, threshold });
            change(&mut file);
            Manifest::sign(&file, &Identity::of_test("other"))
        };
        let five = [4, 3, 2, 1, 0];
        let manifest = committee(&five, 2, |_| ()).unwrap();
        let found = manifest.committee().unwrap();
        let names = found.holders().iter().map(|id| manifest.name_of(*id));
        assert_eq!(names.collect::<Vec<_>>(), five.map(|k| format!("node-{k}")));
        let none = committee(&five, 2, |m| {
            m.scheme = Scheme::Peer;
            m.committee = None;
        });
        assert!(none.unwrap().committee().is_none());

        let peer = committee(&five, 2, |m| m.scheme = Scheme::Peer);
        assert!(matches!(peer, Err(E::CommitteeTable("peer", _))));
        let none = committee(&five, 2, |m| m.committee = None);
        assert!(matches!(none, Err(E::CommitteeTable("committee", _))));
        assert!(matches!(
            committee(&[0, 1, 9], 1, |_| ()),
            Err(E::Holder(_))
        ));
        assert!(matches!(
            committee(&[0, 1, 1], 1, |_| ()),
            Err(E::Holder(_))
        ));
        for threshold in [0, 5, u32::MAX] {
            let refused = committee(&five, threshold, |_| ());
            assert!(matches!(refused, Err(E::Committee { found: 5, .. })));
        }
        let collusion = committee(&five, 1, |m| (m.collusion, m.min_nodes) = (2, 4));
        assert!(matches!(collusion, Err(E::Threshold { holders: 2, .. })));
        let one_house = committee(&five, 1, |m| {
            m.nodes[0].organisation = "ORGANISATION  1".into()
        });
        assert!(matches!(one_house, Err(E::Threshold { holders: 2, .. })));
    }
}
