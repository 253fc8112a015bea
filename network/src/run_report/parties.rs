//! Whose run it is, and who takes part.

use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use serde::{Deserialize, Serialize};

/// Whose run it is, and who takes part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parties {
    /// Whose run it is.
    pub owner: Owner,
    /// The nodes that may take part.
    pub nodes: Vec<Party>,
}

/// Whose run it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Nobody's: all nodes are in one process.
    Simulation,
    /// A node's of a consortium.
    Node {
        /// The node's name.
        node: String,
        /// The consortium's name.
        consortium: String,
        /// The consortium's id, 64 hexadecimal digits.
        consortium_id: String,
    },
}

/// A node that may take part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// The node's name.
    pub name: String,
    /// The organisation that runs it; nothing in a simulation.
    pub organisation: Option<String>,
}

impl Owner {
    /// What the report of such a run is headed.
    pub(super) fn title(&self) -> &str {
        match self {
            Self::Simulation => "Simulation",
            Self::Node { consortium, .. } => consortium,
        }
    }
}

impl Parties {
    /// Returns those of a node's run in its consortium.
    pub fn of(manifest: &Manifest, node: NodeId) -> Self {
        let owner = Owner::Node {
            node: manifest.name_of(node),
            consortium: manifest.name().to_owned(),
            consortium_id: manifest.consortium_id().to_hex(),
        };
        let nodes = manifest.roster().values().map(|member| Party {
            name: member.name.clone(),
            organisation: Some(member.organisation.to_string()),
        });
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Self { owner, nodes }
    }

    /// Returns those of a simulation of so many nodes.
    pub fn simulated(nodes: usize) -> Self {
        let party = |node| Party {
            name: format!("node-{node}"),
            organisation: None,
        };
        Self {
            owner: Owner::Simulation,
            nodes: (1..=nodes).map(party).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fl_protocol::sim::Network;

    use super::*;

    #[test]
    fn parties_are_those_of_the_manifest_or_numbered() {
        let manifest = Network::new(3, 1, 7).consortium.manifest;
        let id = *manifest.roster().keys().next().unwrap();
        let parties = Parties::of(&manifest, id);
        let owner = Owner::Node {
            node: manifest.name_of(id),
            consortium: "test".to_owned(),
            consortium_id: manifest.consortium_id().to_hex(),
        };
        assert_eq!(parties.owner, owner);
        let names: Vec<_> = parties
            .nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect();
        assert_eq!(
            names.join(", "),
            manifest.names_of(manifest.roster().keys())
        );
        let has_organisation = |node: &Party| node.organisation.is_some();
        assert!(parties.nodes.iter().all(has_organisation));

        let simulated = Parties::simulated(4);
        assert_eq!(simulated.owner.title(), "Simulation");
        assert_eq!(
            (simulated.nodes.len(), simulated.nodes[3].name.as_str()),
            (4, "node-4")
        );
    }
}
