//! Who speaks: node identities, and signatures over bytes as they were transmitted.
//!
//! A signature of bytes `b` under label `L` is Ed25519 over `"smpcfl/2 " ‖ L ‖ 0x00 ‖ SHA-256(b)`.
//! Labels keep a message of one kind from being taken for another. Verification is strict (no
//! small-order keys, no malleable signatures), and always over the bytes that arrived, never over a
//! re-encoding.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::error::IdentityError;

/// Name of a participant: SHA-256 of its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub Digest);

impl NodeId {
    /// Returns the 32 bytes that enter transcripts and key derivations.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    /// The first 8 hexadecimal digits: enough to tell the nodes of a consortium apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A participant's Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Parses the 32-byte encoding of RFC 8032.
    ///
    /// # Errors
    ///
    /// [`IdentityError::PublicKey`] if the bytes are no point of the curve, or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, IdentityError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| IdentityError::PublicKey)?;
        if key.is_weak() {
            return Err(IdentityError::PublicKey);
        }
        Ok(Self(key))
    }

    /// Returns the 32-byte encoding of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// SHA-256 of the encoding.
    pub fn node_id(&self) -> NodeId {
        NodeId(Digest(Sha256::digest(self.0.as_bytes()).into()))
    }

    /// Checks `signature` over `bytes` under `label`.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Signature`] if it does not verify strictly.
    pub fn verify(
        &self,
        label: Label,
        bytes: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), IdentityError> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0
            .verify_strict(&signed_bytes(label, bytes), &signature)
            .map_err(|_| IdentityError::Signature { label })
    }
}

/// What kind of thing a signature is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// The consortium's manifest, signed by its authority.
    Manifest,
    /// [`Keys`](crate::round::message::Keys).
    Keys,
    /// [`Share`](crate::round::peer::message::Share).
    Share,
    /// [`Sum`](crate::round::peer::message::Sum).
    Sum,
    /// [`Accusation`](crate::round::peer::message::Accusation).
    Accusation,
    /// [`ResultAck`](crate::round::message::ResultAck).
    ResultAck,
    /// [`Contribution`](crate::round::committee::message::Contribution).
    Contribution,
    /// [`Receipt`](crate::round::committee::message::Receipt).
    Receipt,
    /// [`Vote`](crate::round::committee::message::Vote).
    Vote,
    /// [`Reveal`](crate::round::committee::message::Reveal).
    Reveal,
}

impl Label {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Keys => "keys",
            Self::Share => "share",
            Self::Sum => "sum",
            Self::Accusation => "accusation",
            Self::ResultAck => "result ack",
            Self::Contribution => "contribution",
            Self::Receipt => "receipt",
            Self::Vote => "vote",
            Self::Reveal => "reveal",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn signed_bytes(label: Label, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(b"smpcfl/2 ");
    message.extend_from_slice(label.as_str().as_bytes());
    message.push(0);
    message.extend_from_slice(&Sha256::digest(bytes));
    message
}

/// An Ed25519 identity: the private key of a node or of the consortium's authority.
///
/// It does not print. Copies of it share one place in memory, which is erased when the last is
/// dropped.
#[derive(Clone)]
pub struct Identity(Arc<SigningKey>);

impl Identity {
    /// The identity with this private key, 32 uniform bytes that nobody else knows (RFC 8032).
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(Arc::new(SigningKey::from_bytes(secret)))
    }

    /// The identity of this name, which is the same in every run and no secret.
    #[cfg(any(test, feature = "testing"))]
    pub fn of_test(name: &str) -> Self {
        Self::from_secret(blake3::hash(name.as_bytes()).as_bytes())
    }

    /// Reads a PKCS#8 private key (RFC 8410) in PEM.
    ///
    /// # Errors
    ///
    /// [`IdentityError::PrivateKey`] if it is not an Ed25519 key in that form.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        SigningKey::from_pkcs8_pem(pem)
            .map(|key| Self(Arc::new(key)))
            .map_err(|_| IdentityError::PrivateKey)
    }

    /// Returns the PKCS#8 private key in PEM.
    ///
    /// # Errors
    ///
    /// [`IdentityError::PrivateKey`] if the key cannot be encoded.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, IdentityError> {
        self.0
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| IdentityError::PrivateKey)
    }

    /// Returns the private key where it lies in memory, for whoever keeps it out of swap.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// SHA-256 of the public key.
    pub fn node_id(&self) -> NodeId {
        self.public_key().node_id()
    }

    /// Signs `bytes` under `label`.
    pub fn sign(&self, label: Label, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(&signed_bytes(label, bytes)).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_bytes_and_label_only() {
        let identity = Identity::of_test("one");
        let signature = identity.sign(Label::Keys, b"bytes");
        let key = identity.public_key();
        assert!(key.verify(Label::Keys, b"bytes", &signature).is_ok());
        assert!(key.verify(Label::Sum, b"bytes", &signature).is_err());
        assert!(key.verify(Label::Keys, b"Bytes", &signature).is_err());
        let other = Identity::of_test("other").public_key();
        assert!(other.verify(Label::Keys, b"bytes", &signature).is_err());
    }

    #[test]
    fn an_identity_survives_pem() {
        let identity = Identity::of_test("third");
        let again = Identity::from_pem(&identity.to_pem().unwrap()).unwrap();
        assert_eq!(identity.node_id(), again.node_id());
        assert!(Identity::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n").is_err());
    }

    #[test]
    fn weak_keys_are_refused() {
        let mut small_order = [0; 32];
        small_order[0] = 1;
        assert!(PublicKey::from_bytes(&small_order).is_err());
    }

    #[test]
    fn the_private_key_does_not_print() {
        let identity = Identity::of_test("fourth");
        let printed = format!("{identity:?}");
        assert_eq!(printed, format!("Identity({})", identity.node_id()));
    }
}
