//! A kit: the folder that `provision` makes for each node and for the relay.
//!
//! ```text
//! manifest.toml   what the consortium agreed on
//! manifest.sig    the authority's signature over it, in hexadecimal
//! authority.pem   the authority's certificate
//! cert.pem        this party's certificate
//! key.pem         this party's private key, mode 0600
//! epoch.key       the secret that the nodes share, in hexadecimal, mode 0600; not in the relay's
//! kit
//! task.toml       what is learned and how; not in the relay's kit
//! initial.f32     the initial model: little-endian f32 in the order of the layout
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fl_protocol::digest::{Digest, model_hash};
use fl_protocol::error::{IdentityError, ManifestError};
use fl_protocol::fingerprint::Fingerprint;
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::manifest::{MAX_MANIFEST_BYTES, Manifest, Member, epoch_key_check};
use rustls_pki_types::CertificateDer;
use tracing::warn;
use zeroize::Zeroizing;

use crate::files::{
    FileError, read_limited, read_parameters, read_secret, write_parameters, write_private,
    write_public,
};
use crate::memory;
use crate::pki::{self, PkiError};
use crate::time::unix_s;
use crate::tls::{self, Credentials, ServerTls, TlsError};

const MANIFEST: &str = "manifest.toml";
const SIGNATURE: &str = "manifest.sig";
const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const EPOCH_KEY: &str = "epoch.key";
const TASK: &str = "task.toml";
const INITIAL: &str = "initial.f32";
const MAX_PEM_BYTES: usize = 64 << 10;
/// Room for the names of as many columns as an example can have features.
const MAX_TASK_BYTES: usize = 256 << 20;

/// A kit that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// A file of the kit cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of the kit is not text.
    #[error("{0} is not text; get a fresh kit")]
    NotText(PathBuf),
    /// The signature file is malformed.
    #[error("{0} is not a signature in hexadecimal; get a fresh kit")]
    SignatureFile(PathBuf),
    /// The manifest does not hold.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A certificate does not hold.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A private key does not hold.
    #[error("{path}: {source}")]
    Key {
        /// File.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// TLS cannot be set up with this kit.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The node's key is not in its manifest.
    #[error(
        "this kit's key belongs to none of the manifest's nodes; use the kit made for this node"
    )]
    NotInRoster,
    /// The node's membership has ended.
    #[error("node {name} expired in the manifest; ask the consortium for a new kit")]
    Expired {
        /// Name.
        name: String,
    },
    /// The epoch key is not the manifest's.
    #[error("{0} is not the epoch key of this kit's manifest; get a fresh kit")]
    EpochKey(PathBuf),
    /// The task is not the manifest's.
    #[error("{0} is not the task of this kit's manifest; get a fresh kit")]
    Task(PathBuf),
    /// The task is no TOML.
    #[error("{path}: {source}")]
    TaskToml {
        /// File.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The initial model is not the manifest's.
    #[error("{path} hashes to {found}, but the manifest says {expected}; get a fresh kit")]
    InitialModel {
        /// File.
        path: PathBuf,
        /// Hash of the file.
        found: Digest,
        /// Hash in the manifest.
        expected: Digest,
    },
}

/// What a party needs in order to take part, checked.
#[derive(Clone, Debug)]
pub struct Kit {
    /// The consortium's agreement.
    pub manifest: Arc<Manifest>,
    /// The authority's certificate.
    pub authority: CertificateDer<'static>,
    /// This party's certificate and key, for TLS.
    pub credentials: Credentials,
    folder: PathBuf,
    identity: Identity,
}

/// The contents of a kit, as they are written.
pub struct KitFiles<'a> {
    /// The signed manifest.
    pub manifest: &'a Manifest,
    /// The authority's certificate in PEM.
    pub authority_pem: &'a str,
    /// This party's certificate in PEM.
    pub certificate_pem: &'a str,
    /// This party's private key in PEM.
    pub key_pem: &'a str,
    /// The nodes' epoch key; `None` for the relay.
    pub epoch_key: Option<&'a [u8; 32]>,
    /// What is learned and how, in TOML; `None` for the relay.
    pub task: Option<&'a str>,
    /// The initial model, in the order of the layout.
    pub initial: &'a [f32],
}

