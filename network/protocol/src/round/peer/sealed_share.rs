//! A share on its way: what its sender signed, and the box beside it.

use serde::{Deserialize, Serialize};

use super::message::Share;
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::{Identity, NodeId};
use crate::manifest::Manifest;
use crate::round::message::Signed;
use crate::round::refusal::{Kind, Refusal};

/// Longest box in bytes: suite 2 takes 1168 (encapsulated key, seed and tag, 1120 + 32 + 16).
pub const MAX_SEALED_BYTES: usize = 1168;

/// A share with its box. Logs keep the share alone: what is sealed for one attempt need not outlive
/// it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedShare {
    /// The sender's word.
    pub share: Signed<Share>,
    /// Encapsulated key and ciphertext. Opaque here: nothing in this crate can open it.
    pub sealed: Vec<u8>,
}

impl SealedShare {
    /// Signs that `from` has sealed this box to `to`.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the message cannot be encoded.
    pub fn new(
        ctx: Digest,
        (from, to): (NodeId, NodeId),
        sealed: Vec<u8>,
        identity: &Identity,
    ) -> Result<Self, WireError> {
        let share = Share {
            ctx,
            from,
            to,
            sealed: Digest::sha256(&[&sealed]),
        };
        let share = Signed::new(&share, identity)?;
        Ok(Self { share, sealed })
    }

    /// [`Signed::verify`], and that the box is the one that was signed, and no longer than
    /// [`MAX_SEALED_BYTES`].
    ///
    /// # Errors
    ///
    /// What [`Signed::verify`] refuses; [`Refusal::Invalid`] for another box, or a longer one.
    pub(in crate::round) fn verify(
        &self,
        manifest: &Manifest,
        unix_s: u64,
    ) -> Result<Share, Refusal> {
        let share = self.share.verify(manifest, unix_s)?;
        let fits = self.sealed.len() <= MAX_SEALED_BYTES
            && share.sealed == Digest::sha256(&[&self.sealed]);
        match fits {
            true => Ok(share),
            false => Err(Refusal::Invalid {
                what: Kind::Share,
                signer: share.from,
            }),
        }
    }
}
