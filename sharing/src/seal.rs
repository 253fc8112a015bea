//! Seals seeds to the one node that may hold them (the protocol, section 5, step 3, and section 7).
//!
//! HPKE in base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20Poly1305,
//! to a key pair that lives for one attempt of one round. The attempt, the sender and the recipient
//! are bound into the `info` string, so a box moved between attempts, senders or recipients does
//! not open. Who sent it is proved by the signature around it, not here.

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use crate::seed::{RandomnessError, Seed, random_bytes};

type Kem = X25519HkdfSha256;
type Kdf = HkdfSha256;
type Aead = ChaCha20Poly1305;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

const INFO_LABEL: &[u8; 13] = b"smpcfl/2 seal";
const ENCAPPED_BYTES: usize = 32;
const SEED_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Length of a sealed seed: encapsulated key (32 bytes), ciphertext (32), tag (16).
pub const SEALED_BYTES: usize = sealed_bytes(1);

/// Length of a box of so many seeds: encapsulated key (32 bytes), ciphertext (32 for each), tag
/// (16).
pub const fn sealed_bytes(seeds: usize) -> usize {
    ENCAPPED_BYTES + seeds * SEED_BYTES + TAG_BYTES
}

/// Why a seed could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No ephemeral key could be drawn.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The recipient's public key is not usable: it is a point of low order.
    #[error("the recipient's round key is not a valid X25519 public key")]
    PublicKey,
    /// The box has the wrong length.
    #[error("a box of these seeds has {expected} bytes, not {given}")]
    Length {
        /// Length that it should have.
        expected: usize,
        /// Length as given.
        given: usize,
    },
    /// The box was made for another key, attempt, sender or recipient, or was altered.
    #[error(
        "the sealed seed does not open: it was altered, or made for another recipient or attempt"
    )]
    Open,
}

/// A node's key pair for one attempt of one round. In memory only; erased when dropped.
pub struct RoundKey {
    secret: PrivateKey,
    public: [u8; 32],
}

impl RoundKey {
    /// Draws a fresh key pair from the operating system.
    ///
    /// # Errors
    ///
    /// If the system's generator fails.
    pub fn generate() -> Result<Self, RandomnessError> {
        let ikm = Zeroizing::new(random_bytes()?);
        let (secret, public) = Kem::derive_keypair(ikm.as_slice());
        Ok(Self {
            secret,
            public: public.to_bytes().into(),
        })
    }

    /// Returns the secret half, for its owner to publish. The key must not serve again.
    pub fn publish(&self) -> [u8; 32] {
        self.secret.to_bytes().into()
    }

    /// Returns a key whose owner has published it.
    ///
    /// # Errors
    ///
    /// [`SealError::Open`] for bytes that are no secret key.
    pub fn published(secret: &[u8; 32]) -> Result<Self, SealError> {
        let secret = PrivateKey::from_bytes(secret).map_err(|_| SealError::Open)?;
        let public = Kem::sk_to_pk(&secret).to_bytes().into();
        Ok(Self { secret, public })
    }

    /// Returns the X25519 public key that goes into the Keys message.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Opens the seed that node `from` sealed to node `to`, the owner of this key, in the attempt
    /// `ctx`.
    ///
    /// # Errors
    ///
    /// [`SealError::Length`] or [`SealError::Open`].
    pub fn open(
        &self,
        ctx: &[u8; 32],
        from: &[u8; 32],
        to: &[u8; 32],
        sealed: &[u8],
    ) -> Result<Seed, SealError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        self.open_into(&info(ctx, from, to), sealed, seed.as_mut_slice())?;
        Ok(Seed::from_bytes(*seed))
    }

    /// Opens the `count` seeds that node `from` sealed to node `to`, the owner of this key, in the
    /// attempt `ctx`.
    ///
    /// # Errors
    ///
    /// [`SealError::Length`] or [`SealError::Open`].
    pub fn open_all(
        &self,
        ctx: &[u8; 32],
        from: &[u8; 32],
        to: &[u8; 32],
        count: usize,
        sealed: &[u8],
    ) -> Result<Vec<Seed>, SealError> {
        let mut opened = Zeroizing::new(vec![0; count * SEED_BYTES]);
        self.open_into(&info(ctx, from, to), sealed, &mut opened)?;
        let (seeds, _) = opened.as_chunks();
        Ok(seeds.iter().copied().map(Seed::from_bytes).collect())
    }

    /// Opens a box of exactly as many bytes as `opened` has.
    fn open_into(&self, info: &[u8], sealed: &[u8], opened: &mut [u8]) -> Result<(), SealError> {
        let (expected, given) = (ENCAPPED_BYTES + opened.len() + TAG_BYTES, sealed.len());
        if given != expected {
            return Err(SealError::Length { expected, given });
        }
        let (encapped, rest) = sealed.split_at(ENCAPPED_BYTES);
        let (ciphertext, tag) = rest.split_at(opened.len());
        let encapped = EncappedKey::from_bytes(encapped).map_err(|_| SealError::Open)?;
        let tag = AeadTag::<Aead>::from_bytes(tag).map_err(|_| SealError::Open)?;
        let buffer = InOutBuf::new(ciphertext, opened).map_err(|_| SealError::Open)?;
        hpke::single_shot_open_inout_detached::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &self.secret,
            &encapped,
            info,
            buffer,
            &[],
            &tag,
        )
        .map_err(|_| SealError::Open)
    }
}

