//! Who lied about a share: the one that sealed it, or the one that says it does not open.
//!
//! Shares are signed, and a round key serves one attempt. So a participant that cannot open a share
//! publishes its round key, and everybody sees for themselves. That costs nothing but the attempt:
//! no masked sum of it has left anyone, since the accuser has not signed its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::message::{Accusation, Share};
use super::participants::Participants;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::head::Head;
use crate::round::message::{Keys, Signed, WHENEVER};
use crate::round::refusal::{Kind, Refusal};

/// Tells round keys from other bytes, and opens boxes with those that were published. The protocol
/// has no cipher of its own.
#[derive(Clone, Copy)]
pub struct BoxOpener {
    /// Returns whether these bytes are a public half to which a box can be sealed.
    pub is_public_key: fn(&[u8]) -> bool,
    /// Returns the public half of a round key; nothing if the secret half is none.
    pub public_key: fn(&[u8; 32]) -> Vec<u8>,
    /// Returns whether the box of this share opens with a round key.
    pub opens: fn(&[u8; 32], &Share, &[u8]) -> bool,
}

/// An accusation with what it takes to judge it, for those who were not there as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The keys of the attempt.
    pub bundle: Vec<Signed<Keys>>,
    /// Whose share does not open, and the accuser's round key.
    pub accusation: Signed<Accusation>,
    /// The box of that share.
    pub sealed: Vec<u8>,
}

/// What an accusation has proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conviction {
    /// Who lied: the accused, or the accuser.
    pub liar: NodeId,
    /// Who accused.
    pub accuser: NodeId,
    /// Who was accused.
    pub accused: NodeId,
    /// Of which round, from 1.
    pub round: u64,
}

impl Proof {
    /// Judges the accusation. `convicted` are those that were proven to have lied before.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] if it proves nothing: the keys belong to no attempt, or the accusation
    /// does not to these keys; or what [`Signed::verify`] refuses.
    pub fn judge(
        &self,
        manifest: &Manifest,
        opener: BoxOpener,
        convicted: &BTreeSet<NodeId>,
    ) -> Result<Conviction, Refusal> {
        let accusation = self.accusation.verify(manifest, WHENEVER)?;
        let signer = accusation.accuser;
        let invalid = |_| Refusal::Invalid {
            what: Kind::Accusation,
            signer,
        };
        // They name the state that the attempt built on, wherever the judge stands now.
        let first = self.bundle.first().ok_or_else(|| invalid(()))?;
        let Keys {
            round,
            previous,
            model,
            ..
        } = first.verify(manifest, WHENEVER)?;
        let head = Head {
            round: round.checked_sub(1).ok_or_else(|| invalid(()))?,
            previous,
            model,
        };
        let bundle = self.bundle.clone();
        let participants = Participants::of_result(bundle, manifest, &head, WHENEVER, convicted);
        let participants = participants.map_err(|_| invalid(()))?;
        accusation.judge(&self.sealed, &participants, manifest, opener)
    }
}
