//! What the relay's driver tells the machine.

use crate::identity::NodeId;
use crate::round::refusal::Refusal;
use crate::round::training::Averaged;
use crate::wire::{BodyId, NodeFrame};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A frame of an authenticated node. The first one of a connection is its hello.
    Frame(NodeId, NodeFrame),
    /// A node's connection is gone. (If it is replaced by another, this comes before the other's
    /// hello, or not at all.)
    Lost(NodeId),
    /// A body of a node has arrived whole, and every chunk was as announced. (A model has the hash
    /// that was asked for.)
    BodyAdded(NodeId, BodyId),
    /// The sum was averaged.
    Averaged(Averaged),
    /// The sum cannot be averaged: some participant lied about its counters or bounds.
    Impossible(Refusal),
    /// The last result is taken back, as was asked for by the event right before.
    RolledBack,
    /// Time has passed.
    Tick,
}
