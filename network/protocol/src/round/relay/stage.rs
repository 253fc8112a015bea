//! What an attempt is to the relay, whatever its scheme.

use std::collections::BTreeSet;

use super::state::RelayState;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::evidence::Evidence;
use crate::round::message::{Keys, Signed};
use crate::round::refusal::Refusal;
use crate::wire::{BodyId, Hello, NodeFrame};

/// How an attempt goes on, from a stage `S` to a later one, `N`.
pub(in crate::round) enum AttemptProgress<S, N> {
    /// At the same stage.
    Stays(S),
    /// At a later one.
    Moves(N),
    /// It is over without a result, on account of these nodes. Another one is opened at once.
    Abandoned(Vec<NodeId>),
    /// The same; another one is opened after a pause, for at once it would end the same way.
    Paused(Vec<NodeId>),
}

impl<S, N> AttemptProgress<S, N> {
    /// Returns the same progress, seen from all the attempt.
    pub(in crate::round) fn map<A, B>(
        self,
        stays: impl FnOnce(S) -> A,
        moves: impl FnOnce(N) -> AttemptProgress<A, B>,
    ) -> AttemptProgress<A, B> {
        match self {
            Self::Stays(stage) => AttemptProgress::Stays(stays(stage)),
            Self::Moves(next) => moves(next),
            Self::Abandoned(nodes) => AttemptProgress::Abandoned(nodes),
            Self::Paused(nodes) => AttemptProgress::Paused(nodes),
        }
    }
}

/// An attempt whose bodies are all there: what a result is made of.
pub(in crate::round) struct Complete {
    pub(in crate::round) ctx: Digest,
    /// The keys that the context is made of.
    pub(in crate::round) bundle: Vec<Signed<Keys>>,
    /// Whose inputs are in the sum.
    pub(in crate::round) nodes: BTreeSet<NodeId>,
    pub(in crate::round) parts: Evidence,
    /// What has to be added up.
    pub(in crate::round) bodies: Vec<(NodeId, BodyId)>,
}

/// An attempt, from its opening until all its bodies are there. One that cannot go on says so.
pub(in crate::round) trait Stage: Sized {
    /// A frame of a node that is connected.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which costs the node its connection.
    fn hear(
        &mut self,
        state: &mut RelayState,
        node: NodeId,
        frame: NodeFrame,
    ) -> Result<(), Refusal>;

    /// A body of a node is there, whole.
    fn body_added(
        self,
        state: &mut RelayState,
        node: NodeId,
        body: BodyId,
    ) -> AttemptProgress<Self, Complete>;

    /// A node has said hello, perhaps again.
    fn greeted(
        self,
        state: &mut RelayState,
        node: NodeId,
        hello: &Hello,
    ) -> AttemptProgress<Self, Complete>;

    /// A node's connection is gone.
    fn lost(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete>;

    /// A node was turned away.
    fn turned_away(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete>;

    /// A node refuses to go on.
    fn refused(self, state: &mut RelayState, node: NodeId) -> AttemptProgress<Self, Complete>;

    /// Goes on as far as what is at hand and the time allow.
    fn advance(self, state: &mut RelayState) -> AttemptProgress<Self, Complete>;
}
