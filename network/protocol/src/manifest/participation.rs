//! Who takes part in a round: the consortium's agreement, not the relay's choice.
//!
//! Whoever chooses who is in which sums can combine them. Over the whole life of a data set every
//! combination of the sums must hide each node's input behind another honest organisation's, and
//! it does exactly if the nodes that share a history, the set of sums that they are in, belong to
//! collusion + 2 organisations at least (the protocol, section 0). So the manifest divides the
//! nodes into *cohorts*, each of which takes part as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Member;
use crate::error::ManifestError;
use crate::identity::NodeId;

/// Who takes part in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParticipationMode {
    /// Every node of the roster in every round.
    All,
    /// Whole cohorts.
    Cohorts,
    /// Any nodes that are enough for one round. Sums of several rounds, whose participants differ,
    /// then tell more than each of them.
    Any,
}

/// Nodes that take part together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortTable {
    /// Names of the nodes.
    pub nodes: Vec<String>,
}

/// Who takes part in a round, checked against the roster.
#[derive(Clone, Debug)]
pub struct Participation {
    /// Disjoint, and together the whole roster; nothing if any nodes may take part.
    cohorts: Option<Vec<BTreeSet<NodeId>>>,
}

impl Participation {
    /// Returns the agreement that these fields of a manifest describe. `accepts_differences` must
    /// be set for [`ParticipationMode::Any`] and for no other; `needed` is the least number of
    /// organisations in a cohort.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Participation`]: a field without its mode or a mode without its field, a
    /// node that is in no cohort, in two or not in the roster, a cohort of too few organisations.
    pub(super) fn new(
        mode: ParticipationMode,
        tables: &[CohortTable],
        accepts_differences: bool,
        needed: u32,
        roster: &BTreeMap<NodeId, Member>,
    ) -> Result<Self, ManifestError> {
        let refuse = |reason: String| Err(ManifestError::Participation(reason));
        let any = mode == ParticipationMode::Any;
        if any && !accepts_differences {
            return refuse(
                "with \"any\", differences of sums tell single nodes' updates; it takes \
                 accepts_differences = true"
                    .to_owned(),
            );
        }
        if accepts_differences && !any {
            return refuse("accepts_differences belongs to \"any\" only".to_owned());
        }
        if tables.is_empty() != (mode != ParticipationMode::Cohorts) {
            return refuse("there are cohorts with \"cohorts\", and only then".to_owned());
        }
        let cohorts = match mode {
            ParticipationMode::Any => None,
            ParticipationMode::All => Some(vec![roster.keys().copied().collect()]),
            ParticipationMode::Cohorts => Some(cohorts(tables, needed, roster)?),
        };
        Ok(Self { cohorts })
    }

    /// Returns whether the relay may choose the nodes of a round.
    pub fn is_any(&self) -> bool {
        self.cohorts.is_none()
    }

    /// Returns the cohorts, each of which takes part as a whole or not at all: one of all nodes,
    /// or several; none if any nodes may take part.
    pub fn cohorts(&self) -> &[BTreeSet<NodeId>] {
        self.cohorts.as_deref().unwrap_or_default()
    }

    /// Returns who is missing beside `nodes`, so that they are whole cohorts. Those that are
    /// `convicted` of a lie are not missed.
    pub fn missing(&self, nodes: &BTreeSet<NodeId>, convicted: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let begun = self
            .cohorts()
            .iter()
            .filter(|cohort| !cohort.is_disjoint(nodes));
        begun
            .flat_map(|cohort| cohort.difference(nodes))
            .filter(|node| !convicted.contains(node))
            .copied()
            .collect()
    }

    /// Returns the cohorts that can take part if no others than `nodes` do, without those of their
    /// nodes that are `convicted` of a lie; where any may take part, all of `nodes` together.
    pub fn whole(
        &self,
        nodes: &BTreeSet<NodeId>,
        convicted: &BTreeSet<NodeId>,
    ) -> Vec<BTreeSet<NodeId>> {
        match &self.cohorts {
            None => vec![nodes.clone()],
            Some(cohorts) => {
                let honest = cohorts.iter().map(|cohort| cohort - convicted);
                let whole = honest.filter(|cohort| !cohort.is_empty() && cohort.is_subset(nodes));
                whole.collect()
            }
        }
    }
}

