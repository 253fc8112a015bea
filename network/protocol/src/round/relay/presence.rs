//! Who is connected, and where each of them stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::NodeId;
use crate::round::head::Head;

/// The nodes that are connected.
#[derive(Default)]
pub(in crate::round) struct Presence {
    peers: BTreeMap<NodeId, Peer>,
}

struct Peer {
    stands: Head,
    /// It was sent what it lacks; its acknowledgement will tell.
    catching_up: bool,
}

impl Presence {
    /// A node that stands at `head` is connected.
    pub(super) fn connect(&mut self, node: NodeId, head: Head) {
        let peer = Peer {
            stands: head,
            catching_up: false,
        };
        self.peers.insert(node, peer);
    }

    /// A node's connection is gone. Returns where it stood, if there was one.
    pub(super) fn disconnect(&mut self, node: NodeId) -> Option<Head> {
        self.peers.remove(&node).map(|peer| peer.stands)
    }

    /// Returns whether a node is connected.
    pub(in crate::round) fn is_connected(&self, node: NodeId) -> bool {
        self.peers.contains_key(&node)
    }

    /// Returns all nodes that are connected.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.peers.keys().copied().collect()
    }

    /// Returns where a node stands, if it is connected.
    pub(super) fn stands(&self, node: NodeId) -> Option<Head> {
        self.peers.get(&node).map(|peer| peer.stands)
    }

    /// Returns the nodes that stand at `head`.
    pub(super) fn at(&self, head: Head) -> impl Iterator<Item = NodeId> + '_ {
        let peers = self.peers.iter();
        let at = peers.filter(move |(_, peer)| peer.stands == head);
        at.map(|(node, _)| *node)
    }

    /// Returns the nodes that stand elsewhere.
    pub(super) fn not_at(&self, head: Head) -> BTreeSet<NodeId> {
        let peers = self.peers.iter();
        let elsewhere = peers.filter(|(_, peer)| peer.stands != head);
        elsewhere.map(|(node, _)| *node).collect()
    }

    /// Returns the nodes that have completed `round` or a later one, and which.
    pub(super) fn at_or_beyond(&self, round: u64) -> Vec<(NodeId, u64)> {
        let peers = self.peers.iter();
        let rounds = peers.map(|(node, peer)| (*node, peer.stands.round));
        rounds.filter(|(_, done)| *done >= round).collect()
    }

    /// A node says that it stands at `head` now. Returns whether that is further than before.
    pub(super) fn advance(&mut self, node: NodeId, head: Head) -> bool {
        match self.peers.get_mut(&node) {
            Some(peer) if peer.stands.round < head.round => {
                peer.stands = head;
                peer.catching_up = false;
                true
            }
            _ => false,
        }
    }

    /// Returns where a node stands that waits for what it lacks and has not been sent it.
    pub(super) fn unserved(&self, node: NodeId) -> Option<Head> {
        let peer = self.peers.get(&node).filter(|peer| !peer.catching_up)?;
        Some(peer.stands)
    }

    /// A node is sent what it lacks.
    pub(super) fn serve(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.catching_up = true;
        }
    }

    /// The result that led away from `head` is none any more: whoever was sent it is level there,
    /// and has to be sent nothing.
    pub(super) fn forget_result_after(&mut self, head: Head) {
        for peer in self.peers.values_mut() {
            peer.catching_up &= peer.stands != head;
        }
    }
}