impl std::fmt::Debug for RoundKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoundKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Seals `seed` from node `from` to node `to`, whose round key is `to_public`, in the attempt
/// `ctx`.
///
/// # Errors
///
/// [`SealError::Randomness`], or [`SealError::PublicKey`] if the recipient's key is a point of low
/// order.
pub fn seal(
    to_public: &[u8; 32],
    ctx: &[u8; 32],
    from: &[u8; 32],
    to: &[u8; 32],
    seed: &Seed,
) -> Result<[u8; SEALED_BYTES], SealError> {
    let mut sealed = [0; SEALED_BYTES];
    seal_into(to_public, &info(ctx, from, to), seed.expose(), &mut sealed)?;
    Ok(sealed)
}

/// Seals `seeds`, in this order, from node `from` to node `to`, whose round key is `to_public`, in
/// the attempt `ctx`.
///
/// # Errors
///
/// Those of [`seal`].
pub fn seal_all<'a>(
    to_public: &[u8; 32],
    ctx: &[u8; 32],
    from: &[u8; 32],
    to: &[u8; 32],
    seeds: impl Iterator<Item = &'a Seed>,
) -> Result<Vec<u8>, SealError> {
    let mut plain = Zeroizing::new(Vec::new());
    // What a growing vector leaves behind is not erased.
    let seeds: Vec<_> = seeds.collect();
    plain.reserve_exact(seeds.len() * SEED_BYTES);
    for seed in &seeds {
        plain.extend_from_slice(seed.expose());
    }
    let mut sealed = vec![0; sealed_bytes(seeds.len())];
    seal_into(to_public, &info(ctx, from, to), &plain, &mut sealed)?;
    Ok(sealed)
}

/// Seals `plain` into `sealed`, which is longer by an encapsulated key and a tag.
fn seal_into(
    to_public: &[u8; 32],
    info: &[u8],
    plain: &[u8],
    sealed: &mut [u8],
) -> Result<(), SealError> {
    let to_public = PublicKey::from_bytes(to_public).map_err(|_| SealError::PublicKey)?;
    let mut ephemeral = StdRng::from_seed(random_bytes()?);
    let (head, tag_bytes) = sealed.split_at_mut(ENCAPPED_BYTES + plain.len());
    let (encapped_bytes, ciphertext) = head.split_at_mut(ENCAPPED_BYTES);
    let buffer = InOutBuf::new(plain, ciphertext).map_err(|_| SealError::PublicKey)?;
    let (encapped, tag) = hpke::single_shot_seal_inout_detached_with_rng::<Aead, Kdf, Kem>(
        &OpModeS::Base,
        &to_public,
        info,
        buffer,
        &[],
        &mut ephemeral,
    )
    .map_err(|_| SealError::PublicKey)?;
    encapped.write_exact(encapped_bytes);
    tag.write_exact(tag_bytes);
    Ok(())
}

