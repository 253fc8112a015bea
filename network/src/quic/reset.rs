//! How a relay that was restarted tells the nodes so: a packet of a connection that it does not
//! know is answered with a stateless reset (RFC 9000, section 10.3). Else they would learn of it
//! only by silence, after [`IDLE_TIMEOUT`](super::IDLE_TIMEOUT).

use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Makes the tokens of stateless resets. It follows from the relay's private key, so that the relay
/// has it again after a restart, and nobody else has it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct ResetKey([u8; blake3::KEY_LEN]);

impl ResetKey {
    /// The key that goes with a private key.
    pub(crate) fn of(private_key: &[u8]) -> Self {
        let context = "smpcfl/2 key of stateless resets";
        Self(blake3::derive_key(context, private_key))
    }

    fn code(&self, data: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, data)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(self.code(data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // In constant time.
        match self.code(data) == *signature {
            true => Ok(()),
            false => Err(CryptoError),
        }
    }
}

/// Random ids of connections. quinn's own are such that a process tells its own from others', and
/// answers only those.
#[derive(Debug)]
pub(crate) struct ConnectionIds;

/// Length of an id in bytes, as quinn has it.
const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_the_private_key_and_of_nobody_elses() {
        let code = |key: u8, data: &[u8]| {
            let key = ResetKey::of(&[key; 48]);
            let mut code = vec![0; key.signature_len()];
            key.sign(data, &mut code);
            assert!(key.verify(data, &code).is_ok());
            code[0] ^= 1;
            assert!(key.verify(data, &code).is_err());
            code
        };
        assert_eq!(code(1, b"id"), code(1, b"id"));
        assert_ne!(code(1, b"id"), code(2, b"id"));
        assert_ne!(code(1, b"id"), code(1, b"di"));
    }
}
