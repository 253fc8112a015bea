//! The signed messages of every round, and signatures that are checked over the bytes as they came.

use std::fmt;
use std::marker::PhantomData;

use fl_shaders::Tag;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::head::Head;
use super::peer::BoxOpener;
use super::refusal::{Kind, Refusal};
use crate::digest::Digest;
use crate::error::WireError;
use crate::identity::{Identity, Label, NodeId};
use crate::manifest::Manifest;
use crate::wire;

/// Timestamp that disables expiry checks, for data that was checked on arrival and is read again.
pub const WHENEVER: u64 = 0;

/// A message that is signed.
pub trait Message: Serialize + DeserializeOwned {
    /// Label of its signature.
    const LABEL: Label;
    /// Its kind, for refusals.
    const KIND: Kind;
    /// Returns who must have signed it.
    fn signer(&self) -> NodeId;
}

/// A message with a share of the tags, or of what masks them.
pub trait Tagged: Message {
    /// Both values of a [`Tag`], if they are below the field's modulus.
    fn tag(&self) -> [u64; 2];
}

/// A node offers to take part in an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// SHA-256 of the consortium's manifest.
    pub consortium_id: Digest,
    /// Who offers.
    pub node: NodeId,
    /// Round, from 1.
    pub round: u64,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Hash of the previous result; `consortium_id` in round 1.
    pub previous: Digest,
    /// Hash of the model that was trained from.
    pub model: Digest,
    /// SHA-256 of the public round key of this attempt, which goes beside it: a
    /// [`KeyOffer`](super::KeyOffer).
    pub round_key: Digest,
    /// Until when the key may be used, in seconds of Unix time.
    pub expires_unix_s: u64,
}

/// A node has checked a result and averaged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultAck {
    /// SHA-256 of the consortium's manifest.
    pub consortium_id: Digest,
    /// Who checked.
    pub node: NodeId,
    /// Where it stands then.
    pub head: Head,
}

impl Keys {
    /// Checks that they build on the state at `head`.
    ///
    /// # Errors
    ///
    /// [`Refusal`] naming what differs.
    pub(super) fn check(&self, manifest: &Manifest, head: &Head) -> Result<(), Refusal> {
        if self.consortium_id != manifest.consortium_id() {
            return Err(Refusal::Manifest {
                ours: manifest.consortium_id(),
                theirs: self.consortium_id,
            });
        }
        if self.round != head.next_round() {
            return Err(Refusal::Stale {
                what: Kind::Keys,
                signer: self.node,
            });
        }
        head.check_base(self.round, self.previous, self.model)
    }

    /// Checks that `public` is the public round key that they speak of, and one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] for another, or if nothing can be sealed to it.
    pub(super) fn check_round_key(&self, public: &[u8], opener: BoxOpener) -> Result<(), Refusal> {
        let is_right = Digest::sha256(&[public]) == self.round_key;
        match is_right && (opener.is_public_key)(public) {
            true => Ok(()),
            false => Err(Refusal::Invalid {
                what: Kind::Keys,
                signer: self.node,
            }),
        }
    }
}

/// Implements [`Message`] for a type whose signature's label has its name.
macro_rules! message {
    ($type:ident, $kind:ident, $signer:ident) => {
        impl $crate::round::message::Message for $type {
            const LABEL: $crate::identity::Label = $crate::identity::Label::$type;
            const KIND: $crate::round::Kind = $crate::round::Kind::$kind;
            fn signer(&self) -> $crate::identity::NodeId {
                self.$signer
            }
        }
    };
}
pub(crate) use message;

message!(Keys, Keys, node);
message!(ResultAck, Ack, node);

/// Implements [`Tagged`] for a message with a field `tag`.
macro_rules! tagged {
    ($type:ident) => {
        impl $crate::round::message::Tagged for $type {
            fn tag(&self) -> [u64; 2] {
                self.tag
            }
        }
    };
}
pub(crate) use tagged;

/// An Ed25519 signature, in the two halves that `serde` has arrays for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Signature([u8; 32], [u8; 32]);

/// A message with its signature, as transmitted. [`Signed::verify`] is the only way to the message.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    bytes: Vec<u8>,
    signature: Signature,
    #[serde(skip)]
    message: PhantomData<fn() -> T>,
}

impl<T: Message> Signed<T> {
    /// Encodes and signs `message`.
    ///
    /// # Errors
    ///
    /// [`WireError::Encode`] if it is too long.
    pub fn new(message: &T, identity: &Identity) -> Result<Self, WireError> {
        let bytes = wire::encode(message)?;
        let signature = identity.sign(T::LABEL, &bytes);
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&signature[..32]);
        s.copy_from_slice(&signature[32..]);
        Ok(Self {
            bytes,
            signature: Signature(r, s),
            message: PhantomData,
        })
    }

    /// Decodes the message and checks its signature against the key that the manifest has for its
    /// signer.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] for bytes or a signature that are wrong, [`Refusal::Stranger`] for a
    /// signer outside the manifest, [`Refusal::Expired`] for one whose membership ended before
    /// `unix_s`.
    pub fn verify(&self, manifest: &Manifest, unix_s: u64) -> Result<T, Refusal> {
        // Decoding comes first because the message names its signer; nothing is believed before the
        // check.
        let unknown = NodeId(Digest([0; 32]));
        let message: T = wire::decode(&self.bytes).map_err(|_| Refusal::Invalid {
            what: T::KIND,
            signer: unknown,
        })?;
        let signer = message.signer();
        let member = manifest
            .member(signer)
            .map_err(|_| Refusal::Stranger(signer))?;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&self.signature.0);
        signature[32..].copy_from_slice(&self.signature.1);
        member
            .key
            .verify(T::LABEL, &self.bytes, &signature)
            .map_err(|_| Refusal::Invalid {
                what: T::KIND,
                signer,
            })?;
        if member.expires_unix_s <= unix_s {
            return Err(Refusal::Expired(signer));
        }
        Ok(message)
    }

    /// Returns the bytes that were signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T: Tagged> Signed<T> {
    /// [`Signed::verify`], and that the tag is one. Returns the tag as well.
    ///
    /// # Errors
    ///
    /// What [`Signed::verify`] refuses; [`Refusal::Invalid`] for values that are not below the
    /// field's modulus.
    pub fn verify_tagged(&self, manifest: &Manifest, unix_s: u64) -> Result<(T, Tag), Refusal> {
        let message = self.verify(manifest, unix_s)?;
        let (what, signer) = (T::KIND, message.signer());
        let tag = Tag::new(message.tag()).ok_or(Refusal::Invalid { what, signer })?;
        Ok((message, tag))
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            signature: self.signature,
            message: PhantomData,
        }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.signature == other.signature
    }
}

impl<T: Message> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed {} ({} bytes)", T::KIND, self.bytes.len())
    }
}