/// `"smpcfl/2 seal" ‖ ctx ‖ from ‖ to`.
fn info(ctx: &[u8; 32], from: &[u8; 32], to: &[u8; 32]) -> Vec<u8> {
    [INFO_LABEL.as_slice(), ctx, from, to].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTX: [u8; 32] = [1; 32];
    const FROM: [u8; 32] = [2; 32];
    const TO: [u8; 32] = [3; 32];

    fn sealed() -> (RoundKey, [u8; SEALED_BYTES]) {
        let key = RoundKey::generate().unwrap();
        let sealed = seal(key.public(), &CTX, &FROM, &TO, &Seed::from_bytes([9; 32])).unwrap();
        (key, sealed)
    }

    #[test]
    fn many_seeds_travel_in_one_box_and_in_order() {
        let key = RoundKey::generate().unwrap();
        let seeds: Vec<_> = (0..20).map(|k| Seed::from_bytes([k; 32])).collect();
        let sealed = seal_all(key.public(), &[1; 32], &[2; 32], &[3; 32], seeds.iter()).unwrap();
        assert_eq!(sealed.len(), sealed_bytes(20));
        let open = |ctx, from, count: usize, sealed: &[u8]| {
            key.open_all(&ctx, &from, &[3; 32], count, sealed)
        };
        let opened = open([1; 32], [2; 32], 20, &sealed).unwrap();
        let bytes = |seeds: &[Seed]| seeds.iter().map(|seed| *seed.expose()).collect::<Vec<_>>();
        assert_eq!(bytes(&opened), bytes(&seeds));

        let fewer = open([1; 32], [2; 32], 19, &sealed);
        assert!(matches!(fewer, Err(SealError::Length { .. })));
        assert!(matches!(
            open([9; 32], [2; 32], 20, &sealed),
            Err(SealError::Open)
        ));
        assert!(matches!(
            open([1; 32], [9; 32], 20, &sealed),
            Err(SealError::Open)
        ));
        let mut altered = sealed;
        altered[100] ^= 1;
        assert!(matches!(
            open([1; 32], [2; 32], 20, &altered),
            Err(SealError::Open)
        ));
    }

    #[test]
    fn opens_for_its_recipient() {
        let (key, sealed) = sealed();
        assert_eq!(
            key.open(&CTX, &FROM, &TO, &sealed).unwrap().expose(),
            &[9; 32]
        );
    }

    #[test]
    fn hides_the_seed_and_never_repeats() {
        let (key, first) = sealed();
        let second = seal(key.public(), &CTX, &FROM, &TO, &Seed::from_bytes([9; 32])).unwrap();
        assert_ne!(first[..32], second[..32]);
        assert_ne!(first[32..64], second[32..64]);
        assert_ne!(first[32..64], [9; 32]);
    }

    #[test]
    fn opens_for_nobody_and_nothing_else() {
        let (key, sealed) = sealed();
        let other = RoundKey::generate().unwrap();
        let refused =
            |opened: Result<Seed, SealError>| assert!(matches!(opened, Err(SealError::Open)));
        refused(other.open(&CTX, &FROM, &TO, &sealed));
        refused(key.open(&[0; 32], &FROM, &TO, &sealed));
        refused(key.open(&CTX, &TO, &TO, &sealed));
        refused(key.open(&CTX, &FROM, &FROM, &sealed));
        refused(key.open(&CTX, &TO, &FROM, &sealed));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (key, sealed) = sealed();
        for bit in 0..8 * SEALED_BYTES {
            let mut altered = sealed;
            altered[bit / 8] ^= 1 << (bit % 8);
            let opened = key.open(&CTX, &FROM, &TO, &altered);
            assert!(matches!(opened, Err(SealError::Open)), "bit {bit}");
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        let (key, sealed) = sealed();
        let longer = [sealed.as_slice(), &[0]].concat();
        for given in (0..SEALED_BYTES).chain([SEALED_BYTES + 1]) {
            let opened = key.open(&CTX, &FROM, &TO, &longer[..given]);
            assert!(matches!(opened, Err(SealError::Length { given: n, .. }) if n == given));
        }
    }

    #[test]
    fn a_public_key_of_low_order_is_refused() {
        let sealed = seal(&[0; 32], &CTX, &FROM, &TO, &Seed::from_bytes([9; 32]));
        assert!(matches!(sealed, Err(SealError::PublicKey)));
    }

    /// RFC 9180, appendix A.2.1 (base mode), first encryption.
    #[test]
    fn the_suite_is_that_of_rfc_9180_a_2() {
        let bytes = |hex| hex::decode::<&str>(hex).unwrap();
        let (secret, public) = Kem::derive_keypair(&bytes(
            "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
        ));
        let expected = bytes("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        assert_eq!(public.to_bytes().as_slice(), expected);

        let encapped = EncappedKey::from_bytes(&bytes(
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
        ))
        .unwrap();
        let info = bytes("4f6465206f6e2061204772656369616e2055726e");
        let sealed = bytes(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db\
             21993c62ce81883d2dd1b51a28",
        );
        let (ciphertext, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
        let mut plaintext = ciphertext.to_vec();
        hpke::single_shot_open_inout_detached::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &secret,
            &encapped,
            &info,
            InOutBuf::from(plaintext.as_mut_slice()),
            b"Count-0",
            &AeadTag::from_bytes(tag).unwrap(),
        )
        .unwrap();
        assert_eq!(plaintext, b"Beauty is truth, truth beauty");
    }
}
