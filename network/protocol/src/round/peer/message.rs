//! The signed messages of the peer scheme.

use serde::{Deserialize, Serialize};

use super::accusation::{BoxOpener, Conviction};
use super::participants::Participants;
use crate::digest::Digest;
use crate::identity::NodeId;
use crate::manifest::Manifest;
use crate::round::message::{Signed, WHENEVER, message};
use crate::round::refusal::{Kind, Refusal};

/// A participant has sealed a seed to another. The box itself goes beside it: a
/// [`SealedShare`](super::SealedShare).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Who sealed it.
    pub from: NodeId,
    /// Who can open it.
    pub to: NodeId,
    /// SHA-256 of the box.
    pub sealed: Digest,
}

/// A participant has computed its masked sum and will send these bytes and no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Whose sum.
    pub node: NodeId,
    /// [`ChunkHashes::root`](crate::digest::ChunkHashes::root) of the sum's bytes.
    pub root: Digest,
    /// [`TagShare::commitment`](super::TagShare::commitment) of the node's share of the tags' sum.
    pub tag_commitment: Digest,
}

/// A participant cannot open a share, and publishes its round key as the proof. It has signed no
/// [`Sum`] in this attempt, and never will.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accusation {
    /// Context of the attempt.
    pub ctx: Digest,
    /// Who cannot open it.
    pub accuser: NodeId,
    /// The share. Its box goes beside the accusation.
    pub share: Signed<Share>,
    /// The secret half of the accuser's round key.
    pub round_key: [u8; 32],
}

impl Accusation {
    /// Returns who lied. `sealed` is the box of the share.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] if it is of another attempt than these participants', about a share
    /// that the accuser was not to receive, with a box that is not the share's, or with a round key
    /// that is not the accuser's; or what [`Signed::verify`] refuses.
    pub(in crate::round) fn judge(
        &self,
        sealed: &[u8],
        participants: &Participants,
        manifest: &Manifest,
        opener: BoxOpener,
    ) -> Result<Conviction, Refusal> {
        let share = self.share.verify(manifest, WHENEVER)?;
        let (accuser, accused) = (self.accuser, share.from);
        let published = Digest::sha256(&[&(opener.public_key)(&self.round_key)]);
        let holds = [self.ctx, share.ctx] == [participants.ctx(); 2]
            && share.to == accuser
            && share.sealed == Digest::sha256(&[sealed])
            && participants.gives(accused, accuser)
            && participants.round_key(accuser) == Some(published);
        if !holds {
            let (what, signer) = (Kind::Accusation, accuser);
            return Err(Refusal::Invalid { what, signer });
        }
        let liar = match (opener.opens)(&self.round_key, &share, sealed) {
            true => accuser,
            false => accused,
        };
        let round = participants.round();
        Ok(Conviction {
            liar,
            accuser,
            accused,
            round,
        })
    }
}

message!(Share, Share, from);
message!(Sum, Sum, node);
message!(Accusation, Accusation, accuser);