/// Returns the cohorts that these tables list.
fn cohorts(
    tables: &[CohortTable],
    needed: u32,
    roster: &BTreeMap<NodeId, Member>,
) -> Result<Vec<BTreeSet<NodeId>>, ManifestError> {
    let refuse = |reason: String| ManifestError::Participation(reason);
    let members: BTreeMap<_, _> = roster
        .values()
        .map(|member| (member.name.as_str(), member))
        .collect();
    let mut placed = BTreeSet::new();
    let mut cohorts = Vec::with_capacity(tables.len());
    for table in tables {
        let mut cohort = BTreeSet::new();
        let mut organisations = BTreeSet::new();
        for name in &table.nodes {
            let member = members.get(name.as_str());
            let member = member.ok_or_else(|| refuse(format!("no node is called {name:?}")))?;
            if !placed.insert(member.id) {
                return Err(refuse(format!("node {name:?} stands in two cohorts")));
            }
            cohort.insert(member.id);
            organisations.insert(&member.organisation);
        }
        if organisations.len() < needed as usize {
            return Err(refuse(format!(
                "the cohort of {} has nodes of {} organisations; at least {needed} are needed",
                table.nodes.join(", "),
                organisations.len()
            )));
        }
        cohorts.push(cohort);
    }
    match roster.values().find(|member| !placed.contains(&member.id)) {
        Some(member) => Err(refuse(format!("node {:?} is in no cohort", member.name))),
        None => Ok(cohorts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, ManifestFile};
    use crate::sim::Consortium;

    fn table(nodes: &[&str]) -> CohortTable {
        CohortTable {
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn two_cohorts(file: &mut ManifestFile) {
        file.participation = ParticipationMode::Cohorts;
        file.accepts_differences = false;
        file.cohorts = vec![
            table(&["node-0", "node-2", "node-4"]),
            table(&["node-1", "node-3", "node-5"]),
        ];
    }

    fn manifest(change: impl FnOnce(&mut ManifestFile)) -> Result<Manifest, String> {
        let identities = Consortium::new(6).identities;
        let mut file = crate::sim::manifest_file(&identities);
        two_cohorts(&mut file);
        change(&mut file);
        let authority = crate::identity::Identity::of_test("authority");
        Manifest::sign(&file, &authority).map_err(|error| error.to_string())
    }

    #[test]
    fn cohorts_take_part_as_a_whole_or_not_at_all() {
        let consortium = Consortium::with(6, two_cohorts);
        let participation = consortium.manifest.participation();
        let none = BTreeSet::new();
        let set = |ks: &[usize]| {
            ks.iter()
                .map(|k| consortium.id(*k))
                .collect::<BTreeSet<_>>()
        };
        let missing = |ks| BTreeSet::from_iter(participation.missing(&set(ks), &none));

        assert_eq!(missing(&[0, 2, 4]), set(&[]));
        assert_eq!(missing(&[0, 1, 2, 3, 4, 5]), set(&[]));
        assert_eq!(missing(&[0, 2]), set(&[4]));
        assert_eq!(missing(&[0, 2, 4, 5]), set(&[1, 3]));
        let whole = |ks| participation.whole(&set(ks), &none);
        assert_eq!(whole(&[0, 1, 2, 4, 5]), [set(&[0, 2, 4])]);
        assert!(whole(&[0, 1, 2]).is_empty());
        // Who is proven to have lied is not missed, and takes nobody else along.
        let liar = set(&[4]);
        let missing = |ks| participation.missing(&set(ks), &liar);
        assert!(missing(&[0, 2]).is_empty());
        assert_eq!(missing(&[0]), [consortium.id(2)]);
        let whole = |ks| participation.whole(&set(ks), &liar);
        assert_eq!(whole(&[0, 2]), [set(&[0, 2])]);
        assert!(whole(&[0]).is_empty());
    }

    #[test]
    fn all_are_one_cohort_and_any_are_none() {
        let all = Consortium::with(4, |file| {
            file.participation = ParticipationMode::All;
            file.accepts_differences = false;
        });
        let nodes: BTreeSet<_> = all.manifest.roster().keys().copied().collect();
        let none = BTreeSet::new();
        let some: BTreeSet<_> = nodes.iter().skip(1).copied().collect();
        let participation = all.manifest.participation();
        assert_eq!(participation.cohorts().len(), 1);
        assert_eq!(participation.cohorts()[0], nodes);
        assert!(participation.whole(&some, &none).is_empty());
        assert_eq!(participation.missing(&some, &none).len(), 1);

        let any = Consortium::with(4, |file| {
            file.participation = ParticipationMode::Any;
            file.accepts_differences = true;
        });
        assert!(any.manifest.participation().is_any());
        let participation = any.manifest.participation();
        assert_eq!(
            participation.whole(&some, &none),
            std::slice::from_ref(&some)
        );
        assert!(participation.missing(&some, &none).is_empty());
    }

    #[test]
    fn an_agreement_that_does_not_hold_is_refused() {
        let refused = |change: fn(&mut ManifestFile), part: &str| {
            let error = manifest(change).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        assert!(manifest(|_| ()).is_ok());
        refused(|file| file.cohorts.truncate(1), "is in no cohort");
        refused(
            |file| file.cohorts[1].nodes[0] = "node-0".to_owned(),
            "stands in two cohorts",
        );
        refused(
            |file| file.cohorts[1].nodes[0] = "node-9".to_owned(),
            "no node is called \"node-9\"",
        );
        refused(|file| file.cohorts.clear(), "only then");
        refused(
            |file| file.participation = ParticipationMode::All,
            "only then",
        );
        refused(|file| file.accepts_differences = true, "\"any\" only");
        refused(
            |file| {
                file.cohorts.clear();
                file.participation = ParticipationMode::Any;
            },
            "accepts_differences = true",
        );
        // Three nodes, but of two organisations.
        refused(
            |file| {
                file.nodes[2].organisation =
                    format!("{} ", file.nodes[0].organisation.to_uppercase());
            },
            "nodes of 2 organisations; at least 3",
        );
        refused(
            |file| (file.collusion, file.min_nodes) = (2, 4),
            "at least 4",
        );
    }
}
