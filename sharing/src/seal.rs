//! Seals seeds to the one node that may hold them (the protocol, section 5, step 3, and section 7).
//!
//! Suite 2: HPKE in base mode (RFC 9180) with X-Wing (ML-KEM-768 and X25519,
//! draft-connolly-cfrg-xwing-kem), HKDF-SHA256 and ChaCha20Poly1305, to a key pair that lives for
//! one attempt of one round. Whoever records a box has to break both ML-KEM and X25519 to open it:
//! a quantum computer that is built later breaks the second only.
//!
//! The attempt, the sender and the recipient are bound into the `info` string, so a box moved
//! between attempts, senders or recipients does not open. Who sent it is proved by the signature
//! around it, not here.

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use zeroize::Zeroizing;

use crate::seed::{RandomnessError, Seed, random_bytes};
use crate::x25519::is_of_low_order;

type Kem = XWing;
type Kdf = HkdfSha256;
type Aead = ChaCha20Poly1305;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

const INFO_LABEL: &[u8; 13] = b"smpcfl/2 seal";
const ENCAPPED_BYTES: usize = 1120;
const X25519_BYTES: usize = 32;
const SEED_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Length of the public half of a round key: of ML-KEM-768 (1184 bytes), then of X25519 (32).
pub const PUBLIC_KEY_BYTES: usize = 1216;

/// Length of a sealed seed: encapsulated key (1120 bytes), ciphertext (32), tag (16).
pub const SEALED_BYTES: usize = sealed_bytes(1);

/// Length of a box of so many seeds: encapsulated key (1120 bytes), ciphertext (32 for each), tag
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
    /// The recipient's public key is not usable: it has another length, a coefficient of ML-KEM's
    /// half is not reduced, or X25519's half is a point of low order.
    #[error("the recipient's round key is not a valid public key of X-Wing")]
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
    /// In a place of its own: what is moved leaves a copy behind.
    secret: Box<PrivateKey>,
    public: Box<[u8; PUBLIC_KEY_BYTES]>,
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
        Ok(Self::of(secret, &public))
    }

    fn of(secret: PrivateKey, public: &PublicKey) -> Self {
        let mut bytes = Box::new([0; PUBLIC_KEY_BYTES]);
        public.write_exact(bytes.as_mut_slice());
        Self {
            secret: Box::new(secret),
            public: bytes,
        }
    }

    /// Returns the secret half, 32 bytes from which the key pair follows, for its owner to publish.
    /// The key must not serve again.
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
        let public = Kem::sk_to_pk(&secret);
        Ok(Self::of(secret, &public))
    }

    /// Returns the public half, whose hash goes into the Keys message.
    pub fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
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
        // X-Wing leaves open whether such a key is taken, and all must agree on what opens.
        if ends_with_low_order(encapped) {
            return Err(SealError::Open);
        }
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
            .field("public", &&self.public[..8])
            .finish_non_exhaustive()
    }
}

/// Returns whether seeds can be sealed to this public key, which is another's.
pub fn is_public_key(bytes: &[u8]) -> bool {
    recipient(bytes).is_ok()
}

fn recipient(public: &[u8]) -> Result<PublicKey, SealError> {
    if ends_with_low_order(public) {
        return Err(SealError::PublicKey);
    }
    // Checks the length and, as FIPS 203 has it, the modulus.
    PublicKey::from_bytes(public).map_err(|_| SealError::PublicKey)
}

/// Returns whether these bytes end with a public key of X25519 of which nothing secret comes.
fn ends_with_low_order(bytes: &[u8]) -> bool {
    bytes
        .last_chunk::<X25519_BYTES>()
        .is_some_and(is_of_low_order)
}

/// Seals `seed` from node `from` to node `to`, whose round key is `to_public`, in the attempt
/// `ctx`.
///
/// # Errors
///
/// [`SealError::Randomness`], or [`SealError::PublicKey`] if the recipient's key is none
/// ([`is_public_key`]).
pub fn seal(
    to_public: &[u8],
    ctx: &[u8; 32],
    from: &[u8; 32],
    to: &[u8; 32],
    seed: &Seed,
) -> Result<[u8; SEALED_BYTES], SealError> {
    let mut sealed = [0; SEALED_BYTES];
    let (info, mut ephemeral) = (info(ctx, from, to), StdRng::from_seed(random_bytes()?));
    seal_into(to_public, &info, seed.expose(), &mut sealed, &mut ephemeral)?;
    Ok(sealed)
}