impl KitFiles<'_> {
    /// Writes the kit into `folder`, which is made if need be. The private key is for its owner's
    /// eyes only.
    ///
    /// # Errors
    ///
    /// [`FileError`] naming the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        fs::create_dir_all(folder).map_err(|source| FileError::write(folder, source))?;
        write_public(&folder.join(MANIFEST), self.manifest.bytes())?;
        let signature = hex::encode(self.manifest.signature());
        write_public(&folder.join(SIGNATURE), signature.as_bytes())?;
        write_public(&folder.join(AUTHORITY), self.authority_pem.as_bytes())?;
        write_public(&folder.join(CERTIFICATE), self.certificate_pem.as_bytes())?;
        write_parameters(&folder.join(INITIAL), self.initial)?;
        if let Some(key) = self.epoch_key {
            let text = Zeroizing::new(hex::encode(key));
            write_private(&folder.join(EPOCH_KEY), text.as_bytes())?;
        }
        if let Some(task) = self.task {
            write_public(&folder.join(TASK), task.as_bytes())?;
        }
        write_private(&folder.join(KEY), self.key_pem.as_bytes())
    }
}

impl Kit {
    /// Reads the kit in `folder`: the manifest is checked against the authority's signature, the
    /// key against the certificate. The initial model is read when it is needed, with
    /// [`Kit::initial`].
    ///
    /// # Errors
    ///
    /// A [`KitError`] that names the file and says what to do.
    pub fn load(folder: &Path) -> Result<Self, KitError> {
        let (manifest, authority) = load_manifest(folder)?;
        for secret in [KEY, EPOCH_KEY] {
            warn_if_open(&folder.join(secret));
        }
        let key_path = folder.join(KEY);
        let key_pem = read_secret(&key_path, MAX_PEM_BYTES)?;
        let key_pem = str::from_utf8(&key_pem).map_err(|_| KitError::NotText(key_path.clone()))?;
        let identity = Identity::from_pem(key_pem).map_err(|source| KitError::Key {
            path: key_path,
            source,
        })?;
        memory::lock(identity.expose());
        let certificate_pem = text(folder.join(CERTIFICATE))?;
        let credentials = Credentials::from_pem(&certificate_pem, key_pem)?;
        Ok(Self {
            manifest: Arc::new(manifest),
            authority,
            credentials,
            folder: folder.to_owned(),
            identity,
        })
    }

    /// Reads the initial model, in the order of the layout.
    ///
    /// # Errors
    ///
    /// [`KitError::File`], [`KitError::InitialModel`].
    pub fn initial(&self) -> Result<Vec<f32>, KitError> {
        let path = self.folder.join(INITIAL);
        let initial = read_parameters(&path, self.manifest.parameters())?;
        let (found, expected) = (model_hash(&initial), self.manifest.initial_model());
        if found != expected {
            return Err(KitError::InitialModel {
                path,
                found,
                expected,
            });
        }
        Ok(initial)
    }

    /// Reads the epoch key of a node's kit.
    ///
    /// # Errors
    ///
    /// [`KitError::File`], [`KitError::EpochKey`] if it is not the one that the manifest speaks of.
    pub fn epoch_key(&self) -> Result<Zeroizing<[u8; 32]>, KitError> {
        let path = self.folder.join(EPOCH_KEY);
        let text = read_secret(&path, MAX_PEM_BYTES)?;
        let mut key = Zeroizing::new([0; 32]);
        let decoded = hex::decode_to_slice(text.trim_ascii(), &mut *key);
        match decoded.is_ok() && epoch_key_check(&key) == self.manifest.epoch_key() {
            true => Ok(key),
            false => Err(KitError::EpochKey(path)),
        }
    }

