//! What can go wrong on the way between a node and the relay.

use std::time::Duration;

use crate::wire::{BodyId, NodeFrame, RelayFrame};

/// Something that is about to arrive.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The node that has sent it, or that it is for.
    pub node: usize,
    /// What it is.
    pub content: Content,
    /// Number of the connection that carries it, if one does.
    pub(super) connection: Option<u64>,
}

impl Delivery {
    /// Returns which way it goes.
    pub fn way(&self) -> Way {
        match self.content {
            Content::ToRelay(_) | Content::Piece { .. } => Way::Up,
            Content::ToNode(_) | Content::Body(_) => Way::Down,
        }
    }
}

/// What a connection carries.
#[derive(Clone, Debug)]
pub enum Content {
    /// A frame for the relay.
    ToRelay(NodeFrame),
    /// A piece of a body for the relay.
    Piece {
        /// Of which body.
        body: BodyId,
        /// Where it begins.
        from: usize,
        /// What it is.
        bytes: Vec<u8>,
        /// Whether the body ends with it.
        is_last: bool,
    },
    /// A frame for a node.
    ToNode(RelayFrame),
    /// The body that follows a result or a checkpoint.
    Body(Vec<u8>),
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the relay.
    Up,
    /// To a node.
    Down,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives.
    Deliver,
    /// It is lost.
    Drop,
    /// The node's process dies before it arrives. It returns after this time, if there is one.
    KillBefore(Option<Duration>),
    /// The node's process dies as soon as it has arrived.
    KillAfter(Option<Duration>),
}

/// A fault policy.
pub trait Faults {
    /// Watches something that is sent, whether or not a connection carries it.
    fn watch(&mut self, _: &Delivery) {}

    /// Judges something that is about to arrive, which it may also alter, or send elsewhere.
    fn judge(&mut self, delivery: &mut Delivery) -> Verdict;
}

impl<P: FnMut(&mut Delivery) -> Verdict> Faults for P {
    fn judge(&mut self, delivery: &mut Delivery) -> Verdict {
        self(delivery)
    }
}

/// A policy that can be replaced by any other.
pub type AnyFaults = Box<dyn FnMut(&mut Delivery) -> Verdict>;

/// The policy under which everything arrives.
pub fn peace(_: &mut Delivery) -> Verdict {
    Verdict::Deliver
}

/// When a node is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The relay is about to get its keys.
    BeforeKeys,
    /// The relay has its keys.
    AfterKeys,
    /// The relay has its shares.
    AfterShares,
    /// The relay has its signed sum, but not yet those of all participants, which it collects then.
    AfterSum,
    /// The relay has a part of its body.
    MidBody,
    /// The relay has its body.
    AfterBody,
    /// It is about to make a new state durable.
    BeforeCommit,
    /// It has made a new state durable, and the relay does not know.
    BeforeAck,
}

impl Moment {
    /// Returns the policy that kills `node` when this moment comes, once. It returns after `pause`,
    /// if there is one.
    pub fn kills(
        self,
        node: usize,
        pause: Option<Duration>,
    ) -> impl FnMut(&mut Delivery) -> Verdict {
        let (mut killed, mut participants, mut sums) = (false, 0, 0);
        move |delivery| {
            match &delivery.content {
                Content::ToNode(RelayFrame::Keys { bundle, .. }) => {
                    (participants, sums) = (bundle.len(), 0);
                }
                Content::ToRelay(NodeFrame::Sum(_)) => sums += 1,
                _ => {}
            }
            let verdict = match (self, &delivery.content) {
                (Self::BeforeKeys, Content::ToRelay(NodeFrame::Keys(_)))
                | (Self::BeforeAck, Content::ToRelay(NodeFrame::Ack(_))) => {
                    Verdict::KillBefore(pause)
                }
                (Self::AfterSum, Content::ToRelay(NodeFrame::Sum(_))) if sums >= participants => {
                    Verdict::Deliver
                }
                (Self::AfterKeys, Content::ToRelay(NodeFrame::Keys(_)))
                | (Self::AfterShares, Content::ToRelay(NodeFrame::Shares(_)))
                | (Self::AfterSum, Content::ToRelay(NodeFrame::Sum(_)))
                | (Self::MidBody, Content::Piece { is_last: false, .. })
                | (Self::AfterBody, Content::Piece { is_last: true, .. })
                | (Self::BeforeCommit, Content::Body(_)) => Verdict::KillAfter(pause),
                _ => Verdict::Deliver,
            };
            if killed || delivery.node != node || verdict == Verdict::Deliver {
                return Verdict::Deliver;
            }
            killed = true;
            verdict
        }
    }
}