/// Seals `seeds`, in this order, from node `from` to node `to`, whose round key is `to_public`, in
/// the attempt `ctx`.
///
/// # Errors
///
/// Those of [`seal`].
pub fn seal_all<'a>(
    to_public: &[u8],
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
    let (info, mut ephemeral) = (info(ctx, from, to), StdRng::from_seed(random_bytes()?));
    seal_into(to_public, &info, &plain, &mut sealed, &mut ephemeral)?;
    Ok(sealed)
}

/// Seals `plain` into `sealed`, which is longer by an encapsulated key and a tag.
fn seal_into(
    to_public: &[u8],
    info: &[u8],
    plain: &[u8],
    sealed: &mut [u8],
    ephemeral: &mut impl CryptoRng,
) -> Result<(), SealError> {
    let to_public = recipient(to_public)?;
    let (head, tag_bytes) = sealed.split_at_mut(ENCAPPED_BYTES + plain.len());
    let (encapped_bytes, ciphertext) = head.split_at_mut(ENCAPPED_BYTES);
    let buffer = InOutBuf::new(plain, ciphertext).map_err(|_| SealError::PublicKey)?;
    let (encapped, tag) = hpke::single_shot_seal_inout_detached_with_rng::<Aead, Kdf, Kem>(
        &OpModeS::Base,
        &to_public,
        info,
        buffer,
        &[],
        ephemeral,
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
    use sha2::Digest as _;

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
        let (seed, tag) = (ENCAPPED_BYTES..ENCAPPED_BYTES + SEED_BYTES, TAG_BYTES);
        assert_eq!(seed.end + tag, SEALED_BYTES);
        // Both halves of the encapsulated key are fresh.
        assert_ne!(first[..32], second[..32]);
        assert_ne!(
            first[ENCAPPED_BYTES - X25519_BYTES..ENCAPPED_BYTES],
            second[ENCAPPED_BYTES - X25519_BYTES..ENCAPPED_BYTES]
        );
        assert_ne!(first[seed.clone()], second[seed.clone()]);
        assert_ne!(first[seed], [9; 32]);
    }

    /// A quantum computer has the secret of X25519, a broken lattice that of ML-KEM. Neither is
    /// enough.
    #[test]
    fn one_right_half_of_a_key_opens_nothing() {
        const ML_KEM_BYTES: usize = PUBLIC_KEY_BYTES - X25519_BYTES;
        let (lattice, curve) = (RoundKey::generate().unwrap(), RoundKey::generate().unwrap());
        let sealed_to = |lattice: &RoundKey, curve: &RoundKey| {
            let halves = [
                &lattice.public[..ML_KEM_BYTES],
                &curve.public[ML_KEM_BYTES..],
            ];
            let seed = Seed::from_bytes([9; 32]);
            seal(&halves.concat(), &CTX, &FROM, &TO, &seed).unwrap()
        };
        let mixed = sealed_to(&lattice, &curve);
        for key in [&lattice, &curve] {
            let opened = key.open(&CTX, &FROM, &TO, &mixed);
            assert!(matches!(opened, Err(SealError::Open)));
            // The control: who has both halves.
            let own = sealed_to(key, key);
            assert!(key.open(&CTX, &FROM, &TO, &own).is_ok());
        }
        // Nor does a box whose one half is another's open.
        let (own, other) = (sealed_to(&lattice, &lattice), sealed_to(&lattice, &lattice));
        for half in [
            0..ENCAPPED_BYTES - X25519_BYTES,
            ENCAPPED_BYTES - X25519_BYTES..ENCAPPED_BYTES,
        ] {
            let mut exchanged = own;
            exchanged[half.clone()].copy_from_slice(&other[half]);
            let opened = lattice.open(&CTX, &FROM, &TO, &exchanged);
            assert!(matches!(opened, Err(SealError::Open)));
        }
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
    fn a_flipped_bit_is_refused_wherever_it_is() {
        let (key, sealed) = sealed();
        for byte in 0..SEALED_BYTES {
            let mut altered = sealed;
            altered[byte] ^= 1 << (byte % 8);
            let opened = key.open(&CTX, &FROM, &TO, &altered);
            // The highest bit of an X25519 key, which X25519 ignores, is hashed.
            assert!(matches!(opened, Err(SealError::Open)), "byte {byte}");
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
    fn nothing_is_sealed_to_a_public_key_that_is_none() {
        let sound = *RoundKey::generate().unwrap().public();
        let refused = |public: &[u8]| {
            let sealed = seal(public, &CTX, &FROM, &TO, &Seed::from_bytes([9; 32]));
            assert!(matches!(sealed, Err(SealError::PublicKey)));
            let many = seal_all(public, &CTX, &FROM, &TO, std::iter::empty());
            assert!(matches!(many, Err(SealError::PublicKey)));
            assert!(!is_public_key(public));
        };
        assert!(is_public_key(&sound), "the control");
        refused(&[]);
        refused(&[0; PUBLIC_KEY_BYTES]);
        refused(&sound[..PUBLIC_KEY_BYTES - 1]);
        refused(&[&sound[..], &[0]].concat());
        // A coefficient of 3329, q itself, which has another encoding.
        let mut unreduced = sound;
        (unreduced[0], unreduced[1]) = (0x01, unreduced[1] & 0xf0 | 0x0d);
        refused(&unreduced);
        let mut reduced = unreduced;
        reduced[0] = 0;
        assert!(is_public_key(&reduced), "3328");
        let mut low_order = sound;
        low_order[PUBLIC_KEY_BYTES - X25519_BYTES..].fill(0);
        refused(&low_order);
    }

    /// Known answers, of the draft of X-Wing and of our own.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Known {
        draft: Vec<OfTheDraft>,
        secret: String,
        sha256_of_public: String,
        randomness: String,
        ctx: String,
        from: String,
        to: String,
        seeds: Vec<String>,
        box_of_the_first: String,
        box_of_all: String,
        mistakes: Vec<Mistake>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OfTheDraft {
        seed: String,
        randomness: String,
        shared: String,
        sha256_of_public: String,
        sha256_of_encapsulated: String,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Mistake {
        what: String,
        #[serde(rename = "box")]
        sealed: String,
    }

    /// A generator that gives these bytes.
    struct Fixed(Vec<u8>);

    impl rand::TryRng for Fixed {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unimplemented!("only bytes are drawn")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unimplemented!("only bytes are drawn")
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.copy_from_slice(&self.0.drain(..bytes.len()).collect::<Vec<_>>());
            Ok(())
        }
    }

    impl rand::TryCryptoRng for Fixed {}

    fn known() -> Known {
        serde_json::from_str(include_str!("../tests/vectors/sealing.json")).unwrap()
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    fn sha256(bytes: &[u8]) -> String {
        hex::encode(sha2::Sha256::digest(bytes))
    }

    /// The test vectors of draft-connolly-cfrg-xwing-kem.
    #[test]
    fn the_kem_is_x_wing_as_its_draft_has_it() {
        let known = known().draft;
        assert_eq!(known.len(), 3);
        for vector in known {
            let key = RoundKey::published(&bytes(&vector.seed)).unwrap();
            assert_eq!(sha256(key.public()), vector.sha256_of_public);
            let public = PublicKey::from_bytes(key.public()).unwrap();
            let mut randomness = Fixed(hex::decode(&vector.randomness).unwrap());
            let (shared, encapped) = Kem::encap_with_rng(&public, None, &mut randomness).unwrap();
            assert_eq!(hex::encode(shared.0), vector.shared);
            assert_eq!(sha256(&encapped.to_bytes()), vector.sha256_of_encapsulated);
            let decapped = Kem::decap(&key.secret, None, &encapped).unwrap();
            assert_eq!(hex::encode(decapped.0), vector.shared);
        }
    }

    #[test]
    fn boxes_are_those_that_others_make_of_the_protocol() {
        let known = known();
        let key = RoundKey::published(&bytes(&known.secret)).unwrap();
        assert_eq!(sha256(key.public()), known.sha256_of_public);
        let (ctx, from, to) = (bytes(&known.ctx), bytes(&known.from), bytes(&known.to));
        let seeds: Vec<[u8; 32]> = known.seeds.iter().map(|seed| bytes(seed)).collect();
        for (count, expected) in [(1, &known.box_of_the_first), (3, &known.box_of_all)] {
            let mut sealed = vec![0; sealed_bytes(count)];
            let (info, plain) = (info(&ctx, &from, &to), seeds[..count].concat());
            let mut randomness = Fixed(hex::decode(&known.randomness).unwrap());
            seal_into(key.public(), &info, &plain, &mut sealed, &mut randomness).unwrap();
            assert_eq!(hex::encode(&sealed), *expected);
            let opened = key.open_all(&ctx, &from, &to, count, &sealed).unwrap();
            let opened = opened.iter().map(|seed| *seed.expose());
            assert_eq!(opened.collect::<Vec<_>>(), seeds[..count]);
        }
        assert!(known.mistakes.len() >= 8);
        for mistake in &known.mistakes {
            let sealed = hex::decode(&mistake.sealed).unwrap();
            let opened = key.open(&ctx, &from, &to, &sealed);
            assert!(matches!(opened, Err(SealError::Open)), "{}", mistake.what);
        }
    }
}
