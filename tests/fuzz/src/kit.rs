//! Keys, certificates, and the folders in which they come.

use std::path::Path;

use fl_network::kit::{Kit, KitError, KitFiles};
use fl_network::pki;
use fl_network::tls::Credentials;
use fl_protocol::identity::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

use crate::Seed;
use crate::fixture::{PARAMETERS, consortium, key_pem};
use crate::folder::{folder, with_contents};
use crate::tags::EPOCH_KEY;

/// Keys and certificates, in PEM or in DER.
pub(crate) fn pem(data: &[u8]) {
    let _ = pki::public_key(&CertificateDer::from(data));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(certificate) = pki::certificate_from_pem(text) {
        let _ = pki::public_key(&certificate);
    }
    if let Ok(identity) = Identity::from_pem(text) {
        let again = identity.to_pem().expect("a key can be written");
        let again = Identity::from_pem(&again).expect("what was written can be read");
        assert_eq!(again.node_id(), identity.node_id());
    }
    let _ = Credentials::from_pem(text, text);
}

const FILES: [&str; 8] = [
    "manifest.toml",
    "manifest.sig",
    "authority.pem",
    "cert.pem",
    "key.pem",
    "initial.f32",
    "epoch.key",
    "task.toml",
];

/// A node's kit with one file replaced. The first byte says which.
pub(crate) fn kit(data: &[u8]) {
    let Some((which, contents)) = data.split_first() else {
        return;
    };
    FOLDER.with(|folder| {
        let path = folder.path().join(FILES[usize::from(*which) % FILES.len()]);
        with_contents(&path, contents, || load(folder.path()));
    });
}

fn load(folder: &Path) {
    let kit = match Kit::load(folder) {
        Ok(kit) => kit,
        Err(error) => return drop(error.to_string()),
    };
    // The other files are what they were, and nothing else fits them.
    assert_eq!(kit.manifest.bytes(), consortium().manifest.bytes());
    assert_eq!(kit.id(), consortium().id(0));
    assert!(kit.node_identity().is_ok());
    match kit.initial() {
        Ok(initial) => assert!(
            initial
                .iter()
                .map(|value| value.to_bits())
                .eq([0; PARAMETERS])
        ),
        Err(KitError::File(_) | KitError::InitialModel { .. }) => {}
        Err(error) => panic!("another error than is documented: {error}"),
    }
    match kit.task() {
        Ok(task) => assert!(task.is_empty()),
        Err(KitError::File(_) | KitError::Task(_)) => {}
        Err(error) => panic!("another error than is documented: {error}"),
    }
    match kit.epoch_key() {
        Ok(key) => assert_eq!(*key, EPOCH_KEY),
        Err(KitError::File(_) | KitError::EpochKey(_)) => {}
        Err(error) => panic!("another error than is documented: {error}"),
    }
}

thread_local! {
    static FOLDER: TempDir = folder(write);
}

/// Writes the kit of node 0.
pub(crate) fn write(folder: &Path) {
    let files = KitFiles {
        manifest: &consortium().manifest,
        authority_pem: &certificates().0,
        certificate_pem: &certificates().1,
        key_pem: &key_pem("node 0"),
        epoch_key: Some(&EPOCH_KEY),
        task: Some(""),
        initial: &[0.0; PARAMETERS],
    };
    files.write(folder).expect("a folder of our own");
}

/// The certificates of the authority and of node 0, in PEM. Unlike those of [`pki`], they are
/// always the same.
fn certificates() -> (String, String) {
    let params = |serial: u8| {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(9999, 1, 1);
        params
    };
    let key = |name| KeyPair::from_pem(&key_pem(name)).expect("a key that was just encoded");
    let mut authority = params(1);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let signed = authority.self_signed(&key("authority"));
    let issuer = Issuer::new(authority, key("authority"));
    let issued = params(2).signed_by(&key("node 0"), &issuer);
    let pem = |certificate: Result<rcgen::Certificate, _>| certificate.expect("it encodes").pem();
    (pem(signed), pem(issued))
}

pub(crate) fn pems() -> Vec<Seed> {
    let (authority, node) = certificates();
    let der = pki::certificate_from_pem(&node)
        .expect("a certificate")
        .to_vec();
    vec![
        ("authority".to_owned(), authority.into_bytes()),
        ("certificate".to_owned(), node.into_bytes()),
        ("certificate-der".to_owned(), der),
        ("key".to_owned(), key_pem("node 0").into_bytes()),
    ]
}

pub(crate) fn kits() -> Vec<Seed> {
    FOLDER.with(|folder| crate::folder::seeds(folder.path(), &FILES))
}
