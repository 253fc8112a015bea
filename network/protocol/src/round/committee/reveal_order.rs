//! The masks that a holder is to sum up.

use super::ballot::Voted;
use super::certificate::Certificate;
use super::classes::{ClassSet, Seats};
use super::holders::Holders;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::round::refusal::Refusal;

/// The masks that a certificate asks for: what
/// [`Action::Reveal`](crate::round::node::Action::Reveal) demands.
#[derive(Clone, Debug)]
pub struct RevealOrder {
    ctx: Digest,
    contributors: Vec<NodeId>,
    classes: ClassSet,
    excluded: Vec<Seats>,
}

impl RevealOrder {
    /// Orders what `own` is to reveal of these classes, now that it has voted and that the others
    /// have decided.
    ///
    /// # Errors
    ///
    /// [`Refusal::Voted`] if they have decided on others than it has voted for;
    /// [`Refusal::Classes`] for none, or for classes that it does not hold.
    pub(super) fn new(
        own: NodeId,
        voted: &Voted,
        certificate: &Certificate,
        classes: ClassSet,
        holders: &Holders,
    ) -> Result<Self, Refusal> {
        voted.check(certificate)?;
        let committee = holders.committee();
        committee.check_held(classes, own)?;
        let excluded = classes
            .iter()
            .map(|class| committee.classes().excluded(class));
        Ok(Self {
            ctx: holders.ctx(),
            contributors: voted.contributors().nodes().into_iter().collect(),
            classes,
            excluded: excluded.collect(),
        })
    }

    /// Returns the context of the attempt.
    pub fn ctx(&self) -> Digest {
        self.ctx
    }

    /// Returns whose masks are to be summed up.
    pub fn contributors(&self) -> &[NodeId] {
        &self.contributors
    }

    /// Returns of which classes.
    pub fn classes(&self) -> ClassSet {
        self.classes
    }

    /// Returns T of each of these classes, in their order.
    pub fn excluded(&self) -> &[Seats] {
        &self.excluded
    }
}
