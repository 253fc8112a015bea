//! Certificates that TLS refuses, though everything else about the node is in order.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::time::{Duration, SystemTime};

use fl_network::identity::Identity;
use fl_network::kit::KitFiles;
use fl_network::manifest::{Manifest, ManifestFile};
use fl_network::pki::{Authority, Validity};
use fl_tests::deployed::Consortium;

const DAY: Duration = Duration::from_secs(86_400);

/// A consortium of a, b and c with a new authority, in which the certificate of a has this validity.
fn with_certificate_of_a(validity: Validity) -> Consortium {
    let consortium = Consortium::found("a,b,c", &["--data", "breast-cancer"]);
    let today = Validity::days(SystemTime::now(), 1).unwrap();
    let authority = Authority::create("consortium", today).unwrap();
    let text = fs::read_to_string(consortium.kit("relay").join("manifest.toml")).unwrap();
    let mut file: ManifestFile = toml::from_str(&text).unwrap();
    let identities: Vec<_> = file
        .nodes
        .iter()
        .map(|_| Identity::generate().unwrap())
        .collect();
    for (node, identity) in file.nodes.iter_mut().zip(&identities) {
        node.key = hex::encode(identity.public_key().as_bytes());
    }
    let manifest = Manifest::sign(&file, authority.identity()).unwrap();
    let initial = fs::read(consortium.kit("relay").join("initial.f32")).unwrap();
    let initial: Vec<_> = initial
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let write = |party: &str, certificate_pem: &str, key_pem: &str| {
        let kit = KitFiles {
            manifest: &manifest,
            authority_pem: authority.certificate_pem(),
            certificate_pem,
            key_pem,
            initial: &initial,
        };
        kit.write(&consortium.kit(party)).unwrap();
    };
    for (node, identity) in file.nodes.iter().zip(&identities) {
        let validity = if node.name == "a" { validity } else { today };
        let certificate = authority.issue_node(&node.name, &identity.public_key(), validity);
        write(
            &node.name,
            &certificate.unwrap(),
            &identity.to_pem().unwrap(),
        );
    }
    let (certificate, key) = authority
        .issue_relay(&["localhost".to_owned()], today)
        .unwrap();
    write("relay", &certificate, &key);
    consortium
}

#[test]
fn a_node_with_an_expired_certificate_is_refused_by_tls() {
    let now = SystemTime::now();
    let validity = Validity::between(now - 2 * DAY, now - DAY).unwrap();
    let consortium = with_certificate_of_a(validity);
    let (relay, address) = consortium.relay(&[]);
    let node = consortium.node("a", address, "breast-cancer").ended();
    node.refused(&["expired"]);
    relay.line("turned away in the handshake");
}

#[test]
fn a_node_whose_certificate_is_not_valid_yet_is_refused_by_tls() {
    let now = SystemTime::now();
    let validity = Validity::between(now + DAY, now + 2 * DAY).unwrap();
    let consortium = with_certificate_of_a(validity);
    let (relay, address) = consortium.relay(&[]);
    let node = consortium.node("a", address, "breast-cancer").ended();
    node.refused(&["certificate"]);
    relay.line("turned away in the handshake");
}

#[test]
fn with_a_valid_certificate_the_same_consortium_works() {
    let validity = Validity::days(SystemTime::now(), 1).unwrap();
    let consortium = with_certificate_of_a(validity);
    let (relay, address) = consortium.relay(&["--rounds", "1"]);
    let nodes = ["a", "b", "c"].map(|node| consortium.node(node, address, "breast-cancer"));
    for process in nodes.into_iter().chain([relay]) {
        process.ended().succeeded();
    }
    consortium.assert_one_model(&["a", "b", "c"], 1);
}
