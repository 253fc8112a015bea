//! The consortium's authority, and the X.509 certificates (RFC 5280) that it issues.
//!
//! One Ed25519 key (RFC 8410) is at the root of all trust: it signs the TLS certificates and the
//! manifest. A node's certificate carries the node's identity key as its subject public key, so TLS
//! client authentication proves the identity itself, and nothing else has to tie a connection to a
//! node. A node's certificate is good for client authentication only, a relay's for server
//! authentication only.

use std::fmt;
use std::time::{Duration, SystemTime};

use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use fl_protocol::error::IdentityError;
use fl_protocol::identity::{Identity, PublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SerialNumber,
};
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

/// A certificate that cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A subject name that a certificate cannot carry.
    #[error(
        "{name:?} is no name for a certificate: 1 to {NAME_MAX} characters, none of them a control character"
    )]
    Name {
        /// Name as given.
        name: String,
    },
    /// A relay certificate for no host at all.
    #[error("a relay's certificate needs the host names or IP addresses at which nodes reach it")]
    NoHost,
    /// Neither a DNS name nor an IP address.
    #[error("{host:?} is neither a DNS name nor an IP address")]
    Host {
        /// Host as given.
        host: String,
    },
    /// A period that ends before it begins, begins before 1970 or ends after 9999.
    #[error("a certificate's validity must end after it begins, between the years 1970 and 9999")]
    Validity,
    /// No certificate in PEM where one was expected.
    #[error("not a certificate in PEM")]
    Pem,
    /// Not the DER of an X.509 version 3 certificate.
    #[error("malformed certificate")]
    Malformed,
    /// A certificate for a key of another kind.
    #[error("the certificate's key is not an Ed25519 key")]
    NotEd25519,
    /// Certificate and private key do not belong together.
    #[error("the private key is not the one that the certificate is for")]
    KeyMismatch,
    /// The operating system gives no random bytes.
    #[error("the operating system's random generator failed")]
    Entropy,
    /// The key itself is unusable.
    #[error(transparent)]
    Key(#[from] IdentityError),
    /// The certificate could not be encoded or signed.
    #[error("the certificate cannot be issued: {0}")]
    Issue(#[from] rcgen::Error),
}

/// Longest common name in characters (RFC 5280 appendix A, `ub-common-name`).
const NAME_MAX: usize = 64;

/// When a certificate is valid: both ends included, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// Since the Unix epoch.
    not_before: Duration,
    /// Since the Unix epoch.
    not_after: Duration,
}

impl Validity {
    /// Certificates become valid this much before they are issued, for the sake of peers whose
    /// clocks are late.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(3600);

    /// 9999-12-31T23:59:59Z, the last moment that a certificate can name (RFC 5280 section
    /// 4.1.2.5).
    const LAST: Duration = Duration::from_secs(253_402_300_799);

    /// From `not_before` to `not_after`.
    ///
    /// # Errors
    ///
    /// [`PkiError::Validity`] if the period is empty, begins before 1970 or ends after 9999.
    pub fn between(not_before: SystemTime, not_after: SystemTime) -> Result<Self, PkiError> {
        let since_epoch = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_err(|_| PkiError::Validity)
        };
        let (not_before, not_after) = (since_epoch(not_before)?, since_epoch(not_after)?);
        if not_before >= not_after || not_after > Self::LAST {
            return Err(PkiError::Validity);
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// From [`Validity::CLOCK_SKEW`] before `now` to `days` days after it.
    ///
    /// # Errors
    ///
    /// [`PkiError::Validity`] if that is no period between 1970 and 9999.
    pub fn days(now: SystemTime, days: u32) -> Result<Self, PkiError> {
        let not_before = now
            .checked_sub(Self::CLOCK_SKEW)
            .ok_or(PkiError::Validity)?;
        let not_after = now
            .checked_add(Duration::from_secs(86_400 * u64::from(days)))
            .ok_or(PkiError::Validity)?;
        Self::between(not_before, not_after)
    }
}

/// The consortium's certificate authority.
///
/// Its private key is an [`Identity`], with which it also signs the manifest.
pub struct Authority {
    identity: Identity,
    certificate_pem: String,
    issuer: Issuer<'static, AuthorityKey>,
}

/// Returns a new identity from the operating system's generator.
///
/// # Errors
///
/// [`PkiError::Entropy`] if the generator fails.
pub fn generate_identity() -> Result<Identity, PkiError> {
    let mut secret = Zeroizing::new([0; 32]);
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, secret.as_mut_slice())
        .map_err(|_| PkiError::Entropy)?;
    Ok(Identity::from_secret(&secret))
}