    /// Reads what is learned and how, from a node's kit.
    ///
    /// # Errors
    ///
    /// [`KitError::File`], [`KitError::Task`] if it is not the one that the manifest speaks of,
    /// [`KitError::TaskToml`].
    pub fn task(&self) -> Result<toml::Table, KitError> {
        let path = self.folder.join(TASK);
        let bytes = read_limited(&path, MAX_TASK_BYTES)?;
        if Digest::sha256(&[&bytes]) != self.manifest.task() {
            return Err(KitError::Task(path));
        }
        toml::from_slice(&bytes).map_err(|source| KitError::TaskToml {
            path,
            source: Box::new(source),
        })
    }

    /// Returns what the manifest says of the node that this kit is of.
    ///
    /// # Errors
    ///
    /// [`KitError::NotInRoster`] for the relay's kit or a foreign one.
    pub fn member(&self) -> Result<&Member, KitError> {
        let member = self.manifest.member(self.id());
        member.map_err(|_| KitError::NotInRoster)
    }

    /// Returns the identity of a node's kit.
    ///
    /// # Errors
    ///
    /// [`KitError::NotInRoster`] for the relay's kit or a foreign one, [`KitError::Expired`].
    pub fn node_identity(&self) -> Result<&Identity, KitError> {
        let member = self.member()?;
        if member.expires_unix_s <= unix_s() {
            return Err(KitError::Expired {
                name: member.name.clone(),
            });
        }
        Ok(&self.identity)
    }

    /// Returns what an operator should compare with the other participants, in lines.
    ///
    /// # Errors
    ///
    /// [`KitError::Pki`] if the authority's certificate has no usable key.
    pub fn to_compare(&self) -> Result<[String; 3], KitError> {
        let authority = pki::public_key(&self.authority)?;
        Ok([
            format!(
                "fingerprint of the consortium: {}",
                Fingerprint::of_consortium(&self.manifest)
            ),
            format!(
                "fingerprint of the authority:  {}",
                Fingerprint::of_authority(&authority)
            ),
            format!("nodes: {}", self.manifest.roster_in_words()),
        ])
    }

    /// Id of the key in this kit.
    pub fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// TLS of a node with this kit.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the authority's certificate is unusable.
    pub fn client_tls(&self) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsError> {
        tls::client(&self.authority, &self.credentials)
    }

    /// TLS of a relay with this kit.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the authority's certificate is unusable.
    pub fn server_tls(&self) -> Result<ServerTls, TlsError> {
        tls::server(&self.authority, &self.credentials)
    }
}

/// Reads the manifest of the kit in `folder`, and checks it against the authority's signature.
/// Nothing else of the kit need be there but the authority's certificate, which is given too.
///
/// # Errors
///
/// A [`KitError`] that names the file and says what to do.
pub fn load_manifest(folder: &Path) -> Result<(Manifest, CertificateDer<'static>), KitError> {
    let authority_pem = text(folder.join(AUTHORITY))?;
    let authority = pki::certificate_from_pem(&authority_pem)?;
    let path = folder.join(SIGNATURE);
    let mut signature = [0; 64];
    hex::decode_to_slice(text(path.clone())?.trim(), &mut signature)
        .map_err(|_| KitError::SignatureFile(path))?;
    let bytes = read_limited(&folder.join(MANIFEST), MAX_MANIFEST_BYTES)?;
    let manifest = Manifest::verify(bytes, signature, &pki::public_key(&authority)?)?;
    Ok((manifest, authority))
}

/// A kit that was copied may have lost the modes of its files.
#[cfg(unix)]
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if path
        .metadata()
        .is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
    {
        let path = path.display();
        warn!("{path} is secret, and others may read it: `chmod 600 {path}`");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_path: &Path) {}

fn text(path: PathBuf) -> Result<String, KitError> {
    let bytes = read_limited(&path, MAX_PEM_BYTES)?;
    String::from_utf8(bytes).map_err(|_| KitError::NotText(path))
}
