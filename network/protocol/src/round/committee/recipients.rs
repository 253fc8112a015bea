//! The holders as a contributor needs them.

use std::ops::Deref;

use super::holders::Holders;
use crate::identity::NodeId;
use crate::round::peer::BoxOpener;
use crate::round::refusal::Refusal;

/// The holders of an attempt, with their public round keys, to which seeds can be sealed.
#[derive(Clone, Debug)]
pub struct Recipients {
    holders: Holders,
    round_keys: Vec<(NodeId, Vec<u8>)>,
}

impl Recipients {
    /// Checks the holders' round keys, which came in order of node id, against what they have
    /// signed.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] naming whose key is another, or missing, or none;
    /// [`Refusal::Unexpected`] if there are more.
    pub(in crate::round) fn new(
        holders: Holders,
        round_keys: Vec<Vec<u8>>,
        opener: BoxOpener,
    ) -> Result<Self, Refusal> {
        let round_keys = holders.addressed(holders.ids(), round_keys, opener)?;
        Ok(Self {
            holders,
            round_keys,
        })
    }

    /// Returns the holders with their public round keys, in order of node id.
    pub fn round_keys(&self) -> &[(NodeId, Vec<u8>)] {
        &self.round_keys
    }

    /// Returns the holders alone.
    pub fn into_holders(self) -> Holders {
        self.holders
    }
}

impl Deref for Recipients {
    type Target = Holders;

    fn deref(&self) -> &Holders {
        &self.holders
    }
}