impl Authority {
    /// Returns a new authority with a fresh key and a self-signed certificate for `consortium`.
    ///
    /// TLS does not look at a trust anchor's own validity (RFC 5280 section 6.1.1): what ends trust
    /// is the `validity` of the certificates it issues.
    ///
    /// # Errors
    ///
    /// [`PkiError::Name`] for an unusable name, [`PkiError::Entropy`].
    pub fn create(consortium: &str, validity: Validity) -> Result<Self, PkiError> {
        let identity = generate_identity()?;
        let key = AuthorityKey::of(&identity)?;
        let mut params = params(common_name(consortium)?, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            identity,
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Returns the key that signs certificates and manifests.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the self-signed certificate that every node and relay trusts, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Certifies that the identity key `key` belongs to the node `name`. Returns the certificate in
    /// PEM.
    ///
    /// # Errors
    ///
    /// [`PkiError::Name`] for an unusable name, [`PkiError::Issue`] if encoding fails.
    pub fn issue_node(
        &self,
        name: &str,
        key: &PublicKey,
        validity: Validity,
    ) -> Result<String, PkiError> {
        let mut params = params(common_name(name)?, validity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, key)
    }

    /// Makes a key for a relay that nodes reach at `hosts`, DNS names or IP addresses, and
    /// certifies it. Returns the certificate and the private key (PKCS#8), both in PEM.
    ///
    /// # Errors
    ///
    /// [`PkiError::NoHost`] or [`PkiError::Host`] for unusable hosts, [`PkiError::Key`] if the
    /// system has no randomness, [`PkiError::Issue`] if encoding fails.
    pub fn issue_relay(
        &self,
        hosts: &[String],
        validity: Validity,
    ) -> Result<(String, Zeroizing<String>), PkiError> {
        if hosts.is_empty() {
            return Err(PkiError::NoHost);
        }
        for host in hosts {
            ServerName::try_from(host.as_str())
                .map_err(|_| PkiError::Host { host: host.clone() })?;
        }
        let mut params = params(common_name("relay")?, validity)?;
        params.subject_alt_names = CertificateParams::new(hosts)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = generate_identity()?;
        Ok((self.issue(params, &key.public_key())?, key.to_pem()?))
    }

    fn issue(&self, mut params: CertificateParams, key: &PublicKey) -> Result<String, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&SubjectKey(*key), &self.issuer)?.pem())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.identity.node_id())
    }
}

/// The first certificate in `pem`.
///
/// # Errors
///
/// [`PkiError::Pem`] if there is none.
pub fn certificate_from_pem(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::Pem)
}

/// The Ed25519 key that `certificate` is about: a node's identity, or the authority's.
///
/// Only reads. Whether the certificate is to be trusted is for TLS to decide.
///
/// # Errors
///
/// [`PkiError::Malformed`], [`PkiError::NotEd25519`], or [`PkiError::Key`] for a weak key.
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<PublicKey, PkiError> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|_| PkiError::Malformed)?;
    let info = parsed.subject_public_key_info();
    let key = info
        .strip_prefix(&ED25519_KEY_INFO)
        .ok_or(PkiError::NotEd25519)?;
    Ok(PublicKey::from_bytes(
        key.try_into().map_err(|_| PkiError::NotEd25519)?,
    )?)
}

/// What precedes the 32 bytes of the key in the `SubjectPublicKeyInfo` of an Ed25519 key (RFC 8410
/// section 4).
const ED25519_KEY_INFO: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

fn common_name(name: &str) -> Result<DistinguishedName, PkiError> {
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(PkiError::Name {
            name: name.to_owned(),
        });
    }
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    Ok(subject)
}

/// Subject and validity, under a random serial number of 127 bits (RFC 5280 section 4.1.2.2).
fn params(subject: DistinguishedName, validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut serial = [0; 16];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut serial)
        .map_err(|_| PkiError::Entropy)?;
    serial[0] &= 0x7f;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = epoch + validity.not_before;
    params.not_after = epoch + validity.not_after;
    Ok(params)
}

/// An identity's public key as `rcgen` wants it.
struct SubjectKey(PublicKey);

impl rcgen::PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

