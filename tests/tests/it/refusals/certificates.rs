//! Certificates that TLS refuses, though everything else about the node is in order; and
//! memberships that have ended.

use std::fs;
use std::time::{Duration, SystemTime};

use fl_network::kit::KitFiles;
use fl_network::pki::{Authority, Validity};
use fl_protocol::manifest::{Manifest, ManifestFile, epoch_key_check};
use fl_tests::deployed::{Consortium, fl_relay};

use super::NOWHERE;
use crate::support::consortium::{DATA, NODES, complete, consortium, ended};

const DAY: Duration = Duration::from_secs(86_400);

/// A consortium of a, b and c with a new authority, in which the certificate of a has this
/// validity.
fn with_certificate_of_a(validity: Validity) -> Consortium {
    with(validity, None)
}

/// The same, in which the membership of a ends then, if that is given.
fn with(validity: Validity, membership_ends: Option<SystemTime>) -> Consortium {
    let consortium = consortium();
    let today = Validity::days(SystemTime::now(), 1).unwrap();
    let authority = Authority::create("consortium", today).unwrap();
    let text = fs::read_to_string(consortium.kit("relay").join("manifest.toml")).unwrap();
    let mut file: ManifestFile = toml::from_str(&text).unwrap();
    let identities: Vec<_> = file
        .nodes
        .iter()
        .map(|_| fl_network::pki::generate_identity().unwrap())
        .collect();
    for (node, identity) in file.nodes.iter_mut().zip(&identities) {
        node.key = hex::encode(identity.public_key().as_bytes());
        if let Some(ends) = membership_ends
            && node.name == "a"
        {
            let since_epoch = ends.duration_since(SystemTime::UNIX_EPOCH);
            node.expires_unix_s = since_epoch.unwrap().as_secs();
        }
    }
    let epoch_key = [7; 32];
    let task = fs::read_to_string(consortium.kit("a").join("task.toml")).unwrap();
    file.epoch_key = epoch_key_check(&epoch_key).to_hex();
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
            epoch_key: (party != "relay").then_some(&epoch_key),
            task: (party != "relay").then_some(&*task),
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

/// That the node a is refused by TLS, which tells the two ends of a validity apart only in the
/// words of the library.
#[track_caller]
fn assert_turned_away_for(consortium: &Consortium, reason: &str) {
    let (relay, address) = consortium.relay(&[]);
    let node = consortium.node("a", address, DATA).ended();
    node.refused(&["its certificate has expired or is not valid yet"]);
    let line = relay.line("turned away in the handshake");
    assert!(line.contains(reason), "{line}");
}

fn last_week() -> Validity {
    let now = SystemTime::now();
    Validity::between(now - 7 * DAY, now - DAY).unwrap()
}

#[test]
fn a_node_with_an_expired_certificate_is_refused_by_tls() {
    let consortium = with_certificate_of_a(last_week());
    assert_turned_away_for(&consortium, "certificate expired");
}

#[test]
fn a_node_whose_certificate_is_not_valid_yet_is_refused_by_tls() {
    let now = SystemTime::now();
    let validity = Validity::between(now + DAY, now + 2 * DAY).unwrap();
    let consortium = with_certificate_of_a(validity);
    assert_turned_away_for(&consortium, "certificate not valid yet");
}

#[test]
fn a_membership_that_has_ended_is_refused() {
    let today = Validity::days(SystemTime::now(), 1).unwrap();
    let consortium = with(today, Some(SystemTime::now() - DAY));
    ended(consortium.train("a", NOWHERE, DATA)).refused(&["node a expired in the manifest"]);
}

#[test]
fn the_kit_of_a_node_that_has_expired_is_no_relays_either() {
    let consortium = with(last_week(), Some(SystemTime::now() - DAY));
    let mut serve = fl_relay();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--kit"]);
    ended(serve.arg(consortium.kit("a"))).refused(&["this is a node's kit"]);
}

#[test]
fn with_a_valid_certificate_the_same_consortium_works() {
    let validity = Validity::days(SystemTime::now(), 1).unwrap();
    let consortium = with_certificate_of_a(validity);
    complete(&consortium, NODES, 1);
}