/// The authority's key as `rcgen` wants it: one that signs certificates, without a label. Erased on
/// drop.
struct AuthorityKey(SigningKey);

impl AuthorityKey {
    fn of(identity: &Identity) -> Result<Self, PkiError> {
        let key = SigningKey::from_pkcs8_pem(&identity.to_pem()?);
        Ok(Self(key.map_err(|_| IdentityError::PrivateKey)?))
    }
}

impl rcgen::PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        let key: &VerifyingKey = self.0.as_ref();
        key.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn year() -> Validity {
        Validity::days(SystemTime::now(), 365).unwrap()
    }

    fn authority() -> Authority {
        Authority::create("hospitals", year()).unwrap()
    }

    #[test]
    fn certificates_carry_the_keys_they_are_about() {
        let authority = authority();
        let root = certificate_from_pem(authority.certificate_pem()).unwrap();
        assert_eq!(
            public_key(&root).unwrap(),
            authority.identity().public_key()
        );

        let node = generate_identity().unwrap().public_key();
        let pem = authority.issue_node("clinic", &node, year()).unwrap();
        assert_eq!(
            public_key(&certificate_from_pem(&pem).unwrap()).unwrap(),
            node
        );

        let hosts = [
            "relay.example".to_owned(),
            "10.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let (pem, key) = authority.issue_relay(&hosts, year()).unwrap();
        let key = Identity::from_pem(&key).unwrap().public_key();
        assert_eq!(
            public_key(&certificate_from_pem(&pem).unwrap()).unwrap(),
            key
        );
    }

    #[test]
    fn two_certificates_of_one_key_have_two_serial_numbers() {
        let authority = authority();
        let node = generate_identity().unwrap().public_key();
        let issue = || authority.issue_node("clinic", &node, year()).unwrap();
        assert_ne!(issue(), issue());
    }

    #[test]
    fn unusable_names_hosts_and_periods_are_refused() {
        let authority = authority();
        let node = generate_identity().unwrap().public_key();
        for name in ["", "two\nlines", &"x".repeat(NAME_MAX + 1)] {
            let refused = authority.issue_node(name, &node, year());
            assert!(matches!(refused, Err(PkiError::Name { .. })), "{name:?}");
        }
        for host in ["", "no spaces", "https://relay.example", "relay:4433"] {
            let refused = authority.issue_relay(&[host.to_owned()], year());
            assert!(matches!(refused, Err(PkiError::Host { .. })), "{host:?}");
        }
        assert!(matches!(
            authority.issue_relay(&[], year()),
            Err(PkiError::NoHost)
        ));

        let epoch = SystemTime::UNIX_EPOCH;
        let day = Duration::from_secs(86_400);
        assert!(Validity::between(epoch, epoch + day).is_ok());
        assert!(matches!(
            Validity::between(epoch + day, epoch),
            Err(PkiError::Validity)
        ));
        assert!(matches!(
            Validity::between(epoch - day, epoch),
            Err(PkiError::Validity)
        ));
        assert!(matches!(
            Validity::days(epoch + day, u32::MAX),
            Err(PkiError::Validity)
        ));
        assert!(Validity::between(epoch, epoch + Validity::LAST).is_ok());
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let p256 = rcgen::KeyPair::generate().unwrap();
        let foreign = CertificateParams::default().self_signed(&p256).unwrap();
        assert!(matches!(
            public_key(foreign.der()),
            Err(PkiError::NotEd25519)
        ));
    }

    #[test]
    fn perturbed_certificates_never_panic() {
        let authority = authority();
        let root = certificate_from_pem(authority.certificate_pem()).unwrap();
        let mut refused = 0;
        for position in 0..root.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = root.to_vec();
                bytes[position] ^= flip;
                refused += usize::from(public_key(&CertificateDer::from(bytes)).is_err());
            }
            let cut = CertificateDer::from(&root[..position]);
            assert!(
                matches!(public_key(&cut), Err(PkiError::Malformed)),
                "cut at {position}"
            );
        }
        assert!(
            refused > root.len() / 2,
            "{refused} of {} mutations refused",
            3 * root.len()
        );

        let pem = authority.certificate_pem();
        for position in 0..pem.len() {
            let mut bytes = pem.as_bytes().to_vec();
            bytes[position] = bytes[position].wrapping_add(1) & 0x7f;
            let _ = certificate_from_pem(&String::from_utf8(bytes).unwrap());
        }
    }
}
